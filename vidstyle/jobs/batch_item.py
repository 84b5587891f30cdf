"""One source of a batch: its job, whether it is finished, and its run."""

import errno
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from vidstyle import media
from vidstyle.errors import (
    CancelledError,
    GuideError,
    HeldError,
    OutputError,
    StateError,
    WeightsError,
    describe_error,
    writing,
)
from vidstyle.guides.files import missing
from vidstyle.inputs import is_automatic
from vidstyle.jobs import pipeline
from vidstyle.jobs.cancel import Cancel, check_of
from vidstyle.jobs.discovery import Batch, Item, counterpart
from vidstyle.jobs.events import ItemEvent, NextEvent, OnEvent, TraceEvent, WarningEvent
from vidstyle.jobs.job import Job, Network
from vidstyle.jobs.manifest import (
    changes,
    check_own,
    differences,
    read_manifest,
    state_of,
    state_path,
)
from vidstyle.jobs.precision import with_precision
from vidstyle.jobs.stylizer_cache import StylizerCache
from vidstyle.jobs.targets import is_whole
from vidstyle.media.codecs import PICTURE_CODECS
from vidstyle.media.containers import MOVIES

__all__ = ["BatchWork", "MakeJob", "job_of", "retry_while_locked"]

_T = TypeVar("_T")
MakeJob = Callable[[Path, Path], Job]  # of a source and an output

_PAUSE = 1.0  # seconds between two attempts to take a lock that another run holds
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # would fail for every other source too


@dataclass(frozen=True)
class BatchWork:
    """A batch with everything that a process needs to run one of its items."""

    batch: Batch
    make: MakeJob
    make_stylizer: pipeline.MakeStylizer
    network: Network

    def __len__(self) -> int:
        return len(self.batch.items)

    def source(self, index: int) -> str:
        """Return the path of a source."""
        return str(self.batch.items[index].source)

    def job(self) -> Job:
        """Return a job with the settings that all items share."""
        return self.make(self.batch.source, self.batch.output)

    def prepared(self, network: Network) -> Self:
        """Return the work for one process: one stylizer for all items, and its own weights file."""
        return replace(self, make_stylizer=StylizerCache(self.make_stylizer), network=network)

    def do(
        self,
        index: int,
        notify: OnEvent,
        *,
        patient: bool = False,
        cancel: Cancel | None = None,
    ) -> ItemEvent:
        """Run one job if it is not finished; return its result.

        patient: wait if another run holds its state. Raises errors that concern every source.
        """
        began = time.monotonic()
        notify(NextEvent(index=index, of=len(self), source=self.source(index)))
        try:
            if patient:
                found = retry_while_locked(lambda: self._do(index, notify, cancel), notify, cancel)
            else:
                found = self._do(index, notify, cancel)
        except (BrokenPipeError, CancelledError):  # stdout is closed, or the caller has cancelled
            raise
        except Exception as error:
            if _affects_all_sources(error):
                raise
            found = self.failed(index, error)
            notify(TraceEvent(text=traceback.format_exc()))
        return replace(found, seconds=round(time.monotonic() - began, 3))

    def failed(self, index: int, error: Exception) -> ItemEvent:
        """Return the result of a source that could not be done because of `error`."""
        message, code = describe_error(error)
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
        job, clip = job_of(self.batch, self.make, self.batch.items[index])
        job = with_precision(job)
        requested = self.job().settings.codec
        if job.settings.codec != requested:
            message = f"{job.source}: --codec {requested} is for stills; it was not used here"
            notify(WarningEvent(message=message))
        record = self.batch.record(job.output)
        check_own(record)
        if _is_finished(job, clip, record, self.network):
            with suppress(OSError):  # left empty by a run that was killed near its end
                state_path(job.output).rmdir()
            return self._item(index, "skipped", job.output)
        with writing(job.output):
            job.output.parent.mkdir(parents=True, exist_ok=True)
        outcome = pipeline.run(
            job, notify, cancel=cancel, make_stylizer=self.make_stylizer, network=self.network,
            record=record,
        )  # fmt: skip
        return self._item(index, "done", job.output, warnings=outcome.warnings)


def retry_while_locked(act: Callable[[], _T], notify: OnEvent, cancel: Cancel | None = None) -> _T:
    """Return the result of `act`, called again each second while another run holds its state.

    Raises CancelledError.
    """
    warned, check = False, check_of(cancel)
    while True:
        try:
            return act()
        except HeldError as error:
            if not warned:
                notify(WarningEvent(message=f"{error}: waiting for it"))
            warned = True
        time.sleep(_PAUSE)
        check()


def job_of(batch: Batch, make: MakeJob, item: Item) -> tuple[Job, media.Clip]:
    """Return the job of a source, and the probed source, which decides the output's suffix."""
    job = make(item.source, batch.output / item.relative_path)
    clip = media.probe(job.source, rate=job.settings.rate, count=False)
    codec = job.settings.codec
    result = batch.result(item, media.result_suffix(clip, item.relative_path.suffix, codec))
    job = make(item.source, result)
    if codec in PICTURE_CODECS and result.suffix and clip.kind != "picture":
        job = replace(job, settings=replace(job.settings, codec=None))  # a codec for stills
    still = clip.kind == "picture"
    own = [_guide_of_item(path, batch, item, still=still) for path in job.masks]
    drawn = None if job.map is None else _guide_of_item(job.map, batch, item, still=still)
    return replace(job, masks=tuple(own), map=drawn), clip


def _guide_of_item(given: Path, batch: Batch, item: Item, *, still: bool) -> Path:
    """Return the mask or map of one source if the folder `given` mirrors the source tree.

    A folder with no file for any source is a series of frames, used for every clip. Raises
    GuideError if only this source has none.
    """
    if is_automatic(given) or not given.is_dir():
        return given
    found = counterpart(given, item.relative_path)
    if found is not None:
        return found
    if still or any(counterpart(given, other.relative_path) for other in batch.items):
        raise GuideError(
            missing(item.source, given / item.relative_path.parent, item.relative_path.stem)
        )
    return given


def _is_finished(job: Job, clip: media.Clip, record: Path, network: Network) -> bool:
    """Return whether the output exists, intact, as an earlier run of this request wrote it.

    Raises StateError if another request wrote it and it may not be overwritten.
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
    return not found and not _has_state_to_delete(job.output, stored["job"])


def _has_state_to_delete(output: Path, made: dict[str, Any]) -> bool:
    """Return whether the run that wrote the output was killed before it deleted its state."""
    state = state_of(output)
    if state is None:
        return False
    return bool(not state["published"].get("kept") and not differences(made, state["job"]))


def _affects_all_sources(error: Exception) -> bool:
    """Return whether an error would occur with every other source too."""
    cause = error.__cause__
    full = isinstance(error, OutputError) and isinstance(cause, OSError) and cause.errno in _FULL
    return full or isinstance(error, WeightsError)
