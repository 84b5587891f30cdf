"""Blocks: overlapping windows over a picture, and how far their style is from that of others.

Nodes stand half a block apart, from border to border; the window of a node falls off linearly to
0 at its neighbours. So windows add up to 1 at every pixel, the last row and column included, and
there is no seam where the hard edge of a block would be.
"""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

__all__ = ["Windows", "distance", "goals", "node_count", "windows", "windows_at"]

_PHASES = ((0, 0), (0, 1), (1, 0), (1, 1))  # of nodes: within one, no two windows overlap


def node_count(length: int, side: int) -> int:
    """Return how many nodes cover `length` pixels with blocks of `side`: 1 if one covers all."""
    return 1 if length <= side else -(-2 * length // side) + 1


class Windows(NamedTuple):
    """M windows on a layer's grid. places: int32 [M, N]; weights: float32 [M, N], 0 outside."""

    places: Any
    weights: Any


def windows(grid: tuple[int, int], nodes: tuple[int, int], half: int) -> Windows:
    """Return the windows of all nodes, row after row, on a grid of cells.

    grid: (rows, columns) of the layer; nodes: how many down and across; half: cells between nodes.
    """
    down, across = (
        _spans(length, np.arange(count) * half, half if count > 1 else None)
        for length, count in zip(grid, nodes, strict=True)
    )
    pairs = np.divmod(np.arange(nodes[0] * nodes[1]), nodes[1])
    return _crossed(grid, down, across, *pairs)


def windows_at(
    grid: tuple[int, int], centres: np.ndarray, nodes: tuple[int, int], half: int
) -> Windows:
    """Return windows around `centres`, cells [M, 2] (row, column), on another picture's grid.

    Along an axis on which one node covers the whole frame, a window covers the whole picture.
    """
    down, across = (
        _spans(length, centres[:, axis], half if nodes[axis] > 1 else None)
        for axis, length in enumerate(grid)
    )
    every = np.arange(len(centres))
    return _crossed(grid, down, across, every, every)


def _spans(length: int, centres: np.ndarray, half: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Return cells and weights [n, N] along an axis; half None: all of the axis, evenly."""
    if half is None:
        cells = np.tile(np.arange(length), (len(centres), 1))
        return cells, np.ones(cells.shape)
    steps = np.arange(-half, half)
    cells = centres[:, None] + steps
    weights = np.where((cells >= 0) & (cells < length), 1 - abs(steps + 0.5) / half, 0)
    return np.clip(cells, 0, length - 1), weights


def _crossed(
    grid: tuple[int, int],
    down: tuple[np.ndarray, np.ndarray],
    across: tuple[np.ndarray, np.ndarray],
    rows: np.ndarray,
    columns: np.ndarray,
) -> Windows:
    """Return the windows that are the products of these spans, of `rows` with `columns`."""
    places = down[0][rows][:, :, None] * grid[1] + across[0][columns][:, None, :]
    weights = down[1][rows][:, :, None] * across[1][columns][:, None, :]
    count = len(rows)
    return Windows(
        places.reshape(count, -1).astype(np.int32), weights.reshape(count, -1).astype(np.float32)
    )


def goals(features: Any, over: Windows) -> dict[str, Any]:
    """Return what windows of a style picture's features [h, w, C] ask for: Gram matrices [M, C, C].

    Where a window has fewer cells N than there are channels, the weighted features themselves
    [M, N, C], which tell the same; and the squared norm [M] of the Gram matrices.
    """
    rows = _rows(features)
    parts = tf.gather(rows, over.places) * _roots(over.weights)[..., None]
    if over.places.shape[1] < rows.shape[1]:
        own = tf.matmul(parts, parts, transpose_b=True)
        return {"rows": parts, "norm": tf.reduce_sum(tf.square(own), axis=(1, 2))}
    grams = tf.matmul(parts, parts, transpose_a=True)
    return {"grams": grams, "norm": tf.reduce_sum(tf.square(grams), axis=(1, 2))}


def distance(features: Any, over: Windows, nodes: tuple[int, int], aims: dict[str, Any]) -> Any:
    """Return Σ_m ω_m ‖G_m − A_m‖² / ‖A_m‖² over the windows of a frame's features [h, w, C].

    over: all windows of `nodes`, of tensors; aims: goals(). ω_m is the window's share of the
    frame. With N cells a window, N < C, ‖AᵀA − BᵀB‖² = ‖AAᵀ‖² − 2‖ABᵀ‖² + ‖BBᵀ‖² is computed,
    exactly, from products N x N.
    """
    rows = _rows(features)
    share = tf.reduce_sum(over.weights, axis=1) / float(rows.shape[0])
    parts = []
    for chosen in _phases(nodes):
        places, weights = tf.gather(over.places, chosen), tf.gather(over.weights, chosen)
        part = _gathered(rows, places) * _roots(weights)[..., None]
        apart = _apart(part, {name: tf.gather(aim, chosen) for name, aim in aims.items()})
        parts.append(tf.reduce_sum(tf.gather(share, chosen) * apart))
    return tf.reduce_sum(tf.stack(parts))


def _apart(part: Any, aims: dict[str, Any]) -> Any:
    """Return ‖G − A‖² / ‖A‖² [M] of weighted features [M, N, C]."""
    if "grams" in aims:
        found = tf.matmul(part, part, transpose_a=True)
        apart = tf.reduce_sum(tf.square(found - aims["grams"]), axis=(1, 2))
    else:
        own, both = (tf.matmul(part, other, transpose_b=True) for other in (part, aims["rows"]))
        apart = tf.reduce_sum(tf.square(own), axis=(1, 2))
        apart += aims["norm"] - 2 * tf.reduce_sum(tf.square(both), axis=(1, 2))
    return apart / (aims["norm"] + 1e-12)


def _rows(features: Any) -> Any:
    return tf.reshape(features, (-1, features.shape[2]))


def _roots(weights: Any) -> Any:
    """Return √(w / Σw) [M, N]: what features are multiplied by for a weighted mean of products."""
    return tf.sqrt(weights / (tf.reduce_sum(weights, axis=1, keepdims=True) + 1e-12))


def _phases(nodes: tuple[int, int]) -> list[np.ndarray]:
    """Return the numbers of the nodes of each phase that has any."""
    row, column = np.divmod(np.arange(nodes[0] * nodes[1]), nodes[1])
    found = [np.flatnonzero((row % 2 == i) & (column % 2 == j)) for i, j in _PHASES]
    return [chosen for chosen in found if len(chosen)]


def _gathered(rows: Any, places: Any) -> Any:
    """Return rows [P, C] at places [M, N]; where a place occurs twice its weight is 0 but once."""

    @tf.custom_gradient
    def gather(rows: Any) -> tuple[Any, Any]:
        def scatter(up: Any) -> Any:
            updates = tf.reshape(up, (-1, rows.shape[1]))
            return tf.tensor_scatter_nd_add(
                tf.zeros_like(rows), tf.reshape(places, (-1, 1)), updates
            )

        return tf.gather(rows, places), scatter

    return gather(rows)
