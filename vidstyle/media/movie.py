"""Video files written: H.264 or VP9 beside the source's own sound, at the source's own times.

The number of threads is fixed and every writer's own mark is off, so that the same frames give the
same bytes on the same machine.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from vidstyle.errors import OutputError, writing
from vidstyle.media.clip import MOVIES, Clip, Image, span
from vidstyle.media.stills import to_bytes
from vidstyle.media.streams import Carrier, Window, copy_tags
from vidstyle.media.timing import packet_timeline
from vidstyle.media.video import SCALER, main_stream, open_video, reason

__all__ = ["write_movie", "writing_media"]

_BT709, _TV = 1, 1
_REORDERED = 2  # places by which x264 stores a frame before it is shown, at most
_THREADS = 4
_TOLERANCE = 0.001  # seconds that a timestamp may move: containers keep milliseconds
_X264 = {"preset": "medium", "mbtree": "0"}  # with mbtree, frames under 112 pixels varied in bytes
_VP9 = {"b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"}


@dataclass(frozen=True)
class _Codec:
    name: str
    crf: int
    worst: int
    options: dict[str, str]


_CODECS = {
    "mp4": _Codec("libx264", 18, 51, _X264),
    "mov": _Codec("libx264", 18, 51, _X264),
    "matroska": _Codec("libx264", 18, 51, _X264),
    "webm": _Codec("libvpx-vp9", 24, 63, _VP9),
}


@contextmanager
def writing_media(path: Path) -> Iterator[None]:
    """Turn a refusal of the disk or of an encoder into an OutputError of one sentence."""
    try:
        with writing(path):
            yield
    except av.error.FFmpegError as error:
        raise OutputError(
            f"cannot write {path}: the encoder refuses ({reason(error)}); "
            "try another kind of output"
        ) from error


def write_movie(
    clip: Clip, indices: range, frames: Iterable[Image], part: Path, crf: int | None
) -> list[str]:
    """Write a video file and what else the source holds. Returns what could not be kept.

    part: its suffix is a key of MOVIES. Raises OutputError if the file is not as it should be.
    """
    stamps, end, shift = span(clip, indices)
    base = clip.time_base or Fraction(1)
    whole = len(indices) == clip.frames
    window = None if whole else (shift * base, (shift + end) * base)
    kind = MOVIES[part.suffix.lower()]
    with writing_media(part), ExitStack() as stack:
        out = stack.enter_context(_create(part, kind, base))
        movie = _Movie(clip, out, kind, crf)
        carrier = _carrier(stack, clip, out, window, movie.stream)
        movie.write(frames, stamps, end, carrier)
    _verify(part, stamps, base)
    return movie.warnings + (carrier.warnings if carrier else [])


def _create(part: Path, kind: str, base: Fraction) -> OutputContainer:
    options = {"fflags": "+bitexact", "avoid_negative_ts": "disabled"}
    if kind in ("mp4", "mov"):
        options |= {"movflags": "+faststart", "movie_timescale": str(_timescale(base))}
    return av.open(f"file:{part}", "w", format=kind, options=options)


def _timescale(base: Fraction) -> int:
    """Return ticks a second in which an MP4 may state its start as exactly as its frames."""
    return base.denominator if 1000 <= base.denominator < 2**31 else 1000


def _carrier(
    stack: ExitStack, clip: Clip, out: OutputContainer, window: Window, target: VideoStream
) -> Carrier | None:
    """Return what carries the source's other streams; None if it is no video file."""
    if clip.kind != "video":
        return None
    source = stack.enter_context(open_video(clip.path))
    main = main_stream(source, clip.path)
    copy_tags(main.metadata, target.metadata)
    return Carrier(source, main.index, out, window)


class _Movie:
    """The picture stream of an output, and what had to be changed for it."""

    def __init__(self, clip: Clip, out: OutputContainer, kind: str, crf: int | None):
        self.warnings: list[str] = []
        self._out, self._codec = out, _CODECS[kind]
        self._kind, self._scaler = kind, VideoReformatter()
        self._base = clip.time_base or Fraction(1)
        options = {**self._codec.options, "crf": str(self._quality(crf))}
        stream: Any = out.add_stream(self._codec.name, options=options)
        self.stream: VideoStream = stream
        self._prepare(self.stream.codec_context, clip)

    def _quality(self, crf: int | None) -> int:
        if crf is None:
            return self._codec.crf
        if crf > self._codec.worst:
            self.warnings.append(
                f"--crf: {self._codec.name} goes up to {self._codec.worst}, which was used "
                f"in place of {crf}"
            )
        return min(crf, self._codec.worst)

    def _prepare(self, context: Any, clip: Clip) -> None:
        context.time_base = self._base
        context.framerate = clip.rate or Fraction(25)
        context.pix_fmt = "yuv420p"
        context.thread_count = _THREADS
        context.flags |= av.codec.context.Flags.bitexact
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _TV
        self.stream.time_base = self._base

    def write(
        self, frames: Iterable[Image], stamps: list[int], end: int, carrier: Carrier | None
    ) -> None:
        """Encode the frames, and beside each what the carrier has for that time."""
        for packet in self._timed(self._packets(frames, stamps), stamps, end):
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
        waits = (b - a for a, b in zip(stamps, stamps[_REORDERED:], strict=False))
        early = max(waits, default=end - stamps[0])
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
        self.stream.width, self.stream.height = width + width % 2, height + height % 2
        if width % 2 or height % 2:
            self.warnings.append(
                f"the frame of {width}x{height} was widened to {self.stream.width}x"
                f"{self.stream.height} by repeating its edge: video needs even sizes"
            )

    def _frame(self, image: Image, stamp: int) -> VideoFrame:
        height, width = image.shape[:2]
        pixels = np.pad(to_bytes(image), ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = self._scaler.reformat(
            VideoFrame.from_ndarray(pixels, format="rgb24"),
            format="yuv420p",
            dst_colorspace=_BT709,
            dst_color_range=_TV,
            interpolation=SCALER,
        )
        frame.color_primaries = frame.color_trc = _BT709
        frame.pts, frame.time_base = stamp, self._base
        return frame


def _verify(part: Path, stamps: list[int], base: Fraction) -> None:
    """Read a written file back. Raises OutputError unless it has these frames at these times."""
    with open_video(part) as container:
        stream = main_stream(container, part)
        found, _ = packet_timeline(container, stream)
        tick = stream.time_base or base
    if len(found) != len(stamps):
        raise OutputError(
            f"{part} is not whole: expected {len(stamps)} frames, got {len(found)}; "
            "run the same command again, or choose another kind of output"
        )
    late = max(abs(have * tick - want * base) for have, want in zip(found, stamps, strict=True))
    if late > _TOLERANCE:
        raise OutputError(
            f"{part}: expected the source's timing, got frames {float(late):.4f} s off; "
            "choose another kind of output (.mkv keeps most)"
        )
