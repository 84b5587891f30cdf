"""Deflicker: output images flicker less than the optimised images and are as sharp."""

from collections.abc import Callable, Iterator
from itertools import pairwise

import cv2
import numpy as np
import pytest
from films import HEIGHT, WIDTH, Film, shot
from numpy.typing import NDArray
from temporal import Recorder
from tiny import LAYERS, TinyEncoder

from vidstyle.coherence import warm_start
from vidstyle.coherence.deflicker import PreviousOutput, deflickered, filtered
from vidstyle.coherence.parameters import DeflickerParameters
from vidstyle.coherence.stylized import Stylized
from vidstyle.evaluation.metrics import sharpness, warping_error_ruder
from vidstyle.guides.guide import Guide
from vidstyle.image import Image, from_uint16
from vidstyle.jobs.manifest import state_path
from vidstyle.media import load_frame
from vidstyle.motion.warp import sample, warp
from vidstyle.settings import Settings
from vidstyle.stylizer.stylizer import Style, Stylizer
from vidstyle.techniques.mask import Mask

EVERYWHERE = np.ones((HEIGHT, WIDTH), bool)
DEFAULTS = DeflickerParameters()
SUPPORT = np.ones((HEIGHT, WIDTH, 1), np.float32)


def uniform(dx: float) -> NDArray[np.float32]:
    return np.full((HEIGHT, WIDTH, 2), (dx, 0), np.float32)


def texture(seed: int = 0, width: int = WIDTH) -> Image:
    """Return an image with strokes about four pixels long."""
    noise = np.random.default_rng(seed).random((HEIGHT, width, 3), np.float32)
    strokes = cv2.GaussianBlur(noise, (0, 0), 1) - cv2.GaussianBlur(noise, (0, 0), 2)
    return np.clip(0.5 + 0.7 * strokes, 0, 1)


def trembling(count: int = 12, noise: float = 0.08) -> list[Image]:
    """Return a still picture with different noise in every frame."""
    random = np.random.default_rng(1)
    whole = texture()
    return [
        np.clip(whole + noise * random.standard_normal(whole.shape, np.float32), 0, 1)
        for _ in range(count)
    ]


def panned(count: int = 12, step: float = 0.5) -> list[Image]:
    """Return a picture that moves by `step` pixels per frame, resampled with Lanczos."""
    wide = texture(width=WIDTH + 32)
    rows, columns = np.indices((HEIGHT, WIDTH), np.float32)
    return [
        np.clip(cv2.remap(wide, columns + 8 + step * i, rows, cv2.INTER_LANCZOS4), 0, 1)
        for i in range(count)
    ]


def redrawn(step: float, noise: float, count: int = 24) -> list[Image]:
    """Return a panned picture with different blurred noise in every frame."""
    random = np.random.default_rng(1)
    apart = (noise * random.standard_normal((HEIGHT, WIDTH, 3), np.float32) for _ in range(count))
    return [
        np.clip(image + cv2.GaussianBlur(other, (0, 0), 1), 0, 1)
        for image, other in zip(panned(count, step), apart, strict=True)
    ]


def all_shown(
    drawn: list[Image],
    dx: float,
    parameters: DeflickerParameters = DEFAULTS,
    resampled: Callable[[np.ndarray, np.ndarray], np.ndarray] = warp,
) -> Iterator[Image]:
    """Yield the output images of `drawn`; the backward flow is dx pixels to the right."""
    seen = EVERYWHERE.copy()
    seen[:, WIDTH - int(np.ceil(dx)) :] = False
    shown = drawn[0]
    yield shown
    for before, image in pairwise(drawn):
        flow = uniform(dx)
        earlier = (resampled(image, flow) for image in (shown, before))
        previous_output = PreviousOutput(*earlier, seen, EVERYWHERE & (dx != 0))
        shown = filtered(image, previous_output, SUPPORT, parameters)
        yield shown


def errors(frames: list[Image], dx: float) -> float:
    pairs = pairwise(frames)
    return float(
        np.mean([warping_error_ruder(now, then, uniform(dx), EVERYWHERE) for then, now in pairs])
    )


def test_flicker_of_a_still_picture_is_removed() -> None:
    drawn = trembling()
    shown = list(all_shown(drawn, 0))
    assert errors(shown, 0) < 0.1 * errors(drawn, 0)
    clean = np.square(texture() - np.array(drawn[6:])).mean()
    assert np.square(texture() - np.array(shown[6:])).mean() < 0.5 * clean


def test_still_pictures_without_flicker_are_not_filtered() -> None:
    drawn = trembling(noise=1 / 255)
    for image, shown in zip(drawn, all_shown(drawn, 0), strict=True):
        assert np.abs(image - shown).max() < 0.1 / 255


def test_moving_pictures_without_flicker_are_not_filtered() -> None:
    drawn = redrawn(1, 1 / 255)
    for image, shown in zip(drawn, all_shown(drawn, 1), strict=True):
        assert np.abs(image - shown).max() < 0.1 / 255


@pytest.mark.parametrize("step", [0.25, 0.5, 1.0])
def test_moving_areas_flicker_less_and_stay_sharp(step: float) -> None:
    drawn = redrawn(step, 0.1)
    shown = list(all_shown(drawn, step))
    assert errors(shown, step) < 0.15 * errors(drawn, step)
    ratios = [sharpness(now) / sharpness(then) for then, now in zip(drawn, shown, strict=True)]
    assert min(ratios) > 0.9
    blurred = list(all_shown(drawn, step, DeflickerParameters(restored=0.0), sample))
    if step % 1:  # at whole pixels bilinear sampling does not blur
        assert sharpness(blurred[-1]) < 0.8 * sharpness(shown[-1])
    assert sharpness(shown[-1]) < 1.1 * sharpness(drawn[-1])


def test_the_filter_decays_over_frames_where_motion_has_stopped() -> None:
    drawn = redrawn(0.5, 0.1)
    *_, shown = all_shown(drawn, 0.5)
    apart = np.abs(shown - drawn[-1]).max()
    assert apart > 0.05
    for _ in range(30):
        previous_output = PreviousOutput.warped(uniform(0), shown, drawn[-1], EVERYWHERE)
        shown = filtered(drawn[-1], previous_output, SUPPORT)
        before, apart = apart, np.abs(shown - drawn[-1]).max()
        assert 0.75 * before < apart < 0.85 * before
    assert apart < 0.5 / 255


def test_static_unchanged_pixels_are_bit_identical() -> None:
    image = texture()
    previous_output = PreviousOutput.warped(uniform(0), image, image, EVERYWHERE)
    assert np.array_equal(filtered(image, previous_output, SUPPORT), image)


def test_disoccluded_and_unstylised_pixels_are_not_filtered() -> None:
    before, image = trembling(2)
    seen, support = EVERYWHERE.copy(), SUPPORT.copy()
    seen[:, :20] = False
    support[:, -20:] = 0
    shown = filtered(image, PreviousOutput.warped(uniform(0), before, before, seen), support)
    assert np.array_equal(shown[:, :20], image[:, :20])
    assert np.array_equal(shown[:, -20:], image[:, -20:])
    assert np.abs(shown - image)[:, 20:-20].mean() > 0.01


def stylizer() -> Stylizer:
    settings = Settings(
        steps=4,
        steps_next=3,
        style_layers=LAYERS,
        content_layers=LAYERS[1:2],
    )
    return Stylizer([Style(texture(3))], technique=Mask(), settings=settings, encoder=TinyEncoder())


def test_deflickering_is_confined_by_the_opacity() -> None:
    first, second = shot(1)[:2]
    planes = np.zeros((HEIGHT, WIDTH, 1), np.float32)
    planes[:, 24:] = 1
    guide = Guide(planes, ("mask",))
    prior = warm_start.prior(first, second, texture(4))
    assert prior is not None
    assert prior.previous_output is not None
    made = stylizer().stylize(second, guide=guide, prior=prior)
    np.testing.assert_array_equal(made.output_image, made.optimised_image)
    found = deflickered(made, second, prior.previous_output)
    assert np.array_equal(found.image[:, :24], second[:, :24])
    assert not np.array_equal(found.image[:, 24:], made.image[:, 24:])
    assert found.optimised_image is made.optimised_image


@pytest.mark.parametrize("weight", [50.0, 0.0])
def test_a_run_without_temporal_weight_is_not_deflickered(film: Film, weight: float) -> None:
    job = film.job("steady", shot(1), temporal_weight=weight)
    film.run(job)
    notes = state_path(job.output) / "frames" / "000001.npz"
    with np.load(notes) as saved:
        assert ("optimised_image" in saved) == (weight > 0)


def test_a_run_saves_output_images_and_continues_from_optimised_images(film: Film) -> None:
    job, recorder = film.job("steady", shot(1)), Recorder()
    film.run(job, coherence=recorder)
    frames = sorted((state_path(job.output) / "frames").glob("*.png"))
    assert len(recorder.previous) == len(frames) - 1
    for file, loaded in zip(frames, recorder.previous, strict=False):
        assert loaded.unblended_image is not None
        assert np.array_equal(load_frame(file), loaded.unblended_image)
    second, loaded = frames[1].with_suffix(".npz"), recorder.previous[1]
    with np.load(second) as notes:
        assert np.array_equal(from_uint16(notes["optimised_image"]), loaded.optimised_image)
    assert not np.array_equal(loaded.optimised_image, loaded.unblended_image)
    first = recorder.previous[0]
    assert np.array_equal(first.optimised_image, first.unblended_image)


def test_output_images_contain_no_source_detail() -> None:
    """Regression: source detail was added in place of finer strokes and was visible."""
    drawn, before = trembling(2)
    previous_output = PreviousOutput.warped(uniform(1), before, before, EVERYWHERE)
    shown = [
        deflickered(Stylized(drawn), source, previous_output).output_image
        for source in (texture(6), texture(7))
    ]
    np.testing.assert_array_equal(*shown)
