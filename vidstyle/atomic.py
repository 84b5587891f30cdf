"""Files that survive a crash or a stop: synced, renamed into place, hashed, locked."""

import ctypes
import errno
import hashlib
import os
import signal
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from vidstyle.errors import HeldError

__all__ = [
    "delete",
    "draft_beside",
    "is_special",
    "lock",
    "rename_new",
    "settle",
    "sha256_of",
    "sync",
    "sync_folder",
    "unstopped",
]

# What a file system without hard links (FAT, exFAT, some network disks) answers to link().
_NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK)
_AT_FDCWD, _RENAME_NOREPLACE = -100, 1  # of Linux's renameat2
_RENAME_EXCL = 4  # of macOS's renamex_np
_STOPS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


def is_special(path: Path) -> bool:
    """Tell whether a path leads to a pipe, a device or a socket: no file, and no folder.

    Such can be read once only, or never ends, or waits for ever for somebody to write.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file's content in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def settle(draft: Path, final: Path, *, overwrite: bool = True) -> None:
    """Give a written `draft` its `final` name, so that a crash leaves it whole or absent.

    overwrite: replace what has that name. If not, raises FileExistsError where anything has it.
    """
    sync(draft)
    if overwrite:
        draft.replace(final)
    else:
        rename_new(draft, final)
    sync_folder(final.parent)


def rename_new(draft: Path, final: Path) -> None:
    """Rename a file unless anything, be it a dangling link, has the `final` name.

    That is one step for the file system where it has hard links or an exclusive rename; elsewhere
    the name is looked up just before. Raises FileExistsError.
    """
    if os.name == "nt":  # where a rename never replaces
        draft.rename(final)
        return
    try:
        os.link(draft, final, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _rename_exclusively(draft, final)
    else:
        draft.unlink()


def _rename_exclusively(draft: Path, final: Path) -> None:
    """Rename by the system's own exclusive rename, else after a look at the name."""
    code = _system_rename(os.fsencode(draft), os.fsencode(final))
    if code == 0:
        return
    if code == errno.EEXIST or os.path.lexists(final):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(final))
    draft.rename(final)


def _system_rename(draft: bytes, final: bytes) -> int:
    """Return 0 if the system renamed a file exclusively, else an errno; ENOSYS if it cannot."""
    try:
        library = ctypes.CDLL(None, use_errno=True)
        if sys.platform == "darwin":
            failed = library.renamex_np(draft, final, _RENAME_EXCL)
        else:
            failed = library.renameat2(_AT_FDCWD, draft, _AT_FDCWD, final, _RENAME_NOREPLACE)
    except (OSError, TypeError, AttributeError):  # no such library or function
        return errno.ENOSYS
    return ctypes.get_errno() if failed else 0


def draft_beside(final: Path) -> Path:
    """Return a hidden name in the folder of `final`, of the same suffix, that no file has."""
    return final.with_name(f".{final.stem}.{uuid4().hex[:12]}.tmp{final.suffix}")


def sync(path: Path) -> None:
    """Wait until the content of a file is on the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, where the system can tell."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def delete(path: Path) -> None:
    """Delete a file if it is there; of a link, the link and not the file that it leads to.

    Never a folder: that raises an OSError.
    """
    path.unlink(missing_ok=True)


@contextmanager
def lock(path: Path, *, patience: float = 0) -> Iterator[None]:
    """Hold the lock file `path`; a process that dies lets go of it.

    Raises HeldError if another holds it for more than `patience` seconds.
    """
    from filelock import FileLock, Timeout

    held = FileLock(path)
    try:
        held.acquire(timeout=patience)
    except Timeout as error:
        raise HeldError(
            f"another run holds {path.parent}; wait until it ends, or choose another output"
        ) from error
    try:
        yield
    finally:
        held.release()


@contextmanager
def unstopped() -> Iterator[None]:
    """Let SIGINT, SIGTERM and SIGHUP wait until what is done meanwhile is done; it is to be short.

    For NumPy's archives: when a stop falls into one, closing it raises an error in its place.
    """
    if threading.current_thread() is not threading.main_thread():  # no signal is handled there
        yield
        return
    waiting: list[int] = []
    usual: dict[signal.Signals, Any] = {}
    try:
        for number in _STOPS:
            usual[number] = signal.signal(number, lambda stop, _: waiting.append(stop))
        yield
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
    if waiting:
        signal.raise_signal(waiting[0])
