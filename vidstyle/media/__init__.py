"""Sources read and results written: videos, animations, pictures and folders of pictures."""

from vidstyle.media.clip import Clip, Image, Stream, as_json, select
from vidstyle.media.codecs import Wish
from vidstyle.media.listing import is_footage, is_system, natural, told_left_out
from vidstyle.media.pictures import (
    difference_of_gaussians,
    from_words,
    is_opaque,
    load_frame,
    read_picture,
    read_style,
    recolored,
    resize,
    save_frame,
    to_words,
    write_picture,
)
from vidstyle.media.sources import probe, read, read_alpha
from vidstyle.media.write import (
    check_output,
    encode,
    is_folder,
    needs_even_sides,
    picture_names,
    pixel_bytes,
    result_suffix,
    try_output,
)

__all__ = [
    "Clip",
    "Image",
    "Stream",
    "Wish",
    "as_json",
    "check_output",
    "difference_of_gaussians",
    "encode",
    "from_words",
    "is_folder",
    "is_footage",
    "is_opaque",
    "is_system",
    "load_frame",
    "natural",
    "needs_even_sides",
    "picture_names",
    "pixel_bytes",
    "probe",
    "read",
    "read_alpha",
    "read_picture",
    "read_style",
    "recolored",
    "resize",
    "result_suffix",
    "save_frame",
    "select",
    "to_words",
    "told_left_out",
    "try_output",
    "write_picture",
]
