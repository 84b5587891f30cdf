import itertools
import os
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from vidstyle.coherence.warm_start import prior, static
from vidstyle.image import Image
from vidstyle.motion.flow import compose_flows, confidence, joined, optical_flow, warp

HEIGHT, WIDTH = 96, 144
INNER = np.s_[16:-16, 16:-16]


def clouds(seed: int, height: int = HEIGHT, width: int = WIDTH) -> Image:
    """Return a picture with detail of every size from three pixels on."""
    noise = np.random.default_rng(seed).random((height, width, 3)).astype(np.float32)
    layers = [cv2.GaussianBlur(noise, (0, 0), size) for size in (1.5, 4, 10)]
    picture = sum((layer - layer.mean()) / layer.std() for layer in layers)
    return np.clip(0.5 + 0.1 * picture, 0, 1).astype(np.float32)


def constant(dx: float, dy: float) -> np.ndarray:
    return np.full((HEIGHT, WIDTH, 2), (dx, dy), np.float32)


def with_disc(picture: Image, x: int) -> tuple[Image, np.ndarray]:
    """Return the picture behind a textured disc at this x, and where the disc is."""
    disc = np.hypot(*(np.indices((HEIGHT, WIDTH)).T - (48, x)).T) < 16
    return np.where(disc[..., None], 1 - np.roll(clouds(9), x, axis=1), picture), disc


@pytest.mark.parametrize("shift", [(3.0, -2.0), (0.5, 0.25), (-7.3, 4.6)])
def test_flow_finds_a_translation_to_a_tenth_of_a_pixel(shift):
    picture = clouds(0)
    moved = warp(picture, constant(*shift))
    error = np.linalg.norm(optical_flow(moved, picture) - shift, axis=2)
    assert error[INNER].mean() < 0.1


def test_flow_does_not_depend_on_the_number_of_threads():
    a, b = clouds(0), warp(clouds(0), constant(2.5, 1))
    threads = cv2.getNumThreads()
    flows = []
    try:
        for count in (1, 4, 4):
            cv2.setNumThreads(count)
            flows.append((optical_flow(a, b), optical_flow(a, b, constant(2, 2))))
    finally:
        cv2.setNumThreads(threads)
    assert all(np.array_equal(flows[0], flow) for flow in flows[1:])


def test_a_flow_to_begin_with_finds_what_is_far_away():
    picture = clouds(1)
    far = (61.0, 0.0)
    moved = np.roll(picture, -61, axis=1)
    there = np.s_[16:-16, 8:60]
    alone, begun = optical_flow(moved, picture), optical_flow(moved, picture, constant(59, 1))
    assert np.linalg.norm(alone - far, axis=2)[there].mean() > 10
    assert np.linalg.norm(begun - far, axis=2)[there].mean() < 0.1


def test_flows_follow_one_another():
    first, then = constant(5, -3), constant(0, 0)
    then[..., 0] = np.arange(WIDTH)
    whole = compose_flows(first, then)
    np.testing.assert_allclose(
        whole[INNER][..., 0], np.arange(WIDTH)[16:-16] + 10 + 0 * whole[INNER][..., 0]
    )
    np.testing.assert_allclose(whole[INNER][..., 1], -3)


@pytest.mark.parametrize("size", [(1, 1), (9, 40)])
def test_tiny_frames_take_a_flow_to_begin_with(size):
    picture = clouds(2)[: size[0], : size[1]]
    near = np.zeros((*size, 2), np.float32)
    assert optical_flow(picture, picture, near).shape == (*size, 2)


def test_flow_is_exactly_0_in_black_bars_beside_a_pan():
    first, second = clouds(7), np.roll(clouds(7), 4, axis=1)
    for frame in (first, second):
        frame[:20] = frame[-20:] = 0
    flow = optical_flow(first, second)
    assert (flow[:20] == 0).all()
    assert (flow[-20:] == 0).all()
    assert np.abs(flow[30:-30, 16:-16] - (4, 0)).mean() < 0.1


def test_flow_is_exactly_0_in_a_logo_before_a_pan():
    first, second = clouds(7), np.roll(clouds(7), 3, axis=1)
    for frame in (first, second):
        frame[30:60, 20:80] = np.kron(np.indices((6, 12)).sum(axis=0) % 2, np.ones((5, 5)))[
            ..., None
        ]
    assert (optical_flow(first, second)[33:57, 23:77] == 0).all()


def test_a_pan_carries_a_flat_area_along():
    first = clouds(7)
    first[24:72, 40:104] = 0.5
    flow = optical_flow(first, np.roll(first, 3, axis=1))
    assert np.linalg.norm(flow[24:72, 40:104] - (3, 0), axis=2).max() < 1


def test_a_large_frame_takes_the_coarser_flow():
    picture = clouds(0, 1000, 1010)
    flow = optical_flow(np.roll(picture, (2, 3), axis=(0, 1)), picture)
    assert np.linalg.norm(flow - (-3, -2), axis=2)[INNER].mean() < 0.1


def test_warp_by_a_whole_number_is_exact():
    picture = clouds(1)
    moved = warp(picture, constant(5, -3))
    assert np.array_equal(moved[INNER], np.roll(picture, (3, -5), axis=(0, 1))[INNER])


def test_warp_stays_within_0_to_1_and_mirrors_the_border():
    checks = np.kron(np.indices((12, 18)).sum(axis=0) % 2, np.ones((8, 8)))
    picture = np.repeat(checks[..., None], 3, axis=2).astype(np.float32)
    moved = warp(picture, constant(0.5, 0.5))
    assert moved.min() == 0
    assert moved.max() == 1
    assert np.array_equal(warp(picture, constant(-9, 0))[:, :9], picture[:, 9:0:-1])


def test_twenty_sub_pixel_warps_keep_the_detail():
    picture = clouds(2)
    moved = picture
    for turn in range(20):
        moved = warp(moved, constant(0.5 if turn % 2 else -0.5, 0.3 if turn % 2 else -0.3))
    assert np.abs(moved - picture)[INNER].mean() < 0.01
    assert moved[INNER].std() > 0.98 * picture[INNER].std()


def test_trust_is_0_where_a_disc_uncovers_the_background_and_1_far_away():
    earlier, old_disc = with_disc(clouds(3), 60)
    frame, new_disc = with_disc(clouds(3), 70)
    certainty = confidence(
        optical_flow(frame, earlier), optical_flow(earlier, frame), earlier, frame
    )
    uncovered = old_disc & ~new_disc
    assert (certainty[uncovered] == 0).mean() > 0.95
    assert (certainty[:, :30] == 1).all()
    assert (certainty[:, 110:] == 1).all()


def test_trust_is_0_for_what_comes_from_outside_the_frame():
    picture = clouds(4)
    certainty = confidence(
        constant(-20, 0), constant(20, 0), np.roll(picture, -20, axis=1), picture
    )
    assert (certainty[:, :19] == 0).all()
    assert (certainty[:, 24:] == 1).all()


def test_trust_is_0_where_the_flows_disagree():
    picture = clouds(4)
    certainty = confidence(constant(0, 0), constant(2, 0), picture, picture)
    assert (certainty == 0).all()


def test_trust_is_0_where_the_frames_do_not_look_alike():
    picture = clouds(4)
    painted = picture.copy()
    painted[40:60, 40:60] = (1, 0, 0)
    certainty = confidence(constant(0, 0), constant(0, 0), picture, painted)
    assert (certainty[40:60, 40:60] == 0).all()
    assert (certainty[:30] == 1).all()


def test_trust_is_0_where_something_faint_appears_on_a_flat_ground():
    ground = np.full((HEIGHT, WIDTH, 3), 0.1, np.float32)
    stripes = ground + np.float32(0.15) * (np.arange(WIDTH) % 4 < 2)[None, :, None]
    certainty = confidence(constant(0, 0), constant(0, 0), ground, stripes.astype(np.float32))
    assert (certainty == 0).all()


def test_trust_is_0_at_a_motion_boundary():
    flat = np.full((HEIGHT, WIDTH, 3), 0.5, np.float32)
    flow = np.zeros((HEIGHT, WIDTH, 2), np.float32)
    flow[:, 70:] = (0.5, 0)
    certainty = confidence(flow, -flow, flat, flat)
    assert (certainty[:, 69:71] == 0).all()
    assert (certainty[:, :60] == 1).all()


def test_trust_rises_softly():
    picture = clouds(4)
    certainty = confidence(
        constant(-20, 0), constant(20, 0), np.roll(picture, -20, axis=1), picture
    )
    line = certainty[50, :, 0]
    assert ((line > 0) & (line < 1)).any()
    assert (np.diff(line) >= 0).all()


@pytest.mark.parametrize("bars", [0, 14, 36])
@pytest.mark.parametrize("light", [1.0, 0.2])
def test_a_hard_cut_carries_nothing_over(bars, light):
    first, second = (clouds(seed) * np.float32(light) for seed in (5, 6))
    for frame in (first, second):
        frame[:bars] = frame[HEIGHT - bars :] = 0
    assert prior(first, second, first) is None


@pytest.mark.parametrize(("before", "after"), [("black", "clouds"), ("clouds", "black")])
def test_a_cut_to_or_from_black_carries_nothing_over(before, after):
    frames = {"black": np.zeros((HEIGHT, WIDTH, 3), np.float32), "clouds": clouds(5)}
    assert prior(frames[before], frames[after], clouds(7)) is None


def test_another_flat_colour_is_a_cut_and_the_same_one_is_not():
    red, blue = (np.full((HEIGHT, WIDTH, 3), c, np.float32) for c in ((1, 0, 0), (0, 0, 1)))
    assert prior(red, blue, clouds(7)) is None
    same = prior(red, red, clouds(7))
    assert same is not None
    assert (same.confidence == 1).all()


def test_a_still_frame_keeps_the_result_bit_for_bit():
    result = clouds(8)
    same = prior(clouds(7), clouds(7), result)
    assert same is not None
    assert np.array_equal(same.image, result)
    assert (same.confidence == 1).all()


def test_sensor_noise_does_not_move_a_still_frame():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 2 / 255, (2, HEIGHT, WIDTH, 3)).astype(np.float32)
    first, second = np.clip(clouds(7) + noise, 0, 1)
    same = prior(first, second, clouds(8))
    assert same is not None
    assert (same.confidence == 1).mean() > 0.99
    assert np.array_equal(same.image, clouds(8))


def test_what_is_still_beside_a_moving_disc_stays_bit_for_bit():
    earlier, frame = (with_disc(clouds(3), x)[0] for x in (40, 44))
    result = clouds(8)
    follows = prior(earlier, frame, result)
    assert follows is not None
    assert np.array_equal(follows.image[:, 100:], result[:, 100:])
    assert not np.array_equal(follows.image[40:56, 40:50], result[40:56, 40:50])


def test_a_moving_frame_takes_the_result_along():
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
def test_real_shots_hold_together_and_real_cuts_part():
    shots = []
    for folder in sorted(Path(os.environ["VIDSTYLE_FOOTAGE"], "davis").glob("*/frames")):
        frames = [cv2.imread(str(path)) for path in sorted(folder.glob("*.jpg"))[:2]]
        small = [cv2.resize(f, (512, 288), interpolation=cv2.INTER_AREA)[..., ::-1] for f in frames]
        shots.append([frame.astype(np.float32) / 255 for frame in small])
    assert all(prior(first, second, first) is not None for first, second in shots)
    neighbours = itertools.pairwise(shots)
    assert all(prior(one[0], other[0], one[0]) is None for one, other in neighbours)


def test_what_is_uncovered_takes_the_colours_of_the_result_around_it():
    (earlier, _), (frame, _) = (with_disc(clouds(0), x) for x in (60, 68))
    found = prior(earlier, frame, np.clip(earlier * 0.4 + (0, 0, 0.5), 0, 1).astype(np.float32))
    assert found is not None
    stylised, uncovered = frame * 0.4 + (0, 0, 0.5), found.confidence[..., 0] < 0.1
    assert uncovered.sum() > 50
    assert np.abs(found.image - stylised)[uncovered].mean() < 0.12
    assert np.abs(frame - stylised)[uncovered].mean() > 0.2


def test_what_moves_on_leaves_no_trail() -> None:
    """Source and result are the same here, so what a chain of priors adds is the trail."""
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


def test_where_the_light_changes_the_strokes_stay() -> None:
    """A shutter darkens half of the frame: its strokes are kept, in the dark half's colours."""
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


def test_what_is_uncovered_begins_as_a_first_frame_would() -> None:
    """A drawing in pure colours is begun in those of the style: what is bare takes these."""
    (earlier, _), (frame, _) = (with_disc(clouds(0), x) for x in (60, 68))
    begun = [
        (drawn * 0.2 + np.float32([0.7, 0.1, 0.1])).astype(np.float32) for drawn in (earlier, frame)
    ]
    found = prior(earlier, frame, begun[0], (begun[0], begun[1]))
    assert found is not None
    uncovered = found.confidence[..., 0] < 0.1
    assert np.abs(found.image - begun[1])[uncovered].mean() < 0.02


def test_a_slow_pan_over_a_soft_picture_is_no_stillness() -> None:
    """A third of a pixel a frame changes hardly a value, and moves the strokes ten pixels a second.

    The frames differ by less than noise would; noise alone is still (see above).
    """
    soft = 0.5 + 0.3 * (cv2.GaussianBlur(clouds(7), (0, 0), 1) - 0.5)
    moved = warp(soft, constant(0.3, 0.1))
    assert np.abs(moved - soft).mean() < 1 / 255
    flow = optical_flow(moved, soft)
    assert np.linalg.norm(flow - (0.3, 0.1), axis=2)[INNER].mean() < 0.1


def test_settled_is_what_stands_still_and_is_as_it_was_at_first() -> None:
    first = clouds(7)
    changed = first.copy()
    changed[:48, :72] += 2 / 255  # by less than is seen from frame to frame
    found = prior(changed, changed, clouds(8))
    assert found is not None
    left = static(found, first, changed)
    assert left.shape == (HEIGHT, WIDTH, 1)
    assert not left[:40, :64].any()
    assert left[58:, 82:].all()


def test_nothing_that_moves_is_settled() -> None:
    first, second = clouds(7), np.roll(clouds(7), 3, axis=1)
    found = prior(first, second, clouds(8))
    assert found is not None
    assert static(found, second, second).mean() < 0.02


@pytest.mark.parametrize("softness", [1, 6])
def test_what_strokes_spill_over_an_edge_is_not_drawn_out_behind_it(softness: int) -> None:
    """A block moves off soft ground; its red outline in the first result is no trail in the last.

    The flow of such ground is dragged along by the block, and finds ground again, a little redder.
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


def test_flows_joined_err_less_than_either_and_are_one_anothers_inverse() -> None:
    true = cv2.GaussianBlur(
        np.random.default_rng(3).standard_normal((HEIGHT, WIDTH, 2)).astype(np.float32), (0, 0), 16
    )
    true *= 2 / np.abs(true).max()
    earlier = clouds(4)
    later = warp(earlier, true)
    noise = np.random.default_rng(5).normal(0, 3 / 255, (2, *later.shape)).astype(np.float32)
    first, second = np.clip(earlier + noise[0], 0, 1), np.clip(later + noise[1], 0, 1)
    alone = optical_flow(second, first), optical_flow(first, second)
    both = joined(*alone)

    def missed(flow: np.ndarray) -> float:
        return float(np.linalg.norm(flow - true, axis=2)[INNER].mean())

    def parted(flows: tuple[np.ndarray, np.ndarray]) -> float:
        return float(np.linalg.norm(compose_flows(*flows), axis=2)[INNER].mean())

    assert missed(both[0]) < missed(alone[0])
    assert parted(both) < 0.3 * parted(alone)


def test_joined_flows_leave_what_stands_still_and_what_they_disagree_on() -> None:
    still, moving = constant(0, 0), constant(0.25, 0)
    assert np.array_equal(joined(still, moving)[0], still)
    apart = constant(4, 0), constant(6, 0)
    assert all(map(np.array_equal, joined(*apart), apart))
