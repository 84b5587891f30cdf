"""Audio re-encoding: packets of a source stream to packets of an output stream."""

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

from vidstyle.media.sound.layouts import (
    Channels,
    decoded,
    holds,
    layout_names,
    merged,
    named,
    settle,
    speakers,
)

__all__ = ["Encoding", "SoundEncoder", "Transcoder", "Window", "add_encoder", "to_samples"]

Window = tuple[Fraction, Fraction] | None  # (start, end) of the source in seconds; None: all
Samples = np.ndarray[Any, np.dtype[np.float32]]

# Bit rates at which FFmpeg's AAC and Opus encoders are transparent for most listeners.
_BITS, _BITS_SURROUND = 96_000, 64_000  # bits per second and channel: up to stereo, above
# Seconds, about one codec frame (21 ms for AAC). A longer gap or overlap is filled with silence or
# cut, to stay in sync; shorter ones are rounding: most containers keep milliseconds.
_GAP = "0.02"
# Seconds decoded before a window: codecs need some frames, and RealMedia gives a block of several
# seconds one timestamp.
_PREROLL = 10


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """Parameters of an audio encoder. layout, format: FFmpeg names; rate: in Hz."""

    codec: str
    rate: int
    layout: str
    format: str
    lossless: bool


def add_encoder(out: OutputContainer, encoding: Encoding) -> Any:
    """Add an encoded audio stream to the output. Raises PyAV's exceptions if refused."""
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
    """Encodes decoded audio frames of any format, in sync with their timestamps.

    channels: of the frames, as given to the decoder. window: interval in seconds of the source to
    keep, exact to the sample; output times count from its start.
    """

    def __init__(self, target: Any, encoding: Encoding, channels: Channels, window: Window):
        self._target, self._encoding = target, encoding
        self._channels, self._window = channels, window
        self._converter: _Converter | None = None
        self._sync: Graph | None = None
        self._expected = 0  # timestamp of the next frame
        self._last_pts: int | None = None  # RealMedia repeats it for a whole block
        self._base: Fraction | None = None

    def encode(self, frame: Any) -> Iterator[Any]:
        """Yield the packets that are complete after this frame."""
        self._time(frame)
        if self._converter is None or not self._converter.takes(frame):
            if self._converter:
                yield from self._packets(self._converter.push(None))
            self._converter = _Converter(frame, self._channels, self._encoding)
        yield from self._packets(self._converter.push(frame))

    def rest(self) -> Iterator[Any]:
        """Yield the packets still buffered in the filters and the encoder."""
        if self._converter:
            yield from self._packets([*self._converter.push(None), None])
            yield from self._target.encode(None)

    def _time(self, frame: Any) -> None:
        """Set the timestamp of a frame that has none to the expected one."""
        if frame.time_base is None:  # of a frame flushed by the decoder
            frame.time_base = self._base or Fraction(1, frame.sample_rate)
        self._base = frame.time_base
        if frame.pts is None or frame.pts == self._last_pts:
            frame.pts = self._expected
        else:
            self._last_pts = frame.pts
        length = Fraction(frame.samples, frame.sample_rate)
        self._expected = frame.pts + round(length / frame.time_base)

    def _packets(self, frames: list[Any]) -> Iterator[Any]:
        """Encode converted frames, filling gaps and cutting overlaps."""
        rate = self._encoding.rate
        for frame in frames:
            if self._sync is None and frame is not None:
                self._sync = _graph(frame, self._encoding.layout, _sync_filters(rate, self._window))
            for made in _pulled(self._sync, frame) if self._sync else ():
                made.pts -= 0 if self._window is None else round(self._window[0] * rate)
                yield from self._target.encode(made)


class Transcoder:
    """Decodes the packets of one audio stream and re-encodes them."""

    def __init__(self, stream: Any, target: Any, encoding: Encoding, window: Window):
        self._decoder = stream.codec_context
        self._encoder = SoundEncoder(target, encoding, settle(self._decoder), window)
        self._window = window

    def packets(self, packet: Any) -> Iterator[Any]:
        """Yield the packets that are complete after this one. Raises decoder exceptions."""
        if not self._is_early(packet):
            for frame in decoded(self._decoder, packet):
                yield from self._encoder.encode(frame)

    def _is_early(self, packet: Any) -> bool:
        stamp = packet.pts if packet.pts is not None else packet.dts
        if self._window is None or stamp is None:
            return False
        return bool(stamp * packet.time_base < self._window[0] - _PREROLL)

    def rest(self) -> Iterator[Any]:
        """Yield the packets still buffered in the decoder and the encoder."""
        try:
            frames = decoded(self._decoder, None)
        except av.error.FFmpegError:  # never opened, or failed
            frames = []
        for frame in frames:
            yield from self._encoder.encode(frame)
        yield from self._encoder.rest()


class _Converter:
    """Converts frames of one format to the encoder's rate, channels and sample format."""

    def __init__(self, frame: Any, channels: Channels, encoding: Encoding):
        self._format_of = _format_of(frame)
        layout = named(frame.layout) or channels.layout
        if frame.layout.nb_channels != channels.count:  # the stream's channel count changes
            layout = named(frame.layout) or f"{frame.layout.nb_channels} channels"
            channels = Channels(layout, ())
        mix = _mix(channels, encoding.layout)
        wanted = {
            "sample_fmts": encoding.format,
            "sample_rates": str(encoding.rate),
            "channel_layouts": encoding.layout,
        }
        filters: list[_FilterOptions] = [("pan", mix)] if mix else []
        if layout.startswith("ambisonic"):  # not supported by pan
            places = "|".join(f"0-{name}" for name in speakers(encoding.layout))
            options = {"map": places, "channel_layout": encoding.layout}
            filters = [("channelmap", options)]
        filters += [("aformat", wanted), ("asettb", f"1/{encoding.rate}")]
        self._graph = _graph(frame, layout, filters)

    def takes(self, frame: Any) -> bool:
        return self._format_of == _format_of(frame)

    def push(self, frame: Any) -> list[Any]:
        """Return the output frames after this frame; None flushes."""
        return _pulled(self._graph, frame)


_FilterOptions = tuple[str, str | dict[str, str]]


def _sync_filters(rate: int, window: Window) -> "list[_FilterOptions]":
    """Return filters that fill gaps, cut overlaps and trim to the window."""
    sync: _FilterOptions = ("aresample", {"async": "1", "min_hard_comp": _GAP})
    if window is None:
        return [sync]
    first, last = (str(round(edge * rate)) for edge in window)
    return [sync, ("atrim", {"start_pts": first, "end_pts": last})]


def _graph(frame: Any, layout: str, filters: "list[_FilterOptions]") -> Graph:
    """Return a filter chain for frames of this format."""
    graph = Graph()
    source = graph.add(
        "abuffer",
        sample_rate=str(frame.sample_rate),
        sample_fmt=frame.format.name,
        channel_layout=layout,
        time_base=str(frame.time_base or Fraction(1, frame.sample_rate)),
    )
    between = [
        graph.add(name, options) if isinstance(options, str) else graph.add(name, **options)
        for name, options in filters
    ]
    graph.link_nodes(source, *between, graph.add("abuffersink")).configure()
    return graph


def _pulled(graph: Graph, frame: Any) -> list[Any]:
    made: list[Any] = []
    with suppress(av.error.EOFError):  # atrim accepts nothing after its end
        graph.push(frame)
    while True:
        try:
            made.append(graph.pull())
        except (av.error.BlockingIOError, av.error.EOFError):
            return made


def to_samples(frames: list[Any], channels: Channels) -> Samples:
    """Return the samples of frames of one format, float32 [N, C], full scale is -1..1.

    PyAV 18.1 reads past the planes of a planar frame of eight channels, so they are interleaved.
    """
    layout = named(frames[0].layout) or channels.layout
    graph = _graph(frames[0], layout, [("aformat", {"sample_fmts": "flt"})])
    made = [out for frame in [*frames, None] for out in _pulled(graph, frame)]
    return np.concatenate([out.to_ndarray().reshape(-1, channels.count) for out in made])


def _format_of(frame: Any) -> tuple[Any, ...]:
    return frame.format.name, frame.layout.nb_channels, named(frame.layout), frame.sample_rate


def _mix(channels: Channels, target: str) -> str | None:
    """Return the argument of FFmpeg's `pan` filter that maps each channel to its speaker.

    None if the channels have their standard order, which the resampler can mix.
    """
    known = speakers(target)
    if not channels.names and not speakers(channels.layout) and known:  # e.g. 12 microphones
        every = "+".join(f"c{index}" for index in range(channels.count))
        return f"{target}|{'|'.join(f'{name}<{every}' for name in known)}"
    if not channels.reordered:
        return None
    wide = next((name for name in layout_names() if holds(name, channels.names)), None)
    if wide is None:
        return None
    own = dict(zip(merged(speakers(wide)), speakers(wide), strict=True))
    if not set(channels.names) <= set(speakers(wide)):
        placed = [own[name] for name in merged(channels.names)]
    else:
        placed = list(channels.names)
    return f"{wide}|{'|'.join(f'{name}=c{index}' for index, name in enumerate(placed))}"
