"""Warping and composition of flows."""

import numpy as np
from moving_frames import INNER, WIDTH, clouds, constant

from vidstyle.motion.warp import compose_flows, warp


def test_composed_flows_add_along_the_path():
    first, then = constant(5, -3), constant(0, 0)
    then[..., 0] = np.arange(WIDTH)
    whole = compose_flows(first, then)
    np.testing.assert_allclose(
        whole[INNER][..., 0], np.arange(WIDTH)[16:-16] + 10 + 0 * whole[INNER][..., 0]
    )
    np.testing.assert_allclose(whole[INNER][..., 1], -3)


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
