"""The ways that `scripts/bench coherence` sets beside ours are what they are called."""

import numpy as np
import pytest
from tiny import disc

from benchmarks.arms import following
from vidstyle.coherence import warm_start
from vidstyle.evaluation import metrics
from vidstyle.motion import bidirectional
from vidstyle.stylizer.problem import FrameProblem

BEFORE, NOW, PAINTED = disc(64, 96), disc(64, 96, x=0.54), 1 - disc(64, 96)


def told(arm: str) -> warm_start.TemporalPrior:
    """What an arm is told of a frame by the one before."""
    moved = bidirectional.motion(BEFORE, NOW)
    assert moved is not None
    with following(arm):
        return warm_start.prior_along(moved, warm_start.StylizedFrame(BEFORE, PAINTED), NOW)


@pytest.mark.parametrize("arm", ["plain", "warped", "ruder"])
def test_the_other_arms_have_nothing_of_what_is_ours(arm: str) -> None:
    prior = told(arm)
    assert prior.previous_output is None, "what is shown would be steadied"
    assert prior.disoccluded is None
    assert prior.change is None
    with following(arm):
        assert (FrameProblem(NOW, None, False, prior).smoothness == 1).all()
        assert not warm_start.static(prior, BEFORE, NOW).any()


def test_a_plain_start_is_the_result_where_it_stands_and_a_warped_one_moves() -> None:
    prior = told("plain")
    np.testing.assert_array_equal(prior.image, PAINTED)
    assert not prior.confidence.any()
    warped = told("warped")
    assert not warped.confidence.any()
    np.testing.assert_array_equal(warped.image, metrics.warped(PAINTED, warped.flow))
    assert np.abs(warped.image - (1 - NOW)).mean() < 0.5 * np.abs(PAINTED - (1 - NOW)).mean()
    assert told("ruder").confidence.mean() > 0.5


def test_ours_is_steadied_and_told_what_is_fresh() -> None:
    prior = told("ours")
    assert prior.previous_output is not None
    assert prior.disoccluded is not None
