"""Camera raw files: recognised, so that their thumbnail is not used as the photo."""

from pathlib import Path

import PIL.Image
from PIL import TiffImagePlugin

from vidstyle.errors import MediaError

__all__ = ["check_developed", "is_raw"]

_RAWS = frozenset(
    (
        ".3fr", ".ari", ".arw", ".bay", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff",
        ".gpr", ".iiq", ".k25", ".kdc", ".mef", ".mos", ".mrw", ".nef", ".nrw", ".orf", ".pef",
        ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f",
    )
)  # fmt: skip
_DNG_VERSION, _SUBFILE, _SUB_DIRECTORIES = 50706, 254, 330  # TIFF tags
_REDUCED = 1  # bit of the subfile type: reduced copy of another picture in the file


def is_raw(name: str) -> bool:
    """Whether a file name has the suffix of a camera raw format."""
    return Path(name).suffix.lower() in _RAWS


def check_developed(path: Path, picture: PIL.Image.Image | None = None) -> None:
    """Raise MediaError for camera raw, recognised by its name or, if open, by its TIFF tags.

    Most raw formats are TIFF files whose first picture is a thumbnail.
    """
    named = is_raw(path.name) and path.is_file()
    if named or (isinstance(picture, TiffImagePlugin.TiffImageFile) and _is_raw_tiff(picture)):
        raise MediaError(
            f"{path}: expected a photo, got camera raw data; develop it to a 16-bit TIFF in a "
            "raw converter and name that"
        )


def _is_raw_tiff(picture: TiffImagePlugin.TiffImageFile) -> bool:
    tags = picture.tag_v2
    thumbnail = bool(tags.get(_SUBFILE, 0) & _REDUCED) and _SUB_DIRECTORIES in tags
    return _DNG_VERSION in tags or thumbnail
