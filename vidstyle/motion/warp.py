"""Backward warping along a flow, and composition of flows.

A flow is float32 [H, W, 2], (dx, dy) in pixels: pixel p of a frame is at p + flow(p) in the other.
"""

import cv2
import numpy as np

from vidstyle.image import Image

__all__ = ["compose_flows", "positions", "sample", "warp"]


def warp(image: Image, flow: np.ndarray) -> Image:
    """Sample an Image at p + flow(p) with Lanczos interpolation, clipped to 0..1.

    Exact for whole-pixel flows. Measured after twenty sub-pixel warps: Lanczos keeps 0.8 to 0.9
    of the fine detail without halos, bilinear 0.1. The border is mirrored; replicating it instead
    gives visible streaks in what a pan brings in.
    """
    sampled = cv2.remap(
        image, *positions(flow), cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REFLECT_101
    )
    return np.clip(sampled, 0, 1)


def compose_flows(first: np.ndarray, then: np.ndarray) -> np.ndarray:
    """Return the flow along `first` and, from its target, along `then`: float32 [H, W, 2]."""
    return np.asarray(first + sample(then, first))


def sample(values: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Sample float32 values [H, W, …] at p + flow(p): bilinear, replicated border."""
    sampled = cv2.remap(values, *positions(flow), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return sampled.reshape(*flow.shape[:2], *values.shape[2:])  # OpenCV drops an axis of length 1


def positions(flow: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y of p + flow(p), each float32 [H, W]."""
    rows, columns = np.indices(flow.shape[:2], np.float32)
    return columns + flow[..., 0], rows + flow[..., 1]
