"""Stylizer with a tiny fixed encoder; and once with the real VGG-19."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tiny import LAYERS, TinyEncoder, disc, stripes

from vidstyle.coherence.prior import TemporalPrior
from vidstyle.errors import SettingsError, UsageError
from vidstyle.image import Image, resize
from vidstyle.settings import Settings
from vidstyle.stylizer.problem import FrameProblem
from vidstyle.stylizer.pyramid import evaluations_at
from vidstyle.stylizer.stylizer import Style, Stylizer


def stylizer(*styles: Style, **options: Any) -> Stylizer:
    """A stylizer on the tiny encoder."""
    defaults = {"steps": 12, "steps_next": 6, "style_layers": LAYERS, "content_layers": LAYERS[1:2]}
    return Stylizer(
        styles or (Style(stripes(40, 48)),),
        settings=Settings(**{**defaults, **options}),
        encoder=TinyEncoder(),
    )


FRAME = disc(32, 48)
TRUSTED = np.ones((32, 48, 1), np.float32)


def test_the_loss_falls_and_pixels_stay_within_bounds() -> None:
    one, many = (stylizer(steps=steps).stylize(FRAME) for steps in (1, 25))
    assert many.losses["style"] < 0.5 * one.losses["style"]
    assert many.image.dtype == np.float32
    assert many.image.shape == FRAME.shape
    assert many.image.min() >= 0
    assert many.image.max() <= 1


def test_three_frames_take_one_trace() -> None:
    engine = stylizer()
    result = engine.stylize(FRAME)
    for shift in (0.52, 0.54):
        result = engine.stylize(disc(32, 48, x=shift), prior=TemporalPrior(result.image, TRUSTED))
    assert engine.traces == 1


def test_the_same_frame_gives_the_same_bits() -> None:
    first, second = (stylizer().stylize(FRAME).image for _ in range(2))
    assert np.array_equal(first, second)


def test_the_seed_changes_the_picture() -> None:
    first, second = (stylizer(seed=seed).stylize(FRAME).image for seed in (0, 1))
    assert not np.array_equal(first, second)


def test_each_phase_takes_its_own_number_of_steps() -> None:
    engine = stylizer(steps=9, steps_next=4)
    assert engine.stylize(FRAME).evaluations == 9
    assert engine.stylize(FRAME, prior=TemporalPrior(FRAME, TRUSTED)).evaluations == 4


def test_a_large_first_frame_starts_at_256_pixels() -> None:
    counts: list[int] = []
    widths: list[int] = []

    def progress(count: int, total: float, image: Callable[[], Image]) -> None:
        counts.append(count)
        widths.append(image().shape[1])

    result = stylizer(steps=4).stylize(disc(20, 700), progress=progress)
    assert result.evaluations == 8  # four at 256, two at 512, two at 700
    assert counts == [1, 2, 3, 4, 5, 6, 7, 8]
    assert widths == [256] * 4 + [512] * 2 + [700] * 2


def test_a_first_frame_of_512_pixels_costs_at_most_110_evaluations_of_it() -> None:
    steps = Settings().steps
    cost = evaluations_at(steps, finer=False) / 4 + evaluations_at(steps, finer=True)
    assert 100 < cost <= 110


def test_a_finer_level_is_pulled_to_the_coarsest_level() -> None:
    frame = disc(72, 768)
    small = stylizer(steps=20).stylize(resize(frame, 256, 24)).image
    start, problem = resize(small, 768, 72), FrameProblem(frame, None, False)
    step, unlike = stylizer(steps=20).step_at(frame), []
    for coarsest in (None, small):
        large = step.improve(start, problem, 20, lambda *_: None, coarsest=coarsest).image
        unlike.append(np.abs(resize(large, 256, 24) - small).mean())
    assert unlike[1] < 0.2 * unlike[0]


def test_levels_may_round_to_different_sides() -> None:
    assert stylizer(steps=1).stylize(disc(32, 768)).image.shape == (32, 768, 3)


def test_no_steps_give_the_start() -> None:
    result = stylizer(steps_next=0).stylize(FRAME, prior=TemporalPrior(1 - FRAME, TRUSTED))
    assert np.array_equal(result.image, 1 - FRAME)


def test_the_temporal_loss_keeps_the_prior_where_confidence_is_1() -> None:
    earlier = disc(32, 48, x=0.3)
    confidence = TRUSTED.copy()
    confidence[:, 24:] = 0
    moved = {}
    for weight in (0.0, 1000.0):
        image = (
            stylizer(temporal_weight=weight)
            .stylize(FRAME, prior=TemporalPrior(earlier, confidence))
            .image
        )
        moved[weight] = np.abs(image - earlier)[:, :20].mean()
    assert moved[1000.0] < 0.3 * moved[0.0]


def test_a_warm_start_begins_at_the_prior() -> None:
    prior = TemporalPrior(1 - FRAME, np.zeros_like(TRUSTED))
    assert np.array_equal(stylizer(steps_next=1).stylize(FRAME, prior=prior).image, 1 - FRAME)


def test_blended_styles_lie_between_their_parts() -> None:
    plain, warm = stripes(40, 48), np.full((40, 48, 3), (0.9, 0.5, 0.2), np.float32)
    red = [
        stylizer(Style(plain, 1 - share), Style(warm, share), steps=30, content_weight=0.0)
        .stylize(FRAME)
        .image.mean()
        for share in (0.0, 0.5, 1.0)
    ]
    assert min(red[0], red[2]) < red[1] < max(red[0], red[2])


def test_equal_shares_do_not_depend_on_their_scale() -> None:
    styles = stripes(40, 48), disc(30, 30)
    one, ten = (
        stylizer(*(Style(image, weight) for image in styles)).stylize(FRAME).image
        for weight in (1.0, 10.0)
    )
    assert np.array_equal(one, ten)


def test_the_least_recently_used_sizes_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidstyle.stylizer.stylizer._SIZES_KEPT", 5)
    for pixels, kept in ((100_000, 5), (2_000, 3), (0, 1)):
        monkeypatch.setattr("vidstyle.stylizer.stylizer._PIXELS_KEPT", pixels)
        engine = stylizer(steps=1)
        for height in range(20, 27):
            engine.step_at(disc(height, 24))
        assert list(engine._steps) == [(height, 24) for height in range(27 - kept, 27)]


def test_no_style_is_refused() -> None:
    with pytest.raises(UsageError, match="--style"):
        Stylizer([], encoder=TinyEncoder())


def test_a_weight_that_is_no_number_is_refused() -> None:
    with pytest.raises(SettingsError, match="--style-weight"):
        Settings(style_weight=float("nan"))


@pytest.mark.vgg
def test_the_real_network_carries_the_palette() -> None:
    style = stripes(96, 96)
    result = Stylizer([Style(style)]).stylize(disc(96, 96))
    assert result.losses["style"] < 0.2
    pictures = (result.image, disc(96, 96))
    away = [np.abs(picture.mean((0, 1)) - style.mean((0, 1))).sum() for picture in pictures]
    assert away[0] < 0.6 * away[1]
