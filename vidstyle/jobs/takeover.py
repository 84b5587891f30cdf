"""Takeover: use the finished frames of a run for another output (--resume-from)."""

import errno
import json
import shlex
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from vidstyle.atomic import commit, lock, sync_folder
from vidstyle.errors import ContainerError, StateError, UsageError, writing
from vidstyle.jobs.checkpoint import Checkpoint
from vidstyle.jobs.manifest import MANIFEST, Manifest, differences, read_manifest, state_path
from vidstyle.jobs.state_folder import StateFolder

__all__ = [
    "another_output",
    "check_sizes",
    "command_for",
    "message_with_command",
    "suggest_other_output",
    "take_over",
]


def take_over(old: Path, output: Path, manifest: Manifest) -> None:
    """Rename the state folder of the output `old` to that of `output`.

    Does nothing if it was renamed before. manifest: of this request, which the frames must match.
    Raises UsageError, StateError or OutputError and then leaves everything unchanged.
    """
    source, target = state_path(old), state_path(output)
    if source == target or (target.exists() and not source.exists()):
        return
    stored = None if source.is_symlink() else read_manifest(source / MANIFEST)
    if stored is None:
        raise UsageError(
            f"--resume-from: expected an output whose run left its frames in {source}, got none "
            "there; name the output of the earlier run, or leave the option out"
        )
    if target.exists() or target.is_symlink():
        raise StateError(
            f"--resume-from: expected no frames of {output} yet, but {target} exists; delete it, "
            "or leave the option out to continue with those"
        )
    if found := differences(stored["job"], manifest):
        raise StateError(
            f"{source} holds frames of another request: {'; '.join(found)}; repeat the earlier "
            "request with another output only"
        )
    with writing(target), ExitStack() as locks:
        folder = StateFolder(old)
        folder.check(restart=False)
        for path in {source / "lock", *folder.locks()}:
            locks.enter_context(lock(path))
        folder.clear_part()  # named after the old output's suffix
        if stored["published"]:
            _forget_output(source / MANIFEST)
        _rename(source, target)
        sync_folder(target.parent)


def _rename(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        raise UsageError(
            f"--resume-from: expected both outputs on one disk, got {source} and {target} on two; "
            "move the first to the second, then leave the option out"
        ) from error


def _forget_output(path: Path) -> None:
    """Remove the published output from a manifest."""
    stored = json.loads(path.read_bytes())
    draft = path.with_suffix(".tmp.json")
    draft.write_text(json.dumps({**stored, "published": {}}, indent=1), encoding="utf-8")
    commit(draft, path)


def another_output(output: Path) -> Path:
    """Return an output in Matroska, which accepts most streams; in MP4 if it is Matroska."""
    return output.with_suffix(".mp4" if output.suffix.lower() == ".mkv" else ".mkv")


def suggest_other_output(output: Path, state: Checkpoint, error: ContainerError) -> ContainerError:
    """Return the error with the remedy: another output from the same frames."""
    found = ContainerError(
        f"{error}; all {len(state.finished)} frames are kept in {state.path}: to write them "
        f"without making them again, repeat the request with another output and --resume-from "
        f"{output}"
    )
    found.output, found.instead = output, another_output(output)
    return found


def message_with_command(error: ContainerError, given: Sequence[str]) -> str:
    """Return the message of an error; if frames were kept, with the command that continues.

    given: the arguments of the command that failed.
    """
    if error.output is None or error.instead is None:
        return str(error)
    return f"{error}, as in: {command_for(given, error.output, error.instead)}"


def check_sizes(state: Checkpoint, sizes: Sequence[tuple[int, int]]) -> None:
    """Raise StateError if the frames taken over do not have the sizes of the new output.

    sizes: (width, height) of each frame of the output. Some containers need even sides.
    """
    for position in list(state.finished)[:1]:
        height, width = state.load(position).shape[:2]
        if (width, height) != sizes[position]:
            raise StateError(
                f"--resume-from: expected frames of {sizes[position][0]}x{sizes[position][1]}, as "
                f"this output needs, got {width}x{height} in {state.path}; finish under the name "
                "of the earlier output, then choose another"
            )


def command_for(given: Sequence[str], output: Path, instead: Path) -> str:
    """Return the command line that uses the frames of `output` to write `instead`.

    given: the arguments of the command for `output`.
    """
    words, skipped = [], False
    for word in given:
        if skipped:
            skipped = False
        elif word in ("-o", "--output", "--resume-from"):
            skipped = True
        elif not word.startswith(("-o", "--output=", "--resume-from=")):
            words.append(word)
    rest = [word for word in words if word != "--restart"]
    return shlex.join(["vidstyle", *rest, "-o", str(instead), "--resume-from", str(output)])
