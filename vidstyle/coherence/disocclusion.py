"""Filling: the picture that a warm start begins with.

Where the earlier result is known it is warped, and follows the change of the source; elsewhere the
frame is coloured as the result is, with strokes of the shot's first frame.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from vidstyle.coherence.quilting import Exemplar, quilted
from vidstyle.media import Image, difference_of_gaussians

__all__ = ["WarpedFrame", "despeckled", "exemplar_of", "fill_disoccluded"]

_STROKE = 0.02  # of the long side: what is smaller in a result is its strokes
_LUMA_CHROMA = np.array(  # columns: Y, Cb and Cr (Rec. 601)
    [[0.299, -0.169, 0.5], [0.587, -0.331, -0.419], [0.114, 0.5, -0.081]], np.float32
)
_FEW = 3e-4  # variance of a colour, 0..1 squared, below which it does not show its map
_CONTOUR = 0.6  # pixels, sigma: a finer change of the source is what sampling took from it
_SPECK = 12 / 255  # of 1, in Cb or Cr: what is farther from the median of nine is a speck
_GRAIN = 0.002  # of the long side: what is smaller still would pile up from frame to frame


class WarpedFrame(NamedTuple):
    """An earlier result in this frame's place, and its source and planes there."""

    result: Image
    source: Image
    planes: np.ndarray


def fill_disoccluded(  # noqa: PLR0913 - where each of four kinds of pixels is
    carried: WarpedFrame,
    frame: Image,
    planes: np.ndarray,
    known: np.ndarray,
    seen: np.ndarray,
    other: np.ndarray,
    *,
    moving: np.ndarray | None = None,
    exemplar: Exemplar | None = None,
) -> Image:
    """Replace what is not known (bool [H, W]) by the frame, coloured and stroked as the result is.

    seen: bool [H, W], what is carried all the same, in another light; other: what another style is
    to go to than went there. The style's change of colour, result minus source, is fitted to the
    known pixels of each plane as an affine map of the source's colour; so what motion uncovers
    neither flashes up in the source's colours nor takes on those of what covered it. Its strokes
    are those of the exemplar, None: it has none, since bare ground would have to grow them in
    fewer steps than it takes. Of another style they are those that are nearest, mirrored.

    moving: bool [H, W], where what is known follows the change of its source, in the result's
    colours: result(t) = map(source(t)) + warp(result(t-1) - map(source(t-1))). So contours stay
    where the source has them, however far the flow errs, and the sum of all changes is that since
    the strokes were made: nothing adds up. But for what is finer than a contour.
    """
    result, moved, before = carried
    theirs, ours = _shares(before), _shares(planes, rest=1)
    maps = [_colouring(moved, result, known * share) for share in theirs.transpose(2, 0, 1)]
    around = _coloured(frame, ours, maps)
    strokes = result - moved - _tint(moved, theirs, maps)
    if exemplar is not None:
        around += quilted(frame, planes, strokes, known, exemplar) * ~other[..., None]
    if other.any():
        around += _of_nearest(_detail(strokes), theirs, ours, known, other)
    change = frame - moved
    change += _tint(change, ours, maps, 0)
    relit = result + cv2.GaussianBlur(change, (0, 0), 3)
    compose_flows = result
    if moving is not None:
        compose_flows = result + moving[..., None] * cv2.GaussianBlur(change, (0, 0), _CONTOUR)
    return np.clip(_over(compose_flows, _over(relit, around, seen), known), 0, 1)


def exemplar_of(source: Image, result: Image, planes: np.ndarray) -> Exemplar:
    """Return a painted frame, whose strokes others are to have. planes: float32 [H, W, K]."""
    shares = _shares(planes)
    maps = [_colouring(source, result, share) for share in shares.transpose(2, 0, 1)]
    strokes = result - source - _tint(source, shares, maps)
    painted = planes.any(axis=2)
    usual = strokes[painted].std() if painted.any() else 0.0
    return Exemplar(source, np.clip(strokes, -2 * usual, 2 * usual), planes)


def despeckled(image: Image, where: np.ndarray) -> Image:
    """Return an image whose specks of colour have the chroma around them, where bool [H, W] says.

    The median of the nine around, of Cb and of Cr (Rec. 601). Specks arise where few evaluations
    are drawn hard to the style, and a warm start would keep them from frame to frame.
    """
    colours = cv2.cvtColor(image.astype(np.float32), cv2.COLOR_RGB2YCrCb)
    usual = cv2.merge([colours[..., 0], *(cv2.medianBlur(p, 3) for p in cv2.split(colours)[1:])])
    specks = where & (np.abs(usual - colours).max(axis=2) > _SPECK)
    calm = np.clip(cv2.cvtColor(usual, cv2.COLOR_YCrCb2RGB), 0, 1)
    return np.where(specks[..., None], calm, image)


def _of_nearest(
    strokes: np.ndarray, theirs: np.ndarray, ours: np.ndarray, known: np.ndarray, other: np.ndarray
) -> np.ndarray:
    """Return strokes for other places (bool [H, W]), 0 elsewhere: the nearest of their own plane.

    theirs, ours: shares [H, W, K] of the planes before and now. No stronger than strokes are.
    """
    painted = known & theirs.any(axis=2)
    before_most, most = theirs.argmax(axis=2), ours.argmax(axis=2)
    found = np.zeros_like(strokes)
    for plane in np.unique(most[other]):
        mirrored = _mirrored(strokes, painted & (before_most == plane))
        found = np.where((other & (most == plane))[..., None], mirrored, found)
    usual = strokes[painted].std() if painted.any() else 0.0
    return np.clip(found, -2 * usual, 2 * usual)


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


def _coloured(frame: Image, shares: np.ndarray, maps: Sequence[np.ndarray]) -> np.ndarray:
    """Return a frame in the colours of the maps, each by its share.

    The change of luma is that around, so that small letters and contours keep their contrast.
    """
    tint = _tint(frame, shares, maps)
    luma = (tint @ _LUMA_CHROMA[:, 0])[..., None]
    return frame + tint - luma + cv2.GaussianBlur(luma, (0, 0), 3)[..., None]


def _colouring(source: Image, result: Image, share: np.ndarray) -> np.ndarray:
    """Return the affine map [4, 3] of the source's colour that comes nearest to result - source.

    share: float32 [H, W], what each pixel counts. Colours that are too rare to show what the style
    makes of them lose their chroma and keep their luma: by a map that kept both what is uncovered
    shone in the film's own reds and greens.
    """
    there = share > 0
    if not there.any():
        return np.zeros((4, 3), np.float32)
    counted = share[there][:, None]
    both = np.hstack([source[there] @ _LUMA_CHROMA, np.ones_like(counted), result[there]]) * counted
    products = cv2.mulTransposed(both, aTa=True, dtype=cv2.CV_64F)
    few = _FEW * share.size * np.eye(4)
    usual = np.vstack([np.ones(3), np.zeros((3, 3))])
    found = np.linalg.solve(products[:4, :4] + few, products[:4, 4:] + few @ usual)
    return np.vstack([_LUMA_CHROMA @ found[:3] - np.eye(3), found[3:]]).astype(np.float32)


def _over(image: Image, below: Image, places: np.ndarray) -> Image:
    """Return `image` at the places (bool [H, W]), softly at their rim, and `below` elsewhere."""
    share = places.astype(np.float32)
    soft = (cv2.GaussianBlur(share, (5, 5), 0.8) * share)[..., None]
    return np.asarray(image * soft + below * (1 - soft))


def _detail(image: Image) -> Image:
    """Return what is of a stroke's size: less than its length, more than its grain."""
    coarse, fine = (max(image.shape[:2]) * size for size in (_STROKE, _GRAIN))
    return difference_of_gaussians(image, fine, coarse)
