"""Blocks: overlapping windows over a picture, and how far their style is from that of others.

Nodes stand half a block apart, from border to border; the window of a node falls off linearly to
0 at its neighbours. So windows add up to 1 at every pixel, the last row and column included, and
there is no seam where the hard edge of a block would be.
"""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from vidstyle.vgg import losses

__all__ = ["Span", "Windows", "crossed", "distance", "goals", "node_count", "spans_at", "windows"]

Span = tuple[np.ndarray, np.ndarray]  # cells and weights along an axis
_PHASES = ((0, 0), (0, 1), (1, 0), (1, 1))  # of nodes: within one, no two windows overlap
_HELD = 2_000_000  # numbers of gathered features held at once


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
    row, column = np.divmod(np.arange(nodes[0] * nodes[1]), nodes[1])
    return crossed(grid, (down[0][row], down[1][row]), (across[0][column], across[1][column]))


def spans_at(
    grid: tuple[int, int], centres: np.ndarray, nodes: tuple[int, int], half: int
) -> tuple[Span, Span]:
    """Return the spans, down and across, of windows around `centres` on another picture's grid.

    centres: cells [M, 2] (row, column). Along an axis on which one node covers the whole frame, a
    window covers the whole picture.
    """
    down, across = (
        _spans(length, centres[:, axis], half if nodes[axis] > 1 else None)
        for axis, length in enumerate(grid)
    )
    return down, across


def _spans(length: int, centres: np.ndarray, half: int | None) -> Span:
    """Return cells and weights [n, N] along an axis; half None: all of the axis, evenly."""
    if half is None:
        cells = np.tile(np.arange(length), (len(centres), 1))
        return cells, np.ones(cells.shape)
    steps = np.arange(-half, half)
    cells = centres[:, None] + steps
    weights = np.where((cells >= 0) & (cells < length), 1 - abs(steps + 0.5) / half, 0)
    return np.clip(cells, 0, length - 1), weights


def crossed(grid: tuple[int, int], down: Span, across: Span) -> Windows:
    """Return the windows [M, N] that are the products of spans, on a grid of cells."""
    places = down[0][:, :, None] * grid[1] + across[0][:, None, :]
    weights = down[1][:, :, None] * across[1][:, None, :]
    count = len(places)
    return Windows(
        places.reshape(count, -1).astype(np.int32), weights.reshape(count, -1).astype(np.float32)
    )


def goals(features: Any, over: Windows) -> dict[str, Any]:
    """Return what windows of a style picture's features [h, w, C] ask for.

    Gram matrices [M, C, C]; or where a window has fewer cells N than there are channels, the
    features themselves and the windows, which tell the same; and the squared norm [M] of the Gram
    matrices. Some windows at a time, so that memory is bounded.
    """
    (count, cells), rows = over.places.shape, _rows(features)
    narrow = cells < rows.shape[1]
    grams, norms = [], []
    for first in range(0, count, step := max(1, _HELD // (cells * rows.shape[1]))):
        part = _weighted(rows, Windows(*(values[first : first + step] for values in over)))
        products = tf.matmul(part, part, transpose_a=not narrow, transpose_b=narrow)
        norms.append(tf.reduce_sum(tf.square(products), axis=(1, 2)))
        if not narrow:
            grams.append(products)
    norm = tf.concat(norms, axis=0)
    if narrow:
        return {"rows": rows, "over": Windows(*map(tf.constant, over)), "norm": norm}
    return {"grams": tf.concat(grams, axis=0), "norm": norm}


def distance(features: Any, over: Windows, nodes: tuple[int, int], aims: dict[str, Any]) -> Any:
    """Return Σ_m ω_m ‖G_m − A_m‖² / ‖A_m‖² over the windows of a frame's features [h, w, C].

    over: all windows of `nodes`, of tensors; aims: goals(). ω_m is the window's share of the
    frame. With N cells a window, N < C, ‖AᵀA − BᵀB‖² = ‖AAᵀ‖² − 2‖ABᵀ‖² + ‖BBᵀ‖² is computed,
    exactly, from products N x N. The gradient is found with the value, some windows at a time.
    """
    numbered, counted = _chunks(nodes, over.places.shape[1] * features.shape[2])

    @tf.custom_gradient
    def found(rows: Any) -> tuple[Any, Any]:
        share = tf.reduce_sum(over.weights, axis=1) / float(rows.shape[0])

        def of_chunk(number: Any, value: Any, gradient: Any) -> tuple[Any, Any, Any]:
            chosen, counts = tf.gather(numbered, number), tf.gather(counted, number)
            places, weights = (tf.gather(values, chosen) for values in over)
            with tf.GradientTape() as tape:
                part = tf.gather(rows, places)
                tape.watch(part)
                apart = _apart(part * _roots(weights)[..., None], _chosen(aims, chosen))
                more = tf.reduce_sum(counts * tf.gather(share, chosen) * apart)
            updates = tf.reshape(tape.gradient(more, part), (-1, rows.shape[1]))
            at = tf.reshape(places, (-1,))
            return number + 1, value + more, losses.added(gradient, at, updates)

        _, value, gradient = tf.while_loop(
            lambda number, *_: number < len(numbered),
            of_chunk,
            (tf.constant(0), tf.constant(0.0), losses.zeros(rows.shape, rows)),
            parallel_iterations=1,
        )
        return value, lambda up: up * gradient

    return found(_rows(features))


def _chosen(aims: dict[str, Any], chosen: Any) -> dict[str, Any]:
    """Return the aims of these windows: Gram matrices, or weighted features [m, N, C]."""
    norm = tf.gather(aims["norm"], chosen)
    if "grams" in aims:
        return {"norm": norm, "grams": tf.gather(aims["grams"], chosen)}
    over = Windows(*(tf.gather(values, chosen) for values in aims["over"]))
    return {"norm": norm, "rows": _weighted(aims["rows"], over)}


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


def _weighted(rows: Any, over: Windows) -> Any:
    """Return the features [M, N, C] of windows, whose products are weighted means."""
    return tf.gather(rows, over.places) * _roots(over.weights)[..., None]


def _roots(weights: Any) -> Any:
    """Return √(w / Σw) [M, N]: what features are multiplied by for a weighted mean of products."""
    return tf.sqrt(weights / (tf.reduce_sum(weights, axis=1, keepdims=True) + 1e-12))


def _chunks(nodes: tuple[int, int], numbers: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which nodes are treated at once, where each has so many numbers; no two overlap.

    int32 [chunks, m], and float32 of the same shape: 0 where a node only fills up its chunk.
    """
    most = max(1, _HELD // numbers)
    parts = [
        part
        for chosen in _phases(nodes)
        for part in np.array_split(chosen, -(-len(chosen) // most))
    ]
    size = max(map(len, parts))
    numbered = np.stack([np.pad(part, (0, size - len(part)), mode="edge") for part in parts])
    counted = np.stack([np.arange(size) < len(part) for part in parts])
    return numbered.astype(np.int32), counted.astype(np.float32)


def _phases(nodes: tuple[int, int]) -> list[np.ndarray]:
    """Return the numbers of the nodes of each phase that has any."""
    row, column = np.divmod(np.arange(nodes[0] * nodes[1]), nodes[1])
    found = [np.flatnonzero((row % 2 == i) & (column % 2 == j)) for i, j in _PHASES]
    return [chosen for chosen in found if len(chosen)]
