"""A first frame starts in the colours of its styles."""

import numpy as np
import pytest

from vidstyle.guides.guide import Guide
from vidstyle.guides.style import Style
from vidstyle.image import Image
from vidstyle.techniques.basic import Basic
from vidstyle.techniques.mask import Mask
from vidstyle.techniques.region import Region


def colours(mean: tuple[float, float, float], spread: float, seed: int) -> Image:
    """Return an image of random colours, correlated between the channels."""
    random = np.random.default_rng(seed)
    values = random.standard_normal((48, 64, 3)) @ (np.eye(3) + random.uniform(-0.3, 0.3, (3, 3)))
    return np.clip(spread * values + mean, 0, 1).astype(np.float32)


def moments(image: Image) -> tuple[np.ndarray, np.ndarray]:
    pixels = image.reshape(-1, 3).astype(np.float64)
    return pixels.mean(axis=0), np.cov(pixels.T)


FRAME = colours((0.5, 0.4, 0.3), 0.08, 1)
ONE, TWO = colours((0.3, 0.5, 0.6), 0.06, 2), colours((0.7, 0.4, 0.4), 0.05, 3)


def test_the_start_has_the_mean_and_covariance_of_the_style() -> None:
    found, goal = moments(Basic().start(FRAME, None, [Style(ONE)])), moments(ONE)
    np.testing.assert_allclose(found[0], goal[0], atol=2e-3)
    np.testing.assert_allclose(found[1], goal[1], atol=4e-4)


def test_several_styles_blend_by_weight_as_their_moments_do() -> None:
    mean, _ = moments(Basic().start(FRAME, None, [Style(ONE, 3.0), Style(TWO, 1.0)]))
    np.testing.assert_allclose(mean, 0.75 * moments(ONE)[0] + 0.25 * moments(TWO)[0], atol=4e-3)


def test_a_nearly_flat_frame_is_not_amplified_without_limit() -> None:
    flat = (0.5 + 1e-3 * (FRAME - FRAME.mean())).astype(np.float32)
    assert Basic().start(flat, None, [Style(TWO)]).std(axis=(0, 1)).max() < 3e-3


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_frame_of_one_colour_has_a_start(value: float) -> None:
    found = Basic().start(np.full((8, 8, 3), value, np.float32), None, [Style(ONE)])
    np.testing.assert_allclose(found, np.broadcast_to(moments(ONE)[0], found.shape), atol=2e-3)


def test_each_mask_starts_in_its_own_style_and_the_rest_is_unchanged() -> None:
    planes = np.zeros((48, 64, 2), np.float32)
    planes[:, :20, 0] = planes[:, 40:, 1] = 1
    found = Mask().start(FRAME, Guide(planes, ("a", "b")), [Style(ONE), Style(TWO)])
    np.testing.assert_array_equal(found[:, 20:40], FRAME[:, 20:40])
    np.testing.assert_allclose(moments(found[:, :20])[0], moments(ONE)[0], atol=4e-3)
    np.testing.assert_allclose(moments(found[:, 40:])[0], moments(TWO)[0], atol=4e-3)


def test_a_region_starts_in_the_colours_of_the_styles_same_region() -> None:
    planes = np.zeros((48, 64, 2), np.float32)
    planes[:, :32, 0] = planes[:, 32:, 1] = 1
    both = np.concatenate([ONE[:, :32], TWO[:, 32:]], axis=1)
    style = Style(both, guide=Guide(planes[:, :, ::-1].copy(), ("b", "a")))
    found = Region().start(FRAME, Guide(planes, ("a", "b")), [style])
    np.testing.assert_allclose(moments(found[:, :32])[0], moments(ONE[:, :32])[0], atol=4e-3)
    np.testing.assert_allclose(moments(found[:, 32:])[0], moments(TWO[:, 32:])[0], atol=4e-3)
