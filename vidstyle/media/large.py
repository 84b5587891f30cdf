"""Large pictures and frames: refused if they do not fit into memory, else reduced while read.

A file of a few kilobytes can hold a picture of 300 million pixels: 3.6 GB as float32. Decoders
need the whole picture in bytes; float32 is made strip by strip, and only at the reduced size.
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

Factor = Callable[[tuple[int, int]], int]  # (width, height) -> how many times smaller to read it

LARGE = 32_000_000  # pixels that are read as they are: 384 MB as float32 RGB
_OVERSAMPLED = 2  # times the working size at least that is left for the final resize
_STRIP = 4_000_000  # pixels that are float32 at a time while a larger picture is reduced
_COARSE = 3  # times smaller, from above which half of the reduction is done in 8 bits
_DECODING = 1_500_000_000  # bytes that decoding may take: with the rest a process stays below 2 GB
# Bytes a pixel while Pillow decodes, measured with Pillow 12 and rounded up: the picture itself
# has 4, the rest are the decoder's own copies and those of the frame before.
_BYTES = {"AVIF": 10, "GIF": 10, "JPEG2000": 18, "TIFF": 8, "WEBP": 17}
_PLAIN, _MOVING, _COEFFICIENTS = 5, 14, 2  # other formats; APNG; a channel of progressive JPEG
_COPIES = 4  # arrays of a picture's size that are alive at once while it is prepared

# EXIF orientation -> what makes an array [H, W, …] upright.
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
    """Raise MediaError for a pipe, a device or a socket: reading may wait for ever or never end.

    What is not there or may not be read is left to whoever opens it.
    """
    if is_special(path):
        raise MediaError(
            f"{path}: expected a regular file, got a pipe, a device or a socket; save its content "
            "as a file and name that"
        )


def check_decoding(path: Path, picture: PIL.Image.Image) -> None:
    """Raise MediaError if decoding an open picture takes too much memory.

    JPEG is decoded at a reduced size where that is large, see `read_reduced`.
    """
    width, height = picture.size
    _check(path, (width, height), width * height * _bytes_of(picture), _DECODING)


def check_room(path: Path, size: tuple[int, int], channels: int) -> None:
    """Raise MediaError if an Image of this (width, height) takes more memory than there is."""
    _check(path, size, size[0] * size[1] * channels * 4 * _COPIES, None)


def _check(path: Path, size: tuple[int, int], needed: int, most: int | None) -> None:
    known = [bound for bound in (most, available()) if bound is not None]
    if size[0] * size[1] <= LARGE // 2 or not known or needed <= min(known):
        return
    raise MediaError(
        f"{path}: expected a picture that fits into memory, got one of {size[0]}x{size[1]} pixels, "
        f"which takes about {needed / 1e9:.1f} GB where {min(known) / 1e9:.1f} GB may be used; "
        "shrink it first, or choose a smaller --size"
    )


def _bytes_of(picture: PIL.Image.Image) -> int:
    """Return the bytes a pixel that decoding takes at its peak."""
    if picture.format == "JPEG":
        progressive = "progressive" in picture.info
        return 1 + progressive * _COEFFICIENTS * len(picture.getbands())
    if picture.format == "PNG" and getattr(picture, "n_frames", 1) > 1:
        return _MOVING
    return _BYTES.get(picture.format or "", _PLAIN)


def exif_of(picture: PIL.Image.Image) -> PIL.Image.Exif:
    """Return the EXIF of an open picture; of a large PNG only what stands before its pixels.

    Pillow decodes a PNG to look for it behind them, which takes seconds for a large one.
    """
    late = picture.format == "PNG" and "exif" not in picture.info
    if late and picture.width * picture.height > LARGE:
        return PIL.Image.Exif()
    return picture.getexif()


def native(size: tuple[int, int]) -> int:
    """Read at the native size."""
    del size
    return 1


def side_factor(side: int) -> Factor:
    """Return by what a large picture is reduced that is needed at `side` pixels on its long side.

    At least twice that is left. What is not above LARGE is read at its native size.
    """

    def factor(size: tuple[int, int]) -> int:
        if size[0] * size[1] <= LARGE:
            return 1
        times = max(1, max(size) // (_OVERSAMPLED * max(1, side)))
        return times - times % 2 if times > _COARSE else times

    return factor


def area_factor(size: tuple[int, int]) -> int:
    """Return by what a picture is reduced so that it has at most LARGE pixels."""
    return max(1, ceil(sqrt(size[0] * size[1] / LARGE)))


def reduced_size(size: tuple[int, int], factor: int) -> tuple[int, int]:
    """Return the (width, height) that a picture has when it was reduced."""
    return max(1, size[0] // factor), max(1, size[1] // factor)


def read_reduced(
    picture: PIL.Image.Image, factor: int, convert: Callable[[PIL.Image.Image], Image]
) -> Image:
    """Return a Pillow picture as float32 [H, W, 3 or 4], `factor` times smaller by area means.

    convert: of a picture to float32 [H, W, C] of the same size. EXIF orientation is not applied.
    """
    size = reduced_size(picture.size, factor)
    if picture.format == "JPEG":  # the decoder itself reduces by 2, 4 or 8
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
    """Return the means of 8-bit pixels by half of `times`, which is much faster than in float32."""
    if times <= _COARSE or picture.mode[0] in "IF":
        return picture
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
    elif picture.mode in ("1", "P"):
        picture = picture.convert("RGB")
    return picture.reduce(times // 2)


def _shrunk(pixels: Image, width: int, height: int) -> Image:
    """Return area means; of colours with alpha, weighted by it."""
    import cv2

    if pixels.shape[2] == 4:
        pixels = np.dstack([pixels[..., :3] * pixels[..., 3:], pixels[..., 3:]])
    small = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    if pixels.shape[2] == 4:
        small[..., :3] /= np.maximum(small[..., 3:], 1e-6)
    return np.asarray(small)
