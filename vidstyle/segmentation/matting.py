"""Soft edges of a mask along the edges of its image."""

import cv2
import numpy as np

from vidstyle.image import Image

__all__ = ["around", "guided_filter", "matted", "square"]

_WIDTH = 854  # pixels; the radius is for frames of this long side, others in proportion
_RADIUS = 5  # pixels of the guided filter
_BAND = 7  # pixels on either side of the edge that may become soft
_FLAT = 4e-4  # of 1; variance below which the guided filter sees no edge
_LOW, _HIGH = 0.08, 0.92  # filtered values that become 0 and 1


def matted(image: Image, mask: np.ndarray) -> np.ndarray:
    """Return a mask, float32 [H, W], with its edge aligned to the image: float32 [H, W], 0..1.

    A guided filter (He et al., "Guided Image Filtering", 2010) on a band along the edge, where it
    follows hair and foliage. The rest of the mask becomes 0 or 1.
    """
    scale = max(image.shape[:2]) / _WIDTH
    hard = (mask > 0.5).astype(np.float32)
    near = cv2.blur(hard, square(_BAND * scale))
    band = (near > 0) & (near < 1)
    if not band.any():
        return hard
    window = square(_RADIUS * scale)
    part = around(band, 2 * window[0])
    planes = mask[part][..., None].astype(np.float32)
    soft = guided_filter(image[part], planes, band[part], window, _FLAT)[..., 0]
    result = hard.copy()
    stretched = np.clip((soft - _LOW) / (_HIGH - _LOW), 0, 1)
    result[part] = np.where(band[part], stretched, hard[part])
    return result


def square(radius: float) -> tuple[int, int]:
    """Return the (width, height) of a square window of this radius, at least 2 pixels."""
    side = 2 * max(2, round(radius)) + 1
    return side, side


def around(band: np.ndarray, margin: int) -> tuple[slice, slice]:
    """Return the bounding box of the band, grown by a margin."""
    spans = (np.flatnonzero(band.any(axis=axis)) for axis in (1, 0))
    rows, columns = (slice(max(0, s[0] - margin), s[-1] + margin + 1) for s in spans)
    return rows, columns


def guided_filter(
    image: Image, planes: np.ndarray, band: np.ndarray, window: tuple[int, int], flat: float
) -> np.ndarray:
    """Align planes [H, W, K] with the edges of the image (He et al., 2010).

    Differs: the result is valid in the band, bool [H, W], only, to solve fewer linear systems.
    window: its (width, height). flat: variance below which there is no edge.
    """

    def mean(values: np.ndarray) -> np.ndarray:
        return cv2.blur(values.reshape(*band.shape, -1), window).reshape(values.shape)

    wide = cv2.dilate(band.astype(np.uint8), np.ones(window, np.uint8)) > 0
    colour, share = mean(image), mean(planes)
    spread = mean(_outer(image, image))[wide]
    spread += flat * np.eye(3, dtype=np.float32) - _outer(colour[wide], colour[wide])
    common = mean(_outer(image, planes))[wide]
    slope = np.zeros((*band.shape, 3, planes.shape[2]), np.float32)
    slope[wide] = np.linalg.solve(spread, common - _outer(colour[wide], share[wide]))
    offset = share - np.einsum("hwc,hwck->hwk", colour, slope)
    return np.einsum("hwc,hwck->hwk", image, mean(slope)) + mean(offset)


def _outer(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.asarray(a[..., :, None] * b[..., None, :])
