"""The moments of blocks as sums over strips of an image's rows.

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

_ROWS = range(16, 49)  # pixels: heights of a strip, if the blocks' side allows one
_HELD = 4_000_000  # gathered features in memory at once


@dataclass(frozen=True)
class StripGrams:
    """The strips of a frame of `size` (rows, columns) pixels with blocks of `side` pixels."""

    size: tuple[int, int]
    side: int

    @property
    def nodes(self) -> tuple[int, int]:
        height, width = (node_count(length, self.side) for length in self.size)
        return height, width

    @property
    def rows(self) -> int:
        """The height of a strip in pixels: a divisor of half a block, a multiple of 4."""
        half = self.side // 2
        found = [half // n for n in range(1, half // 4 + 1) if half % n == 0 and half // n % 4 == 0]
        return next((rows for rows in found if rows in _ROWS), found[0])

    def sums(self, features: Any, number: Any, stride: int) -> Any:
        """Return the sums of a strip's features [r, w, C] for the rows of nodes above and below.

        Σ w f fᵀ and below it Σ w f, [E, n, C + 1, C]: E is 2, or 1 if one row of nodes covers the
        frame; n: the nodes in a row. `moments` takes the totals, to whose rows from `first` on
        these are added. number: the strip's; stride: of the layer in pixels.
        """
        rows, width, channels = features.shape
        across = self._ends(1, stride)
        count, cells = max(1, self.nodes[1] - 1), across.shape[1]
        x = tf.pad(features, ((0, 0), (0, count * cells - width), (0, 0)))
        x = tf.transpose(tf.reshape(x, (rows, count, cells, channels)), (1, 0, 2, 3))
        down, whole = self._ends(0, stride), self.rows // stride
        begin = number % (down.shape[1] // whole) * whole
        ends = tf.slice(tf.constant(down), (0, begin), (len(down), rows))
        weights = ends[:, None, :, None] * across[:, None, :]
        weights = tf.reshape(weights, (len(down) * len(across), -1, 1))
        found = _sums(tf.reshape(x, (count, rows * cells, channels)), weights)
        found = tf.reshape(found, (len(down), len(across), count, channels + 1, channels))
        return _shifted(found)

    def first(self, number: Any) -> Any:
        """Return the first row of nodes that a strip adds to."""
        half = self.side // 2
        return 0 if self.nodes[0] == 1 else number // (half // self.rows)

    def moments(self, sums: Any, stride: int) -> Any:
        """Return the moments [M, C + 1, C] of all nodes from their sums, [rows, n, C + 1, C]."""
        found = tf.reshape(sums, (-1, *sums.shape[-2:]))
        return found / self.totals(stride)[:, None, None]

    def distance(self, sums: Any, aims: Any, stride: int) -> Any:
        """Return Σ_m ω_m d_m, as _patch_gram.distance; aims: moments [M, C + 1, C]."""
        apart = losses.style(self.moments(sums, stride), aims)
        totals = self.totals(stride)
        return tf.reduce_sum(totals / totals.sum() * apart)

    def totals(self, stride: int) -> np.ndarray:
        """Return the sum of each node's weights over the cells of a layer, float32 [M]."""
        down, across = (self._axis_totals(axis, stride) for axis in (0, 1))
        return np.outer(down, across).astype(np.float32).ravel()

    def _axis_totals(self, axis: int, stride: int) -> np.ndarray:
        ends, length = self._ends(axis, stride), -(-self.size[axis] // stride)
        if len(ends) == 1:
            return np.array([float(length)])
        count, cells = self.nodes[axis] - 1, ends.shape[1]
        within = np.arange(count * cells).reshape(count, cells) < length
        found = within @ ends.T
        return np.pad(found[:, 0], (0, 1)) + np.pad(found[:, 1], (1, 0))

    def _ends(self, axis: int, stride: int) -> np.ndarray:
        """Return the weights of a band's cells for the nodes at its ends, [E, cells].

        If one node covers the axis, all weights are 1; vertically, the band is then all strips.
        """
        if self.nodes[axis] == 1:
            cells = -(-self.size[axis] // stride)
            whole = self.rows // stride
            return np.ones((1, -(-cells // whole) * whole if axis == 0 else cells), np.float32)
        half = self.side // 2 // stride
        below = (np.arange(half, dtype=np.float32) + 0.5) / half
        return np.stack([1 - below, below])


@tf.custom_gradient
def _sums(rows: Any, weights: Any) -> tuple[Any, Any]:
    """Return Σ_p w_k f fᵀ and below it Σ_p w_k f of rows [n, P, C]: [K, n, C + 1, C].

    weights: [K, P, 1]. One k after another: each product takes as much memory as the rows.
    """
    found: list[Any] = []
    for weight in tf.unstack(weights):
        with tf.control_dependencies(found[-1:]):
            weighed = rows * weight
            products = tf.matmul(weighed, rows, transpose_a=True)
            plain = tf.reduce_sum(weighed, axis=1, keepdims=True)
            found.append(tf.concat([products, plain], axis=1))

    def backwards(up: Any) -> tuple[Any, None]:
        gradient = tf.zeros_like(rows)
        for pull, weight in zip(tf.unstack(up), tf.unstack(weights), strict=True):
            with tf.control_dependencies([gradient]):
                square, shift = pull[:, :-1], pull[:, -1:]
                pulled = tf.matmul(rows, square + tf.transpose(square, (0, 2, 1)))
                gradient += weight * (pulled + shift)
        return gradient, None

    return tf.stack(found), backwards


def _shifted(sums: Any) -> Any:
    """Add the sums of bands at the nodes that they share: [E, 2, n, …] -> [E, n + 1, …].

    If one node covers the axis: [E, 1, n, …] -> [E, n, …].
    """
    parts = tf.unstack(sums, axis=1)
    if len(parts) == 1:
        return parts[0]
    (rows, _, *square), (before, after) = parts[0].shape, parts
    nothing = tf.zeros((rows, 1, *square))
    return tf.concat([before, nothing], 1) + tf.concat([nothing, after], 1)


class WindowMoments:
    """The moments of windows at any places of an image, from its strips in order.

    down, across: cells and weights [M, N] along either axis: see _patch_gram.spans_at.
    """

    def __init__(self, down: Span, across: Span) -> None:
        self._down, (self._columns, self._weights) = down, across
        self._sums: Any = 0.0
        self._first = 0

    def add(self, features: Any) -> None:
        """Add the features [r, w, C] of the next strip."""
        rows, width, channels = features.shape
        count, cells = self._columns.shape
        weights = _in_strip(*self._down, self._first, rows)
        (met,) = np.nonzero(weights.any(axis=1))
        flat, step = (
            tf.reshape(features, (-1, channels)),
            max(1, _HELD // (rows * cells * channels)),
        )
        if self._first == 0:
            self._sums = np.zeros((count, channels + 1, channels), np.float32)
        for begin in range(0, len(met), step):
            some = met[begin : begin + step]
            places = np.arange(rows)[:, None] * width + self._columns[some][:, None, :]
            weight = weights[some][:, :, None] * self._weights[some][:, None, :]
            part = tf.gather(flat, places.reshape(len(some), -1).astype(np.int32))
            roots = np.sqrt(weight).reshape(len(some), -1, 1).astype(np.float32)
            both = tf.concat([part * roots, roots], axis=2)
            self._sums[some] += tf.matmul(both, part * roots, transpose_a=True).numpy()
        self._first += rows

    @property
    def moments(self) -> np.ndarray:
        """The moments, float32 [M, C + 1, C], after all strips were added."""
        total = self._down[1].sum(axis=1) * self._weights.sum(axis=1)
        return np.asarray(self._sums / total[:, None, None].astype(np.float32))


def _in_strip(cells: np.ndarray, weights: np.ndarray, first: int, rows: int) -> np.ndarray:
    """Return the weights [M, r] of a strip's rows in each window, 0 outside it."""
    found = np.zeros((len(cells), rows))
    window, place = np.nonzero((cells >= first) & (cells < first + rows) & (weights > 0))
    found[window, cells[window, place] - first] = weights[window, place]
    return found
