"""Decoding of video files with PyAV: every frame once, in a deterministic order."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import lru_cache
from heapq import heappop, heappush
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from av.codec.context import CodecContext
from av.container import InputContainer
from av.sidedata.sidedata import Type
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from vidstyle.errors import MediaError
from vidstyle.image import Image
from vidstyle.media.clip import Stream
from vidstyle.media.decoding.continuity import Clock, Continuity, Timeline
from vidstyle.media.decoding.conversion import Shape, to_pixels
from vidstyle.media.decoding.crop import Crop, crop_of
from vidstyle.media.decoding.demuxers import MOST_PIXELS, open_container
from vidstyle.media.decoding.streams import candidates, choose_main_stream, has_side_data
from vidstyle.media.large import Factor, check_room, native
from vidstyle.media.tonemap import HDR
from vidstyle.memory import memory_limit

__all__ = [
    "FAULTS",
    "codec_name",
    "decode_packet",
    "decoded",
    "decoder_of",
    "is_transparent",
    "is_video",
    "main_stream",
    "open_video",
    "packets",
    "read_video",
    "reason",
    "refuse_unknown_colours",
    "shape_of",
    "streams_of",
    "timeline_of",
]

# Exceptions that PyAV raises on damaged files (found by fuzzing: docs/media.md).
FAULTS = (av.error.FFmpegError, OSError, ValueError, IndexError, RuntimeError, UnicodeDecodeError)
_LIMITED = {"max_pixels": str(MOST_PIXELS)}  # decoder option: larger frames are an error
_DECODING = 1 << 30  # bytes that decoding one packet may allocate
_ICTCP = (14, 15)
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # FFmpeg's native decoders drop alpha
_CACHED_TIMELINES = 64  # a run opens its source, masks and output several times
_INTERLEAVED = 2000  # packets by which demuxing order may differ from file order
_MAX_FAULTS = 100  # consecutive unreadable places after which reading stops


@contextmanager
def open_video(path: Path) -> Iterator[InputContainer]:
    """Open a video file. Raises MediaError if it is not one."""
    try:
        container = open_container(path)
    except (*FAULTS, MemoryError) as error:
        raise MediaError(
            f"{path}: expected a picture or a video, got a file that is neither, or is damaged "
            f"({reason(error)}); try to play it, or get it again from where it came"
        ) from error
    with container:
        yield container


def reason(error: BaseException) -> str:
    """Return the message of an exception, else the name of its class."""
    return str(getattr(error, "strerror", None) or error or type(error).__name__)


def is_video(path: Path) -> bool:
    """Whether the file has a video stream."""
    try:
        with open_video(path) as container:
            main_stream(container, path)
    except MediaError:
        return False
    return True


def main_stream(container: InputContainer, path: Path) -> VideoStream:
    """Return the main video stream. Raises MediaError if there is none."""
    streams = candidates(container)
    if not streams:
        raise MediaError(
            f"{path}: expected a video, got a file without a video stream; name another source"
        )
    main = streams[0] if len(streams) == 1 else choose_main_stream(streams, timeline_of(container))
    if main.codec_context is None:
        raise MediaError(
            f"{path}: expected a video that can be decoded, got one in an unsupported codec; "
            "convert it to another first, H.264 for instance"
        )
    _limit(main, path)
    return main


def timeline_of(container: InputContainer) -> Timeline:
    """Return the timeline of an open file, from a cached pass over its packets."""
    path = Path(container.name.removeprefix("file:"))
    status = path.stat()
    return _scanned(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=_CACHED_TIMELINES)
def _scanned(path: Path, changed: int, size: int) -> Timeline:
    """Return the timeline of a file. changed, size: its mtime and bytes, as cache key."""
    del changed, size
    with open_video(path) as container:
        found = Continuity(container.format.name)
        for seen in _file_order(found, _raw_packets(container, list(container.streams), [])):
            found.assign(seen)
        streams = candidates(container)
        main = choose_main_stream(streams, found.timeline(None)).index if streams else None
        return found.timeline(main)


def _file_order(found: Continuity, stream: Iterator[Any]) -> Iterator[Any]:
    """Yield the relevant values of each packet, in order of position in the file."""
    waiting: list[Any] = []
    for packet in stream:
        seen = found.read(packet)
        if seen is not None and found.in_order:
            yield seen
        elif seen is not None:
            heappush(waiting, seen)
            if len(waiting) > _INTERLEAVED:
                yield heappop(waiting)
    while waiting:
        yield heappop(waiting)


def _limit(stream: VideoStream, path: Path) -> None:
    """Make the decoder refuse frames of more than MOST_PIXELS; raise if the header has more."""
    context = stream.codec_context
    if (context.width or 0) * (context.height or 0) > MOST_PIXELS:
        raise MediaError(
            f"{path}: expected a video of at most {MOST_PIXELS // 1_000_000} million pixels a "
            f"frame, got one of {context.width}x{context.height}; scale it down first"
        )
    context.options = _LIMITED


def streams_of(container: InputContainer) -> tuple[Stream, ...]:
    """Return all streams of the file in order of index."""
    return tuple(
        Stream(
            index=stream.index,
            kind=stream.type,
            codec=codec_name(stream),
            language=stream.language,
        )
        for stream in container.streams
    )


def codec_name(stream: Any) -> str:
    """Return the FFmpeg name of a stream's codec, or an attachment's own name, or "unknown"."""
    name = getattr(stream.codec_context, "name", None) or getattr(stream, "name", None)
    return name or "unknown"


def shape_of(path: Path, frame: VideoFrame, stream: VideoStream) -> Shape:
    """Return the shape of the first frame, which all later frames are scaled to."""
    crop = crop_of(path, stream.container.format.name, stream.index)
    cut = crop or Crop()
    coded = (frame.width, frame.height)
    shown, height = coded[0] - cut.left - cut.right, coded[1] - cut.top - cut.bottom
    if min(shown, height) < 1:
        crop, (shown, height) = None, coded  # a broken header
    aspect = stream.sample_aspect_ratio or Fraction(1)
    if not Fraction(1, 10) < aspect < 10:
        aspect = Fraction(1)  # a broken header
    return Shape(
        coded=coded,
        crop=crop,
        width=shown if aspect == 1 else max(2, 2 * round(shown * aspect / 2)),
        height=height,
        rotation=-90 * round(frame.rotation / 90) % 360,
        pixel_aspect=aspect,
    )


def packets(container: InputContainer, streams: list[Any], faults: list[str]) -> Iterator[Any]:
    """Yield the packets of some streams with continuous times; see `continuity`.

    Unreadable places are skipped and appended to `faults`.
    """
    clock = Clock(timeline_of(container))
    for packet in _raw_packets(container, streams, faults):
        clock.set(packet)
        yield packet


def _raw_packets(container: InputContainer, streams: list[Any], faults: list[str]) -> Iterator[Any]:
    """Yield the packets of some streams with the times stored in the file."""
    broken = 0
    while broken < _MAX_FAULTS:
        try:
            for packet in container.demux(streams):
                broken = 0
                yield packet
            return
        except FAULTS as error:
            faults.append(reason(error))
            broken += 1


def decoded(
    container: InputContainer,
    stream: VideoStream,
    faults: list[str],
    watch: Callable[[Any], None] | None = None,
) -> Iterator[VideoFrame]:
    """Yield every decodable frame in order. watch: called with each packet of every stream."""
    wanted = [stream] if watch is None else list(container.streams)
    decoder = decoder_of(stream)
    for packet in packets(container, wanted, faults):
        if watch is not None:
            watch(packet)
        if packet.stream_index == stream.index and packet.size:
            yield from decode_packet(decoder, packet, faults)
    yield from decode_packet(decoder, None, faults)


def decoder_of(stream: VideoStream) -> VideoCodecContext:
    """Return the stream's decoder; for VP8 and VP9 with alpha, that of libvpx."""
    context = stream.codec_context
    tags = {name.lower(): value for name, value in stream.metadata.items()}
    if tags.get("alpha_mode") != "1" or context.name not in _ALPHA_DECODERS:
        return context
    decoder: Any = CodecContext.create(_ALPHA_DECODERS[context.name], "r")
    decoder.thread_count, decoder.options = context.thread_count, _LIMITED
    return decoder


def decode_packet(decoder: VideoCodecContext, packet: Any, faults: list[str]) -> list[VideoFrame]:
    """Return the frames that a packet completes (None: the last ones); append a fault instead."""
    try:
        with memory_limit(_DECODING):
            return decoder.decode(packet)
    except av.error.EOFError:
        return []
    except (*FAULTS, MemoryError) as error:
        faults.append(reason(error))
        return []


def is_transparent(frame: VideoFrame) -> bool:
    """Whether any pixel of a decoded frame is not opaque."""
    if not any(part.is_alpha for part in frame.format.components):
        return False
    plane = frame.reformat(format="rgba").planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(frame.height, plane.line_size)
    return bool(rows[:, 3 : 4 * frame.width : 4].min() < 255)


def refuse_unknown_colours(path: Path, frame: VideoFrame) -> None:
    """Raise MediaError for colour encodings that cannot be converted to RGB."""
    dolby = has_side_data(frame, Type.DOVI_METADATA)
    if frame.colorspace in _ICTCP or (dolby and frame.color_trc not in HDR):
        kind = "Dolby Vision without a standard base layer (profile 5)" if dolby else "ICtCp"
        raise MediaError(
            f"{path}: expected colours in RGB or YCbCr, got {kind}, which would turn green and "
            "purple; convert it first, with ffmpeg's filter libplacebo for instance"
        )


def read_video(path: Path, indices: range, factor: Factor = native) -> Iterator[Image]:
    """Yield the frames of `indices` (counted in decoding order), upright, with square pixels.

    RGB [H, W, 3], or RGBA [H, W, 4] with straight alpha. factor: function of (width, height) that
    returns the reduction factor. Raises MediaError.
    """
    shape: Shape | None = None
    scaler = VideoReformatter()
    with open_video(path) as container:
        stream = main_stream(container, path)
        for index, frame in enumerate(decoded(container, stream, [])):
            if shape is None:
                shape = shape_of(path, frame, stream)
                shape = shape.reduced(factor((shape.width, shape.height)))
                check_room(path, (shape.width, shape.height), len(frame.format.components))
            if index in indices:
                yield to_pixels(frame, shape, scaler)
            if index + 1 >= indices.stop:
                return
    raise MediaError(
        f"{path}: expected {indices.stop} frames, got fewer; "
        "has the file changed since it was probed?"
    )
