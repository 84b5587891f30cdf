"""Slow changes of the source: dissolves, titles, light.

Each frame is predicted well by the previous one, yet after a dissolve the strokes would still show
the former picture. So the change of the source since strokes were painted is summed along the flow.
"""

import cv2
import numpy as np

from vidstyle.image import Image
from vidstyle.motion.flow import contrast
from vidstyle.motion.warp import sample

__all__ = ["added", "at_rest", "outdated", "where"]

_SHRINK = 4  # pixels; side of the square over which a change is averaged
_SLIGHT, _SHARE = 0.06, 0.2  # of 1, of the contrast; tolerance = their sum: effect of flow errors
_LIGHT = 0.1  # of 1, instead of _SLIGHT for uniform changes: slow light must not outdate strokes
_DRAWN = 0.08  # of 1; contrast of a change above which it is structure, not light
_PART = 0.4  # of the tolerance; lower threshold beside an outdated square (hysteresis)
_DISSOLVE = 0.35  # of the tolerance, mean over the frame; above it the whole frame is outdated
_KEPT = 0.95  # decay of a change per frame, so that random errors do not accumulate


def added(
    before: np.ndarray | None, backward: np.ndarray, apart: Image, known: np.ndarray
) -> np.ndarray:
    """Return the accumulated change of a frame: float32 [H/4, W/4, 4], RGB in units of the image.

    The fourth channel is 1 where strokes were just repainted and decays from then on. before: the
    change of the earlier frame; None: none. apart: this frame minus the earlier one warped by the
    flow `backward`. known: bool [H, W], where `apart` is valid.
    """
    change = np.dstack([_small(apart * known[..., None]), np.zeros_like(_small(backward[..., 0]))])
    if before is not None:
        change += _KEPT * sample(before.astype(np.float32), _small(backward) / _SHRINK)
    return change


def at_rest(change: np.ndarray, known: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Return the change after a frame is stylised: 0 except where bool [H, W] `known` is True.

    new: bool [H, W], the outdated pixels, which set the fourth channel to 1.
    """
    colours = np.where(_mostly(known), change[..., :3], np.float32(0))
    return np.dstack([colours, np.maximum(change[..., 3:], _mostly(new))])


def where(places: np.ndarray, change: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return `change` where bool [H, W] `places` is True, and `other` elsewhere."""
    return np.where(_mostly(places), change, other)


def outdated(change: np.ndarray, frame: Image) -> np.ndarray:
    """Return bool [H, W]: the source has changed beyond the tolerance since its strokes were made.

    True everywhere if the mean over the frame of min(change / tolerance, 1), or of the fourth
    channel where that is larger, exceeds _DISSOLVE. Measured at 160 and 256 pixels on 9 clips of 36
    to 120 frames: means of 0.05 to 0.27, and 0 to 0.2 % of the pixels outdated; a dissolve over 8
    or 24 frames exceeds 0.35 at least three times.
    """
    height, width = frame.shape[:2]
    colours = cv2.blur(change[..., :3], (3, 3))
    slight = np.where(contrast(colours) > _DRAWN, _SLIGHT, _LIGHT)
    far = np.abs(colours).max(axis=2) / (slight + _SHARE * contrast(_small(frame)))
    new = _with_around(far)
    if np.maximum(np.minimum(far, 1), np.where(new, 1, change[..., 3])).mean() > _DISSOLVE:
        return np.ones((height, width), bool)
    return np.asarray(cv2.resize(new.astype(np.float32), (width, height)) > 0.5)


def _with_around(far: np.ndarray) -> np.ndarray:
    """Return bool [h, w]: far > 1, or far > _PART within two squares of that."""
    near = cv2.dilate((far > 1).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    return np.asarray(near & (far > _PART))


def _mostly(places: np.ndarray) -> np.ndarray:
    """Return bool [H/4, W/4, 1]: `places` is True in at least half of the square."""
    return np.asarray(_small(places.astype(np.float32))[..., None] >= 0.5)


def _small(values: np.ndarray) -> np.ndarray:
    """Return the values averaged over squares of _SHRINK pixels."""
    height, width = values.shape[:2]
    size = (max(1, width // _SHRINK), max(1, height // _SHRINK))
    return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA))
