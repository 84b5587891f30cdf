"""A preview as a stream: the picture every few evaluations, then the finished one."""

import queue
import time
from collections.abc import Iterator
from functools import cache
from threading import Event, Thread
from typing import Any

from vidstyle.image import Image
from vidstyle.jobs.events import Event as JobEvent
from vidstyle.jobs.events import StepEvent, WarningEvent, WeightsEvent
from vidstyle.jobs.job import Job
from vidstyle.jobs.stylizer_cache import StylizerCache

__all__ = ["live_pictures"]

_GAP = 0.5  # seconds between two pictures

Live = tuple[dict[str, Any], "Image | None"]


@cache
def _stylizers() -> StylizerCache:
    """Return the cache that keeps the network and the traced step between previews."""
    from vidstyle.jobs.pipeline import make_stylizer

    return StylizerCache(make_stylizer)


def live_pictures(job: Job, cancelled: Event) -> Iterator[Live]:
    """Yield (progress, image) while a picture is optimised, and "done" with the result.

    An image is float32 [h, w, 3], RGB, 0..1, at the size at which it is optimised at present; None
    beside a warning. Raises VidstyleError, CancelledError among them.
    """
    found: queue.Queue[Live | BaseException] = queue.Queue()
    Thread(target=_work, args=(job, cancelled, found), daemon=True).start()
    while True:
        one = found.get()
        if isinstance(one, BaseException):
            raise one
        yield one
        if one[0].get("done"):
            return


def _work(job: Job, cancelled: Event, found: "queue.Queue[Live | BaseException]") -> None:
    """Make the preview in a thread; put its picture, or the exception, into `found`."""
    from vidstyle.jobs.preview import preview

    began, last = time.monotonic(), 0.0

    def see(event: JobEvent) -> None:
        nonlocal last
        if isinstance(event, StepEvent) and event.image and time.monotonic() - last > _GAP:
            last = time.monotonic()
            progress = {
                "evaluation": event.evaluation,
                "of": job.settings.steps,
                "loss": event.loss,
            }
            found.put(({**progress, "seconds": round(last - began, 1)}, event.image()))
        elif isinstance(event, (WarningEvent, WeightsEvent)):
            found.put((event.to_json(), None))

    try:
        made = preview(job, 0, on_event=see, cancel=cancelled, make_stylizer=_stylizers())
        losses = {name: float(value) for name, value in made.losses.items()}
        seconds = round(time.monotonic() - began, 1)
        found.put(({"done": True, "losses": losses, "seconds": seconds}, made.output_image))
    except BaseException as error:
        found.put(error)
