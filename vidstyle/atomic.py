"""Files that survive a crash or a stop: synced, renamed into place, hashed, locked."""

import hashlib
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vidstyle.errors import HeldError

__all__ = ["delete", "lock", "settle", "sha256_of", "sync", "sync_folder", "unstopped"]


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file's content in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def settle(draft: Path, final: Path) -> None:
    """Give a written `draft` its `final` name, so that a crash leaves it whole or absent."""
    sync(draft)
    draft.replace(final)
    sync_folder(final.parent)


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
    """Delete a file or a folder with all that is in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
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
    """Let SIGINT and SIGTERM wait until what is done meanwhile, which is to be short, is done.

    For NumPy's archives: when a stop falls into one, closing it raises an error in its place.
    """
    if threading.current_thread() is not threading.main_thread():  # no signal is handled there
        yield
        return
    waiting: list[int] = []
    usual: dict[signal.Signals, Any] = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            usual[number] = signal.signal(number, lambda stop, _: waiting.append(stop))
        yield
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
    if waiting:
        signal.raise_signal(waiting[0])
