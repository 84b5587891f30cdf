"""Mending of propagated masks by the click model."""

from typing import Protocol

import cv2
import numpy as np

from vidstyle.errors import GuideError
from vidstyle.segmentation.prompts import Box, Prompt
from vidstyle.segmentation.sam import Selector, check_click_model

__all__ = ["Mend", "Mender"]

_EVERY = 5  # frames from one mended mask, or attempt, to the next
_ALIKE = 0.6  # least intersection over union of a mended mask and the propagated one
_DRIFTED = 0.02  # by which the overlap must be lower than at the key frame
_SMALLEST = 8  # pixels of a side of the box around a mask
_PART = 0.1  # of the area of the largest part; smaller ones do not count for the box
_MARGIN = 0.05  # of a side of the box, by which it is grown


class Mend(Protocol):
    """Improves propagated planes [H, W, K]. index: of the frame; frame: uint8 [H, W, 3]."""

    def at_key(self, index: int, frame: np.ndarray, planes: np.ndarray) -> None: ...

    def at_last(self, index: int, frame: np.ndarray, planes: np.ndarray) -> np.ndarray | None: ...

    def __call__(self, index: int, frame: np.ndarray, planes: np.ndarray) -> np.ndarray | None: ...


class Mender:
    """Mends the binary mask of one object, at some of the frames that it is propagated to.

    To be passed to `track` as `mend`. The click model is asked for the object in the box of the
    propagated mask, given that mask. Its answer is taken if it is alike, but less alike than the
    answer at the key frame is to the mask there: as long as both differ by no more than the model
    errs, the propagated mask is the better one. Raises UsageError without the extra `subject`.
    """

    def __init__(self) -> None:
        check_click_model()
        self._last: int | None = None
        self._able = 1.0

    def at_key(self, index: int, frame: np.ndarray, planes: np.ndarray) -> None:
        """Measure how well the model finds the object, from the planes [H, W, 1] of a key frame."""
        self._last = index
        found = _found(frame, planes)
        self._able = 1.0 if found is None else _overlap(found, planes[..., 0] > 0.5)

    def __call__(self, index: int, frame: np.ndarray, planes: np.ndarray) -> np.ndarray | None:
        """Return the mended plane [H, W, 1] of a frame, uint8 [H, W, 3]; None to keep `planes`."""
        if self._last is None or not 0 < index - self._last <= _EVERY:
            self._last = index - 1  # a key frame was before
        return None if index - self._last < _EVERY else self._mended(index, frame, planes)

    def at_last(self, index: int, frame: np.ndarray, planes: np.ndarray) -> np.ndarray | None:
        """Return the same for the last frame of a shot, however few frames after the one before."""
        return None if self._last == index else self._mended(index, frame, planes)

    def _mended(self, index: int, frame: np.ndarray, planes: np.ndarray) -> np.ndarray | None:
        self._last = index
        found = _found(frame, planes)
        if found is None:
            return None
        if not _ALIKE < _overlap(found, planes[..., 0] > 0.5) < self._able - _DRIFTED:
            return None
        return found.astype(np.float32)[..., None]


def _found(frame: np.ndarray, planes: np.ndarray) -> np.ndarray | None:
    """Return the model's mask, bool [H, W], of the object that a plane [H, W, 1] shows.

    None if it is too small, or the model finds nothing.
    """
    box = _box(planes[..., 0] > 0.5)
    if box is None:
        return None
    try:
        selector = Selector(frame.astype(np.float32) / 255)
        return selector.mask(Prompt(box=box), planes[..., 0]) > 0.5
    except GuideError:
        return None


def _box(mask: np.ndarray) -> Box | None:
    """Return the box around the large parts of a mask, bool [H, W]; None if it is too small.

    It is grown, since a part of the object that was lost lies outside the mask.
    """
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    areas = stats[1:, cv2.CC_STAT_AREA]
    if count == 1:
        return None
    kept = np.isin(labels, 1 + np.flatnonzero(areas >= _PART * areas.max()))
    rows, columns = (np.flatnonzero(kept.any(axis=axis)) for axis in (1, 0))
    height, width = rows[-1] + 1 - rows[0], columns[-1] + 1 - columns[0]
    if min(height, width) < _SMALLEST:
        return None
    return (
        max(0.0, columns[0] - _MARGIN * width),
        max(0.0, rows[0] - _MARGIN * height),
        min(float(mask.shape[1]), columns[-1] + 1 + _MARGIN * width),
        min(float(mask.shape[0]), rows[-1] + 1 + _MARGIN * height),
    )


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Return the intersection over union of two masks, bool [H, W]."""
    return float((one & other).sum() / max(1, (one | other).sum()))
