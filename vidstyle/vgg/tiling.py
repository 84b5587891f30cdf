"""Strips: the first two blocks of the network, computed on a strip of rows at a time.

The activations of these blocks take most of the network's memory. Here only a technique's sums over
each strip and the input of the third block are kept; activations are recomputed for the gradient
(Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import tensorflow as tf

from vidstyle.vgg import losses
from vidstyle.vgg.encoder import EARLY_MARGIN, Encoder, Features
from vidstyle.vgg.features import Share

__all__ = ["Early", "Strips", "Sums"]

# (features of a strip, its number) -> its share of the totals, by layer
Sums = Callable[[Features, Any], dict[str, Share]]


class _Span(NamedTuple):
    """A strip: its number, first row and height with margins, edges, height without margins."""

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
        """Return an image's features at the late layers, and the totals over all strips, by layer.

        Values and gradient equal those of the whole image up to rounding.
        """
        names: list[str] = []

        def strip(rows: Any, span: _Span) -> list[Share]:
            features, x = self.encoder.early(rows, span.edges, span.own)
            found = sums(features, span.number)
            names[:] = found
            own = Share(x, span.number * (self.rows // 4), -(-image.shape[0] // 4))
            return [own, *found.values()]

        @tf.custom_gradient
        def taken(image: Any) -> tuple[Any, Callable[..., Any]]:
            def backwards(*up: Any) -> Any:
                return self._gradient(strip, image, up)

            return tuple(self._sums(strip, image)), backwards

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
        """Return the span of another strip without an edge; number: a tensor."""
        return middle._replace(number=number, begin=number * self.rows - EARLY_MARGIN)

    def _parted(self, height: int) -> tuple[list[_Span], list[_Span]]:
        """Return the first strip and those without an edge, which are alike; then the last ones."""
        count = -(-height // self.rows)
        spans = [self._span(number, height) for number in range(count)]
        free = [span for span in spans if not any(span.edges)]
        return [spans[0], *free], spans[1 + len(free) :]

    def _each(self, height: int, total: Any, added: Callable[[Any, _Span], Any]) -> Any:
        """Return `total` after `added` was applied for each strip in turn."""
        (first, *free), last = self._parted(height)
        total = added(total, first)
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

    def _sums(self, strip: Callable[[Any, _Span], list[Share]], image: Any) -> list[Any]:
        """Return the totals of the shares of all strips."""

        def added(totals: list[Any], span: _Span) -> list[Any]:
            shares = strip(_cut(image, span), span)
            totals = totals or [losses.zeros((of, *own.shape[1:]), own) for own, _, of in shares]
            return [
                losses.added(total, first, own)
                for total, (own, first, _) in zip(totals, shares, strict=True)
            ]

        found: list[Any] = self._each(image.shape[0], [], added)
        return found

    def _gradient(
        self, strip: Callable[[Any, _Span], list[Share]], image: Any, up: tuple[Any, ...]
    ) -> Any:
        """Return the gradient at the image from `up`, that at the totals; recomputes the strips."""

        def added(total: Any, span: _Span) -> Any:
            rows = _cut(image, span)
            with tf.GradientTape() as tape:
                tape.watch(rows)
                shares = strip(rows, span)
            goals = [
                tf.slice(part, (first, *[0] * (part.shape.rank - 1)), own.shape)
                for part, (own, first, _) in zip(up, shares, strict=True)
            ]
            gradient = tape.gradient([own for own, _, _ in shares], rows, output_gradients=goals)
            return losses.added(total, span.begin, gradient)

        return self._each(image.shape[0], losses.zeros(image.shape, up[0]), added)


def _cut(image: Any, span: _Span) -> Any:
    return tf.slice(image, (span.begin, 0, 0), (span.cut, *image.shape[1:]))


@dataclass(frozen=True)
class Early:
    """The features of an image at the early layers, computed strip by strip when iterated."""

    strips: Strips
    image: Any

    @property
    def layers(self) -> tuple[str, ...]:
        return self.strips.encoder.early_layers

    @property
    def rows(self) -> int:
        """The height of a strip in pixels; the last may be lower."""
        return self.strips.rows

    def __iter__(self) -> Iterator[Features]:
        return self.strips.pieces(self.image)
