"""Shot tracking: where shots begin, end and resume, and the temporal prior of each frame."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from vidstyle.coherence import warm_start
from vidstyle.coherence.keyframe import SPAN, KeyframeTrack, Step
from vidstyle.errors import MediaError
from vidstyle.guides.guide import unchanged
from vidstyle.image import Image, from_uint16, to_uint16
from vidstyle.motion import bidirectional

if TYPE_CHECKING:
    from vidstyle.coherence.fades import Fade
    from vidstyle.coherence.history import FinishedFrames, StartImage
    from vidstyle.coherence.stylized import Stylized
    from vidstyle.coherence.warm_start import TemporalPrior
    from vidstyle.guides.guide import Guide

__all__ = ["ShotTracker", "frame_notes"]

_SHORT = 6  # frames; a shot interrupted for at most this long (flash, short insert) is resumed
_CLEAR = 0.25  # fade gain; a darker first frame has amplified noise and is replaced when lighter


@dataclass(frozen=True)
class _TrackedFrame:
    """A source frame with its guide. gain: of its fade, 1 without one."""

    position: int
    frame: "Image"
    guide: "Guide | None" = None
    gain: float = 1.0

    @property
    def planes(self) -> np.ndarray | None:
        return None if self.guide is None else self.guide.planes


@dataclass(frozen=True)
class _PreviousShot:
    """A shot ended by a cut, a flash or a fade, which may be resumed. number: as `shots` counts."""

    last: _TrackedFrame
    first: _TrackedFrame
    number: int


class ShotTracker:
    """Tracks the shots of a run: call `advance` for every frame, `prior` for those to stylise.

    In a resumed run, advance to finished frames too: their cuts are read from their reports.
    state: the finished frames. begin: returns the initial image of a frame without a prior.
    count: the number of frames. linked: False for photos, which have no temporal relation.
    shard: (i, n), this process stylises every n-th shot from the i-th on. shots: the number of
    shots so far. back: the frame that the newest one continues where its shot resumes, else None.
    """

    def __init__(
        self,
        state: "FinishedFrames",
        begin: "StartImage",
        count: int,
        *,
        linked: bool,
        shard: tuple[int, int],
    ) -> None:
        self.shots = 0
        self.back: int | None = None
        self._state, self._start, self._count = state, begin, count
        self._linked, self._shard = linked, shard
        self._earlier: _TrackedFrame | None = None
        self._here: _TrackedFrame | None = None
        self._first: _TrackedFrame | None = None  # of the shot, or the last reinitialized frame
        self._left: _PreviousShot | None = None
        self._step: Step | None = None
        self._course: KeyframeTrack | None = None

    @property
    def ours(self) -> bool:
        """Whether the newest shot belongs to this shard."""
        number, of = self._shard
        return (self.shots - number) % of == 0

    def advance(
        self, position: int, frame: "Image", guide: "Guide | None", fade: "Fade | None" = None
    ) -> bool:
        """Advance to a frame; return True if it begins a new shot.

        A frame that is faded out interrupts the shot and belongs to none.
        """
        self._step = self.back = None
        if fade is not None and fade.is_out:
            self._leave(self._here)
            self._here = None
            return False
        known = self._state.finished.get(position)
        here = _TrackedFrame(position, frame, guide, 1.0 if fade is None else fade.gain)
        self._earlier, self._here = self._here if self._linked else None, here
        moved = None
        if self._earlier is not None and self._is_followed(position):
            moved = bidirectional.motion(self._earlier.frame, frame)
        follows = moved is not None if known is None else known.follows
        if self._course is None or not follows:
            return self._turn(here)
        if known is not None and known.reinitialized:
            self._begin()
        elif moved is not None and self.ours:
            self._step, self._course = self._course.along(moved, frame, here.planes)
        else:
            self._course = self._course.past(frame, here.planes)
        return False

    def prior(self) -> "TemporalPrior | None":
        """Return the temporal prior of the newest frame; None: it is initialised without one.

        Earlier results are read from the saved state, so that a resumed run gets the same bits.
        Raises MediaError if a saved frame does not have the shape and notes of this run.
        """
        earlier, here, first = self._earlier, self._here, self._first
        if self._step is None or earlier is None or here is None or first is None:
            return None
        if first.gain < _CLEAR <= here.gain:
            self._begin()
            return None
        step, self._step = self._step, None  # freed early: it is large
        before, further = self._stylized_frame(earlier, self._start), None
        if step.further is not None and step.anchor is not None:
            anchor = _TrackedFrame(here.position - step.age, step.anchor)
            further = (step.further, self._stylized_frame(anchor))
        begun = self._start(here.frame, here.guide)
        same = first.position == earlier.position
        origin = before if same else self._stylized_frame(first, self._start)
        found = warm_start.prior_along(
            step.motion, before, here.frame, begun, further, here.planes, first=origin
        )
        if found.reinitialized:
            self._begin()
            return None
        static = warm_start.static(found, first.frame, here.frame)
        return replace(found, static=static & unchanged(first.guide, here.guide))

    def _stylized_frame(
        self, seen: _TrackedFrame, start: "StartImage | None" = None
    ) -> warm_start.StylizedFrame:
        """Return a finished frame, with its initial image if `start` is given."""
        begun = None if start is None else start(seen.frame, seen.guide)
        output, notes = self._state.load(seen.position), self._state.load_notes(seen.position)
        if output.shape != seen.frame.shape or not _are_notes(notes, output.shape):
            raise MediaError(
                f"{self._state.path}: expected what was saved with frame {seen.position}, got "
                "something else; add --restart to discard that state"
            )
        names = ("optimised_image", "unblended_image")
        optimised, unblended = (notes.pop(name, None) for name in names)
        shown = output if unblended is None else from_uint16(unblended)
        result = shown if optimised is None else from_uint16(optimised)
        return warm_start.StylizedFrame(
            seen.frame, result, begun, planes=seen.planes, shown=shown, **notes
        )

    def _turn(self, here: _TrackedFrame) -> bool:
        """Begin a shot at a frame (True), or resume the interrupted one (False)."""
        known, left, moved = self._state.finished.get(here.position), self._left, None
        if left is not None and here.position - left.last.position > _SHORT:
            left = None
        if left is not None and known is None:
            moved = bidirectional.motion(left.last.frame, here.frame)
        if left is None or (moved is None if known is None else known.back is None):
            self._leave(self._earlier)
            self._begin()
            self.shots += 1
            return True
        self._begin()
        self._earlier, self._first, self.shots = left.last, left.first, left.number
        self._left, self.back = None, left.last.position
        self._step = None if moved is None or not self.ours else Step(moved)
        return False

    def _leave(self, last: _TrackedFrame | None) -> None:
        """Remember the shot that ends with `last`; if it was short, keep the one before it."""
        if last is None or self._first is None:
            return
        if self._left is None or last.position >= self._left.last.position + _SHORT:
            self._left = _PreviousShot(last, self._first, self.shots)

    def _begin(self) -> None:
        """Make the newest frame the reference of all that follow, and their key frame."""
        if self._here is not None:
            self._first = self._here
            self._course = KeyframeTrack(self._here.frame, self._here.planes)

    def _is_followed(self, position: int) -> bool:
        """Return whether the motion to a frame is needed, for it or for a later key frame track."""
        known = self._state.finished.get(position)
        if known is None:
            return True
        coming = range(position + 1, min(position + SPAN, self._count - 1) + 1)
        return known.follows and not known.reinitialized and not all(map(self._state.has, coming))


def _are_notes(notes: "dict[str, np.ndarray]", size: tuple[int, ...]) -> bool:
    """Return whether the notes on a frame of shape `size` have valid names, dtypes and shapes.

    Their sha256 matches the journal, but the journal itself is not authenticated.
    """
    images = ("optimised_image", "unblended_image")
    ends = {**dict.fromkeys(images, size), "change": (4,), "matches": (5,)}
    return notes.keys() <= ends.keys() and all(
        array.dtype.kind in "fu"
        and (array.dtype == np.uint16) == (name in images)
        and array.ndim == 3
        and array.shape[array.ndim - len(ends[name]) :] == ends[name]
        for name, array in notes.items()
    )


def frame_notes(made: "Stylized", prior: "TemporalPrior | None") -> "dict[str, np.ndarray | None]":
    """Return the arrays that later frames need besides the output image; None: not needed."""
    change = None if prior is None or prior.change is None else prior.change.astype(np.float16)
    return {
        "matches": made.matches,
        "change": change,
        "optimised_image": _unlike(made.optimised_image, made.unblended_image),
        "unblended_image": _unlike(made.unblended_image, made.output_image),
    }


def _unlike(image: "Image", other: "Image") -> np.ndarray | None:
    """Return an image as uint16, or None if it equals `other`, which then replaces it."""
    if image is other:
        return None
    words = to_uint16(image)
    return None if np.array_equal(words, to_uint16(other)) else words
