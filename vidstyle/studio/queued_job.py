"""A job of the queue, and its files: see queue."""

import json
import time
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from vidstyle.atomic import commit
from vidstyle.errors import VidstyleError, writing
from vidstyle.jobs.job_file import Request, job_to_command, read_job
from vidstyle.studio.process import JobProcess
from vidstyle.studio.progress import Progress

__all__ = [
    "AFTER",
    "Command",
    "QueuedJob",
    "State",
    "ended",
    "new_job",
    "read_queued",
    "take_command",
    "write_state",
]

State = Literal["queued", "running", "paused", "done", "failed", "cancelled"]
Command = Literal["pause", "resume", "cancel"]

AFTER: dict[Command, State] = {"pause": "paused", "resume": "queued", "cancel": "cancelled"}
_STATES = ("queued", "running", "paused", "done", "failed", "cancelled")
_STORED = ("state", "stopping", "created", "message", "exit_code", "pid")
_INTERRUPTED = 130  # exit code of the command line after SIGINT or SIGTERM


@dataclass(frozen=True, kw_only=True)
class QueuedJob:
    """A job of the queue.

    stopping: pause or cancel was requested and the process has not ended yet; "resume": it starts
    again then. created: seconds since 1970. message, exit_code: of a failure, as the command line
    has them. command: the arguments, without the program's name. request: see jobs.job_file.
    """

    id: str
    state: State
    stopping: Command | None
    created: float
    request: Request
    job_file: Path
    message: str | None = None
    exit_code: int | None = None
    pid: int | None = None
    progress: Progress = field(default_factory=Progress)

    @property
    def output(self) -> Path:
        return Path(self.request.get("output", ""))

    @property
    def command(self) -> list[str]:
        return job_to_command(self.request) if self.request else []

    def to_json(self) -> dict[str, Any]:
        """Return the job as a JSON object."""
        plain = {key: _plain(value) for key, value in self.request.items()}
        return {
            "id": self.id, "state": self.state, "stopping": self.stopping, "created": self.created,
            "values": plain, "job_file": str(self.job_file), "command": self.command,
            "output": str(self.output), "message": self.message, "exit_code": self.exit_code,
            "progress": self.progress.to_json(),
        }  # fmt: skip


def ended(job: QueuedJob, final: dict[str, Any] | None, process: JobProcess) -> QueuedJob:
    """Return a job after the end of its process. final: the last event of the process."""
    job, requested = replace(job, stopping=None, pid=None), job.stopping
    if final is not None and final["event"] != "error":
        failed = final.get("failed", ())  # of a batch
        return _with_failures(job, final) if failed else replace(job, state="done")
    if requested is not None:
        return replace(job, state=AFTER[requested])
    if final is not None and final["exit_code"] != _INTERRUPTED:
        message, code = final["message"], final["exit_code"]
        return replace(job, state="failed", message=message, exit_code=code)
    if not process.is_child:  # it ended while no studio was open: with the machine, for instance
        return replace(job, state="queued")
    state: State = "failed" if final is None else "paused"
    message = process.why_it_ended() if final is None else "it was interrupted from outside"
    return replace(job, state=state, message=message)


def _with_failures(job: QueuedJob, summary: dict[str, Any]) -> QueuedJob:
    """Return the job of a batch of which some sources failed."""
    failed = summary["failed"]
    text = f"{len(failed)} of {summary['of']} sources failed; the first: {failed[0]['message']}"
    return replace(job, state="failed", message=text, exit_code=VidstyleError.exit_code)


def new_job(folder: Path, request: Request) -> QueuedJob:
    """Return a queued job whose files are in `folder`."""
    return QueuedJob(
        id=folder.name, state="queued", stopping=None, created=time.time(), request=request,
        job_file=folder / "job.toml",
    )  # fmt: skip


def write_state(folder: Path, job: QueuedJob) -> None:
    """Replace the state file of a job. Raises OutputError."""
    draft = folder / "state.tmp.json"
    with writing(folder):
        draft.write_text(json.dumps({name: getattr(job, name) for name in _STORED}), "utf-8")
        commit(draft, folder / "state.json")


def read_queued(folder: Path, before: QueuedJob | None) -> QueuedJob:
    """Return the job of a folder. before: as last read, whose request and progress are kept.

    Damaged files make a failed job.
    """
    if before is None:
        try:
            request = read_job(folder / "job.toml")
        except VidstyleError as error:
            return _damaged(folder, {}, str(error))
        before = new_job(folder, request)
    try:
        stored = json.loads((folder / "state.json").read_bytes())
        if stored["state"] not in _STATES:
            raise ValueError(stored["state"])
        return replace(before, **{name: stored[name] for name in _STORED})
    except FileNotFoundError:  # being removed
        return before
    except (ValueError, KeyError, TypeError) as error:
        message = f"{folder / 'state.json'} is damaged ({error}); resume or remove the job"
        return _damaged(folder, before.request, message)


def _damaged(folder: Path, request: Request, message: str) -> QueuedJob:
    job = replace(new_job(folder, request), created=0.0)
    return replace(job, state="failed", message=message)


def take_command(folder: Path) -> Command | None:
    """Return and remove the command for a job."""
    taken = folder / "command.taken"
    try:
        (folder / "command").replace(taken)
        text = taken.read_text("utf-8")
        taken.unlink()
    except FileNotFoundError:
        return None
    found: dict[str, Command] = {"pause": "pause", "resume": "resume", "cancel": "cancel"}
    return found.get(text)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, Fraction) else value
