"""The temporal methods that `scripts/bench coherence` compares, each a class of Coherence.

NoCoherence and DefaultCoherence are those of vidstyle; the others are baselines that only the
benchmark runs. They follow the same shots and take the same flow as the default, from frame to
frame and without key frames, and none has its extras: static pixels, disocclusions, dissolves,
deflickering, a lower total variation weight in later frames.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vidstyle.coherence.cold import NoCoherence
from vidstyle.coherence.default import DefaultCoherence
from vidstyle.coherence.interface import MakeCoherence
from vidstyle.coherence.parameters import CoherenceParameters, TvWeights
from vidstyle.coherence.prior import StylizedFrame, TemporalPrior
from vidstyle.coherence.tracked import TrackedCoherence
from vidstyle.evaluation import metrics
from vidstyle.jobs.job import Job
from vidstyle.jobs.pipeline import MakeStylizer, make_stylizer
from vidstyle.motion.bidirectional import Motion
from vidstyle.motion.flow import optical_flow
from vidstyle.motion.warp import sample

if TYPE_CHECKING:
    from vidstyle.techniques.base import Style

__all__ = [
    "ARMS",
    "Arm",
    "PlainWarmStart",
    "RuderMinimiser",
    "RuderSinglePass",
    "WarpedStart",
    "arm_of",
    "varied",
]

WEIGHT = 1.6  # of the temporal loss, for the ruder arm: see RuderMinimiser
TOLERANCE, INTERVAL = 1e-4, 50  # of the loss, and evaluations: Ruder's stopping criterion

_SAME_TV = TvWeights(constrained=1.0, unconstrained=1.0)


class PlainWarmStart(TrackedCoherence):
    """Initialised with the previous result: no warping, no temporal loss."""

    def prior_from(self, moved: Motion) -> TemporalPrior:
        """See TrackedCoherence."""
        return _prior_without_extras(self, _previous(self).optimised_image, moved)


class WarpedStart(TrackedCoherence):
    """Initialised with the previous result, warped bilinearly: no temporal loss."""

    def prior_from(self, moved: Motion) -> TemporalPrior:
        """See TrackedCoherence."""
        image = sample(_previous(self).optimised_image, moved.backward)
        return _prior_without_extras(self, image, moved)


class RuderSinglePass(TrackedCoherence):
    """Single pass of Ruder, Dosovitskiy & Brox (2016), as in artistic-videos.

    The 8-bit result is warped bilinearly along the measured flow; the confidence is their
    reliability. To be run with RuderMinimiser.
    """

    def prior_from(self, moved: Motion) -> TemporalPrior:
        """See TrackedCoherence."""
        earlier, current = _previous(self), self.tracker.current
        assert current is not None
        source, frame, parameters = earlier.source, current.image, self.context.parameters.motion
        back = optical_flow(frame, source, parameters=parameters)
        ahead = optical_flow(source, frame, parameters=parameters)
        result = np.rint(earlier.optimised_image * 255).astype(np.float32) / 255
        reliable = metrics.visible(back, ahead)[..., None].astype(np.float32)
        return _prior_without_extras(self, sample(result, back), moved, reliable)


def _previous(method: TrackedCoherence) -> StylizedFrame:
    """Return the previous frame as it was finished."""
    assert method.tracker.previous is not None, "prior_from is called within a shot"
    return method.load(method.tracker.previous)


def _prior_without_extras(
    method: TrackedCoherence,
    image: np.ndarray,
    moved: Motion,
    confidence: np.ndarray | None = None,
) -> TemporalPrior:
    """Return a prior with none of the extras of the default; confidence: default 0."""
    if confidence is None:
        confidence = np.zeros_like(moved.confidence)
    parameters = replace(method.context.parameters, tv=_SAME_TV)
    return TemporalPrior(image, confidence, moved.backward, parameters=parameters)


class RuderMinimiser:
    """Minimise a warm frame as artistic-videos does: L-BFGS until its stopping criterion.

    Stops when the loss has fallen by less than 1e-4 of itself over 50 evaluations, or after --cap
    (artistic-videos: 1000). First frames are those of the other arms (2000 from noise).

    The temporal weight: artistic-videos has content 5, style 100 and temporal 1000, on sums over
    the activations of a network of unknown scale. The log in INSTALL.md of jcjohnson/neural-style,
    whose content and style terms it shares, gives the scale: of a uniform grey image at evaluation
    1, content is 2.09e6 and the five style terms 1.33e7, where vidstyle's relative terms are 1.
    The temporal term, 1000 times the mean square of 0..255, is 2.17e7 per unit of vidstyle's.
    Relative to style, which weighs 1 in all arms, it thus weighs 1.6 (0.5 relative to content).
    """

    def __call__(  # noqa: PLR0913, PLR0917 - the arguments of lbfgs.minimise
        self,
        evaluate: Callable[[Any], Any],
        start: Any,
        evaluations: int,
        inverse: Callable[[Any], Any],
        progress: Callable[[int, float, Any], None],
        support: Any,
        enough: Callable[[Any], bool] = lambda here: False,
    ) -> Any:
        """See lbfgs.minimise. A frame without a prior comes with the plain FrequencyFilter.

        A later frame ends by the criterion of this class, not by `enough`.
        """
        from vidstyle.stylizer.lbfgs import FrequencyFilter, Minimum, minimise

        if isinstance(inverse, FrequencyFilter):
            return minimise(evaluate, start, evaluations, inverse, progress, support, enough)
        best: list[tuple[Any, Any]] = []
        totals: list[float] = []

        def checked(image: Any) -> Any:
            found = evaluate(image)
            if not best or found.total < best[-1][1].total:
                best[:] = [(image, found)]
            totals.append(best[-1][1].total)
            if len(totals) > INTERVAL:
                before = totals[-1 - INTERVAL]
                if before - totals[-1] < TOLERANCE * before:
                    raise _ConvergedError
            return found

        try:
            return minimise(checked, start, evaluations, lambda x: x, progress, support)
        except _ConvergedError:
            return Minimum(*best[-1], len(totals))


class _ConvergedError(Exception):
    """The stopping criterion is met."""


def _ruder_stylizer(job: Job, styles: "Sequence[Style]", network: Path | None) -> Any:
    """Return the stylizer of a job, with RuderMinimiser."""
    from vidstyle.stylizer.stylizer import Stylizer

    return Stylizer(
        styles,
        technique=job.technique,
        settings=job.settings,
        weights=network,
        minimise=RuderMinimiser(),
    )


@dataclass(frozen=True)
class Arm:
    """A temporal method, with the settings of its job and the stylizer that it needs."""

    coherence: MakeCoherence
    settings: Mapping[str, Any] = field(default_factory=dict)
    make_stylizer: MakeStylizer = make_stylizer
    parameters: CoherenceParameters = field(default_factory=CoherenceParameters)


_NO_LOSS = {"temporal_weight": 0.0}
ARMS = {
    "cold": Arm(NoCoherence, _NO_LOSS),
    "plain": Arm(PlainWarmStart, _NO_LOSS),
    "warped": Arm(WarpedStart, _NO_LOSS),
    "ruder": Arm(RuderSinglePass, {"temporal_weight": WEIGHT}, _ruder_stylizer),
    "default": Arm(DefaultCoherence),
}


def arm_of(name: str) -> Arm:
    """Return the arm of a name, or the default with one constant varied: deflicker.most=0.9."""
    if name in ARMS:
        return ARMS[name]
    path, sign, value = name.partition("=")
    if not sign:
        raise SystemExit(
            f"{name}: expected one of {', '.join(ARMS)} or SUBJECT.CONSTANT=VALUE; choose one"
        )
    return Arm(DefaultCoherence, parameters=varied(CoherenceParameters(), path, value))


def varied(parameters: CoherenceParameters, path: str, value: str) -> CoherenceParameters:
    """Return the parameters with the number at SUBJECT.CONSTANT replaced."""
    subject, _, name = path.partition(".")
    group = getattr(parameters, subject, None)
    old = getattr(group, name, None)
    if group is None or not isinstance(old, (int, float)):
        known = ", ".join(one.name for one in fields(parameters if group is None else group))
        raise SystemExit(f"{path}: expected SUBJECT.CONSTANT of a number, got none; known: {known}")
    try:
        number = type(old)(value)
    except ValueError:
        raise SystemExit(f"{path}: expected a number, got {value!r}; give one") from None
    return replace(parameters, **{subject: replace(group, **{name: number})})
