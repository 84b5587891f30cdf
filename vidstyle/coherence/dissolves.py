"""What changes too slowly to be seen from one frame to the next: dissolves, titles, the light.

Each frame is as good as the one before, and yet after a dissolve the strokes would show what is
long gone. So a change is added up along the motion, from the frame on for which strokes were made.
"""

import cv2
import numpy as np

from vidstyle.image import Image
from vidstyle.motion.flow import contrast
from vidstyle.motion.warp import sample

__all__ = ["added", "at_rest", "outdated", "where"]

_SHRINK = 4  # pixels of a side of what a change is the mean of
_SLIGHT, _SHARE = 0.06, 0.2  # of 1, of the contrast: what flow alone lets a place differ by
_LIGHT = 0.1  # of 1, in place of _SLIGHT: by what light that wanes over a wall leaves its strokes
_DRAWN = 0.08  # of 1: the contrast of a change from which on it is a drawing, not light
_PART = 0.4  # of the way to being outdated: what goes with its neighbour that came all of it
_DISSOLVE = 0.35  # of the way, on average: a frame that came farther is outdated as a whole
_KEPT = 0.95  # of a change from frame to frame: what errs to either side must not add up


def added(
    before: np.ndarray | None, backward: np.ndarray, apart: Image, known: np.ndarray
) -> np.ndarray:
    """Return the change of a frame: float32 [H/4, W/4, 4], in units of the image.

    The fourth number is how lately strokes were made anew there: 1 just now, less from then on.
    before: of the earlier frame, None where all is as it was painted. apart: this frame minus the
    earlier one, warped by the flow `backward`. known: bool [H, W], where that says something.
    """
    change = np.dstack([_small(apart * known[..., None]), np.zeros_like(_small(backward[..., 0]))])
    if before is not None:
        change += _KEPT * sample(before.astype(np.float32), _small(backward) / _SHRINK)
    return change


def at_rest(change: np.ndarray, known: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Return the change once a frame is painted: none is left but in what is known (bool [H, W]).

    new: bool [H, W], where that is since it was outdated.
    """
    colours = np.where(_mostly(known), change[..., :3], np.float32(0))
    return np.dstack([colours, np.maximum(change[..., 3:], _mostly(new))])


def where(places: np.ndarray, change: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return a change in the places (bool [H, W]), and the other elsewhere."""
    return np.where(_mostly(places), change, other)


def outdated(change: np.ndarray, frame: Image) -> np.ndarray:
    """Return bool [H, W]: the frame is no longer what its strokes were made for.

    All of it, where most came far or was made anew lately. Measured at 160 and 256 pixels on 9
    clips of 36 to 120 frames: on average over a frame 0.05 to 0.27 of the way, and 0 to 0.2 % of it
    made anew; a dissolve over 8 or 24 frames passes 0.35 three times or more.
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
    """Return bool [h, w]: what came all the way, and what next to it came a part of it."""
    near = cv2.dilate((far > 1).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    return np.asarray(near & (far > _PART))


def _mostly(places: np.ndarray) -> np.ndarray:
    """Return bool [H/4, W/4, 1]: half of the square is in the places."""
    return np.asarray(_small(places.astype(np.float32))[..., None] >= 0.5)


def _small(values: np.ndarray) -> np.ndarray:
    """Return the means over squares of pixels."""
    height, width = values.shape[:2]
    size = (max(1, width // _SHRINK), max(1, height // _SHRINK))
    return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA))
