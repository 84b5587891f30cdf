"""Filling: what nothing carried along is begun with: the frame, coloured and stroked alike."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from vidstyle.image import Image, difference_of_gaussians

__all__ = ["WarpedFrame", "fill_disoccluded"]

_STROKE = 0.02  # of the long side: what is smaller in a result is its strokes
_GRAIN = 0.002  # of the long side: what is smaller still would pile up from frame to frame


class WarpedFrame(NamedTuple):
    """An earlier result in this frame's place, and its source and planes there."""

    result: Image
    source: Image
    planes: np.ndarray


def fill_disoccluded(
    carried: WarpedFrame,
    frame: Image,
    planes: np.ndarray,
    known: np.ndarray,
    seen: np.ndarray,
    other: np.ndarray,
) -> Image:
    """Replace what is not known (bool [H, W]) by the frame, coloured and stroked as the result is.

    seen: bool [H, W], what is carried all the same, in another light; other: what another style is
    to go to than went there. The style's change of colour, result minus source, is fitted to the
    known pixels of each plane as an affine map of the source's colour; so what motion uncovers
    neither flashes up in the source's colours nor takes on those of what covered it. Strokes are
    what is left of the result in detail once its source in these colours is taken away: bare ground
    would have to grow them anew, in fewer steps than it takes. Of another style they are those that
    are nearest, mirrored.
    """
    result, moved, before = carried
    theirs, ours = _shares(before), _shares(planes, rest=1)
    maps = [_colouring(moved, result, known * share) for share in theirs.transpose(2, 0, 1)]
    around = frame + cv2.GaussianBlur(_tint(frame, ours, maps), (0, 0), 3)
    strokes = _detail(result - moved - _tint(moved, theirs, maps))
    painted = known & theirs.any(axis=2)
    before_most, most = theirs.argmax(axis=2), ours.argmax(axis=2)
    for plane in np.unique(most[other]):
        mirrored = _mirrored(strokes, painted & (before_most == plane))
        strokes = np.where((other & (most == plane))[..., None], mirrored, strokes)
    usual = strokes[painted].std() if painted.any() else 0.0
    around += np.clip(strokes, -2 * usual, 2 * usual)
    change = frame - moved
    relit = result + cv2.GaussianBlur(change + _tint(change, ours, maps, 0), (0, 0), 3)
    return np.clip(_over(result, _over(relit, around, seen), known), 0, 1)


def _shares(planes: np.ndarray, rest: float = 0) -> np.ndarray:
    """Return planes' shares of each pixel, float32 [H, W, K]: 1 in all, `rest` where none is."""
    total = planes.sum(axis=2, keepdims=True)
    none = np.float32(rest / planes.shape[2])
    return np.where(total > 0, planes / np.maximum(total, np.float32(1e-6)), none)


def _mirrored(values: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Return the values [H, W, C] as they are there (bool [H, W]), and mirrored from it, or 0."""
    if there.all() or not there.any():
        return values * there[..., None]
    _, nearest = cv2.distanceTransformWithLabels(
        (~there).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    places = np.zeros((nearest.max() + 1, 2), int)
    places[nearest[there]] = np.argwhere(there)
    height, width = there.shape
    rows, columns = 2 * places[nearest].transpose(2, 0, 1) - np.indices(there.shape)
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    rows, columns = np.where(inside, rows, 0), np.where(inside, columns, 0)
    return values[rows, columns] * (inside & there[rows, columns])[..., None]


def _tint(
    image: Image, shares: np.ndarray, maps: Sequence[np.ndarray], constant: float = 1
) -> np.ndarray:
    """Return by how much the maps [4, 3] change an image's colours, each by its share."""
    found = np.zeros_like(image)
    for share, fitted in zip(shares.transpose(2, 0, 1), maps, strict=True):
        there = ... if share.all() else share > 0  # of many planes, each is in few places
        change = image[there] @ fitted[:3] + np.float32(constant) * fitted[3]
        found[there] += share[there][..., None] * change
    return found


def _colouring(source: Image, result: Image, share: np.ndarray) -> np.ndarray:
    """Return the affine map [4, 3] of the source's colour that comes nearest to result - source.

    share: float32 [H, W], what each pixel counts.
    """
    there = share > 0
    if not there.any():
        return np.zeros((4, 3), np.float32)
    counted = share[there][:, None]
    both = np.hstack([source[there], np.ones_like(counted), (result - source)[there]]) * counted
    products = cv2.mulTransposed(both, aTa=True, dtype=cv2.CV_64F)
    few = 1e-3 * share.size * np.eye(4)  # what so few pixels show is not believed
    return np.linalg.solve(products[:4, :4] + few, products[:4, 4:]).astype(np.float32)


def _over(image: Image, below: Image, places: np.ndarray) -> Image:
    """Return `image` at the places (bool [H, W]), softly at their rim, and `below` elsewhere."""
    share = places.astype(np.float32)
    soft = (cv2.GaussianBlur(share, (5, 5), 0.8) * share)[..., None]
    return np.asarray(image * soft + below * (1 - soft))


def _detail(image: Image) -> Image:
    """Return what is of a stroke's size: less than its length, more than its grain."""
    coarse, fine = (max(image.shape[:2]) * size for size in (_STROKE, _GRAIN))
    return difference_of_gaussians(image, fine, coarse)
