"""Shot tracking: where shots begin, are interrupted and resume, and the motion within them."""

from dataclasses import dataclass

from vidstyle.coherence.history import FinishedFrame
from vidstyle.coherence.interface import RunContext, SourceFrame
from vidstyle.motion.bidirectional import Motion, motion

__all__ = ["ShotTracker"]


@dataclass(frozen=True)
class _InterruptedShot:
    """A shot ended by a cut, a flash or a fade, which may be resumed. number: from 1."""

    last: SourceFrame
    first: SourceFrame
    number: int


class ShotTracker:
    """Tracks the shots of a run: call `advance` for every frame.

    In a resumed run, advance to finished frames too: their cuts are read from their reports.

    shots: the number of shots so far. previous, current: the frame that the newest one continues,
    and the newest one; None if there is none, or if it is faded out. first: of the shot, or the
    last reinitialized frame. motion: from previous to current; None at a cut, and where no frame
    needs it. is_cut: a shot begins at the newest frame. is_reference: later frames refer to the
    newest one (a shot begins or is resumed, or the frame was reinitialized). resumed_from: the
    position of the frame that the newest one continues where its shot resumes, else None.
    """

    def __init__(self, context: RunContext) -> None:
        self.shots = 0
        self.previous: SourceFrame | None = None
        self.current: SourceFrame | None = None
        self.first: SourceFrame | None = None
        self.motion: Motion | None = None
        self.is_cut = self.is_reference = False
        self.resumed_from: int | None = None
        self._context = context
        self._interrupted: _InterruptedShot | None = None

    @property
    def is_assigned(self) -> bool:
        """Whether the newest shot belongs to this shard."""
        return self._context.is_assigned(self.shots)

    @property
    def needed_positions(self) -> set[int]:
        """The positions of the frames that later frames may continue."""
        frames = [self.current, self.first]
        if self._interrupted is not None:
            frames += [self._interrupted.last, self._interrupted.first]
        return {frame.position for frame in frames if frame is not None}

    def advance(self, frame: SourceFrame) -> bool:
        """Advance to a frame; return True if it begins a new shot.

        A frame that is faded out interrupts the shot and belongs to none.
        """
        self.motion = self.resumed_from = None
        self.is_cut = self.is_reference = False
        if frame.is_faded_out:
            self._remember_ended_shot(self.current)
            self.current = None
            return False
        finished = self._context.history.finished.get(frame.position)
        self.previous, self.current = self.current, frame
        moved = None
        if self.previous is not None and self._needs_motion(frame.position, finished):
            moved = self._motion_from(self.previous)
        follows = moved is not None if finished is None else finished.follows
        if self.first is None or not follows:
            self.is_cut = self._begin_or_resume(frame, finished)
        elif finished is not None and finished.reinitialized:
            self.make_reference()
        elif self.is_assigned:
            self.motion = moved
        return self.is_cut

    def make_reference(self) -> None:
        """Make the newest frame the reference of all that follow."""
        if self.current is not None:
            self.first = self.current
            self.is_reference = True

    def _motion_from(self, earlier: SourceFrame) -> Motion | None:
        """Return the motion from an earlier frame to the newest, or None across a cut."""
        if self.current is None:
            return None
        return motion(earlier.image, self.current.image, self._context.parameters.motion)

    def _begin_or_resume(self, frame: SourceFrame, finished: FinishedFrame | None) -> bool:
        """Begin a shot at a frame (True), or resume the interrupted one (False)."""
        longest = self._context.parameters.shots.longest_interruption
        interrupted, moved = self._interrupted, None
        if interrupted is not None and frame.position - interrupted.last.position > longest:
            interrupted = None
        if interrupted is not None and finished is None:
            moved = self._motion_from(interrupted.last)
        begins = moved is None if finished is None else finished.back is None
        if interrupted is None or begins:
            self._remember_ended_shot(self.previous)
            self.make_reference()
            self.shots += 1
            return True
        self.make_reference()
        self.previous, self.first = interrupted.last, interrupted.first
        self.shots, self.resumed_from = interrupted.number, interrupted.last.position
        self._interrupted = None
        self.motion = moved if self.is_assigned else None
        return False

    def _remember_ended_shot(self, last: SourceFrame | None) -> None:
        """Remember the shot that ends with `last`; if it was short, keep the one before it."""
        if last is None or self.first is None:
            return
        longest = self._context.parameters.shots.longest_interruption
        kept = self._interrupted
        if kept is None or last.position >= kept.last.position + longest:
            self._interrupted = _InterruptedShot(last, self.first, self.shots)

    def _needs_motion(self, position: int, finished: FinishedFrame | None) -> bool:
        """Return whether the motion to a frame is needed, for it or for a later key frame track."""
        if finished is None:
            return True
        end = position + self._context.parameters.keyframe.span + 1
        if self._context.frame_count is not None:
            end = min(end, self._context.frame_count)
        coming = range(position + 1, end)
        has = self._context.history.has
        return finished.follows and not finished.reinitialized and not all(map(has, coming))
