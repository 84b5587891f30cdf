"""A contact sheet of frames under their masks."""

import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from vidstyle import media
from vidstyle.atomic import drafted
from vidstyle.errors import writing
from vidstyle.guides.files import read_rgba
from vidstyle.image import Image, resize

__all__ = ["under_mask", "write_sheet"]

_FRAMES = 12  # frames of a sheet at most, evenly spaced
_WIDTH = 320  # pixels of a frame on the sheet
_COLORS = np.array(
    [(1, 0.2, 0.1), (0.1, 0.6, 1), (1, 0.9, 0.1), (0.2, 0.9, 0.3), (0.9, 0.3, 0.9)], np.float32
)
_TINT, _DIM = 0.45, 0.6  # of the colour in the mask; of the brightness outside all masks


def write_sheet(
    path: Path, clip: media.Clip, indices: range, folders: Sequence[Path], *, overwrite: bool
) -> None:
    """Write some frames of a clip, each under its masks in the folders, as one picture.

    folders: of masks or maps, a picture for each frame of `indices` in the order of names.
    """
    files = [
        sorted(folder.glob("*.png"), key=lambda path: media.natural(path.name))
        for folder in folders
    ]
    step = max(1, math.ceil(len(indices) / _FRAMES))
    chosen = range(0, len(indices), step)
    tiles = []
    for position, frame in enumerate(media.read(clip, indices, _WIDTH)):
        if position in chosen:
            height = max(1, round(_WIDTH * frame.shape[0] / frame.shape[1]))
            masks = [read_rgba(of[position])[..., :3] for of in files]
            tiles.append(under_mask(resize(frame, _WIDTH, height), masks))
    columns = min(4, len(tiles))
    height = max(tile.shape[0] for tile in tiles)
    blank = np.zeros((height, _WIDTH, 3), np.float32)
    tiles = [np.vstack([tile, blank[tile.shape[0] :]]) for tile in tiles]
    tiles += [blank] * (-len(tiles) % columns)
    rows = [np.hstack(tiles[first : first + columns]) for first in range(0, len(tiles), columns)]
    with writing(path), drafted(path, overwrite=overwrite) as draft:
        media.write_picture(draft, np.vstack(rows))


def under_mask(frame: Image, masks: Sequence[Image]) -> Image:
    """Return a frame [H, W, 3] tinted where its masks or maps, [h, w, 3], are, dark elsewhere.

    A grey picture is a mask and gets its own colour; the colours of a label map are kept.
    """
    height, width = frame.shape[:2]
    shown, covered = frame.copy(), np.zeros((height, width, 1), np.float32)
    for mask, color in zip(masks, np.tile(_COLORS, (len(masks), 1)), strict=False):
        sized = cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA)
        weight = sized.max(axis=2, keepdims=True)
        is_map = bool(np.ptp(sized, axis=2).max() > 0.1)
        tint = sized if is_map else np.broadcast_to(color, sized.shape)
        weight = (weight > 0.5).astype(np.float32) if is_map else weight
        shown += weight * _TINT * (tint - shown)
        covered = np.maximum(covered, weight)
    return np.asarray(shown * (1 - _DIM * (1 - covered)), np.float32)
