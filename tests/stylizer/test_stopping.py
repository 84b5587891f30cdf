"""When the optimisation of a later frame ends, with a chosen or an adaptive number of steps."""

from typing import Any

import numpy as np
import pytest
from tiny import LAYERS, TinyEncoder, disc, stripes

from vidstyle.coherence.warm_start import TemporalPrior
from vidstyle.errors import SettingsError
from vidstyle.settings import MOST_STEPS_NEXT, Settings
from vidstyle.stylizer.lbfgs import Evaluation
from vidstyle.stylizer.pyramid import evaluations_at
from vidstyle.stylizer.stopping import SlowProgress
from vidstyle.stylizer.stylizer import Style, Stylizer

FRAME = disc(32, 48)
TRUSTED = np.ones((32, 48, 1), np.float32)


def stylizer(**options: Any) -> Stylizer:
    layers: dict[str, Any] = {"style_layers": LAYERS, "content_layers": LAYERS[1:2]}
    settings = Settings(**{"steps": 60, **layers, **options})
    return Stylizer([Style(stripes(40, 48))], settings=settings, encoder=TinyEncoder())


def ended(totals: list[float], temporal: list[float], weight: float = 10.0) -> int | None:
    """Return at which evaluation the criterion ends the optimisation."""
    enough = SlowProgress(Settings(temporal_weight=weight))
    for index, (total, apart) in enumerate(zip(totals, temporal, strict=True)):
        if enough(Evaluation(total, None, {"temporal": apart})):
            return index
    return None


def test_it_ends_where_one_or_two_steps_gain_little() -> None:
    halving = [2.0**-k for k in range(6)]
    assert ended(halving, [0.0] * 6) is None
    assert ended([*halving, 0.0312, 0.0311], [0.0] * 8) == 7
    assert ended([1.0, 0.97, 0.5], [0.0] * 3) == 1
    assert ended([1.0, 0.94, 0.9, 0.5], [0.0] * 4) == 2
    assert ended([1.0, 0.94, 0.88, 0.83, 0.82], [0.0] * 5) == 4


def test_the_temporal_term_does_not_count() -> None:
    rest = [2.0**-k for k in range(6)]
    temporal = [0.3 * k for k in range(6)]
    totals = [r + 10 * t for r, t in zip(rest, temporal, strict=True)]
    assert ended(totals, temporal) is None
    assert ended([6 - 0.1 * k for k in range(6)], [0.5 - 0.01 * k for k in range(6)]) == 1


def test_an_easy_frame_takes_fewer_evaluations_and_none_more_than_the_most() -> None:
    engine = stylizer(steps_next="auto")
    result = engine.stylize(FRAME).optimised_image
    easy = engine.stylize(FRAME, prior=TemporalPrior(result, TRUSTED))
    hard = engine.stylize(FRAME, prior=TemporalPrior(FRAME, 0 * TRUSTED))
    assert 1 < easy.evaluations < hard.evaluations <= MOST_STEPS_NEXT
    assert easy.frame_equivalents == easy.evaluations


def test_a_fixed_number_is_kept() -> None:
    result = stylizer().stylize(FRAME).optimised_image
    for count in (1, 20):
        engine = stylizer(steps_next=count)
        assert engine.stylize(FRAME, prior=TemporalPrior(result, TRUSTED)).evaluations == count


def test_a_first_frame_is_not_ended_early() -> None:
    assert stylizer().stylize(FRAME).evaluations == 60


def test_frame_equivalents_count_the_levels_by_their_pixels() -> None:
    result = stylizer(steps=4).stylize(disc(20, 700))
    finer = evaluations_at(4, finer=True)
    assert result.evaluations == 4 + 2 * finer
    whole = (4 * 8 * 256 + finer * 15 * 512) / (20 * 700) + finer
    assert result.frame_equivalents == pytest.approx(whole)


@pytest.mark.parametrize("value", ["never", -1, 2.5])
def test_other_numbers_of_steps_are_refused(value: Any) -> None:
    with pytest.raises(SettingsError, match="--steps-next: expected 'auto' or a number from 0"):
        Settings(steps_next=value)
