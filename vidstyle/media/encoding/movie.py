"""Video encoding: the output frames at the source's times, muxed with its other streams.

The thread count is fixed and encoder signatures are off, so that the same frames give the same
bytes on the same machine.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import av
import av.error
import numpy as np
from av.container import OutputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from vidstyle.environment import variable
from vidstyle.errors import ContainerError, UsageError, writing
from vidstyle.image import Image, to_bytes, to_uint16
from vidstyle.media.clip import Clip, output_times
from vidstyle.media.codecs import OutputFormat
from vidstyle.media.containers import MOVIES
from vidstyle.media.decoding.conversion import SCALER
from vidstyle.media.decoding.decode import FAULTS, main_stream, open_video, reason
from vidstyle.media.decoding.streams import candidates
from vidstyle.media.decoding.timestamps import packet_timeline
from vidstyle.media.encoding.remux import Remuxer, Window, copy_tags

__all__ = ["Trial", "try_movie", "write_movie", "writing_media"]

_RGB, _BT709, _LIMITED, _FULL = 0, 1, 1, 2
_THREADS = 4
_TRIAL_SIZE = (128, 96)  # pixels, width and height; every encoder accepts it
_TOLERANCE = 0.001  # seconds of timestamp error: containers round to milliseconds


@contextmanager
def writing_media(path: Path) -> Iterator[None]:
    """Convert errors of the disk or of an encoder to OutputError."""
    try:
        with writing(path):
            yield
    except av.error.FFmpegError as error:
        raise ContainerError(
            f"cannot write {path}: the encoder refuses ({reason(error)}); "
            "try another kind of output"
        ) from error


def write_movie(
    clip: Clip, indices: range, frames: Iterable[Image], part: Path, output_format: OutputFormat
) -> list[str]:
    """Write a video file with the source's other streams. Returns a warning per loss.

    frames: [H, W, 3], or with alpha [H, W, 4] if the format has it. part: its suffix is a key of
    MOVIES. Raises OutputError if the file does not read back as expected.
    """
    stamps, end, _ = output_times(clip, indices)
    base = clip.time_base or Fraction(1)
    kind = MOVIES[part.suffix.lower()]
    without = try_movie(clip, indices, kind, output_format).refused
    quiet = variable("SVT_LOG", "1")  # silences libsvtav1's banner
    with writing_media(part), quiet, ExitStack() as stack:
        out = stack.enter_context(_create(f"file:{part}", kind, base))
        movie = _Movie(clip, out, kind, output_format)
        remuxer = _remuxer(stack, clip, out, _window(clip, indices), movie.stream, without)
        movie.write(frames, stamps, end, remuxer)
    tags = _verify(part, stamps, base)
    if remuxer is None:
        return movie.warnings
    remuxer.check_tags(tags)
    return movie.warnings + remuxer.warnings


class Trial(NamedTuple):
    """Result of a trial file. error: the exception that ended it. warnings: as of `write_movie`.

    refused: indices of source streams that were omitted because the container refuses them.
    """

    error: BaseException | None
    warnings: tuple[str, ...] = ()
    refused: frozenset[int] = frozenset()


def try_movie(
    clip: Clip,
    indices: range,
    kind: str,
    output_format: OutputFormat,
    size: tuple[int, int] = _TRIAL_SIZE,
) -> Trial:
    """Find the source streams that this container refuses at some packet.

    A trial file, written to a null target, gets every packet of the source, one black frame at each
    frame's time, and a trailer. kind: a value of MOVIES. size: (width, height) of the frames.
    Raises UsageError if the encoder or container refuses the frames, or accepts each stream alone
    but not all together.
    """
    trial = partial(_trial, clip, indices, kind, output_format, size)
    found = trial(frozenset())
    if found.error is not None:
        carried = {stream.index for stream in clip.streams}
        alone = ((index, carried - {index}) for index in carried)
        found = trial(frozenset(index for index, rest in alone if trial(frozenset(rest)).error))
    if found.error is not None:
        raise UsageError(
            f"{clip.path}: expected an output that takes frames of {size[0]}x{size[1]} at these "
            f"times, but {output_format.codec.encoder} in {kind} refuses them "
            f"({reason(found.error)}); "
            "choose another --size, --codec or output: "
            f"{', '.join(suffix for suffix, other in MOVIES.items() if other != kind)}"
        )
    return found


def _trial(
    clip: Clip,
    indices: range,
    kind: str,
    output_format: OutputFormat,
    size: tuple[int, int],
    without: frozenset[int],
) -> Trial:
    """Write a trial file that omits some of the source's streams."""
    stamps, end, _ = output_times(clip, indices)
    try:
        with ExitStack() as stack:
            out = stack.enter_context(_create(_Sink(), kind, clip.time_base or Fraction(1)))
            movie = _Movie(clip, out, kind, output_format)
            remuxer = _remuxer(stack, clip, out, _window(clip, indices), movie.stream, without)
            movie.write_trial(size, stamps, end, remuxer)
    except FAULTS as error:
        return Trial(error)
    carried = remuxer.warnings if remuxer else []
    return Trial(None, tuple(movie.warnings + carried), without)


class _Sink:
    """A writable, seekable file that discards its content."""

    def __init__(self) -> None:
        self._position = self._length = 0

    def write(self, data: bytes) -> int:
        self._position += len(data)
        self._length = max(self._length, self._position)
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._length}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position


def _window(clip: Clip, indices: range) -> Window:
    """Return the time interval of the frames in the source, in seconds; None if it is all."""
    _, end, shift = output_times(clip, indices)
    base = clip.time_base or Fraction(1)
    return None if len(indices) == clip.frames else (shift * base, (shift + end) * base)


def _create(target: str | _Sink, kind: str, base: Fraction) -> OutputContainer:
    options = {"fflags": "+bitexact", "avoid_negative_ts": "disabled"}
    if kind in ("mp4", "mov"):
        options["movie_timescale"] = str(_timescale(base))
        options["write_tmcd"] = "1"  # a timecode track, if the source has a timecode
        if isinstance(target, str):  # needs a file that can be read again
            options["movflags"] = "+faststart"
    return av.open(target, "w", format=kind, options=options)


def _timescale(base: Fraction) -> int:
    """Return the movie timescale (ticks per second) of an MP4: exact for the frame times."""
    return base.denominator if 1000 <= base.denominator < 2**31 else 1000


def _remuxer(
    stack: ExitStack,
    clip: Clip,
    out: OutputContainer,
    window: Window,
    target: VideoStream,
    without: frozenset[int],
) -> Remuxer | None:
    """Return the remuxer of the source's other streams; None unless it is a video file."""
    if clip.kind != "video":
        return None
    source = stack.enter_context(open_video(clip.path))
    main = main_stream(source, clip.path)
    copy_tags(main.metadata, target.metadata)
    target.disposition = main.disposition
    if len(candidates(source)) > 1:
        target.disposition |= Disposition.default
    if window is None and "timecode" in main.metadata:
        target.metadata["timecode"] = main.metadata["timecode"]
    return Remuxer(source, main.index, out, window, without)


class _Movie:
    """The video stream of an output, and warnings about changes made to the frames."""

    def __init__(self, clip: Clip, out: OutputContainer, kind: str, output_format: OutputFormat):
        self.warnings: list[str] = []
        self._out, self._output_format = out, output_format
        self._kind, self._scaler = kind, VideoReformatter()
        self._base = clip.time_base or Fraction(1)
        quality = {} if output_format.crf is None else {"crf": str(output_format.crf)}
        stream: Any = out.add_stream(
            output_format.codec.encoder, options=output_format.codec.options | quality
        )
        self.stream: VideoStream = stream
        self._prepare(self.stream.codec_context, clip)

    def _prepare(self, context: Any, clip: Clip) -> None:
        context.time_base = self._base
        context.framerate = clip.rate or Fraction(25)
        context.pix_fmt = self._output_format.pix_fmt
        context.thread_count = _THREADS
        context.flags |= av.codec.context.Flags.bitexact
        context.color_primaries = context.color_trc = _BT709
        context.colorspace = _RGB if context.format.is_rgb else _BT709
        context.color_range = _FULL if self._full(context.format) else _LIMITED
        if tag := self._output_format.codec.tags.get(self._kind):
            context.codec_tag = tag
        self.stream.time_base = self._base

    @staticmethod
    def _full(pixels: Any) -> bool:
        return pixels.is_rgb or pixels.name.startswith("yuvj")

    def write(
        self, frames: Iterable[Image], stamps: list[int], end: int, remuxer: Remuxer | None
    ) -> None:
        """Encode the frames and mux the remuxer's packets in time order."""
        self._mux(self._with_durations(self._packets(frames, stamps), stamps, end), remuxer)

    def write_trial(
        self, size: tuple[int, int], stamps: list[int], end: int, remuxer: Remuxer | None
    ) -> None:
        """Encode one black frame and mux it at the time of every frame."""
        self._mux(self._with_durations(self._repeated(size, stamps), stamps, end), remuxer)

    def _repeated(self, size: tuple[int, int], stamps: list[int]) -> Iterator[Any]:
        image = np.zeros((*size[::-1], 4 if self._output_format.alpha else 3), np.float32)
        data = bytes(next(self._packets([image], stamps[:1])))
        for stamp in stamps:
            packet = av.Packet(data)
            packet.stream, packet.time_base = self.stream, self._base
            packet.pts = packet.dts = stamp
            packet.is_keyframe = True
            yield packet

    def _mux(self, packets: Iterator[Any], remuxer: Remuxer | None) -> None:
        for packet in packets:
            if remuxer and packet.dts is not None:
                remuxer.until(Fraction(packet.dts * packet.time_base))
            self._out.mux(packet)
        if remuxer:
            remuxer.until(None)

    def _with_durations(self, packets: Iterator[Any], stamps: list[int], end: int) -> Iterator[Any]:
        """Set the duration of each packet to that of its frame.

        An MP4's length is the sum of the gaps between decoding times plus the duration of the last
        packet stored; at a variable rate the encoder's gaps differ from those between frames. So
        MP4 decoding times are set to the frames' display times minus the reordering delay.
        """
        durations = [later - stamp for stamp, later in pairwise([*stamps, end])]
        by_pts = dict(zip(stamps, durations, strict=True))
        reorder = self._output_format.codec.max_reorder
        waits = (b - a for a, b in zip(stamps, stamps[reorder:], strict=False))
        delay = max(waits, default=end - stamps[0]) if reorder else 0
        for index, packet in enumerate(packets):
            packet.duration = by_pts.get(packet.pts, 0)
            if self._kind in ("mp4", "mov"):
                packet.dts = stamps[index] - delay
                packet.duration = packet.duration if index + 1 < len(stamps) else durations[-1]
            yield packet

    def _packets(self, frames: Iterable[Image], stamps: list[int]) -> Iterator[Any]:
        height, width = 0, 0
        for image, stamp in zip(frames, stamps, strict=True):
            if not width:
                height, width = image.shape[:2]
                self._set_size(width, height)
            yield from self.stream.encode(self._frame(image, stamp))
        yield from self.stream.encode(None)

    def _set_size(self, width: int, height: int) -> None:
        wide, high = self._padding(width), self._padding(height)
        self.stream.width, self.stream.height = width + wide, height + high
        if wide or high:
            self.warnings.append(
                f"the frame of {width}x{height} was widened to {self.stream.width}x"
                f"{self.stream.height} by repeating its edge: "
                f"{self._output_format.codec.encoder} needs even sizes"
            )

    def _padding(self, side: int) -> int:
        return side % 2 if self._output_format.even else 0

    def _frame(self, image: Image, stamp: int) -> VideoFrame:
        height, width = image.shape[:2]
        deep, alpha = self._output_format.depth > 8, image.shape[2] == 4
        pixels = to_uint16(image) if deep else to_bytes(image)
        padding = ((0, self._padding(height)), (0, self._padding(width)), (0, 0))
        pixels = np.pad(pixels, padding, "edge")
        name = {0: "rgb24", 1: "rgb48le", 2: "rgba", 3: "rgba64le"}[deep + 2 * alpha]
        target = self.stream.codec_context.format
        frame = self._scaler.reformat(
            VideoFrame.from_ndarray(pixels, format=name),
            format=self._output_format.pix_fmt,
            dst_colorspace=_BT709,
            dst_color_range=_FULL if self._full(target) else _LIMITED,
            interpolation=SCALER,
        )
        frame.color_primaries = frame.color_trc = _BT709
        frame.pts, frame.time_base = stamp, self._base
        return frame


def _verify(part: Path, stamps: list[int], base: Fraction) -> dict[str, str]:
    """Read a written file back; return its container tags.

    Raises OutputError unless it has these frames at these times.
    """
    with open_video(part) as container:
        tags = dict(container.metadata)
        stream = main_stream(container, part)
        stamps_found, _ = packet_timeline(container, stream)
        tick = stream.time_base or base
    if len(stamps_found) != len(stamps):
        raise ContainerError(
            f"{part} is not whole: expected {len(stamps)} frames, got {len(stamps_found)}; "
            "run the same command again, or choose another kind of output"
        )
    error = max(
        abs(have * tick - want * base) for have, want in zip(stamps_found, stamps, strict=True)
    )
    if error > _TOLERANCE:
        raise ContainerError(
            f"{part}: expected the source's timing, got frames {float(error):.4f} s off; "
            f"choose another kind of output{'' if part.suffix == '.mkv' else ' (.mkv keeps most)'}"
        )
    return tags
