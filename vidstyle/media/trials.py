"""Trials of sound: the first packets of a stream are written into a file in memory and read back.

What a container takes at its beginning it may refuse with the first packet or at its end, or keep
in a way in which no decoder hears it. So the file is finished, opened again and decoded.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import av
import av.error
import numpy as np
from av.container import InputContainer, OutputContainer

from vidstyle.media.containers import open_memory
from vidstyle.media.decode import FAULTS, codec_name, packets
from vidstyle.media.layouts import Channels, decoded, merged, named, settle, speakers
from vidstyle.media.transcoding import Encoding, SoundEncoder, Window, add_encoder, to_samples

__all__ = [
    "EXCERPT",
    "MOST_LABELLED",
    "Excerpt",
    "Heard",
    "codec_of",
    "copy_survives",
    "encoding_survives",
    "excerpts",
    "listen",
]

EXCERPT = 2  # seconds of a stream that are tried: several frames of every codec
_PACKETS = 4000  # of an excerpt at most: TrueHD has 1200 a second
_AHEAD = 10  # seconds that streams of one file may lie apart
# Channels beyond which a copy may lose what each is for, as it is better than a mix of them.
MOST_LABELLED = 8
_SLACK = 0.1  # seconds of an excerpt that padding and priming may add or remove
_QUIETER = 0.3  # of the energy of the source: less means that the sound is not heard
_ALIKE = 0.1  # relative difference in level of a channel that decoding a copy may show
_SILENCE = 1e-3  # RMS level or energy, of 1, below which sounds are not compared


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What an excerpt decodes to.

    speakers: of each channel, side ones as back ones; () if unknown. samples: for each channel.
    seconds: from the first to the end of the last, with gaps. levels: RMS of each channel, 1 is
    full scale. longest: samples of the longest frame. depth: bits. frames, channels: as decoded.
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
    """The first packets of a stream. used: whether any packet lies in the part that is kept."""

    stream: Any
    packets: list[Any]
    used: bool = False

    def take(self, packet: Any) -> None:
        """Keep a packet if it belongs to the beginning."""
        if not self.is_full:
            self.packets.append(packet)

    @property
    def is_full(self) -> bool:
        if len(self.packets) < 2:
            return False
        first, last = self.packets[0].dts, self.packets[-1].dts
        timed = first is not None and last is not None
        long = timed and (last - first) * self.stream.time_base > EXCERPT
        return long or len(self.packets) >= _PACKETS


def codec_of(stream: Any) -> str:
    """Return the name of a codec, whichever of its decoders is used ("mp3", not "mp3float")."""
    context = stream.codec_context
    return codec_name(stream) if context is None else context.codec.canonical_name


def excerpts(source: InputContainer, streams: list[Any], window: Window) -> dict[int, Excerpt]:
    """Read the beginning of each stream."""
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


def listen(stream: Any, found: list[Any]) -> Heard | None:
    """Decode packets; return what is heard, None if nothing."""
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
    if channels.count != count:  # the header says otherwise than the decoder
        channels = Channels(named(first.layout) or f"{count} channels", ())
    names = channels.names or speakers(named(first.layout) or channels.layout)
    try:
        samples = to_samples([frame for frame in frames if _kind(frame) == _kind(first)], channels)
    except FAULTS:  # channels that FFmpeg's filters do not know
        return None
    return Heard(
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
    """Return the seconds from the first frame to the end of the last one, as their times say."""
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
    """Return the bits of a sample as the codec keeps them; 32-bit formats may hold 24."""
    if samples.bits == 32 and not codec.startswith("pcm_") and samples.name.startswith("s"):
        return 24
    narrow = any(word in codec for word in ("24", "20", "dvd", "bluray"))
    return 24 if samples.bits == 32 and narrow else samples.bits


def copy_survives(excerpt: Excerpt, format_name: str, heard: Heard | None) -> bool:
    """Tell whether the packets come back from a file of this format, and sound the same."""
    found = excerpt.packets

    def write(out: OutputContainer) -> None:
        target = out.add_stream_from_template(excerpt.stream)
        out.start_encoding()
        for packet in map(_copied, found):
            packet.stream = target
            out.mux(packet)

    if heard is None:
        sizes = [packet.size for packet in found]
        return _read_back(write, format_name, _sizes) == sizes
    if not _are_timed(found):
        return False
    again = _read_back(write, format_name, _hear)
    return again is not None and again.codec == heard.codec and _same(again, heard)


def _are_timed(found: list[Any]) -> bool:
    """Tell whether most packets have a time of their own; RealMedia gives one to a whole block."""
    return 2 * len({packet.pts for packet in found} - {None}) >= len(found)


def _copied(packet: Any) -> Any:
    """Return a packet that can be muxed while the other is kept for another trial."""
    twin = av.Packet(bytes(packet))
    twin.dts = packet.dts if packet.dts is not None else packet.pts
    twin.pts = packet.pts if packet.pts is not None else packet.dts
    twin.duration, twin.time_base = packet.duration, packet.time_base
    twin.is_keyframe = packet.is_keyframe
    return twin


def _same(found: Heard, heard: Heard) -> bool:
    pairs = zip(found.levels, heard.levels, strict=False)
    alike = all(abs(a - b) <= _ALIKE * b + _SILENCE for a, b in pairs)
    placed = found.speakers == heard.speakers or heard.count > MOST_LABELLED
    return alike and placed and _lasts(found, heard, heard.rate)


def _lasts(found: Heard, heard: Heard, rate: int) -> bool:
    """Tell whether rate and length are as wanted."""
    lengths = (heard.samples / heard.rate, heard.seconds)
    slack = _SLACK + 2 * heard.longest / heard.rate
    length = found.samples / found.rate
    return found.rate == rate and min(lengths) - slack <= length <= max(lengths) + slack


def encoding_survives(encoding: Encoding, format_name: str, heard: Heard) -> bool:
    """Tell whether the sound can be encoded so, and is heard when it is read back."""

    def write(out: OutputContainer) -> None:
        target = add_encoder(out, encoding)
        encoder = SoundEncoder(target, encoding, heard.channels, None)
        for frame in heard.frames:
            out.mux(list(encoder.encode(frame)))
        out.mux(list(encoder.rest()))

    found = _read_back(write, format_name, _hear)
    if found is None or not _lasts(found, heard, encoding.rate):
        return False
    if found.speakers != merged(speakers(encoding.layout)):
        return False
    mixed = found.count < heard.count
    return mixed or _energy(found) >= _QUIETER * _energy(heard) - _SILENCE


def _energy(heard: Heard) -> float:
    """Return the energy of the loudest channel: damage leaves gaps, which lower its level."""
    return max(heard.levels, default=0.0) ** 2 * heard.samples / heard.rate


def _written(write: Callable[[OutputContainer], None], format_name: str) -> io.BytesIO | None:
    """Write a file in memory, to its end; return it, None if its format refuses."""
    file = io.BytesIO()
    try:
        with av.open(file, "w", format=format_name, options={"fflags": "+bitexact"}) as out:
            write(out)
    except (*FAULTS, TypeError, AttributeError):
        return None
    return file


def _read_back(
    write: Callable[[OutputContainer], None], format_name: str, look: Callable[[Any], Any]
) -> Any:
    """Return what `look` finds in the audio stream of a file in memory, None if there is none."""
    file = _written(write, format_name)
    if file is None:
        return None
    try:
        with open_memory(file) as again:
            return look(again)
    except FAULTS:
        return None


def _hear(source: InputContainer) -> Heard | None:
    stream = source.streams.audio[0]
    return listen(stream, list(source.demux(stream)))


def _sizes(source: InputContainer) -> list[int]:
    return [packet.size for packet in source.demux(source.streams.audio[0]) if packet.size]
