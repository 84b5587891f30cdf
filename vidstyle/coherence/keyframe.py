"""Key frame track: flow from frame to frame, corrected for drift against a key frame.

Flow errors accumulate over the frames, so strokes drift off the content they were painted on. Each
frame is therefore also registered to a key frame (`anchor`), starting from the composed flow, and
part of the difference is corrected per frame. Reappearing areas are restored from the key frame.
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

SPAN = 10  # frames from one key frame to the next
_SHARE = 0.5  # share of the drift corrected per frame; with 1 strokes shake
_FAR = 1.5  # pixels; drift above it is treated as a false match and ignored
_PATCH = 9  # pixels; side of the box filter of the residual by which two flows are compared
_SLIGHT = 0.02  # plane weight; planes that differ by less are equal
_SMOOTH = 3.0  # pixels; sigma of the Gaussian filter of the drift


@dataclass(frozen=True)
class Step:
    """The motion to a frame. motion: from the previous frame, corrected for drift.

    further: from the key frame `anchor`, `age` frames back; None: it is the previous frame.
    """

    motion: Motion
    further: Motion | None = None
    age: int = 1
    anchor: Image | None = None


@dataclass(frozen=True)
class KeyframeTrack:
    """The flow between a shot's key frame and its newest frame.

    anchor, planes: the key frame's source and its guide's float32 [H, W, K]. backward: float32
    [H, W, 2], in pixels, from the newest frame to the key frame; forward: the reverse; both None
    if the newest frame is the key frame. age: frames since the key frame.
    """

    anchor: Image
    planes: np.ndarray | None = None
    backward: np.ndarray | None = None
    forward: np.ndarray | None = None
    age: int = 0

    def along(
        self, motion: Motion, frame: Image, planes: np.ndarray | None = None
    ) -> tuple[Step, "KeyframeTrack"]:
        """Return the drift-corrected step to the next frame, and the track at that frame."""
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
        """Return the track one frame on; after SPAN frames, a new one with `frame` as key frame."""
        return (
            KeyframeTrack(frame, planes)
            if self.age + 1 == SPAN
            else replace(self, age=self.age + 1)
        )

    def _seen(
        self, frame: Image, planes: np.ndarray | None, backward: np.ndarray, forward: np.ndarray
    ) -> Motion:
        """Return the motion from the key frame, estimated from these initial flows.

        Confidence is 0 where the guides' planes differ.
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
        """Return the flow to the previous frame, corrected by a share of the accumulated drift.

        Applies where the flow registered to the key frame predicts `frame` better than the composed
        one, except in pixels without motion. Rotation and scale since the key frame are neglected.
        """
        slid = further.backward - straight
        better = self._missed(further.backward, frame) < self._missed(straight, frame)
        better &= (slid * slid).sum(axis=2) < _FAR**2
        slid = cv2.GaussianBlur(np.where(better[..., None], slid, 0), (0, 0), _SMOOTH)
        still = (backward == 0).all(axis=2, keepdims=True)
        return np.where(still, backward, backward + np.float32(_SHARE) * slid)

    def _missed(self, flow: np.ndarray, frame: Image) -> np.ndarray:
        """Return the mean squared difference of the warped key frame and the frame, per patch."""
        apart = np.square(warp(self.anchor, flow) - frame).sum(axis=2)
        return np.asarray(cv2.blur(apart, (_PATCH, _PATCH)))


def _nearest(planes: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Return the planes at p + flow(p), nearest neighbour."""
    height, width = planes.shape[:2]
    rows, columns = np.indices((height, width))
    x, y = np.rint(flow[..., 0]).astype(int), np.rint(flow[..., 1]).astype(int)
    return planes[np.clip(rows + y, 0, height - 1), np.clip(columns + x, 0, width - 1)]
