"""The temporal methods that `scripts/bench coherence` compares."""

import numpy as np
import pytest
from tiny import disc

from benchmarks.arms import following
from vidstyle.coherence import warm_start
from vidstyle.evaluation import metrics
from vidstyle.motion import bidirectional
from vidstyle.stylizer.problem import FrameProblem

BEFORE, NOW, PAINTED = disc(64, 96), disc(64, 96, x=0.54), 1 - disc(64, 96)


def prior_of(arm: str) -> warm_start.TemporalPrior:
    """Return the prior that an arm derives from the previous frame."""
    moved = bidirectional.motion(BEFORE, NOW)
    assert moved is not None
    with following(arm):
        return warm_start.prior_along(moved, warm_start.StylizedFrame(BEFORE, PAINTED), NOW)


@pytest.mark.parametrize("arm", ["plain", "warped", "ruder"])
def test_other_arms_have_no_extras_of_the_default(arm: str) -> None:
    prior = prior_of(arm)
    assert prior.previous_output is None
    assert prior.disoccluded is None
    assert prior.change is None
    with following(arm):
        assert (FrameProblem(NOW, None, False, prior).smoothness == 1).all()
        assert not warm_start.static(prior, BEFORE, NOW).any()


def test_the_plain_arm_starts_from_the_result_and_the_warped_arm_from_the_warped_result() -> None:
    prior = prior_of("plain")
    np.testing.assert_array_equal(prior.image, PAINTED)
    assert not prior.confidence.any()
    warped = prior_of("warped")
    assert not warped.confidence.any()
    np.testing.assert_array_equal(warped.image, metrics.warped(PAINTED, warped.flow))
    assert np.abs(warped.image - (1 - NOW)).mean() < 0.5 * np.abs(PAINTED - (1 - NOW)).mean()
    assert prior_of("ruder").confidence.mean() > 0.5


def test_the_default_has_the_previous_output_and_disocclusions() -> None:
    prior = prior_of("default")
    assert prior.previous_output is not None
    assert prior.disoccluded is not None
