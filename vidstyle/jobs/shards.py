"""Shards on a cluster: each worker stylises a part of the shots of one clip."""

import time
from dataclasses import dataclass, replace
from typing import Self

from vidstyle.jobs.batch_item import retry_while_locked
from vidstyle.jobs.cancel import Cancel
from vidstyle.jobs.cluster import workers_at
from vidstyle.jobs.events import (
    DoneEvent,
    Event,
    FrameEvent,
    OnEvent,
    ShardEvent,
    StartEvent,
    StepEvent,
    WarningEvent,
)
from vidstyle.jobs.job import Job, Network, find_network
from vidstyle.jobs.pipeline import MakeStylizer, make_stylizer, run, run_shard
from vidstyle.jobs.stylizer_cache import StylizerCache

__all__ = ["run_shots"]


def run_shots(
    job: Job,
    address: str,
    notify: OnEvent,
    *,
    cancel: Cancel | None = None,
    make_stylizer: MakeStylizer = make_stylizer,
    verbose: bool = False,
) -> None:
    """Run a job with the shots of its clip on the workers at an address. Raises VidstyleError."""
    network, merged = find_network(job, notify), _Merged(notify)
    with workers_at(address, verbose=verbose) as workers:
        workers.do(_Shards(job, make_stylizer, network, workers.count), merged, cancel)
    run(job, merged, cancel=cancel, make_stylizer=make_stylizer, network=network)


@dataclass(frozen=True)
class _Shards:
    """The shards of one clip."""

    clip: Job
    make_stylizer: MakeStylizer
    network: Network
    of: int

    def __len__(self) -> int:
        return self.of

    def source(self, _: int) -> str:
        return str(self.clip.source)

    def job(self) -> Job:
        return self.clip

    def prepared(self, network: Network) -> Self:
        return replace(self, make_stylizer=StylizerCache(self.make_stylizer), network=network)

    def do(
        self, index: int, notify: OnEvent, *, patient: bool = False, cancel: Cancel | None = None
    ) -> ShardEvent:
        del patient
        shard, make, network = (index + 1, self.of), self.make_stylizer, self.network

        def act() -> ShardEvent:
            return run_shard(
                self.clip, shard, notify, cancel=cancel, make_stylizer=make, network=network
            )

        return retry_while_locked(act, notify, cancel)

    def failed(self, _: int, error: Exception) -> ShardEvent:
        raise error


class _Merged:
    """Merges the events of all shards of a clip into those of one run."""

    def __init__(self, notify: OnEvent) -> None:
        self._notify = notify
        self._left: int | None = None
        self._stylized = 0
        self._began = time.monotonic()

    def __call__(self, event: Event) -> None:
        if isinstance(event, StartEvent) and self._left is None:
            self._left = event.left
            self._notify(event)
        elif isinstance(event, FrameEvent) and self._left is not None:
            self._left = max(0, self._left - 1 - event.evaluations)
            self._notify(replace(event, left=self._left))
        elif isinstance(event, ShardEvent):
            self._stylized += event.stylized
        elif isinstance(event, DoneEvent):
            stylized, seconds = self._stylized + event.stylized, time.monotonic() - self._began
            self._notify(replace(event, stylized=stylized, seconds=seconds))
        elif isinstance(event, WarningEvent | StepEvent):
            self._notify(event)
