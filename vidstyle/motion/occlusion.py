"""Confidence of a flow: forward-backward consistency, appearance, and cuts.

A confidence is float32 [H, W, 1], 0..1: 1 where the flow is reliable, 0 where it fails.
"""

import cv2
import numpy as np

from vidstyle.image import Image
from vidstyle.motion.flow import contrast, difference, squared_length
from vidstyle.motion.parameters import MotionParameters
from vidstyle.motion.warp import positions, sample, warp

__all__ = ["agree", "confidence", "inside", "is_consistent", "is_cut", "is_similar"]

_DEFAULTS = MotionParameters()


def confidence(
    backward: np.ndarray,
    forward: np.ndarray,
    earlier: Image,
    frame: Image,
    parameters: MotionParameters = _DEFAULTS,
) -> np.ndarray:
    """Return how reliably `earlier` warped by `backward` predicts `frame`: float32 [H, W, 1], 0..1.

    backward: flow from frame to earlier; forward: from earlier to frame; both are source frames.
    Exactly 0 where a check fails, rising to 1 within two pixels of it. Consistency as in Ruder et
    al., "Artistic Style Transfer for Videos" (2016). Differs: appearance is compared too.
    """
    reliable = is_consistent(backward, forward, parameters)
    reliable &= is_similar(warp(earlier, backward), frame, parameters)
    mask = reliable.astype(np.uint8) * 255
    softened = cv2.GaussianBlur(cv2.erode(mask, np.ones((3, 3), np.uint8)), (5, 5), 0.8)
    return np.where(reliable, softened, 0)[..., None].astype(np.float32) / 255


def is_consistent(
    backward: np.ndarray, forward: np.ndarray, parameters: MotionParameters = _DEFAULTS
) -> np.ndarray:
    """Return bool [H, W]: the flows agree, away from motion boundaries, inside the frame.

    Ruder, Dosovitskiy & Brox (2016), section 4.3. Differs: targets outside the frame fail.
    """
    consistent = agree(backward, forward, parameters)
    return np.asarray(consistent & _is_smooth(backward, parameters) & inside(backward))


def agree(
    backward: np.ndarray, forward: np.ndarray, parameters: MotionParameters = _DEFAULTS
) -> np.ndarray:
    """Return bool [H, W]: `backward` followed by `forward` returns to the same pixel."""
    returned = sample(forward, backward)
    lengths = squared_length(returned) + squared_length(backward)
    most = parameters.consistency_slope * lengths + parameters.consistency_offset
    return np.asarray(squared_length(returned + backward) < most)


def _is_smooth(flow: np.ndarray, parameters: MotionParameters) -> np.ndarray:
    """Return bool [H, W]: not at a motion boundary."""
    slope, one = np.array([-0.5, 0, 0.5], np.float32), np.ones(1, np.float32)
    across = cv2.sepFilter2D(flow, -1, slope, one, borderType=cv2.BORDER_REPLICATE)
    down = cv2.sepFilter2D(flow, -1, one, slope, borderType=cv2.BORDER_REPLICATE)
    gradient = squared_length(across) + squared_length(down)
    most = parameters.boundary_slope * squared_length(flow) + parameters.boundary_offset
    return np.asarray(gradient <= most)


def inside(flow: np.ndarray) -> np.ndarray:
    """Return bool [H, W]: p + flow(p) lies within the frame."""
    height, width = flow.shape[:2]
    x, y = positions(flow)
    return (x > -1) & (x < width) & (y > -1) & (y < height)


def is_similar(warped: Image, frame: Image, parameters: MotionParameters = _DEFAULTS) -> np.ndarray:
    """Return bool [H, W]: the images differ by no more than a small misplacement explains."""
    least = np.minimum(contrast(warped), contrast(frame))
    most = parameters.appearance_offset + parameters.appearance_contrast * least
    return np.asarray(difference(warped, frame, parameters.appearance_side) < most)


def is_cut(
    certainty: np.ndarray,
    earlier: Image,
    frame: Image,
    parameters: MotionParameters = _DEFAULTS,
) -> bool:
    """Return whether a cut lies between two frames: their mean confidence is too low.

    certainty: confidence [H, W, 1], weighted by contrast.
    """
    weights = np.maximum(contrast(earlier), contrast(frame)) + parameters.cut_weight
    return bool(np.average(certainty[..., 0], weights=weights) < parameters.cut)
