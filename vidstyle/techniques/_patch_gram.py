"""Windows: overlapping blocks of an image, and the style distance between matched blocks.

Nodes are half a block apart, from border to border; the weight of a node's window falls linearly to
0 at its neighbours. The windows add up to 1 at every pixel, so that block edges leave no seams.
"""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from vidstyle.vgg import losses

__all__ = ["Span", "Windows", "crossed", "distance", "goals", "node_count", "spans_at", "windows"]

Span = tuple[np.ndarray, np.ndarray]  # cells and weights along an axis
_PHASES = ((0, 0), (0, 1), (1, 0), (1, 1))  # node parities: windows of one do not overlap
_HELD = 2_000_000  # gathered features in memory at once


def node_count(length: int, side: int) -> int:
    """Return the nodes along `length` pixels for blocks of `side`: 1 if one block covers all."""
    return 1 if length <= side else -(-2 * length // side) + 1


class Windows(NamedTuple):
    """M windows on a layer's grid. places: int32 [M, N]; weights: float32 [M, N], 0 outside."""

    places: Any
    weights: Any


def windows(grid: tuple[int, int], nodes: tuple[int, int], half: int) -> Windows:
    """Return the windows of all nodes, row after row, on a grid of cells.

    grid: (rows, columns) of the layer in cells; nodes: (rows, columns) of nodes; half: their
    distance in cells.
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
    """Return the vertical and horizontal spans of windows around `centres` on the style's grid.

    centres: cells [M, 2] (row, column). Along an axis with a single node, a window covers the whole
    style.
    """
    down, across = (
        _spans(length, centres[:, axis], half if nodes[axis] > 1 else None)
        for axis, length in enumerate(grid)
    )
    return down, across


def _spans(length: int, centres: np.ndarray, half: int | None) -> Span:
    """Return cells and weights [n, N] along an axis; half None: the whole axis, uniformly."""
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
    """Return the goals of windows of a style's features [h, w, C], for `distance`.

    {"moments": [M, C + 1, C]}; or, if a window has fewer cells than there are channels, {"rows":
    features [P, C], "over": windows, "energy": [M], ‖A‖² of the covariance matrices}. Computed in
    chunks of windows, to bound the memory.
    """
    (count, cells), rows = over.places.shape, _rows(features)
    narrow = cells < rows.shape[1]
    found = []
    for first in range(0, count, step := max(1, _HELD // (cells * rows.shape[1]))):
        part, roots = _weighted(rows, Windows(*(values[first : first + step] for values in over)))
        found.append(_energies(_centred(part, roots)[0]) if narrow else _moments(part, roots))
    if narrow:
        energies = tf.concat(found, axis=0)
        return {"rows": rows, "over": Windows(*map(tf.constant, over)), "energy": energies}
    return {"moments": tf.concat(found, axis=0)}


def distance(features: Any, over: Windows, nodes: tuple[int, int], aims: dict[str, Any]) -> Any:
    """Return Σ_m ω_m d_m over the windows of a frame's features [h, w, C], d the style distance.

    over: all windows of `nodes`, as tensors; aims: as `goals` returned them. ω_m is the window's
    share of the frame. If a window has N < C cells, ‖AᵀA − BᵀB‖² = ‖AAᵀ‖² − 2‖ABᵀ‖² + ‖BBᵀ‖² is
    computed exactly, from products N x N of centred features. Value and gradient are computed
    together, in chunks of windows.
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
                roots = _roots(weights)
                apart = _apart(part * roots, roots, _chosen(aims, chosen))
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
    """Return the goals of these windows: moments, or centred features [m, N, C] and means."""
    if "moments" in aims:
        return {"moments": tf.gather(aims["moments"], chosen)}
    over = Windows(*(tf.gather(values, chosen) for values in aims["over"]))
    rows, mean = _centred(*_weighted(aims["rows"], over))
    return {"rows": rows, "mean": mean, "energy": tf.gather(aims["energy"], chosen)}


def _apart(part: Any, roots: Any, aims: dict[str, Any]) -> Any:
    """Return the style distance [M] of weighted features [M, N, C]; roots: as of _roots."""
    if "moments" in aims:
        return losses.style(_moments(part, roots), aims["moments"])
    rows, mean = _centred(part, roots)
    both = tf.reduce_sum(tf.square(tf.matmul(rows, aims["rows"], transpose_b=True)), axis=(1, 2))
    spread = _energies(rows) + aims["energy"] - 2 * both
    shift = tf.reduce_sum(tf.square(mean - aims["mean"]), axis=(1, 2))
    return losses.combined(
        spread, aims["energy"], shift, tf.reduce_sum(tf.square(aims["mean"]), axis=(1, 2))
    )


def _moments(part: Any, roots: Any) -> Any:
    """Return the moments [M, C + 1, C] of weighted features [M, N, C]; roots: as of _roots."""
    both = tf.concat([part, roots], axis=2)
    return tf.matmul(both, part, transpose_a=True)


def _centred(part: Any, roots: Any) -> tuple[Any, Any]:
    """Return weighted features [M, N, C] less their weighted mean, and that mean [M, 1, C]."""
    mean = tf.matmul(roots, part, transpose_a=True)
    return part - roots * mean, mean


def _energies(rows: Any) -> Any:
    """Return ‖BᵀB‖² = ‖BBᵀ‖² [M] of rows B [M, N, C], N < C."""
    return tf.reduce_sum(tf.square(tf.matmul(rows, rows, transpose_b=True)), axis=(1, 2))


def _rows(features: Any) -> Any:
    return tf.reshape(features, (-1, features.shape[2]))


def _weighted(rows: Any, over: Windows) -> tuple[Any, Any]:
    """Return the features [M, N, C] of windows times _roots, and these."""
    roots = _roots(over.weights)
    return tf.gather(rows, over.places) * roots, roots


def _roots(weights: Any) -> Any:
    """Return √(w / Σw), [M, N, 1]: products of features times it are weighted means."""
    total = tf.reduce_sum(weights, axis=1, keepdims=True) + 1e-12
    return tf.sqrt(weights / total)[..., None]


def _chunks(nodes: tuple[int, int], numbers: int) -> tuple[np.ndarray, np.ndarray]:
    """Return chunks of nodes that do not overlap, for so many numbers a node.

    int32 [chunks, m], and float32 of the same shape: 0 where a node is padding.
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
    """Return the numbers of the nodes of each non-empty phase."""
    row, column = np.divmod(np.arange(nodes[0] * nodes[1]), nodes[1])
    found = [np.flatnonzero((row % 2 == i) & (column % 2 == j)) for i, j in _PHASES]
    return [chosen for chosen in found if len(chosen)]
