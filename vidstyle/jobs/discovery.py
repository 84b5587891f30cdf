"""Items: the sources of a batch, in natural order, each with its own place below the output.

The place depends on the source alone, never on the others. What is found in a folder that was named
on the command line is placed as it lies in the folder. Any other source, and whatever a list names,
is placed under its path as it was written: clips/a.mp4 at OUTPUT/clips/a.mp4; an absolute path, or
one that leaves the current folder, from the root on: /data/a.mp4 at OUTPUT/data/a.mp4.
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

LEDGER = ".vidstyle"  # the folder in a batch's output that tells what each result was made of
# Why an entry is passed over.
REASONS = ("hidden", "system", "foreign", "linked", "results", "guides")
_STATE = ".vidstyle"  # the suffix of a run's state


@dataclass(frozen=True)
class Item:
    """A source, and the place of its result below the output. given: as what it was named."""

    source: Path
    place: Path
    given: Path


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What a batch consists of.

    source: any that exists, for a job that stands for all; if none does, the null device. items:
    of this shard. places: of all, in lower case. faults: folders that cannot be read, with a
    sentence each. left_out: how many entries were passed over, by reason: "hidden", "system" (of a
    NAS, an archive or an operating system), "foreign" (no picture and no video), "linked" (a folder
    by a link, which may be a loop), "results" (of this or another batch, or the state of a run).
    unread: the names of the foreign, and of folders (name/) that are left out without `recursive`.
    """

    source: Path
    output: Path
    items: tuple[Item, ...]
    places: frozenset[str]
    faults: tuple[tuple[Path, str], ...]
    left_out: Counter[str]
    unread: tuple[str, ...] = ()

    def result(self, item: Item, suffix: str) -> Path:
        """Return where the result of an item goes if its suffix is to be this one.

        A changed suffix is added to the whole name, so that a.bmp and a.gif stay apart.
        """
        place = item.place
        if suffix and place.suffix != suffix:
            place = place.with_name(place.name + suffix)
            while _key(place) in self.places:
                place = place.with_name(place.name + suffix)
        return self.output / place

    def record(self, result: Path) -> Path:
        """Return where it is told what a result was made of."""
        place = result.relative_to(self.output)
        return self.output / LEDGER / place.with_name(f"{place.name}.json")


def collect(  # noqa: PLR0913 - what is named, and how it is split
    sources: Sequence[Path],
    output: Path,
    *,
    recursive: bool = False,
    sequences: bool = False,
    shard: tuple[int, int] = (1, 1),
    guides: Iterable[str | Sequence[str]] = (),
    listed: Sequence[Path] = (),
) -> Batch:
    """Return the batch that these sources are: files, patterns, and what is in folders.

    listed: more sources, of a list. recursive: folders below a folder count too. sequences: a
    folder is one source, a sequence. shard: (i, n), to return every n-th item from the i-th on.
    guides: the masks and maps, which are no sources where they stand among them. Raises UsageError
    or MediaError.
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
    aside = frozenset(os.path.realpath(path) for paths in named for path in paths)
    search = _Search(recursive, sequences, output, aside)
    found: dict[Path, Item] = {}
    for given, in_list in (*((s, False) for s in sources), *((s, True) for s in listed)):
        for item in search.of(given, in_list=in_list):
            found.setdefault(_absolute(item.source), item)
    if not found:
        raise MediaError(_nothing([*sources, *listed], search))
    items = _distinct(found.values(), output)
    number, of = shard
    return Batch(
        source=next((item.source for item in items if _exists(item.source)), Path(os.devnull)),
        output=output,
        items=tuple(items[number - 1 :: of]),
        places=frozenset(_key(item.place) for item in items),
        faults=tuple(search.faults),
        left_out=search.left_out,
        unread=tuple(sorted(search.unread, key=natural)),
    )


@dataclass
class _Search:
    """Looks for sources, and counts what it passes over."""

    recursive: bool
    sequences: bool
    output: Path
    aside: frozenset[str]
    faults: list[tuple[Path, str]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    unread: list[str] = field(default_factory=list)

    def of(self, given: Path, *, in_list: bool) -> Iterator[Item]:
        """Yield each source that `given` stands for."""
        check_apart(self.output, (given,))
        place = _as_written(given)
        if given.is_dir() and not self.sequences:
            top = place if in_list else Path()
            yield from (Item(given / path, top / path, given) for path in self._below(given))
            return
        above = _absolute(given).parent
        if NUMBER.search(given.name) and not given.exists():
            plain = NUMBER.sub("", place.stem).strip("-_. ")
            parent = place.parent if place.parent.name else Path(above.name)
            place = _as_folder(place.with_name(plain) if plain else parent)
        elif given.is_dir():
            place = _as_folder(place if place.name else Path(_absolute(given).name))
        yield Item(given, place, given)

    def _below(self, top: Path) -> Iterator[Path]:
        """Yield the footage in a folder, relative to it."""
        folders = [Path()]
        while folders:
            folder = folders.pop()
            for entry in self._entries(top / folder):
                if entry.name.startswith("."):
                    self.left_out["hidden"] += 1
                elif is_system(entry.name):
                    self.left_out["system"] += 1
                elif os.path.realpath(entry.path) in self.aside:
                    self.left_out["guides"] += 1
                elif entry.is_dir(follow_symlinks=False):
                    if self._is_result(Path(entry.path)):
                        continue
                    if self.recursive:
                        folders.append(folder / entry.name)
                    else:
                        self.unread.append(f"{folder / entry.name}/")
                elif kind := _passed_over(entry):
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
            told = f"{folder}: expected a folder that can be read, but {error.strerror}"
            self.faults.append((folder, f"{told}; mend its rights"))
            return []

    def _is_result(self, folder: Path) -> bool:
        """Tell whether a folder holds what vidstyle made: the results of a batch, or a state."""
        made = folder.suffix == _STATE or (folder / LEDGER).is_dir()
        self.left_out["results"] += made
        return made


def _absolute(path: Path) -> Path:
    """Return a path without dots, its links left as they are."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - resolve() follows links


def _exists(path: Path) -> bool:
    return os.path.exists(path)  # noqa: PTH110 - Path.exists raises where a name is too long


def _as_written(given: Path) -> Path:
    """Return a path below the output: as it was written, or from the root on."""
    path = Path(os.path.normpath(given))
    if not path.is_absolute() and ".." not in path.parts:
        return path
    path = _absolute(given)
    drive = re.sub(r"[^\w.-]+", "_", path.drive).strip("_")  # of Windows: C:
    return Path(drive, *path.parts[1:])


def _as_folder(place: Path) -> Path:
    """Return a place whose name has no suffix, as that of a file has."""
    return place.with_name(place.name.replace(".", "_"))


def _passed_over(entry: "os.DirEntry[str]") -> str | None:
    """Return why a file is no source; None if it is one, or if only opening it can tell."""
    try:
        mode = entry.stat().st_mode
    except OSError:  # a link that leads nowhere
        mode = stat.S_IFREG
    if stat.S_ISDIR(mode):
        return "linked"
    return None if stat.S_ISREG(mode) and is_footage(entry.name) else "foreign"


def _check_output(output: Path) -> None:
    """Refuse an output that cannot be a folder."""
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


def _nothing(sources: Sequence[Path], search: _Search) -> str:
    if search.faults:
        return search.faults[0][1]
    deeper = "" if search.recursive else "; add -r for what is in folders below"
    passed = sum(search.left_out.values())
    files = [name for name in search.unread if not name.endswith("/")]
    named = left_out_message(sorted(files, key=natural))
    return (
        f"{', '.join(map(str, sources[:3]))}: expected pictures, animations or videos, got none "
        f"({named or f'{passed} other entries'}){deeper or '; name another folder'}"
    )


def _distinct(found: Iterable[Item], output: Path) -> list[Item]:
    """Return the items in natural order. Raises UsageError for two at one place.

    Names that differ in case alone would be one file on some disks: all but the first are numbered.
    """
    taken: dict[str, Item] = {}
    for item in sorted(found, key=lambda item: [natural(part) for part in item.place.parts]):
        place, number = item.place, 2
        while other := taken.get(_key(place)):
            if other.given != item.given and other.place == item.place:
                raise UsageError(_collision(other, item, output))
            place = item.place.with_name(f"{item.place.stem} {number}{item.place.suffix}")
            number += 1
        taken[_key(place)] = replace(item, place=place)
    return list(taken.values())


def _collision(one: Item, other: Item, output: Path) -> str:
    return (
        f"expected a place for each result, got {output / one.place} for both {one.source} and "
        f"{other.source}; name the folders in a --list, where each result lies under the path of "
        "its line, or choose an output for each"
    )


def _key(place: Path) -> str:
    return place.as_posix().casefold()


def counterpart(folder: Path, place: Path) -> Path | None:
    """Return what a folder that mirrors the sources holds for one at `place`, or None.

    That is what has its whole name, else its name with another suffix, or a folder with its name.
    """
    at = folder / place.parent
    if (at / place.name).exists():
        return at / place.name
    near = [path for path in at.iterdir() if _bare(path) == place.stem] if at.is_dir() else []
    return min(near, key=lambda path: natural(path.name), default=None)


def _bare(path: Path) -> str | None:
    if path.is_dir():
        return path.name
    return path.stem if is_footage(path.name) else None


def read_list(name: str, output: Path | None = None) -> list[Path]:
    """Return the sources that a file names, one a line; "-" is the standard input.

    Raises MediaError if it cannot be read, or is no text, and UsageError if `output` is or holds
    the file.
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
            f"--list: expected a text with one source a line, but {name} is none; name another file"
        )
    lines = data.removeprefix(b"\xef\xbb\xbf").splitlines()
    return [Path(os.fsdecode(line)) for line in lines if line.strip()]


def parse_shard(text: str) -> tuple[int, int]:
    """Read 'i/n'. Raises UsageError."""
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    number, of = map(int, match.groups()) if match else (0, 0)
    if not 1 <= number <= of:
        raise UsageError(
            "--shard: expected i/n with i from 1 to n (2/4 is the second of four parts), got "
            f"{text!r}"
        )
    return number, of
