"""Quilting: strokes for places that no earlier frame shows, copied from a painted frame.

Image quilting (Efros & Freeman, "Image Quilting for Texture Synthesis and Transfer", 2001) guided
by a pair of images as in image analogies (Hertzmann et al., 2001): each tile takes the strokes of
the tile of a painted frame whose source looks most like it and whose strokes continue the known
strokes beside it. Differs in that tiles are compared as 6 x 6 means, and blended in place of cut.
"""

from typing import NamedTuple, Self

import cv2
import numpy as np

from vidstyle.media import Image

__all__ = ["Exemplar", "quilted"]

_TILE = 0.15  # of the long side: a few strokes; 0.12 and 0.2 look the same
_CELLS = 6  # means a side by which tiles are compared: a tile is a multiple of it
_STRIDE = 12  # candidates to a tile's side
_CONTINUED = 0.5  # weight of the strokes beside it, beside the colours; 2 looks the same
_MOSTLY = 0.5  # of a cell is painted: it has a mean to compare
_PLANE = 4.0  # the same of a plane (0..1): another style's strokes are no candidates


class Exemplar(NamedTuple):
    """A painted frame.

    source: Image; strokes: float32 [H, W, 3], what of the result is not the source in the result's
    colours; planes: float32 [H, W, K], as in guides.
    """

    source: Image
    strokes: np.ndarray
    planes: np.ndarray


def quilted(
    frame: Image, planes: np.ndarray, strokes: np.ndarray, known: np.ndarray, exemplar: Exemplar
) -> np.ndarray:
    """Return the strokes of a frame, float32 [H, W, 3], where bool [H, W] `known` is False.

    planes: float32 [H, W, K] of the frame; strokes: those that it has, where they are known. 0
    where all is known, or in a frame of a few pixels.
    """
    height, width = known.shape
    side = min(round(_TILE * max(height, width)), height, width) // _CELLS * _CELLS
    if known.all() or side == 0:
        return np.zeros_like(frame)
    goal, drawn, share, new = (
        cv2.copyMakeBorder(values, side, side, side, side, border)
        for values, border in (
            (np.dstack([frame, _PLANE * planes]), cv2.BORDER_REFLECT_101),
            (strokes * known[..., None], cv2.BORDER_CONSTANT),
            (known.astype(np.float32), cv2.BORDER_CONSTANT),
            ((~known).astype(np.float32), cv2.BORDER_CONSTANT),
        )
    )
    fixed, window = share > 0, _window(side)
    candidates = _Candidates.of(exemplar, side)
    for row, column in _order(share, new, side):
        here = slice(row, row + side), slice(column, column + side)
        painted = drawn[here] / np.maximum(share[here], np.float32(1e-6))[..., None]
        found = candidates.nearest(goal[here], painted, share[here] > 0)
        weight = np.where(fixed[here], 0, window)
        drawn[here] += weight[..., None] * found
        share[here] += weight
    inside = slice(side, side + height), slice(side, side + width)
    drawn, share = drawn[inside], share[inside]
    return drawn * ~known[..., None] / np.maximum(share, np.float32(1e-6))[..., None]


class _Candidates(NamedTuple):
    """Every tile of an exemplar: its strokes, the tiles' corners int [N, 2], and their means.

    looks: float32 [N, C], of the source and the planes; strokes: [N, 3 per cell].
    """

    drawn: np.ndarray
    corners: np.ndarray
    looks: np.ndarray
    strokes: np.ndarray

    @classmethod
    def of(cls, exemplar: Exemplar, side: int) -> Self:
        rows, columns = (
            np.arange(0, long - side + 1, max(1, side // _STRIDE))
            for long in exemplar.source.shape[:2]
        )
        offsets = side // _CELLS * np.arange(_CELLS)
        down, across = rows[:, None] + offsets, columns[:, None] + offsets
        corners = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)
        looks, strokes = (
            _means(values, side // _CELLS)[down[:, None, :, None], across[None, :, None, :]]
            for values in (np.dstack([exemplar.source, _PLANE * exemplar.planes]), exemplar.strokes)
        )
        count = len(corners)
        return cls(exemplar.strokes, corners, looks.reshape(count, -1), strokes.reshape(count, -1))

    def nearest(self, goal: np.ndarray, painted: np.ndarray, there: np.ndarray) -> np.ndarray:
        """Return the strokes [side, side, 3] of the tile that looks most like a goal.

        goal: [side, side, C], the source and the planes; painted: the strokes that it is to
        continue, [side, side, 3], where bool [side, side] `there` says that there are any.
        """
        side = len(there)
        cell = side // _CELLS
        looks = _means(goal, cell)[::cell, ::cell].reshape(-1)
        strokes = _means(painted, cell)[::cell, ::cell].reshape(-1)
        counted = _means(there[..., None].astype(np.float32), cell)[::cell, ::cell] > _MOSTLY
        weights = np.repeat(_CONTINUED * counted.astype(np.float32), 3, axis=2).reshape(-1)
        apart = np.square(self.looks - looks).sum(axis=1)
        apart += (np.square(self.strokes - strokes) * weights).sum(axis=1)
        row, column = self.corners[int(apart.argmin())]
        return self.drawn[row : row + side, column : column + side]


def _means(values: np.ndarray, cell: int) -> np.ndarray:
    """Return the mean of [H, W, C] values over the cell that begins at each position."""
    found = cv2.blur(values, (cell, cell), anchor=(0, 0), borderType=cv2.BORDER_REFLECT_101)
    return found.reshape(values.shape)  # OpenCV drops an axis of one


def _order(share: np.ndarray, new: np.ndarray, side: int) -> list[tuple[int, int]]:
    """Return the corners of the tiles that are needed, half a side apart: most is known first."""
    rows, columns = (range(0, long - side + 1, side // 2) for long in share.shape)
    tiles = [(row, column) for row in rows for column in columns]
    here = {at: np.s_[at[0] : at[0] + side, at[1] : at[1] + side] for at in tiles}
    needed = [at for at in tiles if new[here[at]].any()]
    return sorted(needed, key=lambda at: -float(share[here[at]].sum()))


def _window(side: int) -> np.ndarray:
    """Return how much a tile counts for each of its pixels, [side, side]: less at its edges."""
    ramp = 1 - np.abs(np.arange(side) + 0.5 - side / 2) / (side / 2)
    ramp = np.clip(2 * ramp, 0, 1).astype(np.float32)
    smooth = ramp * ramp * (3 - 2 * ramp) + np.float32(1e-3)
    return smooth[:, None] * smooth
