"""The loop over the sources of a batch: finished ones are skipped, failures are reported."""

import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from vidstyle import media
from vidstyle.errors import MediaError, OutputError, StateError, UsageError, describe_error, writing
from vidstyle.jobs.batch_item import BatchWork, MakeJob, job_of
from vidstyle.jobs.cancel import Cancel, check_of
from vidstyle.jobs.discovery import LEDGER, REASONS, Batch
from vidstyle.jobs.events import (
    BatchEvent,
    BatchPlanEvent,
    Event,
    FailedSource,
    ItemEvent,
    OnEvent,
    PlanEvent,
    PlannedItemEvent,
    SourceWarning,
    SummaryEvent,
    WarningEvent,
)
from vidstyle.jobs.job import find_network
from vidstyle.jobs.pipeline import MakeStylizer, make_stylizer
from vidstyle.jobs.plan import forecast
from vidstyle.jobs.state_folder import StateFolder

__all__ = ["Each", "MakeJob", "plan_batch", "run_batch"]


def run_batch(
    batch: Batch,
    make: MakeJob,
    notify: OnEvent,
    *,
    cancel: Cancel | None = None,
    make_stylizer: MakeStylizer = make_stylizer,
    each: "Each | None" = None,
) -> int:
    """Run every unfinished job of a batch; return the number that failed.

    each: does all items of the work and reports an ItemEvent for each; by default one after
    another. cancel: as in pipeline.stylize.
    Raises VidstyleError for errors that concern all sources: the request, the styles, the weights,
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
    _warn_unread(batch, notify)
    (each or _one_by_one)(work, tally, cancel)
    notify(tally.summary(_left_out(batch), round(time.monotonic() - began, 3)))
    return len(tally.failed)


def plan_batch(batch: Batch, make: MakeJob, notify: OnEvent) -> int:
    """Report what `run_batch` would do, from file headers; return how many would fail.

    Reports a PlannedItemEvent for each source, then a BatchPlanEvent. Writes nothing.
    """
    make(batch.source, batch.output).read_styles()
    _check_ledger(batch.output)
    plans: list[PlanEvent] = []
    skipped, failed = 0, _faults(batch)
    _warn_unread(batch, notify)
    for index, item in enumerate(batch.items):
        event = PlannedItemEvent(
            index=index, of=len(batch.items), source=str(item.source), status="planned"
        )
        try:
            job, _ = job_of(batch, make, item)
            event = replace(event, output=job.output)
            if job.output.exists() and batch.record(job.output).exists():
                event = replace(event, status="skipped")
                skipped += 1
            else:
                StateFolder(job.output).check(restart=job.settings.restart)
                plans.append(forecast(job))
        except Exception as error:
            message, code = describe_error(error)
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
            **_sums(plans),
        )
    )
    return len(failed)


def _sums(plans: list[PlanEvent]) -> dict[str, Any]:
    names = ("frames", "evaluations", "seconds", "bytes")
    return {name: sum(getattr(plan, name) for plan in plans) for name in names}


Each = Callable[[BatchWork, OnEvent, Cancel | None], None]


def _one_by_one(work: BatchWork, notify: OnEvent, cancel: Cancel | None) -> None:
    kept, check = work.prepared(work.network), check_of(cancel)
    for index in range(len(work)):
        check()
        notify(kept.do(index, notify, cancel=cancel))


class _Tally:
    """Counts the results of the sources, and passes all events on."""

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
        """Estimate from the sources done so far; skipped ones take no time."""
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


def _check_ledger(output: Path) -> None:
    """Raise StateError if the folder of records is a link: its target may not be vidstyle's."""
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


def _warn_unread(batch: Batch, notify: OnEvent) -> None:
    """Warn of the files and folders that are left out, in one line."""
    if batch.unread:
        notify(WarningEvent(message=media.left_out_message(list(batch.unread))))
