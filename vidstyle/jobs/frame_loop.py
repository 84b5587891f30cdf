"""The loop over the frames of a job: advance the temporal method, stylise, save."""

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

from vidstyle.coherence.interface import Coherence, SourceFrame
from vidstyle.coherence.stylized import Stylized
from vidstyle.errors import VidstyleError
from vidstyle.jobs.ahead import LookAhead
from vidstyle.jobs.checkpoint import Checkpoint
from vidstyle.jobs.events import FrameEvent, OnEvent, StepEvent, WarningEvent
from vidstyle.jobs.plan import Work
from vidstyle.stylizer.protocol import Stylizes

if TYPE_CHECKING:
    from vidstyle.coherence.prior import TemporalPrior
    from vidstyle.guides.guide import Guide
    from vidstyle.image import Image

__all__ = ["Watch", "stylize_each", "stylize_frame"]


def stylize_each(
    work: Work, state: Checkpoint, stylizer: Stylizes, coherence: Coherence, left: int
) -> int:
    """Stylise and save the shots of a shard; return the number of shots in the clip.

    While a frame is optimised, the temporal method already advances to the next one: see LookAhead.
    """
    with LookAhead(_source_frames(work), coherence) as ahead:
        while True:
            began = time.monotonic()
            frame = ahead.take()
            if frame is None:
                return coherence.shots
            if state.has(frame.position):
                continue
            left -= work.left([frame.position])
            if coherence.is_assigned:
                prior = coherence.prior()
                ahead.begin()
                made = _stylized(work, stylizer, frame, prior)
                report = _save(state, coherence, frame, made, began)
                count = len(work.indices)
                work.notify(FrameEvent(index=frame.position, of=count, left=left, **report))


def _source_frames(work: Work) -> Iterator[SourceFrame]:
    for (position, image), guide in zip(work.frames(), work.guidance.frames(), strict=True):
        yield SourceFrame(position, image, guide, work.fades.get(position))


def _stylized(
    work: Work, stylizer: Stylizes, frame: SourceFrame, prior: "TemporalPrior | None"
) -> Stylized:
    """Stylise one frame. A frame that is faded out is kept as it is."""
    if frame.is_faded_out:
        return Stylized(frame.image)
    return stylize_frame(work, stylizer, frame.position, frame.image, frame.guide, prior)


def _save(
    state: Checkpoint, coherence: Coherence, frame: SourceFrame, made: Stylized, began: float
) -> dict[str, Any]:
    """Save a stylised frame; return its report."""
    output_image, record = coherence.finish(made)
    report = {
        **_report(made, seconds=time.monotonic() - began),
        "cut": record.cut,
        "reinitialized": record.reinitialized,
        "back": record.resumed_from,
    }
    state.save(frame.position, output_image, report, record.notes)
    return report


def _report(result: Stylized, *, seconds: float) -> dict[str, Any]:
    """Return the losses, evaluations and seconds of a frame, for the journal and the events."""
    return {
        "losses": {name: float(value) for name, value in result.losses.items()},
        "evaluations": result.evaluations,
        "frame_equivalents": round(result.frame_equivalents, 3),
        "seconds": round(seconds, 3),
    }


class Watch(Protocol):
    """Receives the progress of one frame: a Work, or a stream."""

    @property
    def notify(self) -> OnEvent:
        """Receives the events."""
        ...

    @property
    def check(self) -> Callable[[], None]:
        """Raises CancelledError once the run is cancelled."""
        ...


def stylize_frame(
    watch: Watch,
    stylizer: Stylizes,
    position: int,
    frame: "Image",
    guide: "Guide | None",
    prior: "TemporalPrior | None",
) -> Stylized:
    """Stylise one frame and report each evaluation, and warnings.

    Raises CancelledError, and VidstyleError if memory runs out.
    """

    def progress(evaluation: int, loss: float, image: "Callable[[], Image]") -> None:
        watch.notify(
            StepEvent(index=position, evaluation=evaluation, loss=float(loss), image=image)
        )
        watch.check()

    try:
        made = stylizer.stylize(frame, guide=guide, prior=prior, progress=progress)
    except Exception as error:
        if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
            height, width = frame.shape[:2]
            raise VidstyleError(
                f"memory ran out at {width} x {height} pixels; choose a smaller --size, then run "
                "again"
            ) from error
        raise
    for message in made.warnings:
        watch.notify(WarningEvent(message=message))
    return made
