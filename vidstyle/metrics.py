"""What a stylised video is measured by: pure functions of frames, with the flow given.

Two definitions of the warping error are in use and differ in what they divide by; they are named
apart here and never mixed. All reward blur and standing still, so none means anything without the
others: the same error of the source, sharpness, the distance from the style.

Frames are Images: float32 [H, W, 3], RGB, 0..1. `flow` is float32 [H, W, 2], in pixels: where the
pixels of the later frame are found in the earlier one. `visible` is bool [H, W]: where they are.
"""

import cv2
import numpy as np

from vidstyle.flow import consistent, warp
from vidstyle.media import Image

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


def warped(earlier: Image, flow: np.ndarray) -> Image:
    """Return `earlier` where the later frame has it, sampled bilinearly, its border continued.

    As in both papers. Our own runs carry results over with Lanczos: see flow.warp.
    """
    rows, columns = np.indices(flow.shape[:2], np.float32)
    return np.asarray(
        cv2.remap(
            earlier,
            columns + flow[..., 0],
            rows + flow[..., 1],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
    )


def visible(flow: np.ndarray, back: np.ndarray) -> np.ndarray:
    """Return bool [H, W]: what is here in the later frame is seen in the earlier one too.

    Ruder, Dosovitskiy & Brox, "Artistic Style Transfer for Videos" (2016), section 4.3: there and
    back again ends where it began, and this is no motion boundary; Lai et al. use the same. Differs
    in that what comes from beyond the frame is not visible either. back: the flow from the earlier
    frame to the later one.
    """
    return consistent(flow, back)


def warping_error_lai(later: Image, earlier: Image, flow: np.ndarray, visible: np.ndarray) -> float:
    """Return Σ M·‖O_t − W(O_s)‖² / Σ M, the mean over channels: 0..1; nan where nothing is visible.

    E_warp of Lai et al., "Learning Blind Video Temporal Consistency" (2018), equation 10, whose
    mean over pairs of frames is a video's. Differs in that the earlier frame is warped to the
    later one, not the reverse, and in the flow, which theirs takes from FlowNet2.
    """
    return _apart(later, warped(earlier, flow), visible)


def warping_error_lanczos(
    later: Image, earlier: Image, flow: np.ndarray, visible: np.ndarray
) -> float:
    """Return Lai's warping error with the earlier frame sampled by Lanczos; nan as there.

    Ours. Between pixels bilinear sampling blurs: by Lai's error a texture that moves without any
    change differs from itself, and of two results the blurred one is the better. Of our runs that
    is four fifths of Lai's error over one frame.
    """
    return _apart(later, warp(earlier, flow), visible)


def _apart(later: Image, moved: Image, visible: np.ndarray) -> float:
    if not visible.any():
        return float("nan")
    return float(np.square(later - moved, dtype=np.float64).mean(axis=2)[visible].mean())


def warping_error_ruder(
    later: Image, earlier: Image, flow: np.ndarray, visible: np.ndarray
) -> float:
    """Return the mean over all pixels, visible or not, of c ⊙ (O_t − W(O_s))²: 0..1.

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
