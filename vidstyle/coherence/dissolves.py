"""Slow changes of the source: dissolves, titles, light.

Each frame is predicted well by the previous one, yet after a dissolve the strokes would still show
the former picture. So the change of the source since strokes were painted is summed along the flow.
"""

import cv2
import numpy as np

from vidstyle.coherence.parameters import DissolveParameters
from vidstyle.image import Image
from vidstyle.motion.flow import contrast
from vidstyle.motion.warp import sample

__all__ = ["accumulated", "at_rest", "outdated", "where"]

_DEFAULTS = DissolveParameters()


def accumulated(
    before: np.ndarray | None,
    backward: np.ndarray,
    difference: Image,
    predicted: np.ndarray,
    parameters: DissolveParameters = _DEFAULTS,
) -> np.ndarray:
    """Return the accumulated change of a frame: float32 [H/4, W/4, 4], RGB in units of the image.

    The fourth channel is 1 where strokes were just repainted and decays from then on. before: the
    change of the earlier frame; None: none. difference: this frame minus the earlier one warped by
    the flow `backward`. predicted: bool [H, W], where `difference` is valid.
    """
    shrink = parameters.shrink
    colors = _shrunk(difference * predicted[..., None], shrink)
    change = np.dstack([colors, np.zeros_like(_shrunk(backward[..., 0], shrink))])
    if before is not None:
        flow = _shrunk(backward, shrink) / shrink
        change += parameters.decay * sample(before.astype(np.float32), flow)
    return change


def at_rest(
    change: np.ndarray,
    predicted: np.ndarray,
    new: np.ndarray,
    parameters: DissolveParameters = _DEFAULTS,
) -> np.ndarray:
    """Return the change after a frame is stylised: 0 except where bool [H, W] `predicted` is True.

    new: bool [H, W], the outdated pixels, which set the fourth channel to 1.
    """
    kept, repainted = (_mostly(places, parameters.shrink) for places in (predicted, new))
    colors = np.where(kept, change[..., :3], np.float32(0))
    return np.dstack([colors, np.maximum(change[..., 3:], repainted)])


def where(
    places: np.ndarray,
    change: np.ndarray,
    other: np.ndarray,
    parameters: DissolveParameters = _DEFAULTS,
) -> np.ndarray:
    """Return `change` where bool [H, W] `places` is True, and `other` elsewhere."""
    return np.where(_mostly(places, parameters.shrink), change, other)


def outdated(
    change: np.ndarray, frame: Image, parameters: DissolveParameters = _DEFAULTS
) -> np.ndarray:
    """Return bool [H, W]: the source has changed beyond the tolerance since its strokes were made.

    True everywhere if the mean over the frame of min(change / tolerance, 1), or of the fourth
    channel where that is larger, exceeds parameters.whole_frame.
    """
    height, width = frame.shape[:2]
    side = (parameters.change_side, parameters.change_side)
    colors = cv2.blur(change[..., :3], side)
    is_structure = contrast(colors) > parameters.structure
    tolerance = np.where(is_structure, parameters.tolerance, parameters.light_tolerance)
    tolerance += parameters.tolerance_contrast * contrast(_shrunk(frame, parameters.shrink))
    ratio = np.abs(colors).max(axis=2) / tolerance
    new = _with_hysteresis(ratio, parameters)
    mean = np.maximum(np.minimum(ratio, 1), np.where(new, 1, change[..., 3])).mean()
    if mean > parameters.whole_frame:
        return np.ones((height, width), bool)
    return np.asarray(cv2.resize(new.astype(np.float32), (width, height)) > 0.5)


def _with_hysteresis(ratio: np.ndarray, parameters: DissolveParameters) -> np.ndarray:
    """Return bool [h, w]: ratio > 1, or above the lower threshold near such a square."""
    side = 2 * parameters.hysteresis_reach + 1
    near = cv2.dilate((ratio > 1).astype(np.uint8), np.ones((side, side), np.uint8)) > 0
    return np.asarray(near & (ratio > parameters.hysteresis))


def _mostly(places: np.ndarray, shrink: int) -> np.ndarray:
    """Return bool [H/shrink, W/shrink, 1]: `places` is True in at least half of the square."""
    return np.asarray(_shrunk(places.astype(np.float32), shrink)[..., None] >= 0.5)


def _shrunk(values: np.ndarray, shrink: int) -> np.ndarray:
    """Return the values averaged over squares of `shrink` pixels."""
    height, width = values.shape[:2]
    size = (max(1, width // shrink), max(1, height // shrink))
    return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA))
