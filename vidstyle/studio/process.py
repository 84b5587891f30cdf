"""The process of one job of the queue."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from vidstyle.studio.progress import LAUNCH

__all__ = ["JobProcess"]

PYTHON = sys.executable  # runs the processes
_ASK_AGAIN = 5.0  # seconds after which SIGTERM is repeated: an import may have swallowed it
_PATIENCE = 30.0  # seconds after which the process is killed; its finished frames are safe
_LONGEST = 4000  # bytes read of its standard error
_left_running: list[subprocess.Popen[bytes]] = []  # kept, or their destructors would warn


class JobProcess:
    """`vidstyle run job.toml` in the folder of a job (see queue); found again by its lock.

    pid: of a process that an earlier studio started; None: start one, or it is unknown.
    """

    def __init__(self, folder: Path, pid: int | None = None) -> None:
        self._folder = folder
        self._pid = pid
        self._child: subprocess.Popen[bytes] | None = None
        self._asked: float | None = None
        self._asked_first: float | None = None

    def __del__(self) -> None:
        if self._child is not None and self._child.returncode is None:
            _left_running.append(self._child)

    @property
    def is_child(self) -> bool:
        """Whether this studio started it."""
        return self._child is not None

    def start(self) -> int:
        """Start the process; return its process id. Raises OSError.

        It inherits the open lock file, so that the lock is held until it ends.
        """
        import fcntl

        words = [PYTHON, "-m", "vidstyle", "run", str(self._folder / "job.toml")]
        with (
            (self._folder / "running.lock").open("wb") as lock_file,
            (self._folder / "events.jsonl").open("ab") as events,
            (self._folder / "errors.txt").open("wb") as errors,
        ):
            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            events.write(LAUNCH)
            events.flush()
            self._child = subprocess.Popen(
                [*words, "--json", "--json-steps"],
                stdin=subprocess.DEVNULL,
                stdout=events,
                stderr=errors,
                start_new_session=True,
                pass_fds=(lock_file.fileno(),),
            )
        self._pid = self._child.pid
        return self._pid

    def is_alive(self) -> bool:
        """Tell whether the process lives, by its lock."""
        import fcntl

        if self._child is not None:
            self._child.poll()  # or it would remain as a zombie
        try:
            with (self._folder / "running.lock").open("rb+") as lock_file:
                fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except FileNotFoundError:
            return False
        if self._child is not None:
            self._child.wait()
        return False

    def ask_to_stop(self) -> None:
        """Send SIGTERM, again from time to time, and in the end SIGKILL to its whole session.

        SIGTERM, which the command line handles as SIGINT: a shell lets background jobs ignore the
        latter. To be called only while the process is alive.
        """
        now = time.monotonic()
        if self._pid is None or (self._asked is not None and now - self._asked < _ASK_AGAIN):
            return
        self._asked_first = self._asked_first or now
        self._asked = now
        with suppress(ProcessLookupError, PermissionError):
            if now - self._asked_first > _PATIENCE:
                os.killpg(self._pid, signal.SIGKILL)
            else:
                os.kill(self._pid, signal.SIGTERM)

    def why_it_ended(self) -> str:
        """Return a sentence for a process that ended without one."""
        with suppress(OSError):
            lines = (self._folder / "errors.txt").read_bytes()[-_LONGEST:].decode(errors="replace")
            if last := [line for line in lines.splitlines() if line.strip()][-1:]:
                return last[0].removeprefix("vidstyle: ")
        code = None if self._child is None else self._child.returncode
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            return f"the process was ended by {name}; memory may have run out: resume continues it"
        return f"the process ended with exit code {code} and no message; resume continues it"
