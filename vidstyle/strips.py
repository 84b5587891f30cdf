"""Strips: the first blocks of the network on some rows of an image at a time.

Most of what the network holds of a frame is what its first two blocks hold. Here they see a strip
of rows, what a technique sums over it is kept, and the rest is let go, and made again for the
gradient (Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016): what is held does
not grow with the frame's height.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import tensorflow as tf

from vidstyle.encoder import EARLY_MARGIN, Encoder, Features

__all__ = ["Early", "Strips", "Sums"]

Sums = Callable[[Features, Any], Features]  # (features of a strip, its number) -> sums by layer


class _Span(NamedTuple):
    """Where a strip is: its number, the row it is cut at, the rows cut, edges, rows of its own."""

    number: Any
    begin: Any
    cut: int
    edges: tuple[int, int]
    own: int


@dataclass(frozen=True)
class Strips:
    """An encoder in strips of `rows` rows each, a multiple of 4."""

    encoder: Encoder
    rows: int

    def __call__(self, image: Any, sums: Sums) -> tuple[Features, Features]:
        """Return an image's features at the late layers, and sums of all strips, [S, …] a layer.

        As of the whole image, to rounding, and so is the gradient to the image.
        """
        names: list[str] = []

        def strip(image: Any, span: _Span) -> list[Any]:
            rows = tf.slice(image, (span.begin, 0, 0), (span.cut, *image.shape[1:]))
            features, x = self.encoder.early(rows, span.edges, span.own)
            found = sums(features, span.number)
            names[:] = found
            return [x, *found.values()]

        @tf.custom_gradient
        def taken(image: Any) -> tuple[Any, Callable[..., Any]]:
            x, *found = self._joined(lambda span: strip(image, span), image.shape[0])

            def backwards(*up: Any) -> Any:
                return self._gradient(strip, image, up)

            return (x, *found), backwards

        x, *found = taken(image)
        return self.encoder.late(x), dict(zip(names, found, strict=True))

    def late(self, image: Any) -> Features:
        """Return an image's features at the late layers."""
        return self(image, lambda features, number: {})[0]

    def pieces(self, image: Any) -> Iterator[Features]:
        """Yield the features of each strip of an image at the early layers."""
        for number in range(-(-image.shape[0] // self.rows)):
            span = self._span(number, image.shape[0])
            rows = image[span.begin : span.begin + span.cut]
            yield self._early(rows, span.edges, span.own)[0]

    @cached_property
    def _early(self) -> Callable[..., tuple[Features, Any]]:
        return tf.function(self.encoder.early)

    def _span(self, number: int, height: int) -> _Span:
        first, last = number * self.rows, (number + 1) * self.rows
        begin, end = max(0, first - EARLY_MARGIN), min(height, last + EARLY_MARGIN)
        edges = (int(first == 0), int(last + EARLY_MARGIN > height))
        return _Span(number, begin, end - begin, edges, min(last, height) - first)

    def _like(self, middle: _Span, number: Any) -> _Span:
        """Return the span of another strip that stands as freely as this one; number: a tensor."""
        return middle._replace(number=number, begin=number * self.rows - EARLY_MARGIN)

    def _parted(self, height: int) -> tuple[list[_Span], list[_Span]]:
        """Return the first strip with those that stand freely, all of one shape, and the last."""
        count = -(-height // self.rows)
        spans = [self._span(number, height) for number in range(count)]
        free = [span for span in spans if not any(span.edges)]
        return [spans[0], *free], spans[1 + len(free) :]

    def _joined(self, strip: Callable[[_Span], list[Any]], height: int) -> list[Any]:
        """Return x [h, w, C] and the sums [S, …] of all strips, made one after another."""
        (first, *free), last = self._parted(height)
        found = [[part[None] for part in strip(first)]]
        if free:
            numbers = tf.range(1, 1 + len(free))
            found.append(
                tf.map_fn(
                    lambda number: strip(self._like(free[0], number)),
                    numbers,
                    fn_output_signature=[tf.float32] * len(found[0]),
                    parallel_iterations=1,
                )
            )
        found.extend([part[None] for part in strip(span)] for span in last)
        x, *sums = zip(*found, strict=True)
        across = x[0].shape[2:]
        return [
            tf.concat([tf.reshape(part, (-1, *across)) for part in x], axis=0),
            *(tf.concat(parts, axis=0) for parts in sums),
        ]

    def _gradient(
        self, strip: Callable[[Any, _Span], list[Any]], image: Any, up: tuple[Any, ...]
    ) -> Any:
        """Return the gradient to the image of what _joined gave; strips are made again."""
        height, width, channels = image.shape
        up_x, *up_sums = up

        def added(total: Any, span: _Span) -> Any:
            rows = tf.slice(image, (span.begin, 0, 0), (span.cut, width, channels))
            with tf.GradientTape() as tape:
                tape.watch(rows)
                found = strip(rows, span._replace(begin=0))
            pulls = tf.slice(
                up_x, (span.number * self.rows // 4, 0, 0), (-(-span.own // 4), *up_x.shape[1:])
            )
            goals = [pulls, *(tf.gather(part, span.number) for part in up_sums)]
            gradient = tape.gradient(found, rows, output_gradients=goals)
            places = span.begin + tf.range(span.cut)[:, None]
            return tf.tensor_scatter_nd_add(total, places, gradient)

        (first, *free), last = self._parted(height)
        total = added(tf.zeros_like(image), first)
        if free:
            _, total = tf.while_loop(
                lambda number, total: number <= len(free),
                lambda number, total: (number + 1, added(total, self._like(free[0], number))),
                (tf.constant(1), total),
                parallel_iterations=1,
            )
        for span in last:
            total = added(total, span)
        return total


@dataclass(frozen=True)
class Early:
    """The features of an image at the layers that its others lack: strip by strip, when asked."""

    strips: Strips
    image: Any

    @property
    def layers(self) -> tuple[str, ...]:
        return self.strips.encoder.early_layers

    @property
    def rows(self) -> int:
        """Return how many rows of pixels a strip has; the last may have fewer."""
        return self.strips.rows

    def __iter__(self) -> Iterator[Features]:
        return self.strips.pieces(self.image)
