"""`python -m vidstyle.studio.worker`: answers the calls of `workers.Worker` until end of input."""

import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import redirect_stdout
from typing import Any

from vidstyle.errors import describe_error

__all__ = ["main"]


def main() -> None:
    """Read calls from standard input; write each answer to the original standard output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server ends its workers itself
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints goes to standard error
    calls: queue.Queue[dict[str, Any] | None] = queue.Queue()
    cancelled = threading.Event()
    threading.Thread(target=_read, args=(calls, cancelled), daemon=True).start()
    with redirect_stdout(sys.stderr):
        while (call := calls.get()) is not None:
            for head, body in _answers(call, cancelled):
                answers.write(json.dumps({**head, "payload": len(body)}).encode() + b"\n" + body)
                answers.flush()
    os._exit(0)  # not waiting for the threads of TensorFlow


def _read(calls: "queue.Queue[dict[str, Any] | None]", cancelled: threading.Event) -> None:
    for line in sys.stdin.buffer:
        call = json.loads(line)
        if call["call"] == "cancel":
            cancelled.set()
        else:
            calls.put(call)
    cancelled.set()
    calls.put(None)


def _answers(
    call: dict[str, Any], cancelled: threading.Event
) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Yield the answers to one call; an exception becomes its sentence."""
    from vidstyle.studio import tasks

    cancelled.clear()
    name = call.pop("call")
    try:
        for head, body in tasks.TASKS[name](**call, cancelled=cancelled):
            yield {"last": False, **head}, body
        yield {"last": True, "end": True}, b""
    except Exception as error:
        message, code = describe_error(error)
        yield {"error": message, "exit_code": code}, b""


if __name__ == "__main__":
    main()
