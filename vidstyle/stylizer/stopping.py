"""SlowProgress: when the optimisation of a later frame ends, with `--steps-next auto`."""

from vidstyle.settings import Settings
from vidstyle.stylizer.lbfgs import Evaluation

__all__ = ["SlowProgress"]

_FIRST = 0.04  # part of the loss: a first step that gains less shows a start near the minimum
_LEAST = 0.12  # the same for two steps; with 0.07 frames take 7 evaluations, with 0.12 about 4.5


class SlowProgress:
    """Stopping criterion: the loss without its temporal term falls slowly.

    Ends after a first step that lowers it by less than 4 %, or two steps that lower it by less than
    12 %.
    The temporal term is left out since it rises from 0 while strokes are drawn. The criterion
    depends on the evaluations of one frame alone, so that a resumed run ends at the same one.
    """

    def __init__(self, settings: Settings) -> None:
        self._weight = settings.temporal_weight
        self._losses: list[float] = []

    def __call__(self, here: Evaluation) -> bool:
        """Add the evaluation at the start or at an accepted step; return whether to end there."""
        now = here.total - self._weight * here.terms["temporal"]
        self._losses.append(now)
        if len(self._losses) <= 2:
            return len(self._losses) == 2 and self._losses[0] - now < _FIRST * now
        return self._losses[-3] - now < _LEAST * now
