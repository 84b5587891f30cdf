"""Disocclusion: the initial image of a warm start, with pixels that no earlier frame shows filled.

Where the warp is valid, the earlier result is used and follows the change of the source; elsewhere
the source gets the result's colours, and strokes quilted from the shot's first frame.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from vidstyle.coherence.quilting import Exemplar, quilted
from vidstyle.image import Image, difference_of_gaussians

__all__ = ["WarpedFrame", "despeckled", "exemplar_of", "fill_disoccluded"]

_STROKE = 0.02  # of the long side; sigma below which the detail of a result counts as strokes
_LUMA_CHROMA = np.array(  # columns: Y, Cb and Cr (Rec. 601)
    [[0.299, -0.169, 0.5], [0.587, -0.331, -0.419], [0.114, 0.5, -0.081]], np.float32
)
_FEW = 3e-4  # variance of a colour (0..1 squared); ridge term of the colour map's fit
_CONTOUR = 0.6  # pixels; sigma of the source's change; finer change is resampling loss
_SPECK = 12 / 255  # of 1; a pixel farther than this from the median in Cb or Cr is a speck
_GRAIN = 0.002  # of the long side; sigma; finer detail would accumulate from frame to frame


class WarpedFrame(NamedTuple):
    """An earlier result warped to this frame, with its source and planes [H, W, K] warped alike."""

    result: Image
    source: Image
    planes: np.ndarray


def fill_disoccluded(  # noqa: PLR0913 - four kinds of pixels, one mask each
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
    """Return the warped result, filled where bool [H, W] `known` is False: float32, 0..1.

    frame, planes: this frame's source and float32 [H, W, K] planes. seen: bool [H, W], warped in
    spite of a change of light. other: bool [H, W], where another style applies than before.

    Filled pixels get their colour from affine maps of the source's colour to result minus source,
    fitted to the known pixels of each plane, so that they show neither the source's colours nor
    those of the object that covered them. Their strokes are quilted from the exemplar (None: no
    strokes), since a later frame has too few steps to form strokes; in `other` they are the nearest
    strokes of the new plane, mirrored.

    moving: bool [H, W], where known pixels follow the change of the source:
    result(t) = map(source(t)) + warp(result(t-1) - map(source(t-1))). Flow errors do not displace
    contours, and the changes telescope: errors accumulate only in detail finer than _CONTOUR.
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
    """Return a finished frame's exemplar, strokes clipped to 2 sigma; planes: float32 [H, W, K]."""
    shares = _shares(planes)
    maps = [_colouring(source, result, share) for share in shares.transpose(2, 0, 1)]
    strokes = result - source - _tint(source, shares, maps)
    painted = planes.any(axis=2)
    usual = strokes[painted].std() if painted.any() else 0.0
    return Exemplar(source, np.clip(strokes, -2 * usual, 2 * usual), planes)


def despeckled(image: Image, where: np.ndarray) -> Image:
    """Return the image with colour specks removed where bool [H, W] `where` is True.

    Specks get the 3 × 3 median of Cb and Cr (Rec. 601). They arise where the style loss dominates
    and evaluations are few, and a warm start would keep them.
    """
    colours = cv2.cvtColor(image.astype(np.float32), cv2.COLOR_RGB2YCrCb)
    usual = cv2.merge([colours[..., 0], *(cv2.medianBlur(p, 3) for p in cv2.split(colours)[1:])])
    specks = where & (np.abs(usual - colours).max(axis=2) > _SPECK)
    calm = np.clip(cv2.cvtColor(usual, cv2.COLOR_YCrCb2RGB), 0, 1)
    return np.where(specks[..., None], calm, image)


def _of_nearest(
    strokes: np.ndarray, theirs: np.ndarray, ours: np.ndarray, known: np.ndarray, other: np.ndarray
) -> np.ndarray:
    """Return strokes where bool [H, W] `other` is True, else 0: the nearest of the same plane.

    theirs, ours: shares [H, W, K] of the planes before and now. Clipped to 2 sigma of the strokes.
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
    """Return planes normalised to a sum of 1 per pixel, or of `rest` where all planes are 0."""
    total = planes.sum(axis=2, keepdims=True)
    none = np.float32(rest / planes.shape[2])
    return np.where(total > 0, planes / np.maximum(total, np.float32(1e-6)), none)


def _mirrored(values: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Return values [H, W, C], reflected at the nearest pixel of bool [H, W] `there`, else 0."""
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
    """Return the colour change by maps [4, 3], weighted by shares; constant 0: linear part only."""
    found = np.zeros_like(image)
    for share, fitted in zip(shares.transpose(2, 0, 1), maps, strict=True):
        there = ... if share.all() else share > 0  # with many planes, each covers few pixels
        change = image[there] @ fitted[:3] + np.float32(constant) * fitted[3]
        found[there] += share[there][..., None] * change
    return found


def _coloured(frame: Image, shares: np.ndarray, maps: Sequence[np.ndarray]) -> np.ndarray:
    """Return a frame recoloured by the maps, weighted by the shares.

    The change of luma is blurred, so that small letters and contours keep their contrast.
    """
    tint = _tint(frame, shares, maps)
    luma = (tint @ _LUMA_CHROMA[:, 0])[..., None]
    return frame + tint - luma + cv2.GaussianBlur(luma, (0, 0), 3)[..., None]


def _colouring(source: Image, result: Image, share: np.ndarray) -> np.ndarray:
    """Return the affine map [4, 3] from the source's colour to result - source, by least squares.

    share: float32 [H, W], the weight of each pixel. The ridge term draws colours too rare to
    determine the map towards grey of the same luma; drawn towards the identity, disoccluded areas
    showed the source's own reds and greens.
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
    """Return `image` over `below` where bool [H, W] `places` is True, with a soft edge inside."""
    share = places.astype(np.float32)
    soft = (cv2.GaussianBlur(share, (5, 5), 0.8) * share)[..., None]
    return np.asarray(image * soft + below * (1 - soft))


def _detail(image: Image) -> Image:
    """Return the detail of stroke size: the band between the sigmas _GRAIN and _STROKE."""
    coarse, fine = (max(image.shape[:2]) * size for size in (_STROKE, _GRAIN))
    return difference_of_gaussians(image, fine, coarse)
