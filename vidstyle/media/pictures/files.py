"""Still pictures: read and written with Pillow; frames saved as 16-bit PNG with OpenCV.

Converts integer pixels, ICC profiles, palettes and EXIF orientation to and from `Image`.
"""

import struct
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from PIL import ImageOps

from vidstyle.atomic import sync_open
from vidstyle.errors import MediaError, as_path, reading, writing
from vidstyle.image import Image, from_uint16, over_white, to_bytes, to_uint16
from vidstyle.media.large import (
    UPRIGHT,
    Factor,
    area_factor,
    check_decoding,
    check_regular,
    check_room,
    exif_of,
    native,
    read_reduced,
    reduced_size,
)
from vidstyle.media.pictures import deep, heif, jpegs
from vidstyle.media.pictures.profiles import to_srgb
from vidstyle.media.pictures.raws import check_developed

__all__ = [
    "PICTURES",
    "PICTURE_FAULTS",
    "WITH_ALPHA",
    "WRITABLE",
    "is_picture",
    "is_transparent",
    "load_frame",
    "open_picture",
    "quiet",
    "read_picture",
    "read_pixels",
    "read_style",
    "save_frame",
    "signatures",
    "to_pixels",
    "upright_size",
    "write_picture",
]

_STRIP = 1 << 24  # pixels per strip
LIMIT = 300_000_000  # pixels; a larger picture is treated as a decompression bomb

# Pillow formats that are recognised reliably by their first bytes and are not videos.
_FORMATS = (
    "AVIF", "BMP", "GIF", "HEIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP",
)  # fmt: skip
PICTURES = frozenset(
    (
        ".avif", ".bmp", ".gif", ".heic", ".heif", ".hif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm",
        ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp",
    )
)  # fmt: skip
WRITABLE: dict[str, dict[str, Any]] = {
    ".png": {"compress_level": 4},
    ".jpg": {"quality": 95, "subsampling": 0},
    ".jpeg": {"quality": 95, "subsampling": 0},
    ".webp": {"lossless": True, "quality": 40},
    ".tif": {"compression": "tiff_deflate"},
    ".tiff": {"compression": "tiff_deflate"},
    ".bmp": {},
}
WITH_ALPHA = frozenset((".png", ".webp", ".tif", ".tiff"))  # suffixes of formats written with alpha
_ORIENTATION = 0x0112
_TRANSPOSED = (5, 6, 7, 8)  # EXIF orientations that swap width and height
PICTURE_FAULTS = (  # exceptions that Pillow raises on damaged files (found by fuzzing)
    struct.error, OSError, ValueError, SyntaxError, RuntimeError, TypeError, IndexError, KeyError,
    EOFError, OverflowError, MemoryError, PIL.Image.DecompressionBombError,
)  # fmt: skip


@contextmanager
def open_picture(path: Path) -> Iterator[PIL.Image.Image]:
    """Open a picture, recognised by its content; Pillow's exceptions become MediaError."""
    path = as_path(path, "picture")
    check_regular(path)
    try:
        check_developed(path)
        with _opened(path) as picture:
            check_developed(path, picture)
            check_decoding(path, picture)
            yield picture
    except (PIL.Image.DecompressionBombWarning, PIL.Image.DecompressionBombError) as error:
        raise MediaError(
            f"{path}: expected a picture of at most {LIMIT // 1_000_000} million pixels, "
            "got a larger one; shrink it first"
        ) from error
    except PIL.UnidentifiedImageError as error:
        raise MediaError(f"{path}: expected a picture, {_describe_other_file(path)}") from error
    except PICTURE_FAULTS as error:
        raise MediaError(_unreadable(path, error)) from error


def _opened(path: Path) -> PIL.Image.Image:
    before = PIL.Image.MAX_IMAGE_PIXELS
    PIL.Image.MAX_IMAGE_PIXELS = LIMIT
    try:
        with quiet():
            warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
            file = jpegs.with_end_marker(path) if jpegs.lacks_end(path) else path
            return PIL.Image.open(file, formats=list(signatures()))
    finally:
        PIL.Image.MAX_IMAGE_PIXELS = before


def signatures() -> dict[str, Callable[[bytes], bool | str] | None]:
    """Return, per format of _FORMATS that Pillow supports, the test of a file's first bytes."""
    PIL.Image.init()
    heif.register()
    tests = {name: PIL.Image.OPEN[name][1] for name in _FORMATS if name in PIL.Image.OPEN}
    return tests | {heif.FORMAT: heif.is_still}


def is_picture(path: Path) -> bool:
    """Whether a file's first bytes are those of a picture, damaged or not."""
    with path.open("rb") as file:
        start = file.read(32)
    return any(test and test(start) is True for test in signatures().values())


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress Pillow's warnings about irregular headers; errors still raise."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _unreadable(path: Path, error: BaseException) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{path}: expected a picture, but there is no such file; check the path"
    if isinstance(error, IsADirectoryError):
        return f"{path}: expected a picture, got a folder; name one of the files in it"
    if isinstance(error, PermissionError):
        return f"{path}: expected a picture that can be read, but permission is denied"
    detail = " ".join(str(error).split())  # libheif ends its messages with a line break
    return (
        f"{path}: expected a whole picture, got one that is damaged or cut short "
        f"({detail}); get it again from where it came"
    )


def _describe_other_file(path: Path) -> str:
    """Return the "got" part of an error message about a file that is not a picture."""
    from vidstyle.media.decoding import decode

    if path.stat().st_size == 0:
        return "got an empty file (0 bytes); get it again from where it came"
    if is_picture(path):
        return "got one that is damaged or cut short; get it again from where it came"
    if decode.is_video(path):
        return "got a video; save one of its frames as a PNG and name that"
    return "got a file of another kind; PNG and JPEG always work"


def read_picture(path: Path) -> Image:
    """Read a still picture, upright, as sRGB over white. Raises MediaError."""
    return over_white(read_pixels(path))


def read_style(path: Path) -> Image:
    """Read a still picture as `read_picture` does, reduced to at most LARGE pixels."""
    return over_white(read_pixels(path, area_factor))


def read_pixels(path: Path, factor: Factor = native) -> Image:
    """Read a still picture as `read_picture` does, but as RGBA [H, W, 4] if it has alpha.

    factor: function of (width, height) that returns the reduction factor.
    """
    with open_picture(path) as picture, quiet():
        times = factor(picture.size)
        check_room(path, reduced_size(picture.size, times), len(picture.getbands()))
        if deep.reads_deep(path, picture):
            return deep.read_deep(path, picture, reduced_size(picture.size, times))
        if times == 1:
            return to_pixels(ImageOps.exif_transpose(picture))
        turn = UPRIGHT.get(exif_of(picture).get(_ORIENTATION) or 1, np.asarray)
        return np.ascontiguousarray(turn(read_reduced(picture, times, to_pixels)))


def upright_size(picture: PIL.Image.Image) -> tuple[int, int]:
    """Return (width, height) after EXIF orientation, from the header alone."""
    width, height = picture.size
    turned = exif_of(picture).get(_ORIENTATION) in _TRANSPOSED
    return (height, width) if turned else (width, height)


def is_transparent(picture: PIL.Image.Image) -> bool:
    """Whether any pixel is not opaque."""
    if not picture.has_transparency_data:
        return False
    alphas = (strip.convert("RGBA").getchannel("A") for strip in _strips(picture))
    return any(np.asarray(alpha).min() < 255 for alpha in alphas)


def _strips(picture: PIL.Image.Image) -> Iterator[PIL.Image.Image]:
    """Yield a picture in strips of rows, which avoids a copy of the whole."""
    rows = max(1, _STRIP // picture.width)
    for top in range(0, picture.height, rows):
        yield picture.crop((0, top, picture.width, min(top + rows, picture.height)))


def to_pixels(picture: PIL.Image.Image) -> Image:
    """Return a Pillow picture of any mode as sRGB [H, W, 3], or [H, W, 4] if it has alpha."""
    if picture.mode.startswith("I"):
        return _grey(np.asarray(picture).astype(np.float32) / 65535)
    if picture.mode == "F":
        return _grey(np.nan_to_num(np.asarray(picture, np.float32)))
    profile = picture.info.get("icc_profile")
    if picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        colour = to_srgb(rgba.convert("RGB"), profile)
        return _unit(np.dstack([np.asarray(colour), np.asarray(rgba.getchannel("A"))]))
    if picture.mode in ("1", "P", "PA", "LA", "La", "RGBX"):
        picture = picture.convert("RGB")
    return _unit(np.asarray(to_srgb(picture, profile)))


def _unit(pixels: np.ndarray[Any, Any]) -> Image:
    """Return uint8 0..255 as float32 0..1."""
    return pixels.astype(np.float32) / np.float32(255)


def _grey(plane: np.ndarray[Any, Any]) -> Image:
    return np.repeat(np.clip(plane, 0, 1)[..., None], 3, axis=2)


def write_picture(
    path: Path,
    image: Image,
    suffix: str | None = None,
    metadata: dict[str, Any] | None = None,
    *,
    depth: int = 8,
) -> None:
    """Write a picture in the format of `suffix` (default: that of the path) and sync it to disk.

    PNG, WebP, TIFF and BMP are lossless; JPEG has quality 95 without chroma subsampling.
    image: with alpha if the format is one of WITH_ALPHA. metadata: options of Pillow's `save`; see
    `pictures.metadata`. depth: bits per channel of the source; above 8, PNG and TIFF are
    written with 16, other formats with 8. Raises OutputError.
    """
    kind = (suffix or path.suffix).lower()
    with writing(path), path.open("wb") as file:
        if depth > 8 and kind in deep.DEEP:
            deep.write_deep(file, to_uint16(image), kind, metadata or {})
        else:
            PIL.Image.fromarray(to_bytes(image)).save(
                file,
                format=PIL.Image.registered_extensions()[kind],
                **{**WRITABLE[kind], **(metadata or {})},
            )
        sync_open(file)


def save_frame(path: Path, image: Image) -> None:
    """Write a frame as 16-bit PNG to `path` and sync it to disk. Raises OutputError."""
    with writing(path), path.open("wb") as file:
        file.write(deep.encode_png(to_uint16(image), 1))
        sync_open(file)


def load_frame(path: Path) -> Image:
    """Read a file of `save_frame`. Raises MediaError if damaged, OutputError if missing."""
    with reading(path):
        data = path.read_bytes()
    try:
        values = deep.decode_png(data)
        if values.shape[2] < 3:
            raise OSError("it is grey")
        return from_uint16(values)
    except OSError as error:
        raise MediaError(
            f"{path}: expected a whole 16-bit PNG frame, got a damaged one ({error}); "
            "delete it and run the same command again"
        ) from error
