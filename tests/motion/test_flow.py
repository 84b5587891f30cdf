"""Optical flow: accuracy, static pixels, tiny and large frames."""

import cv2
import numpy as np
import pytest
from moving_frames import INNER, clouds, constant

from vidstyle.motion.flow import optical_flow
from vidstyle.motion.warp import warp


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


def test_an_initial_flow_finds_a_large_displacement():
    picture = clouds(1)
    far = (61.0, 0.0)
    moved = np.roll(picture, -61, axis=1)
    there = np.s_[16:-16, 8:60]
    alone, initialised = optical_flow(moved, picture), optical_flow(moved, picture, constant(59, 1))
    assert np.linalg.norm(alone - far, axis=2)[there].mean() > 10
    assert np.linalg.norm(initialised - far, axis=2)[there].mean() < 0.1


@pytest.mark.parametrize("size", [(1, 1), (9, 40)])
def test_tiny_frames_accept_an_initial_flow(size):
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


def test_a_flat_area_moves_with_a_pan():
    first = clouds(7)
    first[24:72, 40:104] = 0.5
    flow = optical_flow(first, np.roll(first, 3, axis=1))
    assert np.linalg.norm(flow[24:72, 40:104] - (3, 0), axis=2).max() < 1


def test_a_large_frame_uses_the_coarser_scale():
    picture = clouds(0, 1000, 1010)
    flow = optical_flow(np.roll(picture, (2, 3), axis=(0, 1)), picture)
    assert np.linalg.norm(flow - (-3, -2), axis=2)[INNER].mean() < 0.1


def test_a_slow_pan_over_a_soft_picture_is_not_static() -> None:
    """The frames differ by less than noise would, but the strokes move ten pixels a second."""
    soft = 0.5 + 0.3 * (cv2.GaussianBlur(clouds(7), (0, 0), 1) - 0.5)
    moved = warp(soft, constant(0.3, 0.1))
    assert np.abs(moved - soft).mean() < 1 / 255
    flow = optical_flow(moved, soft)
    assert np.linalg.norm(flow - (0.3, 0.1), axis=2)[INNER].mean() < 0.1
