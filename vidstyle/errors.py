"""The exceptions of vidstyle. Each message names the expected value, the actual one and a remedy.

VidstyleError            exit code 1
├── CancelledError       1   the caller cancelled the run
├── UsageError           2   the request is contradictory or incomplete
│   ├── SettingsError    2   an option is out of its bounds
│   └── StateError       2   the saved state belongs to another request
│       └── HeldError    2   another run is using the saved state
├── InputError           3   an input cannot be used
│   ├── MediaError       3   a source or a picture cannot be read
│   ├── GuideError       3   a map or a mask does not match the request
│   └── WeightsError     3   the VGG-19 file is missing, damaged or of an unknown kind
└── OutputError          4   the disk is full, a folder is not writable, a result is incomplete
    └── ContainerError   4   the encoder or the container refuses the frames
"""

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

__all__ = [
    "CancelledError",
    "ContainerError",
    "GuideError",
    "HeldError",
    "InputError",
    "MediaError",
    "OutputError",
    "SettingsError",
    "StateError",
    "UsageError",
    "VidstyleError",
    "WeightsError",
    "as_path",
    "describe_error",
    "name_list",
    "reading",
    "writing",
]


class VidstyleError(Exception):
    """Base of all errors of vidstyle; exit_code: exit status of the command line."""

    exit_code = 1


class CancelledError(VidstyleError):
    """The caller cancelled the run; its finished frames are kept."""


class UsageError(VidstyleError):
    """The request is contradictory or incomplete."""

    exit_code = 2


class SettingsError(UsageError):
    """An option is out of its bounds."""


class StateError(UsageError):
    """The saved state beside the output belongs to another request or is used by another run."""


class HeldError(StateError):
    """Another run is using the saved state beside the output."""


class InputError(VidstyleError):
    """An input cannot be used."""

    exit_code = 3


class MediaError(InputError):
    """A source or a picture cannot be read."""


class GuideError(InputError):
    """A map or a mask does not match the request."""


class WeightsError(InputError):
    """The VGG-19 file is missing, damaged or of an unknown kind."""


class OutputError(VidstyleError):
    """The disk is full, a folder is not writable, or a written result is incomplete."""

    exit_code = 4


class ContainerError(OutputError):
    """The encoder or the container refuses the finished frames, which are kept.

    output: the path that failed. instead: an output that may work. None until known.
    """

    output: Path | None = None
    instead: Path | None = None


def as_path(value: object, name: str, error: type[VidstyleError] = MediaError) -> Path:
    """Return a str or PathLike as a Path. Raises `error` for other types and for null bytes."""
    if isinstance(value, (str, os.PathLike)):
        text = os.fspath(value)
        if isinstance(text, str) and "\0" not in text:
            return Path(text)
    raise error(f"{name}: expected a path, got {type(value).__name__} {value!r:.60}")


def name_list(names: Sequence[str], most: int = 3) -> str:
    """Return the first names and the number of the others: "a, b, c and 4 more"."""
    others = len(names) - most
    return ", ".join(names[:most]) + (f" and {others} more" if others > 0 else "")


def describe_error(error: Exception) -> tuple[str, int]:
    """Return the message and the exit code of any exception, also of an unexpected one."""
    if isinstance(error, VidstyleError):
        return str(error), error.exit_code
    if isinstance(error, PermissionError):
        place = error.filename or "a file"
        message = f"permission denied for {place}; change its permissions or choose another path"
        return message, OutputError.exit_code
    if isinstance(error, OSError) and error.errno and error.filename:
        message = f"cannot use {error.filename}: {os.strerror(error.errno)}; check the disk"
        return message, OutputError.exit_code
    if isinstance(error, MemoryError):
        return "memory ran out; choose a smaller --size", VidstyleError.exit_code
    message = f"internal error: {type(error).__name__}: {error}"
    return (
        f"{' '.join(message.split())}; run with -v and report the traceback",
        VidstyleError.exit_code,
    )


_REASONS = {
    errno.ENOSPC: "the disk is full; free some space and run the same command again to continue",
    errno.EDQUOT: "the disk quota is used up; free some space and run the same command again",
    errno.EACCES: "permission denied; choose a folder that you may write to",
    errno.EPERM: "permission denied; choose a folder that you may write to",
    errno.EROFS: "the file system is read-only; choose a folder that you may write to",
    errno.ENOTDIR: "a parent of this path is a file, not a folder; choose another output",
}


def writing(path: Path) -> AbstractContextManager[None]:
    """Convert an OSError while writing `path` to an OutputError."""
    return _converting("write", path)


def reading(path: Path) -> AbstractContextManager[None]:
    """Convert an OSError while reading back a file of vidstyle's own to an OutputError."""
    return _converting("read", path)


@contextmanager
def _converting(verb: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        code = error.errno or 0
        reason = _REASONS.get(code) or f"{os.strerror(code) if code else error}; check the disk"
        raise OutputError(f"cannot {verb} {path}: {reason}") from error
