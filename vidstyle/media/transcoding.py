"""Sound decoded and encoded anew: packets of a source in, packets of an output stream out."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import av.error
import numpy as np
from av.container import OutputContainer
from av.filter import Graph

from vidstyle.media.layouts import Channels, decoded, layout_names, merged, named, settle, speakers

__all__ = ["Encoding", "SoundEncoder", "Transcoder", "Window", "add_encoder", "to_samples"]

Window = tuple[Fraction, Fraction] | None  # seconds of the source that are kept; None keeps all
Samples = np.ndarray[Any, np.dtype[np.float32]]

# Bit rates at which FFmpeg's AAC and Opus encoders are transparent for most listeners.
_BITS, _BITS_SURROUND = 96_000, 64_000  # bits a second and channel, up to stereo and beyond
# Timestamps are rounded to a millisecond in most containers; a gap or an overlap beyond one codec
# frame (21 ms for AAC) is filled with silence or cut, so that sound stays with the picture.
_GAP = "0.02"
# Seconds that are decoded before a part of the source: codecs need some frames, and RealMedia gives
# one time to a block of several seconds.
_PREROLL = 10


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """An encoder and what it is given. layout, format: as FFmpeg names them; rate: in Hz."""

    codec: str
    rate: int
    layout: str
    format: str
    lossless: bool


def add_encoder(out: OutputContainer, encoding: Encoding) -> Any:
    """Add an audio stream that is encoded. Raises what PyAV raises where it does not go."""
    target: Any = out.add_stream(encoding.codec, rate=encoding.rate)
    target.layout, target.format = encoding.layout, encoding.format
    context = target.codec_context
    context.flags |= av.codec.context.Flags.bitexact
    if not encoding.lossless:
        count = context.layout.nb_channels
        context.bit_rate = count * (_BITS if count <= 2 else _BITS_SURROUND)
    context.time_base = target.time_base = Fraction(1, encoding.rate)
    return target


class SoundEncoder:
    """Encodes decoded audio frames of any kind, in step with their timestamps.

    channels: of the frames, as the decoder was given them. window: seconds of the source that are
    kept, to the sample; times count from its beginning.
    """

    def __init__(self, target: Any, encoding: Encoding, channels: Channels, window: Window):
        self._target, self._encoding = target, encoding
        self._channels, self._window = channels, window
        self._converter: _Converter | None = None
        self._sync: Graph | None = None
        self._next = 0  # timestamp at which the next frame is expected
        self._told: int | None = None  # the last one told; RealMedia repeats it for a whole block
        self._base: Fraction | None = None

    def encode(self, frame: Any) -> Iterator[Any]:
        """Yield the packets that are finished once this frame is in."""
        self._time(frame)
        if self._converter is None or not self._converter.takes(frame):
            if self._converter:
                yield from self._packets(self._converter.push(None))
            self._converter = _Converter(frame, self._channels, self._encoding)
        yield from self._packets(self._converter.push(frame))

    def rest(self) -> Iterator[Any]:
        """Yield what the filters and the encoder still hold at the end."""
        if self._converter:
            yield from self._packets([*self._converter.push(None), None])
            yield from self._target.encode(None)

    def _time(self, frame: Any) -> None:
        """Give a frame without a time of its own the one at which it is expected."""
        if frame.time_base is None:  # of what a decoder held back to the end
            frame.time_base = self._base or Fraction(1, frame.sample_rate)
        self._base = frame.time_base
        if frame.pts is None or frame.pts == self._told:
            frame.pts = self._next
        else:
            self._told = frame.pts
        length = Fraction(frame.samples, frame.sample_rate)
        self._next = frame.pts + round(length / frame.time_base)

    def _packets(self, frames: list[Any]) -> Iterator[Any]:
        """Encode frames as the encoder takes them, their gaps filled and their overlaps cut."""
        rate = self._encoding.rate
        for frame in frames:
            if self._sync is None and frame is not None:
                self._sync = _graph(frame, self._encoding.layout, _sync_filters(rate, self._window))
            for made in _pulled(self._sync, frame) if self._sync else ():
                made.pts -= 0 if self._window is None else round(self._window[0] * rate)
                yield from self._target.encode(made)


class Transcoder:
    """Decodes the packets of one audio stream and encodes their sound for another."""

    def __init__(self, stream: Any, target: Any, encoding: Encoding, window: Window):
        self._decoder = stream.codec_context
        self._encoder = SoundEncoder(target, encoding, settle(self._decoder), window)
        self._window = window

    def packets(self, packet: Any) -> Iterator[Any]:
        """Yield what is encoded once this packet is known. Raises what a decoder raises."""
        if not self._is_early(packet):
            for frame in decoded(self._decoder, packet):
                yield from self._encoder.encode(frame)

    def _is_early(self, packet: Any) -> bool:
        stamp = packet.pts if packet.pts is not None else packet.dts
        if self._window is None or stamp is None:
            return False
        return bool(stamp * packet.time_base < self._window[0] - _PREROLL)

    def rest(self) -> Iterator[Any]:
        """Yield what the decoder and the encoder still hold at the end."""
        try:
            frames = decoded(self._decoder, None)
        except av.error.FFmpegError:  # a decoder that was never opened, or has failed
            frames = []
        for frame in frames:
            yield from self._encoder.encode(frame)
        yield from self._encoder.rest()


class _Converter:
    """Brings frames of one kind to the rate, the channels and the format of an encoder."""

    def __init__(self, frame: Any, channels: Channels, encoding: Encoding):
        self._kind = _kind(frame)
        layout = named(frame.layout) or channels.layout
        if frame.layout.nb_channels != channels.count:  # the stream changes on its way
            layout = named(frame.layout) or f"{frame.layout.nb_channels} channels"
            channels = Channels(layout, ())
        mix = _mix(channels, encoding.layout)
        wanted = {
            "sample_fmts": encoding.format,
            "sample_rates": str(encoding.rate),
            "channel_layouts": encoding.layout,
        }
        filters: list[_FilterOptions] = [("pan", mix)] if mix else []
        if layout.startswith("ambisonic"):  # pan does not know these
            places = "|".join(f"0-{name}" for name in speakers(encoding.layout))
            options = {"map": places, "channel_layout": encoding.layout}
            filters = [("channelmap", options)]
        filters += [("aformat", wanted), ("asettb", f"1/{encoding.rate}")]
        self._graph = _graph(frame, layout, filters)

    def takes(self, frame: Any) -> bool:
        return self._kind == _kind(frame)

    def push(self, frame: Any) -> list[Any]:
        """Return what comes out once this frame, or with None the last one, is in."""
        return _pulled(self._graph, frame)


_FilterOptions = tuple[str, str | dict[str, str]]


def _sync_filters(rate: int, window: Window) -> "list[_FilterOptions]":
    """Return filters that fill gaps and cut overlaps, and keep what lies in the window."""
    sync: _FilterOptions = ("aresample", {"async": "1", "min_hard_comp": _GAP})
    if window is None:
        return [sync]
    first, last = (str(round(edge * rate)) for edge in window)
    return [sync, ("atrim", {"start_pts": first, "end_pts": last})]


def _graph(frame: Any, layout: str, filters: "list[_FilterOptions]") -> Graph:
    """Return a chain of filters for frames like this one."""
    graph = Graph()
    source = graph.add(
        "abuffer",
        sample_rate=str(frame.sample_rate),
        sample_fmt=frame.format.name,
        channel_layout=layout,
        time_base=str(frame.time_base or Fraction(1, frame.sample_rate)),
    )
    between = [
        graph.add(name, words) if isinstance(words, str) else graph.add(name, **words)
        for name, words in filters
    ]
    graph.link_nodes(source, *between, graph.add("abuffersink")).configure()
    return graph


def _pulled(graph: Graph, frame: Any) -> list[Any]:
    made: list[Any] = []
    with suppress(av.error.EOFError):  # atrim takes nothing beyond its end
        graph.push(frame)
    while True:
        try:
            made.append(graph.pull())
        except (av.error.BlockingIOError, av.error.EOFError):
            return made


def to_samples(frames: list[Any], channels: Channels) -> Samples:
    """Return the samples of frames of one kind, [N, C], float32, full scale is -1..1.

    PyAV 18.1 reads past the planes of a planar frame of eight channels, so they are interleaved.
    """
    layout = named(frames[0].layout) or channels.layout
    graph = _graph(frames[0], layout, [("aformat", {"sample_fmts": "flt"})])
    made = [out for frame in [*frames, None] for out in _pulled(graph, frame)]
    return np.concatenate([out.to_ndarray().reshape(-1, channels.count) for out in made])


def _kind(frame: Any) -> tuple[Any, ...]:
    return frame.format.name, frame.layout.nb_channels, named(frame.layout), frame.sample_rate


def _mix(channels: Channels, target: str) -> str | None:
    """Return the argument of FFmpeg's filter pan that puts each channel where it belongs.

    None where the channels have their usual order, which the resampler knows how to mix.
    """
    known = speakers(target)
    if not channels.names and not speakers(channels.layout) and known:  # e.g. 12 microphones
        every = "+".join(f"c{index}" for index in range(channels.count))
        return f"{target}|{'|'.join(f'{name}<{every}' for name in known)}"
    if not channels.reordered:
        return None
    wide = next((name for name in layout_names() if _holds(name, channels.names)), None)
    if wide is None:
        return None
    own = dict(zip(merged(speakers(wide)), speakers(wide), strict=True))
    if not set(channels.names) <= set(speakers(wide)):
        placed = [own[name] for name in merged(channels.names)]
    else:
        placed = list(channels.names)
    return f"{wide}|{'|'.join(f'{name}=c{index}' for index, name in enumerate(placed))}"


def _holds(layout: str, names: tuple[str, ...]) -> bool:
    return set(merged(speakers(layout))) >= set(merged(names))
