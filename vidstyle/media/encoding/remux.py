"""Remuxing: copies the source's sound, subtitles, chapters and tags to the output.

Each stream is copied; converted if the container does not support it; dropped if that fails. A
warning names each stream that is not copied unchanged.
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

from vidstyle.media.containers import CONTAINERS
from vidstyle.media.decoding.decode import FAULTS, open_video, packets, timeline_of
from vidstyle.media.decoding.demuxers import open_container
from vidstyle.media.encoding.stream_copy import (
    SoundTranscode,
    StreamCopy,
    SubtitleTranscode,
    VideoCopy,
    is_cover,
)
from vidstyle.media.sound.plan import Plan, plan_sounds
from vidstyle.media.sound.plan import stream_title as _title
from vidstyle.media.sound.transcoding import Transcoder, Window, add_encoder

__all__ = ["Remuxer", "Window", "copy_tags"]

# Languages whose QuickTime code differs from ISO 639-2.
_QUICKTIME = {
    "deu": "ger", "nld": "dut", "swe": "sve", "ell": "gre", "isl": "ice", "zho": "chi",
    "sqi": "alb",
}  # fmt: skip
_COVERS = {"mjpeg": ("jpg", "image/jpeg"), "png": ("png", "image/png")}
_MUXER_TAGS = {
    "encoder", "major_brand", "minor_version", "compatible_brands", "duration", "rotate",
    "timecode", "vendor_id", "alpha_mode", "number_of_frames", "number_of_bytes", "bps",
}  # fmt: skip
_MAX_NAMED = 6  # lost tags named in a warning
_AHEAD = 10  # seconds by which interleaved streams may be apart


class Remuxer:
    """Muxes every stream but the main video from `source` into `out`, in step with the video.

    window: interval in seconds to keep; output times count from its start. without: indices of
    streams to omit.
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
        self._copies: dict[int, StreamCopy] = {}
        self._sounds = _sound_plans(source, out.format.name, window)
        for stream in source.streams:
            if stream.index in without:
                self._leave_out(_title(stream))
            elif stream.index != main:
                self._add_stream(stream, source)
        self._copy_head(source)
        self._queue = self._packets(source)
        self._pending: Any = None

    def _add_stream(self, stream: Any, source: InputContainer) -> None:
        """Add an output stream: a copy, else a conversion, else a warning."""
        format_name, title = self._out.format.name, _title(stream)
        if stream.type == "attachment":
            self._attach(stream, title)
        elif is_cover(stream) and format_name == "matroska":
            self._attach_cover(stream, source)
        elif is_cover(stream) and format_name == "mov":  # the muxer drops it silently
            self._leave_out(title)
        elif stream.type == "data":
            self._add_data(stream, source)
        elif stream.type == "audio":
            self._add_sound(stream, self._sounds[stream.index])
        elif _takes(format_name, lambda out: _copy_of(stream, out)):
            target = _copy_of(stream, self._out)
            self._copies[stream.index] = StreamCopy(target, title)
            if stream.type == "video" and not is_cover(stream):
                self._copies[stream.index] = VideoCopy(target, title)
                target.disposition &= ~Disposition.default  # players show the main video stream
                self.warnings.append(
                    f"{title}: not the main video stream, so it was copied unchanged"
                )
        elif make := _converter(stream, format_name):
            self._copies[stream.index] = make(self._out)
            self.warnings.append(
                f"{title}: {format_name} does not support it, so it was re-encoded"
            )
        else:
            self._leave_out(title)

    def _add_sound(self, stream: Any, plan: Plan) -> None:
        if plan.note:
            self.warnings.append(plan.note)
        if plan.action == "copy":
            self._copies[stream.index] = StreamCopy(_copy_of(stream, self._out), _title(stream))
        elif plan.encoding:
            target = add_encoder(self._out, plan.encoding)
            _describe(target, stream, self._out)
            maker = Transcoder(stream, target, plan.encoding, self._window)
            self._copies[stream.index] = SoundTranscode(target, _title(stream), maker)

    def _add_data(self, stream: Any, source: InputContainer) -> None:
        """Warn of a dropped data stream, unless the output's muxer writes its own.

        Muxers accept any data stream in the header and refuse it in the trailer.
        """
        chapter_names = bool(source.chapters()) and "mp4" in source.format.name
        timecode = "timecode" in stream.metadata and self._window is None
        if not chapter_names and not timecode:
            self._leave_out(_title(stream))

    def _leave_out(self, title: str) -> None:
        self.warnings.append(
            f"{title}: {self._out.format.name} cannot hold it, so it was left out"
            f"{self._advice('an .mkv output may keep it')}"
        )

    def _advice(self, text: str) -> str:
        """Return advice to append to a warning; empty if the output is already Matroska."""
        return "" if self._out.format.name == "matroska" else f"; {text}"

    def _attach(self, stream: Any, title: str) -> None:
        if self._out.format.name == "matroska":
            name = stream.metadata.get("filename", "attachment")
            self._out.add_attachment(name, stream.mimetype or "application/x-binary", stream.data)
        else:
            self._leave_out(title)

    def _attach_cover(self, stream: Any, source: InputContainer) -> None:
        """Add a cover picture as a Matroska attachment."""
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
        wanted = [stream for stream in source.streams if stream.index in self._copies]
        for packet in packets(source, wanted, []) if wanted else ():
            if self._is_past_window(packet):
                return
            if packet.size:
                yield packet

    def _is_past_window(self, packet: Any) -> bool:
        if self._window is None or packet.dts is None:
            return False
        return bool(packet.dts * packet.time_base > self._window[1] + _AHEAD)

    def check_tags(self, found: dict[str, str]) -> None:
        """Warn of tags that are missing among those `found` in the finished file."""
        kept = {name.lower().partition("-")[0] for name in found}
        wanted: dict[str, str] = {}
        copy_tags(self._tags, wanted)
        if lost := [name for name in wanted if name.lower().partition("-")[0] not in kept]:
            more = " and others" if len(lost) > _MAX_NAMED else ""
            self.warnings.append(
                f"{self._out.format.name} cannot hold these tags of the file: "
                f"{', '.join(sorted(lost)[:_MAX_NAMED])}{more}"
                f"{self._advice('an .mkv output keeps them')}"
            )

    def until(self, seconds: Fraction | None) -> None:
        """Mux all packets up to this time of the output (None: all the rest)."""
        while True:
            self._pending = self._pending or next(self._queue, None)
            if self._pending is None:
                break
            if seconds is not None and self._time(self._pending) > seconds:
                return
            self._move(self._pending)
            self._pending = None
        if seconds is None:
            self._finish()

    def _time(self, packet: Any) -> Fraction:
        if packet.dts is None:
            return Fraction(0)
        start = self._window[0] if self._window else 0
        return Fraction(packet.dts * packet.time_base - start)

    def _move(self, packet: Any) -> None:
        copy = self._copies[packet.stream_index]
        copy.received += 1
        try:
            copy.move(packet, self._window, self._out)
        except OSError:
            raise
        except FAULTS:
            copy.lost += 1

    def _finish(self) -> None:
        for copy in self._copies.values():
            try:
                copy.flush(self._out)
            except OSError:
                raise
            except FAULTS:
                copy.lost += 1
            if copy.skipped:
                self.warnings.append(
                    f"{copy.title}: {copy.skipped} frame(s) before its first key frame in "
                    "this part were left out"
                )
            if copy.lost:
                self.warnings.append(_damage(copy))


def _damage(copy: StreamCopy) -> str:
    """Return a warning about the damaged packets of a stream."""
    if copy.lost < copy.received:
        return f"{copy.title}: {copy.lost} damaged packet(s) were left out"
    what = "the sound is lost" if copy.target.type == "audio" else "it is lost"
    return f"{copy.title}: {what}: all of its {copy.received} packet(s) are damaged"


def _shifted(chapter: Any, seconds: Fraction) -> Any:
    ticks = round(seconds / chapter["time_base"])
    return {**chapter, "start": chapter["start"] + ticks, "end": chapter["end"] + ticks}


def _sound_plans(source: InputContainer, format_name: str, window: Window) -> dict[int, Plan]:
    """Return the plan of each audio stream, from a second pass over the file."""
    if not source.streams.audio:
        return {}
    with open_video(Path(source.name.removeprefix("file:"))) as again:
        return plan_sounds(again, format_name, window)


def _takes(format_name: str, add: Callable[[OutputContainer], Any]) -> bool:
    """Whether the muxer of a format accepts such a stream in its header."""
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
    """Copy title, language and disposition of the source stream to the output stream."""
    target.disposition = stream.disposition
    copy_tags(stream.metadata, target.metadata)
    if "name" in stream.metadata:  # MP4 tag of a track's title
        target.metadata.setdefault("title", target.metadata.pop("name"))
    if out.format.name == "mov" and stream.language in _QUICKTIME:
        target.metadata["language"] = _QUICKTIME[stream.language]


def _converter(stream: Any, format_name: str) -> Callable[[OutputContainer], StreamCopy] | None:
    """Return a function that adds a converted stream, None if there is no conversion."""
    if stream.type == "subtitle" and _takes(format_name, lambda out: _subtitle_stream(stream, out)):
        return lambda out: SubtitleTranscode(_subtitle_stream(stream, out), _title(stream))
    return None


def _subtitle_stream(stream: Any, out: OutputContainer) -> Any:
    """Add a text subtitle stream. Raises ValueError for bitmap subtitles."""
    context = stream.codec_context
    context.open(strict=False)
    if not context.subtitle_header:
        raise ValueError("no text")
    target: Any = out.add_stream(CONTAINERS[out.format.name].subtitles)
    target.codec_context.subtitle_header = context.subtitle_header
    target.codec_context.time_base = target.time_base = stream.time_base
    target.codec_context.open()
    _describe(target, stream, out)
    return target


def copy_tags(source: dict[str, str], target: dict[str, str]) -> None:
    """Copy tags such as titles, languages and dates, without those that the muxer writes."""
    for name, value in source.items():
        if name.lower() not in _MUXER_TAGS and not name.startswith("_STATISTICS"):
            target[name] = value
