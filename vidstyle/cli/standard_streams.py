"""Standard streams and stop signals of the process.

Only `cli.main` uses this module; nothing else in vidstyle changes process-wide state.
"""

import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

from vidstyle.errors import OutputError, VidstyleError

__all__ = ["lost_output", "prepare_streams", "stop_signals"]

_STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))  # by descriptor: 0, 1, 2


def prepare_streams() -> None:
    """Make the standard streams safe to use.

    A closed descriptor (`>&-`) is opened on the null device; otherwise the next opened file would
    get its number and receive what libraries write to stdout or stderr. Undecodable file names are
    written with backslash escapes. Writes that stderr refuses are discarded.
    """
    for number, (name, mode) in enumerate(_STREAMS):
        _open_closed(number, name, mode)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if sys.stdout is sys.__stdout__:
        sys.stdout = _rewrapped(sys.stdout, _RecordingFile)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _rewrapped(sys.stderr, _LossyFile)


def _rewrapped(stream: Any, kind: type[io.FileIO]) -> Any:
    """Return a text stream like `stream` on a raw file of class `kind`."""
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(kind(stream.fileno(), "w", closefd=False)),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
    )


class _RecordingFile(io.FileIO):
    """A raw file that records the last error of a write."""

    fault: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return super().write(data) or 0
        except OSError as error:
            self.fault = error
            raise


class _LossyFile(io.FileIO):
    """A raw file that discards failed writes, so that a full stderr does not stop a run."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data) or 0
        except OSError:
            return len(data)


def _open_closed(number: int, name: str, mode: str) -> None:
    try:
        os.fstat(number)
    except OSError:
        found = os.open(os.devnull, os.O_RDWR)
        if found != number:
            os.dup2(found, number)
            os.close(found)
    if getattr(sys, name) is None:
        stream = open(os.devnull, mode, encoding="utf-8")  # noqa: PTH123, SIM115 - stays open
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def lost_output() -> tuple[str, int] | None:
    """Flush stdout; return a message and an exit code if it cannot be written, else None.

    After a failure stdout is redirected to the null device, so that later writes succeed.
    """
    with suppress(OSError):
        sys.stdout.flush()
    fault = getattr(getattr(getattr(sys.stdout, "buffer", None), "raw", None), "fault", None)
    if fault is None:
        return None
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
    if isinstance(fault, BrokenPipeError):
        return "the reader of the output closed the pipe", VidstyleError.exit_code
    why = f"{fault.strerror}; redirect it elsewhere"
    return f"cannot write to standard output: {why}", OutputError.exit_code


@contextmanager
def stop_signals() -> Iterator[None]:
    """Make SIGTERM and SIGHUP raise KeyboardInterrupt like SIGINT; restore the handlers on exit.

    An ignored SIGHUP (`nohup`) stays ignored. No effect outside the main thread.
    """
    previous: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):  # Windows has no SIGHUP
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                previous[number] = signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt
