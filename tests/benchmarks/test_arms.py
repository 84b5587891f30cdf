"""The temporal methods that `scripts/bench coherence` compares."""

import importlib
import pkgutil
from typing import Any

import numpy as np
import pytest
from films import Film, shot
from tiny import disc

import benchmarks
from benchmarks.arms import ARMS, RuderMinimiser, arm_of, varied
from vidstyle.coherence.interface import RunContext, SourceFrame
from vidstyle.coherence.parameters import CoherenceParameters
from vidstyle.coherence.prior import TemporalPrior
from vidstyle.coherence.stylized import Stylized
from vidstyle.jobs.stream import MemoryHistory
from vidstyle.motion.warp import sample
from vidstyle.stylizer.lbfgs import Evaluation, FrequencyFilter, Minimum
from vidstyle.stylizer.problem import FrameProblem
from vidstyle.stylizer.protocol import IdentityStylizer

BEFORE, NOW, PAINTED = disc(64, 96), disc(64, 96, x=0.54), 1 - disc(64, 96)


def prior_of(arm: str) -> TemporalPrior | None:
    """Return the prior that an arm derives from the previous frame, whose result is PAINTED."""
    history = MemoryHistory()
    method = ARMS[arm].coherence(
        RunContext(history=history, initial_image=IdentityStylizer().begin)
    )
    assert method.advance(SourceFrame(0, BEFORE))
    assert method.prior() is None
    history.save(0, *method.finish(Stylized(PAINTED)))
    assert method.advance(SourceFrame(1, NOW)) == (arm == "cold")
    return method.prior()


def found(arm: str) -> TemporalPrior:
    prior = prior_of(arm)
    assert prior is not None
    return prior


@pytest.mark.parametrize("arm", ["plain", "warped", "ruder"])
def test_other_arms_have_no_extras_of_the_default(arm: str) -> None:
    prior = found(arm)
    assert prior.previous_output is None
    assert prior.disoccluded is None
    assert prior.change is None
    assert prior.static is None
    assert (FrameProblem(NOW, None, False, prior).smoothness == 1).all()


def test_the_cold_arm_has_no_prior() -> None:
    assert prior_of("cold") is None


def test_the_plain_arm_starts_from_the_result_and_the_warped_arm_from_the_warped_result() -> None:
    prior, warped = found("plain"), found("warped")
    np.testing.assert_allclose(prior.image, PAINTED, atol=1 / 65535)
    assert not prior.confidence.any()
    assert not warped.confidence.any()
    np.testing.assert_array_equal(warped.image, sample(prior.image, warped.flow))
    assert np.abs(warped.image - (1 - NOW)).mean() < 0.5 * np.abs(PAINTED - (1 - NOW)).mean()
    assert found("ruder").confidence.mean() > 0.5


def test_the_default_has_the_previous_output_and_disocclusions() -> None:
    prior = found("default")
    assert prior.previous_output is not None
    assert prior.disoccluded is not None


@pytest.mark.parametrize("arm", sorted(ARMS))
def test_every_arm_runs_through_the_pipeline(film: Film, arm: str) -> None:
    events: list[Any] = []
    made = film.run(
        film.job("film", shot(1), **ARMS[arm].settings),
        events.append,
        coherence=ARMS[arm].coherence,
    )
    assert len(set(made)) == len(made)
    cuts = [event.cut for event in events if event.name == "frame"]
    assert cuts == [index == 0 or arm == "cold" for index in range(len(made))]


def test_an_arm_may_vary_a_constant_of_the_default() -> None:
    usual = CoherenceParameters()
    assert arm_of("deflicker.most=0.5").parameters.deflicker.most == 0.5
    assert varied(usual, "keyframe.span", "4").keyframe.span == 4
    assert usual == CoherenceParameters()
    for name in ("deflicker.mist=0.5", "mist=1", "deflicker.most=x", "lukewarm"):
        with pytest.raises(SystemExit, match="expected"):
            arm_of(name)


def test_ruders_minimiser_stops_when_the_loss_no_longer_falls() -> None:
    import tensorflow as tf

    def flat(image: Any) -> Evaluation:
        return Evaluation(1.0, tf.ones_like(image), {})

    start = tf.zeros((2, 2, 3)) + 0.5
    made = RuderMinimiser()(flat, start, 1000, lambda x: x, lambda *_: None, tf.ones((2, 2, 1)))
    assert isinstance(made, Minimum)
    assert made.evaluations < 60
    first = FrequencyFilter(2, 2)  # of a frame without a prior: the default minimiser
    stopped = RuderMinimiser()(flat, start, 9, first, lambda *_: None, 1.0, lambda here: True)
    assert stopped.evaluations == 1


def test_every_benchmark_can_be_imported() -> None:
    for module in pkgutil.iter_modules(benchmarks.__path__):
        importlib.import_module(f"benchmarks.{module.name}")
