"""Audio trials: the first packets of a stream written to a file in memory and read back.

A container may accept a stream in its header but refuse its first packet or the trailer, or
store it so that no decoder plays it. So the file is finished, reopened and decoded.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import av
import av.error
import numpy as np
from av.container import InputContainer, OutputContainer

from vidstyle.media.decoding.decode import FAULTS, codec_name, packets
from vidstyle.media.decoding.demuxers import open_memory
from vidstyle.media.sound.layouts import Channels, decoded, merged, named, settle, speakers
from vidstyle.media.sound.transcoding import Encoding, SoundEncoder, Window, add_encoder, to_samples

__all__ = [
    "EXCERPT",
    "MOST_LABELLED",
    "DecodedSound",
    "Excerpt",
    "codec_of",
    "copy_survives",
    "decode_sound",
    "encoding_survives",
    "excerpts",
]

EXCERPT = 2  # seconds per trial: several frames of every codec
_PACKETS = 4000  # at most, per excerpt; TrueHD has 1200 per second
_AHEAD = 10  # seconds by which interleaved streams may be apart
# Number of channels above which a copy may lose their speakers, since a downmix would be worse.
MOST_LABELLED = 8
_SLACK = 0.1  # seconds that padding and encoder delay may add or remove
_QUIETER = 0.3  # of the source's energy; below it, the sound counts as not playing
_ALIKE = 0.1  # relative level difference per channel allowed in a copy
_SILENCE = 1e-3  # RMS level or energy, of 1, below which levels are not compared


@dataclass(frozen=True, kw_only=True)
class DecodedSound:
    """A decoded excerpt.

    speakers: of each channel, side ones as back ones; () if unknown. samples: per channel.
    seconds: from the first to the end of the last, with gaps. levels: RMS per channel, 1 is full
    scale. longest: samples of the longest frame. depth: bits. frames, channels: as decoded.
    """

    codec: str
    rate: int
    count: int
    speakers: tuple[str, ...]
    samples: int
    seconds: float
    levels: tuple[float, ...]
    longest: int
    depth: int
    frames: list[Any]
    channels: Channels


@dataclass
class Excerpt:
    """The first packets of a stream. used: whether a packet lies in the window."""

    stream: Any
    packets: list[Any]
    used: bool = False

    def take(self, packet: Any) -> None:
        """Add a packet unless the excerpt is full."""
        if not self.is_full:
            self.packets.append(packet)

    @property
    def is_full(self) -> bool:
        """Whether the excerpt is EXCERPT seconds long or has the largest number of packets."""
        if len(self.packets) < 2:
            return False
        first, last = self.packets[0].dts, self.packets[-1].dts
        timed = first is not None and last is not None
        long = timed and (last - first) * self.stream.time_base > EXCERPT
        return long or len(self.packets) >= _PACKETS


def codec_of(stream: Any) -> str:
    """Return the name of a codec, independent of its decoder ("mp3", not "mp3float")."""
    context = stream.codec_context
    return codec_name(stream) if context is None else context.codec.canonical_name


def excerpts(source: InputContainer, streams: list[Any], window: Window) -> dict[int, Excerpt]:
    """Read the first packets of each stream, by stream index."""
    found = {stream.index: Excerpt(stream, []) for stream in streams}
    for packet in packets(source, streams, []) if streams else ():
        if not packet.size:
            continue
        excerpt = found[packet.stream_index]
        stamp = packet.pts if packet.pts is not None else packet.dts
        time = None if stamp is None else stamp * packet.time_base
        excerpt.used |= window is None or time is None or window[0] <= time < window[1]
        excerpt.take(packet)
        beyond = window is not None and time is not None and time > window[1] + _AHEAD
        if beyond or all(one.used and one.is_full for one in found.values()):
            break
    for excerpt in found.values():
        excerpt.used |= bool(excerpt.packets) and not _are_timed(excerpt.packets)
    return found


def decode_sound(stream: Any, found: list[Any]) -> DecodedSound | None:
    """Decode packets; None if nothing decodes."""
    decoder = stream.codec_context
    try:
        channels = settle(decoder)
    except (*FAULTS, AttributeError):  # no decoder, or a header without channels
        return None
    frames = []
    for packet in [*found, None]:
        try:
            frames += decoded(decoder, packet)
        except FAULTS:
            continue
    frames = [frame for frame in frames if frame.samples and frame.sample_rate]
    if not frames:
        return None
    first = frames[0]
    count = first.layout.nb_channels
    if channels.count != count:  # header and decoder disagree
        channels = Channels(named(first.layout) or f"{count} channels", ())
    names = channels.names or speakers(named(first.layout) or channels.layout)
    try:
        samples = to_samples([frame for frame in frames if _kind(frame) == _kind(first)], channels)
    except FAULTS:  # channels not supported by FFmpeg's filters
        return None
    return DecodedSound(
        codec=codec_of(stream),
        rate=first.sample_rate,
        count=count,
        speakers=merged(names),
        samples=sum(frame.samples for frame in frames),
        seconds=_span(frames),
        levels=tuple(float(level) for level in np.sqrt((samples**2).mean(axis=0))),
        longest=max(frame.samples for frame in frames),
        depth=_depth(codec_of(stream), first.format),
        frames=frames,
        channels=channels,
    )


def _span(frames: list[Any]) -> float:
    """Return the seconds from the first frame to the end of the last, by their timestamps."""
    timed = [frame for frame in frames if frame.pts is not None and frame.time_base]
    if not timed:
        return 0.0
    first, last = timed[0], timed[-1]
    return float(last.pts * last.time_base - first.pts * first.time_base) + (
        last.samples / last.sample_rate
    )


def _kind(frame: Any) -> tuple[Any, ...]:
    return frame.format.name, frame.layout.nb_channels, frame.sample_rate


def _depth(codec: str, samples: Any) -> int:
    """Return the bits per sample of the codec; 32-bit sample formats may hold 24."""
    if samples.bits == 32 and not codec.startswith("pcm_") and samples.name.startswith("s"):
        return 24
    narrow = any(part in codec for part in ("24", "20", "dvd", "bluray"))
    return 24 if samples.bits == 32 and narrow else samples.bits


def copy_survives(excerpt: Excerpt, format_name: str, sound: DecodedSound | None) -> bool:
    """Whether the packets, copied to this format, come back with the same sound."""
    found = excerpt.packets

    def write(out: OutputContainer) -> None:
        target = out.add_stream_from_template(excerpt.stream)
        out.start_encoding()
        for packet in map(_packet_copy, found):
            packet.stream = target
            out.mux(packet)

    if sound is None:
        sizes = [packet.size for packet in found]
        return _read_back(write, format_name, _sizes) == sizes
    if not _are_timed(found):
        return False
    again = _read_back(write, format_name, _decode_audio)
    return again is not None and again.codec == sound.codec and _same(again, sound)


def _are_timed(found: list[Any]) -> bool:
    """Whether most packets have distinct times; RealMedia gives one to a whole block."""
    return 2 * len({packet.pts for packet in found} - {None}) >= len(found)


def _packet_copy(packet: Any) -> Any:
    """Return a packet to mux, while the original is kept for another trial."""
    twin = av.Packet(bytes(packet))
    twin.dts = packet.dts if packet.dts is not None else packet.pts
    twin.pts = packet.pts if packet.pts is not None else packet.dts
    twin.duration, twin.time_base = packet.duration, packet.time_base
    twin.is_keyframe = packet.is_keyframe
    return twin


def _same(found: DecodedSound, sound: DecodedSound) -> bool:
    pairs = zip(found.levels, sound.levels, strict=False)
    similar = all(abs(a - b) <= _ALIKE * b + _SILENCE for a, b in pairs)
    placed = found.speakers == sound.speakers or sound.count > MOST_LABELLED
    return similar and placed and _lasts(found, sound, sound.rate)


def _lasts(found: DecodedSound, sound: DecodedSound, rate: int) -> bool:
    """Whether sample rate and length are as expected."""
    lengths = (sound.samples / sound.rate, sound.seconds)
    slack = _SLACK + 2 * sound.longest / sound.rate
    length = found.samples / found.rate
    return found.rate == rate and min(lengths) - slack <= length <= max(lengths) + slack


def encoding_survives(encoding: Encoding, format_name: str, sound: DecodedSound) -> bool:
    """Whether the sound, encoded to this format, plays when read back."""

    def write(out: OutputContainer) -> None:
        target = add_encoder(out, encoding)
        encoder = SoundEncoder(target, encoding, sound.channels, None)
        for frame in sound.frames:
            out.mux(list(encoder.encode(frame)))
        out.mux(list(encoder.rest()))

    found = _read_back(write, format_name, _decode_audio)
    if found is None or not _lasts(found, sound, encoding.rate):
        return False
    if found.speakers != merged(speakers(encoding.layout)):
        return False
    mixed = found.count < sound.count
    return mixed or _energy(found) >= _QUIETER * _energy(sound) - _SILENCE


def _energy(sound: DecodedSound) -> float:
    """Return the energy of the loudest channel; gaps from damage lower its level."""
    return max(sound.levels, default=0.0) ** 2 * sound.samples / sound.rate


def _written(write: Callable[[OutputContainer], None], format_name: str) -> io.BytesIO | None:
    """Return a finished file in memory; None if its format refuses the stream."""
    file = io.BytesIO()
    try:
        with av.open(file, "w", format=format_name, options={"fflags": "+bitexact"}) as out:
            write(out)
    except (*FAULTS, TypeError, AttributeError):
        return None
    return file


def _read_back(
    write: Callable[[OutputContainer], None], format_name: str, read: Callable[[Any], Any]
) -> Any:
    """Return the result of `look` for a file written in memory; None if it failed."""
    file = _written(write, format_name)
    if file is None:
        return None
    try:
        with open_memory(file) as again:
            return read(again)
    except FAULTS:
        return None


def _decode_audio(source: InputContainer) -> DecodedSound | None:
    stream = source.streams.audio[0]
    return decode_sound(stream, list(source.demux(stream)))


def _sizes(source: InputContainer) -> list[int]:
    return [packet.size for packet in source.demux(source.streams.audio[0]) if packet.size]
