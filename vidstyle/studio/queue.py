"""The queue of the studio: jobs that run one after another, each in a separate process.

    QUEUE/
        lock                held by the one studio that starts and stops the processes
        000001/
            job.toml        the job, with absolute paths: what the process is given
            state.json      its state, see QueuedJob; appears last, replaced as a whole
            command         a request of any studio: pause, resume or cancel
            events.jsonl    the JSON lines of the process, of all its starts
            errors.txt      its standard error
            running.lock    held by the process as long as it lives

A process is `vidstyle run job.toml --json`, in a separate session, printing into files: it needs
no studio and continues when the studio is closed or killed. The system releases `running.lock` when
it dies, so that the next studio knows, whatever process has its number then.

A pause ends the process by SIGTERM instead of stopping it by SIGSTOP. A run continues from its last
finished frame to the same bytes, so that a paused job costs at most the frame at work; a stopped
process would keep its memory and GPU, and would be lost when the machine restarts.
"""

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from platformdirs import user_state_path

from vidstyle.atomic import lock
from vidstyle.errors import HeldError, UsageError, describe_error, writing
from vidstyle.jobs.job_file import Request, check_request, dump_job, with_paths
from vidstyle.jobs.request import check_files, is_batch, single_job
from vidstyle.jobs.targets import check_target
from vidstyle.studio.process import JobProcess
from vidstyle.studio.progress import EventFile
from vidstyle.studio.queued_job import (
    AFTER,
    Command,
    QueuedJob,
    State,
    ended,
    new_job,
    read_queued,
    take_command,
    write_state,
)

__all__ = ["JobQueue", "QueuedJob", "State"]

_UNFINISHED = ("queued", "running", "paused")
_TICK = 0.25  # seconds between two looks at the files
_FILES = ("state.json", "command", "events.jsonl", "errors.txt", "running.lock", "job.toml")


class JobQueue:
    """Runs jobs in order of arrival; a context manager. All methods may be called in any thread.

    folder: of the jobs, by default in the user's state folder. parallel: the number of jobs that
    run at once. on_change: called with the id of a job whose state or progress has changed, in the
    queue's own thread. fault: a sentence if the files of the queue cannot be used at the moment.

    Several studios may use one folder: the first runs the jobs, the others show them and pass on
    commands; when it ends, another takes its place. Raises OutputError if the folder cannot be
    made.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        parallel: int = 1,
        on_change: Callable[[str], None] | None = None,
    ) -> None:
        self.folder = folder or user_state_path("vidstyle") / "queue"
        self.fault: str | None = None
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        self._parallel = parallel
        self.on_change = on_change or (lambda _: None)
        self._jobs: dict[str, QueuedJob] = {}
        self._events: dict[str, EventFile] = {}
        self._processes: dict[str, JobProcess] = {}
        self._access = threading.RLock()
        self._wake = threading.Event()
        self._closing = False
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start to run jobs; those that were running continue."""
        self._closing = False
        self._thread = threading.Thread(target=self._loop, name="vidstyle-queue", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop to start jobs. Running processes go on, and are found by the next queue."""
        self._closing = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
        self._thread = None

    def add(self, values: Mapping[str, Any], folder: Path | None = None) -> str:
        """Add a job and return its id.

        values: as in a job file. folder: what relative paths count from, by default the current
        one. Raises VidstyleError for values, files and an output that do not fit.
        """
        request = check_request(values, "the job")
        base = (folder or Path()).absolute()
        request = with_paths(request, lambda text: os.path.abspath(base / text))  # noqa: PTH100
        _check_target(request)
        with self._access, lock(self.folder / "adding.lock", patience=10):
            self._look()
            self._check_output(request)
            name = f"{int(max(self._jobs, default='0')) + 1:06d}"
            made = self._new_folder(name)
            (made / "job.toml").write_text(dump_job(request), encoding="utf-8")
            job = new_job(made, request)
            write_state(made, job)
            self._jobs[job.id] = job
        self._wake.set()
        return job.id

    def pause(self, id: str) -> None:
        """Pause a job; its process ends within the evaluation at work."""
        self._command(id, "pause")

    def resume(self, id: str) -> None:
        """Continue a paused, failed or cancelled job from its finished frames."""
        self._command(id, "resume")

    def cancel(self, id: str) -> None:
        """Cancel a job. Its finished frames are kept beside its output."""
        self._command(id, "cancel")

    def remove(self, id: str) -> None:
        """Forget a job that is not running; its output and its frames stay.

        Raises UsageError for a running job.
        """
        with self._access:
            if self.get(id).state == "running":
                raise UsageError(f"job {id} is running; cancel it first, then remove it")
            for name in _FILES:  # state.json first: without it, this is no job
                (self.folder / id / name).unlink(missing_ok=True)
            with writing(self.folder / id):
                (self.folder / id).rmdir()
            self._forget(id)

    def jobs(self) -> list[QueuedJob]:
        """Return all jobs, in order of arrival."""
        with self._access:
            self._look()
            return [self._jobs[id] for id in sorted(self._jobs)]

    def get(self, id: str) -> QueuedJob:
        """Return a job. Raises UsageError for an unknown id."""
        for job in self.jobs():
            if job.id == id:
                return job
        raise UsageError(f"expected the id of a job in the queue, got {id!r:.40}")

    def _command(self, id: str, command: Command) -> None:
        job = self.get(id)
        folder = self.folder / job.id
        draft = folder / f"command.{threading.get_ident()}.tmp"
        with writing(folder):
            draft.write_text(command, encoding="utf-8")
            draft.replace(folder / "command")
        self._wake.set()

    def _check_output(self, request: Request) -> None:
        """Raise UsageError if an unfinished job has the same output."""
        output = os.path.realpath(request["output"])
        for job in self._jobs.values():
            if job.state in _UNFINISHED and os.path.realpath(job.output) == output:
                raise UsageError(
                    f"{job.output} is the output of job {job.id}, which is {job.state}; choose "
                    "another output, or remove that job"
                )

    def _new_folder(self, name: str) -> Path:
        """Make the folder of a job; one that a crash left without a state is taken over."""
        made = self.folder / name
        with writing(made):
            made.mkdir(exist_ok=True)
        return made

    def _loop(self) -> None:
        """Run until closed; hold the lock of the folder as soon as no other studio does."""
        while not self._closing:
            try:
                with lock(self.folder / "lock"):
                    self._run_jobs()
            except HeldError:
                self._observe()
            except Exception as error:  # a full disk, for instance, which may pass
                self.fault = describe_error(error)[0]
                self._pause_loop()

    def _observe(self) -> None:
        with self._access:
            changed = self._look()
        self._report(changed)
        self._pause_loop()

    def _run_jobs(self) -> None:
        while not self._closing:
            with self._access:
                changed = self._look() | self._advance()
            self.fault = None
            self._report(changed)
            self._pause_loop()

    def _pause_loop(self) -> None:
        self._wake.wait(_TICK)
        self._wake.clear()

    def _report(self, changed: set[str]) -> None:
        for id in sorted(changed):
            self.on_change(id)

    def _look(self) -> set[str]:
        """Read the files that have changed; return the ids of changed jobs."""
        found = {path.parent.name for path in self.folder.glob("[0-9]*/state.json")}
        changed = set(self._jobs) - found
        for id in changed:
            self._forget(id)
        for id in found:
            before = self._jobs.get(id)
            job = read_queued(self.folder / id, before)
            events = self._events.get(id)
            if events is None:
                events = EventFile(self.folder / id / "events.jsonl", job.output)
                self._events[id] = events
            if events.read_on() or before is None:
                job = replace(job, progress=events.progress)
            if job != before:
                self._jobs[id] = job
                changed.add(id)
        return changed

    def _forget(self, id: str) -> None:
        for known in (self._jobs, self._events, self._processes):
            known.pop(id, None)

    def _advance(self) -> set[str]:
        """Obey commands, end and start processes; return the ids of changed jobs."""
        changed = {id for id in sorted(self._jobs) if self._obey(id) | self._follow(id)}
        for id in sorted(self._jobs):
            running = sum(job.state == "running" for job in self._jobs.values())
            if running >= self._parallel:
                break
            if self._jobs[id].state == "queued":
                self._start(id)
                changed.add(id)
        return changed

    def _obey(self, id: str) -> bool:
        """Carry out a command for a job, if there is one."""
        taken = take_command(self.folder / id)
        job = self._jobs[id]
        if taken is None or job.state == "done":
            return False
        if job.state == "running":
            if taken == "resume" and job.stopping is None:
                return False
            return self._set(replace(job, stopping=taken))
        if (taken, job.state) in (("pause", "failed"), ("pause", "cancelled")):
            return False
        return self._set(replace(job, state=AFTER[taken], message=None, exit_code=None))

    def _start(self, id: str) -> None:
        job = replace(
            self._jobs[id], state="running", stopping=None, message=None, exit_code=None, pid=None
        )
        self._set(job)  # before the process: a crash in between leaves a job that is started again
        process = JobProcess(self.folder / id)
        self._processes[id] = process
        self._set(replace(job, pid=process.start()))

    def _follow(self, id: str) -> bool:
        """Ask the process of a running job to stop if wanted, and note its end."""
        job = self._jobs[id]
        if job.state != "running":
            return False
        process = self._processes.get(id) or JobProcess(self.folder / id, job.pid)
        self._processes[id] = process
        if process.is_alive():
            if job.stopping is not None:
                process.ask_to_stop()
            return False
        self._events[id].read_on()
        del self._processes[id]
        after = ended(job, self._events[id].final, process)
        return self._set(replace(after, progress=self._events[id].progress))

    def _set(self, job: QueuedJob) -> bool:
        """Write the state of a job."""
        write_state(self.folder / job.id, job)
        self._jobs[job.id] = job
        return True


def _check_target(request: Request) -> None:
    """Raise VidstyleError if files are missing, or the output may not be written."""
    check_files(request)
    if not is_batch(request):
        settings = single_job(request).settings
        check_target(
            Path(request["output"]),
            overwrite=settings.overwrite,
            restart=settings.restart,
            output_options=settings.of_scope("output"),
        )
