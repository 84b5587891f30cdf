"""Fakes of the temporal method of a run, which record their arguments."""

from dataclasses import dataclass, field
from typing import Any

from vidstyle.coherence.default import DefaultCoherence
from vidstyle.coherence.interface import RunContext, SourceFrame
from vidstyle.coherence.prior import StylizedFrame
from vidstyle.coherence.stylized import Stylized


@dataclass
class Recorder:
    """Makes a DefaultCoherence that records the finished frames it loads, and its results.

    previous: the frame before each frame that has a prior, as loaded. finished: each frame as it
    is saved.
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

    def steadied(self, *given: Any) -> Stylized:
        found = super().steadied(*given)
        self._recorder.finished.append(found)
        return found
