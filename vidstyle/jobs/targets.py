"""Targets: whether an output may be written, and whether its files are intact."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from vidstyle.atomic import sha256_of
from vidstyle.errors import OutputError, UsageError, reading, writing
from vidstyle.jobs.manifest import Manifest, state_of, state_path
from vidstyle.jobs.state_folder import StateFolder

__all__ = ["agrees", "check_space", "check_target", "is_whole"]


def check_target(output: Path, *, overwrite: bool, restart: bool, output_options: Manifest) -> None:
    """Raise UsageError, OutputError or StateError unless `output` may be written; write nothing.

    An existing output may be replaced with `overwrite`, or if its state folder shows that an
    earlier run of the same request wrote it. output_options: of the request, for encoding.
    """
    folder = output.absolute().parent
    if not folder.is_dir():
        raise UsageError(f"the folder {folder} for the output does not exist; make it first")
    for place in (folder, output) if output.is_dir() else (folder,):
        if not os.access(place, os.W_OK | os.X_OK):
            raise OutputError(f"cannot write in {place}: choose a folder that you may write to")
    StateFolder(output).check(restart=restart)
    if overwrite or not (output.exists() or output.is_symlink()):
        return
    stored = None if restart else state_of(output)
    published = stored["published"] if stored else {}
    known = published["files"] if published and published.get("form") == output_options else {}
    if not _consists_of(output, known):
        with suppress(OSError):
            state_path(output).rmdir()  # left empty by a run that was killed near its end
        what = "is a folder that is not empty" if output.is_dir() else "exists"
        raise UsageError(
            f"{output} {what}; add --overwrite to replace it, or choose another output"
        )


def check_space(output: Path, needed: int, frames: int) -> None:
    """Raise OutputError if the disk of `output` has less than `needed` bytes free."""
    folder = output.absolute().parent
    with writing(folder):
        free = shutil.disk_usage(folder).free
    if free < needed:
        raise OutputError(
            f"expected about {needed / 1e6:,.0f} MB free in {folder} to finish {frames} frames and "
            f"write {output.name}, got {free / 1e6:,.0f} MB; free some space, choose a smaller "
            "--size or an output on another disk"
        )


def is_whole(output: Path, published: Manifest) -> bool:
    """Return whether all files listed in `published` exist at `output` with their sha256."""
    folder = output if output.is_dir() else output.parent
    return all(agrees(folder / name, known) for name, known in published["files"].items())


def _consists_of(output: Path, known: dict[str, str]) -> bool:
    """Return whether all files at `output` are in `known`, the sha256 by file name."""
    there = [output]
    if output.is_dir():
        there = [path for path in output.iterdir() if not path.name.startswith(".")]
    return all(agrees(path, known.get(path.name)) for path in there)


def agrees(path: Path, sha256: str | None) -> bool:
    """Return whether a file exists and has this sha256."""
    with reading(path):
        return sha256 is not None and path.is_file() and sha256_of(path) == sha256
