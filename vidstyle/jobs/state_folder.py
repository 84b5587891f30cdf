"""State folder: the files of OUTPUT.vidstyle, by exact name, so that no other is deleted.

A regular file with one of these names counts as written by vidstyle:

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
from vidstyle.errors import StateError, name_list, reading
from vidstyle.jobs.manifest import MANIFEST, is_own_manifest, state_path

__all__ = ["StateFolder"]

_SHARD = r"(?:\.[0-9]+-of-[0-9]+)?"
_LOCK = re.compile(rf"lock{_SHARD}")
_JOURNAL = re.compile(rf"journal{_SHARD}\.jsonl")
_FRAME = re.compile(r"[0-9]{6,}\.(?:png|npz)")
_DRAFT = re.compile(rf"[0-9]{{6,}}(?P<shard>{_SHARD})\.tmp\.(?:png|npz)")
_MANIFEST_DRAFT, _PARTS, _PARTS_DRAFT = "manifest.tmp.json", "part.json", "part.tmp.json"
_FOLDERS = ("frames", "part")
_PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_DEPTH_AND_COLOR = slice(24, 26)  # bytes of a PNG header
_DEEP_RGB = b"\x10\x02"  # 16 bits a channel, RGB, as frames are saved
_STARTS = {  # first bytes of the files that vidstyle writes
    _JOURNAL: b'{"index": ',
    re.compile(re.escape(_MANIFEST_DRAFT)): b'{\n "job"',
    re.compile(r"frames/.*\.png"): _PNG,
    re.compile(r"frames/.*\.npz"): b"PK\x03\x04",
}

_Kind = Literal["file", "folder", "link", "other"]
_NOUNS: dict[_Kind, str] = {
    "file": "a file",
    "folder": "a folder",
    "link": "a link",
    "other": "something else",
}


class _Entry(NamedTuple):
    """An entry. name: relative to the folder. expected: the kind that vidstyle writes, or None."""

    name: str
    kind: _Kind
    expected: _Kind | None

    @property
    def is_own_file(self) -> bool:
        return self.kind == self.expected == "file"


class StateFolder:
    """The state folder of an output."""

    def __init__(self, output: Path) -> None:
        self.path = state_path(output)
        self._part = f"part{output.suffix}" if output.suffix else None

    def check(self, *, restart: bool) -> None:
        """Raise StateError if the folder is a link or was not made by vidstyle; write nothing.

        Without a manifest it may hold only the files of a run that was killed before it wrote one;
        with `restart` also frames and journals, which are discarded later.
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
        """Return the existing lock files."""
        return self._named(_LOCK)

    def journals(self) -> list[Path]:
        """Return the existing journals, of the run and of shards."""
        return self._named(_JOURNAL)

    def note_parts(self, names: Iterable[str]) -> None:
        """Save the names of the files that will be written into the folder `part`."""
        draft = self.path / _PARTS_DRAFT
        draft.write_text(json.dumps(list(names)), encoding="utf-8")
        commit(draft, self.path / _PARTS)

    def parts(self) -> frozenset[str]:
        """Return the names saved by `note_parts`; empty if missing or damaged."""
        try:
            names = json.loads((self.path / _PARTS).read_bytes())
            return frozenset(name for name in names if isinstance(name, str))
        except (FileNotFoundError, ValueError, TypeError, RecursionError):
            return frozenset()

    def sweep(self, mark: str) -> None:
        """Delete the drafts of interrupted writes; mark: of a shard, to delete only its drafts."""
        for entry in self._entries():
            top = entry.name in (_MANIFEST_DRAFT, _PARTS_DRAFT)
            draft = _DRAFT.fullmatch(entry.name.removeprefix("frames/"))
            own = (draft and draft["shard"] == mark) if mark else (draft or top)
            if own and entry.is_own_file:
                delete(self.path / entry.name)

    def clear_part(self) -> None:
        """Delete a partly written output, then the list of its files."""
        self._delete(lambda name: name == self._part or name.startswith("part/"))
        self._delete(lambda name: name in (_PARTS, _PARTS_DRAFT))

    def clear(self) -> None:
        """Delete the frames, the journals and a partly written output."""
        self._delete(lambda name: name.startswith("frames/"))
        self._delete(lambda name: bool(_JOURNAL.fullmatch(name)) or name == _MANIFEST_DRAFT)
        self.clear_part()

    def remove(self) -> list[str]:
        """Delete the state, its manifest last; return the names of other files, which remain."""
        self.clear()
        self._delete(lambda name: bool(_LOCK.fullmatch(name)))
        delete(self.path / MANIFEST)
        others = [entry.name for entry in self._entries() if entry.kind != entry.expected]
        with suppress(OSError):  # not empty; or a later run finds it empty
            self.path.rmdir()
        return others

    def _delete(self, chosen: Callable[[str], bool]) -> None:
        """Delete the files that vidstyle wrote and `chosen` accepts, then its empty folders."""
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
            regular = stat.S_ISREG(path.lstat().st_mode)  # reading a pipe would block
            return regular and is_own_manifest(path.read_bytes())
        return False

    def _check_without_manifest(self, found: list[_Entry], *, restart: bool) -> None:
        strange = [entry.name for entry in found if not self._is_own(entry)]
        state = [
            entry.name
            for entry in found
            if _JOURNAL.fullmatch(entry.name) or entry.name.split("/")[0] == "frames"
        ]
        if not state:  # then vidstyle did not write a partial output either
            strange += [entry.name for entry in found if entry.name.startswith("part")]
        if strange:
            raise StateError(
                f"{self.path} has no {MANIFEST} of vidstyle and holds {name_list(strange)}, which "
                "vidstyle did not write; move that away, or choose another output"
            )
        if state and not restart:
            raise StateError(
                f"{self.path} holds {name_list(state)}, but no {MANIFEST}, so their "
                "request is unknown; add --restart to discard them, or choose another output"
            )

    def _is_own(self, entry: _Entry) -> bool:
        """Return whether vidstyle wrote a file, complete or not, by its name and first bytes."""
        if entry.expected is None or entry.name == MANIFEST:
            return False
        if entry.kind == "folder":
            return True
        path = self.path / entry.name
        if _LOCK.fullmatch(entry.name):
            return path.stat().st_size == 0
        for pattern, start in _STARTS.items():
            if pattern.fullmatch(entry.name):
                return _starts_with(path, start)
        return True

    def _entries(self) -> list[_Entry]:
        """Return the entries of the folder and of its folders `frames` and `part`."""
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
    """Return the sorted entries of a folder; empty if it does not exist."""
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)
    return []


def _kind(entry: "os.DirEntry[str]") -> _Kind:
    if entry.is_symlink():
        return "link"
    if entry.is_dir(follow_symlinks=False):
        return "folder"
    return "file" if entry.is_file(follow_symlinks=False) else "other"


def _starts_with(path: Path, start: bytes) -> bool:
    """Return whether a file, possibly cut off, starts with `start`; a PNG must be 16-bit RGB."""
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
