"""Symmetric flows."""

import cv2
import numpy as np
from moving_frames import HEIGHT, INNER, WIDTH, clouds, constant

from vidstyle.motion.bidirectional import symmetrized
from vidstyle.motion.flow import optical_flow
from vidstyle.motion.warp import compose_flows, warp


def test_symmetrized_flows_have_less_error_and_are_inverse() -> None:
    true = cv2.GaussianBlur(
        np.random.default_rng(3).standard_normal((HEIGHT, WIDTH, 2)).astype(np.float32), (0, 0), 16
    )
    true *= 2 / np.abs(true).max()
    earlier = clouds(4)
    later = warp(earlier, true)
    noise = np.random.default_rng(5).normal(0, 3 / 255, (2, *later.shape)).astype(np.float32)
    first, second = np.clip(earlier + noise[0], 0, 1), np.clip(later + noise[1], 0, 1)
    alone = optical_flow(second, first), optical_flow(first, second)
    both = symmetrized(*alone)

    def error(flow: np.ndarray) -> float:
        return float(np.linalg.norm(flow - true, axis=2)[INNER].mean())

    def round_trip(flows: tuple[np.ndarray, np.ndarray]) -> float:
        return float(np.linalg.norm(compose_flows(*flows), axis=2)[INNER].mean())

    assert error(both[0]) < error(alone[0])
    assert round_trip(both) < 0.3 * round_trip(alone)


def test_static_and_disagreeing_pixels_are_not_symmetrized() -> None:
    still, moving = constant(0, 0), constant(0.25, 0)
    assert np.array_equal(symmetrized(still, moving)[0], still)
    apart = constant(4, 0), constant(6, 0)
    assert all(map(np.array_equal, symmetrized(*apart), apart))
