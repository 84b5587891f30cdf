"""Quilting: strokes for disoccluded pixels, copied from a finished frame.

Image quilting (Efros & Freeman, "Image Quilting for Texture Synthesis and Transfer", 2001) guided
by a pair of images as in image analogies (Hertzmann et al., 2001): each tile gets the strokes of
the exemplar's tile with the most similar source and the best match of strokes in the overlap.
Differs: tiles are compared as 6 × 6 means, and blended instead of cut.
"""

from typing import NamedTuple, Self

import cv2
import numpy as np

from vidstyle.coherence.parameters import QuiltingParameters
from vidstyle.image import Image

__all__ = ["Exemplar", "quilted"]

_DEFAULTS = QuiltingParameters()
_BLOCK = 256  # rows at a time: a block of 64 to 256 rows of 144 floats fits the L2 cache


class Exemplar(NamedTuple):
    """A finished frame as a source of strokes.

    source: Image. strokes: float32 [H, W, 3], the result minus the source in the result's colours.
    planes: float32 [H, W, K], as in Guide.
    """

    source: Image
    strokes: np.ndarray
    planes: np.ndarray


def quilted(
    frame: Image,
    planes: np.ndarray,
    strokes: np.ndarray,
    predicted: np.ndarray,
    exemplar: Exemplar,
    parameters: QuiltingParameters = _DEFAULTS,
) -> np.ndarray:
    """Return strokes for a frame, float32 [H, W, 3]; 0 where bool [H, W] `predicted` is True.

    planes: [H, W, K], of the frame; strokes: valid where `predicted`. All 0 in frames of a few
    pixels.
    """
    height, width = predicted.shape
    cells = parameters.cells
    side = min(round(parameters.tile * max(height, width)), height, width) // cells * cells
    if predicted.all() or side == 0:
        return np.zeros_like(frame)
    goal, canvas, share, new = (
        cv2.copyMakeBorder(values, side, side, side, side, border)
        for values, border in (
            (np.dstack([frame, parameters.plane_weight * planes]), cv2.BORDER_REFLECT_101),
            (strokes * predicted[..., None], cv2.BORDER_CONSTANT),
            (predicted.astype(np.float32), cv2.BORDER_CONSTANT),
            ((~predicted).astype(np.float32), cv2.BORDER_CONSTANT),
        )
    )
    fixed, window = share > 0, _window(side)
    candidates = _Candidates.of(exemplar, side, parameters)
    for row, column in _order(share, new, side):
        here = slice(row, row + side), slice(column, column + side)
        painted = canvas[here] / np.maximum(share[here], np.float32(1e-6))[..., None]
        found = candidates.nearest(goal[here], painted, share[here] > 0)
        weight = np.where(fixed[here], 0, window)
        canvas[here] += weight[..., None] * found
        share[here] += weight
    inside = slice(side, side + height), slice(side, side + width)
    canvas, share = canvas[inside], share[inside]
    return canvas * ~predicted[..., None] / np.maximum(share, np.float32(1e-6))[..., None]


class _Candidates(NamedTuple):
    """The candidate tiles of an exemplar.

    exemplar_strokes: [H, W, 3]. corners: int [N, 2], row and column. sources: float32 [N, C], cell
    means of source and planes. strokes: float32 [N, 3 per cell], cell means.
    """

    exemplar_strokes: np.ndarray
    corners: np.ndarray
    sources: np.ndarray
    strokes: np.ndarray
    parameters: QuiltingParameters

    @classmethod
    def of(cls, exemplar: Exemplar, side: int, parameters: QuiltingParameters) -> Self:
        rows, columns = (
            np.arange(0, long - side + 1, max(1, side // parameters.stride))
            for long in exemplar.source.shape[:2]
        )
        cell = side // parameters.cells
        offsets = cell * np.arange(parameters.cells)
        down, across = rows[:, None] + offsets, columns[:, None] + offsets
        corners = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)
        source = np.dstack([exemplar.source, parameters.plane_weight * exemplar.planes])
        sources, strokes = (
            _means(values, cell)[down[:, None, :, None], across[None, :, None, :]].reshape(
                len(corners), -1
            )
            for values in (source, exemplar.strokes)
        )
        return cls(exemplar.strokes, corners, sources, strokes, parameters)

    def nearest(self, goal: np.ndarray, painted: np.ndarray, there: np.ndarray) -> np.ndarray:
        """Return the strokes [side, side, 3] of the candidate nearest to a tile.

        goal: [side, side, C], the tile's source and planes. painted: [side, side, 3], the strokes
        to continue, valid where bool [side, side] `there` is True.
        """
        side = len(there)
        cell = side // self.parameters.cells
        source = _means(goal, cell)[::cell, ::cell].reshape(-1)
        strokes = _means(painted, cell)[::cell, ::cell].reshape(-1)
        covered = _means(there[..., None].astype(np.float32), cell)[::cell, ::cell]
        counted = (covered > self.parameters.least_share).astype(np.float32)
        weights = np.repeat(self.parameters.continued * counted, 3, axis=2).reshape(-1)
        distance = _squared_distances(self.sources, source)
        if counted.any():
            distance += _squared_distances(self.strokes, strokes, weights)
        row, column = self.corners[int(distance.argmin())]
        return self.exemplar_strokes[row : row + side, column : column + side]


def _squared_distances(
    rows: np.ndarray, goal: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """Return the squared distances of float32 [N, C] rows from `goal` [C], weighted by [C].

    In blocks of rows that stay in the processor's cache.
    """
    found = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), _BLOCK):
        part = rows[start : start + _BLOCK] - goal
        np.square(part, out=part)
        if weights is not None:
            part *= weights
        part.sum(axis=1, out=found[start : start + _BLOCK])
    return found


def _means(values: np.ndarray, cell: int) -> np.ndarray:
    """Return the mean of [H, W, C] values over the cell whose top left corner is each pixel."""
    found = cv2.blur(values, (cell, cell), anchor=(0, 0), borderType=cv2.BORDER_REFLECT_101)
    return found.reshape(values.shape)  # OpenCV drops an axis of one


def _order(share: np.ndarray, new: np.ndarray, side: int) -> list[tuple[int, int]]:
    """Return the corners of the needed tiles, half a side apart, those with most strokes first."""
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
