"""Discovery: the sources of a batch, in natural order, each with its path below the output.

That path (`relative_path`) depends on the source alone. A file found in a folder of the command
line has its path relative to that folder. Any other source, and every line of a list, has its path
as written: clips/a.mp4 becomes OUTPUT/clips/a.mp4. An absolute path, or one that leaves the current
folder, counts from the root: /data/a.mp4 becomes OUTPUT/data/a.mp4.
"""

import os
import re
import stat
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from vidstyle.errors import MediaError, UsageError
from vidstyle.inputs import NUMBER, check_apart
from vidstyle.media import is_footage, is_system, left_out_message, natural

__all__ = [
    "LEDGER",
    "REASONS",
    "Batch",
    "Item",
    "collect",
    "counterpart",
    "parse_shard",
    "read_list",
]

LEDGER = ".vidstyle"  # folder in a batch's output with the manifest of each result
# Why an entry is not a source, see Batch.
REASONS = ("hidden", "system", "foreign", "linked", "results", "guides")
_STATE = ".vidstyle"  # suffix of a state folder


@dataclass(frozen=True)
class Item:
    """A source. relative_path: of its result. given: the argument or line that named it."""

    source: Path
    relative_path: Path
    given: Path


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The sources of a batch.

    source: an existing one, to check the settings with; if none exists, the null device.
    items: of this shard. relative_paths: of all shards, in lower case.
    faults: (folder, message) of folders that cannot be read.
    left_out: number of entries that are no sources, by reason: "hidden", "system" (of a NAS, an
    archive or an operating system), "foreign" (no picture or video), "linked" (a link to a folder,
    a possible loop), "results" (of a batch, or a state folder), "guides" (masks and maps).
    unread: names of the foreign entries, and of folders (name/) skipped without `recursive`.
    """

    source: Path
    output: Path
    items: tuple[Item, ...]
    relative_paths: frozenset[str]
    faults: tuple[tuple[Path, str], ...]
    left_out: Counter[str]
    unread: tuple[str, ...] = ()

    def result(self, item: Item, suffix: str) -> Path:
        """Return the output path of an item with this suffix.

        Another suffix is appended to the whole name, so that a.bmp and a.gif do not collide.
        """
        path = item.relative_path
        if suffix and path.suffix != suffix:
            path = path.with_name(path.name + suffix)
            while _key(path) in self.relative_paths:
                path = path.with_name(path.name + suffix)
        return self.output / path

    def record(self, result: Path) -> Path:
        """Return the path of the manifest of a result."""
        path = result.relative_to(self.output)
        return self.output / LEDGER / path.with_name(f"{path.name}.json")


def collect(  # noqa: PLR0913 - one argument for each option of a batch
    sources: Sequence[Path],
    output: Path,
    *,
    recursive: bool = False,
    sequences: bool = False,
    shard: tuple[int, int] = (1, 1),
    guides: Iterable[str | Sequence[str]] = (),
    listed: Sequence[Path] = (),
    base: Path = Path(),
) -> Batch:
    """Return the batch of these sources: files, patterns, and the files in folders.

    listed: more sources, from a list. recursive: search subfolders. sequences: a folder is one
    source, a sequence of frames. shard: (i, n), every n-th item starting with the i-th. guides:
    masks and maps, not used as sources. base: the folder that paths "as written" count from, the
    start of those below it. Raises UsageError or MediaError.
    """
    if not (sources or listed):
        raise UsageError("expected a SOURCE, or a list of them in --list FILE, got none; name one")
    if sequences and recursive:
        raise UsageError(
            "--rate: expected it without -r, since a folder is one sequence then; name each "
            "folder of frames as a SOURCE"
        )
    _check_output(output)
    named = [[path] if isinstance(path, str) else path for path in guides]
    guide_paths = frozenset(os.path.realpath(path) for paths in named for path in paths)
    search = _Search(recursive, sequences, output, guide_paths, base)
    items = _distinct(search.all_of(sources, listed), output)
    number, of = shard
    return Batch(
        source=next((item.source for item in items if _exists(item.source)), Path(os.devnull)),
        output=output,
        items=tuple(items[number - 1 :: of]),
        relative_paths=frozenset(_key(item.relative_path) for item in items),
        faults=tuple(search.faults),
        left_out=search.left_out,
        unread=tuple(sorted(search.unread, key=natural)),
    )


@dataclass
class _Search:
    """Searches for sources, and counts the entries left out."""

    recursive: bool
    sequences: bool
    output: Path
    guide_paths: frozenset[str]
    base: Path
    faults: list[tuple[Path, str]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    unread: list[str] = field(default_factory=list)

    def all_of(self, sources: Sequence[Path], listed: Sequence[Path]) -> list[Item]:
        """Return the distinct sources of the arguments and of a list. Raises MediaError if none."""
        found: dict[Path, Item] = {}
        for given, in_list in (*((s, False) for s in sources), *((s, True) for s in listed)):
            for item in self._of(given, in_list=in_list):
                found.setdefault(_absolute(item.source), item)
        if not found:
            raise MediaError(_message_of_none([*sources, *listed], self))
        return list(found.values())

    def _of(self, given: Path, *, in_list: bool) -> Iterator[Item]:
        """Yield the sources of one argument or line of a list."""
        check_apart(self.output, (given,))
        below = given.is_relative_to(self.base)
        path = _as_written(given.relative_to(self.base) if below else given)
        if given.is_dir() and not self.sequences:
            top = path if in_list else Path()
            yield from (Item(given / below, top / below, given) for below in self._below(given))
            return
        above = _absolute(given).parent
        if NUMBER.search(given.name) and not given.exists():
            plain = NUMBER.sub("", path.stem).strip("-_. ")
            parent = path.parent if path.parent.name else Path(above.name)
            path = _as_folder(path.with_name(plain) if plain else parent)
        elif given.is_dir():
            path = _as_folder(path if path.name else Path(_absolute(given).name))
        yield Item(given, path, given)

    def _below(self, top: Path) -> Iterator[Path]:
        """Yield the paths of the sources in a folder, relative to it."""
        folders = [Path()]
        while folders:
            folder = folders.pop()
            for entry in self._entries(top / folder):
                if entry.name.startswith("."):
                    self.left_out["hidden"] += 1
                elif is_system(entry.name):
                    self.left_out["system"] += 1
                elif os.path.realpath(entry.path) in self.guide_paths:
                    self.left_out["guides"] += 1
                elif entry.is_dir(follow_symlinks=False):
                    if self._is_result(Path(entry.path)):
                        continue
                    if self.recursive:
                        folders.append(folder / entry.name)
                    else:
                        self.unread.append(f"{folder / entry.name}/")
                elif kind := _reason_left_out(entry):
                    self.left_out[kind] += 1
                    self.unread += [str(folder / entry.name)] * (kind == "foreign")
                else:
                    if entry.is_symlink():
                        check_apart(self.output, (Path(entry.path),))
                    yield folder / entry.name

    def _entries(self, folder: Path) -> "list[os.DirEntry[str]]":
        try:
            with os.scandir(folder) as entries:
                return list(entries)
        except OSError as error:
            message = f"{folder}: expected a folder that can be read, but {error.strerror}"
            self.faults.append((folder, f"{message}; change its permissions"))
            return []

    def _is_result(self, folder: Path) -> bool:
        """Return whether a folder holds the results of a batch, or is a state folder; count it."""
        made = folder.suffix == _STATE or (folder / LEDGER).is_dir()
        self.left_out["results"] += made
        return made


def _absolute(path: Path) -> Path:
    """Return an absolute path without dots; links are not resolved."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - resolve() follows links


def _exists(path: Path) -> bool:
    return os.path.exists(path)  # noqa: PTH110 - Path.exists raises if a name is too long


def _as_written(given: Path) -> Path:
    """Return the path of a result below the output: as written, or from the root."""
    path = Path(os.path.normpath(given))
    if not path.is_absolute() and ".." not in path.parts:
        return path
    path = _absolute(given)
    drive = re.sub(r"[^\w.-]+", "_", path.drive).strip("_")  # on Windows, as C:
    return Path(drive, *path.parts[1:])


def _as_folder(path: Path) -> Path:
    """Return a path whose name has no suffix."""
    return path.with_name(path.name.replace(".", "_"))


def _reason_left_out(entry: "os.DirEntry[str]") -> str | None:
    """Return why an entry is not a source; None if it may be one."""
    try:
        mode = entry.stat().st_mode
    except OSError:  # a dangling link
        mode = stat.S_IFREG
    if stat.S_ISDIR(mode):
        return "linked"
    return None if stat.S_ISREG(mode) and is_footage(entry.name) else "foreign"


def _check_output(output: Path) -> None:
    """Raise UsageError for an output that cannot be a folder."""
    if output.is_dir():
        return
    if output.exists() or is_footage(output.name):
        raise UsageError(
            f"{output}: expected a folder for the results of several sources, got the name of a "
            "file; choose a folder"
        )
    if not output.absolute().parent.is_dir():
        raise UsageError(
            f"the folder {output.absolute().parent} for the output does not exist; make it first"
        )


def _message_of_none(sources: Sequence[Path], search: _Search) -> str:
    if search.faults:
        return search.faults[0][1]
    deeper = "" if search.recursive else "; add -r to search subfolders"
    others = sum(search.left_out.values())
    files = [name for name in search.unread if not name.endswith("/")]
    named = left_out_message(sorted(files, key=natural))
    return (
        f"{', '.join(map(str, sources[:3]))}: expected pictures, animations or videos, got none "
        f"({named or f'{others} other entries'}){deeper or '; name another folder'}"
    )


def _distinct(found: Iterable[Item], output: Path) -> list[Item]:
    """Return the items in natural order. Raises UsageError for two with the same output.

    Names that differ only in case would be one file on some disks: all but the first are numbered.
    """
    taken: dict[str, Item] = {}
    for item in sorted(found, key=_natural_key):
        path, number = item.relative_path, 2
        while other := taken.get(_key(path)):
            if other.given != item.given and other.relative_path == item.relative_path:
                raise UsageError(_collision(other, item, output))
            stem, suffix = item.relative_path.stem, item.relative_path.suffix
            path = path.with_name(f"{stem} {number}{suffix}")
            number += 1
        taken[_key(path)] = replace(item, relative_path=path)
    return list(taken.values())


def _natural_key(item: Item) -> list[object]:
    return [natural(part) for part in item.relative_path.parts]


def _collision(one: Item, other: Item, output: Path) -> str:
    return (
        f"expected an output for each source, got {output / one.relative_path} for both "
        f"{one.source} and {other.source}; name the folders in a --list, where each output has the "
        "path of its line, or choose an output for each"
    )


def _key(path: Path) -> str:
    return path.as_posix().casefold()


def counterpart(folder: Path, path: Path) -> Path | None:
    """Return the file or folder for the source at `path` in a folder that mirrors the sources.

    It has the same name, or the same stem with another suffix. None if it does not exist.
    """
    at = folder / path.parent
    if (at / path.name).exists():
        return at / path.name
    near = [one for one in at.iterdir() if _stem_of(one) == path.stem] if at.is_dir() else []
    return min(near, key=lambda one: natural(one.name), default=None)


def _stem_of(path: Path) -> str | None:
    if path.is_dir():
        return path.name
    return path.stem if is_footage(path.name) else None


def read_list(name: str, output: Path | None = None) -> list[Path]:
    """Return the sources listed in a file, one a line; "-" is the standard input.

    Raises MediaError if it cannot be read or is not text, and UsageError if the file is `output` or
    inside it.
    """
    if output is not None and name != "-":
        check_apart(output, (Path(name),))
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise MediaError(
            f"--list: expected a file with one source a line, but {name}: {error.strerror}; "
            "check the path"
        ) from error
    if b"\0" in data:
        raise MediaError(
            f"--list: expected a text, one source a line, but {name} is binary; name another file"
        )
    lines = data.removeprefix(b"\xef\xbb\xbf").splitlines()
    return [Path(os.fsdecode(line)) for line in lines if line.strip()]


def parse_shard(text: str) -> tuple[int, int]:
    """Return (i, n) of 'i/n'. Raises UsageError."""
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    number, of = map(int, match.groups()) if match else (0, 0)
    if not 1 <= number <= of:
        raise UsageError(
            "--shard: expected i/n with i from 1 to n (2/4 is the second of four parts), got "
            f"{text!r}"
        )
    return number, of
