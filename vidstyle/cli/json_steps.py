"""Step events among the JSON lines of a run, for a program that shows its progress."""

import math
import time

from vidstyle.cli.progress import print_json
from vidstyle.jobs.events import Event, OnEvent, StepEvent

__all__ = ["with_steps"]

_SECONDS = 1.0  # between two step events; a run makes many a second


def with_steps(notify: OnEvent) -> OnEvent:
    """Return a callback that prints at most one step event a second, and calls `notify` always."""
    last = -math.inf

    def each(event: Event) -> None:
        nonlocal last
        now = time.monotonic()
        if isinstance(event, StepEvent) and now - last >= _SECONDS:
            last = now
            print_json(event.to_json())
        notify(event)

    return each
