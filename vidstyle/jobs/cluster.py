"""Cluster: sources of a batch, or shards of a clip, as tasks for the workers of a dask scheduler.

A task may be executed more than once: its worker died, or was only taken for dead. That is
harmless: its state is locked, results are renamed into place, and what is finished is passed by.
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

_PATIENCE = 20.0  # seconds until a scheduler or a first worker is taken to be absent
_LOCAL = re.compile(r"local:([1-9][0-9]{0,3})")
_LOCAL_CONFIG: dict[str, Any] = {
    # dask would have its workers compute on one thread, which changes the last bits
    "distributed.nanny.pre-spawn-environ": {},
    # its servers of web pages, which cannot be left out, have none
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}
_PASSED_ON = (WarningEvent, StartEvent, FrameEvent, TraceEvent)  # from workers to the client


def spread_over(address: str, *, verbose: bool = False) -> Each:
    """Return what does a batch on the workers at an address; see workers_at."""
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
    if not verbose:  # what it logs of workers that come and go is told in one sentence, or mended
        for name in logging.root.manager.loggerDict:
            if name.startswith(distributed.__name__):  # each has a level of its own
                logging.getLogger(name).setLevel(logging.CRITICAL)


class Tasks(Protocol):
    """What can be spread: as many tasks as it is long, each on its own."""

    @property
    def network(self) -> Network: ...
    def __len__(self) -> int: ...

    def source(self, index: int) -> str:
        """Return what a task is about."""

    def job(self) -> Job:
        """Return a job that has what all tasks have in common."""

    def prepared(self, network: Network) -> Self:
        """Return the same for one process, which keeps the model and has its own network file."""

    def do(
        self, index: int, notify: OnEvent, *, patient: bool = False, cancel: Cancel | None = None
    ) -> Event:
        """Do one task and return its result; patient: wait if another run holds its state."""

    def failed(self, index: int, error: Exception) -> Event:
        """Return, or raise, what it means that a task could not be done."""


@dataclass(frozen=True)
class Workers:
    """The workers of a scheduler: how many, and what they share with this process."""

    client: Any
    count: int
    surroundings: "_Surroundings"

    def do(self, tasks: Tasks, notify: OnEvent, cancel: Cancel | None = None) -> None:
        """Have all tasks done; any exception here cancels the tasks that are left."""
        _spread(self.client, tasks, self.surroundings, notify, cancel)


@contextmanager
def workers_at(address: str, *, verbose: bool = False) -> Iterator[Workers]:
    """Yield the workers of a scheduler, or of "local:N" started for it.

    They see the client's files under the same paths and have the same versions. Raises UsageError
    or VidstyleError if there are no such workers.
    """
    _set_up(verbose)
    with _connected(address, verbose) as client:
        surroundings = _Surroundings()
        yield Workers(client, _check_workers(client, address, surroundings), surroundings)


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
            client.register_plugin(_deaf())
        yield client


def _temporary_security() -> Any:
    """Return TLS with a certificate of this process's own, which only its workers have.

    Without it any user of the machine could connect to the scheduler and have code run.
    """
    from distributed import Security

    try:
        return Security.temporary()
    except ImportError as error:
        raise UsageError(
            "--scheduler: expected the package 'cryptography', but it is not installed; "
            "pip install 'vidstyle[cluster]'"
        ) from error


def _deaf() -> Any:
    """Return what makes workers deaf to the terminal's Ctrl-C: the client ends them."""
    from distributed import WorkerPlugin

    class Deaf(WorkerPlugin):  # type: ignore[misc]  # distributed has no types
        def setup(self, worker: Any) -> None:
            del worker
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    return Deaf()


def _check_workers(client: Any, address: str, surroundings: "_Surroundings") -> int:
    """Return how many workers there are. Raises if there is none, or none that would do."""
    try:
        client.wait_for_workers(1, timeout=_PATIENCE)
    except TimeoutError as error:
        raise VidstyleError(
            f"--scheduler: the scheduler at {address} has no workers; start some with "
            f"`dask worker {address} --nthreads 1 --no-nanny`"
        ) from error
    try:
        return len(client.run(surroundings.enter))
    except VidstyleError:
        raise
    except Exception as error:  # dask has a plain Exception for what cannot be read over there
        raise UsageError(
            f"--scheduler: the workers cannot use vidstyle ({error}); install it there too"
        ) from error


@dataclass(frozen=True)
class _Surroundings:
    """What the client and its workers share: a folder, and what changes the bits of results."""

    folder: str = field(default_factory=os.getcwd)
    versions: dict[str, str | None] = field(
        default_factory=lambda: {name: version_of(name) for name in PACKAGES}
    )
    environment: dict[str, str | None] = field(
        default_factory=lambda: {name: os.environ.get(name) for name in THREADS}
    )

    def enter(self) -> None:
        """Work where the client does. Raises UsageError if that cannot give what it would."""
        try:
            os.chdir(self.folder)
        except OSError as error:
            raise UsageError(
                f"--scheduler: a worker ({platform.node()}) does not see the folder "
                f"{self.folder}; share it under the same path"
            ) from error
        here = _Surroundings(self.folder)
        found = [
            *changes("", self.versions, here.versions),
            *changes("", self.environment, here.environment),
        ]
        if found:
            raise UsageError(
                f"--scheduler: expected workers like this process, but on {platform.node()} "
                f"{'; '.join(found)}; install the same versions, and start workers with "
                "--no-nanny or with these variables set alike"
            )


def _spread(
    client: Any, work: Tasks, surroundings: _Surroundings, notify: OnEvent, cancel: Cancel | None
) -> None:
    """Have all items done; cancels what is left if interrupted, or if one error meets all."""
    topic = f"vidstyle-{uuid4().hex}"
    told: SimpleQueue[Any] = SimpleQueue()
    client.subscribe_topic(topic, lambda stamped: told.put(pickle.loads(stamped[1])))
    # a task of its own, so that the places of all items are sent once a worker, not once an item
    shared = client.submit(_Given(work), key=f"{topic}-work")
    indices: dict[Any, int] = {}
    try:
        for index in range(len(work)):
            task = _Task(index, surroundings, topic)
            future = client.submit(task, shared, key=f"{topic}-{index}")
            indices[future] = index
            future.add_done_callback(told.put)
        _listen(client, work, indices, told, notify, check_of(cancel))
    except BaseException:
        client.cancel(list(indices), force=True)
        raise
    finally:
        client.unsubscribe_topic(topic)


def _listen(
    client: Any,
    work: Tasks,
    indices: dict[Any, int],
    told: "SimpleQueue[Any]",
    notify: OnEvent,
    check: Callable[[], None],
) -> None:
    left = len(indices)
    while left:
        check()
        try:
            one = told.get(timeout=1)
        except Empty:
            if client.status != "running":
                raise VidstyleError(_GONE) from None
            continue
        if isinstance(one, Event):
            notify(one)
        else:
            left -= 1
            notify(_fate(work, indices[one], one))


_GONE = "the scheduler is gone; what is done stays done: run the same command to go on"


def _fate(work: Tasks, index: int, future: Any) -> Event:
    """Return what became of an item. Raises what would meet every other too."""
    from distributed import CancelledError, KilledWorker

    try:
        return future.result()
    except KilledWorker:
        error = VidstyleError(
            "each worker that was at it died, as when memory runs out; choose a smaller --size, or "
            "give the workers more memory"
        )
        return work.failed(index, error)
    except CancelledError as error:
        raise VidstyleError(_GONE) from error


@dataclass(frozen=True)
class _Given:
    """Gives what it holds."""

    work: Tasks

    def __call__(self) -> Tasks:
        return self.work


@dataclass(frozen=True)
class _Task:
    """Does one item in a worker; returns what became of it."""

    index: int
    surroundings: _Surroundings
    topic: str

    def __call__(self, work: Tasks) -> Event:
        from distributed import get_worker

        worker: Any = get_worker()
        key = worker.get_current_task()

        def is_cancelled() -> bool:
            task = worker.state.tasks.get(key)
            return task is not None and task.state == "cancelled"

        def tell(event: Event) -> None:
            if isinstance(event, _PASSED_ON):
                named = replace(event, source=work.source(self.index), process=os.getpid())
                worker.log_event(self.topic, pickle.dumps(named))

        with _AT_WORK:
            self.surroundings.enter()
            prepared = _prepared(self.topic, work)
            return prepared.do(self.index, tell, patient=True, cancel=is_cancelled)


_AT_WORK = threading.Lock()  # a worker may have several threads, but has one model
_PREPARED: dict[str, Tasks] = {}  # the work that this process does, its model made once


def _prepared(topic: str, work: Tasks) -> Tasks:
    if topic not in _PREPARED:
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
        _PREPARED.clear()
        _PREPARED[topic] = work.prepared(_network(work))
    return _PREPARED[topic]


def _network(work: Tasks) -> Network:
    """Return the weights as this machine has them, which are to be the client's."""
    if work.network.path is None:
        return work.network
    job = replace(work.job(), weights=_if_there(work.network))
    found = find_network(job, ignore)
    if found.digest != work.network.digest:
        raise WeightsError(
            f"{found.path} on {platform.node()}: expected the weights {work.network.path} of "
            "the client, got others; name a file that all see with --weights"
        )
    return found


def _if_there(network: Network) -> Path | None:
    return network.path if network.path is not None and network.path.exists() else None
