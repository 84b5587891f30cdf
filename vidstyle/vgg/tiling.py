"""Strips: the first two blocks of the network, computed on one strip of rows at a time.

The activations of these blocks take most of the network's memory. Only a technique's sums over each
strip and the input of the third block are kept; activations are recomputed for the gradient
(Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import tensorflow as tf

from vidstyle.vgg import losses
from vidstyle.vgg.encoder import EARLY_MARGIN, Encoder
from vidstyle.vgg.features import Features, Share

__all__ = ["EarlyFeatures", "StripShares", "Strips"]

# (features of a strip, its index) -> its share of the totals, by layer
StripShares = Callable[[Features, Any], dict[str, Share]]


class _Span(NamedTuple):
    """A strip of rows.

    number: its index from the top. begin, cut: first row and height with margins. edges: see
    Encoder.early. own: height without margins.
    """

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

    def __call__(self, image: Any, sums: StripShares) -> tuple[Features, Features]:
        """Return an image's features at the late layers, and the totals over all strips, by layer.

        Values and gradient equal those of the whole image up to rounding.
        """
        names: list[str] = []

        def strip(rows: Any, span: _Span) -> list[Share]:
            features, x = self.encoder.early(rows, span.edges, span.own)
            totals = sums(features, span.number)
            names[:] = totals
            late_input = Share(x, span.number * (self.rows // 4), -(-image.shape[0] // 4))
            return [late_input, *totals.values()]

        @tf.custom_gradient
        def accumulated(image: Any) -> tuple[Any, Callable[..., Any]]:
            def backwards(*up: Any) -> Any:
                return self._gradient(strip, image, up)

            return tuple(self._sums(strip, image)), backwards

        x, *totals = accumulated(image)
        return self.encoder.late(x), dict(zip(names, totals, strict=True))

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
        return tf.function(self.encoder.early, autograph=False)

    def _span(self, number: int, height: int) -> _Span:
        first, last = number * self.rows, (number + 1) * self.rows
        begin, end = max(0, first - EARLY_MARGIN), min(height, last + EARLY_MARGIN)
        edges = (int(first == 0), int(last + EARLY_MARGIN > height))
        return _Span(number, begin, end - begin, edges, min(last, height) - first)

    def _span_at(self, middle: _Span, number: Any) -> _Span:
        """Return the span of another strip without an edge; number: a tensor."""
        return middle._replace(number=number, begin=number * self.rows - EARLY_MARGIN)

    def _loop_spans(self, height: int) -> tuple[list[_Span], list[_Span]]:
        """Return the first strip and those without an edge (run in a loop), and the last ones."""
        count = -(-height // self.rows)
        spans = [self._span(number, height) for number in range(count)]
        free = [span for span in spans if not any(span.edges)]
        return [spans[0], *free], spans[1 + len(free) :]

    def _accumulate(self, height: int, total: Any, add_strip: Callable[[Any, _Span], Any]) -> Any:
        """Return `total` after `add_strip` was applied to each strip in turn."""
        (first, *inner), last = self._loop_spans(height)
        total = add_strip(total, first)
        if inner:
            _, total = tf.while_loop(
                lambda number, total: number <= len(inner),
                lambda number, total: (
                    number + 1,
                    add_strip(total, self._span_at(inner[0], number)),
                ),
                (tf.constant(1), total),
                parallel_iterations=1,
            )
        for span in last:
            total = add_strip(total, span)
        return total

    def _sums(self, strip: Callable[[Any, _Span], list[Share]], image: Any) -> list[Any]:
        """Return the totals of the shares of all strips."""

        def add_strip(totals: list[Any], span: _Span) -> list[Any]:
            shares = strip(_cut(image, span), span)
            totals = totals or [losses.zeros((of, *own.shape[1:]), own) for own, _, of in shares]
            return [
                losses.added(total, first, own)
                for total, (own, first, _) in zip(totals, shares, strict=True)
            ]

        totals: list[Any] = self._accumulate(image.shape[0], [], add_strip)
        return totals

    def _gradient(
        self, strip: Callable[[Any, _Span], list[Share]], image: Any, gradients: tuple[Any, ...]
    ) -> Any:
        """Return the gradient at the image from those at the totals; recomputes the strips."""

        def add_strip(total: Any, span: _Span) -> Any:
            rows = _cut(image, span)
            with tf.GradientTape() as tape:
                tape.watch(rows)
                shares = strip(rows, span)
            upstream = [
                tf.slice(part, (first, *[0] * (part.shape.rank - 1)), own.shape)
                for part, (own, first, _) in zip(gradients, shares, strict=True)
            ]
            gradient = tape.gradient([own for own, _, _ in shares], rows, output_gradients=upstream)
            return losses.added(total, span.begin, gradient)

        return self._accumulate(image.shape[0], losses.zeros(image.shape, gradients[0]), add_strip)


def _cut(image: Any, span: _Span) -> Any:
    return tf.slice(image, (span.begin, 0, 0), (span.cut, *image.shape[1:]))


@dataclass(frozen=True)
class EarlyFeatures:
    """The features of an image at the early layers, computed strip by strip when iterated."""

    strips: Strips
    image: Any

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the early layers."""
        return self.strips.encoder.early_layers

    @property
    def rows(self) -> int:
        """The height of a strip in pixels; the last may be lower."""
        return self.strips.rows

    def __iter__(self) -> Iterator[Features]:
        return self.strips.pieces(self.image)
