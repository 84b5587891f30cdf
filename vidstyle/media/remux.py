"""The other streams of a source: sound, subtitles, chapters, titles, carried into the result.

A ladder for each stream: copy it; if the container refuses, convert it; if that fails, leave it
out. Every step below the first is reported by a sentence that names the stream.
"""

import io
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
from av.container import InputContainer, OutputContainer
from av.stream import Disposition

from vidstyle.media.containers import open_container
from vidstyle.media.decode import FAULTS, codec_name, packets

__all__ = ["Carrier", "Window", "copy_tags"]

_AUDIO = {"mp4": "aac", "mov": "aac", "matroska": "aac", "webm": "libopus"}
_RATES = {"libopus": 48000}
_WORDS = {"mp4": "mov_text", "mov": "mov_text", "matroska": "srt", "webm": "webvtt"}
# QuickTime has its own list of languages, in other words for these.
_QUICKTIME = {
    "deu": "ger", "nld": "dut", "swe": "sve", "ell": "gre", "isl": "ice", "zho": "chi",
    "sqi": "alb",
}  # fmt: skip
_COVERS = {"mjpeg": ("jpg", "image/jpeg"), "png": ("png", "image/png")}
_BITS = 192_000
_OWN_TAGS = {
    "encoder", "major_brand", "minor_version", "compatible_brands", "duration", "rotate",
    "timecode", "vendor_id", "alpha_mode", "number_of_frames", "number_of_bytes", "bps",
}  # fmt: skip
_NAMED = 6  # titles that are named when they are lost
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
                self._admit(stream, source)
        self._copy_head(source)
        self._queue = self._packets(source)
        self._held: Any = None

    def _admit(self, stream: Any, source: InputContainer) -> None:
        """Find the highest step of the ladder that the container takes."""
        format_name, title = self._out.format.name, _title(stream)
        if stream.type == "attachment":
            self._attach(stream, title)
        elif _is_cover(stream) and format_name == "matroska":
            self._attach_cover(stream, source)
        elif _is_cover(stream) and format_name == "mov":  # its muxer would take it, and lose it
            self._leave_out(title)
        elif stream.type == "data":
            self._admit_data(stream, source)
        elif _takes(format_name, lambda out: _copy_of(stream, out)):
            self._lanes[stream.index] = _Lane(_copy_of(stream, self._out))
        elif make := _converter(stream, format_name):
            self._lanes[stream.index] = make(self._out)
            self.warnings.append(
                f"{title}: {format_name} does not take it as it is, so it was encoded anew"
            )
        else:
            self._leave_out(title)

    def _admit_data(self, stream: Any, source: InputContainer) -> None:
        """Name what is left out, but not what the output's own muxer writes.

        Muxers take any data when a file is begun and refuse it at the end.
        """
        names_of_chapters = bool(source.chapters()) and "mp4" in source.format.name
        timecode = "timecode" in stream.metadata and self._window is None
        if not names_of_chapters and not timecode:
            self._leave_out(_title(stream))

    def _leave_out(self, title: str) -> None:
        self.warnings.append(
            f"{title}: {self._out.format.name} cannot hold it, so it was left out; "
            "an .mkv output may keep it"
        )

    def _attach(self, stream: Any, title: str) -> None:
        if self._out.format.name == "matroska":
            name = stream.metadata.get("filename", "attachment")
            self._out.add_attachment(name, stream.mimetype or "application/x-binary", stream.data)
        else:
            self._leave_out(title)

    def _attach_cover(self, stream: Any, source: InputContainer) -> None:
        """Make a cover picture an attachment, as Matroska keeps it."""
        kind = _COVERS.get(stream.codec_context.name)
        with open_container(Path(source.name.removeprefix("file:"))) as again:
            found = again.demux(again.streams[stream.index])
            data = next((bytes(packet) for packet in found if packet.size), None)
        if kind is None or data is None:
            self._leave_out(_title(stream))
            return
        self._out.add_attachment(f"cover.{kind[0]}", kind[1], data)

    def _copy_head(self, source: InputContainer) -> None:
        self._tags = dict(source.metadata)
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
            if packet.size and (packet.dts is not None or _is_cover(packet.stream)):
                yield packet

    def _beyond(self, packet: Any) -> bool:
        if self._window is None or packet.dts is None:
            return False
        return bool(packet.dts * packet.time_base > self._window[1] + _AHEAD)

    def check_tags(self, found: dict[str, str]) -> None:
        """Warn of titles and the like that are not among those `found` in the finished file."""
        kept = {name.lower().partition("-")[0] for name in found}
        wanted: dict[str, str] = {}
        copy_tags(self._tags, wanted)
        if lost := [name for name in wanted if name.lower().partition("-")[0] not in kept]:
            more = " and others" if len(lost) > _NAMED else ""
            self.warnings.append(
                f"{self._out.format.name} cannot hold these titles of the file: "
                f"{', '.join(sorted(lost)[:_NAMED])}{more}; an .mkv output keeps them"
            )

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
        if packet.dts is None:
            return Fraction(0)
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
    """The way of one stream: its packets as they are. lost: how many could not go."""

    def __init__(self, target: Any):
        self.target, self.lost = target, 0

    def move(self, packet: Any, window: Window, out: OutputContainer) -> None:
        if _is_cover(packet.stream):
            packet.pts = packet.dts = 0
        elif not _within(packet.pts if packet.pts is not None else packet.dts, packet, window):
            return
        else:
            _shift(packet, window)
        if not _is_priming(packet, out):
            packet.stream = self.target
            out.mux(packet)

    def flush(self, out: OutputContainer) -> None:
        """Let go of what was held back."""


class _Sound(_Lane):
    """The way of a sound that is decoded and encoded anew."""

    def move(self, packet: Any, window: Window, out: OutputContainer) -> None:
        for frame in packet.decode():
            if frame.pts is not None and _within(frame.pts, frame, window):
                if window:
                    frame.pts -= round(window[0] / frame.time_base)
                out.mux(self.target.encode(frame))

    def flush(self, out: OutputContainer) -> None:
        out.mux(self.target.encode(None))


class _Words(_Lane):
    """The way of subtitles whose text is decoded and encoded anew."""

    def move(self, packet: Any, window: Window, out: OutputContainer) -> None:
        found = packet.stream.codec_context.decode2(packet)
        if found is None:
            return
        made = self.target.codec_context.encode_subtitle(found)
        made.time_base = packet.time_base
        made.pts, made.dts, made.duration = packet.pts, packet.dts, packet.duration
        if _within(made.pts, made, window):
            _shift(made, window)
            made.stream = self.target
            out.mux(made)


def _is_cover(stream: Any) -> bool:
    return bool(stream.disposition & Disposition.attached_pic)


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
    _describe(target, stream, out)
    return target


def _describe(target: Any, stream: Any, out: OutputContainer) -> None:
    """Give a stream of the result the title, the language and the role of the source's."""
    target.disposition = stream.disposition
    copy_tags(stream.metadata, target.metadata)
    if out.format.name == "mov" and stream.language in _QUICKTIME:
        target.metadata["language"] = _QUICKTIME[stream.language]


def _converter(stream: Any, format_name: str) -> Callable[[OutputContainer], _Lane] | None:
    """Return what makes the lane in which a stream is converted to what the container takes."""
    if stream.type == "audio" and _takes(format_name, lambda out: _sound_for(stream, out)):
        return lambda out: _Sound(_sound_for(stream, out))
    if stream.type == "subtitle" and _takes(format_name, lambda out: _words_for(stream, out)):
        return lambda out: _Words(_words_for(stream, out))
    return None


def _words_for(stream: Any, out: OutputContainer) -> Any:
    """Add a stream for the text of subtitles. Raises ValueError for those that are pictures."""
    context = stream.codec_context
    context.open(strict=False)
    if not context.subtitle_header:
        raise ValueError("no text")
    target: Any = out.add_stream(_WORDS[out.format.name])
    target.codec_context.subtitle_header = context.subtitle_header
    target.codec_context.time_base = target.time_base = stream.time_base
    target.codec_context.open()
    _describe(target, stream, out)
    return target


def _sound_for(stream: Any, out: OutputContainer) -> Any:
    codec = _AUDIO[out.format.name]
    target: Any = out.add_stream(codec, rate=_RATES.get(codec, stream.rate))
    target.layout = stream.layout.name
    target.bit_rate = _BITS
    _describe(target, stream, out)
    return target


def copy_tags(source: dict[str, str], target: dict[str, str]) -> None:
    """Copy titles, languages, dates; not what a muxer says of its own file."""
    for name, value in source.items():
        if name.lower() not in _OWN_TAGS and not name.startswith("_STATISTICS"):
            target[name] = value


def _title(stream: Any) -> str:
    language = f", {stream.language}" if stream.language not in (None, "und") else ""
    return f"{stream.type} stream {stream.index} ({codec_name(stream)}{language})"
