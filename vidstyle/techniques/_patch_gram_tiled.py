"""Moments of blocks, as sums over strips of an image's rows.

A band lies between two neighbouring rows of nodes, half a block high; a strip is a band or an equal
part of one. Each strip adds its sums to the nodes above and below it, where _patch_gram gathers the
cells of each node's window.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from vidstyle.techniques._patch_gram import Span, node_count
from vidstyle.vgg import losses

__all__ = ["StripGrams", "WindowMoments"]

_HEIGHTS = range(16, 49)  # pixels: heights of a strip, if the blocks' side allows one
_MAX_GATHERED = 4_000_000  # gathered features in memory at once


@dataclass(frozen=True)
class StripGrams:
    """The strips of a frame of `size` (rows, columns) pixels with blocks of `side` pixels."""

    size: tuple[int, int]
    side: int

    @property
    def nodes(self) -> tuple[int, int]:
        """The (rows, columns) of nodes."""
        height, width = (node_count(length, self.side) for length in self.size)
        return height, width

    @property
    def rows(self) -> int:
        """The height of a strip in pixels: a divisor of half a block, a multiple of 4."""
        half = self.side // 2
        heights = [
            half // n for n in range(1, half // 4 + 1) if half % n == 0 and half // n % 4 == 0
        ]
        return next((rows for rows in heights if rows in _HEIGHTS), heights[0])

    def sums(self, features: Any, number: Any, stride: int) -> Any:
        """Return the sums of a strip's features [r, w, C] for the rows of nodes above and below.

        Σ w f fᵀ and below it Σ w f, [E, n, C + 1, C]: E is 2, or 1 if one row of nodes covers the
        frame; n: the number of nodes in a row. They are added to the rows from `first` on of the
        totals that `moments` takes. number: index of the strip; stride: of the layer in pixels.
        """
        rows, width, channels = features.shape
        across = self._end_weights(1, stride)
        count, cells = max(1, self.nodes[1] - 1), across.shape[1]
        x = tf.pad(features, ((0, 0), (0, count * cells - width), (0, 0)))
        x = tf.transpose(tf.reshape(x, (rows, count, cells, channels)), (1, 0, 2, 3))
        down, strip_cells = self._end_weights(0, stride), self.rows // stride
        first_cell = number % (down.shape[1] // strip_cells) * strip_cells
        strip_weights = tf.slice(tf.constant(down), (0, first_cell), (len(down), rows))
        weights = strip_weights[:, None, :, None] * across[:, None, :]
        weights = tf.reshape(weights, (len(down) * len(across), -1, 1))
        sums = _sums(tf.reshape(x, (count, rows * cells, channels)), weights)
        sums = tf.reshape(sums, (len(down), len(across), count, channels + 1, channels))
        return _added_at_nodes(sums)

    def first(self, number: Any) -> Any:
        """Return the first row of nodes that the strip with this index adds to."""
        half = self.side // 2
        return 0 if self.nodes[0] == 1 else number // (half // self.rows)

    def moments(self, sums: Any, stride: int) -> Any:
        """Return the moments [M, C + 1, C] of all nodes from their sums, [rows, n, C + 1, C]."""
        node_sums = tf.reshape(sums, (-1, *sums.shape[-2:]))
        return node_sums / self.totals(stride)[:, None, None]

    def distance(self, sums: Any, goals: Any, stride: int) -> Any:
        """Return Σ_m ω_m d_m as _patch_gram.distance does, from sums as of `moments`.

        goals: the moments of the matched style blocks, [M, C + 1, C].
        """
        distances = losses.style(self.moments(sums, stride), goals)
        totals = self.totals(stride)
        return tf.reduce_sum(totals / totals.sum() * distances)

    def totals(self, stride: int) -> np.ndarray:
        """Return the sum of each node's weights over the cells of a layer, float32 [M]."""
        down, across = (self._axis_totals(axis, stride) for axis in (0, 1))
        return np.outer(down, across).astype(np.float32).ravel()

    def _axis_totals(self, axis: int, stride: int) -> np.ndarray:
        weights, length = self._end_weights(axis, stride), -(-self.size[axis] // stride)
        if len(weights) == 1:
            return np.array([float(length)])
        count, cells = self.nodes[axis] - 1, weights.shape[1]
        inside = np.arange(count * cells).reshape(count, cells) < length
        band_totals = inside @ weights.T
        return np.pad(band_totals[:, 0], (0, 1)) + np.pad(band_totals[:, 1], (1, 0))

    def _end_weights(self, axis: int, stride: int) -> np.ndarray:
        """Return the weights of a band's cells for the nodes at its two ends, [E, cells].

        If one node covers the axis, E is 1 and all weights are 1; vertically, the band then
        consists of all strips.
        """
        if self.nodes[axis] == 1:
            cells = -(-self.size[axis] // stride)
            strip_cells = self.rows // stride
            return np.ones(
                (1, -(-cells // strip_cells) * strip_cells if axis == 0 else cells), np.float32
            )
        half = self.side // 2 // stride
        below = (np.arange(half, dtype=np.float32) + 0.5) / half
        return np.stack([1 - below, below])


@tf.custom_gradient
def _sums(rows: Any, weights: Any) -> tuple[Any, Any]:
    """Return Σ_p w_k f fᵀ and below it Σ_p w_k f of rows [n, P, C]: [K, n, C + 1, C].

    weights: [K, P, 1]. Computed for one k at a time: each product takes as much memory as the rows.
    """
    sums: list[Any] = []
    for weight in tf.unstack(weights):
        with tf.control_dependencies(sums[-1:]):
            weighted = rows * weight
            products = tf.matmul(weighted, rows, transpose_a=True)
            feature_sums = tf.reduce_sum(weighted, axis=1, keepdims=True)
            sums.append(tf.concat([products, feature_sums], axis=1))

    def backwards(up: Any) -> tuple[Any, None]:
        gradient = tf.zeros_like(rows)
        for upstream, weight in zip(tf.unstack(up), tf.unstack(weights), strict=True):
            with tf.control_dependencies([gradient]):
                square, shift = upstream[:, :-1], upstream[:, -1:]
                product = tf.matmul(rows, square + tf.transpose(square, (0, 2, 1)))
                gradient += weight * (product + shift)
        return gradient, None

    return tf.stack(sums), backwards


def _added_at_nodes(sums: Any) -> Any:
    """Add the sums of bands at the nodes that they share: [E, 2, n, …] -> [E, n + 1, …].

    If one node covers the axis: [E, 1, n, …] -> [E, n, …].
    """
    parts = tf.unstack(sums, axis=1)
    if len(parts) == 1:
        return parts[0]
    (rows, _, *square), (before, after) = parts[0].shape, parts
    zero = tf.zeros((rows, 1, *square))
    return tf.concat([before, zero], 1) + tf.concat([zero, after], 1)


class WindowMoments:
    """The moments of windows anywhere in an image, from its strips in order.

    down, across: vertical and horizontal spans of the windows, as of _patch_gram.spans_at.
    """

    def __init__(self, down: Span, across: Span) -> None:
        self._down, (self._columns, self._weights) = down, across
        self._sums: Any = 0.0
        self._first = 0

    def add(self, features: Any) -> None:
        """Add the features [r, w, C] of the next strip."""
        rows, width, channels = features.shape
        count, cells = self._columns.shape
        weights = _strip_weights(*self._down, self._first, rows)
        (overlapping,) = np.nonzero(weights.any(axis=1))
        flat, step = (
            tf.reshape(features, (-1, channels)),
            max(1, _MAX_GATHERED // (rows * cells * channels)),
        )
        if self._first == 0:
            self._sums = np.zeros((count, channels + 1, channels), np.float32)
        for begin in range(0, len(overlapping), step):
            chosen = overlapping[begin : begin + step]
            positions = np.arange(rows)[:, None] * width + self._columns[chosen][:, None, :]
            weight = weights[chosen][:, :, None] * self._weights[chosen][:, None, :]
            part = tf.gather(flat, positions.reshape(len(chosen), -1).astype(np.int32))
            roots = np.sqrt(weight).reshape(len(chosen), -1, 1).astype(np.float32)
            extended = tf.concat([part * roots, roots], axis=2)
            self._sums[chosen] += tf.matmul(extended, part * roots, transpose_a=True).numpy()
        self._first += rows

    @property
    def moments(self) -> np.ndarray:
        """The moments, float32 [M, C + 1, C], after all strips were added."""
        total = self._down[1].sum(axis=1) * self._weights.sum(axis=1)
        return np.asarray(self._sums / total[:, None, None].astype(np.float32))


def _strip_weights(cells: np.ndarray, weights: np.ndarray, first: int, rows: int) -> np.ndarray:
    """Return the weights [M, r] of a strip's r rows in each window, 0 outside it."""
    in_strip = np.zeros((len(cells), rows))
    window, column = np.nonzero((cells >= first) & (cells < first + rows) & (weights > 0))
    in_strip[window, cells[window, column] - first] = weights[window, column]
    return in_strip
