"""The loop over the sources of a batch: what is finished is passed by, what fails is told.

Progress goes out as the events of each run (see run.py), and with these besides:

    batch    of, faults, left_out       before the first source
    next     index, of, source          a source is begun
    item     index, of, source, output, status, seconds, and if it failed message and exit_code
    summary  of, done, skipped, failed, left_out, seconds

index: from 0, in this shard. status: "done", "skipped" (finished before) or "failed". In the
summary done and skipped are numbers, failed is a list of source, message and exit_code.
"""

import errno
import os
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vidstyle import media, run
from vidstyle.errors import MediaError, OutputError, StateError, WeightsError, explained, writing
from vidstyle.items import REASONS, Batch, Item
from vidstyle.job import Job, Network, find_network
from vidstyle.media.clip import MOVIES
from vidstyle.workdir import changes, differences, is_whole, read_manifest, state_of, state_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vidstyle.guides import Guide
    from vidstyle.rehearsal import Stylizes
    from vidstyle.techniques.base import Style

__all__ = ["MakeJob", "plan_batch", "run_batch"]

MakeJob = Callable[[Path, Path], Job]  # of a source and an output

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # no other source would fare better


def run_batch(
    batch: Batch,
    make: MakeJob,
    notify: run.OnEvent,
    *,
    make_stylizer: run.MakeStylizer = run.make_stylizer,
) -> int:
    """Do every job of a batch that is not finished; return how many failed.

    Raises VidstyleError for what is wrong with all of them: the request, the styles, the weights,
    the output folder, a full disk.
    """
    began = time.monotonic()
    common = make(batch.base, batch.output)
    common.read_styles()
    _make_folder(batch.output)
    network = find_network(common, notify)
    work = _Work(batch, make, notify, _Kept(make_stylizer), network, failed=_faults(batch))
    notify({"event": "batch", "of": len(batch.items), **_passed(batch)})
    for index, item in enumerate(batch.items):
        work.do(index, item)
    seconds = round(time.monotonic() - began, 3)
    notify({"event": "summary", "of": len(batch.items), **work.counts, "seconds": seconds})
    return len(work.failed)


def plan_batch(batch: Batch, make: MakeJob, notify: run.OnEvent) -> int:
    """Tell what `run_batch` would do, by the headers of the sources; return how many would fail.

    Each source is an item whose status is "planned", "skipped" or "failed"; the last event is a
    "plan", with the sums of what run.plan says of those that are planned. Touches nothing.
    """
    make(batch.base, batch.output).read_styles()
    sums: dict[str, Any] = dict.fromkeys(("frames", "evaluations", "seconds", "bytes"), 0)
    counts: Counter[str] = Counter()
    failed = _faults(batch)
    for index, item in enumerate(batch.items):
        event: run.Event = {"event": "item", "index": index, "of": len(batch.items)}
        event["source"] = str(item.source)
        try:
            job, _ = _job(batch, make, item)
            event |= {"output": str(job.output), "status": "planned"}
            if job.output.exists() and batch.record(job.output).exists():
                event["status"] = "skipped"
            else:
                found = run.forecast(job)
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


@dataclass
class _Work:
    """A batch at work, and how its sources fared."""

    batch: Batch
    make: MakeJob
    notify: run.OnEvent
    make_stylizer: run.MakeStylizer
    network: Network
    done: int = 0
    skipped: int = 0
    failed: list[dict[str, Any]] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, Any]:
        counts = {"done": self.done, "skipped": self.skipped, "failed": self.failed}
        return {**counts, **_passed(self.batch)}

    def do(self, index: int, item: Item) -> None:
        """Do one job if it is not finished; tell what came of it."""
        began = time.monotonic()
        facts: run.Event = {"index": index, "of": len(self.batch.items)}
        facts["source"] = str(item.source)
        self.notify({"event": "next", **facts})

        def tell(found: run.Event) -> None:
            seconds = round(time.monotonic() - began, 3)
            self.notify({"event": "item", **facts, **found, "seconds": seconds})

        try:
            found = self._do(item)
        except BrokenPipeError:  # nobody listens any more
            raise
        except Exception as error:
            if _is_common(error):
                raise
            tell(self._failure(item, error))
        else:
            tell(found)

    def _do(self, item: Item) -> run.Event:
        job, clip = _job(self.batch, self.make, item)
        record = self.batch.record(job.output)
        told = {"output": str(job.output)}
        if _is_finished(job, clip, record, self.network):
            with suppress(OSError):  # left empty by a run that was killed as it ended
                state_path(job.output).rmdir()
            self.skipped += 1
            return {**told, "status": "skipped"}
        with writing(job.output):
            job.output.parent.mkdir(parents=True, exist_ok=True)
        kept, network = self.make_stylizer, self.network
        run.run(job, self.notify, make_stylizer=kept, network=network, record=record)
        self.done += 1
        return {**told, "status": "done"}

    def _failure(self, item: Item, error: Exception) -> run.Event:
        message, code = explained(error)
        told = {"message": message, "exit_code": code}
        self.failed.append({"source": str(item.source), **told})
        return {"output": None, "status": "failed", **told}


def _job(batch: Batch, make: MakeJob, item: Item) -> tuple[Job, media.Clip]:
    """Return the job of a source, and what the source really is, which its output depends on."""
    job = make(item.source, batch.output / item.place)
    clip = media.probe(job.source, rate=job.settings.rate, count=False)
    result = batch.result(item, media.result_suffix(clip, item.place.suffix))
    return make(item.source, result), clip


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


class _Kept:
    """Makes a stylizer once, and again only if the styles differ: their maps may."""

    def __init__(self, make: run.MakeStylizer) -> None:
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
