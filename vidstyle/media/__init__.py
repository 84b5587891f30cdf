"""Sources read and results written: videos, animations, pictures and folders of pictures."""

from vidstyle.media.clip import Clip, Image, Stream, as_json, select
from vidstyle.media.results import check_output, encode, is_folder
from vidstyle.media.sources import probe, read
from vidstyle.media.stills import (
    load_frame,
    read_picture,
    recolored,
    resize,
    save_frame,
    write_picture,
)

__all__ = [
    "Clip",
    "Image",
    "Stream",
    "as_json",
    "check_output",
    "encode",
    "is_folder",
    "load_frame",
    "probe",
    "read",
    "read_picture",
    "recolored",
    "resize",
    "save_frame",
    "select",
    "write_picture",
]
