"""The tests of scripts/torture: faults, kills, signals and long runs, and their checks."""

import os
import random
import re
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from stress.torture_rig import (
    CREATION,
    FAILED,
    MARKS,
    OPERATION,
    STARTED,
    Child,
    Fault,
    start,
    write_clip,
)
from stress.torture_rig import write_inputs as write_inputs  # noqa: PLC0414
from vidstyle.atomic import sha256_of

JOBS = {
    "video": (["clip.mp4"], "out.mp4"),
    "animation": (["moving.gif"], "out.gif"),
    "photos": (["photos"], "out"),
    "batch": (["photos/0.png", "moving.gif"], "out"),
}
KINDS = ("kill", "ENOSPC", "EIO", "EACCES")
SIZES = [round(100 * 1.25**step) for step in range(20)]  # bytes; limits of the size of a file
PAUSE = 0.02  # seconds a frame; a slow stylizer is interrupted more often
STOPS_WITHIN = 5.0  # seconds
HINT = re.compile(r"^vidstyle: stopped.*; run the same command.* to continue$", re.MULTILINE)


@dataclass
class Table:
    """Counts by row and column, and a message for each failure."""

    rows: dict[str, Counter[str]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def add(self, row: str, **counts: int) -> None:
        """Add to the counts of a row."""
        self.rows.setdefault(row, Counter()).update(counts)

    def note_peak(self, row: str, megabytes: int) -> None:
        """Keep the maximum of the peak memory."""
        found = self.rows.setdefault(row, Counter())
        found["peak_MB"] = max(found["peak_MB"], megabytes)

    def fail(self, row: str, sentence: str) -> None:
        """Add a failure."""
        self.add(row, failures=1)
        self.failures.append(f"{row}: {sentence}")

    def __str__(self) -> str:
        names = list(dict.fromkeys(name for row in self.rows.values() for name in row))
        names = [*(name for name in names if name != "failures"), "failures"]
        lines = [["", *(name.replace("_", " ") for name in names)], ["---"] * (len(names) + 1)]
        lines += [[row, *(str(found[name]) for name in names)] for row, found in self.rows.items()]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)


@dataclass
class Bench:
    """A working folder, with the output and the duration of an uninterrupted run of each job."""

    folder: Path
    whole: dict[str, dict[str, str]] = field(default_factory=dict)
    marks: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    trials: int = 0

    def prepare(self, *, pause: float = 0.0) -> None:
        """Write the inputs and run each job uninterrupted."""
        write_inputs(self.folder / "in", 6 if pause else 3)
        for job in JOBS:
            trial = self.trial(job)
            began = time.monotonic()
            child = trial.start(pause=pause, fault=Fault(trial.folder))
            self.marks[job] = child.wait()
            self.seconds[job] = time.monotonic() - began
            if child.code:
                raise RuntimeError(f"{job}, uninterrupted: {child.output_lines()}")
            self.whole[job] = snapshot(trial.folder)

    def trial(self, job: str) -> "Trial":
        """Return a job in a new folder."""
        self.trials += 1
        folder = self.folder / f"trial{self.trials}"
        folder.mkdir()
        return Trial(self, job, folder)

    def operations(self, job: str, kind: str) -> int:
        """Return the number of file operations of an uninterrupted run that this fault can hit."""
        affected = CREATION if kind == "ENOSPC" else CREATION + OPERATION
        return sum(self.marks[job].count(letter) for letter in affected)


@dataclass
class Trial:
    """A job in its own folder."""

    bench: Bench
    job: str
    folder: Path

    def start(self, **given: object) -> Child:
        """Start or continue the job."""
        sources, output = JOBS[self.job]
        inputs = self.bench.folder / "in"
        arguments = ["basic", *(str(inputs / name) for name in sources), "-q"]
        arguments += ["-o", str(self.folder / output), "--style", str(inputs / "style.png")]
        arguments += ["--steps", "0", "--steps-next", "0"]
        return start(arguments, self.bench.folder / "log", **given)  # type: ignore[arg-type]

    def is_over(self, child: Child) -> bool:
        """Return whether a run was refused because the output is already complete."""
        found, whole = snapshot(self.folder), self.bench.whole[self.job]
        refused = child.code == 2 and "add --overwrite to replace it" in child.output_lines()[-1]
        return refused and all(found.get(name) == digest for name, digest in whole.items())

    def partial(self) -> str | None:
        """Return the first file with a final name and unexpected content."""
        whole = self.bench.whole[self.job]
        for name, digest in snapshot(self.folder).items():
            if digest and not _is_draft(name) and whole.get(name) != digest:
                return name
        return None

    def finish(self) -> tuple[str | None, str]:
        """Run the job to its end; return an error in its output, or None, and its marks."""
        child = self.start()
        marks = child.wait()
        if child.code and not self.is_over(child):
            return f"the next run ended with {child.code}: {_tail(child.output_lines())}", marks
        return self.differs(), marks

    def differs(self) -> str | None:
        """Return how the folder differs from that of an uninterrupted run."""
        found, whole = snapshot(self.folder), self.bench.whole[self.job]
        names = sorted(name for name in {*found, *whole} if found.get(name) != whole.get(name))
        if not names:
            shutil.rmtree(self.folder)
            return None
        more = [name for name in names if name not in whole]
        return f"extra files: {', '.join(more)}" if more else f"not identical: {', '.join(names)}"


def snapshot(folder: Path) -> dict[str, str]:
    """Return the sha256 of each file in a folder by name; "" for folders."""
    found = {}
    for path in sorted(folder.rglob("*")):
        digest = "" if path.is_dir() else sha256_of(path)
        found[path.relative_to(folder).as_posix()] = digest
    return found


def _is_draft(name: str) -> bool:
    """Return whether a file is part of a state folder or has a temporary name."""
    in_state = any(part.endswith(".vidstyle") for part in name.split("/") if part != ".vidstyle")
    return in_state or name.endswith(".tmp")


def _tail(lines: list[str]) -> str:
    return " / ".join(lines[-3:])[-300:]


def faults(bench: Bench, table: Table, count: int | None, rng: random.Random) -> None:
    """Let each file operation fail once with each error, or a random `count` of these."""
    bench.prepare()
    points = [
        (job, kind, moment)
        for job in JOBS
        for kind in KINDS
        for moment in range(1, bench.operations(job, kind) + 1)
    ]
    points += [(job, "EFBIG", size) for job in JOBS for size in SIZES]
    for job, kind, moment in rng.sample(points, count or len(points)):
        trial = bench.trial(job)
        row = f"{kind}, {job}"
        wrong = _fail_at(trial, kind, moment, lambda row=row, **n: table.add(row, **n))
        if wrong:
            table.fail(row, f"at {moment}: {wrong}")


def _fail_at(trial: Trial, kind: str, moment: int, add: Callable[..., None]) -> str | None:
    """Let one operation fail; return an error of that run or of the next one, or None."""
    if kind == "EFBIG":
        child = trial.start(largest=moment)
    else:
        child = trial.start(fault=Fault(trial.folder, kind, moment))
    failed = FAILED in child.wait() or (kind == "EFBIG" and child.code != 0)
    add(points=1, failed=int(failed))
    if not failed:
        return trial.differs() if child.code == 0 else f"ended with {child.code} without a fault"
    if partial := trial.partial():
        return f"{partial} is not whole under its final name"
    if kind == "kill":
        if child.code != -signal.SIGKILL:
            return f"expected a kill, got {child.code}"
        add(killed=1)
    elif wrong := _bad_report(trial, child, add):
        return wrong
    wrong, _ = trial.finish()
    add(identical_after=int(not wrong))
    return wrong


def _bad_report(trial: Trial, child: Child, add: Callable[..., None]) -> str | None:
    lines = child.output_lines()
    if child.code == 0:  # a failed cleanup is ignored
        add(passed_over=1)
        whole = trial.bench.whole[trial.job]
        missing = [name for name in whole if name not in snapshot(trial.folder)]
        return f"reported success, but {missing} missing" if missing else None
    codes = (1, 4) if trial.job == "batch" else (4,)  # 1: some of its sources failed
    most = len(JOBS[trial.job][0])
    if child.code not in codes or not 1 <= len(lines) <= most:
        return f"ended with {child.code}, saying: {_tail(lines)}"
    if not all(line.startswith("vidstyle: ") and "fault of" not in line for line in lines):
        return f"reported another cause: {_tail(lines)}"
    add(**{f"exit_{child.code}": 1})
    return None


def kills(bench: Bench, table: Table, count: int | None, rng: random.Random) -> None:
    """Kill runs at random moments of each phase; each job is killed up to five times."""
    bench.prepare(pause=PAUSE)
    phases = list(MARKS)
    done = 0
    while done < (count or 200):
        trial = bench.trial(rng.choice(list(JOBS)))
        started, before = 0, done
        wrong = None
        for _ in range(rng.randint(1, 5)):
            phase = phases[done % len(phases)]
            child = trial.start(pause=PAUSE)
            started += _kill_in(child, bench.marks[trial.job], phase, rng)
            wrong = wrong or _after_kill(trial, child)
            if child.code != -signal.SIGKILL:
                break
            done += 1
            table.add(phase, kills=1)
        ended, marks = trial.finish()
        started += marks.count(MARKS["stylise"])
        wrong = wrong or ended
        redone = started - bench.marks[trial.job].count(MARKS["stylise"])
        table.add("jobs", jobs=1, identical=int(not wrong), frames_redone=redone)
        if redone > done - before:
            wrong = wrong or f"{redone} frames redone after {done - before} kills"
        if wrong:
            table.fail("jobs", f"{trial.job}, {trial.folder.name}: {wrong}")


def _kill_in(child: Child, usual: str, phase: str, rng: random.Random) -> int:
    """Kill a child in a phase; return the number of frames that it started."""
    letter = MARKS[phase]
    nth, started = rng.randint(1, max(1, usual.count(letter))), 0
    for mark in child.letters():
        started += mark == MARKS["stylise"]
        nth -= mark == letter
        if nth == 0:
            time.sleep(rng.uniform(0, PAUSE + 0.01))
            os.kill(child.pid, signal.SIGKILL)
            break
    return started + child.wait().count(MARKS["stylise"])


def _after_kill(trial: Trial, child: Child) -> str | None:
    if child.code not in (0, -signal.SIGKILL) and not trial.is_over(child):
        return f"a continued run ended with {child.code}: {_tail(child.output_lines())}"
    partial = trial.partial()
    return f"{partial} is not whole under its final name" if partial else None


def signals(bench: Bench, table: Table, count: int | None, rng: random.Random) -> None:
    """Send SIGINT and SIGTERM at random moments, until `count` of each have stopped a run."""
    bench.prepare(pause=PAUSE)
    for number in (signal.SIGINT, signal.SIGTERM):
        table.add(number.name, stopped=0, failures=0)
        row = table.rows[number.name]
        while row["stopped"] + row["failures"] < (count or 50):
            trial = bench.trial(rng.choice(list(JOBS)))
            child = trial.start(pause=PAUSE)
            next(mark for mark in child.letters() if mark == STARTED)
            moment = rng.uniform(0, bench.seconds[trial.job])
            time.sleep(moment)
            os.kill(child.pid, number)
            wrong = _after_signal(trial, child, lambda n=number.name, **c: table.add(n, **c))
            if wrong:
                table.fail(number.name, f"{trial.job} after {moment:.3f} s: {wrong}")


def _after_signal(trial: Trial, child: Child, add: Callable[..., None]) -> str | None:
    began = time.monotonic()
    try:
        child.wait(STOPS_WITHIN)
    except TimeoutError as error:
        return str(error)
    milliseconds = round(1000 * (time.monotonic() - began))
    add(signals=1, stopped=int(child.code == 130), had_ended=int(child.code == 0))
    add(milliseconds_in_all=milliseconds)
    text = "\n".join(child.output_lines())
    if child.code not in (0, 130) or (child.code and not HINT.search(text)) or "Trace" in text:
        return f"ended with {child.code}, saying: {_tail(child.output_lines())}"
    if partial := trial.partial():
        return f"{partial} is not whole under its final name"
    wrong, _ = trial.finish()
    add(identical_after=int(not wrong))
    return wrong


def long(bench: Bench, table: Table, count: int | None, _: random.Random) -> None:
    """Stylise a long clip; memory and open files must not grow after its second tenth."""
    frames = count or 10_000
    write_inputs(bench.folder / "in")
    write_clip(bench.folder / "in" / "clip.mp4", frames, (48, 32))
    trial = bench.trial("video")
    samples = [*_samples(trial.start(), frames)]
    tenth = frames // 10
    early, late = samples[tenth : 2 * tenth], samples[-tenth:]
    pages = [sum(memory for memory, _ in part) / len(part) for part in (early, late)]
    files = [max(files for _, files in part) for part in (early, late)]
    grown = round((pages[1] - pages[0]) * os.sysconf("SC_PAGE_SIZE") / 1024)
    table.add("long", frames=len(samples), kB_at_first=round(pages[0] * 4), kB_more_at_last=grown)
    table.add("long", files_at_first=files[0], files_at_last=files[1])
    whole = [path.name for path in trial.folder.iterdir()]
    if whole != ["out.mp4"] or len(samples) != frames:
        table.fail("long", f"{len(samples)} of {frames} frames, leaving {whole}")
    if grown > frames // 2 or files[0] != files[1]:  # half a kB a frame
        table.fail("long", f"grew by {grown} kB, from {files[0]} to {files[1]} open files")


def _samples(child: Child, frames: int) -> Iterator[tuple[int, int]]:
    """Yield the memory pages and the open files of a child at the start of each frame."""
    process = Path(f"/proc/{child.pid}")
    for mark in child.letters():
        if mark == MARKS["stylise"]:
            pages = int((process / "statm").read_text(encoding="ascii").split()[1])
            yield pages, len(list((process / "fd").iterdir()))
    child.wait()
