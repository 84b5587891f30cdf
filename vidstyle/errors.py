"""The exceptions of vidstyle. Each message says what was expected, what was got and what to do.

VidstyleError            exit code 1
├── CancelledError       1   the caller cancelled the run
├── UsageError           2   the request makes no sense as it stands
│   ├── SettingsError    2   an option is out of its bounds
│   └── StateError       2   the saved state belongs to another request
│       └── HeldError    2   or another run is at work on it
├── InputError           3   something that was given cannot be used
│   ├── MediaError       3   a source or a picture cannot be read
│   ├── GuideError       3   a map or a mask does not fit
│   └── WeightsError     3   the VGG-19 file is missing, damaged or of an unknown kind
└── OutputError          4   the disk is full, a folder is not writable, the result is not whole
    └── ContainerError   4   or the container refuses what it is to hold
"""

import errno
import os
from collections.abc import Iterator
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
    "explained",
    "reading",
    "writing",
]


class VidstyleError(Exception):
    """Root of every error that vidstyle raises on purpose; `exit_code` is the command's."""

    exit_code = 1


class CancelledError(VidstyleError):
    """The caller cancelled the run; its finished frames are kept."""


class UsageError(VidstyleError):
    """The request makes no sense as it stands."""

    exit_code = 2


class SettingsError(UsageError):
    """An option is out of its bounds."""


class StateError(UsageError):
    """The state beside the output belongs to another request, or another run holds it."""


class HeldError(StateError):
    """Another run is at work on the state beside the output."""


class InputError(VidstyleError):
    """Something that was given cannot be used."""

    exit_code = 3


class MediaError(InputError):
    """A source or a picture cannot be read."""


class GuideError(InputError):
    """A map or a mask does not fit."""


class WeightsError(InputError):
    """The VGG-19 file is missing, damaged or of an unknown kind."""


class OutputError(VidstyleError):
    """The disk is full, a folder is not writable, or a written result is not whole."""

    exit_code = 4


class ContainerError(OutputError):
    """The encoder or the container refuses finished frames, which serve another output.

    output, instead: the one that failed and one that may do, once they are known.
    """

    output: Path | None = None
    instead: Path | None = None


def as_path(value: object, what: str, error: type[VidstyleError] = MediaError) -> Path:
    """Return `value`, a str or PathLike, as a Path. Raises `error` for another type."""
    if isinstance(value, (str, os.PathLike)):
        text = os.fspath(value)
        if isinstance(text, str) and "\0" not in text:
            return Path(text)
    raise error(f"{what}: expected a path, got {type(value).__name__} {value!r:.60}")


def explained(error: Exception) -> tuple[str, int]:
    """Return one sentence, and the exit code, for any error, also one that nobody has foreseen."""
    if isinstance(error, VidstyleError):
        return str(error), error.exit_code
    if isinstance(error, PermissionError):
        place = error.filename or "a file"
        message = f"permission is denied for {place}; see to its rights, or name another"
        return message, OutputError.exit_code
    if isinstance(error, OSError) and error.errno and error.filename:
        message = f"cannot use {error.filename}: {os.strerror(error.errno)}; see to the disk"
        return message, OutputError.exit_code
    if isinstance(error, MemoryError):
        return "memory ran out; choose a smaller --size", VidstyleError.exit_code
    message = f"a fault of vidstyle itself: {type(error).__name__}: {error}"
    return f"{' '.join(message.split())}; run with -v and report the trace", VidstyleError.exit_code


_REASONS = {
    errno.ENOSPC: "the disk is full; free some space and run the same command again to continue",
    errno.EDQUOT: "the disk quota is used up; free some space and run the same command again",
    errno.EACCES: "permission is denied; choose a folder that you may write to",
    errno.EPERM: "permission is denied; choose a folder that you may write to",
    errno.EROFS: "the file system is read-only; choose a folder that you may write to",
    errno.ENOTDIR: "a part of this path is a file, not a folder; choose another output",
}


def writing(path: Path) -> AbstractContextManager[None]:
    """Turn an operating system's refusal to write `path` into an OutputError of one sentence."""
    return _using("write", path)


def reading(path: Path) -> AbstractContextManager[None]:
    """Do so with a refusal to read what vidstyle itself has written."""
    return _using("read", path)


@contextmanager
def _using(verb: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        code = error.errno or 0
        reason = _REASONS.get(code) or f"{os.strerror(code) if code else error}; see to the disk"
        raise OutputError(f"cannot {verb} {path}: {reason}") from error
