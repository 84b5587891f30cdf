"""The `Image` array type and pure functions on it: resizing, recolouring, integer conversion."""

from typing import Any

import numpy as np

__all__ = [
    "Image",
    "difference_of_gaussians",
    "from_uint16",
    "is_opaque",
    "over_white",
    "recolored",
    "resize",
    "to_bytes",
    "to_uint16",
]

Image = np.ndarray[Any, Any]  # float32 [H, W, 3], RGB, 0..1; [H, W, 4] where alpha is mentioned

_OPAQUE = 1 - 2**-17  # half a 16-bit step below 1; float32 rounding errors are 100 times smaller


def is_opaque(alpha: Image) -> bool:
    """Whether an alpha array of any shape, in 0..1, is 1 everywhere within rounding error."""
    return bool(alpha.min() > _OPAQUE)


def over_white(pixels: Image) -> Image:
    """Composite an RGBA image [H, W, 4] over white; return an RGB image unchanged."""
    if pixels.shape[2] == 3:
        return pixels
    alpha = pixels[..., 3:]
    over: Image = pixels[..., :3] * alpha + (1 - alpha)
    return over


def to_uint16(image: Image) -> np.ndarray[Any, Any]:
    """Return an image, with or without alpha, as uint16 0..65535 of the same shape, rounded."""
    return np.rint(np.clip(image, 0, 1) * 65535).astype(np.uint16)


def from_uint16(values: np.ndarray[Any, Any]) -> Image:
    """Return uint16 0..65535 as float32 0..1: the inverse of `to_uint16`."""
    return np.asarray(values.astype(np.float32) / np.float32(65535))


def to_bytes(image: Image) -> np.ndarray[Any, Any]:
    """Return an image, with or without alpha, as uint8 0..255 of the same shape, rounded."""
    whole: Image = np.rint(np.clip(image, 0, 1) * 255)
    return whole.astype(np.uint8)


def difference_of_gaussians(image: np.ndarray, fine: float, coarse: float) -> np.ndarray:
    """Return the blur of [H, W, …] with sigma `fine` minus that with sigma `coarse`, in pixels."""
    import cv2

    narrow, wide = (cv2.GaussianBlur(image, (0, 0), sigma) for sigma in (fine, coarse))
    return np.asarray(narrow - wide)


def resize(image: Image, width: int, height: int) -> Image:
    """Return the image at another size: area interpolation to shrink, bicubic to enlarge."""
    import cv2

    if image.shape[:2] == (height, width):
        return image
    shrinks = width <= image.shape[1] and height <= image.shape[0]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    resized: Image = cv2.resize(image, (width, height), interpolation=method)
    return np.clip(resized, 0, 1)


def recolored(image: Image, colors: Image) -> Image:
    """Return the luma of `image` with the chroma of `colors`, both [H, W, 3], clipped to 0..1."""
    import cv2

    luma, chroma = (cv2.cvtColor(picture, cv2.COLOR_RGB2YCrCb) for picture in (image, colors))
    merged = np.dstack([luma[..., :1], chroma[..., 1:]])
    return np.clip(cv2.cvtColor(merged, cv2.COLOR_YCrCb2RGB), 0, 1)
