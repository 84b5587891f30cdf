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
from vidstyle.media.decode import FAULTS, open_video, packets, timeline_of
from vidstyle.media.lanes import Lane, PicturesLane, SoundLane, WordsLane, is_cover
from vidstyle.media.sound import Plan, plan_sounds
from vidstyle.media.sound import stream_title as _title
from vidstyle.media.transcoding import Transcoder, Window, add_encoder

__all__ = ["Carrier", "Window", "copy_tags"]

_WORDS = {"mp4": "mov_text", "mov": "mov_text", "matroska": "srt", "webm": "webvtt"}
# QuickTime has its own list of languages, in other words for these.
_QUICKTIME = {
    "deu": "ger", "nld": "dut", "swe": "sve", "ell": "gre", "isl": "ice", "zho": "chi",
    "sqi": "alb",
}  # fmt: skip
_COVERS = {"mjpeg": ("jpg", "image/jpeg"), "png": ("png", "image/png")}
_OWN_TAGS = {
    "encoder", "major_brand", "minor_version", "compatible_brands", "duration", "rotate",
    "timecode", "vendor_id", "alpha_mode", "number_of_frames", "number_of_bytes", "bps",
}  # fmt: skip
_NAMED = 6  # titles that are named when they are lost
_AHEAD = 10  # seconds that streams of one file may lie apart


class Carrier:
    """Moves every stream but the picture from `source` into `out`, alongside the picture.

    window: what lies outside is left out, and times count from its beginning. without: indices of
    streams that are left out.
    """

    def __init__(
        self,
        source: InputContainer,
        main: int,
        out: OutputContainer,
        window: Window,
        without: frozenset[int] = frozenset(),
    ):
        self.warnings: list[str] = []
        self._out, self._window = out, window
        self._lanes: dict[int, Lane] = {}
        self._sounds = _plans(source, out.format.name, window)
        for stream in source.streams:
            if stream.index in without:
                self._leave_out(_title(stream))
            elif stream.index != main:
                self._admit(stream, source)
        self._copy_head(source)
        self._queue = self._packets(source)
        self._held: Any = None

    def _admit(self, stream: Any, source: InputContainer) -> None:
        """Find the highest step of the ladder that the container takes."""
        format_name, title = self._out.format.name, _title(stream)
        if stream.type == "attachment":
            self._attach(stream, title)
        elif is_cover(stream) and format_name == "matroska":
            self._attach_cover(stream, source)
        elif is_cover(stream) and format_name == "mov":  # its muxer would take it, and lose it
            self._leave_out(title)
        elif stream.type == "data":
            self._admit_data(stream, source)
        elif stream.type == "audio":
            self._admit_sound(stream, self._sounds[stream.index])
        elif _takes(format_name, lambda out: _copy_of(stream, out)):
            target = _copy_of(stream, self._out)
            self._lanes[stream.index] = Lane(target, title)
            if stream.type == "video" and not is_cover(stream):
                self._lanes[stream.index] = PicturesLane(target, title)
                target.disposition &= ~Disposition.default  # players show the film
                self.warnings.append(f"{title}: not the film, so it is copied as it is")
        elif make := _converter(stream, format_name):
            self._lanes[stream.index] = make(self._out)
            self.warnings.append(
                f"{title}: {format_name} does not take it as it is, so it was encoded anew"
            )
        else:
            self._leave_out(title)

    def _admit_sound(self, stream: Any, plan: Plan) -> None:
        if plan.note:
            self.warnings.append(plan.note)
        if plan.way == "copy":
            self._lanes[stream.index] = Lane(_copy_of(stream, self._out), _title(stream))
        elif plan.encoding:
            target = add_encoder(self._out, plan.encoding)
            _describe(target, stream, self._out)
            maker = Transcoder(stream, target, plan.encoding, self._window)
            self._lanes[stream.index] = SoundLane(target, _title(stream), maker)

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
            f"{title}: {self._out.format.name} cannot hold it, so it was left out"
            f"{self._advice('an .mkv output may keep it')}"
        )

    def _advice(self, text: str) -> str:
        """Return what follows a loss; nothing where the output is what would be advised."""
        return "" if self._out.format.name == "matroska" else f"; {text}"

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
        shift = timeline_of(source).shift
        shifted = (_shifted(chapter, shift) for chapter in source.chapters())
        chapters = [kept for chapter in shifted if (kept := self._chapter(chapter))]
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
            if packet.size:
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
                f"{', '.join(sorted(lost)[:_NAMED])}{more}"
                f"{self._advice('an .mkv output keeps them')}"
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
        lane.met += 1
        try:
            lane.move(packet, self._window, self._out)
        except OSError:
            raise
        except FAULTS:
            lane.lost += 1

    def _finish(self) -> None:
        for lane in self._lanes.values():
            try:
                lane.flush(self._out)
            except OSError:
                raise
            except FAULTS:
                lane.lost += 1
            if lane.skipped:
                self.warnings.append(
                    f"{lane.title}: {lane.skipped} frame(s) before its first key frame in "
                    "this part were left out"
                )
            if lane.lost:
                self.warnings.append(_damage(lane))


def _damage(lane: Lane) -> str:
    """Return a sentence on the packets of a stream that could not go."""
    if lane.lost < lane.met:
        return f"{lane.title}: {lane.lost} damaged packet(s) were left out"
    what = "the sound is lost" if lane.target.type == "audio" else "it is lost"
    return f"{lane.title}: {what}: all of its {lane.met} packet(s) are damaged"


def _shifted(chapter: Any, seconds: Fraction) -> Any:
    ticks = round(seconds / chapter["time_base"])
    return {**chapter, "start": chapter["start"] + ticks, "end": chapter["end"] + ticks}


def _plans(source: InputContainer, format_name: str, window: Window) -> dict[int, Plan]:
    """Decide on each audio stream with a second look at the file, from its beginning."""
    if not source.streams.audio:
        return {}
    with open_video(Path(source.name.removeprefix("file:"))) as again:
        return plan_sounds(again, format_name, window)


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
    if "name" in stream.metadata:  # an MP4 keeps the title of a track under this name
        target.metadata.setdefault("title", target.metadata.pop("name"))
    if out.format.name == "mov" and stream.language in _QUICKTIME:
        target.metadata["language"] = _QUICKTIME[stream.language]


def _converter(stream: Any, format_name: str) -> Callable[[OutputContainer], Lane] | None:
    """Return what makes the lane in which a stream is converted to what the container takes."""
    if stream.type == "subtitle" and _takes(format_name, lambda out: _words_for(stream, out)):
        return lambda out: WordsLane(_words_for(stream, out), _title(stream))
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


def copy_tags(source: dict[str, str], target: dict[str, str]) -> None:
    """Copy titles, languages, dates; not what a muxer says of its own file."""
    for name, value in source.items():
        if name.lower() not in _OWN_TAGS and not name.startswith("_STATISTICS"):
            target[name] = value
