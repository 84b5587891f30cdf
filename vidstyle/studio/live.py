"""A preview as a stream: the picture every few evaluations, then the finished one."""

import queue
import time
from collections.abc import Generator
from functools import cache
from threading import Event, Thread
from typing import Any

import numpy as np

from vidstyle.image import Image
from vidstyle.jobs.cancel import Cancel
from vidstyle.jobs.events import Event as JobEvent
from vidstyle.jobs.events import StepEvent, WarningEvent, WeightsEvent
from vidstyle.jobs.job import Job
from vidstyle.jobs.stylizer_cache import StylizerCache

__all__ = ["live_pictures", "load_network"]

_GAP = 0.5  # seconds between two pictures

Live = tuple[dict[str, Any], "Image | None"]


@cache
def _stylizers() -> StylizerCache:
    """Return the cache that keeps the network and the traced step between previews."""
    from vidstyle.jobs.pipeline import make_stylizer

    return StylizerCache(make_stylizer)


@cache
def load_network() -> bool:
    """Import TensorFlow, load the network and stylise a tiny picture; return whether it is here.

    Nothing is fetched: without a network on this machine, nothing is done.
    """
    from vidstyle.vgg import weights

    network = weights.present()
    if network is None:
        return False
    from vidstyle.settings import Settings
    from vidstyle.stylizer.stylizer import Style, Stylizer

    tiny = np.random.default_rng(0).random((48, 64, 3), np.float32)
    styles = [Style(image=tiny, weight=1.0)]
    Stylizer(styles, settings=Settings(steps=2), weights=network).stylize(tiny)
    return True


def live_pictures(job: Job, cancelled: Event) -> Generator[Live, None, None]:
    """Yield (progress, image) while a picture is optimised, and "done" with the result.

    An image is float32 [h, w, 3], RGB, 0..1, at the size at which it is optimised at present; None
    beside a warning. Closing the generator ends the optimisation. Raises VidstyleError,
    CancelledError among them.
    """
    found: queue.Queue[Live | BaseException] = queue.Queue()
    closed = Event()

    def cancel() -> bool:
        return closed.is_set() or cancelled.is_set()

    thread = Thread(target=_work, args=(job, cancel, found), daemon=True)
    thread.start()
    try:
        while True:
            one = found.get()
            if isinstance(one, BaseException):
                raise one
            yield one
            if one[0].get("done"):
                return
    finally:
        closed.set()
        thread.join()  # or the next preview would use the same stylizer at the same time


def _work(job: Job, cancel: Cancel, found: "queue.Queue[Live | BaseException]") -> None:
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
        made = preview(job, 0, on_event=see, cancel=cancel, make_stylizer=_stylizers())
        losses = {name: float(value) for name, value in made.losses.items()}
        seconds = round(time.monotonic() - began, 1)
        found.put(({"done": True, "losses": losses, "seconds": seconds}, made.output_image))
    except BaseException as error:
        found.put(error)
