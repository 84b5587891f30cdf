"""Numbered patterns, and the check that an output does not touch any input."""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from vidstyle.errors import UsageError

__all__ = ["AUTO", "BACKGROUND", "NUMBER", "check_apart", "is_automatic", "pattern_of"]

AUTO, BACKGROUND = "auto", "auto:background"  # in place of the path of a mask
NUMBER = re.compile(r"%0?(\d*)d")  # the number in a pattern: frames/%05d.png
_ANY = re.compile(r".*", re.DOTALL)


def is_automatic(mask: Path) -> bool:
    """Return whether a mask is made by vidstyle: "auto" or "auto:background".

    A file of such a name is given by its absolute path.
    """
    return str(mask) in (AUTO, BACKGROUND)


def pattern_of(path: Path) -> re.Pattern[str]:
    """Return the regular expression for the file names of a numbered pattern."""
    before, width, after = NUMBER.split(path.name, maxsplit=1)
    return re.compile(f"{re.escape(before)}(\\d{{{width or 1},}}){re.escape(after)}")


def check_apart(output: Path, inputs: Iterable[Path], name: str = "output") -> None:
    """Raise UsageError if `output` is an input, lies in an input folder, or contains an input.

    All commands apply this rule. The folder of an input file is not an input. Symbolic and hard
    links are resolved, and letter case is ignored where the file system ignores it. A numbered
    pattern stands for the files that match it. An input that does not exist is skipped. name: of
    `output` in the message.
    """
    for path in inputs:
        if relation := _relation(output, path):
            raise UsageError(
                f"the {name} {output} {relation.format(path)}; choose an output apart from "
                "all inputs"
            )


def _relation(output: Path, path: Path) -> str | None:
    """Return how an output conflicts with an input, None if it does not."""
    exists, folder, pattern = os.path.exists(path), path, _ANY  # noqa: PTH110 - see _is_dir
    if not exists and NUMBER.search(path.name):
        folder, pattern = path.parent, pattern_of(path)
        if pattern.fullmatch(output.name) and _is_same(output.parent, folder):
            return "is also an input: it matches {}"
    elif _is_same(output, path):
        return "is also an input"
    elif _is_dir(path) and any(_is_same(above, path) for above in _parents(output)):
        return "lies in the input folder {}"
    if _is_dir(folder) and _is_entry(output, folder, pattern):
        return "is also an input: it is a file of {}"
    contains = _is_dir(output) and any(_is_same(above, output) for above in _parents(path))
    return "contains the input {}" if contains and (exists or pattern is not _ANY) else None


def _is_dir(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112 - Path.is_dir raises where a name is too long


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:  # one does not exist
        return os.path.realpath(one) == os.path.realpath(other)


def _parents(path: Path) -> Iterator[Path]:
    """Yield the parent folders of a path, as written and with its last link resolved."""
    named = Path(os.path.realpath(path.absolute().parent))
    yield from dict.fromkeys((named, *named.parents, *Path(os.path.realpath(path)).parents))


def _is_entry(output: Path, folder: Path, pattern: re.Pattern[str]) -> bool:
    """Whether a file in `folder` is a symbolic or hard link to the output."""
    try:
        own = output.stat().st_ino
        with os.scandir(folder) as entries:
            return any(
                (entry.is_symlink() or entry.inode() == own)
                and pattern.fullmatch(entry.name)
                and _is_same(Path(entry.path), output)
                for entry in entries
            )
    except OSError:  # no output yet, or an unreadable folder, which is reported when it is read
        return False
