"""When the frames of a video are shown: as they decode, or as its packets promise."""

import re
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

from av.container import InputContainer
from av.video.stream import VideoStream

from vidstyle.errors import MediaError
from vidstyle.media.clip import Clip, strictly_increasing
from vidstyle.media.continuity import Timeline
from vidstyle.media.decode import (
    Shape,
    decoded,
    has_transparent_pixels,
    main_stream,
    open_video,
    packets,
    refuse_unknown_colours,
    shape_of,
    streams_of,
    timeline_of,
)
from vidstyle.media.film import told_of
from vidstyle.media.tonemap import HDR

__all__ = ["is_variable", "packet_timeline", "probe_video"]

_MISSING = 0.5  # seconds that may lack at the end before a file is called cut short
_HEADS = {  # how a file of these formats begins
    "flv": re.compile(rb"FLV\x01[\x00-\x05]\x00\x00\x00\x09"),
    "matroska,webm": re.compile(rb"\x1a\x45\xdf\xa3.{1,64}?(?:matroska|webm)", re.DOTALL),
}
_TAIL = 1 << 24  # bytes after the last packet in which another file may begin: an index comes first
_STEADY = 0.002  # seconds that gaps may differ by rounding alone: containers keep milliseconds


@dataclass
class _Line:
    """What decoding shows. reach: seconds at which the last packet of any stream ends.

    index: of the picture stream; stored: when the first of its packets is decoded, and when the
    last one's time is over.
    """

    path: Path
    index: int
    stamps: list[int] = field(default_factory=list)
    end: int = 0
    shape: Shape | None = None
    faults: list[str] = field(default_factory=list)
    reach: float = 0.0
    sizes: set[tuple[int, int]] = field(default_factory=set)
    transfer: str | None = None
    interlaced: bool = False
    corrupt: int = 0
    depth: int = 8
    clear: bool = False
    declared_end: int | None = None
    stored: tuple[int, int] | None = None

    def see_packet(self, packet: Any) -> None:
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is not None and packet.time_base:
            end = float((stamp + (packet.duration or 0)) * packet.time_base)
            self.reach = max(self.reach, end)
        if packet.dts is not None and packet.stream.index == self.index:
            first = self.stored[0] if self.stored else packet.dts
            self.stored = (first, packet.dts + (packet.duration or 0))

    def see_frame(self, frame: Any, stream: VideoStream, gap: int) -> None:
        self.shape = self.shape or shape_of(self.path, frame, stream)
        self.transfer = self.transfer or HDR.get(frame.color_trc)
        self.interlaced = self.interlaced or frame.interlaced_frame
        self.corrupt += frame.is_corrupt
        self.depth = max(self.depth, *(part.bits for part in frame.format.components))
        self.clear = self.clear or has_transparent_pixels(frame)
        self.sizes.add((frame.width, frame.height))
        stamp = self.end if frame.pts is None else frame.pts
        self.stamps.append(stamp)
        self.end = stamp + (frame.duration or gap)


def probe_video(path: Path, count: bool) -> Clip:
    """Probe a video file; see `probe`."""
    with open_video(path) as container:
        stream = main_stream(container, path)
        gap, line = _usual_gap(stream), _Line(path, stream.index)
        for frame in decoded(container, stream, line.faults, line.see_packet if count else None):
            if not line.stamps:
                refuse_unknown_colours(path, frame)
            line.see_frame(frame, stream, gap)
            if not count:
                break
        timeline = timeline_of(container)
        if stream.duration and stream.start_time is not None and "mp4" in container.format.name:
            moved = round(timeline.shift / _time_base(stream))
            line.declared_end = stream.start_time + stream.duration + moved
        clip = _clip(path, container, stream, line)
        began = line.stamps[0] * _time_base(stream)
        notes = (*_of_streams(container, stream, timeline), *_of_time(timeline, began))
        notes += _unread(path, container.format.name, timeline.reach)
        cut = _cut_short(container, line, timeline)
    if count:
        return replace(clip, **_counted(line, clip), notes=notes + _notes(line, cut))
    return replace(clip, **_promised(path, clip))


def _usual_gap(stream: VideoStream) -> int:
    """Return the ticks of a frame that does not say how long it is."""
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    return max(1, round(1 / (rate * _time_base(stream))))


def _time_base(stream: VideoStream) -> Fraction:
    return stream.time_base or Fraction(1, 1000)


def _clip(path: Path, container: InputContainer, stream: VideoStream, line: _Line) -> Clip:
    if line.shape is None:
        why = f" ({line.faults[0]})" if line.faults else ""
        raise MediaError(
            f"{path}: expected a video with frames, got one of which none decodes{why}; "
            "try to play it, or get it again from where it came"
        )
    width, height = line.shape.upright
    return Clip(
        path=path,
        kind="video",
        width=width,
        height=height,
        rate=stream.average_rate or stream.guessed_rate,
        time_base=_time_base(stream),
        frames=stream.frames,
        counted=False,
        rotation=line.shape.rotation,
        pixel_aspect=line.shape.pixel_aspect,
        depth=line.depth,
        alpha=line.clear,
        streams=streams_of(container),
    )


def _counted(line: _Line, clip: Clip) -> dict[str, Any]:
    stamps, base = strictly_increasing(line.stamps), clip.time_base or Fraction(1)
    end = _true_end(stamps, line, base)
    length = (end - stamps[0]) * base
    return {
        "timestamps": tuple(stamps),
        "end": end,
        "frames": len(stamps),
        "counted": True,
        "variable": is_variable(stamps, base),
        "duration": float(length),
        "rate": clip.rate or Fraction(len(stamps) / length).limit_denominator(100_000),
    }


def _true_end(stamps: list[int], line: _Line, base: Fraction) -> int:
    """Return where the last frame ends.

    An MP4 keeps gaps between decoding times: with a varying rate and reordered frames the last
    frame's own is another frame's, and the stream's whole length, kept to a millisecond, says
    better; if it is the length of what is there, or else makes no frame the longest.
    """
    end, told = max(line.end, stamps[-1] + 1), line.declared_end
    longest = max((later - earlier for earlier, later in pairwise(stamps)), default=0)
    if told is None or told <= stamps[-1] or abs(told - end) * base < _STEADY:
        return end
    whole = line.stored is not None and told - stamps[0] == line.stored[1] - line.stored[0]
    return told if whole or told - stamps[-1] <= longest else end


def _promised(path: Path, clip: Clip) -> dict[str, Any]:
    with open_video(path) as container:
        stamps, end = packet_timeline(container, main_stream(container, path))
    if not stamps:
        return {"frames": max(clip.frames, 1)}
    length = (max(end, stamps[-1] + 1) - stamps[0]) * (clip.time_base or Fraction(1))
    rate = clip.rate or Fraction(len(stamps) / length).limit_denominator(100_000)
    return {"frames": len(stamps), "duration": float(length), "rate": rate}


def is_variable(stamps: list[int], time_base: Fraction) -> bool:
    """Tell whether the gaps between frames differ by more than rounding."""
    gaps = [later - earlier for earlier, later in pairwise(stamps)]
    if not gaps:
        return False
    return (max(gaps) - min(gaps)) > max(1, _STEADY / time_base)


def packet_timeline(container: InputContainer, stream: VideoStream) -> tuple[list[int], int]:
    """Return (sorted timestamps, end) as the packets promise, without decoding."""
    faults: list[str] = []
    stamps, end = [], 0
    for packet in packets(container, [stream], faults):
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is not None and packet.size and not packet.is_discard:
            stamps.append(stamp)
            end = max(end, stamp + (packet.duration or 0))
    return sorted(stamps), end


def _cut_short(
    container: InputContainer, line: _Line, timeline: Timeline
) -> tuple[float, float] | None:
    """Return the (promised, real) seconds of a file whose end is missing.

    What a file with jumps of its clock promises is the clock's length, not its own.
    """
    if timeline.joins:
        return None
    start = max(0, container.start_time or 0) / 1_000_000
    if container.format.name in ("matroska,webm", "nut"):  # their durations count from 0
        start = float(timeline.shift)
    promised, real = (container.duration or 0) / 1_000_000, line.reach - start
    return (promised, real) if promised - real > _MISSING else None


def _of_streams(
    container: InputContainer, stream: VideoStream, timeline: Timeline
) -> tuple[str, ...]:
    told = told_of(stream, container, timeline)
    return () if told is None else (told,)


def _of_time(timeline: Timeline, began: Fraction) -> tuple[str, ...]:
    """Return a sentence on each change of the times that the file says. began: of the film, s."""
    notes = []
    if timeline.joins:
        first = max(0.0, float(timeline.joins[0] - began))
        notes.append(
            f"its clock jumps {len(timeline.joins)} time(s), first {first:.2f} s after its "
            "beginning: the parts follow one another, picture, sound and subtitles together"
        )
    if timeline.shift:
        notes.append(
            f"its picture begins {float(timeline.shift):.3f} s before time 0: picture, sound and "
            "subtitles are shifted together so that it begins at 0"
        )
    return tuple(notes)


def _unread(path: Path, format_name: str, reach: int) -> tuple[str, ...]:
    """Return a sentence on a file that was joined to this one, which FFmpeg does not go on to."""
    if format_name not in _HEADS:
        return ()
    with path.open("rb") as file:
        file.seek(reach)
        found = _HEADS[format_name].search(file.read(_TAIL))
    if found is None:
        return ()
    return (
        f"another file was joined to it at byte {reach + found.start()} and is not read: join them "
        "with ffmpeg's concat demuxer in place of byte by byte",
    )


def _notes(line: _Line, cut: tuple[float, float] | None) -> tuple[str, ...]:
    notes = []
    if cut:
        notes.append(f"promises {cut[0]:.2f} s but ends after {cut[1]:.2f} s: it may be cut short")
    if line.faults:
        count = len(line.faults)
        notes.append(f"{count} damaged place(s) passed over (the first: {line.faults[0]})")
    if line.corrupt:
        notes.append(f"{line.corrupt} frame(s) are damaged in part, as decoded")
    if len(line.sizes) > 1 and line.shape:
        notes.append(
            f"the frame size changes on the way: all become "
            f"{line.shape.upright[0]}x{line.shape.upright[1]}"
        )
    if line.transfer:
        notes.append(f"high dynamic range ({line.transfer}) is mapped down to standard range")
    if line.interlaced:
        notes.append("interlaced: both fields of a frame are kept as they are")
    return tuple(notes)
