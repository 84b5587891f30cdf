"""How each audio stream of a source goes into a container: copied, encoded anew, or not at all.

Decided on the first packets of the stream itself: they are written into a file in memory, with its
end, read back and decoded. What does not come back as it was is not copied.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import av
import av.error
from av.container import InputContainer

from vidstyle.media.decode import codec_name
from vidstyle.media.layouts import layout_names, merged, speakers
from vidstyle.media.transcoding import Encoding, Window
from vidstyle.media.trials import (
    EXCERPT,
    Excerpt,
    Heard,
    codec_of,
    copy_survives,
    encoding_survives,
    excerpts,
    listen,
)

__all__ = ["Plan", "plan_sounds", "stream_title"]

# What common players play, by container: QuickTime, Windows and the browsers for .mp4 and .mov.
# Players of .mkv take what FFmpeg takes; .webm names its codecs itself.
_PLAYED = {
    "mp4": {"aac", "mp3", "ac3", "eac3", "alac", "flac", "opus"},
    "mov": {"aac", "mp3", "ac3", "eac3", "alac", "adpcm_ima_qt"},
}
_LOSSY = {"mp4": "aac", "mov": "aac", "matroska": "aac", "webm": "libopus"}
_NAMES = {"aac": "AAC", "libopus": "Opus", "flac": "FLAC"}
_LOWEST = 7999  # Hz: few players know the 7350 Hz of AAC
_RATES = {"libopus": 48000}  # Hz that every Opus decoder puts out
# Channel layouts that any decoder of the codec takes; the others of FFmpeg's encoders are rarely
# understood (AAC with a program config element) or refused when the first frame comes (Opus).
_LAYOUTS = {
    "aac": ("mono", "stereo", "3.0", "4.0", "5.0", "5.1", "7.1"),
    "libopus": ("mono", "stereo", "3.0", "quad", "5.0", "5.1", "6.1", "7.1"),
}
_MOST_OF_FLAC = 8  # channels
# Matroska keeps the number of channels of PCM only; players take these for granted.
_UNLABELLED = ("mono", "stereo", "4.0", "5.0", "5.1", "6.1", "7.1")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What becomes of an audio stream.

    way: "copy", "encode" (as `encoding` says) or "lose". note: a sentence for the user, None where
    the sound stays as it is.
    """

    way: str
    encoding: Encoding | None = None
    note: str | None = None


def plan_sounds(source: InputContainer, format_name: str, window: Window) -> dict[int, Plan]:
    """Return what becomes of each audio stream, by its index, in a container of this format.

    source: opened for this alone; some of its packets are read, and its decoders are used.
    """
    streams = [stream for stream in source.streams if stream.type == "audio"]
    found = excerpts(source, streams, window)
    return {index: _plan(excerpt, format_name, window) for index, excerpt in found.items()}


def stream_title(stream: Any) -> str:
    """Return how messages name a stream: its kind, number, codec and language."""
    language = f", {stream.language}" if stream.language not in (None, "und") else ""
    return f"{stream.type} stream {stream.index} ({codec_name(stream)}{language})"


def _plan(excerpt: Excerpt, format_name: str, window: Window) -> Plan:
    """Return the first way that the excerpt survives."""
    stream = excerpt.stream
    title, codec = stream_title(stream), codec_of(stream)
    if not excerpt.used:
        what = "no packets" if not excerpt.packets else "nothing between these times"
        return Plan(way="lose", note=f"{title}: it holds {what}, so it was left out")
    heard = listen(stream, excerpt.packets)
    played = format_name not in _PLAYED or codec in _PLAYED[format_name]
    pcm = codec.startswith("pcm_") and format_name in ("mov", "matroska")
    exact = pcm and window is not None  # packets of PCM may be a second long
    copied = copy_survives(excerpt, format_name, heard)
    if copied and (played or pcm or heard is None) and not exact:
        return Plan(way="copy", note=_undecoded(stream) if heard is None else None)
    if heard is None:
        return Plan(way="lose", note=_lost(excerpt, "decoded", format_name))
    for encoding in _encodings(heard, format_name):
        if encoding_survives(encoding, format_name, heard):
            quiet = exact and copied and encoding.lossless
            why = f"common players do not play it in {format_name}"
            why = why if copied else f"it cannot be copied into {format_name}"
            note = None if quiet else _encoded(title, why, encoding, heard)
            return Plan(way="encode", encoding=encoding, note=note)
    if copied:
        return Plan(way="copy")
    return Plan(way="lose", note=_lost(excerpt, "encoded anew", format_name))


def _encoded(title: str, why: str, encoding: Encoding, heard: Heard) -> str:
    name = _NAMES.get(encoding.codec, encoding.codec)
    told = f"{title}: {why}, so it was encoded anew as {name}"
    if encoding.rate != heard.rate:
        told += f", at {encoding.rate} Hz in place of {heard.rate}"
    if not _holds(encoding.layout, heard):
        told += f", its {heard.count} channels mixed into {encoding.layout}"
    return told


def _holds(layout: str, heard: Heard) -> bool:
    """Tell whether each channel that is heard has a channel of its own in a layout."""
    if not heard.speakers:
        return not speakers(layout)
    return set(merged(speakers(layout))) >= set(heard.speakers)


def _undecoded(stream: Any) -> str | None:
    """Return a sentence on a copied sound whose codec is known, and which is not heard."""
    if stream.codec_context is None:
        return None
    title = stream_title(stream)
    return f"{title}: none of its first {EXCERPT} seconds can be decoded; it was copied as it is"


def _lost(excerpt: Excerpt, what: str, format_name: str) -> str:
    """Return a sentence on a sound that does not go along, with another output if one keeps it."""
    title = stream_title(excerpt.stream)
    told = f"{title}: the sound is lost: it cannot be {what}, nor copied into {format_name}"
    for other, suffix in (("matroska", ".mkv"), ("mov", ".mov"), ("mp4", ".mp4")):
        if other != format_name and copy_survives(excerpt, other, None):
            return f"{told}; an {suffix} output keeps it"
    return told


def _encodings(heard: Heard, format_name: str) -> Iterator[Encoding]:
    """Yield encoders for this container, the best first, with what they take that is nearest."""
    for codec in _exact_codecs(heard, format_name):
        pcm_of_matroska = format_name == "matroska" and codec.startswith("pcm_")
        encoding = _fitted(codec, heard, _UNLABELLED if pcm_of_matroska else None, lossless=True)
        if _holds(encoding.layout, heard):
            yield encoding
    codec = _LOSSY[format_name]
    yield _fitted(codec, heard, _LAYOUTS[codec], lossless=False)


def _exact_codecs(heard: Heard, format_name: str) -> list[str]:
    """Return encoders that keep every sample, for sound that is lossless in the source."""
    pcm = heard.codec.startswith("pcm_")
    if format_name not in ("mov", "matroska") or not (pcm or _is_lossless(heard.codec)):
        return []
    own = [heard.codec] if pcm and heard.codec in av.codecs_available else []
    plain = [_PCM.get(heard.depth, "pcm_s24le")]
    flac = ["flac"] if format_name == "matroska" and heard.count <= _MOST_OF_FLAC else []
    return [*own, *plain, *flac] if pcm else [*flac, *plain]


def _is_lossless(decoder: str) -> bool:
    """Tell whether a codec loses nothing; some, as DTS, do so in certain profiles only."""
    codec = av.Codec(decoder, "r")
    return codec.lossless and not codec.lossy


_PCM = {8: "pcm_u8", 16: "pcm_s16le", 24: "pcm_s24le", 32: "pcm_s32le"}


def _fitted(
    codec: str, heard: Heard, offered: tuple[str, ...] | None, *, lossless: bool
) -> Encoding:
    encoder = av.Codec(codec, "w")
    names = [one.name for one in encoder.audio_formats or []]
    deep = [name for name in names if not name.startswith(("u8", "s16"))]
    return Encoding(
        codec=codec,
        rate=_RATES.get(codec) or _nearest(heard.rate, encoder.audio_rates),
        layout=_fitted_layout(heard, offered, lossless=lossless),
        format=(deep if heard.depth > 16 and deep else names)[0],
        lossless=lossless,
    )


def _nearest(rate: int, offered: list[int] | None) -> int:
    """Return the lowest rate that loses nothing, else the highest."""
    if not offered or rate in offered:
        return rate
    return min((one for one in offered if one > max(rate, _LOWEST)), default=max(offered))


def _fitted_layout(heard: Heard, offered: tuple[str, ...] | None, *, lossless: bool) -> str:
    """Return the smallest layout that holds every channel, else the largest to mix down to.

    offered: None for an encoder that takes all layouts.
    """
    names = offered or layout_names()
    known = set(heard.speakers)
    if not known:
        return f"{heard.count} channels" if lossless else "stereo"
    holding = [one for one in names if set(merged(speakers(one))) >= known]
    smaller = [one for one in names if len(speakers(one)) <= heard.count]
    return min(holding, key=lambda one: len(speakers(one)), default=smaller[-1])
