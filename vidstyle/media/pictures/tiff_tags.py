"""Merging of EXIF into the image file directory of a finished TIFF."""

import struct

import PIL.Image
from PIL import ExifTags, TiffImagePlugin

__all__ = ["with_exif"]

_ENTRY = 12  # bytes: code, type, count, value or its offset
_POINTERS = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)


def with_exif(data: bytes, exif: bytes) -> bytes:
    """Return a TIFF with the tags of an EXIF block added; its own tags take precedence.

    Entries of both directories hold absolute offsets and merge unchanged: the EXIF data is
    appended, then the merged directory, which becomes the first.
    """
    block = PIL.Image.Exif()
    block.load(exif)
    data += b"\0" * (len(data) % 2)
    order = "<" if data[:2] == b"II" else ">"
    packed = _directory(block, data[:8]).tobytes(len(data))
    (first,) = struct.unpack(f"{order}I", data[4:8])
    entries = _entries(packed, order) | _entries(data[first:], order)
    data += packed + b"\0" * (len(packed) % 2)
    merged = b"".join(entries[tag] for tag in sorted(entries))
    where, count = struct.pack(f"{order}I", len(data)), struct.pack(f"{order}H", len(entries))
    return data[:4] + where + data[8:] + count + merged + bytes(4)


def _directory(exif: PIL.Image.Exif, header: bytes) -> TiffImagePlugin.ImageFileDirectory_v2:
    """Return EXIF as a directory; nested ones (EXIF, GPS, interoperability) as dicts."""
    directory = TiffImagePlugin.ImageFileDirectory_v2(header)
    for tag, value in exif.items():
        directory[tag] = value
    for pointer in _POINTERS:
        inner = dict(exif.get_ifd(pointer))
        if ExifTags.IFD.Interop in inner:
            inner[ExifTags.IFD.Interop] = dict(exif.get_ifd(ExifTags.IFD.Interop))
        if inner:
            directory[pointer] = inner
    return directory


def _entries(directory: bytes, order: str) -> dict[int, bytes]:
    """Return the packed entry of each tag. order: byte order, "<" or ">"."""
    (count,) = struct.unpack(f"{order}H", directory[:2])
    packed = [directory[2 + _ENTRY * i : 2 + _ENTRY * (i + 1)] for i in range(count)]
    return {struct.unpack(f"{order}H", entry[:2])[0]: entry for entry in packed}
