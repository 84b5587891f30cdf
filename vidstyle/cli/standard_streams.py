"""Standard streams and stop signals of the process, as the command line needs them.

Used by `cli.main` alone: nothing else in vidstyle touches what belongs to the process.
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

_STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))  # in the order of their descriptors


def prepare_streams() -> None:
    """Make the standard streams usable: none is closed, none stops the run over a name or stderr.

    A descriptor that is closed (`>&-`) gets the null device: else the next file to be opened would
    take it, and get what libraries write to stdout or stderr. stdout and stderr write names that
    are not UTF-8 with escapes. What cannot be written to stderr is lost.
    """
    for number, (name, mode) in enumerate(_STREAMS):
        _open_closed(number, name, mode)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if sys.stdout is sys.__stdout__:
        sys.stdout = _rewrapped(sys.stdout, _Watched)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _rewrapped(sys.stderr, _Tolerant)


def _rewrapped(stream: Any, kind: type[io.FileIO]) -> Any:
    """Return a text stream like `stream`, on another kind of raw file."""
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(kind(stream.fileno(), "w", closefd=False)),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
    )


class _Watched(io.FileIO):
    """A raw file that notes why it could not be written."""

    fault: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return super().write(data) or 0
        except OSError as error:
            self.fault = error
            raise


class _Tolerant(io.FileIO):
    """A raw file that loses what cannot be written: a run does not end because stderr is full."""

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
        stream = open(os.devnull, mode, encoding="utf-8")  # noqa: PTH123, SIM115 - for good
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def lost_output() -> tuple[str, int] | None:
    """Write out what stdout holds; return a sentence and the exit code if stdout takes no more.

    It then leads to the null device, so that no later write fails again.
    """
    with suppress(OSError):
        sys.stdout.flush()
    fault = getattr(getattr(getattr(sys.stdout, "buffer", None), "raw", None), "fault", None)
    if fault is None:
        return None
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
    if isinstance(fault, BrokenPipeError):
        return "nobody reads the output any more", VidstyleError.exit_code
    why = f"{fault.strerror}; send it to another place"
    return f"cannot write to the standard output: {why}", OutputError.exit_code


@contextmanager
def stop_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise KeyboardInterrupt, as SIGINT does; afterwards as before.

    A SIGHUP that is ignored (`nohup`) stays ignored. Only the main thread can set handlers.
    """
    usual: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):  # Windows has no SIGHUP
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                usual[number] = signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, handler in usual.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt
