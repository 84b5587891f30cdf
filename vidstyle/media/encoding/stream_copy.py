"""Per-stream muxing: packets of one source stream copied or converted to the output."""

from collections.abc import Iterator
from typing import Any

from av.container import OutputContainer
from av.stream import Disposition

from vidstyle.media.encoding.reorder import DecodingTimes
from vidstyle.media.sound.transcoding import Transcoder, Window

__all__ = ["SoundTranscode", "StreamCopy", "SubtitleTranscode", "VideoCopy", "is_cover"]


class StreamCopy:
    """Copies the packets of one stream.

    title: its name in messages. received, lost: number of packets, and of those that failed.
    skipped: number that do not decode without packets before the window.
    """

    def __init__(self, target: Any, title: str):
        self.target, self.title = target, title
        self.received = self.lost = self.skipped = 0

    def move(self, packet: Any, window: Window, out: OutputContainer) -> None:
        """Write a packet to `out`, its times counted from the window's start.

        Packets outside the window are dropped. Raises PyAV's exceptions for a damaged packet.
        """
        if packet.dts is None:
            packet.dts = 0 if is_cover(packet.stream) else packet.pts
        if packet.dts is None:
            raise ValueError("a packet without a timestamp")
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
        """Mux delayed packets."""


class VideoCopy(StreamCopy):
    """Copies a video stream other than the main one, from a key frame on."""

    def __init__(self, target: Any, title: str):
        super().__init__(target, title)
        self._times = DecodingTimes()
        self._has_key_frame = False

    def move(self, packet: Any, window: Window, out: OutputContainer) -> None:
        packet.pts = packet.dts if packet.pts is None else packet.pts
        if not _within(packet.pts, packet, window):
            return
        self._has_key_frame = self._has_key_frame or packet.is_keyframe
        if not self._has_key_frame:
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


class SoundTranscode(StreamCopy):
    """Re-encodes an audio stream."""

    def __init__(self, target: Any, title: str, transcoder: Transcoder):
        super().__init__(target, title)
        self._transcoder = transcoder

    def move(self, packet: Any, window: Window, out: OutputContainer) -> None:
        out.mux(list(self._transcoder.packets(packet)))

    def flush(self, out: OutputContainer) -> None:
        out.mux(list(self._transcoder.rest()))


class SubtitleTranscode(StreamCopy):
    """Re-encodes text subtitles."""

    def move(self, packet: Any, window: Window, out: OutputContainer) -> None:
        found = packet.stream.codec_context.decode2(packet)
        if found is None:
            return
        encoded = self.target.codec_context.encode_subtitle(found)
        encoded.time_base = packet.time_base
        encoded.pts, encoded.dts, encoded.duration = packet.pts, packet.dts, packet.duration
        if _within(encoded.pts, encoded, window):
            _shift(encoded, window)
            encoded.stream = self.target
            out.mux(encoded)


def is_cover(stream: Any) -> bool:
    """Whether a video stream is a cover picture."""
    return bool(stream.disposition & Disposition.attached_pic)


def _within(stamp: int, timed: Any, window: Window) -> bool:
    return window is None or bool(window[0] <= stamp * timed.time_base < window[1])


def _is_priming(packet: Any, out: OutputContainer) -> bool:
    """Whether a packet ends before 0 (encoder delay) in a format without negative times.

    Matroska stores a codec delay instead, which is copied from Matroska sources.
    """
    before = packet.pts is not None and packet.pts < 0 >= packet.pts + (packet.duration or 0)
    delayed = "matroska" in packet.stream.container.format.name
    return before and not delayed and out.format.name in ("matroska", "webm")


def _shift(packet: Any, window: Window) -> None:
    if window:
        ticks = round(window[0] / packet.time_base)
        packet.dts -= ticks
        packet.pts = packet.dts if packet.pts is None else packet.pts - ticks
