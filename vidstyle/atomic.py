"""Crash-safe files: sync, rename into place, hash, lock."""

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
from typing import IO, Any
from uuid import uuid4

from vidstyle.errors import HeldError

__all__ = [
    "commit",
    "defer_signals",
    "delete",
    "drafted",
    "is_special",
    "lock",
    "rename_new",
    "sha256_of",
    "sync",
    "sync_folder",
    "sync_open",
]

# errno of link() on file systems without hard links: FAT, exFAT, some network file systems.
_NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK)
_AT_FDCWD, _RENAME_NOREPLACE = -100, 1  # of Linux's renameat2
_RENAME_EXCL = 4  # of macOS's renamex_np
_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


def is_special(path: Path) -> bool:
    """Whether a path is a pipe, a device or a socket, neither a file nor a folder.

    Reading one may block or never end, and cannot be repeated.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def commit(draft: Path, final: Path, *, overwrite: bool = True) -> None:
    """Sync `draft` and rename it to `final`, which after a crash is complete or absent.

    overwrite: replace an existing file; otherwise FileExistsError is raised if `final` exists.
    """
    sync(draft)
    if overwrite:
        draft.replace(final)
    else:
        rename_new(draft, final)
    sync_folder(final.parent)


def rename_new(draft: Path, final: Path) -> None:
    """Rename a file. Raises FileExistsError if `final` exists, even as a dangling link.

    Atomic on file systems with hard links or an exclusive rename; elsewhere the name is checked
    just before.
    """
    if os.name == "nt":  # rename never replaces
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
    """Rename with the exclusive rename of the system, or else after checking the name."""
    code = _system_rename(os.fsencode(draft), os.fsencode(final))
    if code == 0:
        return
    if code == errno.EEXIST or os.path.lexists(final):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(final))
    draft.rename(final)


def _system_rename(draft: bytes, final: bytes) -> int:
    """Call the exclusive rename of the system; return 0 or an errno, ENOSYS if there is none."""
    try:
        library = ctypes.CDLL(None, use_errno=True)
        if sys.platform == "darwin":
            failed = library.renamex_np(draft, final, _RENAME_EXCL)
        else:
            failed = library.renameat2(_AT_FDCWD, draft, _AT_FDCWD, final, _RENAME_NOREPLACE)
    except (OSError, TypeError, AttributeError):  # no such library or function
        return errno.ENOSYS
    return ctypes.get_errno() if failed else 0


@contextmanager
def drafted(final: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield an unused hidden path beside `final`, to be written; then move it there, see `commit`.

    It has the same suffix, and is deleted if the block or the move fails.
    """
    draft = final.with_name(f".{final.stem}.{uuid4().hex[:12]}.tmp{final.suffix}")
    try:
        yield draft
        commit(draft, final, overwrite=overwrite)
    finally:
        delete(draft)


def sync(path: Path) -> None:
    """Flush the content of a file to the disk."""
    with path.open("rb+") as file:
        sync_open(file)


def sync_open(file: IO[bytes]) -> None:
    """Flush an open file to the disk."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Flush the entries of a folder to the disk, where the system supports it."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def delete(path: Path) -> None:
    """Delete a file or a link (not its target) if it exists. Raises OSError for a folder."""
    path.unlink(missing_ok=True)


@contextmanager
def lock(path: Path, *, patience: float = 0) -> Iterator[None]:
    """Hold the lock file `path`; the system releases it when the process dies.

    Raises HeldError if another process still holds it after `patience` seconds.
    """
    from filelock import FileLock, Timeout

    file_lock = FileLock(path)
    try:
        file_lock.acquire(timeout=patience)
    except Timeout as error:
        raise HeldError(
            f"another run holds {path.parent}; wait until it ends, or choose another output"
        ) from error
    try:
        yield
    finally:
        file_lock.release()


@contextmanager
def defer_signals() -> Iterator[None]:
    """Defer SIGINT, SIGTERM and SIGHUP until the block ends, which must be short.

    Used while writing NumPy archives: closing an interrupted one raises an error that hides the
    interrupt.
    """
    if threading.current_thread() is not threading.main_thread():  # which handles no signals
        yield
        return
    pending: list[int] = []
    previous: dict[signal.Signals, Any] = {}
    try:
        for number in _SIGNALS:
            previous[number] = signal.signal(number, lambda stop, _: pending.append(stop))
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    if pending:
        signal.raise_signal(pending[0])
