"""Windows: overlapping blocks of an image, and the style distance between matched blocks.

Nodes are half a block apart, from border to border; the weight of a node's window falls linearly to
0 at the neighbouring nodes. The windows add up to 1 at every pixel, so block edges leave no seams.
"""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from vidstyle.vgg import losses

__all__ = ["Span", "Windows", "crossed", "distance", "goals", "node_count", "spans_at", "windows"]

Span = tuple[np.ndarray, np.ndarray]  # cells and weights [M, N] of windows along an axis
_PHASES = ((0, 0), (0, 1), (1, 0), (1, 1))  # node parities: windows of one parity do not overlap
_MAX_GATHERED = 2_000_000  # gathered features in memory at once


def node_count(length: int, side: int) -> int:
    """Return the number of nodes along `length` pixels for blocks of `side` pixels.

    1 if one block covers the whole length.
    """
    return 1 if length <= side else -(-2 * length // side) + 1


class Windows(NamedTuple):
    """M windows of N cells on a layer of P positions.

    positions: int32 [M, N], indices of cells. weights: float32 [M, N], 0 outside the layer.
    """

    positions: Any
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
    """Return the cells and weights [M, N] of windows around `centres` [M] along an axis.

    length: of the axis in cells. half: distance of two nodes in cells; None: each window is the
    whole axis, with weight 1.
    """
    if half is None:
        cells = np.tile(np.arange(length), (len(centres), 1))
        return cells, np.ones(cells.shape)
    steps = np.arange(-half, half)
    cells = centres[:, None] + steps
    weights = np.where((cells >= 0) & (cells < length), 1 - abs(steps + 0.5) / half, 0)
    return np.clip(cells, 0, length - 1), weights


def crossed(grid: tuple[int, int], down: Span, across: Span) -> Windows:
    """Return the windows [M, N] that are the outer products of two spans.

    grid: (rows, columns) of the layer in cells. down, across: vertical and horizontal spans.
    """
    positions = down[0][:, :, None] * grid[1] + across[0][:, None, :]
    weights = down[1][:, :, None] * across[1][:, None, :]
    count = len(positions)
    return Windows(
        positions.reshape(count, -1).astype(np.int32), weights.reshape(count, -1).astype(np.float32)
    )


def goals(features: Any, style_windows: Windows) -> dict[str, Any]:
    """Return the goals of windows of a style's features [h, w, C], for `distance`.

    {"moments": [M, C + 1, C]}; or, if a window has fewer cells than there are channels, {"rows":
    features [P, C], "windows": style_windows, "energy": [M], ‖A‖² of the covariance matrices}.
    Computed in chunks of windows, to bound the memory.
    """
    (count, cells), rows = style_windows.positions.shape, _rows(features)
    narrow = cells < rows.shape[1]
    chunks = []
    for first in range(0, count, step := max(1, _MAX_GATHERED // (cells * rows.shape[1]))):
        chosen = Windows(*(values[first : first + step] for values in style_windows))
        part, roots = _weighted(rows, chosen)
        chunks.append(_energies(_centred(part, roots)[0]) if narrow else _moments(part, roots))
    if narrow:
        energies = tf.concat(chunks, axis=0)
        return {
            "rows": rows,
            "windows": Windows(*map(tf.constant, style_windows)),
            "energy": energies,
        }
    return {"moments": tf.concat(chunks, axis=0)}


def distance(
    features: Any, frame_windows: Windows, nodes: tuple[int, int], style_goals: dict[str, Any]
) -> Any:
    """Return Σ_m ω_m d_m over the windows of a frame's features [h, w, C], d the style distance.

    frame_windows: the windows of all nodes, as tensors; nodes: their (rows, columns); style_goals:
    as returned by `goals`. ω_m is the window's share of the frame. If a window has N < C cells,
    ‖AᵀA − BᵀB‖² = ‖AAᵀ‖² − 2‖ABᵀ‖² + ‖BBᵀ‖² is computed exactly, from products N x N of centred
    features. Value and gradient are computed together, in chunks of windows.
    """
    chunk_nodes, is_node = _chunks(nodes, frame_windows.positions.shape[1] * features.shape[2])

    @tf.custom_gradient
    def summed_distance(rows: Any) -> tuple[Any, Any]:
        share = tf.reduce_sum(frame_windows.weights, axis=1) / float(rows.shape[0])

        def of_chunk(number: Any, value: Any, gradient: Any) -> tuple[Any, Any, Any]:
            chosen, counted = tf.gather(chunk_nodes, number), tf.gather(is_node, number)
            positions, weights = (tf.gather(values, chosen) for values in frame_windows)
            with tf.GradientTape() as tape:
                part = tf.gather(rows, positions)
                tape.watch(part)
                roots = _roots(weights)
                goals = _goals_of(style_goals, chosen)
                distances = _distances(part * roots, roots, goals)
                loss = tf.reduce_sum(counted * tf.gather(share, chosen) * distances)
            updates = tf.reshape(tape.gradient(loss, part), (-1, rows.shape[1]))
            rows_of_part = tf.reshape(positions, (-1,))
            return number + 1, value + loss, losses.added(gradient, rows_of_part, updates)

        _, value, gradient = tf.while_loop(
            lambda number, *_: number < len(chunk_nodes),
            of_chunk,
            (tf.constant(0), tf.constant(0.0), losses.zeros(rows.shape, rows)),
            parallel_iterations=1,
        )
        return value, lambda up: up * gradient

    return summed_distance(_rows(features))


def _goals_of(style_goals: dict[str, Any], chosen: Any) -> dict[str, Any]:
    """Return the goals of the chosen windows: moments, or centred features [m, N, C] and means."""
    if "moments" in style_goals:
        return {"moments": tf.gather(style_goals["moments"], chosen)}
    style_windows = Windows(*(tf.gather(values, chosen) for values in style_goals["windows"]))
    rows, mean = _centred(*_weighted(style_goals["rows"], style_windows))
    return {"rows": rows, "mean": mean, "energy": tf.gather(style_goals["energy"], chosen)}


def _distances(part: Any, roots: Any, goals: dict[str, Any]) -> Any:
    """Return the style distance [M] of weighted features [M, N, C]; roots: as of _roots."""
    if "moments" in goals:
        return losses.style(_moments(part, roots), goals["moments"])
    rows, mean = _centred(part, roots)
    products = tf.reduce_sum(
        tf.square(tf.matmul(rows, goals["rows"], transpose_b=True)), axis=(1, 2)
    )
    spread = _energies(rows) + goals["energy"] - 2 * products
    shift = tf.reduce_sum(tf.square(mean - goals["mean"]), axis=(1, 2))
    return losses.combined(
        spread, goals["energy"], shift, tf.reduce_sum(tf.square(goals["mean"]), axis=(1, 2))
    )


def _moments(part: Any, roots: Any) -> Any:
    """Return the moments [M, C + 1, C] of weighted features [M, N, C]; roots: as of _roots."""
    extended = tf.concat([part, roots], axis=2)
    return tf.matmul(extended, part, transpose_a=True)


def _centred(part: Any, roots: Any) -> tuple[Any, Any]:
    """Return weighted features [M, N, C] less their weighted mean, and that mean [M, 1, C]."""
    mean = tf.matmul(roots, part, transpose_a=True)
    return part - roots * mean, mean


def _energies(rows: Any) -> Any:
    """Return ‖BᵀB‖² = ‖BBᵀ‖² [M] of rows B [M, N, C], N < C."""
    return tf.reduce_sum(tf.square(tf.matmul(rows, rows, transpose_b=True)), axis=(1, 2))


def _rows(features: Any) -> Any:
    return tf.reshape(features, (-1, features.shape[2]))


def _weighted(rows: Any, chosen: Windows) -> tuple[Any, Any]:
    """Return the features [M, N, C] of windows multiplied by their _roots, and the roots."""
    roots = _roots(chosen.weights)
    return tf.gather(rows, chosen.positions) * roots, roots


def _roots(weights: Any) -> Any:
    """Return √(w / Σw), [M, N, 1]; products of features multiplied by it are weighted means."""
    total = tf.reduce_sum(weights, axis=1, keepdims=True) + 1e-12
    return tf.sqrt(weights / total)[..., None]


def _chunks(nodes: tuple[int, int], numbers: int) -> tuple[np.ndarray, np.ndarray]:
    """Return chunks of nodes whose windows do not overlap, for windows of `numbers` features.

    int32 [chunks, m], and float32 of the same shape: 0 where a node is padding, else 1.
    """
    most = max(1, _MAX_GATHERED // numbers)
    parts = [
        part
        for chosen in _phases(nodes)
        for part in np.array_split(chosen, -(-len(chosen) // most))
    ]
    size = max(map(len, parts))
    chunk_nodes = np.stack([np.pad(part, (0, size - len(part)), mode="edge") for part in parts])
    is_node = np.stack([np.arange(size) < len(part) for part in parts])
    return chunk_nodes.astype(np.int32), is_node.astype(np.float32)


def _phases(nodes: tuple[int, int]) -> list[np.ndarray]:
    """Return the indices of the nodes of each parity that has any."""
    row, column = np.divmod(np.arange(nodes[0] * nodes[1]), nodes[1])
    phases = [np.flatnonzero((row % 2 == i) & (column % 2 == j)) for i, j in _PHASES]
    return [chosen for chosen in phases if len(chosen)]
