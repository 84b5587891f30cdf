"""Where fetched files are kept, and how one is made there once by one of several processes."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock
from platformdirs import user_cache_path

from vidstyle.errors import writing

__all__ = ["cache_folder", "checkout_folder", "is_file", "stored"]


def cache_folder() -> Path:
    """Return the folder of vidstyle in the user's cache."""
    return user_cache_path("vidstyle").absolute()  # XDG_CACHE_HOME may be relative


def checkout_folder() -> Path | None:
    """Return the folder weights/ of the checkout that vidstyle runs from; None if installed."""
    folder = Path(__file__).resolve().parents[2] / "weights"
    return folder if (folder / "README.md").is_file() else None


def is_file(path: Path) -> bool:
    """Return whether there is a file that may be seen."""
    with suppress(OSError):  # a parent folder without permission
        return path.is_file()
    return False


def stored(path: Path, is_whole: Callable[[], bool], make: Callable[[Path], Path]) -> Path:
    """Return `path`, made first unless it is whole.

    is_whole: whether the file at `path` is complete. make(empty folder) returns the file to move
    to `path`. Waits for another process that does the same. Raises what `make` raises, and
    OutputError if the folder of `path` cannot be written.
    """
    folder = path.parent
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "fetch.lock"):
            if not is_whole():
                with _workplace(folder / "fetch") as work:
                    make(work).replace(path)
    return path


@contextmanager
def _workplace(folder: Path) -> Iterator[Path]:
    """Make an empty folder, replacing that of a killed run, and remove it afterwards."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
