"""Fakes of the temporal method of a run, which record their arguments."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from vidstyle.coherence.default import DefaultCoherence
from vidstyle.coherence.interface import RunContext, SourceFrame
from vidstyle.coherence.prior import StylizedFrame, TemporalPrior
from vidstyle.coherence.stylized import Stylized


@dataclass
class Recorder:
    """Makes a DefaultCoherence that records the finished frames it loads, and its results.

    previous: the frame before each frame that has a prior, as loaded. finished: what the stylizer
    made of each frame.
    """

    previous: list[StylizedFrame] = field(default_factory=list)
    finished: list[Stylized] = field(default_factory=list)

    def __call__(self, context: RunContext) -> DefaultCoherence:
        return _Recording(context, self)


class _Recording(DefaultCoherence):
    def __init__(self, context: RunContext, recorder: Recorder) -> None:
        super().__init__(context)
        self._recorder = recorder

    def load(self, frame: SourceFrame, *, initial: bool = False) -> StylizedFrame:
        loaded = super().load(frame, initial=initial)
        if frame is self.tracker.previous:
            self._recorder.previous.append(loaded)
        return loaded

    def finish(self, stylized: Stylized) -> Any:
        self._recorder.finished.append(stylized)
        return super().finish(stylized)


class Changed(DefaultCoherence):
    """A DefaultCoherence whose priors are changed by a function."""

    def __init__(
        self, context: RunContext, change: Callable[[TemporalPrior], TemporalPrior]
    ) -> None:
        super().__init__(context)
        self._change = change

    def prior_from(self, moved: Any) -> TemporalPrior:
        return self._change(super().prior_from(moved))
