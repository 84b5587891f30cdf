"""Items: the sources of a batch, in natural order, each with its own place below the output."""

import os
import re
import stat
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vidstyle.errors import MediaError, UsageError
from vidstyle.media import is_footage, natural

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
REASONS = ("hidden", "foreign", "linked", "results", "guides")  # why an entry is passed over
_STATE = ".vidstyle"  # the suffix of a run's state
_PATTERN = re.compile(r"%0?\d*d")


@dataclass(frozen=True)
class Item:
    """A source, and its place below the output: where it stood, under the name that it had."""

    source: Path
    place: Path


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What a batch consists of.

    base: the folder that all sources lie in. items: of this shard. places: of all, in lower case.
    faults: folders that cannot be read, with a sentence each. left_out: how many entries were
    passed over, by reason: "hidden", "foreign" (no picture and no video), "linked" (a folder by a
    link, which may be a loop), "results" (of this or another batch, or the state of a run).
    """

    base: Path
    output: Path
    items: tuple[Item, ...]
    places: frozenset[str]
    faults: tuple[tuple[Path, str], ...]
    left_out: Counter[str]

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


def collect(
    sources: Sequence[Path],
    output: Path,
    *,
    recursive: bool = False,
    sequences: bool = False,
    shard: tuple[int, int] = (1, 1),
    guides: Iterable[str | Sequence[str]] = (),
) -> Batch:
    """Return the batch that these sources are: files, patterns, and what is in folders.

    recursive: folders below a folder count too. sequences: a folder is one source, a sequence.
    shard: (i, n), to return every n-th item from the i-th on. guides: the masks and maps, which are
    no sources where they stand among them. Raises UsageError or MediaError.
    """
    if not sources:
        raise UsageError("expected a SOURCE, or a list of them in --list FILE, got none; name one")
    if sequences and recursive:
        raise UsageError(
            "--rate: expected it without -r, since a folder is one sequence then; name each "
            "folder of frames as a SOURCE"
        )
    _check_output(sources, output)
    named = [[path] if isinstance(path, str) else path for path in guides]
    aside = frozenset(os.path.realpath(path) for paths in named for path in paths)
    search = _Search(recursive, sequences, Path(os.path.realpath(output)), aside)
    found = {
        _absolute(source): (source, place)
        for given in sources
        for source, place in search.of(given)
    }
    if not found:
        raise MediaError(_nothing(sources, search))
    base = Path(os.path.commonpath(search.inside))
    items = _distinct(Item(source, place.relative_to(base)) for source, place in found.values())
    number, of = shard
    return Batch(
        base=base,
        output=output,
        items=tuple(items[number - 1 :: of]),
        places=frozenset(_key(item.place) for item in items),
        faults=tuple(search.faults),
        left_out=search.left_out,
    )


@dataclass
class _Search:
    """Looks for sources; `inside` are the folders that those it returned are in."""

    recursive: bool
    sequences: bool
    output: Path
    aside: frozenset[str]
    inside: set[str] = field(default_factory=set)
    faults: list[tuple[Path, str]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def of(self, given: Path) -> Iterator[tuple[Path, Path]]:
        """Yield each source that `given` stands for, and its absolute place."""
        place = _absolute(given)
        _check_apart(given, self.output)
        if given.is_dir() and not self.sequences:
            self.inside.add(str(place))
            yield from ((given / path, place / path) for path in self._below(given))
            return
        if _PATTERN.search(given.name) and not given.exists():
            plain = _PATTERN.sub("", place.stem).strip("-_. ")
            place = _as_folder(place.with_name(plain) if plain else place.parent)
        elif given.is_dir():
            place = _as_folder(place)
        self.inside.add(str(place.parent))
        yield given, place

    def _below(self, top: Path) -> Iterator[Path]:
        """Yield the footage in a folder, relative to it."""
        folders = [Path()]
        while folders:
            folder = folders.pop()
            for entry in self._entries(top / folder):
                if entry.name.startswith("."):
                    self.left_out["hidden"] += 1
                elif os.path.realpath(entry.path) in self.aside:
                    self.left_out["guides"] += 1
                elif entry.is_dir(follow_symlinks=False):
                    if self.recursive and not self._is_result(Path(entry.path)):
                        folders.append(folder / entry.name)
                elif kind := _passed_over(entry):
                    self.left_out[kind] += 1
                else:
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
        """Tell whether a folder holds what vidstyle made: the output, another's, or a state."""
        ours = (
            folder.suffix == _STATE
            or (folder / LEDGER).is_dir()
            or Path(os.path.realpath(folder)) == self.output
        )
        self.left_out["results"] += ours
        return ours


def _absolute(path: Path) -> Path:
    """Return a path without dots, its links left as they are."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - resolve() follows links


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


def _check_output(sources: Sequence[Path], output: Path) -> None:
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


def _check_apart(given: Path, output: Path) -> None:
    """Refuse an output that holds a source: results would be taken for sources, or replace them."""
    real = Path(os.path.realpath(given))
    if output == real or output in real.parents:
        raise UsageError(
            f"{output}: expected an output folder apart from the sources, got one that holds "
            f"{given}; choose another folder"
        )


def _nothing(sources: Sequence[Path], search: _Search) -> str:
    if search.faults:
        return search.faults[0][1]
    deeper = "" if search.recursive else "; add -r for what is in folders below"
    passed = sum(search.left_out.values())
    return (
        f"{', '.join(map(str, sources[:3]))}: expected pictures, animations or videos, got none "
        f"({passed} other entries){deeper or '; name another folder'}"
    )


def _distinct(items: Iterable[Item]) -> list[Item]:
    """Return the items in natural order; of those at one place, all but the first are numbered.

    Upper and lower case are one place: so they are on some disks.
    """
    taken: set[str] = set()
    found = []
    for item in sorted(items, key=lambda item: [natural(part) for part in item.place.parts]):
        place, number = item.place, 2
        while _key(place) in taken:
            place = item.place.with_name(f"{item.place.stem} {number}{item.place.suffix}")
            number += 1
        taken.add(_key(place))
        found.append(Item(item.source, place))
    return found


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


def read_list(name: str) -> list[Path]:
    """Return the sources that a file names, one a line; "-" is the standard input.

    Raises MediaError if it cannot be read, or is no text.
    """
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
