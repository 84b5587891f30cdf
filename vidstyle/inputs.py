"""Inputs: what a path names on disk, and the rule that keeps every output apart from them."""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from vidstyle.errors import UsageError

__all__ = ["NUMBER", "check_apart", "pattern_of"]

NUMBER = re.compile(r"%0?(\d*)d")  # in the name of a numbered pattern: frames/%05d.png
_ANY = re.compile(r".*", re.DOTALL)


def pattern_of(path: Path) -> re.Pattern[str]:
    """Return what matches the names of the files that a numbered pattern stands for."""
    before, width, after = NUMBER.split(path.name, maxsplit=1)
    return re.compile(f"{re.escape(before)}(\\d{{{width or 1},}}){re.escape(after)}")


def check_apart(output: Path, inputs: Iterable[Path], what: str = "output") -> None:
    """Raise UsageError if `output` is an input, lies in an input folder, or contains an input.

    This is the one rule of every command. The folder that an input file lies in is no input.
    Paths are compared as the file system sees them: through symbolic and hard links, and whatever
    the case of letters where the disk ignores it. A numbered pattern stands for the files that
    match it, and an input that does not exist for nothing. what: how `output` is called.
    """
    for path in inputs:
        if relation := _relation(output, path):
            raise UsageError(
                f"the {what} {output} {relation.format(path)}; choose an output apart from "
                "all inputs"
            )


def _relation(output: Path, path: Path) -> str | None:
    """Return how an output collides with an input, None if it does not."""
    exists, folder, pattern = os.path.exists(path), path, _ANY  # noqa: PTH110 - see _is_dir
    if not exists and NUMBER.search(path.name):
        folder, pattern = path.parent, pattern_of(path)
        if pattern.fullmatch(output.name) and _is_same(output.parent, folder):
            return "is also an input: it matches {}"
    elif _is_same(output, path):
        return "is also an input"
    elif _is_dir(path) and any(_is_same(above, path) for above in _above(output)):
        return "lies in the input folder {}"
    if _is_dir(folder) and _is_entry(output, folder, pattern):
        return "is also an input: it is a file of {}"
    contains = _is_dir(output) and any(_is_same(above, output) for above in _above(path))
    return "holds the input {}" if contains and (exists or pattern is not _ANY) else None


def _is_dir(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112 - Path.is_dir raises where a name is too long


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:  # one of them is not there
        return os.path.realpath(one) == os.path.realpath(other)


def _above(path: Path) -> Iterator[Path]:
    """Yield the folders that a path lies in, by its name and by where its links lead to."""
    named = Path(os.path.realpath(path.absolute().parent))
    yield from dict.fromkeys((named, *named.parents, *Path(os.path.realpath(path)).parents))


def _is_entry(output: Path, folder: Path, pattern: re.Pattern[str]) -> bool:
    """Tell whether a file in a folder is the output under another name: a link of either kind."""
    try:
        own = output.stat().st_ino
        with os.scandir(folder) as entries:
            return any(
                (entry.is_symlink() or entry.inode() == own)
                and pattern.fullmatch(entry.name)
                and _is_same(Path(entry.path), output)
                for entry in entries
            )
    except OSError:  # no output yet, or a folder that cannot be listed: reading it tells that
        return False
