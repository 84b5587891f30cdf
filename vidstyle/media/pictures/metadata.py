"""Picture metadata (EXIF, XMP, resolution, texts) copied from the source to the output."""

import struct
from pathlib import Path
from typing import Any

import PIL.Image
from PIL import ExifTags, ImageOps
from PIL.PngImagePlugin import PngInfo

from vidstyle.errors import MediaError
from vidstyle.image import Image
from vidstyle.media.large import exif_of
from vidstyle.media.pictures.files import open_picture, quiet, write_picture

__all__ = ["write_with_metadata"]

_TIFF = (".tif", ".tiff")
_XMP = 700  # TIFF tag of XMP
# TIFF tags of the file's layout, which are not metadata of the picture.
_LAYOUT_TAGS = (
    254, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325,
    338, 339, 347, 530, 531, 532, _XMP, 34675,
)  # fmt: skip


def write_with_metadata(
    path: Path, image: Image, source: Path, suffix: str, depth: int = 8
) -> list[str]:
    """Write a picture with its source's metadata; return a warning if some could not be kept.

    suffix: of the output. depth: bits per channel of the source; see `write_picture`. Raises
    OutputError.
    """
    try:
        options, lost = _metadata_options(source, suffix)
        write_picture(path, image, suffix, options, depth=depth)
    except _FAULTS as error:
        write_picture(path, image, suffix, depth=depth)
        return [
            f"{source}: its metadata (EXIF, XMP) does not fit into {suffix}, so it was "
            f"left out ({error})"
        ]
    return [lost] * bool(lost)


# Exceptions of Pillow for broken EXIF and for metadata too long for a format.
_FAULTS = (MediaError, ValueError, TypeError, KeyError, struct.error, SyntaxError, RuntimeError)


def _metadata_options(source: Path, suffix: str) -> tuple[dict[str, Any], str]:
    """Return (options for `write_picture`, a warning or "").

    Orientation (outputs are upright), thumbnail and colour profile (outputs are sRGB) are dropped.
    suffix: of the output.
    """
    with open_picture(source) as picture, quiet():
        xmp = _upright_xmp(picture)
        exif = _exif(picture, xmp if suffix in _TIFF else None)
        comment, dpi = picture.info.get("comment"), picture.info.get("dpi")
        texts = getattr(picture, "text", {})
    if suffix == ".bmp":
        lost = f"{source}: .bmp cannot hold its metadata (EXIF, XMP): left out"
        return _nonempty(dpi=dpi), lost if exif or xmp else ""
    options = _nonempty(dpi=dpi, exif=exif, xmp=xmp)
    if suffix == ".png":
        return _nonempty(dpi=dpi, exif=exif, pnginfo=_png_info(texts, xmp)), ""
    if suffix in (".jpg", ".jpeg"):
        options |= _nonempty(comment=comment)
    if suffix in _TIFF:
        plain = {"compression": None} if exif else {}  # as Pillow requires for EXIF
        return _nonempty(dpi=dpi, exif=exif) | plain, ""
    return options, ""


def _upright_xmp(picture: PIL.Image.Image) -> bytes | None:
    """Return a picture's XMP with the orientation reset, without decoding the picture."""
    exif = exif_of(picture)
    head = PIL.Image.new("L", (1, 1))
    head.info = dict(picture.info)
    if len(exif):
        head.info["exif"] = exif.tobytes()
    return ImageOps.exif_transpose(head).info.get("xmp")


def _nonempty(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value}


def _exif(picture: PIL.Image.Image, xmp: bytes | None) -> bytes:
    """Return a picture's EXIF block without layout tags and thumbnail; empty if it has none."""
    exif = exif_of(picture)
    for tag in _LAYOUT_TAGS:
        exif.pop(tag, None)
    if xmp:
        exif[_XMP] = xmp
    exif.get_ifd(ExifTags.IFD.IFD1).clear()
    return exif.tobytes() if len(exif) else b""


def _png_info(texts: dict[str, Any], xmp: bytes | None) -> PngInfo | None:
    info = PngInfo()
    for name, text in texts.items():
        if name != "XML:com.adobe.xmp" and not name.startswith("Raw profile"):
            info.add_itxt(name, str(text))
    if xmp:
        info.add_itxt("XML:com.adobe.xmp", xmp.decode("utf-8", "replace"))
    return info if info.chunks else None
