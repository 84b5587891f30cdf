"""The other streams of a source: sound, subtitles, chapters, titles, carried into the result.

A ladder for each stream: copy it; if the container refuses, convert it; if that fails, leave it
out. Every step below the first is reported by a sentence that names the stream.
"""

import io
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import av
import av.error
from av.container import InputContainer, OutputContainer
from av.stream import Disposition

from vidstyle.media.video import FAULTS, packets

__all__ = ["Carrier", "Window", "copy_tags"]

_AUDIO = {"mp4": "aac", "mov": "aac", "matroska": "aac", "webm": "libopus"}
_RATES = {"libopus": 48000}
_BITS = 192_000
_OWN_TAGS = {
    "encoder", "major_brand", "minor_version", "compatible_brands", "duration", "rotate",
    "timecode", "vendor_id", "number_of_frames", "number_of_bytes", "bps",
}  # fmt: skip
_AHEAD = 10  # seconds that streams of one file may lie apart

Window = tuple[Fraction, Fraction] | None  # seconds of the source that are kept; None keeps all


class Carrier:
    """Moves every stream but the picture from `source` into `out`, alongside the picture.

    window: what lies outside is left out, and times count from its beginning.
    """

    def __init__(self, source: InputContainer, main: int, out: OutputContainer, window: Window):
        self.warnings: list[str] = []
        self._out, self._window = out, window
        self._lanes: dict[int, _Lane] = {}
        for stream in source.streams:
            if stream.index != main:
                self._admit(stream)
        self._copy_head(source)
        self._queue = self._packets(source)
        self._held: Any = None

    def _admit(self, stream: Any) -> None:
        """Find the highest step of the ladder that the container takes."""
        format_name, title = self._out.format.name, _title(stream)
        if stream.type == "attachment":
            self._attach(stream, title)
        elif _takes(format_name, lambda out: _copy_of(stream, out)):
            self._lanes[stream.index] = _Lane(_copy_of(stream, self._out), None)
        elif stream.type == "audio" and _takes(format_name, lambda out: _sound_for(stream, out)):
            self._lanes[stream.index] = _Lane(_sound_for(stream, self._out), stream)
            self.warnings.append(
                f"{title}: {format_name} does not take it as it is, so it was encoded anew"
            )
        else:
            self.warnings.append(
                f"{title}: {format_name} cannot hold it, so it was left out; "
                "an .mkv output may keep it"
            )

    def _attach(self, stream: Any, title: str) -> None:
        if self._out.format.name == "matroska":
            name = stream.metadata.get("filename", "attachment")
            self._out.add_attachment(name, stream.mimetype or "application/x-binary", stream.data)
        else:
            self.warnings.append(f"{title}: {self._out.format.name} cannot hold it: left out")

    def _copy_head(self, source: InputContainer) -> None:
        copy_tags(source.metadata, self._out.metadata)
        chapters = [kept for chapter in source.chapters() if (kept := self._chapter(chapter))]
        if chapters:
            self._out.set_chapters(chapters)

    def _chapter(self, chapter: Any) -> Any:
        if self._window is None:
            return chapter
        low, high = (round(edge / chapter["time_base"]) for edge in self._window)
        start, end = max(chapter["start"], low), min(chapter["end"], high)
        return {**chapter, "start": start - low, "end": end - low} if start < end else None

    def _packets(self, source: InputContainer) -> Iterator[Any]:
        wanted = [stream for stream in source.streams if stream.index in self._lanes]
        for packet in packets(source, wanted, []) if wanted else ():
            if self._beyond(packet):
                return
            if packet.size and packet.dts is not None:
                yield packet

    def _beyond(self, packet: Any) -> bool:
        if self._window is None or packet.dts is None:
            return False
        return bool(packet.dts * packet.time_base > self._window[1] + _AHEAD)

    def until(self, seconds: Fraction | None) -> None:
        """Move what comes before this time of the result (None: all the rest)."""
        while True:
            self._held = self._held or next(self._queue, None)
            if self._held is None:
                break
            if seconds is not None and self._time(self._held) > seconds:
                return
            self._move(self._held)
            self._held = None
        if seconds is None:
            self._finish()

    def _time(self, packet: Any) -> Fraction:
        start = self._window[0] if self._window else 0
        return Fraction(packet.dts * packet.time_base - start)

    def _move(self, packet: Any) -> None:
        lane = self._lanes[packet.stream_index]
        try:
            lane.move(packet, self._window, self._out)
        except OSError:
            raise
        except FAULTS:
            lane.lost += 1

    def _finish(self) -> None:
        for lane in self._lanes.values():
            lane.flush(self._out)
            if lane.lost:
                self.warnings.append(
                    f"{_title(lane.target)}: {lane.lost} damaged packet(s) were left out"
                )


class _Lane:
    """The way of one stream: its packets as they are, or decoded from `source` and encoded."""

    def __init__(self, target: Any, source: Any):
        self.target, self._source, self.lost = target, source, 0

    def move(self, packet: Any, window: Window, out: OutputContainer) -> None:
        if self._source is not None:
            for frame in packet.decode():
                self._encode(frame, window, out)
        elif _within(packet.pts if packet.pts is not None else packet.dts, packet, window):
            _shift(packet, window)
            if _is_priming(packet, out):
                return
            packet.stream = self.target
            out.mux(packet)

    def _encode(self, frame: Any, window: Window, out: OutputContainer) -> None:
        if frame.pts is not None and _within(frame.pts, frame, window):
            if window:
                frame.pts -= round(window[0] / frame.time_base)
            out.mux(self.target.encode(frame))

    def flush(self, out: OutputContainer) -> None:
        if self._source is not None:
            out.mux(self.target.encode(None))


def _within(stamp: int, timed: Any, window: Window) -> bool:
    return window is None or bool(window[0] <= stamp * timed.time_base < window[1])


def _is_priming(packet: Any, out: OutputContainer) -> bool:
    """Tell whether a packet ends before 0, unheard, in a format that has no times before 0."""
    before = packet.pts is not None and packet.pts + (packet.duration or 0) <= 0
    return before and out.format.name in ("matroska", "webm")


def _shift(packet: Any, window: Window) -> None:
    if window:
        ticks = round(window[0] / packet.time_base)
        packet.dts -= ticks
        packet.pts = packet.dts if packet.pts is None else packet.pts - ticks


def _takes(format_name: str, add: Callable[[OutputContainer], Any]) -> bool:
    """Ask the muxer itself: does a file of this format begin with such a stream?"""
    try:
        with av.open(io.BytesIO(), "w", format=format_name) as trial:
            add(trial)
            trial.start_encoding()
    except (*FAULTS, TypeError, AttributeError):
        return False
    return True


def _copy_of(stream: Any, out: OutputContainer) -> Any:
    target = out.add_stream_from_template(stream)
    target.disposition = stream.disposition
    copy_tags(stream.metadata, target.metadata)
    return target


def _sound_for(stream: Any, out: OutputContainer) -> Any:
    codec = _AUDIO[out.format.name]
    target: Any = out.add_stream(codec, rate=_RATES.get(codec, stream.rate))
    target.layout = stream.layout.name
    target.bit_rate = _BITS
    target.disposition = stream.disposition & ~Disposition.attached_pic
    copy_tags(stream.metadata, target.metadata)
    return target


def copy_tags(source: dict[str, str], target: dict[str, str]) -> None:
    """Copy titles, languages, dates; not what a muxer says of its own file."""
    for name, value in source.items():
        if name.lower() not in _OWN_TAGS and not name.startswith("_STATISTICS"):
            target[name] = value


def _title(stream: Any) -> str:
    language = f", {stream.language}" if stream.language not in (None, "und") else ""
    codec = getattr(stream.codec_context, "name", None) or stream.name or "unknown codec"
    return f"{stream.type} stream {stream.index} ({codec}{language})"
