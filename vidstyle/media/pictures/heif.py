"""HEIC and HEIF still pictures, registered with Pillow through pillow-heif (libheif).

libheif applies the container's rotation and mirroring (irot, imir) and resets the EXIF
orientation, so that a picture is rotated once.
"""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from vidstyle.image import Image
from vidstyle.media import tonemap

__all__ = ["FORMAT", "depth_of", "is_still", "is_wide", "read_uint16", "read_wide", "register"]

FORMAT = "HEIF"
_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1")  # of still pictures, not of sequences


@cache
def register() -> None:
    """Register HEIF with Pillow."""
    import pillow_heif

    pillow_heif.register_heif_opener()


def is_still(start: bytes) -> bool:
    """Whether a file's first 12 bytes are those of a HEIF still picture."""
    return start[4:8] == b"ftyp" and start[8:12] in _BRANDS


def depth_of(picture: PIL.Image.Image) -> int:
    """Return the bits per channel of an open HEIF picture."""
    return int(picture.info.get("bit_depth") or 8)


def is_wide(picture: PIL.Image.Image) -> bool:
    """Whether a picture is tagged (nclx) as PQ, HLG or wide gamut, without an ICC profile.

    PQ and HLG count even with a profile: no ICC profile describes them well.
    """
    transfer, primaries = _tags(picture)
    if transfer in tonemap.HDR:
        return True
    return "icc_profile" not in picture.info and tonemap.is_wide(transfer, primaries)


def _tags(picture: PIL.Image.Image) -> tuple[int, int]:
    nclx = picture.info.get("nclx_profile") or {}
    return int(nclx.get("transfer_characteristics", 2)), int(nclx.get("color_primaries", 2))


def read_uint16(path: Path) -> np.ndarray[Any, Any]:
    """Decode the primary picture, upright, as uint16 [H, W, 1 to 4], full scale."""
    import pillow_heif

    primary = pillow_heif.open_heif(path, convert_hdr_to_8bit=False, hdr_to_16bit=False)
    levels = np.asarray(primary)
    top = (1 << int(primary.info["bit_depth"])) - 1
    if levels.ndim == 2:
        levels = levels[..., None]
    return np.rint(levels * np.float64(65535 / top)).astype(np.uint16)


def read_wide(values: np.ndarray[Any, Any], picture: PIL.Image.Image) -> Image:
    """Convert uint16 HDR or wide-gamut RGB [H, W, 3] to sRGB."""
    return tonemap.to_standard(values, *_tags(picture))
