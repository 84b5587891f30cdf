"""What a picture says of itself, carried from a source into its result: EXIF, XMP, resolution."""

import struct
from pathlib import Path
from typing import Any

import PIL.Image
from PIL import ExifTags, ImageOps
from PIL.PngImagePlugin import PngInfo

from vidstyle.errors import MediaError
from vidstyle.image import Image
from vidstyle.media.large import exif_of
from vidstyle.media.pictures import open_picture, quiet, write_picture

__all__ = ["write_with_metadata"]

_TIFF = (".tif", ".tiff")
_XMP = 700  # the tag under which a TIFF keeps XMP
# EXIF tags of how a file is laid out, which TIFF keeps among those of the picture.
_OF_THE_FILE = (
    254, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325,
    338, 339, 347, 530, 531, 532, _XMP, 34675,
)  # fmt: skip


def write_with_metadata(
    path: Path, image: Image, source: Path, suffix: str, depth: int = 8
) -> list[str]:
    """Write a picture with what its source says of itself; return what of that could not be kept.

    suffix: of the result. depth: bits of a channel of the source. See `write_picture`. Raises
    OutputError.
    """
    try:
        words, lost = _description(source, suffix)
        write_picture(path, image, suffix, words, depth=depth)
    except _UNFIT as error:
        write_picture(path, image, suffix, depth=depth)
        return [
            f"{source}: what it says of itself (EXIF, XMP) does not fit into {suffix}, so it was "
            f"left out ({error})"
        ]
    return [lost] * bool(lost)


# What Pillow raises on broken EXIF, and on what is too long for a format.
_UNFIT = (MediaError, ValueError, TypeError, KeyError, struct.error, SyntaxError, RuntimeError)


def _description(source: Path, suffix: str) -> tuple[dict[str, Any], str]:
    """Return (words for `write_picture`, a sentence if something cannot be kept, else "").

    Left out are the orientation, since results stand upright, the thumbnail, and the colour
    profile, since results are sRGB. suffix: of the result.
    """
    with open_picture(source) as picture, quiet():
        xmp = _upright_xmp(picture)
        exif = _exif(picture, xmp if suffix in _TIFF else None)
        comment, dpi = picture.info.get("comment"), picture.info.get("dpi")
        texts = getattr(picture, "text", {})
    if suffix == ".bmp":
        lost = f"{source}: .bmp cannot hold what it says of itself (EXIF, XMP): left out"
        return _given(dpi=dpi), lost if exif or xmp else ""
    words = _given(dpi=dpi, exif=exif, xmp=xmp)
    if suffix == ".png":
        return _given(dpi=dpi, exif=exif, pnginfo=_png_info(texts, xmp)), ""
    if suffix in (".jpg", ".jpeg"):
        words |= _given(comment=comment)
    if suffix in _TIFF:
        plain = {"compression": None} if exif else {}  # Pillow writes EXIF into plain files only
        return _given(dpi=dpi, exif=exif) | plain, ""
    return words, ""


def _upright_xmp(picture: PIL.Image.Image) -> bytes | None:
    """Return the XMP of a picture as of one that stands upright, without decoding it."""
    exif = exif_of(picture)
    head = PIL.Image.new("L", (1, 1))
    head.info = dict(picture.info)
    if len(exif):
        head.info["exif"] = exif.tobytes()
    return ImageOps.exif_transpose(head).info.get("xmp")


def _given(**words: Any) -> dict[str, Any]:
    return {name: value for name, value in words.items() if value}


def _exif(picture: PIL.Image.Image, xmp: bytes | None) -> bytes:
    """Return the EXIF block of a picture, as of one that stands upright; empty if it has none."""
    exif = exif_of(picture)
    for tag in _OF_THE_FILE:
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
