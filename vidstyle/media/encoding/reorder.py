"""Decoding times for copied video packets, recomputed from their display times."""

from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Any

__all__ = ["DecodingTimes"]

_REORDERED = 32  # packets within which storage order differs from display order


class DecodingTimes:
    """Assigns decoding times to the packets of one video stream, with a delay of some packets.

    Containers without decoding times (Matroska) leave some unknown or later than the display time,
    which muxers refuse. The new ones are the sorted display times minus the reordering delay.
    """

    def __init__(self) -> None:
        self._waiting: list[Any] = []
        self._shown: list[int] = []
        self._early: int | None = None

    def put(self, packet: Any) -> Iterator[Any]:
        """Add a packet, which has a pts; yield those that are ready."""
        self._waiting.append(packet)
        heappush(self._shown, packet.pts)
        if len(self._waiting) > _REORDERED:
            yield self._next()

    def rest(self) -> Iterator[Any]:
        """Yield the remaining packets."""
        while self._waiting:
            yield self._next()

    def _next(self) -> Any:
        if self._early is None:
            pairs = zip(sorted(self._shown), self._waiting, strict=True)
            self._early = max(0, *(stamp - packet.pts for stamp, packet in pairs))
        packet = self._waiting.pop(0)
        packet.dts = min(heappop(self._shown) - self._early, packet.pts)
        return packet
