"""Mending of propagated masks by the click model."""

from typing import Protocol

import numpy as np

from vidstyle.errors import GuideError
from vidstyle.segmentation.prompts import Prompt
from vidstyle.segmentation.sam import Selector, check_click_model

__all__ = ["Mend", "Mender"]

_EVERY = 5  # frames from one mended mask, or attempt, to the next
_ALIKE = 0.6  # least intersection over union of a mended mask and the propagated one
_DRIFTED = 0.05  # by which the overlap must be lower than at the key frame
_SMALLEST = 8  # pixels of a side of the box around a mask


class Mend(Protocol):
    """Improves propagated planes [H, W, K]. index: of the frame; frame: uint8 [H, W, 3]."""

    def at_key(self, index: int, frame: np.ndarray, planes: np.ndarray) -> None: ...

    def __call__(self, index: int, frame: np.ndarray, planes: np.ndarray) -> np.ndarray | None: ...


class Mender:
    """Mends the binary mask of one object, at some of the frames that it is propagated to.

    To be passed to `track` as `mend`. The click model is asked for the object in the box of the
    propagated mask, with and without that mask; the answer most like it is taken, if it is alike,
    but less alike than the model's answer at the key frame is to the mask there: as long as both
    differ by no more than the model errs, the propagated mask is the better one. Raises UsageError
    without the extra `subject`.
    """

    def __init__(self) -> None:
        check_click_model()
        self._last: int | None = None
        self._able = 1.0

    def at_key(self, index: int, frame: np.ndarray, planes: np.ndarray) -> None:
        """Measure how well the model finds the object, from the planes [H, W, 1] of a key frame."""
        self._last = index
        found = _closest(frame, planes)
        self._able = 1.0 if found is None else found[0]

    def __call__(self, index: int, frame: np.ndarray, planes: np.ndarray) -> np.ndarray | None:
        """Return the mended plane [H, W, 1] of a frame, uint8 [H, W, 3]; None to keep `planes`."""
        if self._last is None or not 0 < index - self._last <= _EVERY:
            self._last = index - 1  # a key frame was before
        if index - self._last < _EVERY:
            return None
        self._last = index
        found = _closest(frame, planes)
        if found is None or not _ALIKE < found[0] < self._able - _DRIFTED:
            return None
        return found[1].astype(np.float32)[..., None]


def _closest(frame: np.ndarray, planes: np.ndarray) -> tuple[float, np.ndarray] | None:
    """Return the model's mask most like a plane [H, W, 1], and their overlap; None if too small."""
    carried = planes[..., 0] > 0.5
    rows, columns = (np.flatnonzero(carried.any(axis=axis)) for axis in (1, 0))
    if min(len(rows), len(columns)) < _SMALLEST:
        return None
    box = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
    selector = Selector(frame.astype(np.float32) / 255)
    found = [_candidate(selector, box, previous) for previous in (None, planes[..., 0])]
    return max(((_overlap(mask, carried), mask) for mask in found), key=lambda pair: pair[0])


def _candidate(
    selector: Selector, box: tuple[float, float, float, float], previous: np.ndarray | None
) -> np.ndarray:
    """Return a mask, bool [H, W]; empty if the model finds nothing."""
    try:
        return selector.mask(Prompt(box=box), previous) > 0.5
    except GuideError:
        return np.zeros((1, 1), bool)


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Return the intersection over union of two masks, bool [H, W]."""
    return float((one & other).sum() / max(1, (one | other).sum()))
