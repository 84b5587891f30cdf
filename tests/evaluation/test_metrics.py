"""Metrics on synthetic warps with known flow."""

import cv2
import numpy as np
import pytest

from vidstyle.evaluation import metrics
from vidstyle.motion.warp import sample

HEIGHT, WIDTH = 60, 80
RANDOM = np.random.default_rng(8)


def texture(seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).random((HEIGHT, WIDTH, 3), np.float32)
    return np.clip(0.5 + 4 * (cv2.GaussianBlur(noise, (0, 0), 1.5) - 0.5), 0, 1)


def uniform(x: float, y: float) -> np.ndarray:
    return np.full((HEIGHT, WIDTH, 2), (x, y), np.float32)


EVERYWHERE = np.ones((HEIGHT, WIDTH), bool)


@pytest.mark.parametrize("shift", [(0, 0), (3, 0), (0, -2), (4, 5)])
def test_a_frame_that_follows_the_flow_has_no_error(shift: tuple[int, int]) -> None:
    x, y = shift
    earlier = texture()
    later = np.roll(earlier, (y, x), axis=(0, 1))  # content moves by (x, y)
    inside = np.zeros_like(EVERYWHERE)
    inside[8:-8, 8:-8] = True
    there, back = uniform(x, y), uniform(-x, -y)
    assert metrics.warping_error_lai(earlier, later, there, inside) == pytest.approx(0, abs=1e-12)
    assert metrics.warping_error_ruder(later, earlier, back, inside) == pytest.approx(0, abs=1e-12)


def test_the_errors_match_their_formulas_to_a_millionth() -> None:
    other, flow = texture(), uniform(-2.5, 1.25)
    change = RANDOM.normal(0, 0.05, other.shape).astype(np.float32)
    frame = (sample(other, flow) + change).astype(np.float32)
    visible = RANDOM.random((HEIGHT, WIDTH)) < 0.7
    squares = np.square(change.astype(np.float64)).sum(axis=2) / 3
    lai = (squares * visible).sum() / visible.sum()
    ruder = (squares * visible).sum() / visible.size
    found = metrics.warping_error_lai(frame, other, flow, visible)
    assert found == pytest.approx(lai, abs=1e-6)
    found = metrics.warping_error_ruder(frame, other, flow, visible)
    assert found == pytest.approx(ruder, abs=1e-6)
    assert ruder == pytest.approx(lai * metrics.coverage(visible))


def test_lanczos_sampling_sees_no_change_in_a_half_pixel_move() -> None:
    """The texture is moved exactly, in its Fourier series, without blur."""
    noise = np.tile(np.random.default_rng(2).random((HEIGHT, WIDTH, 3), np.float32), (1, 3, 1))
    later = np.clip(cv2.GaussianBlur(noise, (0, 0), 1), 0, 1)[:, WIDTH : 2 * WIDTH]
    flow = uniform(0.5, 0)
    turned = np.exp(2j * np.pi * np.fft.fftfreq(WIDTH) * 0.5)[None, :, None]
    earlier = np.fft.ifft(np.fft.fft(later, axis=1) * turned, axis=1).real.astype(np.float32)
    inside = np.zeros_like(EVERYWHERE)
    inside[:, 8:-8] = True
    exact = metrics.warping_error_lanczos(earlier, later, flow, inside)
    assert exact < 0.1 * metrics.warping_error_lai(earlier, later, flow, inside)


def test_a_bilinear_warp_of_the_previous_frame_has_a_lai_error_but_no_ruder_error() -> None:
    earlier = texture()
    later = sample(earlier, uniform(-0.5, 0))
    inside = np.zeros_like(EVERYWHERE)
    inside[:, 8:-8] = True
    assert metrics.warping_error_ruder(later, earlier, uniform(-0.5, 0), inside) == 0
    lai = metrics.warping_error_lai(earlier, later, uniform(0.5, 0), inside)
    twice = sample(later, uniform(0.5, 0))
    assert lai == pytest.approx(np.square(earlier - twice)[inside].mean(), rel=1e-5)
    assert lai > 1e-5


def test_lanczos_differs_from_lai_in_sampling_only() -> None:
    earlier, flow = texture(), uniform(-3, 2)
    change = RANDOM.normal(0, 0.05, earlier.shape).astype(np.float32)
    later = (np.roll(earlier, (-2, 3), axis=(0, 1)) + change).astype(np.float32)
    visible = RANDOM.random((HEIGHT, WIDTH)) < 0.7
    visible[:, :4] = visible[-4:] = False
    found = metrics.warping_error_lanczos(later, earlier, flow, visible)
    assert found == pytest.approx(
        metrics.warping_error_lai(later, earlier, flow, visible), abs=1e-6
    )
    assert np.isnan(metrics.warping_error_lanczos(later, earlier, flow, ~EVERYWHERE))


def test_warping_samples_between_pixels() -> None:
    ramp = np.repeat(np.linspace(0, 1, WIDTH, dtype=np.float32)[None, :, None], HEIGHT, axis=0)
    ramp = np.repeat(ramp, 3, axis=2)
    moved = sample(ramp, uniform(0.5, 0))
    step = 1 / (WIDTH - 1)
    np.testing.assert_allclose(moved[:, :-1], ramp[:, :-1] + step / 2, atol=1e-6)


def test_without_visible_pixels_lai_is_nan_and_ruder_is_0() -> None:
    nowhere = ~EVERYWHERE
    assert np.isnan(metrics.warping_error_lai(texture(), texture(1), uniform(0, 0), nowhere))
    assert metrics.warping_error_ruder(texture(), texture(1), uniform(0, 0), nowhere) == 0


def test_pixels_that_leave_the_frame_or_are_inconsistent_are_not_visible() -> None:
    visible = metrics.visible(uniform(-10, 0), uniform(10, 0))
    assert not visible[:, :9].any()
    assert visible[:, 12:].all()
    assert not metrics.visible(uniform(-3, 0), uniform(-3, 0)).any()


def test_flicker_is_the_change_in_static_areas() -> None:
    flow = uniform(0, 0)
    flow[:, WIDTH // 2 :] = 2
    earlier, later = texture(), texture()
    later[:, : WIDTH // 2] += 0.1
    later[:, WIDTH // 2 :] += 0.5
    assert metrics.flicker(later, earlier, flow) == pytest.approx(0.1, abs=1e-6)
    assert np.isnan(metrics.flicker(later, earlier, uniform(1, 0)))


def test_blur_lowers_sharpness_and_grey_has_no_contrast() -> None:
    sharp = texture()
    assert metrics.sharpness(cv2.GaussianBlur(sharp, (0, 0), 2)) < 0.6 * metrics.sharpness(sharp)
    left = np.zeros(sharp.shape[:2], bool)
    left[:, : WIDTH // 2] = True
    halves = [metrics.sharpness(sharp, inside) for inside in (left, ~left)]
    assert np.mean(halves) == pytest.approx(metrics.sharpness(sharp))
    assert halves[0] != halves[1]
    grey = np.full_like(sharp, 0.5)
    assert metrics.sharpness(grey) == metrics.contrast(grey) == 0
    half = grey.copy()
    half[:, : WIDTH // 2] = 0
    assert metrics.contrast(half) == pytest.approx(0.25, abs=1e-6)
    np.testing.assert_allclose(metrics.mean_color(half), 0.25, atol=1e-6)


def test_legibility_falls_only_if_the_subject_is_redrawn() -> None:
    source = texture()
    subject = np.zeros_like(EVERYWHERE)
    subject[20:40, 20:50] = True
    faded = 0.4 + 0.2 * source
    assert metrics.legibility(faded, source, subject) == pytest.approx(1, abs=1e-5)
    torn = source.copy()
    torn[18:42, 18:52] = texture(5)[18:42, 18:52]
    assert metrics.legibility(torn, source, subject) < 0.3
    far = np.zeros_like(subject)
    far[50:, 60:] = True
    assert metrics.legibility(torn, source, far) == pytest.approx(1, abs=1e-5)
    assert np.isnan(metrics.legibility(source, source, ~EVERYWHERE))
    assert metrics.legibility(np.full_like(source, 0.5), source, subject) == 0


def test_legibility_includes_two_pixels_around_the_subject() -> None:
    source = texture()
    subject = np.zeros_like(EVERYWHERE)
    subject[30, 40] = True
    beside = source.copy()
    beside[32:36] = texture(5)[32:36]
    assert metrics.legibility(beside, source, subject) < 0.9


def test_specks_are_single_pixels_of_another_colour() -> None:
    frame = np.full((HEIGHT, WIDTH, 3), 0.5, np.float32)
    frame[:, WIDTH // 2 :] = (0.8, 0.2, 0.2)  # an edge of colour is no speck
    assert metrics.specks(frame) == 0
    speckled = frame.copy()
    speckled[5:50:5, 5:35:5] = (0.1, 0.3, 0.9)
    assert metrics.specks(speckled) == pytest.approx(9 * 6 / frame[..., 0].size * 1e4)
    brighter = frame.copy()
    brighter[5:50:5, 5:35:5] = 0.9  # luma alone
    assert metrics.specks(brighter) == 0


def test_periodicity_is_high_for_a_mesh_and_low_for_random_texture() -> None:
    rows, columns = np.indices((HEIGHT, WIDTH))
    mesh = np.where((rows // 4 + columns // 4) % 2, 0.6, 0.4).astype(np.float32)
    mesh = np.repeat(mesh[..., None], 3, axis=2)
    loose = metrics.texture_periodicity(texture())
    assert metrics.texture_periodicity(mesh) > 2 * loose
    striped = texture()
    striped[30:] = np.where(columns[30:] // 4 % 2, 0.65, 0.35)[..., None]  # a part of the frame
    assert metrics.texture_periodicity(striped) > 1.3 * loose
    assert metrics.texture_periodicity(np.full_like(mesh, 0.5)) == 0
    tall = np.where(rows // 20 % 2, 0.6, 0.4).astype(np.float32)[..., None] * np.ones(3, np.float32)
    faint = 0.02 * (texture(3) - 0.5)
    assert metrics.texture_periodicity(tall[:19] + faint[:19]) < 0.6  # no structure, one band
