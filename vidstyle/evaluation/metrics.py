"""Metrics of stylised video: pure functions of frames and optical flow.

Two definitions of the warping error exist, by Lai et al. and by Ruder et al. They differ in the
normalisation and in the warped frame, and are kept apart here. All warping errors reward blur and
frozen frames: read them with the error of the source, the sharpness and the style distance.

Frames are Images: float32 [H, W, 3], RGB, 0..1. `flow` is float32 [H, W, 2], in pixels, from the
first frame argument to the second. `visible` is bool [H, W]: the pixels of the first frame that are
visible in the second. Lai's flow goes from the earlier frame to the later, Ruder's from the later
to the earlier. Hence a frame made by bilinear warping of the previous frame has a Ruder error of 0,
but a Lai error above 0, from its blur. Both papers warp bilinearly (motion.warp.sample); the
stylizer warps with Lanczos (motion.warp.warp).
"""

from collections.abc import Iterator

import cv2
import numpy as np

from vidstyle.image import Image
from vidstyle.motion.occlusion import is_consistent
from vidstyle.motion.warp import sample, warp

__all__ = [
    "contrast",
    "coverage",
    "flicker",
    "legibility",
    "mean_color",
    "sharpness",
    "specks",
    "texture_periodicity",
    "visible",
    "warping_error_lai",
    "warping_error_lanczos",
    "warping_error_ruder",
]

_STATIC = 0.1  # pixels: a smaller flow counts as static
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # Rec. 601
_EDGE_SIGMA = 1.0  # pixels; finer edges are grain
_OUTLINE = 2  # pixels around a subject that are measured with it
_SPECK = 15 / 255  # of 1, in Cb or Cr: deviation from the median above which a pixel is a speck
_TEXTURE_SIGMA = 3.0  # pixels; coarser structure is picture content, not texture
_TILE = 48  # pixels: side of a tile, which holds several periods of a mesh
_PERIODS = (5.0, 20.0)  # pixels: periods of a mesh or of stripes


def visible(flow: np.ndarray, back: np.ndarray) -> np.ndarray:
    """Return bool [H, W]: the pixels of the first frame that are visible in the second.

    Forward-backward consistency without motion boundaries, as in Ruder, Dosovitskiy & Brox,
    "Artistic Style Transfer for Videos" (2016), section 4.3, and in Lai et al. Unlike there, pixels
    whose flow leaves the frame are not visible. back: flow from the second frame to the first.
    """
    return is_consistent(flow, back)


def warping_error_lai(earlier: Image, later: Image, flow: np.ndarray, visible: np.ndarray) -> float:
    """Return Σ M·‖O_t − W(O_s)‖² / Σ M for frames t < s, averaged over channels: 0..1.

    nan if no pixel is visible. E_warp of Lai et al., "Learning Blind Video Temporal Consistency"
    (2018), equation 10; the error of a video is the mean over its pairs of frames. Differs in the
    flow: Lai et al. use FlowNet2.
    """
    return _masked_mean_square(earlier, sample(later, flow), visible)


def warping_error_lanczos(
    earlier: Image, later: Image, flow: np.ndarray, visible: np.ndarray
) -> float:
    """Return Lai's warping error with Lanczos instead of bilinear sampling; nan if none is visible.

    Not from a paper. Bilinear sampling blurs, so a texture that moves by a fraction of a pixel
    without changing has a Lai error above 0.
    """
    return _masked_mean_square(earlier, warp(later, flow), visible)


def _masked_mean_square(frame: Image, moved: Image, visible: np.ndarray) -> float:
    if not visible.any():
        return float("nan")
    return float(np.square(frame - moved, dtype=np.float64).mean(axis=2)[visible].mean())


def warping_error_ruder(
    later: Image, earlier: Image, flow: np.ndarray, visible: np.ndarray
) -> float:
    """Return the mean over all pixels, visible or not, of c ⊙ (O_s − W(O_t))², t < s: 0..1.

    Ruder, Dosovitskiy & Brox (2016), section 5.2; the error of a video is the mean over its frames.
    Its square root is the stability error of Huang et al. (2017) and ReCoNet (2018). Unlike Lai's,
    it shrinks with the visible area.
    """
    squares = np.square(later - sample(earlier, flow), dtype=np.float64).mean(axis=2)
    return float((squares * visible).mean())


def coverage(visible: np.ndarray) -> float:
    """Return the visible fraction of the frame, 0..1, over which warping errors are measured."""
    return float(visible.mean())


def flicker(later: Image, earlier: Image, flow: np.ndarray) -> float:
    """Return the flicker: RMS change where |flow| < 0.1 pixels, 0..1; nan if no pixel is static."""
    static = np.hypot(flow[..., 0], flow[..., 1]) < _STATIC
    if not static.any():
        return float("nan")
    return float(np.sqrt(np.square(later - earlier, dtype=np.float64)[static].mean()))


def mean_color(frame: Image) -> np.ndarray:
    """Return the mean of each channel, float64 [3], 0..1."""
    return np.asarray(frame.mean(axis=(0, 1), dtype=np.float64))


def contrast(frame: Image) -> float:
    """Return the standard deviation of the luma (Rec. 601): 0..0.5."""
    return float((frame @ _LUMA).std(dtype=np.float64))


def sharpness(frame: Image, inside: np.ndarray | None = None) -> float:
    """Return the mean gradient magnitude of the luma, per pixel; compare it as a ratio.

    Tenengrad without the square, by central differences. inside: bool [H, W], the pixels to
    average; nan if there are none.
    """
    down, across = np.gradient((frame @ _LUMA).astype(np.float64))
    magnitude = np.hypot(down, across)
    return float((magnitude if inside is None else magnitude[inside]).mean())


def legibility(frame: Image, source: Image, subject: np.ndarray) -> float:
    """Return how well the edges of `source` are preserved on a subject, -1..1; nan without one.

    The correlation of the luma's gradients, both directions, after a Gaussian of 1 pixel, over
    `subject` (bool [H, W]) and 2 pixels around it. A weaker style raises it, so compare it with
    that of the same frame stylised independently.
    """
    side = 2 * _OUTLINE + 1
    area = cv2.dilate(subject.astype(np.uint8), np.ones((side, side), np.uint8)) > 0
    if not area.any():
        return float("nan")
    frame_slopes, source_slopes = _slopes(frame, area), _slopes(source, area)
    norm = np.linalg.norm(frame_slopes) * np.linalg.norm(source_slopes)
    return float(frame_slopes @ source_slopes / norm) if norm > 0 else 0.0


def _slopes(image: Image, area: np.ndarray) -> np.ndarray:
    """Return both derivatives of the smoothed luma in an area, bool [H, W], less their means."""
    smooth = cv2.GaussianBlur(image @ _LUMA, (0, 0), _EDGE_SIGMA).astype(np.float64)
    return np.concatenate([slope[area] - slope[area].mean() for slope in np.gradient(smooth)])


def specks(frame: Image) -> float:
    """Return the number of colour specks per 10,000 pixels.

    A speck is a pixel whose Cb or Cr (Rec. 601) differs by more than 15 of 255 from the median of
    its 3x3 neighbourhood.
    """
    chroma = cv2.split(cv2.cvtColor(frame, cv2.COLOR_RGB2YCrCb))[1:]
    deviations = [np.abs(plane - cv2.medianBlur(plane, 3)) for plane in chroma]
    return float((np.max(deviations, axis=0) > _SPECK).mean() * 1e4)


def texture_periodicity(frame: Image) -> float:
    """Return the largest autocorrelation of the fine texture 5 to 20 pixels away: 0..1.

    It is high for mesh and stripes. The texture is the luma less its Gaussian of 3 pixels. For each
    tile of 48 pixels, the largest autocorrelation over displacements of that length; averaged over
    tiles, weighted by their energy. 0 without texture. Straight edges raise it, so compare it with
    that of the same frame stylised independently.
    """
    luma = frame @ _LUMA
    texture = luma - cv2.GaussianBlur(luma, (0, 0), _TEXTURE_SIGMA)
    tiles = [_autocovariance_peak(tile) for tile in _tiles(texture)]
    energy = sum(variance for _, variance in tiles)
    return sum(peak for peak, _ in tiles) / energy if energy > 0 else 0.0


def _tiles(texture: np.ndarray) -> Iterator[np.ndarray]:
    """Yield tiles of a texture [H, W] that overlap by half."""
    height, width = texture.shape
    for row in range(0, max(1, height - _TILE + 1), _TILE // 2):
        for column in range(0, max(1, width - _TILE + 1), _TILE // 2):
            yield texture[row : row + _TILE, column : column + _TILE]


def _autocovariance_peak(tile: np.ndarray) -> tuple[float, float]:
    """Return the largest autocovariance of a tile at the displacements of a mesh, and its variance.

    Unbiased; computed by a Fourier transform padded against wrap-around.
    """
    padded = [2 * side for side in tile.shape]
    power, overlap = (
        np.fft.irfft2(np.abs(np.fft.rfft2(values.astype(np.float64), padded)) ** 2, padded)
        for values in (tile, np.ones_like(tile))
    )
    covariance = power / np.maximum(np.rint(overlap), 1)
    distances = np.hypot(*np.meshgrid(*(np.fft.fftfreq(n, 1 / n) for n in padded), indexing="ij"))
    low, high = _PERIODS
    displaced = (distances >= low) & (distances <= high) & (np.rint(overlap) > 0)
    return max(float(covariance[displaced].max(initial=0.0)), 0.0), float(covariance[0, 0])
