"""Matching of the frame's blocks with places in the style: deterministic, in chunks.

Each node of the frame is matched with a place of the style, a quarter of a block apart, by the
cosine similarity of the cells around both, in labels or features. Ties go to the nearest relative
position; a place that is used costs more, so that matches spread. An earlier frame's match is kept
while it is about as similar as when it was chosen.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["CELLS", "BlockDescriptors", "describe_blocks", "match"]

CELLS = 4  # cells in the height and width of a block
_FARTHER = 0.1  # in similarity: the cost of a displacement by the whole image
_TAKEN = 0.05  # in similarity: the cost of each earlier use of a place
_WORSE = 0.1  # in similarity: the loss up to which an earlier match is kept
_CHUNK = 64_000_000  # similarities in memory at once


@dataclass(frozen=True)
class BlockDescriptors:
    """Descriptors [rows, columns, D] of an image's cells, and of blocks around their corners."""

    cells: np.ndarray

    def around(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Return the CELLS x CELLS cells around these corners, as unit vectors [M, D']."""
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
    """Return descriptors of (weight, planes [h, w, D]) pairs on `cell` (rows, columns) cells."""
    cells = []
    for weight, planes in parts:
        small = _shrunk(planes, *cell)
        cells.append(weight * small / (np.linalg.norm(small, axis=2, keepdims=True) + 1e-8))
    return BlockDescriptors(np.concatenate(cells, axis=2).astype(np.float32))


def _shrunk(planes: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Return planes [h, w, D] area-averaged to another size, four at a time: OpenCV's limit."""
    import cv2

    found = [
        cv2.resize(
            np.ascontiguousarray(planes[..., first : first + 4]),
            (columns, rows),
            interpolation=cv2.INTER_AREA,
        ).reshape(rows, columns, -1)
        for first in range(0, planes.shape[2], 4)
    ]
    return np.concatenate(found, axis=2)


def match(
    frame: BlockDescriptors,
    style: BlockDescriptors,
    nodes: tuple[int, int],
    suggested: np.ndarray | None = None,
) -> np.ndarray:
    """Return matches float32 [rows, columns, 5]: row and column of a place, similarity, 0, 0.

    Places are corners of the style's cells. suggested: the matches of an earlier frame, carried
    along the motion, NaN where unknown; a suggested match is kept with all five values.
    """
    tall, wide = (length + 1 for length in style.cells.shape[:2])
    row, column = np.divmod(np.arange(nodes[0] * nodes[1]), nodes[1])
    half = CELLS // 2
    corners = (
        np.minimum(at * half, length)
        for at, length in zip((row, column), frame.cells.shape[:2], strict=True)
    )
    ours = frame.around(*corners)
    theirs = style.around(*np.divmod(np.arange(tall * wide), wide))
    at = np.stack([row / max(nodes[0] - 1, 1), column / max(nodes[1] - 1, 1)], axis=1)
    found = np.zeros((len(row), 5), np.float32)
    taken = np.zeros((tall, wide), np.float32)
    before = None if suggested is None else suggested.reshape(-1, 5)
    step = max(1, _CHUNK // len(theirs))
    for first in range(0, len(row), step):
        likeness = ours[first : first + step] @ theirs.T
        for number, alike in enumerate(likeness.reshape(-1, tall, wide), start=first):
            if before is not None and _holds(alike, before[number]):
                found[number] = before[number]
            else:
                place = _best(alike, taken, at[number])
                found[number, :3] = (*place, alike[place])
            _take(taken, (int(found[number, 0]), int(found[number, 1])))
    return found.reshape(*nodes, 5)


def _holds(alike: np.ndarray, suggestion: np.ndarray) -> bool:
    """Return whether the suggested place is still about as similar as when it was chosen."""
    if np.isnan(suggestion).any():
        return False
    return bool(alike[int(suggestion[0]), int(suggestion[1])] >= suggestion[2] - _WORSE)


def _best(alike: np.ndarray, taken: np.ndarray, at: np.ndarray) -> tuple[int, int]:
    rows, columns = (np.linspace(0, 1, length) for length in alike.shape)
    away = np.hypot(rows[:, None] - at[0], columns[None, :] - at[1])
    score = alike - _TAKEN * taken - _FARTHER * away.astype(np.float32)
    row, column = np.unravel_index(int(np.argmax(score)), score.shape)
    return int(row), int(column)


def _take(taken: np.ndarray, place: tuple[int, int]) -> None:
    """Raise the cost of a place, and linearly less of places nearer than the next node."""
    reach = CELLS // 2 - 1
    fall = 1 - abs(np.arange(-reach, reach + 1)) / (CELLS // 2)
    rows, columns = (
        np.arange(max(0, p - reach), min(length, p + reach + 1))
        for p, length in zip(place, taken.shape, strict=True)
    )
    taken[np.ix_(rows, columns)] += np.outer(
        fall[rows - place[0] + reach], fall[columns - place[1] + reach]
    )
