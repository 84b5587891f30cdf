"""Stills: pictures read and written with Pillow, frames kept as 16-bit PNG with OpenCV.

Integer pixels, profiles, palettes and EXIF end here: everything else sees `Image`.
"""

import os
import struct
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from PIL import ImageOps

from vidstyle.errors import MediaError, OutputError, as_path, reading, writing
from vidstyle.image import Image, from_uint16, over_white, to_bytes, to_uint16
from vidstyle.media import deep_pictures, heif, jpegs
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
from vidstyle.media.profiles import to_srgb
from vidstyle.media.raws import check_developed

__all__ = [
    "CLEAR",
    "PICTURES",
    "PICTURE_FAULTS",
    "WRITABLE",
    "has_clear_pixels",
    "is_picture",
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

_STRIP = 1 << 24  # pixels of a strip
LIMIT = 300_000_000  # pixels; beyond it a picture is a mistake or a bomb

# Pillow's formats that are pictures by their first bytes; its others guess, or are videos.
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
CLEAR = frozenset((".png", ".webp", ".tif", ".tiff"))  # these keep alpha
_ORIENTATION = 0x0112
_TURNED = (5, 6, 7, 8)  # EXIF orientations that swap width and height
PICTURE_FAULTS = (  # what Pillow raises on damaged files (found by fuzzing)
    struct.error, OSError, ValueError, SyntaxError, RuntimeError, TypeError, IndexError, KeyError,
    EOFError, OverflowError, MemoryError, PIL.Image.DecompressionBombError,
)  # fmt: skip


@contextmanager
def open_picture(path: Path) -> Iterator[PIL.Image.Image]:
    """Open a picture by its content; whatever Pillow raises inside becomes a MediaError."""
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
        raise MediaError(f"{path}: expected a picture, {_instead(path)}") from error
    except PICTURE_FAULTS as error:
        raise MediaError(_unreadable(path, error)) from error


def _opened(path: Path) -> PIL.Image.Image:
    before = PIL.Image.MAX_IMAGE_PIXELS
    PIL.Image.MAX_IMAGE_PIXELS = LIMIT
    try:
        with quiet():
            warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
            file = jpegs.mended(path) if jpegs.lacks_end(path) else path
            return PIL.Image.open(file, formats=list(signatures()))
    finally:
        PIL.Image.MAX_IMAGE_PIXELS = before


def signatures() -> dict[str, Callable[[bytes], bool | str] | None]:
    """Return the test of a file's first bytes for each of _FORMATS that this Pillow reads."""
    PIL.Image.init()
    heif.register()
    tests = {name: PIL.Image.OPEN[name][1] for name in _FORMATS if name in PIL.Image.OPEN}
    return tests | {heif.FORMAT: heif.is_still}


def is_picture(path: Path) -> bool:
    """Tell whether a file's first bytes are those of a picture, whole or not."""
    with path.open("rb") as file:
        start = file.read(32)
    return any(test and test(start) is True for test in signatures().values())


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Pillow's remarks on odd headers from the terminal; what cannot be read still raises."""
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
    told = " ".join(str(error).split())  # libheif ends its messages with a line break
    return (
        f"{path}: expected a whole picture, got one that is damaged or cut short "
        f"({told}); get it again from where it came"
    )


def _instead(path: Path) -> str:
    """Say what a file is that is no picture."""
    from vidstyle.media import decode

    if path.stat().st_size == 0:
        return "got an empty file (0 bytes); get it again from where it came"
    if is_picture(path):
        return "got one that is damaged or cut short; get it again from where it came"
    if decode.is_video(path):
        return "got a video; save one of its frames as a PNG and name that"
    return "got a file of another kind; PNG and JPEG always work"


def read_picture(path: Path) -> Image:
    """Read any still, upright, as sRGB; transparent parts lie over white. Raises MediaError."""
    return over_white(read_pixels(path))


def read_style(path: Path) -> Image:
    """Read what `read_picture` does; one of more than LARGE pixels is reduced to as many."""
    return over_white(read_pixels(path, area_factor))


def read_pixels(path: Path, factor: Factor = native) -> Image:
    """Read what `read_picture` does, but RGBA [H, W, 4], not over white, where it has alpha.

    factor: by what it is reduced.
    """
    with open_picture(path) as picture, quiet():
        times = factor(picture.size)
        check_room(path, reduced_size(picture.size, times), len(picture.getbands()))
        if deep_pictures.reads_deep(path, picture):
            return deep_pictures.read_deep(path, picture, reduced_size(picture.size, times))
        if times == 1:
            return to_pixels(ImageOps.exif_transpose(picture))
        turn = UPRIGHT.get(exif_of(picture).get(_ORIENTATION) or 1, np.asarray)
        return np.ascontiguousarray(turn(read_reduced(picture, times, to_pixels)))


def upright_size(picture: PIL.Image.Image) -> tuple[int, int]:
    """Return (width, height) after the EXIF orientation, from the header alone."""
    width, height = picture.size
    turned = exif_of(picture).get(_ORIENTATION) in _TURNED
    return (height, width) if turned else (width, height)


def has_clear_pixels(picture: PIL.Image.Image) -> bool:
    """Tell whether any pixel is not opaque."""
    if not picture.has_transparency_data:
        return False
    alphas = (strip.convert("RGBA").getchannel("A") for strip in _strips(picture))
    return any(np.asarray(alpha).min() < 255 for alpha in alphas)


def _strips(picture: PIL.Image.Image) -> Iterator[PIL.Image.Image]:
    """Yield a picture in strips of rows, so that no whole copy of it is made."""
    rows = max(1, _STRIP // picture.width)
    for top in range(0, picture.height, rows):
        yield picture.crop((0, top, picture.width, min(top + rows, picture.height)))


def to_pixels(picture: PIL.Image.Image) -> Image:
    """Return a Pillow picture of any mode as an Image, profile applied; RGBA where it has alpha."""
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
    """Return uint8 pixels as float32 of 0..1."""
    return pixels.astype(np.float32) / np.float32(255)


def _grey(plane: np.ndarray[Any, Any]) -> Image:
    return np.repeat(np.clip(plane, 0, 1)[..., None], 3, axis=2)


def write_picture(
    path: Path,
    image: Image,
    suffix: str | None = None,
    described: dict[str, Any] | None = None,
    *,
    depth: int = 8,
) -> None:
    """Write a picture in the format of `suffix` (default: the path's own), synced to disk.

    PNG, WebP, TIFF and BMP without loss, JPEG at quality 95 with whole colour. image: with alpha
    where the format is one of CLEAR. described: further words for Pillow, see
    described.py. depth: bits of a channel of the source; PNG and TIFF have 16 where these are
    more than 8, all others 8. Raises OutputError.
    """
    kind = (suffix or path.suffix).lower()
    with writing(path), path.open("wb") as file:
        if depth > 8 and kind in deep_pictures.DEEP:
            deep_pictures.write_deep(file, to_uint16(image), kind, described or {})
            _sync(file)
            return
        PIL.Image.fromarray(to_bytes(image)).save(
            file,
            format=PIL.Image.registered_extensions()[kind],
            **{**WRITABLE[kind], **(described or {})},
        )
        _sync(file)


def save_frame(path: Path, image: Image) -> None:
    """Write a frame as 16-bit PNG straight to `path`, synced to disk. Raises OutputError."""
    import cv2

    done, data = cv2.imencode(".png", to_uint16(image)[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not done:
        raise OutputError(f"cannot write {path}: the frame could not be packed as PNG")
    with writing(path), path.open("wb") as file:
        file.write(data.tobytes())
        _sync(file)


def _sync(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def load_frame(path: Path) -> Image:
    """Read what `save_frame` wrote. MediaError if it is damaged, OutputError if it is not there."""
    import cv2

    with reading(path):
        data = path.read_bytes()
    whole = deep_pictures.whole_png(data)
    deep = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if whole else None
    if deep is None or deep.dtype != np.uint16 or deep.ndim != 3:
        raise MediaError(
            f"{path}: expected a whole 16-bit PNG frame, got a damaged one; "
            "delete it and run the same command again"
        )
    return from_uint16(deep[..., ::-1])
