"""The folders that the page may see: the start folder, the samples, and the studio's own."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vidstyle.errors import UsageError
from vidstyle.media.listing import is_footage, is_system, natural
from vidstyle.media.pictures.files import PICTURES

__all__ = ["Folders", "samples_folder", "stored_name"]

WORK = "vidstyle-studio"  # name of the studio's own folder
_SHOWN = 2000  # entries of one folder


class Folders:
    """Confines paths to a few folders; symbolic links are followed before the comparison.

    start: where the studio was started. work: the studio's own folder below it, for masks,
    dropped files and previews.
    """

    def __init__(self, start: Path) -> None:
        self.start = Path(os.path.realpath(start))
        self.work = self.start / WORK
        samples = samples_folder()
        self._roots = (self.start, *((Path(os.path.realpath(samples)),) if samples else ()))

    def inside(self, path: str) -> Path:
        """Return the real path of `path`; a relative one counts from the start folder.

        Raises UsageError if it lies outside the folders.
        """
        if "\0" in path:
            raise UsageError("expected a path, got one with a null character; choose another")
        real = Path(os.path.realpath(self.start / Path(path).expanduser()))
        if any(real == root or root in real.parents for root in self._roots):
            return real
        raise UsageError(
            f"expected a path below {self.start}, where the studio was started, got {path}; copy "
            "the file there, or start the studio in its folder: vidstyle studio FOLDER"
        )

    def listing(self, path: str) -> dict[str, Any]:
        """Return the folders and media files in a folder, in natural order; count the pictures."""
        folder = self.inside(path)
        if not folder.is_dir():
            raise UsageError(f"expected a folder, got {path}; choose another")
        entries = sorted(_entries(folder), key=lambda entry: natural(entry["name"]))[:_SHOWN]
        parent = str(folder.parent) if self.start in folder.parents else None
        pictures = sum(Path(e["name"]).suffix.lower() in PICTURES for e in entries)
        return {"path": str(folder), "parent": parent, "entries": entries, "pictures": pictures}


def _entries(folder: Path) -> Iterator[dict[str, Any]]:
    with os.scandir(folder) as found:
        for entry in found:
            name = entry.name
            own = name == WORK or name.endswith(".vidstyle")  # the studio's, or a run's state
            if own or name.startswith(".") or is_system(name):
                continue
            if entry.is_dir():
                yield {"name": name, "path": entry.path, "folder": True}
            elif entry.is_file() and is_footage(name):
                yield {"name": name, "path": entry.path, "folder": False}


def samples_folder() -> Path | None:
    """Return the folder of sample pictures and clips: of the package, or of the checkout."""
    here = Path(__file__).parent
    for folder in (here / "samples", here.parent.parent / "samples"):
        if (folder / "style.jpg").is_file():
            return folder
    return None


def stored_name(name: str) -> str:
    """Return a file name that is safe to store: the last part, without control characters."""
    last = name.replace("\\", "/").rpartition("/")[2]
    clean = re.sub(r"[\x00-\x1f\x7f<>:\"|?*%]", "_", last).strip(". ")
    return clean[-120:] or "file"
