"""Pictures with 16 bits per channel: PNG and TIFF read and written at full depth.

Pillow has no 16-bit RGB mode. It supplies the tags and the orientation; pixels are decoded by
imageio's tifffile plugin, or by OpenCV for PNG and compressions that tifffile lacks.
"""

import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from PIL import TiffImagePlugin

from vidstyle.image import Image
from vidstyle.media.large import UPRIGHT
from vidstyle.media.pictures import heif
from vidstyle.media.pictures.profiles import uint16_to_srgb
from vidstyle.media.pictures.tiff_tags import with_exif

__all__ = [
    "DEEP",
    "decode_png",
    "depth_of",
    "encode_png",
    "has_transparent_values",
    "read_deep",
    "reads_deep",
    "write_deep",
]

DEEP = frozenset((".png", ".tif", ".tiff"))  # outputs written with 16 bits per channel

Uint16 = np.ndarray[Any, Any]  # uint16 [H, W, channels]

_MOST_PIXELS = 90_000_000  # at about 16 bytes each: 1.4 GB; larger pictures are read with 8 bits
_PNG_GREY = (0, 4)  # PNG colour types without colour
_BITS, _COMPRESSION, _PHOTOMETRIC, _OFFSETS, _COUNTS = 258, 259, 262, 273, 279  # TIFF tags
_PLANAR, _EXTRA, _FORMAT = 284, 338, 339
_PLAIN, _DEFLATE = 1, (8, 32946)  # compressions that tifffile decodes without imagecodecs
_BY_PLANE = 2
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2
_PREMULTIPLIED = 1
_TOP = 65535
_PNG_LEVEL = 4  # zlib level, as for 8-bit PNG
_ORIENTATION = 0x0112


def depth_of(path: Path, picture: PIL.Image.Image) -> int:
    """Return the bits per channel with which a picture is read, from its header.

    picture: the same file, open in Pillow.
    """
    if picture.format == heif.FORMAT:
        return heif.depth_of(picture)
    if picture.format == "PNG":
        animated = getattr(picture, "is_animated", False)
        return 16 if _png_header(path)[0] == 16 and not animated else 8
    return 16 if _is_deep_tiff(picture) else 8


def reads_deep(path: Path, picture: PIL.Image.Image) -> bool:
    """Whether `read_deep` reads a picture, since Pillow would lose depth or colours."""
    wide = picture.format == heif.FORMAT and heif.is_wide(picture)
    return _is_small_enough(picture) and (wide or depth_of(path, picture) > 8)


def _is_small_enough(picture: PIL.Image.Image) -> bool:
    return picture.width * picture.height <= _MOST_PIXELS


def loses_depth(path: Path, picture: PIL.Image.Image) -> bool:
    """Whether a picture has 16 bits per channel but is read with 8: CMYK, Lab, or too large."""
    bits = getattr(picture, "tag_v2", {}).get(_BITS, ())
    other = set(bits) == {16} and not _is_deep_tiff(picture)
    return other or (not _is_small_enough(picture) and depth_of(path, picture) > 8)


def _png_header(path: Path) -> tuple[int, int]:
    """Return (bits per channel, colour type). Pillow drops them when it decodes."""
    with path.open("rb") as file:
        bits, kind = file.read(26)[24:]
    return bits, kind


def _is_deep_tiff(picture: PIL.Image.Image) -> bool:
    if not isinstance(picture, TiffImagePlugin.TiffImageFile):
        return False
    tags = picture.tag_v2
    bits, formats = tags.get(_BITS, (1,)), tags.get(_FORMAT, (1,))
    return (
        tags.get(_PHOTOMETRIC) in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB)
        and set(bits) == {16}
        and set(formats) == {1}
        and len(bits) in (1, 3, 4)
    )


def read_deep(path: Path, picture: PIL.Image.Image, size: tuple[int, int]) -> Image:
    """Read a picture upright as float32 sRGB: [H, W, 3], or [H, W, 4] if it has alpha.

    picture: the same file, open in Pillow. size: (width, height) before rotation; the picture is
    reduced to a smaller one by area interpolation. Raises OSError or ValueError for damaged files.
    """
    colour, alpha = _decode(path, picture)
    if size != picture.size:
        colour, alpha = _reduced(colour, size), None if alpha is None else _reduced(alpha, size)
    if picture.format == heif.FORMAT and heif.is_wide(picture):
        image = heif.read_wide(np.broadcast_to(colour, (*colour.shape[:2], 3)), picture)
    else:
        image = uint16_to_srgb(colour, picture.info.get("icc_profile"))
    if alpha is not None:
        image = np.dstack([image, alpha.astype(np.float32) / np.float32(_TOP)])
    is_upright = picture.format == heif.FORMAT  # libheif applies the rotation
    orientation = 1 if is_upright else picture.getexif().get(_ORIENTATION, 1)
    return np.ascontiguousarray(UPRIGHT.get(orientation, np.asarray)(image))


def _reduced(values: Uint16, size: tuple[int, int]) -> Uint16:
    """Return uint16 [H, W] or [H, W, C] resized to (width, height) by area interpolation."""
    import cv2

    small = np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA))
    return small.reshape(*small.shape[:2], *values.shape[2:])


def has_transparent_values(path: Path, picture: PIL.Image.Image) -> bool:
    """Decode a picture for which `reads_deep`; whether any pixel is not opaque."""
    _, alpha = _decode(path, picture)
    return alpha is not None and bool(alpha.min() < _TOP)


def _decode(path: Path, picture: PIL.Image.Image) -> tuple[Uint16, Uint16 | None]:
    """Return uint16 (colours [H, W, 1 or 3], alpha [H, W] or None); grey has one channel."""
    if picture.format == heif.FORMAT:
        return _split_alpha(heif.read_uint16(path), picture, grey=False)
    png = picture.format == "PNG"
    values = decode_png(path.read_bytes()) if png else _tiff_samples(path, picture)
    if values.shape[:2] != picture.size[::-1]:
        raise ValueError("the size is not the one in the header")
    return _split_alpha(values, picture, grey=_is_grey(path, picture))


def _split_alpha(
    values: Uint16, picture: PIL.Image.Image, *, grey: bool
) -> tuple[Uint16, Uint16 | None]:
    """Split samples into colours and alpha."""
    colour, alpha = values[..., :3], None
    if values.shape[2] in (2, 4):
        alpha = values[..., -1] if picture.has_transparency_data else None
    return colour[..., :1] if grey or values.shape[2] == 2 else colour, alpha


def _is_grey(path: Path, picture: PIL.Image.Image) -> bool:
    if picture.format == "PNG":
        return _png_header(path)[1] in _PNG_GREY
    return picture.mode in ("I;16", "I;16B", "I;16L", "L", "LA")


def decode_png(data: bytes) -> Uint16:
    """Decode a 16-bit PNG to uint16 [H, W, 1 to 4]. Raises OSError if it is damaged.

    OpenCV fills missing pixels with black, so the chunks are checked first.
    """
    if not _is_whole_png(data):
        raise OSError("a chunk is damaged or missing")
    return _decoded(data)


def encode_png(values: Uint16, level: int) -> bytes:
    """Encode uint16 RGB [H, W, 3] or RGBA [H, W, 4] as PNG. level: of zlib. Raises OSError."""
    import cv2

    order = [2, 1, 0, 3][: values.shape[2]]
    done, data = cv2.imencode(".png", values[..., order], [cv2.IMWRITE_PNG_COMPRESSION, level])
    if not done:
        raise OSError("the picture could not be encoded as PNG")
    return bytes(data)


def _decoded(data: bytes) -> Uint16:
    """Decode a picture with OpenCV to uint16 [H, W, channels], channels in file order."""
    import cv2

    with _silent_opencv():
        found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if found is None or found.dtype != np.uint16:
        raise OSError("the pixels do not decode")
    if found.ndim == 2:
        return found[..., None]
    return found[..., [2, 1, 0, 3][: found.shape[2]]]


@contextmanager
def _silent_opencv() -> Iterator[None]:
    """Suppress OpenCV's log messages about damaged files."""
    import cv2

    log = cv2.utils.logging
    before = log.getLogLevel()
    log.setLogLevel(log.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        log.setLogLevel(before)


def _is_whole_png(data: bytes) -> bool:
    """Whether every chunk up to IEND has a valid CRC."""
    offset = 8
    while offset + 12 <= len(data):
        size = int.from_bytes(data[offset : offset + 4])
        body = data[offset + 4 : offset + 8 + size]
        if zlib.crc32(body).to_bytes(4) != data[offset + 8 + size : offset + 12 + size]:
            return False
        if body[:4] == b"IEND":
            return True
        offset += 12 + size
    return False


def _tiff_samples(path: Path, picture: PIL.Image.Image) -> Uint16:
    tags = getattr(picture, "tag_v2", {})
    values = _tiff_stored_samples(path, picture)
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        values = _TOP - values
    if values.shape[2] == 4 and _PREMULTIPLIED in tags.get(_EXTRA, ()):
        alpha = np.maximum(values[..., 3:].astype(np.float64), 1) / _TOP
        colour = np.rint(np.minimum(values[..., :3] / alpha, _TOP))
        values = np.dstack([colour.astype(np.uint16), values[..., 3:]])
    return values


def _tiff_stored_samples(path: Path, picture: PIL.Image.Image) -> Uint16:
    """Return the samples of the first page as stored."""
    tags = getattr(picture, "tag_v2", {})
    compression, by_plane = tags.get(_COMPRESSION, _PLAIN), tags.get(_PLANAR) == _BY_PLANE
    if compression != _PLAIN and not by_plane:
        return _decoded(path.read_bytes())
    if compression in _DEFLATE:
        width, height = picture.size
        _check_strips(path, tags, most=2 * width * height)
    import imageio.v3 as iio

    every: Any = ...
    try:
        with path.open("rb") as file:  # a page: a series may refer to other files
            samples = np.asarray(iio.imread(file, plugin="tifffile", index=every, page=0))
    except Exception as error:  # tifffile raises many types on damaged files
        raise OSError(str(error)) from error
    if samples.ndim == 2:
        return samples[..., None]
    return np.moveaxis(samples, 0, -1) if by_plane else samples


def _check_strips(path: Path, tags: Any, most: int) -> None:
    """Raise OSError if a deflated strip exceeds `most` bytes; tifffile does not check."""
    with path.open("rb") as file:
        for offset, count in zip(tags.get(_OFFSETS, ()), tags.get(_COUNTS, ()), strict=True):
            file.seek(offset)
            inflater = zlib.decompressobj()
            try:
                inflater.decompress(file.read(count), most)
            except zlib.error as error:
                raise OSError(str(error)) from error
            if inflater.unconsumed_tail:
                raise OSError("a strip has more bytes than the picture")


def write_deep(file: Any, values: Uint16, suffix: str, metadata: dict[str, Any]) -> None:
    """Write uint16 RGB [H, W, 3] or RGBA [H, W, 4] to a binary file.

    suffix: one of DEEP. metadata: EXIF, resolution and texts, as options of Pillow's `save`.
    """
    file.write(_png(values, metadata) if suffix == ".png" else _tiff(values, metadata))


def _png(values: Uint16, metadata: dict[str, Any]) -> bytes:
    """Return a PNG with the ancillary chunks that Pillow makes of the metadata."""
    packed, small = encode_png(values, _PNG_LEVEL), io.BytesIO()
    PIL.Image.new("RGB", (1, 1)).save(small, format="PNG", **metadata)
    header = 8 + 12 + 13  # signature and IHDR
    return packed[:header] + _ancillary(small.getvalue()) + packed[header:]


def _ancillary(data: bytes) -> bytes:
    """Return all chunks of a PNG but IHDR, IDAT and IEND."""
    chunks, offset = b"", 8
    while offset + 12 <= len(data):
        end = offset + 12 + int.from_bytes(data[offset : offset + 4])
        if data[offset + 4 : offset + 8] not in (b"IHDR", b"IDAT", b"IEND"):
            chunks += data[offset:end]
        offset = end
    return chunks


def _tiff(values: Uint16, metadata: dict[str, Any]) -> bytes:
    import imageio.v3 as iio

    dpi, exif = metadata.get("dpi"), metadata.get("exif")
    options: dict[str, Any] = {"metadata": None, "software": False}
    if dpi:
        options |= {"resolution": tuple(map(float, dpi)), "resolutionunit": 2}
    data = iio.imwrite(
        "<bytes>",
        values,
        plugin="tifffile",
        extension=".tif",
        photometric="rgb",
        extrasamples=["unassalpha"] * (values.shape[2] == 4),
        compression="zlib",
        predictor=True,
        **options,
    )
    return with_exif(data, exif) if exif else data
