"""The ways in which a frame may follow another that `scripts/bench coherence` sets beside ours."""

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
from vidstyle.stylizer import problem

WEIGHT = 1.6  # of Ruder's temporal term: see Ruder
TOLERANCE, INTERVAL = 1e-4, 50  # Ruder's stop rule


@contextmanager
def following(arm: str) -> Iterator[None]:
    """Let frames follow one another in the way of an arm, within the product's run."""
    usual = warm_start.prior_along
    ways = {"plain": _unmoved, "warped": _warped, "ruder": _ruders}
    if arm == "ours":
        yield
        return

    def prior(
        moved: Motion, earlier: warm_start.StylizedFrame, frame: np.ndarray, *_: Any
    ) -> warm_start.TemporalPrior:
        source, result = earlier.source, earlier.result
        found = usual(moved, warm_start.StylizedFrame(source, result), frame)
        uncovered = warm_start.TemporalPrior(
            found.image, found.confidence, found.flow
        )  # none of what else is ours
        return ways[arm](uncovered, source, frame, result)

    with ExitStack() as patched:
        if arm == "cold":
            patched.enter_context(mock.patch.object(bidirectional, "motion", _none))
        patched.enter_context(mock.patch.object(warm_start, "prior_along", prior))
        patched.enter_context(mock.patch.object(warm_start, "static", _nothing))
        patched.enter_context(mock.patch.object(KeyframeTrack, "along", _unheld))
        for name in ("_HELD", "_LOOSE"):
            patched.enter_context(mock.patch.object(problem, name, 1.0))
        if arm == "ruder":
            from vidstyle.stylizer import stylizer

            patched.enter_context(mock.patch.object(stylizer, "minimise", Ruder(stylizer.minimise)))
        yield


def _none(*_: Any) -> None:
    """Begin every frame anew."""


def _unheld(
    course: KeyframeTrack, motion: Motion, frame: np.ndarray, *_: Any
) -> tuple[Step, KeyframeTrack]:
    """Go by the motion from frame to frame alone."""
    return Step(motion), course.past(frame)


def _nothing(found: warm_start.TemporalPrior, *_: Any) -> np.ndarray:
    """Leave nothing alone."""
    return np.zeros(found.confidence.shape, bool)


def _unmoved(
    found: warm_start.TemporalPrior, _: Any, __: Any, result: np.ndarray
) -> warm_start.TemporalPrior:
    return replace(found, image=result, confidence=np.zeros_like(found.confidence))


def _warped(
    found: warm_start.TemporalPrior, _: Any, __: Any, result: np.ndarray
) -> warm_start.TemporalPrior:
    image = metrics.warped(result, found.flow)
    return replace(found, image=image, confidence=np.zeros_like(found.confidence))


def _ruders(
    found: warm_start.TemporalPrior, source: np.ndarray, frame: np.ndarray, result: np.ndarray
) -> warm_start.TemporalPrior:
    """Warp the 8-bit picture bilinearly, and weigh it by his reliability."""
    back, forth = optical_flow(frame, source), optical_flow(source, frame)
    image = metrics.warped(np.rint(result * 255).astype(np.float32) / 255, back)
    reliable = metrics.visible(back, forth)[..., None].astype(np.float32)
    return warm_start.TemporalPrior(image, reliable, found.flow)


class Ruder:
    """Minimises a warm frame as artistic-videos does: plain L-BFGS until his rule stops it.

    Stops when the loss has fallen by less than 1e-4 of itself over 50 evaluations, or at --cap
    (his is 1000). A first frame (his: 2000 from noise) is that of every arm, so that the arms
    differ in how they go on. His constants are content 5, style 100, temporal 1000, on sums over
    the activations of a network that is not normalised; ours is, and its file does not tell by how
    much. A log that jcjohnson/neural-style prints in its INSTALL.md does: his content and style
    terms are that code's, and at evaluation 1, of a picture of one grey, every relative term of
    ours is 1, where his content term is 2.09e6 and his five style terms are 1.33e7 in all. His
    temporal term, 1000 times the mean square of 0..255, is 2.17e7 a unit of ours. So where style
    weighs 1, as in all arms, so that the looks are alike, the temporal term weighs 1.6 (0.5 if it
    is the content that is to weigh as in all arms).
    """

    def __init__(self, usual: Any) -> None:
        self._usual = usual

    def __call__(
        self, evaluate: Any, start: Any, steps: int, filtered: Any, progress: Any, support: Any
    ) -> Any:
        from vidstyle.settings import Settings

        if steps == Settings().steps:
            return self._usual(evaluate, start, steps, filtered, progress, support)
        best: list[tuple[Any, Any]] = []
        totals: list[float] = []

        def watched(image: Any) -> Any:
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
            return self._usual(watched, start, steps, lambda x: x, progress, support)
        except _ConvergedError:
            from vidstyle.stylizer.lbfgs import Minimum

            return Minimum(*best[-1], len(totals))


class _ConvergedError(Exception):
    """The stop rule holds."""
