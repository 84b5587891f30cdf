"""Timestamp discontinuities: where packet times jump, and the offsets that join the segments.

The clock of a concatenated MPEG-TS or VOB file restarts at each join; that of a recording wraps.
As with FFmpeg's `ts_discontinuity_detect`, one offset is added to all streams from a jump on.
Differs: all packets are scanned first, each stream enters a segment at its own first packet in
the segment, and the offset is the smallest at which no stream overlaps itself, which keeps sync.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple

from av.stream import Disposition

__all__ = ["Clock", "Continuity", "Timeline"]

_BACK = 0.1  # seconds that decoding times may go back without a restart: muxer jitter
_REORDERED = 8  # frames by which times are reordered in containers without decoding times
_NEAR = 0.5  # seconds between adjacent packets of two streams
_CONTIGUOUS = 0.1  # seconds between a packet's expected and actual time without a gap
_REACH = 10.0  # seconds by which interleaved streams may be apart
_STRAY = 8  # runs in other segments after which a stream may still return to one
_HEAD = 32  # first packets of a stream, which include its first displayed frame
_RESTARTING = ("mpegts", "mpeg")  # formats whose clock may jump anywhere
_JUMP, _RARE_JUMP = 600.0, 3600.0  # seconds ahead that count as a jump: in these formats, in others


@dataclass(frozen=True)
class Timeline:
    """Offsets that make a file's packet times continuous, and other findings of the packet scan.

    offsets: by stream index, (number of the first packet, seconds to add), ascending; empty if no
    time changes. joins: seconds at which a segment follows another. shift: seconds added to all
    times so that no frame precedes 0.
    packets, seconds: packet count and length, by stream index. reach: end of the last packet, in
    bytes from the start of the file.
    """

    offsets: dict[int, tuple[tuple[int, Fraction], ...]]
    joins: tuple[Fraction, ...]
    shift: Fraction
    packets: dict[int, int]
    seconds: dict[int, float]
    reach: int


class Clock:
    """Applies a timeline to packets passed in demuxing order."""

    def __init__(self, timeline: Timeline) -> None:
        self._offsets = timeline.offsets
        self._seen: Counter[int] = Counter()

    def set(self, packet: Any) -> None:
        """Add the offset to a packet's pts and dts."""
        offsets = self._offsets.get(packet.stream_index)
        if offsets is None or not packet.size:
            return
        number = self._seen[packet.stream_index]
        self._seen[packet.stream_index] += 1
        index = bisect_right(offsets, number, key=lambda offset: offset[0]) - 1
        ticks = round(offsets[index][1] / packet.time_base)
        packet.pts = None if packet.pts is None else packet.pts + ticks
        packet.dts = None if packet.dts is None else packet.dts + ticks


class _PacketTimes(NamedTuple):
    """Times of one packet, sorted by its position in the file. number: in its stream."""

    position: int
    order: int
    stream: int
    number: int
    dts: int | None
    pts: int | None
    duration: int
    discarded: bool


@dataclass
class _Run:
    """Consecutive packets of one stream in one segment; times in ticks of the stream.

    first, last: decoding times. low, high: lowest and highest display time. reach: display end.
    gap: between the last two packets. count: packets with a decoding time; displayed: packets with
    any time.
    """

    segment: int
    number: int
    first: int
    last: int
    low: int | None = None
    high: int | None = None
    reach: int | None = None
    gap: int = 0
    count: int = 0
    displayed: int = 0

    def add(self, seen: _PacketTimes) -> None:
        """Add a packet. Without a decoding time, only its display time counts."""
        displayed = seen.dts if seen.pts is None else seen.pts
        if seen.discarded or displayed is None:
            return
        if seen.dts is not None:
            self.gap = seen.duration or max(0, seen.dts - self.last) or self.gap
            self.last = max(self.last, seen.dts)
            self.count += 1
        self.gap = self.gap or seen.duration
        if self.displayed < _HEAD:
            self.low = displayed if self.low is None else min(self.low, displayed)
        self.high = displayed if self.high is None else max(self.high, displayed)
        end = displayed + self.gap
        self.reach = end if self.reach is None else max(self.reach, end)
        self.displayed += 1


@dataclass
class _Track:
    """A stream. timed: video or sound, whose packets follow one another without large gaps."""

    base: Fraction
    timed: bool
    runs: list[_Run] = field(default_factory=list)
    count: int = 0
    position: int = 0

    def seconds(self, ticks: int) -> float:
        return float(ticks * self.base)

    @property
    def expected(self) -> float:
        """Seconds at which the next packet is due."""
        return self.seconds(self.runs[-1].last + self.runs[-1].gap)


@dataclass
class _Segment:
    """The part between two jumps: decoding times of its first and last packet, in seconds."""

    low: float
    high: float

    def distance(self, time: float) -> float:
        return max(self.low - time, time - self.high, 0.0)


class Continuity:
    """Finds the segments of a file from all its packets, passed in demuxing order."""

    def __init__(self, format_name: str) -> None:
        restarting = format_name in _RESTARTING
        self._jump = _JUMP if restarting else _RARE_JUMP
        self.in_order = not restarting
        self._tracks: dict[int, _Track] = {}
        self._segments: list[_Segment] = []
        self._order = self._reach = 0

    def read(self, packet: Any) -> _PacketTimes | None:
        """Return the times of a packet; None if it has no data."""
        if not packet.size or not packet.time_base:
            return None
        stream = packet.stream
        track = self._tracks.get(stream.index)
        if track is None:
            cover = stream.disposition & Disposition.attached_pic
            timed = stream.type in ("video", "audio") and not cover
            track = self._tracks[stream.index] = _Track(packet.time_base, timed)
        self._order += 1
        track.count += 1
        track.position = max(track.position, packet.pos or 0)
        self._reach = max(self._reach, (packet.pos or 0) + packet.size)
        return _PacketTimes(
            0 if self.in_order else track.position,
            self._order,
            stream.index,
            track.count - 1,
            packet.dts,
            packet.pts,
            packet.duration or 0,
            bool(packet.is_discard),
        )

    def assign(self, seen: _PacketTimes) -> None:
        """Assign a packet to its segment; packets come in order of file position."""
        track = self._tracks[seen.stream]
        stamp = seen.dts if seen.dts is not None or track.runs else seen.pts
        if stamp is None:
            if track.runs:
                track.runs[-1].add(seen)
            return
        time = track.seconds(stamp)
        display_time = time if seen.pts is None else track.seconds(seen.pts)
        segment = self._segment_for(track, time, display_time)
        if not track.runs or track.runs[-1].segment != segment:
            track.runs.append(_Run(segment, seen.number, stamp, stamp))
        track.runs[-1].add(seen)
        if track.timed:
            bounds = self._segments[segment]
            bounds.low, bounds.high = min(bounds.low, time), max(bounds.high, time)

    def _segment_for(self, track: _Track, time: float, display_time: float) -> int:
        """Return the segment of a packet. time: decoding time; both times in seconds."""
        if not self._segments:
            return self._open(time)
        newest = len(self._segments) - 1
        if not track.runs:
            return newest
        current = track.runs[-1].segment
        near = self._segments[newest].distance(time)
        if not track.timed:
            closer = near <= max(_REACH, self._segments[current].distance(time))
            return newest if closer else current
        if current != newest:
            deviation = abs(time - track.expected)
            if near <= deviation or (near <= _NEAR and deviation > _CONTIGUOUS):
                return newest
        if not self._jumps(track, time, display_time):
            return current
        earlier = self._rejoined(track, time)
        return self._open(time) if earlier is None else earlier

    def _open(self, time: float) -> int:
        self._segments.append(_Segment(time, time))
        return len(self._segments) - 1

    def _jumps(self, track: _Track, time: float, display_time: float) -> bool:
        """Whether a stream's times jump. A gap that another stream fills is not a jump."""
        run = track.runs[-1]
        back = track.seconds(run.last) - time
        if run.high is not None:
            back = min(back, track.seconds(run.high) - display_time)
        if back > max(_BACK, _REORDERED * track.seconds(run.gap)):
            return True
        if back > 0 and run.count > 1 and run.low is not None:
            again = time <= track.seconds(run.first) and display_time <= track.seconds(run.low)
            if again:  # restarts from the segment's first time, however short it is
                return True
        if time - track.expected <= self._jump:
            return False
        return not any(
            other.expected >= time - _REACH
            for other in self._tracks.values()
            if other is not track
            and other.timed
            and other.runs
            and other.runs[-1].segment == run.segment
        )

    def _rejoined(self, track: _Track, time: float) -> int | None:
        """Return the earlier segment that a stream returns to after a stray packet, or None."""
        for other in self._tracks.values():
            if not (other.timed and other.runs) or other is track:
                continue
            segment = other.runs[-1].segment
            recent = track.runs[-1 - _STRAY : -1]
            before = [run for run in recent if run.segment == segment]
            behind = before and track.seconds(before[-1].last) <= time
            if behind and abs(time - self._segments[segment].high) <= _REACH:
                return segment
        return None

    def timeline(self, main: int | None) -> Timeline:
        """Return the timeline. main: index of the stream whose frames must not precede 0."""
        bounds = self._bounds()
        offsets = self._offsets(bounds)
        shift = self._time_before_0(main, offsets)
        offsets = [offset + shift for offset in offsets]
        begins = [low + offset for (low, _), offset in zip(bounds, offsets, strict=True)]
        return Timeline(
            offsets=self._by_stream(offsets) if any(offsets) else {},
            joins=tuple(begins[1:]),
            shift=shift,
            packets={index: track.count for index, track in self._tracks.items()},
            seconds={index: _length(track) for index, track in self._tracks.items()},
            reach=self._reach,
        )

    def _by_stream(self, offsets: list[Fraction]) -> dict[int, tuple[tuple[int, Fraction], ...]]:
        changes = {}
        for index, track in self._tracks.items():
            found = [(run.number, offsets[run.segment]) for run in track.runs]
            if found:
                changes[index] = ((0, found[0][1]), *found[1:])
        return changes

    def _time_before_0(self, main: int | None, offsets: list[Fraction]) -> Fraction:
        """Return the seconds by which the main stream starts before 0."""
        track = None if main is None else self._tracks.get(main)
        first = track.runs[0] if track and track.runs else None
        if track is None or first is None or first.low is None:
            return Fraction(0)
        return max(Fraction(0), -(first.low * track.base + offsets[first.segment]))

    def _offsets(self, bounds: list[tuple[Fraction, Fraction]]) -> list[Fraction]:
        """Return the seconds added to the times of each segment.

        bounds: as of `_bounds`; used if no stream continues from an earlier segment into this one.
        """
        entries: list[list[tuple[int, Fraction]]] = [[] for _ in bounds]
        for track in self._tracks.values():
            for before, after in _entries(track):
                overlap = max(_overlaps(before, after)) * track.base
                entries[after.segment].append((before.segment, overlap))
        offsets: list[Fraction] = []
        end = Fraction(0)
        for (low, high), entered in zip(bounds, entries, strict=True):
            least = [offsets[segment] + overlap for segment, overlap in entered]
            offsets.append(max(least, default=end - low if offsets else Fraction(0)))
            end = max(end, high + offsets[-1])
        return offsets

    def _bounds(self) -> list[tuple[Fraction, Fraction]]:
        """Return (start of the first, end of the last) frame or sound of each segment."""
        found: list[tuple[Fraction, Fraction] | None] = [None for _ in self._segments]
        for track in self._tracks.values():
            for run in track.runs if track.timed else ():
                if run.low is None or run.reach is None:
                    continue
                low, high = run.low * track.base, run.reach * track.base
                known = found[run.segment]
                if known is not None:
                    low, high = min(low, known[0]), max(high, known[1])
                found[run.segment] = (low, high)
        return [edge or (Fraction(0), Fraction(0)) for edge in found]


def _entries(track: _Track) -> Iterator[tuple[_Run, _Run]]:
    """Yield (run before, run) for a stream's first run in each segment."""
    entered: set[int] = set()
    for before, after in zip(track.runs, track.runs[1:], strict=False):
        if track.timed and before.segment < after.segment and after.segment not in entered:
            yield before, after
        entered.add(after.segment)


def _overlaps(before: _Run, after: _Run) -> list[int]:
    """Return the ticks by which decoding and display after a jump overlap those before."""
    found = [before.last + before.gap - after.first]
    if before.reach is not None and after.low is not None:
        found.append(before.reach - after.low)
    return found


def _length(track: _Track) -> float:
    whole = [run.reach - run.low for run in track.runs if run.reach and run.low is not None]
    return track.seconds(sum(whole))
