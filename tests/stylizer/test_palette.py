"""The mean colour of a later frame's start, with an adaptive number of evaluations."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tiny import LAYERS, TinyEncoder, disc, stripes

from vidstyle.coherence.prior import TemporalPrior
from vidstyle.image import Image
from vidstyle.settings import Settings
from vidstyle.stylizer.palette import is_held, recentred
from vidstyle.stylizer.stylizer import Style, Stylizer
from vidstyle.techniques import TECHNIQUES

GREY = np.full((20, 30, 3), 0.5, np.float32)
PRIOR = TemporalPrior(disc(20, 30), np.ones((20, 30, 1), np.float32))
MEAN = PRIOR.image.mean(axis=(0, 1))


def test_the_mean_moves_to_the_goal_by_one_change_of_all_pixels() -> None:
    goal = MEAN + np.array([0.01, -0.015, 0.005])
    image = recentred(PRIOR, goal).image
    assert image.dtype == np.float32
    np.testing.assert_allclose(image.mean(axis=(0, 1)), goal, atol=1e-3)
    inside = ((image > 0) & (image < 1)).all(axis=2)
    change = (image - PRIOR.image)[inside]
    np.testing.assert_allclose(change, np.broadcast_to(goal - MEAN, change.shape), atol=1e-6)


def test_a_frame_moves_by_a_fiftieth_at_most_and_stays_within_bounds() -> None:
    for goal in (0.0, 1.0):
        image = recentred(PRIOR, np.full(3, goal)).image
        assert np.abs(image - PRIOR.image).max() == pytest.approx(0.02, abs=1e-6)
        assert image.min() >= 0
        assert image.max() <= 1


def test_static_pixels_stay_and_a_still_frame_stays_whole() -> None:
    static = np.zeros((20, 30, 1), bool)
    static[:, :15] = True
    goal = MEAN + 0.01
    some = recentred(replace(PRIOR, static=static), goal).image
    assert np.array_equal(some[:, :15], PRIOR.image[:, :15])
    assert (some[:, 15:] > PRIOR.image[:, 15:]).all()
    static[:, :16] = True
    assert recentred(replace(PRIOR, static=static), goal).image is PRIOR.image


@pytest.mark.parametrize(
    ("options", "held"),
    [
        ({}, True),
        ({"style_layers": ("relu2_1", "relu3_1")}, False),
        ({"style_weight": 0.0}, False),
        ({"content_weight": 0.5}, False),
        ({"content_weight": 0.15}, True),
    ],
)
def test_the_mean_is_held_by_a_strong_style_loss_with_a_layer_of_the_first_block(
    options: dict[str, Any], held: bool
) -> None:
    assert is_held(Settings(**options)) == held


def test_only_basic_has_one_mean_colour_that_of_the_blend() -> None:
    styles = (Style(GREY, weight=3.0), Style(np.zeros_like(GREY), weight=1.0))
    for name, technique in TECHNIQUES.items():
        found = technique().mean_color(styles)
        if name == "basic":
            np.testing.assert_allclose(found, 0.375)
        else:
            assert found is None


def start_of(steps_next: Any, **options: Any) -> Image:
    """The image at the first evaluation of a later frame."""
    layers: dict[str, Any] = {"style_layers": LAYERS, "content_layers": LAYERS[1:2]}
    settings = Settings(steps_next=steps_next, **{**layers, **options})
    engine = Stylizer([Style(stripes(20, 30))], settings=settings, encoder=TinyEncoder())
    starts: list[Image] = []
    engine.stylize(
        disc(20, 30), prior=PRIOR, progress=lambda count, total, image: starts.append(image())
    )
    return starts[0]


def test_it_is_for_adaptive_numbers_of_evaluations() -> None:
    goal = stripes(20, 30).mean(axis=(0, 1))
    before, after = (
        np.abs(start_of(steps).mean(axis=(0, 1)) - goal).max() for steps in (2, "auto")
    )
    assert np.array_equal(start_of(2), PRIOR.image)
    assert after < before - 0.01
    assert np.array_equal(start_of("auto", content_weight=1.0), PRIOR.image)
