"""Dense optical flow between source frames, exactly 0 at static pixels.

A flow is float32 [H, W, 2], (dx, dy) in pixels: pixel p of a frame is at p + flow(p) in the other.
"""

import cv2
import numpy as np

from vidstyle.image import Image
from vidstyle.motion.parameters import MotionParameters
from vidstyle.motion.warp import warp

__all__ = ["NEIGHBOURHOOD", "contrast", "difference", "optical_flow", "squared_length"]

NEIGHBOURHOOD = np.ones((5, 5), np.uint8)  # of contrast, erosion and dilation

_DEFAULTS = MotionParameters()
_MIN_SIDE = 32  # pixels; below 16, DIS of OpenCV 5.0 returns NaN or aborts the process
_ROUNDING = 1e-6  # of 1, squared; smaller differences are rounding


def optical_flow(
    a: Image,
    b: Image,
    near: np.ndarray | None = None,
    parameters: MotionParameters = _DEFAULTS,
) -> np.ndarray:
    """Return the flow from `a` to `b`: float32 [H, W, 2], (dx, dy) in pixels.

    near: an initial flow, for distant frames: the composition of the flows between them.

    DIS (Kroeger et al., "Fast Optical Flow using Dense Inverse Search", 2016) as in OpenCV, with
    twice the variational refinement. Differs: the flow is exactly 0 at static pixels, so that a
    still picture does not drift. The result does not depend on the number of threads.
    """
    height, width = a.shape[:2]
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    dis.setFinestScale(0 if width * height <= parameters.full_resolution else 1)
    dis.setVariationalRefinementIterations(parameters.refinement_iterations)
    initial = None if near is None else _padded(near)
    flow = dis.calc(_grey(a), _grey(b), initial)[:height, :width]
    return np.where(_is_static(a, b, flow, parameters)[..., None], np.float32(0), flow)


def _grey(image: Image) -> np.ndarray:
    """Return the padded uint8 [H, W] luma."""
    return _padded(np.rint(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) * 255).astype(np.uint8))


def _padded(values: np.ndarray) -> np.ndarray:
    """Return a copy of [H, W, …] values with right and bottom padded to _MIN_SIDE."""
    down, right = (max(0, _MIN_SIDE - side) for side in values.shape[:2])
    return np.pad(values, ((0, down), (0, right), *[(0, 0)] * (values.ndim - 2)), mode="edge")


def _is_static(a: Image, b: Image, flow: np.ndarray, parameters: MotionParameters) -> np.ndarray:
    """Return bool [H, W]: pixels without motion, even where DIS finds some. Any of three tests.

    1. The pixel's whole row or column is unchanged (black bars; DIS leaks motion into them).
    2. Its neighbourhood is bit-identical and the flow is short (a logo).
    3. The camera is static, and the flow explains `a` no better than zero flow here and nearby.
    """
    changed = difference(a, b, 1) > parameters.unchanged
    static = ~(changed.any(axis=0) & changed.any(axis=1, keepdims=True))
    same = cv2.erode(np.all(a == b, axis=2).astype(np.uint8), NEIGHBOURHOOD) > 0
    static |= same & (squared_length(flow) < parameters.leaked_flow**2)
    moving = _explains(flow, a, b, parameters)
    textured = contrast(a) > parameters.textured
    if moving[textured].sum() <= textured.sum() * parameters.moving_camera:
        side = int(max(a.shape[:2]) * parameters.static_side) + 1
        static |= cv2.blur(moving.astype(np.float32), (side, side)) < parameters.static_share
    return np.asarray(static)


def _explains(flow: np.ndarray, a: Image, b: Image, parameters: MotionParameters) -> np.ndarray:
    """Return bool [H, W]: warping along the flow removes enough of the local difference.

    Relative, not absolute: a slow pan changes a soft picture by less than noise does per frame,
    but moves strokes visibly within a second.
    """
    first, other = (cv2.GaussianBlur(image, (0, 0), parameters.gain_blur) for image in (a, b))
    side = max(parameters.gain_side_least, int(max(a.shape[:2]) * parameters.gain_side))
    without, within = (
        cv2.blur(np.square(first - compared).sum(axis=2), (side, side))
        for compared in (other, warp(other, flow))
    )
    return np.asarray(without - within > parameters.least_gain * within + _ROUNDING)


def difference(a: Image, b: Image, side: int) -> np.ndarray:
    """Return float32 [H, W]: largest channel difference, averaged over a square of this side."""
    return np.asarray(cv2.blur(np.abs(a - b).max(axis=2), (side, side)))


def contrast(image: Image) -> np.ndarray:
    """Return float32 [H, W]: maximum minus minimum of the luma in NEIGHBOURHOOD."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.dilate(grey, NEIGHBOURHOOD) - cv2.erode(grey, NEIGHBOURHOOD))


def squared_length(flow: np.ndarray) -> np.ndarray:
    """Return the squared length of each vector: float32 [H, W], in pixels squared."""
    return np.asarray((flow * flow).sum(axis=2))
