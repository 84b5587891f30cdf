"""Single frames of a video by their index, decoded from the key frame before it.

A container's index lists packets in decoding order. Before a key frame of a closed group of
pictures, as many frames are shown as packets precede it; packets that follow it but are shown
before it ("leading") are counted when they are read. So the index of a frame is known without
reading the file from its start.

What a decoder puts in place of damaged parts depends on earlier frames, even across key frames, on
its threads and on the memory that released frames leave. So once a damaged frame is met, the file
is read from its start and each frame released at once, as in `decode.read_video`.
"""

from bisect import bisect_right
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from vidstyle.errors import CancelledError, MediaError
from vidstyle.image import Image
from vidstyle.media.decoding.conversion import fitted_bytes, to_pixels, to_shown
from vidstyle.media.decoding.decode import (
    FAULTS,
    decode_packet,
    decoder_of,
    main_stream,
    open_video,
    refuse_unknown_colours,
    shape_of,
)
from vidstyle.media.large import side_factor

__all__ = ["KeyFrame", "VideoFrames"]

_RECENT = 256 << 20  # bytes of decoded frames that are kept
_REORDERED = 20  # packets: decoding order differs from the order of the frames by fewer
_DIRECT = 12  # frames: up to here reading from the start takes no longer than a seek
_INDEXED = ("mov,mp4,m4a,3gp,3g2,mj2",)  # demuxers whose index has every packet from the start


class _DamagedError(Exception):
    """A decoded frame is partly damaged."""


@dataclass(frozen=True)
class KeyFrame:
    """A packet from which decoding can start.

    position: of the packet in decoding order. offset: its first byte in the file.
    """

    position: int
    dts: int
    offset: int


class VideoFrames:
    """An open video whose frames are read by index; a context manager.

    frames: their number; for a container without a complete index an estimate by duration and rate
    until `scan` has read all packets. width, height: upright, with square pixels. cancelled:
    called between packets; if it is true, reading a frame raises CancelledError.
    """

    cancelled: Callable[[], bool] = staticmethod(lambda: False)

    def __init__(self, path: Path, side: int, kept: int = _RECENT) -> None:
        """Open the file.

        side: frames are reduced while decoding to no less than twice this. kept: bytes of decoded
        frames in memory.
        """
        self.path = path
        self._kept = kept
        self._side = side
        self._open = ExitStack()
        self._scaler = VideoReformatter()
        self._keys: list[KeyFrame] = []
        self._next = -1  # index of the next frame of `_stream`; -1: there is none
        self._stream: Iterator[VideoFrame] = iter(())
        self._recent: OrderedDict[int, VideoFrame] = OrderedDict()
        self._container: Any = None
        self._damaged, self._last = False, (-1, np.zeros((0, 0, 3), np.float32))
        self._reopen()
        try:
            first = next(self._stream, None)
        except _DamagedError:
            self._read_in_order()
            first = next(self._stream, None)
        if first is None:
            raise MediaError(f"{path}: expected a video with frames, got one of which none decodes")
        refuse_unknown_colours(path, first)
        self.shape = shape_of(path, first, self._video)
        self._reduced = self.shape.reduced(side_factor(side)((self.shape.width, self.shape.height)))
        self._next = 1
        self._keep(0, first)
        self.rate = float(self._video.average_rate or self._video.guessed_rate or 25)
        self._read_index()

    def __enter__(self) -> "VideoFrames":
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the upright frames."""
        return self.shape.upright

    @property
    def starts(self) -> list[int]:
        """Indices of the frames at which decoding can start: the first, and each key frame."""
        keys = [] if self._damaged else [key.position for key in self._keys]
        return keys if keys[:1] == [0] else [0, *keys]

    @property
    def work(self) -> int:
        """Pixels that are decoded at most before a frame is reached."""
        gaps = [end - start for start, end in pairwise([*self.starts, self.frames])]
        return max(gaps) * self.shape.width * self.shape.height

    def _reopen(self) -> None:
        """Start decoding at the first packet."""
        self._open.close()
        self._container = self._open.enter_context(open_video(self.path))
        self._video: Any = main_stream(self._container, self.path)
        if not self._damaged:
            self._video.thread_type = "AUTO"
        packets = _packets(self._container, self._video)
        opening = list(islice(packets, 1))
        self._began = opening[0].dts or 0 if opening else 0
        self._stream = self._intact(self._decoded(chain(opening, packets)), None)
        self._next = 0

    def _read_in_order(self) -> None:
        """Read a damaged file from its start from now on."""
        self._damaged = True
        self._reopen()
        self._recent.clear()

    def _intact(self, stream: Iterator[VideoFrame], since: int | None) -> Iterator[VideoFrame]:
        """Yield the frames shown at or after a time; raise _DamagedError for a damaged one.

        since: in units of the stream's time base. No exception while the file is read in order.
        """
        for frame in stream:
            if since is None or frame.pts is None or frame.pts >= since:
                if frame.is_corrupt and not self._damaged:
                    raise _DamagedError
                yield frame

    def _read_index(self) -> None:
        """Read the container's own index, or estimate the number of frames."""
        self.counted = self._container.format.name in _INDEXED
        if self.counted:
            entries = [e for e in self._video.index_entries if not e.is_discard]
            self.counted = 0 < self._video.frames <= len(entries)  # not in a fragmented file
            self.frames = len(entries)
            shift = self._began - entries[0].timestamp if entries else 0
            self._keys = [
                KeyFrame(position, entry.timestamp + shift, entry.pos)
                for position, entry in enumerate(entries)
                if entry.is_keyframe
            ]
        if not self.counted:
            length = (self._container.duration or 0) / 1e6
            self.frames, self._keys = max(1, self._video.frames or round(length * self.rate)), []

    def scan(self) -> None:
        """Count the frames and find the key frames by reading all packets, without decoding."""
        if self.counted:
            return
        position, keys = 0, []
        with open_video(self.path) as container:
            stream = container.streams[self._video.index]
            for packet in _packets(container, stream):
                if packet.is_keyframe and packet.dts is not None:
                    keys.append(KeyFrame(position, packet.dts, packet.pos))
                position += not packet.is_discard
        rises = all(a.dts < b.dts for a, b in pairwise(keys))
        self.frames, self._keys = max(1, position), keys if rises else []
        self.counted = True

    def read(self, index: int) -> Image:
        """Return a frame, RGB or RGBA float32 [H, W, 3 or 4], 0..1, upright, with square pixels.

        Raises MediaError if there is no such frame.
        """
        if self._damaged and self._last[0] == index:
            return self._last[1]
        return self._pixels(index, self._frame(index))

    def _pixels(self, index: int, frame: VideoFrame) -> Image:
        image = to_pixels(frame, self._reduced, self._scaler)
        if self._damaged:
            self._last = (index, image)
        return image

    def read_shown(self, index: int, side: int) -> Any:
        """Return a frame for display: uint8 RGB [H, W, 3], its long side at most `side`.

        It is `read`'s frame over white. Raises MediaError if there is no such frame.
        """
        if self._damaged and self._last[0] == index:
            return fitted_bytes(self._last[1], side)
        frame = self._frame(index)
        if self._damaged:
            return fitted_bytes(self._pixels(index, frame), side)
        return to_shown(frame, self._reduced, self._scaler, side)

    def _frame(self, index: int) -> VideoFrame:
        """Return a decoded frame; the last ones that were decoded are kept."""
        if index in self._recent:
            self._recent.move_to_end(index)
            return self._recent[index]
        try:
            frame = self._decoded_frame(index)
        except _DamagedError:
            self._read_in_order()
            frame = self._decoded_frame(index)
        if frame is None:
            raise MediaError(
                f"{self.path}: expected a frame from 0 to {self.frames - 1}, got {index}, which "
                "does not decode; choose another"
            )
        return frame

    def _decoded_frame(self, index: int) -> VideoFrame | None:
        """Decode up to a frame and return it."""
        if not (self.counted or self._damaged or self._next <= index < self._next + _DIRECT):
            self.scan()  # without key frames it would be decoded from the start
        keys = [] if self._damaged else self._keys
        at = bisect_right([key.position for key in keys], index) - 1
        ahead = 0 <= self._next <= index
        if not (ahead and (at < 0 or keys[at].position <= self._next)):
            self._seek(at, index)
        position, self._next = self._next, -1  # unknown, should the stream raise
        for frame in self._stream:
            self._keep(position, frame)
            position += 1
            if position > index:
                self._next = position
                return frame
        return None

    def _keep(self, index: int, frame: VideoFrame) -> None:
        if self._damaged:
            return
        self._recent[index] = frame
        each = frame.width * frame.height * 3  # bytes of 8-bit 4:4:4, at least those of 4:2:0
        while len(self._recent) > max(2, self._kept // each):
            self._recent.popitem(last=False)

    def _seek(self, at: int, index: int) -> None:
        """Start decoding at key frame `at`, or an earlier one, so that frame `index` is to come."""
        for number in range(at, max(-1, at - 3), -1):
            if self._keys[number].position == 0 and number == 0 and index < _DIRECT:
                break
            if self._start_at(self._keys[number], index):
                return
        self._reopen()

    def _start_at(self, key: KeyFrame, index: int) -> bool:
        """Start decoding at a key frame, with frame `index` or an earlier one as the next.

        Frames that no other refers to are skipped up to shortly before it. Returns False if the
        key frame was not found, or if it is shown after `index`.
        """
        packets = self._at(key)
        queue = deque(islice(packets, index - key.position + _REORDERED))
        if not queue or any(packet.pts is None for packet in queue):
            return False
        shown = queue[0].pts
        times = sorted(packet.pts for packet in queue if not packet.is_discard)
        first = key.position + times.index(shown) if shown in times else index + 1
        if first > index:
            return False
        wanted = times[index - key.position]
        place = next(n for n, packet in enumerate(queue) if packet.pts == wanted)
        stream = self._decoded(chain(queue, packets), place - _REORDERED)
        stream = self._intact(stream, shown)
        if place <= _REORDERED:
            self._stream, self._next = stream, first
        else:
            self._stream = (f for f in stream if f.pts is None or f.pts >= wanted)
            self._next = index
        return True

    def _at(self, key: KeyFrame) -> Iterator[Any]:
        """Return the packets from a key frame on; none if it was not found.

        A container seeks by decoding time or by presentation time, which is later.
        """
        for later in (max(0, -self._began), 0):
            try:
                self._container.seek(key.dts + later, stream=self._video, backward=True)
            except FAULTS:
                continue
            packets = _packets(self._container, self._video)
            first = list(islice(packets, 1))
            if first and first[0].pos == key.offset:
                return chain(first, packets)
        return iter(())

    def _decoded(self, packets: Iterable[Any], skipped: int = 0) -> Iterator[VideoFrame]:
        """Yield the frames of packets; of the first `skipped` only those that others refer to."""
        decoder, faults = decoder_of(self._video), []  # type: ignore[var-annotated]
        if decoder is self._video.codec_context:
            decoder.flush_buffers()
        for place, packet in enumerate(packets):
            if self.cancelled():
                raise CancelledError(f"{self.path}: the frame is no longer wanted")
            decoder.skip_frame = "NONREF" if place < skipped else "DEFAULT"
            yield from decode_packet(decoder, packet, faults)
        yield from decode_packet(decoder, None, faults)


def _packets(container: Any, stream: Any) -> Iterator[Any]:
    """Yield the packets of a stream that have data, up to the first unreadable place."""
    try:
        for packet in container.demux(stream):
            if packet.size:
                yield packet
    except FAULTS:
        return
