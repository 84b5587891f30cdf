"""What changes too slowly to be seen from one frame to the next: dissolves, titles, the light.

Each frame is as good as the one before, and yet after a dissolve the strokes would show what is
long gone. So a change is added up along the motion, from the frame on for which strokes were made.
"""

import cv2
import numpy as np

from vidstyle.flow import contrast, sampled
from vidstyle.media import Image

__all__ = ["added", "at_rest", "outdated"]

_SHRINK = 4  # pixels of a side of what a change is the mean of
_SLIGHT, _SHARE = 0.06, 0.2  # of 1, of the contrast: what flow alone lets a place differ by
_DISSOLVE = 0.05  # of a frame: where more is outdated at once, all of it is


def added(
    before: np.ndarray | None, backward: np.ndarray, apart: Image, known: np.ndarray
) -> np.ndarray:
    """Return the change of a frame: float32 [H/4, W/4, 3], in units of the image.

    before: of the earlier frame, None where all is as it was painted. apart: this frame minus the
    earlier one, warped by the flow `backward`. known: bool [H, W], where that says something.
    """
    change = _small(apart * known[..., None])
    if before is not None:
        change += sampled(before.astype(np.float32), _small(backward) / _SHRINK)
    return change


def at_rest(change: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return the change without what is not mostly in the places (bool [H, W]): painted anew."""
    return np.where(_small(places.astype(np.float32))[..., None] < 0.5, np.float32(0), change)


def outdated(change: np.ndarray, frame: Image) -> np.ndarray:
    """Return bool [H, W]: the frame is no longer what its strokes were made for.

    Measured at 256 pixels on seven clips of 120 to 150 frames: 0 to 3 % of a frame at once; on a
    dissolve over eight frames, 6 to 26 %.
    """
    height, width = frame.shape[:2]
    far = np.abs(cv2.blur(change, (3, 3))).max(axis=2)
    changed = far > _SLIGHT + _SHARE * contrast(_small(frame))
    if changed.mean() > _DISSOLVE:
        return np.ones((height, width), bool)
    grown = cv2.resize(changed.astype(np.float32), (width, height))
    return np.asarray(grown > 0.5)


def _small(values: np.ndarray) -> np.ndarray:
    """Return the means over squares of pixels."""
    height, width = values.shape[:2]
    size = (max(1, width // _SHRINK), max(1, height // _SHRINK))
    return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA))
