"""Crop declared by a container: `clap` of MP4 and MOV, PixelCrop of Matroska.

PyAV does not expose it, and FFmpeg's decoders do not apply it.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

__all__ = ["Crop", "crop_of"]

_ENTRY = 86  # bytes of a visual sample entry before its boxes
_SAMPLE_PATH = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")
_SEGMENT, _TRACKS, _ENTRY_OF_TRACK, _VIDEO = 0x18538067, 0x1654AE6B, 0xAE, 0xE0
_SIDES = {0x54CC: "left", 0x54BB: "top", 0x54DD: "right", 0x54AA: "bottom"}


@dataclass(frozen=True, kw_only=True)
class Crop:
    """Pixels to cut off each side of a decoded frame."""

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0


def crop_of(path: Path, format_name: str, track: int) -> Crop | None:
    """Return the crop of a track, given by its index in the file; None if it has none."""
    search = {"mov": _mp4_crop, "matroska": _matroska_crop}.get(format_name.partition(",")[0])
    if search is None:
        return None
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            found = search(file, size, track)
    except (OSError, struct.error, ZeroDivisionError, IndexError):
        return None
    return found if found is not None and found != Crop() else None


def _mp4_crop(file: BinaryIO, size: int, track: int) -> Crop | None:
    tracks = list(_at_path(_boxes, file, 0, size, _SAMPLE_PATH[:2]))
    if track >= len(tracks):
        return None
    for start, end in _at_path(_boxes, file, *tracks[track], _SAMPLE_PATH[2:]):
        for _, entry, until in _boxes(file, start + 8, end):
            file.seek(entry)
            width, height = struct.unpack(">HH", file.read(_ENTRY - 8)[24:28])
            for kind, body, _ in _boxes(file, entry + _ENTRY - 8, until):
                if kind == b"clap":
                    file.seek(body)
                    return _aperture(width, height, struct.unpack(">4IiIiI", file.read(32)))
    return None


def _aperture(width: int, height: int, fields: tuple[int, ...]) -> Crop:
    wide, high = fields[0] / fields[1], fields[2] / fields[3]
    left = round((width - wide) / 2 + fields[4] / fields[5])
    top = round((height - high) / 2 + fields[6] / fields[7])
    right, bottom = width - round(wide) - left, height - round(high) - top
    if min(left, top, right, bottom) < 0 or wide < 1 or high < 1:
        return Crop()
    return Crop(left=left, top=top, right=right, bottom=bottom)


def _at_path(
    children: Callable[..., Iterator[tuple[Any, int, int]]],
    file: BinaryIO,
    start: int,
    end: int,
    ids: tuple[Any, ...],
) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of the bodies of all boxes or elements at a path of ids.

    children: `_boxes` or `_elements`. The search ends after Matroska's Tracks.
    """
    for name, body, until in children(file, start, end):
        if name == ids[0] and len(ids) == 1:
            yield body, until
        elif name == ids[0]:
            yield from _at_path(children, file, body, until, ids[1:])
        if name == _TRACKS:
            return


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield (type, start, end) of the body of each box in a range of bytes."""
    while start + 8 <= end:
        file.seek(start)
        size, kind = struct.unpack(">I4s", file.read(8))
        body = start + 8
        if size == 1:
            size, body = struct.unpack(">Q", file.read(8))[0], start + 16
        until = end if size == 0 else start + size
        if until < body or until > end:
            return
        yield kind, body, until
        start = until


def _matroska_crop(file: BinaryIO, size: int, track: int) -> Crop | None:
    tracks = list(_at_path(_elements, file, 0, size, (_SEGMENT, _TRACKS, _ENTRY_OF_TRACK)))
    if track >= len(tracks):
        return None
    for video in _at_path(_elements, file, *tracks[track], (_VIDEO,)):
        found = {}
        for name, start, end in _elements(file, *video):
            if name in _SIDES:
                file.seek(start)
                found[_SIDES[name]] = int.from_bytes(file.read(end - start))
        if found:
            return Crop(**found)
    return None


def _elements(file: BinaryIO, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield (id, start, end) of the body of each EBML element; unknown size: to the end."""
    while start < end:
        file.seek(start)
        head = file.read(12)
        name_size = 9 - head[0].bit_length()
        length_size = 9 - head[name_size].bit_length()
        if name_size > 4 or length_size > 8:
            return
        name = int.from_bytes(head[:name_size])
        coded = int.from_bytes(head[name_size : name_size + length_size])
        length = coded - (1 << 7 * length_size)
        body = start + name_size + length_size
        unknown = length == (1 << 7 * length_size) - 1
        until = end if unknown else min(body + length, end)
        yield name, body, until
        start = until
