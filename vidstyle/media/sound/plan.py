"""Plan of each audio stream for a container: copy, re-encode or drop.

Decided by a trial: the first packets of the stream are written to a complete file in memory, read
back and decoded. A stream that does not come back the same is not copied.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import av
import av.error
from av.container import InputContainer

from vidstyle.media.containers import CONTAINERS
from vidstyle.media.decoding.decode import codec_name
from vidstyle.media.sound.layouts import holds, layout_names, speakers
from vidstyle.media.sound.transcoding import Encoding, Window
from vidstyle.media.sound.trials import (
    EXCERPT,
    DecodedSound,
    Excerpt,
    codec_of,
    copy_survives,
    decode_sound,
    encoding_survives,
    excerpts,
)

__all__ = ["Plan", "plan_sounds", "stream_title"]

_NAMES = {"aac": "AAC", "libopus": "Opus", "flac": "FLAC"}
_MIN_RATE = 7999  # Hz; few players support AAC's 7350 Hz
_RATES = {"libopus": 48000}  # Hz; the output rate of every Opus decoder
# Channel layouts that every decoder of the codec supports; FFmpeg's encoders list others, which few
# decoders support (AAC with a program config element) or the encoder refuses (Opus).
_LAYOUTS = {
    "aac": ("mono", "stereo", "3.0", "4.0", "5.0", "5.1", "7.1"),
    "libopus": ("mono", "stereo", "3.0", "quad", "5.0", "5.1", "6.1", "7.1"),
}
_MAX_FLAC_CHANNELS = 8
# Matroska stores only the channel count of PCM; players assume these layouts.
_PCM_LAYOUTS = ("mono", "stereo", "4.0", "5.0", "5.1", "6.1", "7.1")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to do with an audio stream.

    action: "copy", "encode" (with `encoding`) or "drop". note: a warning, None if the sound is
    unchanged.
    """

    action: str
    encoding: Encoding | None = None
    note: str | None = None


def plan_sounds(source: InputContainer, format_name: str, window: Window) -> dict[int, Plan]:
    """Return the plan of each audio stream, by index, for a container of this format.

    source: a container opened for this call alone; packets are read and decoders used.
    """
    streams = [stream for stream in source.streams if stream.type == "audio"]
    found = excerpts(source, streams, window)
    return {index: _plan_sound(excerpt, format_name, window) for index, excerpt in found.items()}


def stream_title(stream: Any) -> str:
    """Return the name of a stream in messages: kind, index, codec and language."""
    language = f", {stream.language}" if stream.language not in (None, "und") else ""
    return f"{stream.type} stream {stream.index} ({codec_name(stream)}{language})"


def _plan_sound(excerpt: Excerpt, format_name: str, window: Window) -> Plan:
    """Return the first action that passes the trial."""
    stream = excerpt.stream
    title, codec = stream_title(stream), codec_of(stream)
    if not excerpt.used:
        what = "no packets" if not excerpt.packets else "nothing between these times"
        return Plan(action="drop", note=f"{title}: it holds {what}, so it was left out")
    sound = decode_sound(stream, excerpt.packets)
    rules = CONTAINERS[format_name]
    played = rules.played is None or codec in rules.played
    pcm = codec.startswith("pcm_") and "pcm" in rules.lossless_sound
    exact = pcm and window is not None  # PCM packets may be a second long
    copied = copy_survives(excerpt, format_name, sound)
    if copied and (played or pcm or sound is None) and not exact:
        return Plan(action="copy", note=_undecoded(stream) if sound is None else None)
    if sound is None:
        return Plan(action="drop", note=_lost_note(excerpt, "decoded", format_name))
    for encoding in _encodings(sound, format_name):
        if encoding_survives(encoding, format_name, sound):
            quiet = exact and copied and encoding.lossless
            why = f"common players do not play it in {format_name}"
            why = why if copied else f"it cannot be copied into {format_name}"
            note = None if quiet else _encoded_note(title, why, encoding, sound)
            return Plan(action="encode", encoding=encoding, note=note)
    if copied:
        return Plan(action="copy")
    return Plan(action="drop", note=_lost_note(excerpt, "re-encoded", format_name))


def _encoded_note(title: str, why: str, encoding: Encoding, sound: DecodedSound) -> str:
    name = _NAMES.get(encoding.codec, encoding.codec)
    note = f"{title}: {why}, so it was re-encoded as {name}"
    if encoding.rate != sound.rate:
        note += f", at {encoding.rate} Hz instead of {sound.rate}"
    if not _holds(encoding.layout, sound):
        note += f", its {sound.count} channels mixed into {encoding.layout}"
    return note


def _holds(layout: str, sound: DecodedSound) -> bool:
    """Whether a layout has a channel for each channel of the sound."""
    if not sound.speakers:
        return not speakers(layout)
    return holds(layout, sound.speakers)


def _undecoded(stream: Any) -> str | None:
    """Return a warning about a copied stream that does not decode."""
    if stream.codec_context is None:
        return None
    title = stream_title(stream)
    return f"{title}: none of its first {EXCERPT} seconds can be decoded; it was copied unchanged"


def _lost_note(excerpt: Excerpt, what: str, format_name: str) -> str:
    """Return a warning about a dropped sound, naming another output that keeps it."""
    title = stream_title(excerpt.stream)
    note = f"{title}: the sound is lost: it cannot be {what}, nor copied into {format_name}"
    for other, suffix in (("matroska", ".mkv"), ("mov", ".mov"), ("mp4", ".mp4")):
        if other != format_name and copy_survives(excerpt, other, None):
            return f"{note}; an {suffix} output keeps it"
    return note


def _encodings(sound: DecodedSound, format_name: str) -> Iterator[Encoding]:
    """Yield encodings for this container, the best first, nearest to the sound's parameters."""
    for codec in _exact_codecs(sound, format_name):
        pcm_of_matroska = format_name == "matroska" and codec.startswith("pcm_")
        encoding = _fitted(codec, sound, _PCM_LAYOUTS if pcm_of_matroska else None, lossless=True)
        if _holds(encoding.layout, sound):
            yield encoding
    codec = CONTAINERS[format_name].sound
    yield _fitted(codec, sound, _LAYOUTS[codec], lossless=False)


def _exact_codecs(sound: DecodedSound, format_name: str) -> list[str]:
    """Return lossless encoders, if the source is lossless."""
    pcm = sound.codec.startswith("pcm_")
    encoders = CONTAINERS[format_name].lossless_sound
    if not encoders or not (pcm or _is_lossless(sound.codec)):
        return []
    own = [sound.codec] if pcm and sound.codec in av.codecs_available else []
    plain = [_PCM.get(sound.depth, "pcm_s24le")]
    flac = ["flac"] if "flac" in encoders and sound.count <= _MAX_FLAC_CHANNELS else []
    return [*own, *plain, *flac] if pcm else [*flac, *plain]


def _is_lossless(decoder: str) -> bool:
    """Whether a codec is always lossless; some, such as DTS, are in certain profiles only."""
    codec = av.Codec(decoder, "r")
    return codec.lossless and not codec.lossy


_PCM = {8: "pcm_u8", 16: "pcm_s16le", 24: "pcm_s24le", 32: "pcm_s32le"}


def _fitted(
    codec: str, sound: DecodedSound, offered: tuple[str, ...] | None, *, lossless: bool
) -> Encoding:
    encoder = av.Codec(codec, "w")
    names = [one.name for one in encoder.audio_formats or []]
    deep = [name for name in names if not name.startswith(("u8", "s16"))]
    return Encoding(
        codec=codec,
        rate=_RATES.get(codec) or _nearest(sound.rate, encoder.audio_rates),
        layout=_fitted_layout(sound, offered, lossless=lossless),
        format=(deep if sound.depth > 16 and deep else names)[0],
        lossless=lossless,
    )


def _nearest(rate: int, offered: list[int] | None) -> int:
    """Return the lowest supported rate that is not below `rate`, else the highest."""
    if not offered or rate in offered:
        return rate
    return min((one for one in offered if one > max(rate, _MIN_RATE)), default=max(offered))


def _fitted_layout(sound: DecodedSound, offered: tuple[str, ...] | None, *, lossless: bool) -> str:
    """Return the smallest layout that holds every channel, else the largest to mix down to.

    offered: the layouts to choose from; None: all.
    """
    names = offered or layout_names()
    if not sound.speakers:
        return f"{sound.count} channels" if lossless else "stereo"
    holding = [one for one in names if holds(one, sound.speakers)]
    smaller = [one for one in names if len(speakers(one)) <= sound.count]
    return min(holding, key=lambda one: len(speakers(one)), default=smaller[-1])
