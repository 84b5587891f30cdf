"""Memory limits: pictures and frames too large for memory are refused or reduced while reading.

A file of a few kilobytes can hold a picture of 300 million pixels: 3.6 GB as float32. Decoders
need the whole picture in 8 bits; float32 is computed strip by strip at the reduced size.
"""

from collections.abc import Callable
from math import ceil, sqrt
from pathlib import Path

import numpy as np
import PIL.Image

from vidstyle.atomic import is_special
from vidstyle.errors import MediaError
from vidstyle.image import Image
from vidstyle.memory import available

__all__ = [
    "LARGE",
    "UPRIGHT",
    "Factor",
    "area_factor",
    "check_decoding",
    "check_regular",
    "check_room",
    "exif_of",
    "native",
    "read_reduced",
    "reduced_size",
    "side_factor",
]

Factor = Callable[[tuple[int, int]], int]  # (width, height) -> reduction factor

LARGE = 32_000_000  # pixels up to which pictures are read at native size: 384 MB as float32 RGB
_OVERSAMPLED = 2  # least ratio of the reduced size to the working size
_STRIP = 4_000_000  # pixels in memory as float32 at a time while a picture is reduced
_COARSE = 3  # factor above which half of the reduction is done in 8 bits
_DECODING = 1_500_000_000  # bytes allowed for decoding, so that the process stays below 2 GB
# Peak bytes per pixel of decoding, measured with Pillow 12 and rounded up: 4 for the picture, the
# rest for the decoder's copies and the previous frame.
_BYTES = {"AVIF": 10, "GIF": 10, "JPEG2000": 18, "TIFF": 8, "WEBP": 17}
_PLAIN, _ANIMATED, _COEFFICIENTS = 5, 14, 2  # other formats; APNG; progressive JPEG per channel
_COPIES = 4  # arrays of a picture's size that are alive at once

# EXIF orientation -> function that makes an array [H, W, …] upright.
UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: np.fliplr,
    3: lambda pixels: np.rot90(pixels, 2),
    4: np.flipud,
    5: lambda pixels: pixels.transpose(1, 0, 2),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(pixels, 2).transpose(1, 0, 2),
    8: np.rot90,
}


def check_regular(path: Path) -> None:
    """Raise MediaError for a pipe, device or socket: reading it may block or never end.

    A missing or unreadable file passes; opening it raises.
    """
    if is_special(path):
        raise MediaError(
            f"{path}: expected a regular file, got a pipe, a device or a socket; save its content "
            "as a file and name that"
        )


def check_decoding(path: Path, picture: PIL.Image.Image) -> None:
    """Raise MediaError if decoding an open picture takes too much memory.

    A large JPEG is decoded at a reduced size; see `read_reduced`.
    """
    width, height = picture.size
    _check(path, (width, height), width * height * _bytes_of(picture), _DECODING)


def check_room(path: Path, size: tuple[int, int], channels: int) -> None:
    """Raise MediaError if an image of this (width, height) exceeds the available memory."""
    _check(path, size, size[0] * size[1] * channels * 4 * _COPIES, None)


def _check(path: Path, size: tuple[int, int], needed: int, most: int | None) -> None:
    known = [bound for bound in (most, available()) if bound is not None]
    if size[0] * size[1] <= LARGE // 2 or not known or needed <= min(known):
        return
    raise MediaError(
        f"{path}: expected a picture that fits into memory, got one of {size[0]}x{size[1]} pixels, "
        f"which takes about {needed / 1e9:.1f} GB of {min(known) / 1e9:.1f} GB available; "
        "shrink it first, or choose a smaller --size"
    )


def _bytes_of(picture: PIL.Image.Image) -> int:
    """Return the peak bytes per pixel of decoding."""
    if picture.format == "JPEG":
        progressive = "progressive" in picture.info
        return 1 + progressive * _COEFFICIENTS * len(picture.getbands())
    if picture.format == "PNG" and getattr(picture, "n_frames", 1) > 1:
        return _ANIMATED
    return _BYTES.get(picture.format or "", _PLAIN)


def exif_of(picture: PIL.Image.Image) -> PIL.Image.Exif:
    """Return the EXIF of an open picture; of a large PNG only an eXIf chunk before its pixels.

    Pillow decodes a PNG to find a later chunk, which takes seconds for a large one.
    """
    late = picture.format == "PNG" and "exif" not in picture.info
    if late and picture.width * picture.height > LARGE:
        return PIL.Image.Exif()
    return picture.getexif()


def native(size: tuple[int, int]) -> int:
    """Return the factor of the native size, 1."""
    del size
    return 1


def side_factor(side: int) -> Factor:
    """Return the factor function for a long side of `side` pixels.

    The reduced long side is at least twice `side`; up to LARGE pixels the factor is 1.
    """

    def factor(size: tuple[int, int]) -> int:
        if size[0] * size[1] <= LARGE:
            return 1
        times = max(1, max(size) // (_OVERSAMPLED * max(1, side)))
        return times - times % 2 if times > _COARSE else times

    return factor


def area_factor(size: tuple[int, int]) -> int:
    """Return the factor that reduces a picture to at most LARGE pixels."""
    return max(1, ceil(sqrt(size[0] * size[1] / LARGE)))


def reduced_size(size: tuple[int, int], factor: int) -> tuple[int, int]:
    """Return (width, height) after reduction."""
    return max(1, size[0] // factor), max(1, size[1] // factor)


def read_reduced(
    picture: PIL.Image.Image, factor: int, convert: Callable[[PIL.Image.Image], Image]
) -> Image:
    """Return a Pillow picture reduced by `factor` with area means: float32 [H, W, 3 or 4].

    convert: Pillow picture -> float32 [H, W, C] of the same size. EXIF orientation is not applied.
    """
    size = reduced_size(picture.size, factor)
    if picture.format == "JPEG":  # libjpeg reduces by 2, 4 or 8 while decoding
        picture.draft(picture.mode, size)
    picture.load()
    times = max(1, picture.height // size[1])
    rows = max(1, _STRIP // (picture.width * times))
    strips = []
    for top in range(0, size[1], rows):
        end = min(top + rows, size[1])
        edges = (top * times, picture.height if end == size[1] else end * times)
        strip = picture.crop((0, edges[0], picture.width, edges[1]))
        strips.append(_shrunk(convert(_coarse(strip, times)), size[0], end - top))
    return np.concatenate(strips)


def _coarse(picture: PIL.Image.Image, times: int) -> PIL.Image.Image:
    """Reduce 8-bit pixels by half of `times`, which is much faster than in float32."""
    if times <= _COARSE or picture.mode[0] in "IF":
        return picture
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
    elif picture.mode in ("1", "P"):
        picture = picture.convert("RGB")
    return picture.reduce(times // 2)


def _shrunk(pixels: Image, width: int, height: int) -> Image:
    """Return area means; colours are weighted by alpha."""
    import cv2

    if pixels.shape[2] == 4:
        pixels = np.dstack([pixels[..., :3] * pixels[..., 3:], pixels[..., 3:]])
    small = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    if pixels.shape[2] == 4:
        small[..., :3] /= np.maximum(small[..., 3:], 1e-6)
    return np.asarray(small)
