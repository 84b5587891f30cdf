"""SlowProgress: when the optimisation of a later frame ends, with `--steps-next auto`."""

from vidstyle.coherence.parameters import StoppingParameters
from vidstyle.settings import Settings
from vidstyle.stylizer.lbfgs import Evaluation

__all__ = ["SlowProgress"]

_DEFAULTS = StoppingParameters()


class SlowProgress:
    """Stopping criterion: the loss without its temporal term falls slowly.

    Ends after a first step, or two steps, that lower it by less than the parameters' share of it.
    The temporal term is left out since it rises from 0 while strokes are drawn. The criterion
    depends on the evaluations of one frame alone, so that a resumed run ends at the same one.
    """

    def __init__(self, settings: Settings, parameters: StoppingParameters = _DEFAULTS) -> None:
        self._parameters = parameters
        self._weight = settings.temporal_weight
        self._losses: list[float] = []

    def __call__(self, here: Evaluation) -> bool:
        """Add the evaluation at the start or at an accepted step; return whether to end there."""
        now = here.total - self._weight * here.terms["temporal"]
        self._losses.append(now)
        own = self._parameters
        if len(self._losses) <= 2:
            return len(self._losses) == 2 and self._losses[0] - now < own.first_step * now
        return self._losses[-3] - now < own.two_steps * now
