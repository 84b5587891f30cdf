"""Child processes that decode and compute, so that the server never blocks.

A worker (`python -m vidstyle.studio.worker`) answers one call at a time. A call is a line of JSON
on its standard input; an answer is a line of JSON followed by the number of bytes it names.
"""

import asyncio
import json
import sys
from collections.abc import AsyncGenerator
from typing import Any

from vidstyle.errors import InputError, OutputError, UsageError, VidstyleError

__all__ = ["Worker", "Workers"]

_LINE = 1 << 24  # bytes of one line of JSON: losses, job files
_PATIENCE = 20.0  # seconds after which a process whose call was cancelled is killed
_ERRORS = {2: UsageError, 3: InputError, 4: OutputError}


class Worker:
    """One child process, started at its first call and again after it died."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._killed: list[asyncio.subprocess.Process] = []
        self._turn = asyncio.Lock()
        self._ending: asyncio.Task[None] | None = None
        self.closed = False

    async def stream(
        self, name: str, **values: Any
    ) -> AsyncGenerator[tuple[dict[str, Any], bytes], None]:
        """Yield the answers to a call as they come; leaving cancels it. Raises VidstyleError."""
        await self._turn.acquire()
        finished, process = True, None
        try:
            process = await self._started()
            assert process.stdin is not None
            process.stdin.write(json.dumps({"call": name, **values}).encode() + b"\n")
            finished = False
            await process.stdin.drain()
            while not finished:
                head, body, finished = await _answer(process)
                if "error" in head:
                    raise _ERRORS.get(head["exit_code"], VidstyleError)(head["error"])
                yield head, body
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            assert process is not None
            raise VidstyleError(_ended(name, await process.wait())) from error
        finally:
            if finished or process is None or process.returncode is not None:
                self._turn.release()
            else:  # the next call waits for it
                self._ending = asyncio.create_task(self._end(process))

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        """Cancel the call at work and read the rest of its answers; kill what does not end."""
        try:
            self.cancel()
            async with asyncio.timeout(_PATIENCE):
                while not (await _answer(process))[2]:
                    pass
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError):
            self.stop()
        finally:
            self._turn.release()

    @property
    def busy(self) -> bool:
        """Whether a call is at work."""
        return self._turn.locked()

    def cancel(self) -> None:
        """Ask the call at work to end; it raises CancelledError at its next step."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(b'{"call": "cancel"}\n')

    def stop(self) -> None:
        """Kill the process."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            self._killed.append(self._process)
        self._process = None

    async def wait(self) -> None:
        """Wait until the killed processes have ended, so that the event loop may be closed."""
        while self._killed:
            await self._killed.pop().wait()

    async def _started(self) -> asyncio.subprocess.Process:
        if self.closed:
            raise VidstyleError("the studio is closing; start it again")
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-m", "vidstyle.studio.worker",
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,  # TensorFlow logs there whatever its log level
                limit=_LINE,
            )  # fmt: skip
        return self._process


async def _answer(process: asyncio.subprocess.Process) -> tuple[dict[str, Any], bytes, bool]:
    """Return the next answer of a process, and whether it is the last one of its call.

    Raises IncompleteReadError if the process has ended.
    """
    assert process.stdout is not None
    head = json.loads(await process.stdout.readuntil())
    body = await process.stdout.readexactly(head.pop("payload"))
    return head, body, head.pop("last", True)


def _ended(name: str, code: int) -> str:
    return f"the process that does {name!r} ended with code {code}; try again, or a smaller size"


class Workers:
    """The workers by purpose, each started when it is first called."""

    def __init__(self) -> None:
        self._by_use: dict[str, Worker] = {}

    def __getitem__(self, use: str) -> Worker:
        return self._by_use.setdefault(use, Worker())

    def close(self) -> None:
        """Kill all, and start none any more."""
        for worker in self._by_use.values():
            worker.closed = True
        self.stop()

    async def wait(self) -> None:
        """Wait until all killed processes have ended."""
        for worker in self._by_use.values():
            await worker.wait()

    def stop(self) -> None:
        """Kill all."""
        for worker in self._by_use.values():
            worker.stop()
