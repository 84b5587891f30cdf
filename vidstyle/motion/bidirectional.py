"""Motion between two source frames: both flows, made consistent, with their confidence."""

from dataclasses import dataclass

import cv2
import numpy as np

from vidstyle.image import Image
from vidstyle.motion.flow import NEIGHBOURHOOD, contrast, optical_flow
from vidstyle.motion.occlusion import agree, confidence, is_cut, is_similar
from vidstyle.motion.parameters import MotionParameters
from vidstyle.motion.warp import sample, warp

__all__ = ["Motion", "motion", "symmetrized"]

_DEFAULTS = MotionParameters()


@dataclass(frozen=True)
class Motion:
    """Motion between consecutive frames of a shot: flows [H, W, 2], confidence [H, W, 1].

    backward: flow from this frame to the earlier one; forward: the reverse. measured: both as
    optical_flow returned them, before flat areas and symmetry; None: same as backward, forward.
    """

    backward: np.ndarray
    forward: np.ndarray
    confidence: np.ndarray
    measured: tuple[np.ndarray, np.ndarray] | None = None


def motion(
    earlier: Image, source: Image, parameters: MotionParameters = _DEFAULTS
) -> Motion | None:
    """Return the motion from the earlier source frame to `source`, or None across a cut."""
    backward = optical_flow(source, earlier, None, parameters)
    forward = optical_flow(earlier, source, None, parameters)
    measured = backward, forward
    backward, forward = (
        _with_flat_areas(backward, forward, source, earlier, parameters),
        _with_flat_areas(forward, backward, earlier, source, parameters),
    )
    backward, forward = symmetrized(backward, forward, parameters)
    certainty = confidence(backward, forward, earlier, source, parameters)
    if is_cut(certainty, earlier, source, parameters):
        return None
    return Motion(backward, forward, certainty, measured)


def symmetrized(
    one: np.ndarray, other: np.ndarray, parameters: MotionParameters = _DEFAULTS
) -> tuple[np.ndarray, np.ndarray]:
    """Return two opposite flows, each averaged with the inverse of the other.

    Only where they agree and are not 0. Lowers the error by 8 % (18 synthetic motions of real
    frames), and makes the flows inverses of each other.
    """
    return _averaged(one, other, parameters), _averaged(other, one, parameters)


def _averaged(flow: np.ndarray, other: np.ndarray, parameters: MotionParameters) -> np.ndarray:
    moving = agree(flow, other, parameters) & (flow != 0).any(axis=2)
    return np.where(moving[..., None], (flow - sample(other, flow)) / 2, flow)


def _with_flat_areas(
    flow: np.ndarray, other: np.ndarray, a: Image, b: Image, parameters: MotionParameters
) -> np.ndarray:
    """Return the flow with the median flow of textured areas in flat areas where the two disagree.

    In a clear sky DIS returns its own noise, which would move the strokes.
    """
    box = (parameters.flat_side, parameters.flat_side)
    flat = cv2.blur(contrast(a), box) < parameters.flat
    common = np.median(flow[~flat], axis=0) if (~flat).any() else np.zeros(2)
    uniform = np.broadcast_to(common.astype(np.float32), flow.shape)
    uncertain = cv2.dilate((~agree(flow, other, parameters)).astype(np.uint8), NEIGHBOURHOOD) > 0
    replaced = uncertain & flat & is_similar(warp(b, uniform), a, parameters)
    return np.where(replaced[..., None], uniform, flow)
