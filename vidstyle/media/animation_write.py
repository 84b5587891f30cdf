"""Animated WebP and PNG, written frame by frame: none merged, none dropped.

Pillow encodes each frame as a still picture, whose data becomes a frame of the animation.
(FFmpeg's and Pillow's own writers merge equal frames, or blend each with the one before.)
"""

import io
import struct
import zlib
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import PIL.Image

from vidstyle.errors import writing
from vidstyle.image import Image, to_bytes
from vidstyle.media.animation_read import check_durations, in_ticks, plays
from vidstyle.media.clip import Clip

__all__ = ["write_apng", "write_webp"]

_TICK = Fraction(1, 1000)
_WEBP = {"quality": 90, "method": 4}
_PNG = {"compress_level": 6}


def write_webp(clip: Clip, indices: range, frames: Iterable[Image], part: Path) -> None:
    """Write an animated WebP that starts at 0. Raises OutputError."""
    durations = _durations(clip, indices)
    with writing(part), part.open("w+b") as file:
        file.write(b"RIFF\0\0\0\0WEBP")
        for place, (image, duration) in enumerate(zip(frames, durations, strict=True)):
            sides = b"".join(_uint24(side - 1) for side in (image.shape[1], image.shape[0]))
            if place == 0:
                animated, alpha = 0x02, 0x10 * (image.shape[2] == 4)
                _riff(file, b"VP8X", struct.pack("<I", animated | alpha) + sides)
                _riff(file, b"ANIM", struct.pack("<IH", 0, _plays(clip)))
            unblended = 0x02
            head = _uint24(0) * 2 + sides + _uint24(duration) + bytes([unblended])
            _riff(file, b"ANMF", head + _webp_data(_still(image, "WEBP", _WEBP)))
        size = file.tell() - 8
        file.seek(4)
        file.write(struct.pack("<I", size))
    check_durations(part, durations)


def write_apng(clip: Clip, indices: range, frames: Iterable[Image], part: Path) -> None:
    """Write an animated PNG that starts at 0, losslessly. Raises OutputError."""
    durations = _durations(clip, indices)
    with writing(part), part.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        number = 0
        for place, (image, duration) in enumerate(zip(frames, durations, strict=True)):
            chunks = list(_png_chunks(_still(image, "PNG", _PNG)))
            if place == 0:
                _png(file, *chunks[0])  # IHDR
                _png(file, b"acTL", struct.pack(">II", len(durations), _plays(clip)))
            sides = (image.shape[1], image.shape[0])
            control = struct.pack(">5I2H2B", number, *sides, 0, 0, *_delay(duration), 0, 0)
            _png(file, b"fcTL", control)
            number += 1
            for data in (body for kind, body in chunks if kind == b"IDAT"):
                if place == 0:
                    _png(file, b"IDAT", data)
                else:
                    _png(file, b"fdAT", struct.pack(">I", number) + data)
                    number += 1
        _png(file, b"IEND", b"")
    check_durations(part, durations)


def _durations(clip: Clip, indices: range) -> list[int]:
    """Return the milliseconds of each frame."""
    ticks = in_ticks(clip, indices, _TICK)
    return [later - earlier for earlier, later in pairwise(ticks)]


def _plays(clip: Clip) -> int:
    """Return how often the animation plays, 0: for ever."""
    return plays(clip.path) if clip.kind == "animation" else 0


def _still(image: Image, kind: str, options: dict[str, Any]) -> bytes:
    data = io.BytesIO()
    PIL.Image.fromarray(to_bytes(image)).save(data, kind, **options)
    return data.getvalue()


def _uint24(number: int) -> bytes:
    return struct.pack("<I", number)[:3]


def _riff(file: BinaryIO, kind: bytes, body: bytes) -> None:
    file.write(kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2))


def _webp_data(still: bytes) -> bytes:
    """Return the chunks of a still WebP that hold pixels and alpha."""
    found, place = b"", 12
    while place + 8 <= len(still):
        size = struct.unpack("<I", still[place + 4 : place + 8])[0]
        end = place + 8 + size + size % 2
        if still[place : place + 4] in (b"ALPH", b"VP8 ", b"VP8L"):
            found += still[place:end]
        place = end
    return found


def _png_chunks(still: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield (kind, body) of each chunk of a PNG."""
    place = 8
    while place + 12 <= len(still):
        size = struct.unpack(">I", still[place : place + 4])[0]
        yield still[place + 4 : place + 8], still[place + 8 : place + 8 + size]
        place += 12 + size


def _png(file: BinaryIO, kind: bytes, body: bytes) -> None:
    file.write(struct.pack(">I", len(body)) + kind + body)
    file.write(struct.pack(">I", zlib.crc32(kind + body)))


def _delay(milliseconds: int) -> tuple[int, int]:
    """Return a duration as (numerator, denominator) of seconds, 16 bits each, as in fcTL."""
    for parts in (1000, 100, 10):
        if milliseconds * parts // 1000 <= 0xFFFF:
            return round(milliseconds * parts / 1000), parts
    return min(round(milliseconds / 1000), 0xFFFF), 1
