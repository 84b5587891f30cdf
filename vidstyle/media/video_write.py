"""Video files written: the picture beside the source's own sound, at the source's own times.

The number of threads is fixed and every writer's own mark is off, so that the same frames give the
same bytes on the same machine.
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
from vidstyle.media.clip import MOVIES, Clip, output_times
from vidstyle.media.codecs import OutputFormat
from vidstyle.media.decode import FAULTS, SCALER, main_stream, open_video, reason
from vidstyle.media.film import candidates
from vidstyle.media.remux import Carrier, Window, copy_tags
from vidstyle.media.timestamps import packet_timeline

__all__ = ["Trial", "try_movie", "write_movie", "writing_media"]

_RGB, _BT709, _TV, _FULL = 0, 1, 1, 2
_THREADS = 4
_TRIAL_SIZE = (128, 96)  # pixels, width and height: every encoder takes it
_TOLERANCE = 0.001  # seconds that a timestamp may move: containers keep milliseconds


@contextmanager
def writing_media(path: Path) -> Iterator[None]:
    """Turn a refusal of the disk or of an encoder into an OutputError."""
    try:
        with writing(path):
            yield
    except av.error.FFmpegError as error:
        raise ContainerError(
            f"cannot write {path}: the encoder refuses ({reason(error)}); "
            "try another kind of output"
        ) from error


def write_movie(
    clip: Clip, indices: range, frames: Iterable[Image], part: Path, form: OutputFormat
) -> list[str]:
    """Write a video file and what else the source holds. Returns what could not be kept.

    frames: with alpha, [H, W, 4], if the form has it. part: its suffix is a key of MOVIES.
    Raises OutputError if the file is not as it should be.
    """
    stamps, end, _ = output_times(clip, indices)
    base = clip.time_base or Fraction(1)
    kind = MOVIES[part.suffix.lower()]
    without = try_movie(clip, indices, kind, form).refused
    quiet = variable("SVT_LOG", "1")  # or libsvtav1 talks of itself
    with writing_media(part), quiet, ExitStack() as stack:
        out = stack.enter_context(_create(f"file:{part}", kind, base))
        movie = _Movie(clip, out, kind, form)
        carrier = _carrier(stack, clip, out, _window(clip, indices), movie.stream, without)
        movie.write(frames, stamps, end, carrier)
    tags = _verify(part, stamps, base)
    if carrier is None:
        return movie.warnings
    carrier.check_tags(tags)
    return movie.warnings + carrier.warnings


class Trial(NamedTuple):
    """What came of a trial. error: what ended it, None if nothing. warnings: as of `write_movie`.

    refused: indices of the source's streams that were left out since the container refuses them.
    """

    error: BaseException | None
    warnings: tuple[str, ...] = ()
    refused: frozenset[int] = frozenset()


def try_movie(
    clip: Clip, indices: range, kind: str, form: OutputFormat, size: tuple[int, int] = _TRIAL_SIZE
) -> Trial:
    """Find which of the source's streams this container refuses at some packet.

    A trial file, of which nothing is kept, gets every packet of the source at its time, one black
    picture at the time of each frame, and its end. kind: a value of MOVIES. size: (width, height)
    of the picture. Raises UsageError if the encoder or the container refuses the picture itself, or
    takes each stream alone but not all of them.
    """
    trial = partial(_trial, clip, indices, kind, form, size)
    found = trial(frozenset())
    if found.error is not None:
        carried = {stream.index for stream in clip.streams}
        alone = ((index, carried - {index}) for index in carried)
        found = trial(frozenset(index for index, rest in alone if trial(frozenset(rest)).error))
    if found.error is not None:
        raise UsageError(
            f"{clip.path}: expected an output that takes frames of {size[0]}x{size[1]} at these "
            f"times, but {form.codec.encoder} in {kind} refuses ({reason(found.error)}); choose "
            "another --size, --codec or output: "
            f"{', '.join(suffix for suffix, other in MOVIES.items() if other != kind)}"
        )
    return found


def _trial(
    clip: Clip,
    indices: range,
    kind: str,
    form: OutputFormat,
    size: tuple[int, int],
    without: frozenset[int],
) -> Trial:
    """Write a trial file without some of the source's streams."""
    stamps, end, _ = output_times(clip, indices)
    try:
        with ExitStack() as stack:
            out = stack.enter_context(_create(_Sink(), kind, clip.time_base or Fraction(1)))
            movie = _Movie(clip, out, kind, form)
            carrier = _carrier(stack, clip, out, _window(clip, indices), movie.stream, without)
            movie.rehearse(size, stamps, end, carrier)
    except FAULTS as error:
        return Trial(error)
    carried = carrier.warnings if carrier else []
    return Trial(None, tuple(movie.warnings + carried), without)


class _Sink:
    """A file that keeps nothing but its length."""

    def __init__(self) -> None:
        self._place = self._length = 0

    def write(self, data: bytes) -> int:
        self._place += len(data)
        self._length = max(self._length, self._place)
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._length}[whence]
        self._place = base + offset
        return self._place

    def tell(self) -> int:
        return self._place


def _window(clip: Clip, indices: range) -> Window:
    """Return the seconds of the source that the frames take, None if these are all."""
    _, end, shift = output_times(clip, indices)
    base = clip.time_base or Fraction(1)
    return None if len(indices) == clip.frames else (shift * base, (shift + end) * base)


def _create(target: str | _Sink, kind: str, base: Fraction) -> OutputContainer:
    options = {"fflags": "+bitexact", "avoid_negative_ts": "disabled"}
    if kind in ("mp4", "mov"):
        options["movie_timescale"] = str(_timescale(base))
        options["write_tmcd"] = "1"  # a timecode, if there is one
        if isinstance(target, str):  # the muxer reads the file again for it
            options["movflags"] = "+faststart"
    return av.open(target, "w", format=kind, options=options)


def _timescale(base: Fraction) -> int:
    """Return ticks a second in which an MP4 may state its start as exactly as its frames."""
    return base.denominator if 1000 <= base.denominator < 2**31 else 1000


def _carrier(
    stack: ExitStack,
    clip: Clip,
    out: OutputContainer,
    window: Window,
    target: VideoStream,
    without: frozenset[int],
) -> Carrier | None:
    """Return what carries the source's other streams; None if it is no video file."""
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
    return Carrier(source, main.index, out, window, without)


class _Movie:
    """The picture stream of an output, and what had to be changed for it."""

    def __init__(self, clip: Clip, out: OutputContainer, kind: str, form: OutputFormat):
        self.warnings: list[str] = []
        self._out, self._output_format = out, form
        self._kind, self._scaler = kind, VideoReformatter()
        self._base = clip.time_base or Fraction(1)
        quality = {} if form.crf is None else {"crf": str(form.crf)}
        stream: Any = out.add_stream(form.codec.encoder, options=form.codec.options | quality)
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
        context.color_range = _FULL if self._full(context.format) else _TV
        if tag := self._output_format.codec.tags.get(self._kind):
            context.codec_tag = tag
        self.stream.time_base = self._base

    @staticmethod
    def _full(pixels: Any) -> bool:
        return pixels.is_rgb or pixels.name.startswith("yuvj")

    def write(
        self, frames: Iterable[Image], stamps: list[int], end: int, carrier: Carrier | None
    ) -> None:
        """Encode the frames, and beside each what the carrier has for that time."""
        self._mux(self._timed(self._packets(frames, stamps), stamps, end), carrier)

    def rehearse(
        self, size: tuple[int, int], stamps: list[int], end: int, carrier: Carrier | None
    ) -> None:
        """Write one black picture again and again in place of the frames."""
        self._mux(self._timed(self._repeated(size, stamps), stamps, end), carrier)

    def _repeated(self, size: tuple[int, int], stamps: list[int]) -> Iterator[Any]:
        image = np.zeros((*size[::-1], 4 if self._output_format.alpha else 3), np.float32)
        data = bytes(next(self._packets([image], stamps[:1])))
        for stamp in stamps:
            packet = av.Packet(data)
            packet.stream, packet.time_base = self.stream, self._base
            packet.pts = packet.dts = stamp
            packet.is_keyframe = True
            yield packet

    def _mux(self, packets: Iterator[Any], carrier: Carrier | None) -> None:
        for packet in packets:
            if carrier and packet.dts is not None:
                carrier.until(Fraction(packet.dts * packet.time_base))
            self._out.mux(packet)
        if carrier:
            carrier.until(None)

    def _timed(self, packets: Iterator[Any], stamps: list[int], end: int) -> Iterator[Any]:
        """Give each packet the duration of its frame.

        An MP4 keeps decoding times, and its length is the sum of their gaps and of the duration of
        the packet stored last; the encoder's gaps are not those between frames where the rate
        varies. So here they are the frames' own times, earlier by what reordering needs.
        """
        durations = [later - stamp for stamp, later in pairwise([*stamps, end])]
        shown = dict(zip(stamps, durations, strict=True))
        reordered = self._output_format.codec.reordered
        waits = (b - a for a, b in zip(stamps, stamps[reordered:], strict=False))
        early = max(waits, default=end - stamps[0]) if reordered else 0
        for place, packet in enumerate(packets):
            packet.duration = shown.get(packet.pts, 0)
            if self._kind in ("mp4", "mov"):
                packet.dts = stamps[place] - early
                packet.duration = packet.duration if place + 1 < len(stamps) else durations[-1]
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
        wide, high = self._odd(width), self._odd(height)
        self.stream.width, self.stream.height = width + wide, height + high
        if wide or high:
            self.warnings.append(
                f"the frame of {width}x{height} was widened to {self.stream.width}x"
                f"{self.stream.height} by repeating its edge: "
                f"{self._output_format.codec.encoder} needs even sizes"
            )

    def _odd(self, side: int) -> int:
        return side % 2 if self._output_format.even else 0

    def _frame(self, image: Image, stamp: int) -> VideoFrame:
        height, width = image.shape[:2]
        deep, clear = self._output_format.depth > 8, image.shape[2] == 4
        pixels = to_uint16(image) if deep else to_bytes(image)
        pixels = np.pad(pixels, ((0, self._odd(height)), (0, self._odd(width)), (0, 0)), "edge")
        name = {0: "rgb24", 1: "rgb48le", 2: "rgba", 3: "rgba64le"}[deep + 2 * clear]
        target = self.stream.codec_context.format
        frame = self._scaler.reformat(
            VideoFrame.from_ndarray(pixels, format=name),
            format=self._output_format.pix_fmt,
            dst_colorspace=_BT709,
            dst_color_range=_FULL if self._full(target) else _TV,
            interpolation=SCALER,
        )
        frame.color_primaries = frame.color_trc = _BT709
        frame.pts, frame.time_base = stamp, self._base
        return frame


def _verify(part: Path, stamps: list[int], base: Fraction) -> dict[str, str]:
    """Read a written file back; return its titles and the like.

    Raises OutputError unless it has these frames at these times.
    """
    with open_video(part) as container:
        tags = dict(container.metadata)
        stream = main_stream(container, part)
        found, _ = packet_timeline(container, stream)
        tick = stream.time_base or base
    if len(found) != len(stamps):
        raise ContainerError(
            f"{part} is not whole: expected {len(stamps)} frames, got {len(found)}; "
            "run the same command again, or choose another kind of output"
        )
    late = max(abs(have * tick - want * base) for have, want in zip(found, stamps, strict=True))
    if late > _TOLERANCE:
        raise ContainerError(
            f"{part}: expected the source's timing, got frames {float(late):.4f} s off; "
            f"choose another kind of output{'' if part.suffix == '.mkv' else ' (.mkv keeps most)'}"
        )
    return tags
