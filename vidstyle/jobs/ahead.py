"""LookAhead: advances the temporal method to the next frame while a frame is optimised."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from vidstyle.coherence.interface import Coherence, SourceFrame
from vidstyle.memory import available

__all__ = ["LookAhead"]

# Bytes a pixel that must be available to look ahead: motion and key frame track take 230 (measured
# at 1920x1080); the rest is left to the network.
_ROOM = 1200


class LookAhead:
    """Takes source frames in order and calls `coherence.advance` for each, at most one ahead.

    A context manager: on exit, its thread has ended. Where memory is short, nothing is done ahead.
    Only `advance`, which computes optical flow with OpenCV and NumPy, runs in the thread. Frames
    are read by the caller's thread, since decoding limits the memory of the whole process for a
    moment and reports warnings.
    """

    def __init__(self, frames: Iterator[SourceFrame], coherence: Coherence) -> None:
        self._frames, self._coherence = frames, coherence
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="vidstyle-ahead")
        self._pending: Future[SourceFrame | None] | None = None
        self._pixels = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)

    def begin(self) -> None:
        """Read the next frame, and begin to advance to it in the thread.

        `take` returns it. Until then, call nothing of the temporal method but `finish`. An error
        is raised by `take`, so that it does not prevent the newest frame from being finished.
        """
        free = available()
        if free is not None and free < _ROOM * self._pixels:
            return
        try:
            frame = next(self._frames, None)
        except Exception as error:  # raised by take
            self._pending = Future()
            self._pending.set_exception(error)
        else:
            self._pending = self._thread.submit(self._advanced, frame)

    def take(self) -> SourceFrame | None:
        """Return the next frame, once the temporal method has advanced to it; None at the end."""
        pending, self._pending = self._pending, None
        return self._advanced(next(self._frames, None)) if pending is None else pending.result()

    def _advanced(self, frame: SourceFrame | None) -> SourceFrame | None:
        if frame is not None:
            self._pixels = frame.image.shape[0] * frame.image.shape[1]
            self._coherence.advance(frame)
        return frame
