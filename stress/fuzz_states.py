"""Fuzzing with foreign state folders: vidstyle must not change files that it did not write."""

import random
import shutil
from dataclasses import dataclass
from pathlib import Path

from stress.fuzz import CODES, FAULT, SECONDS
from stress.torture import Table
from stress.torture_rig import Child, start, write_inputs

__all__ = ["States", "fuzz_states", "prepare_states"]

# Names that vidstyle never writes, but that resemble its own.
FOREIGN = (
    "frames/holiday.jpg", "frames/1.png", "frames/000000.jpg", "frames/000000.tmp.txt",
    "frames/more/000000.png", "frames/.hidden", "part.txt", "part 1.mp4", "part/letter.txt",
    "part.mp4.old", "journal.txt", "journal", "journal.a.jsonl", "locked", "lock.txt", "lock.1",
    "a.tmp.json", "manifest.json.bak", "notes/lock", "Manifest.json.txt",
)  # fmt: skip
# Names that vidstyle writes, with foreign content, in a folder without a manifest.
BORROWED = (
    "frames/000000.png", "frames/000001.npz", "journal.jsonl", "lock", "lock.1-of-2", "part.mp4",
    "manifest.json", "manifest.tmp.json",
)  # fmt: skip
LINKED = ("", "frames", "journal.jsonl", "manifest.json", "lock", "frames/000000.png")
FLAGS = ((), ("--restart",), ("--overwrite",), ("--restart", "--overwrite"), ("--shard", "1/2"))


@dataclass(frozen=True)
class States:
    """A working folder, with inputs and the genuine state of an unfinished run."""

    folder: Path

    @property
    def genuine(self) -> Path:
        return self.folder / "unfinished" / "out.mp4.vidstyle"

    def command(self, output: Path, *more: str) -> list[str]:
        """Return the command line that makes `output`."""
        inputs = self.folder / "in"
        words = ["basic", str(inputs / "clip.mp4"), "-o", str(output), "-q", *more]
        return [*words, "--style", str(inputs / "style.png"), "--steps", "0", "--steps-next", "0"]


def prepare_states(folder: Path) -> States:
    """Write the inputs and the genuine state."""
    write_inputs(folder / "in")
    states = States(folder)
    states.genuine.parent.mkdir()
    child = start(
        states.command(folder / "unfinished" / "out.mp4", "--shard", "1/1"), folder / "log"
    )
    child.wait()
    if child.code:
        raise RuntimeError(f"uninterrupted: {child.output_lines()}")
    return states


def fuzz_states(states: States, numbers: range, seed: int, table: Table) -> None:
    """Run vidstyle on each folder and record the result. Each depends on seed and number only."""
    for number in numbers:
        chance = random.Random(f"{seed} states {number}")
        place = states.folder / "place"
        place.mkdir()
        row = chance.choice(("strange", "borrowed", "genuine", "without manifest", "linked"))
        error = _error_of(states, place, row, chance, table)
        if error:
            table.fail(row, f"{number}: {error}")
        shutil.rmtree(place)


def _error_of(
    states: States, place: Path, row: str, chance: random.Random, table: Table
) -> str | None:
    """Make a folder, run vidstyle once, and return an error, or None."""
    state, flags = place / "out.mp4.vidstyle", chance.choice(FLAGS)
    others = _make(states, state, row, chance)
    before = _contents(place)
    child = start(states.command(place / "out.mp4", *flags), states.folder / "log")
    try:
        child.wait(SECONDS)
    except TimeoutError as late:
        return str(late)
    table.add(row, folders=1, finished=int(child.code == 0), refused=int(child.code != 0))
    after = _contents(place)
    if error := _bad_exit(child):
        return f"{flags} {error}"
    if changed := [name for name in others if after.get(name) != before[name]]:
        return f"{flags} changed {', '.join(changed)}"
    if row in ("strange", "borrowed", "linked") and (child.code != 2 or after != before):
        return f"{flags} ended with {child.code}, expected 2 and nothing changed"
    if row == "without manifest" and "--restart" not in flags and after != before:
        return f"{flags} changed a state without a manifest"
    return None


def _bad_exit(child: Child) -> str | None:
    lines = child.output_lines()
    if child.code not in CODES or any(sign in line for line in lines for sign in FAULT):
        return f"ended with {child.code}: {' '.join(lines[-2:])}"
    if child.code and not (lines and lines[-1].startswith("vidstyle: ")):
        return f"ended with {child.code} without a message"
    return None


def _make(states: States, state: Path, row: str, chance: random.Random) -> list[str]:
    """Make the folder; return the files that must not change, relative to its parent."""
    if row in ("genuine", "without manifest", "linked"):
        shutil.copytree(states.genuine, state)
    if row == "without manifest":
        (state / "manifest.json").unlink()
        return []
    if row == "linked":
        return _link(state, chance)
    names = chance.sample(FOREIGN, chance.randint(row == "strange", 4))
    if row == "borrowed":
        names = [*names, *chance.sample(BORROWED, chance.randint(1, 3))]
    for name in names:
        (state / name).parent.mkdir(parents=True, exist_ok=True)
        (state / name).write_bytes(b"mine" + chance.randbytes(chance.randint(0, 40)))
    return [f"{state.name}/{name}" for name in names]


def _link(state: Path, chance: random.Random) -> list[str]:
    """Replace the state or a file in it with a link; return the files of its target."""
    link = state / chance.choice(LINKED)
    aside = state.parent / "aside"
    if link.exists():
        link.rename(aside)
    else:
        aside.write_bytes(b"mine")
    link.symlink_to(aside)
    found = [path for path in aside.rglob("*") if path.is_file()] if aside.is_dir() else [aside]
    return [path.relative_to(state.parent).as_posix() for path in found]


def _contents(folder: Path) -> dict[str, bytes]:
    """Return the content of each file in a folder by name; of links, the target."""
    return {
        path.relative_to(folder).as_posix(): (
            str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
        )
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }
