"""Video files: opened, timed and decoded with PyAV, every frame once, in one fixed order."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
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
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream

from vidstyle.errors import MediaError
from vidstyle.media.clip import Image, Stream
from vidstyle.media.container_crop import Crop, crop_of
from vidstyle.media.containers import MOST_PIXELS, open_container
from vidstyle.media.continuity import Clock, Continuity, Timeline
from vidstyle.media.film import candidates, choose_film, has_side_data
from vidstyle.media.large import Factor, check_room, native, reduced_size
from vidstyle.media.pictures import resize
from vidstyle.media.tonemap import HDR, is_wide, to_standard
from vidstyle.memory import memory_limit

__all__ = [
    "FAULTS",
    "SCALER",
    "Shape",
    "codec_name",
    "decoded",
    "has_clear_pixels",
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

# What PyAV raises on damaged files, beside its own errors (found by fuzzing: docs/media.md).
FAULTS = (av.error.FFmpegError, OSError, ValueError, IndexError, RuntimeError, UnicodeDecodeError)
SCALER = int(
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
    | Interpolation.BITEXACT
)
_REDUCER = SCALER & ~int(Interpolation.BICUBIC) | int(Interpolation.AREA)
_LIMITED = {"max_pixels": str(MOST_PIXELS)}  # a decoder's option: larger frames are an error
_DECODING = 1 << 30  # bytes that decoding one packet may allocate, beside what is held already
_MATRICES = {1, 4, 5, 6, 7, 9}  # tags that name a YUV matrix, alike in FFmpeg's codecs and scaler
_BT709, _BT601 = 1, 5
_ICTCP = (14, 15)
_CLEAR_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # FFmpeg's own drop the alpha
_REMEMBERED = 64  # timelines: a run opens its source, masks and result several times
_MIXED = 2000  # packets by which a stream multiplexer may bring them out of their order in the file
_PATIENCE = 100  # unreadable places in a row before the rest of a file is given up


@contextmanager
def open_video(path: Path) -> Iterator[InputContainer]:
    """Open a video file. Raises MediaError if it is none."""
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
    return str(getattr(error, "strerror", None) or error or type(error).__name__)


def is_video(path: Path) -> bool:
    """Tell whether the file holds a video stream."""
    try:
        with open_video(path) as container:
            main_stream(container, path)
    except MediaError:
        return False
    return True


def main_stream(container: InputContainer, path: Path) -> VideoStream:
    """Return the video stream that is the film. Raises MediaError without one."""
    streams = candidates(container)
    if not streams:
        raise MediaError(
            f"{path}: expected a video, got a file without a video stream; name another source"
        )
    film = streams[0] if len(streams) == 1 else choose_film(streams, timeline_of(container))
    if film.codec_context is None:
        raise MediaError(
            f"{path}: expected a video that can be decoded, got one in a codec that is not "
            "known here; convert it to another first, H.264 for instance"
        )
    _limit(film, path)
    return film


def timeline_of(container: InputContainer) -> Timeline:
    """Return the timeline of an open file; its packets are read once more, and remembered."""
    path = Path(container.name.removeprefix("file:"))
    facts = path.stat()
    return _scanned(path, facts.st_mtime_ns, facts.st_size)


@lru_cache(maxsize=_REMEMBERED)
def _scanned(path: Path, changed: int, size: int) -> Timeline:
    """Return the timeline of a file in this state; changed, size: what tells it from another."""
    del changed, size
    with open_video(path) as container:
        found = Continuity(container.format.name)
        for seen in _in_place(found, _raw_packets(container, list(container.streams), [])):
            found.place(seen)
        streams = candidates(container)
        film = choose_film(streams, found.timeline(None)).index if streams else None
        return found.timeline(film)


def _in_place(found: Continuity, stream: Iterator[Any]) -> Iterator[Any]:
    """Yield what counts of each packet, in the order of their places in the file."""
    waiting: list[Any] = []
    for packet in stream:
        seen = found.read(packet)
        if seen is not None and found.in_order:
            yield seen
        elif seen is not None:
            heappush(waiting, seen)
            if len(waiting) > _MIXED:
                yield heappop(waiting)
    while waiting:
        yield heappop(waiting)


def _limit(stream: VideoStream, path: Path) -> None:
    """Have the decoder refuse frames of more than MOST_PIXELS; raise MediaError if they all are."""
    context = stream.codec_context
    if (context.width or 0) * (context.height or 0) > MOST_PIXELS:
        raise MediaError(
            f"{path}: expected a video of at most {MOST_PIXELS // 1_000_000} million pixels a "
            f"frame, got one of {context.width}x{context.height}; scale it down first"
        )
    context.options = _LIMITED


def streams_of(container: InputContainer) -> tuple[Stream, ...]:
    """Return every stream of the file, as they are numbered."""
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
    """Return what FFmpeg calls a stream's codec, or the file that it is; "unknown" if nothing."""
    name = getattr(stream.codec_context, "name", None) or getattr(stream, "name", None)
    return name or "unknown"


@dataclass(frozen=True)
class Shape:
    """How decoded frames become upright with square pixels.

    coded: (width, height) of the first frame as it decodes. crop: what the container cuts off it.
    width, height: after that and after widening, before turning. rotation: clockwise degrees.
    is_reduced: all sizes are those of frames scaled down as they are converted.
    """

    coded: tuple[int, int]
    crop: Crop | None
    width: int
    height: int
    rotation: int
    pixel_aspect: Fraction
    is_reduced: bool = False

    def reduced(self, factor: int) -> "Shape":
        """Return the shape of frames that are scaled down by a factor as they are converted."""
        if factor == 1:
            return self
        cut = self.crop and Crop(**{side: n // factor for side, n in vars(self.crop).items()})
        width, height = reduced_size((self.width, self.height), factor)
        coded = reduced_size(self.coded, factor)
        return replace(self, coded=coded, crop=cut, width=width, height=height, is_reduced=True)

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height as shown."""
        turned = self.rotation in (90, 270)
        return (self.height, self.width) if turned else (self.width, self.height)


def shape_of(path: Path, frame: VideoFrame, stream: VideoStream) -> Shape:
    """Return the shape of the first frame, which is every frame's."""
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
    """Yield the packets of some streams at continuous times; see continuity.

    Places that cannot be read are passed over and go to `faults`.
    """
    clock = Clock(timeline_of(container))
    for packet in _raw_packets(container, streams, faults):
        clock.set(packet)
        yield packet


def _raw_packets(container: InputContainer, streams: list[Any], faults: list[str]) -> Iterator[Any]:
    """Yield the packets of some streams at the times that the file says."""
    broken = 0
    while broken < _PATIENCE:
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
    """Yield every frame that decodes, in order. watch: is shown every packet of every stream."""
    wanted = [stream] if watch is None else list(container.streams)
    decoder = _decoder(stream)
    for packet in packets(container, wanted, faults):
        if watch is not None:
            watch(packet)
        if packet.stream_index == stream.index and packet.size:
            yield from _attempt(decoder, packet, faults)
    yield from _attempt(decoder, None, faults)


def _decoder(stream: VideoStream) -> VideoCodecContext:
    """Return the stream's decoder; where FFmpeg's own drops the alpha, that of libvpx."""
    context = stream.codec_context
    tags = {name.lower(): value for name, value in stream.metadata.items()}
    if tags.get("alpha_mode") != "1" or context.name not in _CLEAR_DECODERS:
        return context
    decoder: Any = CodecContext.create(_CLEAR_DECODERS[context.name], "r")
    decoder.thread_count, decoder.options = context.thread_count, _LIMITED
    return decoder


def _attempt(decoder: VideoCodecContext, packet: Any, faults: list[str]) -> list[VideoFrame]:
    try:
        with memory_limit(_DECODING):
            return decoder.decode(packet)
    except av.error.EOFError:
        return []
    except (*FAULTS, MemoryError) as error:
        faults.append(reason(error))
        return []


def has_clear_pixels(frame: VideoFrame) -> bool:
    """Tell whether any pixel of a decoded frame is not opaque."""
    if not any(part.is_alpha for part in frame.format.components):
        return False
    plane = frame.reformat(format="rgba").planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(frame.height, plane.line_size)
    return bool(rows[:, 3 : 4 * frame.width : 4].min() < 255)


def refuse_unknown_colours(path: Path, frame: VideoFrame) -> None:
    """Raise MediaError for colours that nothing here can bring to RGB."""
    dolby = has_side_data(frame, Type.DOVI_METADATA)
    if frame.colorspace in _ICTCP or (dolby and frame.color_trc not in HDR):
        kind = "Dolby Vision without a standard base layer (profile 5)" if dolby else "ICtCp"
        raise MediaError(
            f"{path}: expected colours in RGB or YCbCr, got {kind}, which would turn green and "
            "purple; convert it first, with ffmpeg's filter libplacebo for instance"
        )


def read_video(path: Path, indices: range, factor: Factor = native) -> Iterator[Image]:
    """Yield the frames of `indices` (counted in decoding order), upright, with square pixels.

    RGBA [H, W, 4], colour not multiplied by alpha, where they have alpha. factor: by what they are
    reduced. Raises MediaError.
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
                yield _to_pixels(frame, shape, scaler)
            if index + 1 >= indices.stop:
                return
    raise MediaError(
        f"{path}: expected {indices.stop} frames, got fewer; has the file changed meanwhile?"
    )


def _to_pixels(frame: VideoFrame, shape: Shape, scaler: VideoReformatter) -> Image:
    """Convert one frame: its own colours to those of a standard picture, turned upright.

    Frames of 8 bits go by way of 8: by way of 16 the scaler makes opaque pixels less than 1.
    """
    parts = frame.format.components
    wide = is_wide(frame.color_trc, frame.color_primaries)
    deep = wide or any(part.bits > 8 for part in parts)
    clear = any(part.is_alpha for part in parts)
    size = shape.coded if shape.crop else (shape.width, shape.height)
    coded = scaler.reformat(
        frame,
        width=size[0],
        height=size[1],
        format={0: "rgb24", 1: "rgb48le", 2: "rgba", 3: "rgba64le"}[deep + 2 * clear],
        src_colorspace=_matrix(frame),
        interpolation=_REDUCER if shape.is_reduced else SCALER,
    ).to_ndarray()
    pixels = coded.astype(np.float32) / np.float32(65535 if deep else 255)
    if wide:
        pixels[..., :3] = to_standard(coded[..., :3], frame.color_trc, frame.color_primaries)
    if shape.crop:
        pixels = resize(_cut(pixels, shape.crop), shape.width, shape.height)
    turns = shape.rotation // 90
    return np.ascontiguousarray(np.rot90(pixels, -turns)) if turns else pixels


def _cut(pixels: Image, crop: Crop) -> Image:
    height, width = pixels.shape[:2]
    return pixels[crop.top : height - crop.bottom, crop.left : width - crop.right]


def _matrix(frame: VideoFrame) -> int:
    """Return the YUV matrix as tagged; untagged frames of 720 lines and more are BT.709."""
    if frame.colorspace in _MATRICES:
        return int(frame.colorspace)
    return _BT709 if frame.height >= 720 else _BT601
