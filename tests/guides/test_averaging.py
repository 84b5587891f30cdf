"""Averages along the motion: outvoted detections, motion, more frames than are held at once."""

import numpy as np

from vidstyle.guides.averaging import MotionAverage, Step

HEIGHT, WIDTH = 12, 20


def step(dx: float, reliable: float = 1.0) -> Step:
    """Everything moves by dx pixels to the right."""
    flow = np.zeros((HEIGHT, WIDTH, 2), np.float16)
    flow[..., 0] = dx
    certain = np.full((HEIGHT, WIDTH, 1), reliable, np.float16)
    return Step(-flow, flow, certain, certain)


def square(x: int) -> np.ndarray:
    plane = np.zeros((HEIGHT, WIDTH), np.float32)
    plane[4:8, x : x + 4] = 1
    return plane


def means(known: dict[int, np.ndarray], count: int, dx: float = 0.0) -> list[np.ndarray]:
    average = MotionAverage((WIDTH, HEIGHT))
    found: list[np.ndarray] = []
    for index in range(count):
        found += average.add(step(dx) if index else None, known.get(index))
    return [*found, *average.end()]


def test_a_detection_that_disagrees_with_its_neighbours_is_outvoted() -> None:
    found = means({0: square(2), 5: square(12), 10: square(2)}, 11)
    assert all(np.array_equal(mean > 0.5, square(2) > 0.5) for mean in found)


def test_maps_follow_the_motion_forwards_and_backwards() -> None:
    found = means({3: square(6)}, 7, dx=1)
    for index, mean in enumerate(found):
        assert np.array_equal(mean > 0.5, square(3 + index) > 0.5)


def test_a_shot_longer_than_what_is_held_has_a_mean_for_each_frame() -> None:
    found = means({0: square(2), 170: square(12)}, 171)
    assert len(found) == 171
    assert np.array_equal(found[20] > 0.5, square(2) > 0.5)
    assert np.array_equal(found[165] > 0.5, square(12) > 0.5)


def test_without_any_map_the_means_are_0() -> None:
    assert not np.any(means({}, 3))
