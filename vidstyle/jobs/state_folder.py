"""State folder: the exact names of the files in OUTPUT.vidstyle, so that no other is deleted.

A file counts as one that vidstyle wrote if its name is one of these and it is a regular file:

    manifest.json  part.json  their drafts (manifest.tmp.json, part.tmp.json)
    journal.jsonl  lock  those of a shard (journal.1-of-2.jsonl, lock.1-of-2)
    frames/000000.png  frames/000000.npz  their drafts (000000.tmp.png, 000000.1-of-2.tmp.npz)
    part.mp4 (the suffix of the output)  part/NAME for each NAME in part.json
"""

import errno
import json
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple

from vidstyle.atomic import commit, delete
from vidstyle.errors import StateError, reading
from vidstyle.jobs.manifest import MANIFEST, is_own_manifest, state_path

__all__ = ["StateFolder", "listed"]

_SHARD = r"(?:\.[0-9]+-of-[0-9]+)?"
_LOCK = re.compile(rf"lock{_SHARD}")
_JOURNAL = re.compile(rf"journal{_SHARD}\.jsonl")
_FRAME = re.compile(r"[0-9]{6,}\.(?:png|npz)")
_DRAFT = re.compile(rf"[0-9]{{6,}}(?P<shard>{_SHARD})\.tmp\.(?:png|npz)")
_MANIFEST_DRAFT, _PARTS, _PARTS_DRAFT = "manifest.tmp.json", "part.json", "part.tmp.json"
_FOLDERS = ("frames", "part")
_PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_DEPTH_AND_COLOR = slice(24, 26)  # of a PNG's header
_DEEP_RGB = b"\x10\x02"  # 16 bits a channel, RGB: what a frame is saved as
_STARTS = {  # how what vidstyle writes begins
    _JOURNAL: b'{"index": ',
    re.compile(re.escape(_MANIFEST_DRAFT)): b'{\n "job"',
    re.compile(r"frames/.*\.png"): _PNG,
    re.compile(r"frames/.*\.npz"): b"PK\x03\x04",
}
_SHOWN = 3  # names in a message

_Kind = Literal["file", "folder", "link", "other"]
_NOUNS: dict[_Kind, str] = {
    "file": "a file",
    "folder": "a folder",
    "link": "a link",
    "other": "something else",
}


class _Entry(NamedTuple):
    """name: below the state folder. expected: what vidstyle writes so named, None for nothing."""

    name: str
    kind: _Kind
    expected: _Kind | None

    @property
    def is_own_file(self) -> bool:
        return self.kind == self.expected == "file"


class StateFolder:
    """The folder that holds the state of the run which makes `output`."""

    def __init__(self, output: Path) -> None:
        self.path = state_path(output)
        self._part = f"part{output.suffix}" if output.suffix else None

    def check(self, *, restart: bool) -> None:
        """Raise StateError if the folder may not be used: a link, or not made by vidstyle.

        Without a manifest it may hold no more than a run leaves that was killed before it wrote
        one; with `restart` also frames and journals, to be discarded. Touches nothing.
        """
        if self.path.is_symlink():
            raise StateError(
                f"{self.path} is a link, expected a folder that vidstyle made; remove the link, or "
                "choose another output"
            )
        with reading(self.path):
            known = self._has_manifest()
            found = self._entries()
            for entry in found:
                if entry.expected and entry.kind != entry.expected:
                    raise StateError(
                        f"expected {self.path / entry.name} to be a {entry.expected} that vidstyle "
                        f"wrote, got {_NOUNS[entry.kind]}; move it away, or choose another output"
                    )
            if not (known or self._has_manifest()):  # another run may just have written it
                self._check_without_manifest(found, restart=restart)

    def locks(self) -> list[Path]:
        """Return the lock files that are there."""
        return self._named(_LOCK)

    def journals(self) -> list[Path]:
        """Return the journals that are there, of the run and of shards."""
        return self._named(_JOURNAL)

    def note_parts(self, names: Iterable[str]) -> None:
        """Write down which files are about to be made in the folder `part`."""
        draft = self.path / _PARTS_DRAFT
        draft.write_text(json.dumps(list(names)), encoding="utf-8")
        commit(draft, self.path / _PARTS)

    def parts(self) -> frozenset[str]:
        """Return what `note_parts` wrote down; none if that cannot be read."""
        try:
            names = json.loads((self.path / _PARTS).read_bytes())
            return frozenset(name for name in names if isinstance(name, str))
        except (FileNotFoundError, ValueError, TypeError, RecursionError):
            return frozenset()

    def sweep(self, mark: str) -> None:
        """Delete what an interrupted write left; mark: of a shard, whose drafts alone go."""
        for entry in self._entries():
            top = entry.name in (_MANIFEST_DRAFT, _PARTS_DRAFT)
            draft = _DRAFT.fullmatch(entry.name.removeprefix("frames/"))
            own = (draft and draft["shard"] == mark) if mark else (draft or top)
            if own and entry.is_own_file:
                delete(self.path / entry.name)

    def clear_part(self) -> None:
        """Delete an output that was begun. The list of its files goes after them."""
        self._delete(lambda name: name == self._part or name.startswith("part/"))
        self._delete(lambda name: name in (_PARTS, _PARTS_DRAFT))

    def clear(self) -> None:
        """Delete the frames, the journals and the output that was begun."""
        self._delete(lambda name: name.startswith("frames/"))
        self._delete(lambda name: bool(_JOURNAL.fullmatch(name)) or name == _MANIFEST_DRAFT)
        self.clear_part()

    def remove(self) -> list[str]:
        """Delete the state, its manifest last; return the names of other files, which stay."""
        self.clear()
        self._delete(lambda name: bool(_LOCK.fullmatch(name)))
        delete(self.path / MANIFEST)
        others = [entry.name for entry in self._entries() if entry.kind != entry.expected]
        with suppress(OSError):  # it is not empty, or a later run finds it empty
            self.path.rmdir()
        return others

    def _delete(self, chosen: Callable[[str], bool]) -> None:
        """Delete the chosen files that vidstyle wrote, then its folders that are empty."""
        for entry in self._entries():
            if entry.is_own_file and chosen(entry.name):
                delete(self.path / entry.name)
        for name in _FOLDERS:
            if chosen(f"{name}/"):
                _remove_if_empty(self.path / name)

    def _named(self, pattern: re.Pattern[str]) -> list[Path]:
        found = (entry for entry in _scan(self.path) if pattern.fullmatch(entry.name))
        return [Path(entry.path) for entry in found]

    def _has_manifest(self) -> bool:
        path = self.path / MANIFEST
        with suppress(FileNotFoundError, NotADirectoryError):
            regular = stat.S_ISREG(path.lstat().st_mode)  # reading a pipe would wait for ever
            return regular and is_own_manifest(path.read_bytes())
        return False

    def _check_without_manifest(self, found: list[_Entry], *, restart: bool) -> None:
        strange = [entry.name for entry in found if not self._is_own(entry)]
        state = [
            entry.name
            for entry in found
            if _JOURNAL.fullmatch(entry.name) or entry.name.split("/")[0] == "frames"
        ]
        if not state:  # nothing shows that a run has begun an output here
            strange += [entry.name for entry in found if entry.name.startswith("part")]
        if strange:
            raise StateError(
                f"{self.path} has no {MANIFEST} of vidstyle and holds {listed(strange)}, which "
                "vidstyle did not write; move that away, or choose another output"
            )
        if state and not restart:
            raise StateError(
                f"{self.path} holds {listed(state)}, but no {MANIFEST} that tells what they were "
                "made of; add --restart to discard them, or choose another output"
            )

    def _is_own(self, entry: _Entry) -> bool:
        """Tell by name and first bytes whether vidstyle wrote a file, whole or not."""
        if entry.expected is None or entry.name == MANIFEST:
            return False
        if entry.kind == "folder":
            return True
        path = self.path / entry.name
        if _LOCK.fullmatch(entry.name):
            return path.stat().st_size == 0
        for pattern, start in _STARTS.items():
            if pattern.fullmatch(entry.name):
                return _begins(path, start)
        return True

    def _entries(self) -> list[_Entry]:
        """Return what is in the folder, and in its folders `frames` and `part`."""
        return [*self._top(), *self._below("frames"), *self._below("part")]

    def _top(self) -> Iterator[_Entry]:
        files = (MANIFEST, _MANIFEST_DRAFT, _PARTS, _PARTS_DRAFT, self._part)
        for entry in _scan(self.path):
            expected: _Kind | None = None
            if entry.name in _FOLDERS:
                expected = "folder"
            elif entry.name in files or any(p.fullmatch(entry.name) for p in (_LOCK, _JOURNAL)):
                expected = "file"
            yield _Entry(entry.name, _kind(entry), expected)

    def _below(self, folder: str) -> Iterator[_Entry]:
        path = self.path / folder
        if path.is_symlink() or not path.is_dir():
            return
        parts = self.parts() if folder == "part" else frozenset()
        for entry in _scan(path):
            own = entry.name in parts
            if folder == "frames":
                own = any(pattern.fullmatch(entry.name) for pattern in (_FRAME, _DRAFT))
            yield _Entry(f"{folder}/{entry.name}", _kind(entry), "file" if own else None)


def _scan(folder: Path) -> "list[os.DirEntry[str]]":
    """Return what is in a folder, if it is there."""
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)
    return []


def _kind(entry: "os.DirEntry[str]") -> _Kind:
    if entry.is_symlink():
        return "link"
    if entry.is_dir(follow_symlinks=False):
        return "folder"
    return "file" if entry.is_file(follow_symlinks=False) else "other"


def _begins(path: Path, start: bytes) -> bool:
    """Tell whether a file begins so, or is cut off within that; a PNG is to be 16-bit RGB too."""
    with path.open("rb") as file:
        head = file.read(_DEPTH_AND_COLOR.stop)
    if start == _PNG and not _DEEP_RGB.startswith(head[_DEPTH_AND_COLOR]):
        return False
    return head.startswith(start) or start.startswith(head)


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


def listed(names: list[str]) -> str:
    """Return the first names of many for a message, and how many more there are."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
