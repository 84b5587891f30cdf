"""Media input and output: probing, decoding and encoding of videos, animations and pictures."""

from vidstyle.image import Image, resize
from vidstyle.media.clip import Clip, Stream, as_json, select, times_of
from vidstyle.media.codecs import EncodingOptions
from vidstyle.media.listing import is_footage, is_system, left_out_message, natural
from vidstyle.media.pictures.files import (
    load_frame,
    read_picture,
    read_style,
    save_frame,
    write_picture,
)
from vidstyle.media.sources import probe, probe_headers, read, read_alpha, read_frame
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
    "encode",
    "is_folder",
    "is_footage",
    "is_system",
    "left_out_message",
    "load_frame",
    "natural",
    "needs_even_sides",
    "picture_names",
    "pixel_bytes",
    "probe",
    "probe_headers",
    "read",
    "read_alpha",
    "read_frame",
    "read_picture",
    "read_style",
    "resize",
    "result_suffix",
    "save_frame",
    "select",
    "times_of",
    "try_output",
    "write_picture",
]
