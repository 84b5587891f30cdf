"""Probing of video files: frame times by decoding, or as the packets declare."""

import re
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

from av.container import InputContainer
from av.video.stream import VideoStream

from vidstyle.errors import MediaError
from vidstyle.media.clip import Clip, increasing
from vidstyle.media.decoding.continuity import Timeline
from vidstyle.media.decoding.conversion import Shape
from vidstyle.media.decoding.decode import (
    decoded,
    is_transparent,
    main_stream,
    open_video,
    packets,
    refuse_unknown_colours,
    shape_of,
    streams_of,
    timeline_of,
)
from vidstyle.media.decoding.streams import streams_note
from vidstyle.media.tonemap import HDR

__all__ = ["is_variable", "packet_timeline", "probe_video", "with_declared_times"]

_MAX_MISSING = 0.5  # seconds missing at the end from which a file counts as cut short
_SIGNATURES = {  # first bytes of these formats
    "flv": re.compile(rb"FLV\x01[\x00-\x05]\x00\x00\x00\x09"),
    "matroska,webm": re.compile(rb"\x1a\x45\xdf\xa3.{1,64}?(?:matroska|webm)", re.DOTALL),
}
_TAIL = 1 << 24  # bytes searched after the last packet for another file; an index comes first
_MAX_JITTER = 0.002  # seconds of rounding error in gaps: containers round to milliseconds


@dataclass
class _DecodedTimes:
    """Findings while decoding. reach: seconds at which the last packet of any stream ends.

    index: of the video stream. stamps, end: of its frames, in ticks. stored: decoding times of its
    first packet's start and last packet's end.
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
    alpha: bool = False
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
        self.alpha = self.alpha or is_transparent(frame)
        self.sizes.add((frame.width, frame.height))
        stamp = self.end if frame.pts is None else frame.pts
        self.stamps.append(stamp)
        self.end = stamp + (frame.duration or gap)


def probe_video(path: Path, count: bool) -> Clip:
    """Probe a video file; see `probe`."""
    with open_video(path) as container:
        stream = main_stream(container, path)
        gap, scan = _usual_gap(stream), _DecodedTimes(path, stream.index)
        for frame in decoded(container, stream, scan.faults, scan.see_packet if count else None):
            if not scan.stamps:
                refuse_unknown_colours(path, frame)
            scan.see_frame(frame, stream, gap)
            if not count:
                break
        timeline = timeline_of(container)
        if stream.duration and stream.start_time is not None and "mp4" in container.format.name:
            moved = round(timeline.shift / _time_base(stream))
            scan.declared_end = stream.start_time + stream.duration + moved
        clip = _clip(path, container, stream, scan)
        first_time = scan.stamps[0] * _time_base(stream)
        notes = (*_stream_notes(container, stream, timeline), *_time_notes(timeline, first_time))
        notes += _joined_file_notes(path, container.format.name, timeline.reach)
        cut = _cut_short(container, scan, timeline)
    if count:
        return replace(clip, **_counted(scan, clip), notes=notes + _notes(scan, cut))
    return replace(clip, **_declared(path, clip))


def _usual_gap(stream: VideoStream) -> int:
    """Return the ticks of a frame without a duration, from the frame rate."""
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    return max(1, round(1 / (rate * _time_base(stream))))


def _time_base(stream: VideoStream) -> Fraction:
    return stream.time_base or Fraction(1, 1000)


def _clip(path: Path, container: InputContainer, stream: VideoStream, scan: _DecodedTimes) -> Clip:
    if scan.shape is None:
        why = f" ({scan.faults[0]})" if scan.faults else ""
        raise MediaError(
            f"{path}: expected a video with frames, got one of which none decodes{why}; "
            "try to play it, or get it again from where it came"
        )
    width, height = scan.shape.upright
    return Clip(
        path=path,
        kind="video",
        width=width,
        height=height,
        rate=stream.average_rate or stream.guessed_rate,
        time_base=_time_base(stream),
        frames=stream.frames,
        counted=False,
        rotation=scan.shape.rotation,
        pixel_aspect=scan.shape.pixel_aspect,
        depth=scan.depth,
        alpha=scan.alpha,
        streams=streams_of(container),
    )


def _counted(scan: _DecodedTimes, clip: Clip) -> dict[str, Any]:
    stamps, base = increasing(scan.stamps), clip.time_base or Fraction(1)
    end = _last_end(stamps, scan, base)
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


def _last_end(stamps: list[int], scan: _DecodedTimes, base: Fraction) -> int:
    """Return the end of the last frame.

    An MP4 stores gaps between decoding times: with a variable rate and reordered frames, the last
    packet's duration belongs to another frame. The stream's declared length, rounded to a
    millisecond, is used instead if it equals the stored length or makes no frame the longest.
    """
    end, declared = max(scan.end, stamps[-1] + 1), scan.declared_end
    longest = max((later - earlier for earlier, later in pairwise(stamps)), default=0)
    if declared is None or declared <= stamps[-1] or abs(declared - end) * base < _MAX_JITTER:
        return end
    whole = scan.stored is not None and declared - stamps[0] == scan.stored[1] - scan.stored[0]
    return declared if whole or declared - stamps[-1] <= longest else end


def _declared(path: Path, clip: Clip) -> dict[str, Any]:
    with open_video(path) as container:
        stamps, end = packet_timeline(container, main_stream(container, path))
    if not stamps:
        return {"frames": max(clip.frames, 1)}
    length = (max(end, stamps[-1] + 1) - stamps[0]) * (clip.time_base or Fraction(1))
    rate = clip.rate or Fraction(len(stamps) / length).limit_denominator(100_000)
    return {"frames": len(stamps), "duration": float(length), "rate": rate}


def with_declared_times(clip: Clip) -> Clip:
    """Return an uncounted video with a timestamp for each frame, as the packets declare them."""
    with open_video(clip.path) as container:
        stamps, end = packet_timeline(container, main_stream(container, clip.path))
    if not stamps:
        return clip
    stamps = increasing(stamps)
    last = max(end, stamps[-1] + 1)
    return replace(clip, timestamps=tuple(stamps), end=last, frames=len(stamps))


def is_variable(stamps: list[int], time_base: Fraction) -> bool:
    """Whether the gaps between frames differ by more than rounding."""
    gaps = [later - earlier for earlier, later in pairwise(stamps)]
    if not gaps:
        return False
    return (max(gaps) - min(gaps)) > max(1, _MAX_JITTER / time_base)


def packet_timeline(container: InputContainer, stream: VideoStream) -> tuple[list[int], int]:
    """Return (sorted timestamps, end) as the packets declare, without decoding."""
    faults: list[str] = []
    stamps, end = [], 0
    for packet in packets(container, [stream], faults):
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is not None and packet.size and not packet.is_discard:
            stamps.append(stamp)
            end = max(end, stamp + (packet.duration or 0))
    return sorted(stamps), end


def _cut_short(
    container: InputContainer, scan: _DecodedTimes, timeline: Timeline
) -> tuple[float, float] | None:
    """Return (declared, real) seconds of a file whose end is missing, else None.

    For a file with timestamp jumps, the declared duration is meaningless.
    """
    if timeline.joins:
        return None
    start = max(0, container.start_time or 0) / 1_000_000
    if container.format.name in ("matroska,webm", "nut"):  # their durations count from 0
        start = float(timeline.shift)
    declared, real = (container.duration or 0) / 1_000_000, scan.reach - start
    return (declared, real) if declared - real > _MAX_MISSING else None


def _stream_notes(
    container: InputContainer, stream: VideoStream, timeline: Timeline
) -> tuple[str, ...]:
    declared = streams_note(stream, container, timeline)
    return () if declared is None else (declared,)


def _time_notes(timeline: Timeline, first_time: Fraction) -> tuple[str, ...]:
    """Return notes on changed timestamps. began: seconds of the first main video frame."""
    notes = []
    if timeline.joins:
        first = max(0.0, float(timeline.joins[0] - first_time))
        notes.append(
            f"its timestamps jump {len(timeline.joins)} time(s), first {first:.2f} s after its "
            "start: the parts were joined, with picture, sound and subtitles in sync"
        )
    if timeline.shift:
        notes.append(
            f"its picture starts {float(timeline.shift):.3f} s before time 0: picture, sound and "
            "subtitles were shifted together so that it starts at 0"
        )
    return tuple(notes)


def _joined_file_notes(path: Path, format_name: str, reach: int) -> tuple[str, ...]:
    """Return a note on another file appended to this one, which FFmpeg does not read."""
    if format_name not in _SIGNATURES:
        return ()
    with path.open("rb") as file:
        file.seek(reach)
        found = _SIGNATURES[format_name].search(file.read(_TAIL))
    if found is None:
        return ()
    return (
        f"another file was appended to it at byte {reach + found.start()} and is not read: join "
        "them with ffmpeg's concat demuxer instead",
    )


def _notes(scan: _DecodedTimes, cut: tuple[float, float] | None) -> tuple[str, ...]:
    notes = []
    if cut:
        notes.append(f"declares {cut[0]:.2f} s but ends after {cut[1]:.2f} s: it may be cut short")
    if scan.faults:
        count = len(scan.faults)
        notes.append(f"{count} damaged place(s) skipped (the first: {scan.faults[0]})")
    if scan.corrupt:
        notes.append(f"{scan.corrupt} frame(s) are partly damaged")
    if len(scan.sizes) > 1 and scan.shape:
        notes.append(
            f"the frame size changes: all frames become "
            f"{scan.shape.upright[0]}x{scan.shape.upright[1]}"
        )
    if scan.transfer:
        notes.append(f"high dynamic range ({scan.transfer}) is tone-mapped to standard range")
    if scan.interlaced:
        notes.append("interlaced: frames are not deinterlaced")
    return tuple(notes)
