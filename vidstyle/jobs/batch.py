"""The loop over the sources of a batch: finished ones are skipped, failures are reported."""

import errno
import os
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

import numpy as np

from vidstyle import media
from vidstyle.errors import (
    CancelledError,
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
from vidstyle.jobs.cancel import Cancel, check_of
from vidstyle.jobs.discovery import LEDGER, REASONS, Batch, Item, counterpart
from vidstyle.jobs.events import (
    BatchEvent,
    BatchPlanEvent,
    Event,
    FailedSource,
    ItemEvent,
    NextEvent,
    OnEvent,
    PlanEvent,
    PlannedItemEvent,
    SourceWarning,
    SummaryEvent,
    TraceEvent,
    WarningEvent,
)
from vidstyle.jobs.job import Job, Network, find_network
from vidstyle.jobs.manifest import (
    changes,
    check_own,
    differences,
    read_manifest,
    state_of,
    state_path,
)
from vidstyle.jobs.plan import forecast
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

_T = TypeVar("_T")
MakeJob = Callable[[Path, Path], Job]  # of a source and an output

_PAUSE = 1.0  # seconds between two looks at a lock that another run holds
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # no other source would fare better


def run_batch(
    batch: Batch,
    make: MakeJob,
    notify: OnEvent,
    *,
    cancel: Cancel | None = None,
    make_stylizer: pipeline.MakeStylizer = pipeline.make_stylizer,
    each: "Each | None" = None,
) -> int:
    """Do every job of a batch that is not finished; return how many failed.

    each: does all items of the work and reports an ItemEvent for each; by default one after
    another. cancel: as in pipeline.stylize.
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
    notify(BatchEvent(of=len(batch.items), left_out=_left_out(batch)))
    _tell_unread(batch, notify)
    (each or _one_by_one)(work, tally, cancel)
    notify(tally.summary(_left_out(batch), round(time.monotonic() - began, 3)))
    return len(tally.failed)


def plan_batch(batch: Batch, make: MakeJob, notify: OnEvent) -> int:
    """Tell what `run_batch` would do, by the headers of the sources; return how many would fail.

    Reports a PlannedItemEvent for each source, then a BatchPlanEvent. Touches nothing.
    """
    make(batch.source, batch.output).read_styles()
    _check_ledger(batch.output)
    plans: list[PlanEvent] = []
    skipped, failed = 0, _faults(batch)
    _tell_unread(batch, notify)
    for index, item in enumerate(batch.items):
        event = PlannedItemEvent(
            index=index, of=len(batch.items), source=str(item.source), status="planned"
        )
        try:
            job, _ = _job(batch, make, item)
            event = replace(event, output=job.output)
            if job.output.exists() and batch.record(job.output).exists():
                event = replace(event, status="skipped")
                skipped += 1
            else:
                StateFolder(job.output).check(restart=job.settings.restart)
                plans.append(forecast(job))
        except Exception as error:
            message, code = explained(error)
            event = replace(event, status="failed", message=message, exit_code=code)
            failed.append(FailedSource(str(item.source), message, code))
        notify(event)
    notify(
        BatchPlanEvent(
            of=len(batch.items),
            planned=len(plans),
            skipped=skipped,
            failed=tuple(failed),
            left_out=_left_out(batch),
            frames=sum(plan.frames for plan in plans),
            evaluations=sum(plan.evaluations for plan in plans),
            seconds=sum(plan.seconds for plan in plans),
            bytes=sum(plan.bytes for plan in plans),
        )
    )
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

    def do(
        self,
        index: int,
        notify: OnEvent,
        *,
        patient: bool = False,
        cancel: Cancel | None = None,
    ) -> ItemEvent:
        """Do one job if it is not finished; return its result.

        patient: wait if another run holds its state. Raises errors that concern every source.
        """
        began = time.monotonic()
        notify(NextEvent(index=index, of=len(self), source=self.source(index)))
        try:
            if patient:
                found = when_free(lambda: self._do(index, notify, cancel), notify, cancel)
            else:
                found = self._do(index, notify, cancel)
        except (BrokenPipeError, CancelledError):  # the reader or the caller wants no more
            raise
        except Exception as error:
            if _is_common(error):
                raise
            found = self.failed(index, error)
            notify(TraceEvent(text=traceback.format_exc()))
        return replace(found, seconds=round(time.monotonic() - began, 3))

    def failed(self, index: int, error: Exception) -> ItemEvent:
        """Return the result of a source that could not be done because of `error`."""
        message, code = explained(error)
        return self._item(index, "failed", message=message, exit_code=code)

    def _item(
        self,
        index: int,
        status: Literal["done", "skipped", "failed"],
        output: Path | None = None,
        **found: Any,
    ) -> ItemEvent:
        return ItemEvent(
            index=index, of=len(self), source=self.source(index), status=status, output=output,
            seconds=0.0, **found,
        )  # fmt: skip

    def _do(self, index: int, notify: OnEvent, cancel: Cancel | None) -> ItemEvent:
        job, clip = _job(self.batch, self.make, self.batch.items[index])
        asked = self.job().settings.codec
        if job.settings.codec != asked:
            message = f"{job.source}: --codec {asked} is for stills: it was not used here"
            notify(WarningEvent(message=message))
        record = self.batch.record(job.output)
        check_own(record)
        if _is_finished(job, clip, record, self.network):
            with suppress(OSError):  # left empty by a run that was killed as it ended
                state_path(job.output).rmdir()
            return self._item(index, "skipped", job.output)
        with writing(job.output):
            job.output.parent.mkdir(parents=True, exist_ok=True)
        outcome = pipeline.run(
            job, notify, cancel=cancel, make_stylizer=self.make_stylizer, network=self.network,
            record=record,
        )  # fmt: skip
        return self._item(index, "done", job.output, warnings=outcome.warnings)


def when_free(act: Callable[[], _T], notify: OnEvent, cancel: Cancel | None = None) -> _T:
    """Return the result of `act`, called again each second while another run holds its state.

    Raises CancelledError.
    """
    told, check = False, check_of(cancel)
    while True:
        try:
            return act()
        except HeldError as error:
            if not told:
                notify(WarningEvent(message=f"{error}: waiting for it"))
            told = True
        time.sleep(_PAUSE)
        check()


Each = Callable[[BatchWork, OnEvent, Cancel | None], None]


def _one_by_one(work: BatchWork, notify: OnEvent, cancel: Cancel | None) -> None:
    kept, check = work.prepared(work.network), check_of(cancel)
    for index in range(len(work)):
        check()
        notify(kept.do(index, notify, cancel=cancel))


class _Tally:
    """Counts what became of the sources, and passes all events on."""

    def __init__(self, of: int, notify: OnEvent, faults: list[FailedSource]) -> None:
        self.failed = faults
        self._warnings: list[SourceWarning] = []
        self._notify = notify
        self._counts: Counter[str] = Counter()
        self._of = self._left = of
        self._began = time.monotonic()

    def __call__(self, event: Event) -> None:
        if isinstance(event, ItemEvent):
            self._count(event)
            event = replace(event, left=self._seconds_left())
        self._notify(event)

    def _count(self, item: ItemEvent) -> None:
        self._left -= 1
        self._counts[item.status] += 1
        self._warnings += [SourceWarning(item.source, message) for message in item.warnings or ()]
        if item.message is not None and item.exit_code is not None:
            self.failed.append(FailedSource(item.source, item.message, item.exit_code))

    def _seconds_left(self) -> float | None:
        """Guess from those that took time; those that were finished before took none."""
        done = self._counts["done"]
        spent = time.monotonic() - self._began
        return round(spent / done * self._left, 1) if done else None

    def summary(self, left_out: dict[str, int], seconds: float) -> SummaryEvent:
        return SummaryEvent(
            of=self._of,
            done=self._counts["done"],
            skipped=self._counts["skipped"],
            failed=tuple(self.failed),
            warnings=tuple(self._warnings),
            left_out=left_out,
            seconds=seconds,
        )


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


def _faults(batch: Batch) -> list[FailedSource]:
    return [FailedSource(str(f), message, MediaError.exit_code) for f, message in batch.faults]


def _left_out(batch: Batch) -> dict[str, int]:
    return {reason: batch.left_out[reason] for reason in REASONS}


def _tell_unread(batch: Batch, notify: OnEvent) -> None:
    """Name what is left out of the folders, in one line."""
    if batch.unread:
        notify(WarningEvent(message=media.told_left_out(list(batch.unread))))


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
