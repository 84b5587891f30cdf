"""Flow, warping, trust and cuts on made frames whose motion is known."""

import cv2
import numpy as np
import pytest

from vidstyle.flow import optical_flow, prior, trust, warp
from vidstyle.media import Image

RANDOM = np.random.default_rng(5)


def texture(height: int, width: int, seed: int = 0) -> Image:
    """Smooth random texture."""
    noise = np.random.default_rng(seed).random((height, width, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.5)
    return (smooth - smooth.min()) / (smooth.max() - smooth.min())


def with_disc(ground: Image, x: int) -> Image:
    """Lay a textured disc over a ground, its middle at column x."""
    rows, columns = np.indices(ground.shape[:2])
    inside = np.hypot(rows - 48, columns - x) < 20
    disc = np.roll(texture(*ground.shape[:2], seed=9), x, axis=1)
    return np.where(inside[..., None], disc, ground)


GROUND = texture(96, 128)


def test_a_translation_is_found_to_a_tenth_of_a_pixel() -> None:
    wide = texture(120, 160)
    a, b = wide[10:106, 10:138], wide[12:108, 13:141]  # what is at p in a is at p − (3, 2) in b
    flow = optical_flow(a, b)[16:-16, 16:-16]
    assert np.hypot(flow[..., 0] + 3, flow[..., 1] + 2).mean() < 0.1


def test_a_whole_number_of_pixels_is_warped_exactly() -> None:
    flow = np.full((96, 128, 2), (5, -3), np.float32)
    warped = warp(GROUND, flow)
    assert np.array_equal(warped[3:, :-5], GROUND[:-3, 5:])


def test_twenty_warps_to_and_fro_keep_the_detail() -> None:
    image = GROUND
    for turn in range(20):
        image = warp(image, np.full((96, 128, 2), 0.5 if turn % 2 else -0.5, np.float32))
    inner = (slice(12, -12), slice(12, -12))
    assert np.abs(image - GROUND)[inner].mean() < 0.01
    assert image.min() >= 0
    assert image.max() <= 1


def test_an_identical_frame_is_trusted_everywhere_and_nothing_moves() -> None:
    result = texture(96, 128, seed=3)
    found = prior(GROUND, GROUND.copy(), result)
    assert found is not None
    assert np.array_equal(found.image, result)
    assert np.all(found.trust == 1)


def test_what_a_moving_disc_uncovers_is_not_trusted() -> None:
    earlier, frame = with_disc(GROUND, 50), with_disc(GROUND, 58)
    believed = trust(optical_flow(frame, earlier), optical_flow(earlier, frame), earlier, frame)
    rows, columns = np.indices((96, 128))
    was, now = (np.hypot(rows - 48, columns - x) < 20 for x in (50, 58))
    assert believed[was & ~now].mean() < 0.3
    assert believed[~was & ~now].mean() > 0.8
    assert believed.shape == (96, 128, 1)
    assert believed.dtype == np.float32


def test_what_comes_into_the_frame_is_not_trusted() -> None:
    wide = texture(96, 148)
    earlier, frame = wide[:, :128], wide[:, 12:140]
    believed = trust(optical_flow(frame, earlier), optical_flow(earlier, frame), earlier, frame)
    assert believed[:, -10:].max() == 0
    assert believed[20:-20, 20:-30].mean() > 0.8


@pytest.mark.parametrize("seed", range(5))
def test_nothing_passes_a_hard_cut(seed: int) -> None:
    assert prior(texture(96, 128, seed), texture(96, 128, seed + 50), GROUND) is None


def test_black_bars_on_both_sides_do_not_hide_a_cut() -> None:
    shots = [texture(96, 128, seed) for seed in (1, 2)]
    for shot in shots:
        shot[:20] = shot[-20:] = 0
    assert prior(shots[0], shots[1], GROUND) is None


def test_a_small_mover_before_a_still_ground_is_no_cut() -> None:
    assert prior(with_disc(GROUND, 30), with_disc(GROUND, 90), GROUND) is not None


def test_sensor_noise_is_no_motion() -> None:
    noisy = [GROUND + RANDOM.normal(0, 0.004, GROUND.shape).astype(np.float32) for _ in range(2)]
    assert np.abs(optical_flow(*noisy)).mean() < 0.05


@pytest.mark.parametrize("shape", [(8, 8), (16, 16), (9, 70), (40, 12)])
def test_tiny_frames_give_a_prior_like_any_other(shape: tuple[int, int]) -> None:
    frame = texture(*shape)
    found = prior(frame, frame, frame)
    assert found is not None
    assert found.trust.shape == (*shape, 1)


def test_flat_frames_are_trusted_where_they_agree() -> None:
    grey = np.full((48, 64, 3), 0.5, np.float32)
    found = prior(grey, grey, grey)
    assert found is not None
    assert np.isfinite(found.image).all()
    assert found.trust.min() == 1


def test_two_computations_give_the_same_bits() -> None:
    other = with_disc(GROUND, 60)
    assert np.array_equal(optical_flow(GROUND, other), optical_flow(GROUND, other))


def test_what_is_uncovered_takes_the_colours_of_the_result_around_it() -> None:
    earlier, frame = with_disc(GROUND, 50), with_disc(GROUND, 58)
    found = prior(earlier, frame, np.clip(earlier * 0.4 + (0, 0, 0.5), 0, 1).astype(np.float32))
    assert found is not None
    stylised = frame * 0.4 + (0, 0, 0.5)
    uncovered = found.trust[..., 0] < 0.1
    assert uncovered.sum() > 50
    assert np.abs(found.image - stylised)[uncovered].mean() < 0.12
    assert np.abs(frame - stylised)[uncovered].mean() > 0.2
