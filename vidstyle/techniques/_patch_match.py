"""Matching of the frame's blocks with blocks of the style: deterministic, in chunks.

Each node of the frame is matched with a corner between the style's cells, a quarter of a block
apart, by the cosine similarity of the cells around both, in labels or features. Ties go to the
nearest relative position; each use of a corner raises its cost, so that matches spread. An earlier
frame's match is kept while it is about as similar as when it was chosen.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["CELLS", "BlockDescriptors", "describe_blocks", "match"]

CELLS = 4  # cells in the height and width of a block
_DISTANCE_COST = 0.1  # similarity: the cost of a displacement by the whole image
_REUSE_COST = 0.05  # similarity: the cost of each earlier use of a corner
_KEPT_LOSS = 0.1  # similarity: the loss up to which an earlier match is kept
_CHUNK = 64_000_000  # similarities in memory at once: 256 MB


@dataclass(frozen=True)
class BlockDescriptors:
    """Descriptors [rows, columns, D] of an image's cells, and of blocks around their corners."""

    cells: np.ndarray

    def around(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Return the CELLS x CELLS cells around each corner, as unit vectors [M, CELLS² · D].

        rows, columns: int [M], the corners' coordinates in cells.
        """
        half = CELLS // 2
        padded = np.pad(self.cells, ((half, half), (half, half), (0, 0)), mode="edge")
        steps = np.arange(CELLS)
        found = padded[
            rows[:, None, None] + steps[:, None], columns[:, None, None] + steps[None, :]
        ].reshape(len(rows), -1)
        return np.asarray(found / (np.linalg.norm(found, axis=1, keepdims=True) + 1e-8))


def describe_blocks(
    parts: Sequence[tuple[float, np.ndarray]], cell: tuple[int, int]
) -> BlockDescriptors:
    """Return the descriptors of an image on a grid of `cell` (rows, columns) cells.

    parts: (weight, planes float32 [h, w, D]) pairs; each part of a descriptor has its weight as
    length.
    """
    cells = []
    for weight, planes in parts:
        small = _shrunk(planes, *cell)
        cells.append(weight * small / (np.linalg.norm(small, axis=2, keepdims=True) + 1e-8))
    return BlockDescriptors(np.concatenate(cells, axis=2).astype(np.float32))


def _shrunk(planes: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Return planes [h, w, D] area-averaged to another size, four at a time: OpenCV's limit."""
    import cv2

    parts = [
        cv2.resize(
            np.ascontiguousarray(planes[..., first : first + 4]),
            (columns, rows),
            interpolation=cv2.INTER_AREA,
        ).reshape(rows, columns, -1)
        for first in range(0, planes.shape[2], 4)
    ]
    return np.concatenate(parts, axis=2)


def match(
    frame: BlockDescriptors,
    style: BlockDescriptors,
    nodes: tuple[int, int],
    suggested: np.ndarray | None = None,
    chunk: int = _CHUNK,
) -> np.ndarray:
    """Return matches float32 [rows, columns, 5]: row and column of a corner, similarity, 0, 0.

    Corners lie between the style's cells; rows and columns count cells. nodes: the (rows, columns)
    of nodes. suggested: the matches of an earlier frame, carried along the motion, NaN where
    unknown; a suggested match is kept with all five values. chunk: similarities in memory at once.
    """
    tall, wide = (length + 1 for length in style.cells.shape[:2])
    row, column = np.divmod(np.arange(nodes[0] * nodes[1]), nodes[1])
    half = CELLS // 2
    corners = (
        np.minimum(node * half, length)
        for node, length in zip((row, column), frame.cells.shape[:2], strict=True)
    )
    frame_blocks = frame.around(*corners)
    style_blocks = style.around(*np.divmod(np.arange(tall * wide), wide))
    positions = np.stack([row / max(nodes[0] - 1, 1), column / max(nodes[1] - 1, 1)], axis=1)
    matches = np.zeros((len(row), 5), np.float32)
    uses = np.zeros((tall, wide), np.float32)
    suggestions = None if suggested is None else suggested.reshape(-1, 5)
    step = max(1, chunk // len(style_blocks))
    for first in range(0, len(row), step):
        similarities = frame_blocks[first : first + step] @ style_blocks.T
        for index, similarity in enumerate(similarities.reshape(-1, tall, wide), start=first):
            if suggestions is not None and _is_still_similar(similarity, suggestions[index]):
                matches[index] = suggestions[index]
            else:
                corner = _best(similarity, uses, positions[index])
                matches[index, :3] = (*corner, similarity[corner])
            _mark_used(uses, (int(matches[index, 0]), int(matches[index, 1])))
    return matches.reshape(*nodes, 5)


def _is_still_similar(similarity: np.ndarray, suggestion: np.ndarray) -> bool:
    """Return whether the suggested corner is still about as similar as when it was chosen."""
    if np.isnan(suggestion).any():
        return False
    return bool(similarity[int(suggestion[0]), int(suggestion[1])] >= suggestion[2] - _KEPT_LOSS)


def _best(similarity: np.ndarray, uses: np.ndarray, position: np.ndarray) -> tuple[int, int]:
    rows, columns = (np.linspace(0, 1, length) for length in similarity.shape)
    distances = np.hypot(rows[:, None] - position[0], columns[None, :] - position[1])
    score = similarity - _REUSE_COST * uses - _DISTANCE_COST * distances.astype(np.float32)
    row, column = np.unravel_index(int(np.argmax(score)), score.shape)
    return int(row), int(column)


def _mark_used(uses: np.ndarray, corner: tuple[int, int]) -> None:
    """Count a use of a corner, and a linearly smaller part of one for corners around it."""
    reach = CELLS // 2 - 1
    fall = 1 - abs(np.arange(-reach, reach + 1)) / (CELLS // 2)
    rows, columns = (
        np.arange(max(0, p - reach), min(length, p + reach + 1))
        for p, length in zip(corner, uses.shape, strict=True)
    )
    uses[np.ix_(rows, columns)] += np.outer(
        fall[rows - corner[0] + reach], fall[columns - corner[1] + reach]
    )
