"""Quilting: strokes for disoccluded pixels, copied from a finished frame.

Image quilting (Efros & Freeman, "Image Quilting for Texture Synthesis and Transfer", 2001) guided
by a pair of images as in image analogies (Hertzmann et al., 2001): each tile gets the strokes of
the exemplar's tile with the most similar source and the best match of strokes in the overlap.
Differs: tiles are compared as 6 × 6 means, and blended instead of cut.
"""

from typing import NamedTuple, Self

import cv2
import numpy as np

from vidstyle.image import Image

__all__ = ["Exemplar", "quilted"]

_TILE = 0.15  # of the long side; a tile's side, a few strokes; 0.12 and 0.2 look the same
_CELLS = 6  # cells per tile side; a tile's side is a multiple of it
_STRIDE = 12  # candidate positions per tile side
_CONTINUED = 0.5  # weight of the overlapping strokes relative to the source; 2 looks the same
_MOSTLY = 0.5  # share of a cell's pixels that must have strokes for it to be compared
_PLANE = 4.0  # weight of a plane (0..1); high, so that another style's tiles are not chosen


class Exemplar(NamedTuple):
    """A finished frame as a source of strokes.

    source: Image. strokes: float32 [H, W, 3], the result minus the source in the result's colours.
    planes: float32 [H, W, K], as in Guide.
    """

    source: Image
    strokes: np.ndarray
    planes: np.ndarray


def quilted(
    frame: Image, planes: np.ndarray, strokes: np.ndarray, known: np.ndarray, exemplar: Exemplar
) -> np.ndarray:
    """Return strokes for a frame, float32 [H, W, 3]; 0 where bool [H, W] `known` is True.

    planes: [H, W, K], of the frame; strokes: valid where `known`. All 0 in frames of a few pixels.
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
    """The candidate tiles of an exemplar.

    drawn: the exemplar's strokes [H, W, 3]. corners: int [N, 2], row and column. looks: float32
    [N, C], cell means of source and planes. strokes: float32 [N, 3 per cell], cell means.
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
        """Return the strokes [side, side, 3] of the candidate nearest to a tile.

        goal: [side, side, C], the tile's source and planes. painted: [side, side, 3], the strokes
        to continue, valid where bool [side, side] `there` is True.
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
    """Return the mean of [H, W, C] values over the cell whose top left corner is each pixel."""
    found = cv2.blur(values, (cell, cell), anchor=(0, 0), borderType=cv2.BORDER_REFLECT_101)
    return found.reshape(values.shape)  # OpenCV drops an axis of one


def _order(share: np.ndarray, new: np.ndarray, side: int) -> list[tuple[int, int]]:
    """Return the corners of the needed tiles, half a side apart, those with most known first."""
    rows, columns = (range(0, long - side + 1, side // 2) for long in share.shape)
    tiles = [(row, column) for row in rows for column in columns]
    here = {at: np.s_[at[0] : at[0] + side, at[1] : at[1] + side] for at in tiles}
    needed = [at for at in tiles if new[here[at]].any()]
    return sorted(needed, key=lambda at: -float(share[here[at]].sum()))


def _window(side: int) -> np.ndarray:
    """Return the blending weight of a tile's pixels: float32 [side, side], less at the edges."""
    ramp = 1 - np.abs(np.arange(side) + 0.5 - side / 2) / (side / 2)
    ramp = np.clip(2 * ramp, 0, 1).astype(np.float32)
    smooth = ramp * ramp * (3 - 2 * ramp) + np.float32(1e-3)
    return smooth[:, None] * smooth
