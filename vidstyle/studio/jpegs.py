"""JPEG files of pixels, without reduced colour resolution."""

from typing import Any

__all__ = ["to_jpeg"]


def to_jpeg(pixels: Any, quality: int = 92) -> bytes:
    """Return uint8 RGB pixels [H, W, 3] as a JPEG file. quality: 0..100."""
    import cv2

    flags = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x111111]
    return bytes(cv2.imencode(".jpg", pixels[..., ::-1], flags)[1])
