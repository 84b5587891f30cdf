"""The loop over the sources of a batch: what is finished is passed by, what fails is told.

Progress goes out as the events of each run (see run.py), and with these besides:

    batch    of, faults, left_out       before the first source
    next     index, of, source          a source is begun
    item     index, of, source, output, status, seconds, left, and if it failed message, exit_code,
             if it is done warnings
    summary  of, done, skipped, failed, warnings, left_out, seconds

index: from 0, in this shard. status: "done", "skipped" (finished before) or "failed". left: about
how many seconds the rest of the batch takes, None until that can be told. In the summary done and
skipped are numbers, failed is a list of source, message and exit_code, warnings (what of a source
could not be kept in its output) one of source and message. On a cluster (see there)
one event tells its workers, and there is no next.
"""

import errno
import os
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from vidstyle import media
from vidstyle.errors import (
    GuideError,
    HeldError,
    MediaError,
    OutputError,
    StateError,
    UsageError,
    WeightsError,
    explained,
    writing,
)
from vidstyle.guides.files import missing
from vidstyle.jobs import pipeline
from vidstyle.jobs.discovery import LEDGER, REASONS, Batch, Item, counterpart
from vidstyle.jobs.job import Job, Network, find_network
from vidstyle.jobs.manifest import (
    changes,
    check_own,
    differences,
    read_manifest,
    state_of,
    state_path,
)
from vidstyle.jobs.plan import Event, OnEvent, forecast
from vidstyle.jobs.state_folder import StateFolder
from vidstyle.jobs.targets import is_whole
from vidstyle.media.clip import MOVIES
from vidstyle.media.codecs import PICTURE_CODECS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vidstyle.guides.guide import Guide
    from vidstyle.stylizer.protocol import Stylizes
    from vidstyle.techniques.base import Style

__all__ = ["BatchWork", "Each", "Kept", "MakeJob", "plan_batch", "run_batch", "when_free"]

MakeJob = Callable[[Path, Path], Job]  # of a source and an output

_PAUSE = 1.0  # seconds between two looks at a lock that another run holds
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # no other source would fare better


def run_batch(
    batch: Batch,
    make: MakeJob,
    notify: OnEvent,
    *,
    make_stylizer: pipeline.MakeStylizer = pipeline.make_stylizer,
    each: "Each | None" = None,
) -> int:
    """Do every job of a batch that is not finished; return how many failed.

    each: does all items of the work and tells what came of them; by default one after another.
    Raises VidstyleError for what is wrong with all of them: the request, the styles, the weights,
    the output folder, a full disk.
    """
    began = time.monotonic()
    common = make(batch.source, batch.output)
    if common.settings.resume_from is not None:
        raise UsageError(
            "--resume-from: expected one source, got a batch; run it for that source alone"
        )
    common.read_styles()
    _check_ledger(batch.output)
    _make_folder(batch.output)
    work = BatchWork(batch, make, make_stylizer, find_network(common, notify))
    tally = _Tally(len(batch.items), notify, _faults(batch))
    notify({"event": "batch", "of": len(batch.items), **_passed(batch)})
    _tell_unread(batch, notify)
    (each or _one_by_one)(work, tally)
    seconds = round(time.monotonic() - began, 3)
    told = {"of": len(batch.items), **tally.counts, **_passed(batch), "seconds": seconds}
    notify({"event": "summary", **told})
    return len(tally.failed)


def plan_batch(batch: Batch, make: MakeJob, notify: OnEvent) -> int:
    """Tell what `run_batch` would do, by the headers of the sources; return how many would fail.

    Each source is an item whose status is "planned", "skipped" or "failed"; the last event is a
    "plan", with the sums of what run.plan says of those that are planned. Touches nothing.
    """
    make(batch.source, batch.output).read_styles()
    _check_ledger(batch.output)
    sums: dict[str, Any] = dict.fromkeys(("frames", "evaluations", "seconds", "bytes"), 0)
    counts: Counter[str] = Counter()
    failed = _faults(batch)
    _tell_unread(batch, notify)
    for index, item in enumerate(batch.items):
        event: Event = {"event": "item", "index": index, "of": len(batch.items)}
        event["source"] = str(item.source)
        try:
            job, _ = _job(batch, make, item)
            event |= {"output": str(job.output), "status": "planned"}
            if job.output.exists() and batch.record(job.output).exists():
                event["status"] = "skipped"
            else:
                StateFolder(job.output).check(restart=job.settings.restart)
                found = forecast(job)
                sums = {name: value + found[name] for name, value in sums.items()}
        except Exception as error:
            message, code = explained(error)
            event |= {"status": "failed", "message": message, "exit_code": code}
            failed.append({"source": str(item.source), "message": message, "exit_code": code})
        counts[event["status"]] += 1
        notify(event)
    told = {"of": len(batch.items), **{name: counts[name] for name in ("planned", "skipped")}}
    notify({"event": "plan", **told, "failed": failed, **_passed(batch), **sums})
    return len(failed)


@dataclass(frozen=True)
class BatchWork:
    """A batch to be done: what any process needs to do one of its items."""

    batch: Batch
    make: MakeJob
    make_stylizer: pipeline.MakeStylizer
    network: Network

    def __len__(self) -> int:
        return len(self.batch.items)

    def source(self, index: int) -> str:
        """Return the name of a source."""
        return str(self.batch.items[index].source)

    def job(self) -> Job:
        """Return a job that stands for all, but for source and output."""
        return self.make(self.batch.source, self.batch.output)

    def prepared(self, network: Network) -> Self:
        """Return the same for one process: it makes the model once, and has the network there."""
        return replace(self, make_stylizer=Kept(self.make_stylizer), network=network)

    def do(self, index: int, notify: OnEvent, *, patient: bool = False) -> Event:
        """Do one job if it is not finished; return its "item", what came of it.

        patient: wait for another run that holds its state. Raises what would meet every source.
        """
        began = time.monotonic()
        notify({"event": "next", **self._facts(index)})
        try:
            wait = when_free if patient else _at_once
            found = wait(lambda: self._do(index, notify), notify)
        except BrokenPipeError:  # nobody listens any more
            raise
        except Exception as error:
            if _is_common(error):
                raise
            found = _failure(error)
            notify({"event": "trace", "text": traceback.format_exc()})
        seconds = round(time.monotonic() - began, 3)
        return {"event": "item", **self._facts(index), **found, "seconds": seconds}

    def failed(self, index: int, error: Exception) -> Event:
        """Return the "item" of a source that an error from outside kept from being done."""
        return {"event": "item", **self._facts(index), **_failure(error), "seconds": 0.0}

    def _facts(self, index: int) -> Event:
        return {"index": index, "of": len(self), "source": self.source(index)}

    def _do(self, index: int, notify: OnEvent) -> Event:
        job, clip = _job(self.batch, self.make, self.batch.items[index])
        asked = self.job().settings.codec
        if job.settings.codec != asked:
            message = f"{job.source}: --codec {asked} is for stills: it was not used here"
            notify({"event": "warning", "message": message})
        record = self.batch.record(job.output)
        told = {"output": str(job.output)}
        check_own(record)
        if _is_finished(job, clip, record, self.network):
            with suppress(OSError):  # left empty by a run that was killed as it ended
                state_path(job.output).rmdir()
            return {**told, "status": "skipped"}
        with writing(job.output):
            job.output.parent.mkdir(parents=True, exist_ok=True)
        kept, network = self.make_stylizer, self.network
        outcome = pipeline.run(job, notify, make_stylizer=kept, network=network, record=record)
        return {**told, "status": "done", "warnings": list(outcome.warnings)}


def when_free(act: Callable[[], Event], notify: OnEvent) -> Event:
    """Return what `act` returns as soon as no other run holds what it is about."""
    told = False
    while True:
        try:
            return act()
        except HeldError as error:
            if not told:
                notify({"event": "warning", "message": f"{error}: waiting for it"})
            told = True
        time.sleep(_PAUSE)
        notify({"event": "waiting"})


def _at_once(act: Callable[[], Event], _: OnEvent) -> Event:
    return act()


Each = Callable[[BatchWork, OnEvent], None]


def _one_by_one(work: BatchWork, notify: OnEvent) -> None:
    kept = work.prepared(work.network)
    for index in range(len(work)):
        notify(kept.do(index, notify))


class _Tally:
    """Counts what became of the sources, and passes all events on."""

    def __init__(self, of: int, notify: OnEvent, faults: list[dict[str, Any]]) -> None:
        self.failed = faults
        self.warnings: list[dict[str, str]] = []
        self._notify = notify
        self._fates: Counter[str] = Counter()
        self._left = of
        self._began = time.monotonic()

    def __call__(self, event: Event) -> None:
        if event["event"] == "item":
            self._count(event)
            event = {**event, "left": self._seconds_left()}
        self._notify(event)

    def _count(self, event: Event) -> None:
        self._left -= 1
        self._fates[event["status"]] += 1
        for message in event.get("warnings", ()):
            self.warnings.append({"source": event["source"], "message": message})
        if event["status"] == "failed":
            self.failed.append({name: event[name] for name in ("source", "message", "exit_code")})

    def _seconds_left(self) -> float | None:
        """Guess from those that took time; those that were finished before took none."""
        done = self._fates["done"]
        spent = time.monotonic() - self._began
        return round(spent / done * self._left, 1) if done else None

    @property
    def counts(self) -> dict[str, Any]:
        fates = {name: self._fates[name] for name in ("done", "skipped")}
        return {**fates, "failed": self.failed, "warnings": self.warnings}


def _failure(error: Exception) -> Event:
    message, code = explained(error)
    return {"output": None, "status": "failed", "message": message, "exit_code": code}


def _job(batch: Batch, make: MakeJob, item: Item) -> tuple[Job, media.Clip]:
    """Return the job of a source, and what the source really is, which its output depends on."""
    job = make(item.source, batch.output / item.place)
    clip = media.probe(job.source, rate=job.settings.rate, count=False)
    codec = job.settings.codec
    result = batch.result(item, media.result_suffix(clip, item.place.suffix, codec))
    job = make(item.source, result)
    if codec in PICTURE_CODECS and result.suffix and clip.kind != "picture":
        job = replace(job, settings=replace(job.settings, codec=None))  # it is for the stills
    still = clip.kind == "picture"
    own = [_own_guide(path, batch, item, still=still) for path in job.masks]
    drawn = None if job.map is None else _own_guide(job.map, batch, item, still=still)
    return replace(job, masks=tuple(own), map=drawn), clip


def _own_guide(given: Path, batch: Batch, item: Item, *, still: bool) -> Path:
    """Return the mask or map of one source, where a folder mirrors the tree of the sources.

    A folder in which no source has one of its own is a series, for the frames of every clip.
    """
    if not given.is_dir():
        return given
    found = counterpart(given, item.place)
    if found is not None:
        return found
    if still or any(counterpart(given, other.place) for other in batch.items):
        raise GuideError(missing(item.source, given / item.place.parent, item.place.stem))
    return given


def _is_finished(job: Job, clip: media.Clip, record: Path, network: Network) -> bool:
    """Tell whether the output is there, whole, as an earlier run of this request wrote it.

    Raises StateError if it was another request, unless what it made may be replaced.
    """
    stored = None if job.settings.restart else read_manifest(record)
    if stored is None or not is_whole(job.output, stored["published"]):
        return False
    found = differences(stored["job"], job.manifest(clip, network.digest))
    if job.output.suffix.lower() in MOVIES:
        found += changes(
            "--", stored["published"].get("form") or {}, job.settings.of_scope("output")
        )
    if found and not job.settings.overwrite:
        raise StateError(
            f"{job.output} was made by another request: {'; '.join(found)}; add --overwrite to "
            "replace it, or choose another output"
        )
    return not found and not _is_to_be_tidied(job.output, stored["job"])


def _is_to_be_tidied(output: Path, made: dict[str, Any]) -> bool:
    """Tell whether the run that made this was killed before its state was gone."""
    state = state_of(output)
    if state is None:
        return False
    return bool(not state["published"].get("kept") and not differences(made, state["job"]))


def _is_common(error: Exception) -> bool:
    """Tell whether an error would meet every other source too."""
    cause = error.__cause__
    full = isinstance(error, OutputError) and isinstance(cause, OSError) and cause.errno in _FULL
    return full or isinstance(error, WeightsError)


def _check_ledger(output: Path) -> None:
    """Refuse a folder of records that is a link: what it leads to is not the batch's."""
    if (output / LEDGER).is_symlink():
        raise StateError(
            f"{output / LEDGER} is a link, expected a folder of vidstyle's records; remove the "
            "link, or choose another output"
        )


def _make_folder(output: Path) -> None:
    with writing(output):
        output.mkdir(exist_ok=True)
    if not os.access(output, os.W_OK | os.X_OK):
        raise OutputError(f"cannot write in {output}: choose a folder that you may write to")


def _faults(batch: Batch) -> list[dict[str, Any]]:
    code = MediaError.exit_code
    return [{"source": str(f), "message": m, "exit_code": code} for f, m in batch.faults]


def _passed(batch: Batch) -> dict[str, Any]:
    return {"left_out": {reason: batch.left_out[reason] for reason in REASONS}}


def _tell_unread(batch: Batch, notify: OnEvent) -> None:
    """Name what is left out of the folders, in one line."""
    if batch.unread:
        notify({"event": "warning", "message": media.left_out_message(list(batch.unread))})


class Kept:
    """Makes a stylizer once, and again only if the styles differ: their maps may."""

    def __init__(self, make: pipeline.MakeStylizer) -> None:
        self._make = make
        self._styles: Sequence[Style] = ()
        self._stylizer: Stylizes | None = None

    def __call__(self, job: Job, styles: "Sequence[Style]", network: Path | None) -> "Stylizes":
        """Return the stylizer for a job."""
        if self._stylizer is None or not _alike(self._styles, styles):
            self._stylizer = self._make(job, styles, network)
            self._styles = styles
        return self._stylizer


def _alike(these: "Sequence[Style]", those: "Sequence[Style]") -> bool:
    return len(these) == len(those) and all(
        a.weight == b.weight and np.array_equal(a.image, b.image) and _same(a.guide, b.guide)
        for a, b in zip(these, those, strict=True)
    )


def _same(this: "Guide | None", that: "Guide | None") -> bool:
    if this is None or that is None:
        return this is that
    return this.names == that.names and np.array_equal(this.planes, that.planes)
