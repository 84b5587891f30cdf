"""Averages of maps along the motion of a shot, which make single detections steady.

A map that is known at some frames is carried to every other frame, forward and backward along the
optical flow, and averaged there. A detection that disagrees with those around it is outvoted, and
the mask of one frame is nearly that of the next.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from vidstyle.image import Image
from vidstyle.motion.flow import optical_flow
from vidstyle.motion.occlusion import confidence, is_cut
from vidstyle.motion.warp import sample

__all__ = ["MotionAverage", "Step", "step_between"]

_DECAY = 0.9  # of the weight of a map, each frame that it is carried
_UNFOLLOWED = 0.5  # of the weight that is left where the flow is not reliable
_WINDOW, _AHEAD = 72, 24  # frames that are held at most, and later ones that a frame waits for


@dataclass(frozen=True)
class Step:
    """The motion between a frame and the next one, float16.

    back, ahead: the flows from the next frame to this one, and from this to the next, [H, W, 2].
    followed, led: how reliable they are, 0..1, [H, W, 1].
    """

    back: np.ndarray
    ahead: np.ndarray
    followed: np.ndarray
    led: np.ndarray


def step_between(before: Image, frame: Image) -> Step | None:
    """Return the motion between two successive frames of the same size; None across a cut."""
    back, ahead = optical_flow(frame, before), optical_flow(before, frame)
    followed = confidence(back, ahead, before, frame)
    if is_cut(followed, before, frame):
        return None
    led = confidence(ahead, back, frame, before)
    return Step(*(values.astype(np.float16) for values in (back, ahead, followed, led)))


@dataclass
class _Held:
    """A frame that waits for later maps.

    step: from the frame before; None at the first of a shot. known: the map of this frame times
    its weight, and its weight, [H, W, 2]. total: the same of all earlier frames, carried here.
    """

    step: Step | None
    known: np.ndarray | None
    total: np.ndarray


class MotionAverage:
    """The weighted mean of the maps of a shot at each of its frames, one frame after another.

    A map counts less with each frame that it is carried over, and less still where it cannot be
    followed. Holds at most _WINDOW frames, so that the mean takes in at least _AHEAD later ones.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        """size: the (width, height) of the maps."""
        self._size = size
        self._held: list[_Held] = []

    def add(self, step: Step | None, known: np.ndarray | None) -> Iterator[np.ndarray]:
        """Take the next frame of the shot, and yield the means, float32 [H, W], that are due.

        step: the motion from the frame before; None for the first. known: a map, float32 [h, w],
        of any size, or None. A mean is 0 where no map is known.
        """
        width, height = self._size
        total = np.zeros((height, width, 2), np.float32)
        if step is not None:
            newest = self._held[-1]
            total = _carried(_sum(newest.total, newest.known), step.back, step.followed)
        own = None
        if known is not None:
            scaled = cv2.resize(known, self._size, interpolation=cv2.INTER_AREA)
            own = np.dstack([scaled, np.ones_like(scaled)])
        self._held.append(_Held(step, own, total))
        if len(self._held) == _WINDOW:
            yield from self._means(_WINDOW - _AHEAD)

    def end(self) -> Iterator[np.ndarray]:
        """Yield the means of the remaining frames: the shot ends here."""
        yield from self._means(len(self._held))

    def _means(self, count: int) -> list[np.ndarray]:
        """Return the means of the oldest frames, and let them go."""
        width, height = self._size
        later = np.zeros((height, width, 2), np.float32)
        means: list[np.ndarray] = []
        for index in reversed(range(len(self._held))):
            held = self._held[index]
            if index < count:
                value, weight = cv2.split(_sum(held.total + later, held.known))
                means.append(np.divide(value, weight, np.zeros_like(value), where=weight > 0))
            if held.step is not None:
                later = _carried(_sum(later, held.known), held.step.ahead, held.step.led)
        del self._held[:count]
        return means[::-1]


def _sum(total: np.ndarray, known: np.ndarray | None) -> np.ndarray:
    return total if known is None else total + known


def _carried(total: np.ndarray, flow: np.ndarray, reliable: np.ndarray) -> np.ndarray:
    """Carry a weighted sum of maps, [H, W, 2], to the adjacent frame, with less weight."""
    left = _UNFOLLOWED + (1 - _UNFOLLOWED) * reliable.astype(np.float32)
    return _DECAY * left * sample(total, flow.astype(np.float32))
