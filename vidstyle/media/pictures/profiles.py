"""ICC colour management: pictures of 8 and 16 bits per channel converted to sRGB.

A profile is judged by its effect on colours, not by its name. An invalid one is ignored.
"""

import io
import struct
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import PIL.Image
from PIL import ImageCms

from vidstyle.image import Image
from vidstyle.media.pictures import icc

__all__ = ["to_srgb", "uint16_to_srgb"]

Uint16 = np.ndarray[Any, Any]  # uint16 [H, W, 1 or 3]

_SAME = 1  # of 255: error of rounding to 8 bits
_STEP = 5  # of 255: spacing of the nodes of a colour table; divides 255
_NODES = 255 // _STEP + 1
_ROWS = 64  # rows converted at once, to limit memory
_FAULTS = (ImageCms.PyCMSError, OSError, ValueError, TypeError, struct.error)


def to_srgb(picture: PIL.Image.Image, profile: bytes | None) -> PIL.Image.Image:
    """Convert an 8-bit Pillow picture to sRGB through its ICC profile."""
    if profile:
        try:
            transform = _transform(profile, picture.mode)
            if not _keeps_colours(transform, picture.mode):
                return ImageCms.applyTransform(picture, transform) or picture.convert("RGB")
        except _FAULTS:
            pass
    return picture.convert("RGB")


def uint16_to_srgb(values: Uint16, profile: bytes | None) -> Image:
    """Convert 16 bits per channel to float32 sRGB [H, W, 3] in 0..1, at full depth.

    values: uint16 [H, W, 3], or [H, W, 1] for grey.
    """
    if profile:
        try:
            return _converted(values, profile)
        except _FAULTS:
            pass
    return _plain(values)


def _plain(values: Uint16) -> Image:
    image: Image = values.astype(np.float32) / np.float32(65535)
    return np.repeat(image, 3, axis=2) if values.shape[2] == 1 else image


def _converted(values: Uint16, profile: bytes) -> Image:
    mode = "L" if values.shape[2] == 1 else "RGB"
    transform = _transform(profile, mode)
    if _keeps_colours(transform, mode):
        return _plain(values)
    source, target = icc.parse(profile), icc.parse(_srgb().tobytes())
    if source is not None and target is not None and len(source.curves) == values.shape[2]:
        return _by_rows(values, lambda rows: icc.shaped(rows, source, target))
    if mode == "L":
        ramp = _grey_table(transform)
        return _by_rows(values, lambda rows: _interpolated(rows, ramp))
    table = _table(transform)
    return _by_rows(values, lambda rows: _looked_up(rows, table))


def _by_rows(values: Uint16, convert: Callable[[Uint16], Image]) -> Image:
    """Convert some rows at a time, to float32 [H, W, 3]."""
    image = np.empty((*values.shape[:2], 3), np.float32)
    for row in range(0, len(values), _ROWS):
        image[row : row + _ROWS] = convert(values[row : row + _ROWS])
    return image


@cache
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform:
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    return ImageCms.buildTransform(source, _srgb(), mode, "RGB")


def _keeps_colours(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Whether a transform to sRGB leaves a sample of all colours unchanged."""
    if mode not in ("L", "RGB"):
        return False
    greys = np.arange(256)
    if mode == "L":
        sample, expected = greys[None], np.repeat(greys[None, :, None], 3, axis=2)
    else:
        cube = np.stack(np.meshgrid(*[np.arange(0, 256, 51)] * 3), axis=-1).reshape(-1, 3)
        sample = np.concatenate([cube, np.repeat(greys[:, None], 3, axis=1)])[None]
        expected = sample
    found = np.asarray(ImageCms.applyTransform(_picture(sample, mode), transform), np.int32)
    return bool(np.abs(found - expected).max() <= _SAME)


def _picture(levels: np.ndarray[Any, Any], mode: str) -> PIL.Image.Image:
    picture = PIL.Image.fromarray(levels.astype(np.uint8))
    if picture.mode != mode:
        raise ValueError(f"expected levels of {mode}, got {picture.mode}")
    return picture


def _table(transform: ImageCms.ImageCmsTransform) -> Image:
    """Return the sRGB of evenly spaced colours, float32 [N, N, N, 3], indexed by R, G, B."""
    levels = np.arange(0, 256, _STEP)
    nodes = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1)
    picture = _picture(nodes.reshape(_NODES, -1, 3), "RGB")
    found = np.asarray(ImageCms.applyTransform(picture, transform), np.float32) / 255
    return found.reshape(_NODES, _NODES, _NODES, 3)


def _grey_table(transform: ImageCms.ImageCmsTransform) -> Image:
    """Return the sRGB of each 8-bit grey, float32 [256, 3]."""
    picture = ImageCms.applyTransform(_picture(np.arange(256)[None], "L"), transform)
    return np.asarray(picture, np.float32)[0] / 255


def _interpolated(values: Uint16, table: Image) -> Image:
    levels = np.linspace(0, 65535, len(table))
    return np.dstack([np.interp(values[..., 0], levels, table[:, i]) for i in range(3)])


def _looked_up(values: Uint16, table: Image) -> Image:
    """Interpolate trilinearly between the nodes of a table."""
    position = values.astype(np.float32) * np.float32((_NODES - 1) / 65535)
    low = np.minimum(position.astype(np.int32), _NODES - 2)
    fraction = position - low
    colours = np.zeros(values.shape, np.float32)
    for corner in np.ndindex(2, 2, 2):
        weight = np.where(corner, fraction, 1 - fraction).prod(axis=2, keepdims=True)
        red, green, blue = (low[..., i] + corner[i] for i in range(3))
        colours += weight * table[red, green, blue]
    return colours
