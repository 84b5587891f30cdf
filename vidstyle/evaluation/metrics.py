"""What a stylised video is measured by: pure functions of frames, with the flow given.

Two definitions of the warping error are in use. They differ in what they divide by and in which
frame is warped; they are named apart here and never mixed. All reward blur and standing still, so
none means anything without the others: the same error of the source, sharpness, the distance from
the style.

Frames are Images: float32 [H, W, 3], RGB, 0..1. `flow` is float32 [H, W, 2], in pixels: where the
pixels of the frame that is named first are found in the other one. `visible` is bool [H, W]: which
of its pixels are seen there. Lai's error looks from the earlier frame at the later, Ruder's from
the later at the earlier. That matters: a frame that was made by warping the one before bilinearly
has no error at all by Ruder's, and by Lai's that of being blurred.
"""

import cv2
import numpy as np

from vidstyle.media import Image
from vidstyle.motion.occlusion import is_consistent
from vidstyle.motion.warp import warp

__all__ = [
    "contrast",
    "coverage",
    "deviation_where_still",
    "mean_color",
    "sharpness",
    "visible",
    "warped",
    "warping_error_lai",
    "warping_error_lanczos",
    "warping_error_ruder",
]

_STILL = 0.1  # pixels: what moves less is said to stand still
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # Rec. 601


def warped(image: Image, flow: np.ndarray) -> Image:
    """Return `image` at p + flow(p), sampled bilinearly, its border continued.

    As in both papers. Our own runs carry results over with Lanczos: see flow.warp.
    """
    rows, columns = np.indices(flow.shape[:2], np.float32)
    return np.asarray(
        cv2.remap(
            image,
            columns + flow[..., 0],
            rows + flow[..., 1],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
    )


def visible(flow: np.ndarray, back: np.ndarray) -> np.ndarray:
    """Return bool [H, W]: what is here in the one frame is seen in the other one too.

    Ruder, Dosovitskiy & Brox, "Artistic Style Transfer for Videos" (2016), section 4.3: there and
    back again ends where it began, and this is no motion boundary; Lai et al. use the same. Differs
    in that what lies beyond the other frame is not visible either. back: the flow from the other
    frame to this one.
    """
    return is_consistent(flow, back)


def warping_error_lai(earlier: Image, later: Image, flow: np.ndarray, visible: np.ndarray) -> float:
    """Return Σ M·‖O_t − W(O_s)‖² / Σ M for frames t < s, the mean over channels: 0..1.

    nan where nothing is visible. E_warp of Lai et al., "Learning Blind Video Temporal Consistency"
    (2018), equation 10, whose mean over pairs of frames is a video's: as there, the later frame is
    warped back to the earlier one. Differs in the flow, which theirs takes from FlowNet2.
    """
    return _apart(earlier, warped(later, flow), visible)


def warping_error_lanczos(
    earlier: Image, later: Image, flow: np.ndarray, visible: np.ndarray
) -> float:
    """Return Lai's warping error with the later frame sampled by Lanczos; nan as there.

    Ours. Between pixels bilinear sampling blurs: by Lai's error a texture that moves without any
    change differs from itself.
    """
    return _apart(earlier, warp(later, flow), visible)


def _apart(frame: Image, moved: Image, visible: np.ndarray) -> float:
    if not visible.any():
        return float("nan")
    return float(np.square(frame - moved, dtype=np.float64).mean(axis=2)[visible].mean())


def warping_error_ruder(
    later: Image, earlier: Image, flow: np.ndarray, visible: np.ndarray
) -> float:
    """Return the mean over all pixels, visible or not, of c ⊙ (O_s − W(O_t))², t < s: 0..1.

    Ruder, Dosovitskiy & Brox (2016), section 5.2, whose mean over frames is a video's. Its square
    root is the stability error of Huang et al. (2017) and ReCoNet (2018). The less is visible, the
    smaller it is, unlike Lai's.
    """
    apart = np.square(later - warped(earlier, flow), dtype=np.float64).mean(axis=2)
    return float((apart * visible).mean())


def coverage(visible: np.ndarray) -> float:
    """Return the share of the frame on which the warping errors rest: 0..1."""
    return float(visible.mean())


def deviation_where_still(later: Image, earlier: Image, flow: np.ndarray) -> float:
    """Return the root mean square change where |flow| < 0.1 pixels: 0..1; nan if nothing is still.

    Flicker: what stands still in the source is to stand still in the result.
    """
    still = np.hypot(flow[..., 0], flow[..., 1]) < _STILL
    if not still.any():
        return float("nan")
    return float(np.sqrt(np.square(later - earlier, dtype=np.float64)[still].mean()))


def mean_color(frame: Image) -> np.ndarray:
    """Return the mean of each channel, float64 [3], 0..1."""
    return np.asarray(frame.mean(axis=(0, 1), dtype=np.float64))


def contrast(frame: Image) -> float:
    """Return the standard deviation of the luma (Rec. 601): 0..0.5."""
    return float((frame @ _LUMA).std(dtype=np.float64))


def sharpness(frame: Image, inside: np.ndarray | None = None) -> float:
    """Return the mean steepness of the luma, in 1 a pixel: compared as a ratio of two videos.

    The gradient magnitude (Tenengrad without the square), by central differences. inside: bool
    [H, W], where it is looked for; nan where that is nowhere.
    """
    down, across = np.gradient((frame @ _LUMA).astype(np.float64))
    steep = np.hypot(down, across)
    return float((steep if inside is None else steep[inside]).mean())
