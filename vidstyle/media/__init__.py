"""Sources read and results written: videos, animations, pictures and folders of pictures."""

from vidstyle.media.clip import Clip, Image, Stream, as_json, select
from vidstyle.media.codecs import EncodingOptions
from vidstyle.media.listing import is_footage, is_system, natural, told_left_out
from vidstyle.media.pictures import (
    difference_of_gaussians,
    from_uint16,
    is_opaque,
    load_frame,
    read_picture,
    read_style,
    recolored,
    resize,
    save_frame,
    to_uint16,
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
    "EncodingOptions",
    "Image",
    "Stream",
    "as_json",
    "check_output",
    "difference_of_gaussians",
    "encode",
    "from_uint16",
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
    "to_uint16",
    "told_left_out",
    "try_output",
    "write_picture",
]
