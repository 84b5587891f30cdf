"""Disocclusion: the initial image of a warm start, with pixels that no earlier frame shows filled.

Where the warp is valid, the earlier result is used and follows the change of the source; elsewhere
the source gets the result's colours, and strokes quilted from the shot's first frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from vidstyle.coherence.parameters import CoherenceParameters, DisocclusionParameters
from vidstyle.coherence.quilting import Exemplar, quilted
from vidstyle.image import Image, difference_of_gaussians, resize

__all__ = [
    "Areas",
    "WarpedFrame",
    "contour_strength",
    "despeckled",
    "exemplar_of",
    "fill_disoccluded",
    "with_contours",
]

_LUMA_CHROMA = np.array(  # columns: Y, Cb and Cr (Rec. 601)
    [[0.299, -0.169, 0.5], [0.587, -0.331, -0.419], [0.114, 0.5, -0.081]], np.float32
)
_DEFAULTS = CoherenceParameters()
_TINY = np.float32(1e-9)  # against 0 / 0


class WarpedFrame(NamedTuple):
    """An earlier result, its source and its planes [H, W, K], warped to this frame."""

    result: Image
    source: Image
    planes: np.ndarray


@dataclass(frozen=True)
class Areas:
    """Which pixels of a frame an earlier result predicts, each bool [H, W].

    predicted: the warped result is used. relit: it is valid in spite of a change of light.
    restyled: another style applies than before. moving: predicted pixels follow the change of the
    source; None: none do.
    """

    predicted: np.ndarray
    relit: np.ndarray
    restyled: np.ndarray
    moving: np.ndarray | None = None


def fill_disoccluded(
    warped: WarpedFrame,
    frame: Image,
    planes: np.ndarray,
    areas: Areas,
    exemplar: Exemplar | None = None,
    parameters: CoherenceParameters = _DEFAULTS,
) -> Image:
    """Return the warped result, filled where it does not predict the frame: float32, 0..1.

    frame, planes: this frame's source and float32 [H, W, K] planes.
    Filled pixels get their colour from affine maps of the source's colour to result minus source,
    fitted to the predicted pixels of each plane: neither the source's colours nor those of the
    object that covered them. Their strokes are quilted from the exemplar (None: none), since later
    frames have too few steps; in restyled pixels, the nearest of the new plane, mirrored. Moving
    pixels follow the source: result(t) = map(source(t)) + warp(result(t-1) - map(source(t-1))).
    Changes telescope: errors accumulate only in detail finer than contour_sigma.
    """
    own = parameters.disocclusion
    shares_before, shares = _shares(warped.planes), _shares(planes, rest=1)
    maps = [
        _color_map(warped.source, warped.result, areas.predicted * share, own)
        for share in shares_before.transpose(2, 0, 1)
    ]
    filled = _recolored(frame, shares, maps, own)
    strokes = warped.result - warped.source - _tint(warped.source, shares_before, maps)
    if exemplar is not None:
        given = (strokes, areas.predicted, exemplar, parameters.quilting)
        filled += quilted(frame, planes, *given) * ~areas.restyled[..., None]
    if areas.restyled.any():
        filled += _nearest_strokes(_stroke_band(strokes, own), shares_before, shares, areas, own)
    change = frame - warped.source
    change += _tint(change, shares, maps, 0)
    relit = warped.result + cv2.GaussianBlur(change, (0, 0), own.light_sigma)
    followed = warped.result
    if areas.moving is not None:
        contours = cv2.GaussianBlur(change, (0, 0), own.contour_sigma)
        followed = followed + areas.moving[..., None] * contours
    below = _over(relit, filled, areas.relit, own)
    return np.clip(_over(followed, below, areas.predicted, own), 0, 1)


def exemplar_of(
    source: Image,
    result: Image,
    planes: np.ndarray,
    parameters: DisocclusionParameters = _DEFAULTS.disocclusion,
) -> Exemplar:
    """Return a finished frame's exemplar, with clipped strokes; planes: float32 [H, W, K]."""
    shares = _shares(planes)
    maps = [_color_map(source, result, share, parameters) for share in shares.transpose(2, 0, 1)]
    strokes = result - source - _tint(source, shares, maps)
    painted = np.asarray(planes.any(axis=2))
    return Exemplar(source, _clipped(strokes, strokes, painted, parameters), planes)


def contour_strength(
    source: Image,
    result: Image,
    planes: np.ndarray,
    parameters: DisocclusionParameters = _DEFAULTS.disocclusion,
) -> np.ndarray:
    """Return how strong the source's contours are in a finished frame: [K], 1 as in the source.

    For each plane of float32 [H, W, K], the regression coefficient of the result's contours on the
    source's; contours are the luma's stroke band. 0 for a plane without contours.
    """
    wanted, present = (_contours(image, parameters)[..., None] for image in (source, result))
    rows, columns = wanted.shape[:2]
    shrunk = [resize(plane.copy(), columns, rows) for plane in planes.transpose(2, 0, 1)]
    weights = np.dstack(shrunk) * wanted
    energy = (weights * wanted).sum(axis=(0, 1))
    return np.asarray((weights * present).sum(axis=(0, 1)) / np.maximum(energy, _TINY))


def with_contours(
    image: Image,
    source: Image,
    planes: np.ndarray,
    where: np.ndarray,
    strength: np.ndarray,
    parameters: DisocclusionParameters = _DEFAULTS.disocclusion,
) -> Image:
    """Return the image with lost contours of the source restored where bool [H, W] is True.

    planes: float32 [H, W, K]; strength: [K], of the contours in each plane, see contour_strength.

    The start image of a frame made alone has all contours. The content loss compares deep features
    and does not hold them, so that from frame to frame the style loss erodes them. Where they are
    weaker than `strength`, contour_share of what they lack is added, times e / (e + s): e is the
    local energy of the source's contours, s the mean energy of the image's. Flat areas keep their
    strokes.
    """
    wanted, present = (_contours(picture, parameters) for picture in (source, image))
    rows, columns = wanted.shape
    sigma = parameters.contour_reach * max(rows, columns)
    energy, both = (cv2.GaussianBlur(wanted * other, (0, 0), sigma) for other in (wanted, present))
    expected = resize(_shares(planes) @ strength.astype(np.float32), columns, rows)
    lacking = np.clip(expected - both / np.maximum(energy, _TINY), 0, 1)
    share = energy / (energy + np.square(present).mean() + _TINY)
    added = parameters.contour_share * share * lacking * wanted
    added = cv2.resize(added, where.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.clip(image + (where * added)[..., None], 0, 1)


def despeckled(
    image: Image,
    where: np.ndarray,
    parameters: DisocclusionParameters = _DEFAULTS.disocclusion,
) -> Image:
    """Return the image with colour specks removed where bool [H, W] `where` is True.

    Specks get the median of Cb and Cr (Rec. 601) around them, again until none is left or for
    `speck_passes`: a median that changes may make a neighbour a speck. They arise where the style
    loss dominates and evaluations are few, and a warm start would keep them.
    """
    for _ in range(parameters.speck_passes):
        colors = cv2.cvtColor(image.astype(np.float32), cv2.COLOR_RGB2YCrCb)
        chroma = cv2.split(colors)[1:]
        medians = (cv2.medianBlur(plane, parameters.speck_side) for plane in chroma)
        usual = cv2.merge([colors[..., 0], *medians])
        specks = where & (np.abs(usual - colors).max(axis=2) > parameters.speck)
        if not specks.any():
            break
        calm = np.clip(cv2.cvtColor(usual, cv2.COLOR_YCrCb2RGB), 0, 1)
        image = np.where(specks[..., None], calm, image)
    return image


def _nearest_strokes(
    strokes: np.ndarray,
    shares_before: np.ndarray,
    shares: np.ndarray,
    areas: Areas,
    parameters: DisocclusionParameters,
) -> np.ndarray:
    """Return clipped strokes in restyled pixels, else 0: the nearest of the same plane.

    shares_before, shares: [H, W, K], of the planes.
    """
    painted = areas.predicted & shares_before.any(axis=2)
    plane_before, plane_now = shares_before.argmax(axis=2), shares.argmax(axis=2)
    found = np.zeros_like(strokes)
    for plane in np.unique(plane_now[areas.restyled]):
        mirrored = _mirrored(strokes, painted & (plane_before == plane))
        found = np.where((areas.restyled & (plane_now == plane))[..., None], mirrored, found)
    return _clipped(found, strokes, painted, parameters)


def _clipped(
    values: np.ndarray,
    strokes: np.ndarray,
    painted: np.ndarray,
    parameters: DisocclusionParameters,
) -> np.ndarray:
    """Return values clipped to a range from the strokes over bool [H, W] `painted`."""
    deviation = strokes[painted].std() if painted.any() else 0.0
    most = parameters.stroke_limit * deviation
    return np.clip(values, -most, most)


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


def _recolored(
    frame: Image,
    shares: np.ndarray,
    maps: Sequence[np.ndarray],
    parameters: DisocclusionParameters,
) -> np.ndarray:
    """Return a frame recoloured by the maps, weighted by the shares.

    The change of luma is blurred, so that small letters and contours keep their contrast.
    """
    tint = _tint(frame, shares, maps)
    luma = (tint @ _LUMA_CHROMA[:, 0])[..., None]
    return frame + tint - luma + cv2.GaussianBlur(luma, (0, 0), parameters.light_sigma)[..., None]


def _color_map(
    source: Image, result: Image, share: np.ndarray, parameters: DisocclusionParameters
) -> np.ndarray:
    """Return the affine map [4, 3] from the source's colour to result - source, by least squares.

    share: float32 [H, W], the weight of each pixel. The ridge term draws colours too rare to
    determine the map towards grey of the same luma.
    """
    there = share > 0
    if not there.any():
        return np.zeros((4, 3), np.float32)
    weights = share[there][:, None]
    both = np.hstack([source[there] @ _LUMA_CHROMA, np.ones_like(weights), result[there]]) * weights
    products = cv2.mulTransposed(both, aTa=True, dtype=cv2.CV_64F)
    ridge = parameters.ridge * share.size * np.eye(4)
    grey = np.vstack([np.ones(3), np.zeros((3, 3))])
    found = np.linalg.solve(products[:4, :4] + ridge, products[:4, 4:] + ridge @ grey)
    return np.vstack([_LUMA_CHROMA @ found[:3] - np.eye(3), found[3:]]).astype(np.float32)


def _over(
    image: Image, below: Image, places: np.ndarray, parameters: DisocclusionParameters
) -> Image:
    """Return `image` over `below` where bool [H, W] `places` is True, with a soft edge inside."""
    share = places.astype(np.float32)
    window = (parameters.seam_window, parameters.seam_window)
    soft = (cv2.GaussianBlur(share, window, parameters.seam_sigma) * share)[..., None]
    return np.asarray(image * soft + below * (1 - soft))


def _contours(image: Image, parameters: DisocclusionParameters) -> np.ndarray:
    """Return the stroke band of the luma, at most contour_side pixels long; strokes are wider."""
    height, width = image.shape[:2]
    scale = min(1, parameters.contour_side / max(height, width))
    columns, rows = (max(1, round(length * scale)) for length in (width, height))
    luma = resize(image @ _LUMA_CHROMA[:, 0], columns, rows)
    return _stroke_band(luma, parameters)


def _stroke_band(image: Image, parameters: DisocclusionParameters) -> Image:
    """Return the detail of stroke size: the band between the sigmas `grain` and `stroke`."""
    coarse, fine = (max(image.shape[:2]) * size for size in (parameters.stroke, parameters.grain))
    return difference_of_gaussians(image, fine, coarse)
