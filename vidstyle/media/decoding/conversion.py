"""Conversion of decoded frames to RGB arrays: cropped, with square pixels, upright."""

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

from vidstyle.image import Image, over_white, resize, to_bytes
from vidstyle.media.decoding.crop import Crop
from vidstyle.media.large import reduced_size
from vidstyle.media.tonemap import is_wide, to_standard

__all__ = ["SCALER", "Shape", "fitted_bytes", "to_pixels", "to_shown"]

SCALER = int(
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
    | Interpolation.BITEXACT
)
_REDUCER = SCALER & ~int(Interpolation.BICUBIC) | int(Interpolation.AREA)
_MATRICES = {1, 4, 5, 6, 7, 9}  # YUV matrix codes that FFmpeg's codecs and scaler share
_BT709, _BT601 = 1, 5


@dataclass(frozen=True)
class Shape:
    """Geometry that converts decoded frames to upright frames with square pixels.

    coded: (width, height) of the first decoded frame. crop: the crop that the container declares.
    width, height: after cropping and horizontal scaling to square pixels, before rotation.
    rotation: clockwise degrees. is_reduced: sizes are those of frames scaled down on conversion.
    """

    coded: tuple[int, int]
    crop: Crop | None
    width: int
    height: int
    rotation: int
    pixel_aspect: Fraction
    is_reduced: bool = False

    def reduced(self, factor: int) -> "Shape":
        """Return the shape of frames scaled down by a factor on conversion."""
        if factor == 1:
            return self
        cut = self.crop and Crop(**{side: n // factor for side, n in vars(self.crop).items()})
        width, height = reduced_size((self.width, self.height), factor)
        coded = reduced_size(self.coded, factor)
        return replace(self, coded=coded, crop=cut, width=width, height=height, is_reduced=True)

    @property
    def upright(self) -> tuple[int, int]:
        """(width, height) after rotation."""
        turned = self.rotation in (90, 270)
        return (self.height, self.width) if turned else (self.width, self.height)


def to_pixels(frame: VideoFrame, shape: Shape, scaler: VideoReformatter) -> Image:
    """Convert a frame to sRGB, cropped, with square pixels, upright.

    8-bit frames are converted in 8 bits: in 16 the scaler makes opaque alpha less than 1.
    """
    wide = is_wide(frame.color_trc, frame.color_primaries)
    coded = _coded(frame, shape, scaler)
    pixels = coded.astype(np.float32) / np.float32(np.iinfo(coded.dtype).max)
    if wide:
        pixels[..., :3] = to_standard(coded[..., :3], frame.color_trc, frame.color_primaries)
    if shape.crop:
        pixels = resize(_cut(pixels, shape.crop), shape.width, shape.height)
    return _upright(pixels, shape)


def to_shown(frame: VideoFrame, shape: Shape, scaler: VideoReformatter, side: int) -> Any:
    """Convert a frame to uint8 RGB [H, W, 3] for display, upright, its long side at most `side`.

    Opaque 8-bit frames are never converted to floating point, which takes four times as long.
    """
    wide = is_wide(frame.color_trc, frame.color_primaries)
    parts = frame.format.components
    if wide or shape.crop or any(part.is_alpha or part.bits > 8 for part in parts):
        return fitted_bytes(to_pixels(frame, shape, scaler), side)
    return _upright(_shrunk(_coded(frame, shape, scaler), side), shape)


def fitted_bytes(image: Image, side: int) -> Any:
    """Return an image over white, as uint8 RGB [H, W, 3], its long side at most `side`."""
    return _shrunk(to_bytes(over_white(image)), side)


def _shrunk(pixels: Any, side: int) -> Any:
    """Return uint8 pixels [H, W, 3] with a long side of at most `side`."""
    import cv2

    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return pixels
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)


def _coded(frame: VideoFrame, shape: Shape, scaler: VideoReformatter) -> Any:
    """Return the RGB or RGBA of a frame before crop and rotation: uint8, or uint16 if deeper."""
    parts = frame.format.components
    deep = is_wide(frame.color_trc, frame.color_primaries) or any(part.bits > 8 for part in parts)
    alpha = any(part.is_alpha for part in parts)
    size = shape.coded if shape.crop else (shape.width, shape.height)
    return scaler.reformat(
        frame,
        width=size[0],
        height=size[1],
        format={0: "rgb24", 1: "rgb48le", 2: "rgba", 3: "rgba64le"}[deep + 2 * alpha],
        src_colorspace=_matrix(frame),
        interpolation=_REDUCER if shape.is_reduced else SCALER,
    ).to_ndarray()


def _upright(pixels: Any, shape: Shape) -> Any:
    turns = shape.rotation // 90
    return np.ascontiguousarray(np.rot90(pixels, -turns)) if turns else pixels


def _cut(pixels: Image, crop: Crop) -> Image:
    height, width = pixels.shape[:2]
    return pixels[crop.top : height - crop.bottom, crop.left : width - crop.right]


def _matrix(frame: VideoFrame) -> int:
    """Return the tagged YUV matrix; untagged: BT.709 from 720 lines on, else BT.601."""
    if frame.colorspace in _MATRICES:
        return int(frame.colorspace)
    return _BT709 if frame.height >= 720 else _BT601
