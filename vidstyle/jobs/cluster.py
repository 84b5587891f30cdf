"""Cluster: sources of a batch, or shards of a clip, as tasks for the workers of a dask scheduler.

A task may run more than once, if its worker died or was unreachable for a while. This is harmless:
the state is locked, outputs are renamed into place, and finished frames are skipped.
"""

import logging
import os
import pickle
import platform
import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Protocol, Self
from uuid import uuid4

from vidstyle.errors import UsageError, VidstyleError, WeightsError
from vidstyle.jobs.batch import Each
from vidstyle.jobs.batch_item import BatchWork
from vidstyle.jobs.cancel import Cancel, check_of
from vidstyle.jobs.events import (
    ClusterEvent,
    Event,
    FrameEvent,
    OnEvent,
    StartEvent,
    TraceEvent,
    WarningEvent,
    ignore,
)
from vidstyle.jobs.job import PACKAGES, THREADS, Job, Network, find_network, version_of
from vidstyle.jobs.manifest import changes

__all__ = ["Tasks", "Workers", "spread_over", "workers_at"]

_PATIENCE = 20.0  # seconds to wait for the scheduler and for a first worker
_LOCAL = re.compile(r"local:([1-9][0-9]{0,3})")
_LOCAL_CONFIG: dict[str, Any] = {
    # by default dask limits its workers to one thread, which changes the last bits of the pixels
    "distributed.nanny.pre-spawn-environ": {},
    # the web servers cannot be disabled, but serve no pages
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}
_PASSED_ON = (WarningEvent, StartEvent, FrameEvent, TraceEvent)  # from workers to the client


def spread_over(address: str, *, verbose: bool = False) -> Each:
    """Return a function that runs a batch on the workers at an address; see workers_at."""
    _set_up(verbose)

    def each(work: BatchWork, notify: OnEvent, cancel: Cancel | None) -> None:
        if len(work):
            with workers_at(address, verbose=verbose) as workers:
                notify(ClusterEvent(workers=workers.count))
                workers.do(work, notify, cancel)

    return each


def _set_up(verbose: bool) -> None:
    try:
        import distributed
    except ImportError as error:
        raise UsageError(
            "--scheduler: expected the package 'distributed', but it is not installed; "
            "pip install 'vidstyle[cluster]'"
        ) from error
    if not verbose:  # lost workers are replaced, or reported in one sentence
        for name in logging.root.manager.loggerDict:
            if name.startswith(distributed.__name__):  # each logger has its own level
                logging.getLogger(name).setLevel(logging.CRITICAL)


class Tasks(Protocol):
    """Independent tasks that can be distributed; `len` is their number."""

    @property
    def network(self) -> Network: ...
    def __len__(self) -> int: ...

    def source(self, index: int) -> str:
        """Return the source of a task."""

    def job(self) -> Job:
        """Return a job with the settings that all tasks share."""

    def prepared(self, network: Network) -> Self:
        """Return the tasks for one process: one stylizer for all, and its own weights file."""

    def do(
        self, index: int, notify: OnEvent, *, patient: bool = False, cancel: Cancel | None = None
    ) -> Event:
        """Do one task and return its result; patient: wait if another run holds its state."""

    def failed(self, index: int, error: Exception) -> Event:
        """Return the result of a task that could not be done, or raise `error`."""


@dataclass(frozen=True)
class Workers:
    """The workers of a scheduler."""

    client: Any
    count: int
    environment: "_WorkerEnvironment"

    def do(self, tasks: Tasks, notify: OnEvent, cancel: Cancel | None = None) -> None:
        """Run all tasks; an exception cancels the remaining ones."""
        _run_tasks(self.client, tasks, self.environment, notify, cancel)


@contextmanager
def workers_at(address: str, *, verbose: bool = False) -> Iterator[Workers]:
    """Yield the workers of the scheduler at an address; "local:N" starts N on this machine.

    They must see the client's files under the same paths and have the same versions. Raises
    UsageError or VidstyleError if there are no such workers.
    """
    _set_up(verbose)
    with _connected(address, verbose) as client:
        environment = _WorkerEnvironment()
        yield Workers(client, _check_workers(client, address, environment), environment)


@contextmanager
def _connected(address: str, verbose: bool) -> Iterator[Any]:
    import dask
    from distributed import Client, LocalCluster

    with ExitStack() as stack:
        found: Any = address
        if address.startswith("local"):
            match = _LOCAL.fullmatch(address)
            if match is None:
                raise UsageError(
                    f"--scheduler: expected local:N with N from 1 (local:4), got {address!r}"
                )
            with dask.config.set(_LOCAL_CONFIG):
                cluster = LocalCluster(
                    n_workers=int(match[1]),
                    threads_per_worker=1,
                    memory_limit=0,
                    dashboard_address=None,
                    security=_temporary_security(),
                    silence_logs=logging.INFO if verbose else logging.CRITICAL,
                )
                found = stack.enter_context(cluster)
        try:
            client = stack.enter_context(Client(found, timeout=_PATIENCE, set_as_default=False))
        except (OSError, ValueError) as error:
            raise VidstyleError(
                f"--scheduler: expected a dask scheduler at {address}, but none answers; check the "
                "address (tcp://HOST:8786), or start one with `dask scheduler`"
            ) from error
        if found is not address:
            client.register_plugin(_ignore_sigint())
        yield client


def _temporary_security() -> Any:
    """Return TLS settings with a temporary certificate, known only to this cluster.

    Without it any user of the machine could connect to the scheduler and run code.
    """
    from distributed import Security

    try:
        return Security.temporary()
    except ImportError as error:
        raise UsageError(
            "--scheduler: expected the package 'cryptography', but it is not installed; "
            "pip install 'vidstyle[cluster]'"
        ) from error


def _ignore_sigint() -> Any:
    """Return a plugin by which workers ignore the terminal's Ctrl-C: the client stops them."""
    from distributed import WorkerPlugin

    class IgnoreSigint(WorkerPlugin):  # type: ignore[misc]  # distributed has no types
        def setup(self, worker: Any) -> None:
            del worker
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    return IgnoreSigint()


def _check_workers(client: Any, address: str, environment: "_WorkerEnvironment") -> int:
    """Return the number of workers. Raises VidstyleError if there is none, or one does not fit."""
    try:
        client.wait_for_workers(1, timeout=_PATIENCE)
    except TimeoutError as error:
        raise VidstyleError(
            f"--scheduler: the scheduler at {address} has no workers; start some with "
            f"`dask worker {address} --nthreads 1 --no-nanny`"
        ) from error
    try:
        return len(client.run(environment.enter))
    except VidstyleError:
        raise
    except Exception as error:  # dask raises Exception if a worker cannot unpickle
        raise UsageError(
            f"--scheduler: the workers cannot use vidstyle ({error}); install it there too"
        ) from error


@dataclass(frozen=True)
class _WorkerEnvironment:
    """Working folder, versions and environment, in which client and workers must agree."""

    folder: str = field(default_factory=os.getcwd)
    versions: dict[str, str | None] = field(
        default_factory=lambda: {name: version_of(name) for name in PACKAGES}
    )
    environment: dict[str, str | None] = field(
        default_factory=lambda: {name: os.environ.get(name) for name in THREADS}
    )

    def enter(self) -> None:
        """Change to the client's folder. Raises UsageError if this worker does not match it."""
        try:
            os.chdir(self.folder)
        except OSError as error:
            raise UsageError(
                f"--scheduler: a worker ({platform.node()}) does not see the folder "
                f"{self.folder}; share it under the same path"
            ) from error
        here = _WorkerEnvironment(self.folder)
        found = [
            *changes("", self.versions, here.versions),
            *changes("", self.environment, here.environment),
        ]
        if found:
            raise UsageError(
                f"--scheduler: expected workers like this process, but on {platform.node()} "
                f"{'; '.join(found)}; install the same versions, and start workers with "
                "--no-nanny or with the same values of these variables"
            )


def _run_tasks(
    client: Any,
    work: Tasks,
    environment: _WorkerEnvironment,
    notify: OnEvent,
    cancel: Cancel | None,
) -> None:
    """Run all tasks; on any exception cancel the remaining ones."""
    topic = f"vidstyle-{uuid4().hex}"
    messages: SimpleQueue[Any] = SimpleQueue()
    client.subscribe_topic(topic, lambda stamped: messages.put(pickle.loads(stamped[1])))
    # a separate task, so that `work` is sent once per worker and not once per task
    shared = client.submit(_Constant(work), key=f"{topic}-work")
    indices: dict[Any, int] = {}
    try:
        for index in range(len(work)):
            task = _Task(index, environment, topic)
            future = client.submit(task, shared, key=f"{topic}-{index}")
            indices[future] = index
            future.add_done_callback(messages.put)
        _listen(client, work, indices, messages, notify, check_of(cancel))
    except BaseException:
        client.cancel(list(indices), force=True)
        raise
    finally:
        client.unsubscribe_topic(topic)


def _listen(
    client: Any,
    work: Tasks,
    indices: dict[Any, int],
    messages: "SimpleQueue[Any]",
    notify: OnEvent,
    check: Callable[[], None],
) -> None:
    left = len(indices)
    while left:
        check()
        try:
            one = messages.get(timeout=1)
        except Empty:
            if client.status != "running":
                raise VidstyleError(_SCHEDULER_LOST) from None
            continue
        if isinstance(one, Event):
            notify(one)
        else:
            left -= 1
            notify(_result_of(work, indices[one], one))


_SCHEDULER_LOST = "the scheduler is gone; finished work is kept: run the same command to continue"


def _result_of(work: Tasks, index: int, future: Any) -> Event:
    """Return the result of a task. Raises errors that concern every task."""
    from distributed import CancelledError, KilledWorker

    try:
        return future.result()
    except KilledWorker:
        error = VidstyleError(
            "every worker that ran it died, possibly out of memory; choose a smaller --size, or "
            "give the workers more memory"
        )
        return work.failed(index, error)
    except CancelledError as error:
        raise VidstyleError(_SCHEDULER_LOST) from error


@dataclass(frozen=True)
class _Constant:
    """Returns the work that it holds."""

    work: Tasks

    def __call__(self) -> Tasks:
        return self.work


@dataclass(frozen=True)
class _Task:
    """Runs one task in a worker; returns its result."""

    index: int
    environment: _WorkerEnvironment
    topic: str

    def __call__(self, work: Tasks) -> Event:
        from distributed import get_worker

        worker: Any = get_worker()
        key = worker.get_current_task()

        def is_cancelled() -> bool:
            task = worker.state.tasks.get(key)
            return task is not None and task.state == "cancelled"

        def report(event: Event) -> None:
            if isinstance(event, _PASSED_ON):
                named = replace(event, source=work.source(self.index), process=os.getpid())
                worker.log_event(self.topic, pickle.dumps(named))

        with _WORKER_LOCK:
            self.environment.enter()
            prepared = _prepared(self.topic, work)
            return prepared.do(self.index, report, patient=True, cancel=is_cancelled)


_WORKER_LOCK = threading.Lock()  # a worker may have several threads, but has one stylizer
_PREPARED: dict[str, Tasks] = {}  # the work of this process by topic, with its stylizer


def _prepared(topic: str, work: Tasks) -> Tasks:
    if topic not in _PREPARED:
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
        _PREPARED.clear()
        _PREPARED[topic] = work.prepared(_network(work))
    return _PREPARED[topic]


def _network(work: Tasks) -> Network:
    """Return the weights on this machine. Raises WeightsError if they differ from the client's."""
    if work.network.path is None:
        return work.network
    job = replace(work.job(), weights=_if_exists(work.network))
    found = find_network(job, ignore)
    if found.digest != work.network.digest:
        raise WeightsError(
            f"{found.path} on {platform.node()}: expected the weights {work.network.path} of "
            "the client, got others; name a file that all see with --weights"
        )
    return found


def _if_exists(network: Network) -> Path | None:
    return network.path if network.path is not None and network.path.exists() else None
