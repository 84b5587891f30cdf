"""The temporal methods that `scripts/bench coherence` compares with the default."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np

from vidstyle.coherence import warm_start
from vidstyle.coherence.keyframe import KeyframeTrack, Step
from vidstyle.evaluation import metrics
from vidstyle.motion import bidirectional
from vidstyle.motion.bidirectional import Motion
from vidstyle.motion.flow import optical_flow
from vidstyle.motion.warp import sample
from vidstyle.stylizer import problem

WEIGHT = 1.6  # of the temporal loss, for the ruder arm: see Ruder
TOLERANCE, INTERVAL = 1e-4, 50  # of the loss, and evaluations: Ruder's stopping criterion


@contextmanager
def following(arm: str) -> Iterator[None]:
    """Patch the coherence of a run with the method of an arm."""
    default = warm_start.prior_along
    methods = {"plain": _plain, "warped": _warped, "ruder": _ruder}
    if arm == "default":
        yield
        return

    def prior(
        moved: Motion, earlier: warm_start.StylizedFrame, frame: np.ndarray, *_: Any, **__: Any
    ) -> warm_start.TemporalPrior:
        source, result = earlier.source, earlier.result
        found = default(moved, warm_start.StylizedFrame(source, result), frame)
        without_extras = warm_start.TemporalPrior(found.image, found.confidence, found.flow)
        return methods[arm](without_extras, source, frame, result)

    with ExitStack() as patched:
        if arm == "cold":
            patched.enter_context(mock.patch.object(bidirectional, "motion", _none))
        patched.enter_context(mock.patch.object(warm_start, "prior_along", prior))
        patched.enter_context(mock.patch.object(warm_start, "static", _no_static))
        patched.enter_context(mock.patch.object(KeyframeTrack, "along", _without_keyframes))
        for name in ("_HELD", "_LOOSE"):
            patched.enter_context(mock.patch.object(problem, name, 1.0))
        if arm == "ruder":
            from vidstyle.stylizer import step

            patched.enter_context(mock.patch.object(step, "minimise", Ruder(step.minimise)))
        yield


def _none(*_: Any) -> None:
    """Return no motion: every frame is the first of a shot."""


def _without_keyframes(
    track: KeyframeTrack, motion: Motion, frame: np.ndarray, *_: Any
) -> tuple[Step, KeyframeTrack]:
    """Use the motion between consecutive frames only."""
    return Step(motion), track.past(frame)


def _no_static(found: warm_start.TemporalPrior, *_: Any) -> np.ndarray:
    """Return no static pixels."""
    return np.zeros(found.confidence.shape, bool)


def _plain(
    found: warm_start.TemporalPrior, _: Any, __: Any, result: np.ndarray
) -> warm_start.TemporalPrior:
    return replace(found, image=result, confidence=np.zeros_like(found.confidence))


def _warped(
    found: warm_start.TemporalPrior, _: Any, __: Any, result: np.ndarray
) -> warm_start.TemporalPrior:
    image = sample(result, found.flow)
    return replace(found, image=image, confidence=np.zeros_like(found.confidence))


def _ruder(
    found: warm_start.TemporalPrior, source: np.ndarray, frame: np.ndarray, result: np.ndarray
) -> warm_start.TemporalPrior:
    """Warp the 8-bit result bilinearly; the confidence is Ruder's reliability."""
    back, forth = optical_flow(frame, source), optical_flow(source, frame)
    image = sample(np.rint(result * 255).astype(np.float32) / 255, back)
    reliable = metrics.visible(back, forth)[..., None].astype(np.float32)
    return warm_start.TemporalPrior(image, reliable, found.flow)


class Ruder:
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

    def __init__(self, default: Any) -> None:
        self._default = default

    def __call__(
        self,
        evaluate: Any,
        start: Any,
        steps: int,
        filtered: Any,
        progress: Any,
        support: Any,
        *_: Any,
    ) -> Any:
        from vidstyle.settings import Settings

        if steps == Settings().steps:
            return self._default(evaluate, start, steps, filtered, progress, support)
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
            return self._default(checked, start, steps, lambda x: x, progress, support)
        except _ConvergedError:
            from vidstyle.stylizer.lbfgs import Minimum

            return Minimum(*best[-1], len(totals))


class _ConvergedError(Exception):
    """The stopping criterion is met."""
