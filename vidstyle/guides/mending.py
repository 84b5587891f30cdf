"""Mending of propagated masks by the click model."""

from typing import Protocol

import cv2
import numpy as np

from vidstyle.errors import GuideError
from vidstyle.guides.appearance import Appearance, likely
from vidstyle.segmentation.prompts import Box, Point, Prompt
from vidstyle.segmentation.sam import Selector, check_click_model

__all__ = ["Mend", "Mender", "box_around"]

_EVERY = 5  # frames from one mended mask, or attempt, to the next
_ALIKE = 0.6  # least agreement of the model's answer with what is expected
_DRIFTED = 0.02  # by which the overlap must be lower than at the key frame
_SMALLEST = 8  # pixels of a side of the box around a mask
_PART = 0.1  # of the area of the largest part; smaller ones do not count for the box
_MARGIN = 0.05  # of a side of the box, by which it is grown
_FAR, _NEAR = 0.19, 0.09  # reach of the key frame, and of the last mended frame; see Appearance


class Mend(Protocol):
    """Improves propagated planes [H, W, K]. index: of the frame; frame: uint8 [H, W, 3].

    confidence: of the planes, [H, W], 0..1.
    """

    def at_key(self, index: int, frame: np.ndarray, planes: np.ndarray) -> None: ...

    def at_last(
        self, index: int, frame: np.ndarray, planes: np.ndarray, confidence: np.ndarray
    ) -> np.ndarray | None: ...

    def __call__(
        self, index: int, frame: np.ndarray, planes: np.ndarray, confidence: np.ndarray
    ) -> np.ndarray | None: ...


class Mender:
    """Mends the binary mask of one object, at some of the frames that it is propagated to.

    To be passed to `track` as `mend`. The object is expected where the propagated mask is, if it
    is reliable there, else where the frame looks like the object in the key frame and in the last
    mended frame. The click model is asked for the object there in several ways, and the answer
    that agrees best with what is expected is taken, unless it is as like the propagated mask as
    the answer at the key frame is to the mask there: as long as both differ by no more than the
    model errs, the propagated mask is the better one. Raises UsageError without the extra
    `subject`.
    """

    def __init__(self) -> None:
        check_click_model()
        self._last_index: int | None = None
        self._key_overlap = 1.0
        self._key: Appearance | None = None
        self._last_mended: Appearance | None = None

    def at_key(self, index: int, frame: np.ndarray, planes: np.ndarray) -> None:
        """Measure how well the model finds the object, from the planes [H, W, 1] of a key frame."""
        self._last_index = index
        selector = _selector(frame)
        mask = planes[..., 0]
        self._key = Appearance.of(selector.features, mask, _FAR)
        self._last_mended = Appearance.of(selector.features, mask, _NEAR)
        found = _best(selector, mask)
        self._key_overlap = 1.0 if found is None else _agreement(found, mask > 0.5)

    def __call__(
        self, index: int, frame: np.ndarray, planes: np.ndarray, confidence: np.ndarray
    ) -> np.ndarray | None:
        """Return the mended plane [H, W, 1] of a frame, uint8 [H, W, 3]; None to keep `planes`."""
        if self._last_index is None or not 0 < index - self._last_index <= _EVERY:
            self._last_index = index - 1  # a key frame was before
        if index - self._last_index < _EVERY:
            return None
        return self._mended(index, frame, planes, confidence)

    def at_last(
        self, index: int, frame: np.ndarray, planes: np.ndarray, confidence: np.ndarray
    ) -> np.ndarray | None:
        """Return the same for the last frame of a shot, however few frames after the one before."""
        if self._last_index == index:
            return None
        return self._mended(index, frame, planes, confidence)

    def _mended(
        self, index: int, frame: np.ndarray, planes: np.ndarray, confidence: np.ndarray
    ) -> np.ndarray | None:
        self._last_index = index
        selector = _selector(frame)
        carried = planes[..., 0]
        known = [one for one in (self._key, self._last_mended) if one is not None]
        expected = carried
        if known:
            seen = likely(selector.features, known, (frame.shape[1], frame.shape[0]))
            expected = confidence * carried + (1 - confidence) * seen
        found = _best(selector, expected)
        if found is None or _agreement(found, carried > 0.5) >= self._key_overlap - _DRIFTED:
            return None
        self._last_mended = Appearance.of(selector.features, found, _NEAR)
        return found.astype(np.float32)[..., None]


def _selector(frame: np.ndarray) -> Selector:
    return Selector(frame.astype(np.float32) / 255)


def _best(selector: Selector, expected: np.ndarray) -> np.ndarray | None:
    """Return the model's mask, bool [H, W], that agrees best with the expected one, 0..1.

    None if the object is too small, or no answer is alike.
    """
    box = box_around(expected > 0.5)
    if box is None:
        return None
    answers = []
    for prompt, previous in (
        (Prompt(box=box), expected),
        (Prompt(box=box), None),
        (Prompt((_deepest(expected > 0.5),), box=box), expected),
    ):
        try:
            answers.append(selector.mask(prompt, previous) > 0.5)
        except GuideError:  # nothing is found there
            continue
    alike = [_agreement(answer, expected) for answer in answers]
    if alike and max(alike) > _ALIKE:
        return answers[int(np.argmax(alike))]
    return expected > 0.5


def _deepest(mask: np.ndarray) -> Point:
    """Return the pixel (x, y) that is farthest within a mask, bool [H, W]."""
    depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    row, column = np.unravel_index(depth.argmax(), depth.shape)
    return float(column), float(row)


def box_around(mask: np.ndarray) -> Box | None:
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


def _agreement(mask: np.ndarray, expected: np.ndarray) -> float:
    """Return the intersection over union of a mask, bool [H, W], and an expected one, 0..1."""
    union = float(np.maximum(mask, expected).sum())
    return float(np.minimum(mask, expected).sum()) / max(1.0, union)
