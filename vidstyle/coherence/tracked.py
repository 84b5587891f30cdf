"""TrackedCoherence: base of the temporal methods that track shots."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vidstyle.coherence.deflicker import deflickered
from vidstyle.coherence.interface import FrameRecord, RunContext, SourceFrame
from vidstyle.coherence.notes import frame_notes, load_stylized
from vidstyle.coherence.shots import ShotTracker

if TYPE_CHECKING:
    from vidstyle.coherence.prior import StylizedFrame, TemporalPrior
    from vidstyle.coherence.stylized import Stylized
    from vidstyle.image import Image
    from vidstyle.motion.bidirectional import Motion

__all__ = ["TrackedCoherence"]


@dataclass(frozen=True)
class _PriorFrame:
    """A frame between `prior` and `finish`; the tracker may have advanced since."""

    frame: SourceFrame
    prior: "TemporalPrior | None"
    is_cut: bool
    resumed_from: int | None


class TrackedCoherence(ABC):
    """A Coherence that tracks shots; a subclass computes the prior from earlier frames."""

    def __init__(self, context: RunContext) -> None:
        self.context = context
        self.tracker = ShotTracker(context)
        self._newest: SourceFrame | None = None
        self._current: _PriorFrame | None = None

    @property
    def shots(self) -> int:
        """See Coherence."""
        return self.tracker.shots

    @property
    def is_assigned(self) -> bool:
        """See Coherence."""
        return self.tracker.is_assigned

    @property
    def needed_positions(self) -> set[int]:
        """See Coherence."""
        return self.tracker.needed_positions

    def advance(self, frame: SourceFrame) -> bool:
        """See Coherence."""
        self._newest = frame
        return self.tracker.advance(frame)

    def prior(self) -> "TemporalPrior | None":
        """See Coherence. Earlier results are read as they were saved: a resumed run gets the same.

        None too if the shot began faded out and this frame is not, or if the method asks for it.
        """
        assert self._newest is not None, "advance was not called"
        found = self._prior()
        tracker = self.tracker
        self._current = _PriorFrame(self._newest, found, tracker.is_cut, tracker.resumed_from)
        return found

    def _prior(self) -> "TemporalPrior | None":
        tracker = self.tracker
        moved, tracker.motion = tracker.motion, None  # freed early: it is large
        first, current = tracker.first, tracker.current
        if moved is None or first is None or current is None:
            return None
        if first.gain < self.context.parameters.shots.clear_gain <= current.gain:
            self.reinitialize()
            return None
        found = self.prior_from(moved)
        if found.reinitialized:
            self.reinitialize()
            return None
        return found

    @abstractmethod
    def prior_from(self, moved: "Motion") -> "TemporalPrior":
        """Return the prior of the tracker's current frame; moved: the motion from its previous."""

    def reinitialize(self) -> None:
        """Make the newest frame the reference of all that follow."""
        self.tracker.make_reference()

    def load(self, frame: SourceFrame, *, initial: bool = False) -> "StylizedFrame":
        """Return a finished frame; initial: with its initial image, as the stylizer makes it."""
        image = self.context.initial_image(frame.image, frame.guide) if initial else None
        return load_stylized(self.context.history, frame, image)

    def finish(self, stylized: "Stylized") -> "tuple[Image, FrameRecord]":
        """See Coherence. The output is deflickered if the prior has the previous output."""
        assert self._current is not None, "prior was not called"
        current, self._current = self._current, None
        prior, frame = current.prior, current.frame
        stylized = self.steadied(stylized, frame, prior)
        record = FrameRecord(
            cut=current.is_cut,
            reinitialized=prior is None and not (current.is_cut or frame.is_faded_out),
            resumed_from=current.resumed_from,
            notes=frame_notes(stylized, prior),
        )
        return stylized.output_image, record

    def steadied(
        self, stylized: "Stylized", frame: SourceFrame, prior: "TemporalPrior | None"
    ) -> "Stylized":
        """Return the frame with its output image deflickered, if the prior has the previous one."""
        previous = None if prior is None else prior.previous_output
        if previous is None or not self.context.deflickers:
            return stylized
        return deflickered(stylized, frame.image, previous, self.context.parameters.deflicker)
