"""Coherence: the interface of a temporal method, which relates each frame to earlier ones.

A run calls `advance` for every frame in order, and `prior` and then `finish` for each frame that
it stylises. Between these two it may already advance to the next frame, in another thread: `finish`
is about the frame of the last `prior`. Implementations: `DefaultCoherence` (default.py) and
`NoCoherence` (cold.py); the benchmark adds others (benchmarks/arms.py). Another method is another
class, given to `jobs.pipeline.run` as `coherence`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from vidstyle.coherence.parameters import CoherenceParameters
from vidstyle.image import Image

if TYPE_CHECKING:
    from vidstyle.coherence.fades import Fade
    from vidstyle.coherence.history import FinishedFrames, StartImage
    from vidstyle.coherence.prior import TemporalPrior
    from vidstyle.coherence.stylized import Stylized
    from vidstyle.guides.guide import Guide

__all__ = ["Coherence", "FrameRecord", "MakeCoherence", "RunContext", "SourceFrame"]


@dataclass(frozen=True)
class SourceFrame:
    """A frame of the source, with its guide and its fade.

    position: from 0, within the frames that are stylised. image: float32 [H, W, 3], RGB, 0..1, in
    full light if the frame is faded. fade: None in full light.
    """

    position: int
    image: Image
    guide: "Guide | None" = None
    fade: "Fade | None" = None

    @property
    def planes(self) -> np.ndarray | None:
        """The planes of the guide: float32 [H, W, K]; None without a guide."""
        return None if self.guide is None else self.guide.planes

    @property
    def gain(self) -> float:
        """The gain of the fade, 1 in full light."""
        return 1.0 if self.fade is None else self.fade.gain

    @property
    def is_faded_out(self) -> bool:
        """Whether the frame is too faint to be stylised."""
        return self.fade is not None and self.fade.is_out


@dataclass(frozen=True, kw_only=True)
class FrameRecord:
    """The record saved with a finished frame, from which a resumed run continues.

    cut: a shot begins with it. reinitialized: it was optimised without a prior although no shot
    begins. resumed_from: the position of the frame that it continues, if not the previous one.
    notes: the arrays that later frames need, by name; None values are not saved.
    """

    cut: bool
    reinitialized: bool = False
    resumed_from: int | None = None
    notes: dict[str, np.ndarray | None] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """The arguments that a run passes to a Coherence.

    history: the finished frames. initial_image: the stylizer's image of a frame without a prior.
    frame_count: the number of frames; None: not known, and no frame is finished yet.
    shard: (i, n): this process stylises every n-th shot from the i-th on.
    deflickers: whether output images are deflickered.
    """

    history: "FinishedFrames"
    initial_image: "StartImage"
    frame_count: int | None = None
    shard: tuple[int, int] = (1, 1)
    deflickers: bool = True
    parameters: CoherenceParameters = field(default_factory=CoherenceParameters)

    def is_assigned(self, shot: int) -> bool:
        """Return whether a shot, counted from 1, is stylised by this shard."""
        number, of = self.shard
        return (shot - number) % of == 0


class Coherence(Protocol):
    """A temporal method: which frames begin a shot, and how earlier frames predict a frame."""

    @property
    def shots(self) -> int:
        """The number of the newest frame's shot, from 1; so far, the number of shots."""
        ...

    @property
    def is_assigned(self) -> bool:
        """Whether the newest shot is stylised by this shard."""
        ...

    @property
    def needed_positions(self) -> set[int]:
        """The positions of the finished frames that later calls may load from the history."""
        ...

    def advance(self, frame: SourceFrame) -> bool:
        """Advance to the next frame, finished or not; return whether it begins a new shot."""
        ...

    def prior(self) -> "TemporalPrior | None":
        """Return the prior of the newest frame; None: it is optimised without one.

        Raises MediaError if an earlier frame was not saved as this run would have saved it.
        """
        ...

    def finish(self, stylized: "Stylized") -> tuple[Image, FrameRecord]:
        """Return the output image of the last `prior`'s frame, and what to save with it.

        stylized: what the stylizer made with the prior, before it is deflickered.
        """
        ...


MakeCoherence = Callable[[RunContext], Coherence]
