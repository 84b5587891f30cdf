"""The prior from the previous frame: cuts, static areas, disocclusions, trails."""

import itertools
import os
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from moving_frames import HEIGHT, INNER, WIDTH, clouds, constant, with_disc

from vidstyle.coherence.warm_start import prior, static
from vidstyle.motion.flow import optical_flow
from vidstyle.motion.warp import warp


@pytest.mark.parametrize("bars", [0, 14, 36])
@pytest.mark.parametrize("light", [1.0, 0.2])
def test_there_is_no_prior_across_a_hard_cut(bars, light):
    first, second = (clouds(seed) * np.float32(light) for seed in (5, 6))
    for frame in (first, second):
        frame[:bars] = frame[HEIGHT - bars :] = 0
    assert prior(first, second, first) is None


@pytest.mark.parametrize(("before", "after"), [("black", "clouds"), ("clouds", "black")])
def test_there_is_no_prior_across_a_cut_to_or_from_black(before, after):
    frames = {"black": np.zeros((HEIGHT, WIDTH, 3), np.float32), "clouds": clouds(5)}
    assert prior(frames[before], frames[after], clouds(7)) is None


def test_another_flat_colour_is_a_cut_and_the_same_one_is_not():
    red, blue = (np.full((HEIGHT, WIDTH, 3), c, np.float32) for c in ((1, 0, 0), (0, 0, 1)))
    assert prior(red, blue, clouds(7)) is None
    same = prior(red, red, clouds(7))
    assert same is not None
    assert (same.confidence == 1).all()


def test_a_static_frame_keeps_the_result_bit_for_bit():
    result = clouds(8)
    same = prior(clouds(7), clouds(7), result)
    assert same is not None
    assert np.array_equal(same.image, result)
    assert (same.confidence == 1).all()


def test_sensor_noise_does_not_move_a_static_frame():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 2 / 255, (2, HEIGHT, WIDTH, 3)).astype(np.float32)
    first, second = np.clip(clouds(7) + noise, 0, 1)
    same = prior(first, second, clouds(8))
    assert same is not None
    assert (same.confidence == 1).mean() > 0.99
    assert np.array_equal(same.image, clouds(8))


def test_static_areas_beside_a_moving_disc_are_bit_identical():
    earlier, frame = (with_disc(clouds(3), x)[0] for x in (40, 44))
    result = clouds(8)
    follows = prior(earlier, frame, result)
    assert follows is not None
    assert np.array_equal(follows.image[:, 100:], result[:, 100:])
    assert not np.array_equal(follows.image[40:56, 40:50], result[40:56, 40:50])


def test_the_result_moves_with_the_frame():
    picture, result = clouds(7), clouds(8)
    follows = prior(picture, np.roll(picture, 4, axis=1), result)
    assert follows is not None
    assert np.abs(follows.image - np.roll(result, 4, axis=1))[INNER].mean() < 0.01


@pytest.mark.parametrize("size", [(1, 1), (2, 9), (8, 8), (8, 200), (12, 64), (16, 16), (33, 17)])
def test_tiny_frames_have_a_prior_of_their_shape_and_range(size):
    picture = np.random.default_rng(0).random((*size, 3), dtype=np.float32)
    follows = prior(picture, picture, picture)
    assert follows is not None
    assert follows.image.shape == (*size, 3)
    assert follows.confidence.shape == (*size, 1)
    assert optical_flow(picture, 1 - picture).shape == (*size, 2)


def test_everything_is_float32_within_0_to_1():
    picture = clouds(7)
    follows = prior(picture, warp(picture, constant(1.5, 0.5)), clouds(8))
    assert follows is not None
    assert follows.image.dtype == follows.confidence.dtype == np.float32
    assert optical_flow(picture, clouds(8)).dtype == np.float32
    for values in (follows.image, follows.confidence):
        assert values.min() >= 0
        assert values.max() <= 1


@pytest.mark.skipif("VIDSTYLE_FOOTAGE" not in os.environ, reason="VIDSTYLE_FOOTAGE is not set")
def test_cuts_are_found_between_and_not_within_real_shots():
    shots = []
    for folder in sorted(Path(os.environ["VIDSTYLE_FOOTAGE"], "davis").glob("*/frames")):
        frames = [cv2.imread(str(path)) for path in sorted(folder.glob("*.jpg"))[:2]]
        small = [cv2.resize(f, (512, 288), interpolation=cv2.INTER_AREA)[..., ::-1] for f in frames]
        shots.append([frame.astype(np.float32) / 255 for frame in small])
    assert all(prior(first, second, first) is not None for first, second in shots)
    neighbours = itertools.pairwise(shots)
    assert all(prior(one[0], other[0], one[0]) is None for one, other in neighbours)


def test_disocclusions_take_the_colours_of_the_surrounding_result():
    (earlier, _), (frame, _) = (with_disc(clouds(0), x) for x in (60, 68))
    found = prior(earlier, frame, np.clip(earlier * 0.4 + (0, 0, 0.5), 0, 1).astype(np.float32))
    assert found is not None
    stylised, uncovered = frame * 0.4 + (0, 0, 0.5), found.confidence[..., 0] < 0.1
    assert uncovered.sum() > 50
    assert np.abs(found.image - stylised)[uncovered].mean() < 0.12
    assert np.abs(frame - stylised)[uncovered].mean() > 0.2


def test_a_moving_object_leaves_no_trail() -> None:
    """Source and result are identical, so any difference after a chain of priors is a trail."""
    ground = cv2.GaussianBlur(np.random.default_rng(3).random((96, 160, 3), np.float32), (0, 0), 4)
    frames = []
    for x in range(30, 80, 5):
        frame = np.clip(0.5 + (ground - 0.5) * 3, 0, 1)
        cv2.fillPoly(frame, [np.array([[x, 70], [x + 30, 70], [x + 30, 20]])], (0.8, 0.3, 0.2))
        frames.append(frame)
    carried = frames[0]
    for before, frame in pairwise(frames):
        found = prior(before, frame, carried)
        assert found is not None
        carried = found.image
    behind = np.s_[15:75, 25:70]
    assert np.abs(carried - frames[-1])[behind].mean() < 0.005


def test_strokes_stay_where_the_light_changes() -> None:
    """Half of the frame darkens: its strokes are kept at the new brightness."""
    rows, columns = np.mgrid[:96, :144].astype(np.float32)
    strokes = (0.1 * np.sin(columns * 0.9 + rows * 0.4))[..., None]
    earlier = np.repeat(clouds(5).mean(axis=2, keepdims=True), 3, axis=2) * 0.3 + 0.5
    frame = earlier.copy()
    frame[:, 72:] *= 0.5
    found = prior(earlier, frame, np.clip(earlier + strokes, 0, 1).astype(np.float32))
    assert found is not None
    dark = np.s_[8:-8, 88:136]
    assert found.confidence[dark].mean() < 0.1
    kept = (found.image - frame)[dark]
    likeness = np.corrcoef(kept.mean(axis=2).ravel(), strokes[dark][..., 0].ravel())[0, 1]
    assert likeness > 0.8
    assert 0.5 < kept.std() / strokes[dark].std() < 1.3
    assert abs(found.image[dark].mean() - frame[dark].mean()) < 0.05


def test_disocclusions_start_from_the_initial_image_of_a_first_frame() -> None:
    """The initial image of a drawing has the style's colours; disocclusions take them."""
    (earlier, _), (frame, _) = (with_disc(clouds(0), x) for x in (60, 68))
    initial_images = [
        (drawn * 0.2 + np.float32([0.7, 0.1, 0.1])).astype(np.float32) for drawn in (earlier, frame)
    ]
    found = prior(earlier, frame, initial_images[0], (initial_images[0], initial_images[1]))
    assert found is not None
    uncovered = found.confidence[..., 0] < 0.1
    assert np.abs(found.image - initial_images[1])[uncovered].mean() < 0.02


def test_static_pixels_do_not_move_and_match_the_first_frame() -> None:
    first = clouds(7)
    changed = first.copy()
    changed[:48, :72] += 2 / 255  # below the noise threshold
    found = prior(changed, changed, clouds(8))
    assert found is not None
    left = static(found, first, changed)
    assert left.shape == (HEIGHT, WIDTH, 1)
    assert not left[:40, :64].any()
    assert left[58:, 82:].all()


def test_moving_pixels_are_not_static() -> None:
    first, second = clouds(7), np.roll(clouds(7), 3, axis=1)
    found = prior(first, second, clouds(8))
    assert found is not None
    assert static(found, second, second).mean() < 0.02


@pytest.mark.parametrize("softness", [1, 6])
def test_strokes_across_an_edge_leave_no_trail(softness: int) -> None:
    """A block moves over soft ground; the red outline of the first result does not follow it.

    The flow of the ground next to the block is biased towards the motion of the block.
    """
    ground = cv2.GaussianBlur(0.6 + 0.1 * (clouds(3) - 0.5), (0, 0), softness)
    frames = []
    for x in range(20, 50, 3):
        frame = ground.copy()
        frame[30:66, x : x + 24] = 1 - clouds(9)[30:66, 20:44]
        frames.append(frame.astype(np.float32))
    carried = frames[0].copy()
    carried[28:68, 18:46] = (1, 0.2, 0.1)
    carried[30:66, 20:44] = frames[0][30:66, 20:44]
    for before, frame in pairwise(frames):
        found = prior(before, frame, carried)
        assert found is not None
        carried = found.image
    behind = np.s_[32:64, 22:40]
    assert np.abs(carried - frames[-1])[behind].mean() < 0.05
