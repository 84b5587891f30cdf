"""Key frame track: flow from frame to frame, corrected for drift against a key frame.

Flow errors accumulate over the frames, so strokes drift off the content they were painted on. Each
frame is therefore also registered to a key frame, starting from the composed flow, and part of the
difference is corrected per frame. Reappearing areas are restored from the key frame.
"""

from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from vidstyle.coherence.parameters import CoherenceParameters
from vidstyle.image import Image
from vidstyle.motion.bidirectional import Motion
from vidstyle.motion.flow import optical_flow
from vidstyle.motion.occlusion import confidence
from vidstyle.motion.warp import compose_flows, warp

__all__ = ["KeyframeTrack", "Step"]


@dataclass(frozen=True)
class Step:
    """The motion to a frame. motion: from the previous frame, corrected for drift.

    from_keyframe: from the key frame `keyframe`, `age` frames back; None: it is the previous frame.
    """

    motion: Motion
    from_keyframe: Motion | None = None
    age: int = 1
    keyframe: Image | None = None


@dataclass(frozen=True)
class KeyframeTrack:
    """The flow between a shot's key frame and its newest frame.

    keyframe, planes: the key frame's source and its guide's float32 [H, W, K]. backward: float32
    [H, W, 2], in pixels, from the newest frame to the key frame; forward: the reverse; both None
    if the newest frame is the key frame. age: frames since the key frame.
    """

    keyframe: Image
    planes: np.ndarray | None = None
    backward: np.ndarray | None = None
    forward: np.ndarray | None = None
    age: int = 0
    parameters: CoherenceParameters = field(default_factory=CoherenceParameters)

    def extended(
        self, motion: Motion, frame: Image, planes: np.ndarray | None = None
    ) -> tuple[Step, "KeyframeTrack"]:
        """Return the drift-corrected step to the next frame, and the track at that frame."""
        age = self.age + 1
        if self.backward is None or self.forward is None:
            here = replace(self, backward=motion.backward, forward=motion.forward)
            return Step(motion, age=age), here.skipped(frame, planes)
        composed = compose_flows(motion.backward, self.backward)
        forward = compose_flows(self.forward, motion.forward)
        registered = self._registered(frame, planes, composed, forward)
        corrected = replace(
            motion, backward=self._corrected(motion.backward, composed, registered, frame)
        )
        here = replace(
            self, backward=compose_flows(corrected.backward, self.backward), forward=forward
        )
        return Step(corrected, registered, age, self.keyframe), here.skipped(frame, planes)

    def skipped(self, frame: Image, planes: np.ndarray | None = None) -> "KeyframeTrack":
        """Return the track one frame on, without its flow; after the span, a new one at `frame`."""
        if self.age + 1 == self.parameters.keyframe.span:
            return KeyframeTrack(frame, planes, parameters=self.parameters)
        return replace(self, age=self.age + 1)

    def _registered(
        self, frame: Image, planes: np.ndarray | None, backward: np.ndarray, forward: np.ndarray
    ) -> Motion:
        """Return the motion from the key frame, estimated from these initial flows.

        Confidence is 0 where the guides' planes differ.
        """
        parameters = self.parameters.motion
        back = optical_flow(frame, self.keyframe, backward, parameters)
        ahead = optical_flow(self.keyframe, frame, forward, parameters)
        certainty = confidence(back, ahead, self.keyframe, frame, parameters)
        if planes is not None and self.planes is not None:
            change = np.abs(planes - _nearest(self.planes, back)).max(axis=2, keepdims=True)
            certainty = np.where(change < self.parameters.keyframe.equal_planes, certainty, 0)
        return Motion(back, ahead, certainty)

    def _corrected(
        self, backward: np.ndarray, composed: np.ndarray, registered: Motion, frame: Image
    ) -> np.ndarray:
        """Return the flow to the previous frame, corrected by a share of the accumulated drift.

        Applies where the flow registered to the key frame predicts `frame` better than the composed
        one, except in pixels without motion. Rotation and scale since the key frame are neglected.
        """
        own = self.parameters.keyframe
        drift = registered.backward - composed
        better = self._residual(registered.backward, frame) < self._residual(composed, frame)
        better &= (drift * drift).sum(axis=2) < own.largest_drift**2
        drift = cv2.GaussianBlur(np.where(better[..., None], drift, 0), (0, 0), own.drift_sigma)
        static = (backward == 0).all(axis=2, keepdims=True)
        return np.where(static, backward, backward + np.float32(own.corrected_share) * drift)

    def _residual(self, flow: np.ndarray, frame: Image) -> np.ndarray:
        """Return the mean squared difference of the warped key frame and the frame, [H, W]."""
        side = self.parameters.keyframe.residual_side
        squared = np.square(warp(self.keyframe, flow) - frame).sum(axis=2)
        return np.asarray(cv2.blur(squared, (side, side)))


def _nearest(planes: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Return the planes at p + flow(p), nearest neighbour."""
    height, width = planes.shape[:2]
    rows, columns = np.indices((height, width))
    x, y = np.rint(flow[..., 0]).astype(int), np.rint(flow[..., 1]).astype(int)
    return planes[np.clip(rows + y, 0, height - 1), np.clip(columns + x, 0, width - 1)]
