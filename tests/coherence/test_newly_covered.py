"""Pixels to which a mask or label map newly assigns a style are stylised in it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from films import HEIGHT, WIDTH, Film, save, shot
from tiny import LAYERS, TinyEncoder, stripes

from vidstyle.coherence.disocclusion import Areas, WarpedFrame, fill_disoccluded
from vidstyle.coherence.prior import StylizedFrame, TemporalPrior, UnstylizedFrame
from vidstyle.coherence.warm_start import prior_along
from vidstyle.guides.guide import Guide
from vidstyle.image import Image
from vidstyle.motion import bidirectional
from vidstyle.motion.warp import warp
from vidstyle.settings import Settings
from vidstyle.stylizer.problem import FrameProblem
from vidstyle.stylizer.stylizer import Style, Stylizer
from vidstyle.techniques import TECHNIQUES

FRAME = shot(1, speed=0)[0]


def mask(left: int, right: int, weight: float = 1.0) -> np.ndarray:
    plane = np.zeros((HEIGHT, WIDTH, 1), np.float32)
    plane[:, left:right] = weight
    return plane


def found(before: np.ndarray, planes: np.ndarray, result: Image = FRAME) -> TemporalPrior:
    moved = bidirectional.motion(FRAME, FRAME)
    assert moved is not None
    earlier = StylizedFrame(FRAME, result, planes=before)
    return prior_along(moved, earlier, UnstylizedFrame(FRAME, planes=planes))


def test_newly_covered_pixels_are_disoccluded_without_confidence() -> None:
    prior = found(mask(0, 16), mask(0, 24))
    assert prior.disoccluded is not None
    assert prior.disoccluded[:, 16:24].all()
    assert not prior.confidence[:, 16:24].any()
    assert not prior.disoccluded[:, :14].any()
    assert (prior.confidence[:, :14] == 1).all()


def test_an_unchanged_mask_keeps_the_prior_and_a_first_one_reinitializes() -> None:
    usual, same = found(mask(0, WIDTH), mask(0, WIDTH)), found(mask(8, 20), mask(8, 20) + 0.01)
    np.testing.assert_array_equal(usual.confidence, same.confidence)
    assert same.disoccluded is not None
    assert not same.disoccluded.any()
    assert not same.reinitialized
    assert found(mask(0, 0), mask(8, 20)).reinitialized
    assert not found(mask(8, 20), mask(0, 0)).reinitialized


def test_a_mask_that_moves_with_its_object_covers_nothing_new() -> None:
    """A mask that moves with the flow covers nothing new, even by half a pixel at a hard edge."""
    motion = np.full((HEIGHT, WIDTH, 2), (0.5, 0), np.float32)
    moved = bidirectional.Motion(motion, -motion, np.ones((HEIGHT, WIDTH, 1), np.float32))
    along = prior_along(
        moved, StylizedFrame(FRAME, FRAME, planes=mask(8, 20)),
        UnstylizedFrame(warp(FRAME, motion), planes=mask(7, 20)),
    )  # fmt: skip
    assert along.disoccluded is not None
    assert not along.disoccluded[:, 4:-8].any()


def test_confidence_is_the_ratio_of_former_to_present_weight() -> None:
    prior = found(mask(0, WIDTH, 0.3), mask(0, WIDTH, 0.4))
    assert prior.confidence == pytest.approx(np.float32(0.75))


def test_pixels_that_change_region_have_no_confidence() -> None:
    left, right = mask(0, 16), mask(16, WIDTH)
    prior = found(np.dstack([left, right]), np.dstack([mask(0, 24), mask(24, WIDTH)]))
    assert not prior.confidence[:, 16:24].any()
    assert (prior.confidence[:, 30:] == 1).all()


def test_newly_covered_pixels_start_with_the_colours_and_strokes_of_their_plane() -> None:
    """The result is the frame, darker by 0.2 and striped; filled pixels of the plane are too."""
    flat = np.full((HEIGHT, WIDTH, 3), 0.5, np.float32)
    lines = (0.05 * np.sign(np.sin(np.arange(WIDTH) * np.pi / 2 + 0.1)))[:, None].astype(np.float32)
    painted = np.where(mask(0, 24) > 0, flat - 0.2 + lines, flat)
    everywhere, new = np.ones((HEIGHT, WIDTH), bool), mask(24, 48)[..., 0] > 0
    image = fill_disoccluded(
        WarpedFrame(painted, flat, mask(0, 24)),
        flat,
        mask(0, 48),
        Areas(everywhere & ~new, ~new, new),
    )
    assert image[:, 28:44].mean() == pytest.approx(0.3, abs=0.03)
    assert image[:, 28:44].std() > 0.4 * painted[:, 4:20].std()
    np.testing.assert_allclose(image[:, :20], painted[:, :20], atol=1e-6)


def test_pixels_that_change_region_get_the_strokes_of_the_new_one() -> None:
    flat = np.full((HEIGHT, WIDTH, 3), 0.5, np.float32)
    lines = (0.1 * np.sign(np.sin(np.arange(WIDTH) * np.pi / 2 + 0.1)))[:, None].astype(np.float32)
    before, planes = (np.dstack([mask(0, at), mask(at, WIDTH)]) for at in (32, 16))
    painted = np.where(before[..., :1] > 0, flat, flat + lines)
    new = (planes != before).any(axis=2)
    image = fill_disoccluded(
        WarpedFrame(painted, flat, before), flat, planes, Areas(~new, ~new, new)
    )
    assert image[:, 20:32].std() > 0.02
    planes[..., 0], planes[..., 1] = mask(0, 48)[..., 0], mask(48, WIDTH)[..., 0]
    new = (planes != before).any(axis=2)
    image = fill_disoccluded(
        WarpedFrame(painted, flat, before), flat, planes, Areas(~new, ~new, new)
    )
    assert image[:, 34:46].std() < 1e-3


def test_newly_covered_pixels_are_stylised_as_strongly_as_the_rest() -> None:
    """Regression: a wipe over a still picture kept newly covered pixels at the source."""
    settings = Settings(
        steps=40, steps_next=15, style_layers=LAYERS, content_layers=LAYERS[1:2], tv_weight=0
    )
    engine = Stylizer(
        [Style(stripes(40, 48))],
        settings=settings, technique=TECHNIQUES["mask"](), encoder=TinyEncoder(),
    )  # fmt: skip
    small, grown = (
        Guide.from_arrays([plane[..., 0]], ("m",)) for plane in (mask(0, 24), mask(0, 40))
    )
    painted = engine.stylize(FRAME, guide=small).image
    priors = (found(before, grown.planes, painted) for before in (small.planes, grown.planes))
    new, old = (engine.stylize(FRAME, guide=grown, prior=prior).image for prior in priors)
    changed = np.abs(new - FRAME)[:, 26:38].mean()
    assert changed > 2 * np.abs(old - FRAME)[:, 26:38].mean()
    assert changed > 0.5 * np.abs(painted - FRAME)[:, 4:20].mean()


def test_in_a_run_a_first_mask_reinitializes_and_a_growing_one_does_not(
    film: Film, tmp_path: Path
) -> None:
    masks = [np.repeat(mask(0, right), 3, axis=2) for right in (0, 0, 16, 24)]
    place = save(tmp_path / "masks", masks)
    events: list[Any] = []
    film.run(film.job("wipe", [FRAME] * 4, technique="mask", mask=place), events.append)
    assert [event.evaluations for event in events if event.name == "frame"] == [0, 0, 8, 4]


def test_tv_weight_is_higher_in_disoccluded_pixels() -> None:
    prior = found(mask(0, 16), mask(0, 24))
    smooth = FrameProblem(FRAME, None, False, prior).smoothness
    assert smooth[:, 20].min() > 2
    np.testing.assert_allclose(smooth[:, :14], 0.1, rtol=1e-6)  # the temporal loss constrains them
    nothing = replace(prior, confidence=np.zeros_like(prior.confidence), disoccluded=None)
    np.testing.assert_allclose(FrameProblem(FRAME, None, False, nothing).smoothness, 0.6, rtol=1e-6)
    assert (FrameProblem(FRAME, None, False).smoothness == 1).all()
