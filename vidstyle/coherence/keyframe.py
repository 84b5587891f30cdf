"""The course of a shot: its motion from frame to frame, held to a frame further back, its anchor.

Every flow errs a little, and strokes go along all of them: they slide off what they were painted
on. So each frame is also compared with the anchor, beginning from where its pixels came by the
motion so far, and a part of what that misses by is made good at every step, too little to be seen.
What reappears after the frame before did not show it is known from the anchor.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from vidstyle.image import Image
from vidstyle.motion.bidirectional import Motion
from vidstyle.motion.flow import optical_flow
from vidstyle.motion.occlusion import confidence
from vidstyle.motion.warp import compose_flows, warp

__all__ = ["SPAN", "KeyframeTrack", "Step"]

SPAN = 10  # frames from one anchor to the next
_SHARE = 0.5  # of what is missed, made good at once: with all of it strokes shake
_FAR = 1.5  # pixels: who is said to have slid farther was taken for something else
_PATCH = 9  # pixels: the side of the square over which two flows are compared
_SLIGHT = 0.02  # of 1: what planes may differ by and still say the same
_SMOOTH = 3.0  # pixels: over which what slid is averaged


@dataclass(frozen=True)
class Step:
    """How a frame is reached. motion: from the frame before, held to the anchor.

    further: from the anchor, a source frame `age` frames back, where that is not the frame before.
    """

    motion: Motion
    further: Motion | None = None
    age: int = 1
    anchor: Image | None = None


@dataclass(frozen=True)
class KeyframeTrack:
    """Where the pixels of a shot's newest frame were in its anchor, and where its own are now.

    planes: float32 [H, W, K], what masks or maps said of the anchor, or None. backward, forward:
    float32 [H, W, 2], in pixels, as in Motion, or None: the newest frame is the anchor. age: frames
    since.
    """

    anchor: Image
    planes: np.ndarray | None = None
    backward: np.ndarray | None = None
    forward: np.ndarray | None = None
    age: int = 0

    def along(
        self, motion: Motion, frame: Image, planes: np.ndarray | None = None
    ) -> tuple[Step, "KeyframeTrack"]:
        """Return the step to this frame by a motion, and the course from here on."""
        age = self.age + 1
        if self.backward is None or self.forward is None:
            here = replace(self, backward=motion.backward, forward=motion.forward)
            return Step(motion, age=age), here.past(frame, planes)
        straight = compose_flows(motion.backward, self.backward)
        forward = compose_flows(self.forward, motion.forward)
        further = self._seen(frame, planes, straight, forward)
        held = replace(motion, backward=self._held(motion.backward, straight, further, frame))
        here = replace(self, backward=compose_flows(held.backward, self.backward), forward=forward)
        return Step(held, further, age, self.anchor), here.past(frame, planes)

    def past(self, frame: Image, planes: np.ndarray | None = None) -> "KeyframeTrack":
        """Return the course once a frame was passed by, whose motion need not be known."""
        return (
            KeyframeTrack(frame, planes)
            if self.age + 1 == SPAN
            else replace(self, age=self.age + 1)
        )

    def _seen(
        self, frame: Image, planes: np.ndarray | None, backward: np.ndarray, forward: np.ndarray
    ) -> Motion:
        """Return the motion from the anchor, looked for near these flows.

        Trusted only where the same was to be made of what is seen.
        """
        there = optical_flow(frame, self.anchor, backward)
        back = optical_flow(self.anchor, frame, forward)
        certainty = confidence(there, back, self.anchor, frame)
        if planes is not None and self.planes is not None:
            apart = np.abs(planes - _nearest(self.planes, there)).max(axis=2, keepdims=True)
            certainty = np.where(apart < _SLIGHT, certainty, 0)
        return Motion(there, back, certainty)

    def _held(
        self, backward: np.ndarray, straight: np.ndarray, further: Motion, frame: Image
    ) -> np.ndarray:
        """Return the flow to the frame before, with a share of what all so far have missed by.

        What is seen at p here and lies d from where the anchor has it came from d nearer to it in
        the frame before: that the course turns or grows meanwhile is neglected.
        """
        slid = further.backward - straight
        better = self._missed(further.backward, frame) < self._missed(straight, frame)
        better &= (slid * slid).sum(axis=2) < _FAR**2
        slid = cv2.GaussianBlur(np.where(better[..., None], slid, 0), (0, 0), _SMOOTH)
        still = (backward == 0).all(axis=2, keepdims=True)
        return np.where(still, backward, backward + np.float32(_SHARE) * slid)

    def _missed(self, flow: np.ndarray, frame: Image) -> np.ndarray:
        """Return how far the anchor, warped by a flow, is from the frame around each pixel."""
        apart = np.square(warp(self.anchor, flow) - frame).sum(axis=2)
        return np.asarray(cv2.blur(apart, (_PATCH, _PATCH)))


def _nearest(planes: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Return the planes at p + flow(p), of the pixel that is nearest."""
    height, width = planes.shape[:2]
    rows, columns = np.indices((height, width))
    x, y = np.rint(flow[..., 0]).astype(int), np.rint(flow[..., 1]).astype(int)
    return planes[np.clip(rows + y, 0, height - 1), np.clip(columns + x, 0, width - 1)]
