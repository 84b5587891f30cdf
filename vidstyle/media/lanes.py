"""Lanes: the way of one stream's packets from a source into the result."""

from collections.abc import Iterator
from typing import Any

from av.container import OutputContainer
from av.stream import Disposition

from vidstyle.media.reorder import DecodingTimes
from vidstyle.media.transcoding import Transcoder, Window

__all__ = ["Lane", "PicturesLane", "SoundLane", "WordsLane", "is_cover"]


class Lane:
    """The way of one stream: its packets as they are.

    title: how messages name it. met, lost: how many packets came, and how many could not go.
    skipped: how many do not decode without those before the part.
    """

    def __init__(self, target: Any, title: str):
        self.target, self.title = target, title
        self.met = self.lost = self.skipped = 0

    def move(self, packet: Any, window: Window, out: OutputContainer) -> None:
        if packet.dts is None:
            packet.dts = 0 if is_cover(packet.stream) else packet.pts
        if packet.dts is None:
            raise ValueError("a packet without a time")
        if is_cover(packet.stream):
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


class PicturesLane(Lane):
    """The way of a video that is not the film: its packets, from a key frame on."""

    def __init__(self, target: Any, title: str):
        super().__init__(target, title)
        self._times = DecodingTimes()
        self._begun = False

    def move(self, packet: Any, window: Window, out: OutputContainer) -> None:
        packet.pts = packet.dts if packet.pts is None else packet.pts
        if not _within(packet.pts, packet, window):
            return
        self._begun = self._begun or packet.is_keyframe
        if not self._begun:
            self.skipped += 1
            return
        packet.pts -= round(window[0] / packet.time_base) if window else 0
        self._mux(self._times.put(packet), out)

    def flush(self, out: OutputContainer) -> None:
        self._mux(self._times.rest(), out)

    def _mux(self, ready: Iterator[Any], out: OutputContainer) -> None:
        for packet in ready:
            packet.stream = self.target
            out.mux(packet)


class SoundLane(Lane):
    """The way of a sound that is decoded and encoded anew."""

    def __init__(self, target: Any, title: str, maker: Transcoder):
        super().__init__(target, title)
        self._maker = maker

    def move(self, packet: Any, window: Window, out: OutputContainer) -> None:
        out.mux(list(self._maker.packets(packet)))

    def flush(self, out: OutputContainer) -> None:
        out.mux(list(self._maker.rest()))


class WordsLane(Lane):
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


def is_cover(stream: Any) -> bool:
    return bool(stream.disposition & Disposition.attached_pic)


def _within(stamp: int, timed: Any, window: Window) -> bool:
    return window is None or bool(window[0] <= stamp * timed.time_base < window[1])


def _is_priming(packet: Any, out: OutputContainer) -> bool:
    """Tell whether a packet ends before 0, unheard, in a format that has no times before 0.

    Matroska has a codec delay instead, which is copied from another Matroska file with its packets.
    """
    before = packet.pts is not None and packet.pts < 0 >= packet.pts + (packet.duration or 0)
    delayed = "matroska" in packet.stream.container.format.name
    return before and not delayed and out.format.name in ("matroska", "webm")


def _shift(packet: Any, window: Window) -> None:
    if window:
        ticks = round(window[0] / packet.time_base)
        packet.dts -= ticks
        packet.pts = packet.dts if packet.pts is None else packet.pts - ticks
