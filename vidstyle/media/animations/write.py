"""Animated WebP and PNG, written frame by frame: none merged, none dropped.

PNG is written by FFmpeg. Its WebP muxer and Pillow's writers merge equal frames; for WebP, Pillow
encodes each frame as a still picture, whose data becomes a frame of the animation.
"""

import io
import struct
from collections.abc import Iterable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import av
import PIL.Image
from av.video.frame import VideoFrame

from vidstyle.errors import writing
from vidstyle.image import Image, to_bytes
from vidstyle.media.animations.read import NO_DURATION, check_durations, in_ticks, plays
from vidstyle.media.clip import Clip
from vidstyle.media.encoding.movie import writing_media

__all__ = ["write_apng", "write_webp"]

_TICK = Fraction(1, 1000)
_WEBP = {"quality": 90, "method": 4}
_PNG = {"pred": "sub"}  # row filter; of FFmpeg's, it gives the smallest files for photos


def write_webp(clip: Clip, indices: range, frames: Iterable[Image], part: Path) -> None:
    """Write an animated WebP that starts at 0. Raises OutputError."""
    durations = _durations(clip, indices)
    with writing(part), part.open("w+b") as file:
        file.write(b"RIFF\0\0\0\0WEBP")
        for index, (image, duration) in enumerate(zip(frames, durations, strict=True)):
            sides = b"".join(_uint24(side - 1) for side in (image.shape[1], image.shape[0]))
            if index == 0:
                animated, alpha = 0x02, 0x10 * (image.shape[2] == 4)
                _riff(file, b"VP8X", struct.pack("<I", animated | alpha) + sides)
                _riff(file, b"ANIM", struct.pack("<IH", 0, plays(clip)))
            unblended = 0x02
            head = _uint24(0) * 2 + sides + _uint24(duration) + bytes([unblended])
            _riff(file, b"ANMF", head + _webp_data(_still(image)))
        size = file.tell() - 8
        file.seek(4)
        file.write(struct.pack("<I", size))
    check_durations(part, durations)


def write_apng(clip: Clip, indices: range, frames: Iterable[Image], part: Path) -> None:
    """Write an animated PNG that starts at 0, losslessly. Raises OutputError."""
    ticks = in_ticks(clip, indices, _TICK)
    durations = _durations(clip, indices)
    options = {
        "fflags": "+bitexact",
        "plays": str(min(plays(clip), 0xFFFF)),
        "final_delay": str(durations[-1] * _TICK),
    }
    with writing_media(part), av.open(f"file:{part}", "w", format="apng", options=options) as out:
        stream: Any = out.add_stream("apng", options=_PNG)
        stream.codec_context.time_base = _TICK
        for image, tick in zip(frames, ticks[:-1], strict=True):
            pix_fmt = "rgba" if image.shape[2] == 4 else "rgb24"
            frame = VideoFrame.from_ndarray(to_bytes(image), format=pix_fmt)
            frame.pts, frame.time_base = tick, _TICK
            if not stream.codec_context.is_open:
                stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, pix_fmt
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    # FFmpeg writes a single frame as a plain PNG, without a duration.
    check_durations(part, durations if len(durations) > 1 else [NO_DURATION])


def _durations(clip: Clip, indices: range) -> list[int]:
    """Return the milliseconds of each frame."""
    ticks = in_ticks(clip, indices, _TICK)
    return [later - earlier for earlier, later in pairwise(ticks)]


def _still(image: Image) -> bytes:
    """Return the image as a still WebP."""
    data = io.BytesIO()
    PIL.Image.fromarray(to_bytes(image)).save(data, "WEBP", **_WEBP)
    return data.getvalue()


def _uint24(number: int) -> bytes:
    return struct.pack("<I", number)[:3]


def _riff(file: BinaryIO, kind: bytes, body: bytes) -> None:
    file.write(kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2))


def _webp_data(still: bytes) -> bytes:
    """Return the chunks of a still WebP that hold pixels and alpha."""
    chunks, offset = b"", 12
    while offset + 8 <= len(still):
        size = struct.unpack("<I", still[offset + 4 : offset + 8])[0]
        end = offset + 8 + size + size % 2
        if still[offset : offset + 4] in (b"ALPH", b"VP8 ", b"VP8L"):
            chunks += still[offset:end]
        offset = end
    return chunks
