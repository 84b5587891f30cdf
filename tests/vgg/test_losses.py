"""Loss terms against NumPy, and their gradients against finite differences."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tiny import plain_style

from vidstyle.vgg import losses

RANDOM = np.random.default_rng(1)
FEATURES = RANDOM.random((5, 6, 4)).astype(np.float32)
IMAGE = RANDOM.random((6, 7, 3)).astype(np.float32)
PRIOR = RANDOM.random((6, 7, 3)).astype(np.float32)
TRUST = RANDOM.random((6, 7, 1)).astype(np.float32)
OTHER = (RANDOM.random((4, 5, 4)) * [1, 0.5, 2, 1]).astype(np.float32)
GRAM = RANDOM.random((4, 4)).astype(np.float32)


def gradient(loss: Callable[[Any], Any], at: np.ndarray) -> np.ndarray:
    x = tf.constant(at)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = loss(x)
    return tape.gradient(value, x).numpy()


def test_gram_is_the_mean_outer_product_over_positions() -> None:
    rows = FEATURES.reshape(-1, 4)
    np.testing.assert_allclose(losses.gram(FEATURES), rows.T @ rows / 30, rtol=1e-5)


def test_moments_are_the_gram_matrix_and_below_it_the_mean() -> None:
    rows = FEATURES.reshape(-1, 4)
    found = losses.moments(FEATURES)
    np.testing.assert_allclose(found[:-1], rows.T @ rows / 30, rtol=1e-5)
    np.testing.assert_allclose(found[-1], rows.mean(axis=0), rtol=1e-5)


def test_the_style_distance_is_that_of_covariances_and_of_means() -> None:
    rows, other = FEATURES.reshape(-1, 4), OTHER.reshape(-1, 4)
    expected = float(plain_style(rows, np.ones(30), other, np.ones(20)))
    covariances, means = (
        [kind(values) for values in (rows, other)]
        for kind in (lambda v: np.cov(v.T, bias=True), lambda v: v.mean(axis=0))
    )
    floor = 0.05**2 * (means[1] ** 2).sum() ** 2
    squares = (
        ((covariances[0] - covariances[1]) ** 2).sum() / ((covariances[1] ** 2).sum() + floor),
        ((means[0] - means[1]) ** 2).sum() / (means[1] ** 2).sum(),
    )
    wanted = sum((d + 1e-5) ** 0.5 - 1e-5**0.5 for d in squares) / 2
    assert expected == pytest.approx(wanted, rel=1e-4)
    found = losses.style(losses.moments(FEATURES), losses.moments(OTHER))
    assert float(found) == pytest.approx(expected, rel=1e-4)
    assert float(losses.style(losses.moments(OTHER), losses.moments(OTHER))) == 0


def test_the_style_distance_is_relative() -> None:
    found = [
        float(losses.style(losses.moments(k * FEATURES), losses.moments(k * OTHER)))
        for k in (1, np.float32(30))
    ]
    assert found[1] == pytest.approx(found[0], rel=1e-3)


@pytest.mark.parametrize("goal", [np.full((5, 6, 4), 0.5), np.zeros((5, 6, 4))], ids=["flat", "0"])
def test_a_style_without_variance_gives_a_finite_gradient(goal: np.ndarray) -> None:
    aim = losses.moments(goal.astype(np.float32))
    pull = gradient(lambda x: losses.style(losses.moments(x), aim), 0.5 + 0.01 * FEATURES)
    assert np.isfinite(pull).all()
    if goal.any():
        assert np.abs(pull).max() < 1


def test_equal_moments_have_a_finite_gradient() -> None:
    aim = losses.moments(FEATURES)
    assert not gradient(lambda x: losses.style(losses.moments(x), aim), FEATURES).any()


def test_shallow_layers_weigh_more_and_weights_add_up_to_one() -> None:
    layers = [f"relu{block}_1" for block in range(1, 6)]
    assert float(losses.over_layers(dict.fromkeys(layers, tf.constant(3.0)))) == pytest.approx(3)
    each = [float(losses.over_layers({layer: tf.constant(1.0)}, layers)) for layer in layers]
    assert sum(each) == pytest.approx(1)
    assert each == sorted(each, reverse=True)
    assert each[0] > 10 * each[4]


def test_gram_does_not_depend_on_how_often_a_texture_repeats() -> None:
    np.testing.assert_allclose(
        losses.gram(np.tile(FEATURES, (3, 2, 1))), losses.gram(FEATURES), rtol=1e-5
    )


def test_a_relative_distance_is_1_from_zeros_and_0_if_equal() -> None:
    assert float(losses.relative(np.zeros_like(GRAM), GRAM)) == pytest.approx(1)
    assert float(losses.relative(GRAM, GRAM)) == 0


def test_total_variation_follows_its_formula() -> None:
    red, green, blue = np.moveaxis(IMAGE.astype(np.float64), 2, 0) * 7 / 512
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    expected = 0.0
    for plane in (luma, 4 * (blue - luma) / 1.772, 4 * (red - luma) / 1.402):
        down, right = plane[1:, :-1] - plane[:-1, :-1], plane[:-1, 1:] - plane[:-1, :-1]
        expected += np.mean(np.sqrt(down**2 + right**2 + 0.02**2) - 0.02)
    found = float(losses.total_variation(tf.constant(IMAGE)))
    assert found == pytest.approx(expected, rel=1e-2)


def test_a_coloured_speck_costs_more_than_a_grey_one() -> None:
    grey, green = (np.full((64, 64, 3), 0.5, np.float32) for _ in range(2))
    grey[32, 32] += 0.2
    green[32, 32, 1] += 0.2
    costs = [float(losses.total_variation(tf.constant(image))) for image in (grey, green)]
    assert costs[1] > 2 * costs[0]


def test_total_variation_of_an_enlarged_ramp_is_that_of_the_ramp() -> None:
    small, large = (
        np.repeat(np.linspace(0, 1, n, dtype=np.float32)[None, :, None], n, 0).repeat(3, 2)
        for n in (64, 128)
    )
    values = [float(losses.total_variation(tf.constant(image))) for image in (small, large)]
    assert values[1] == pytest.approx(values[0], rel=0.05)


def test_temporal_is_the_confidence_weighted_mean_of_squared_differences() -> None:
    expected = (TRUST * (IMAGE - PRIOR) ** 2).sum() / TRUST.sum()
    assert float(losses.temporal(tf.constant(IMAGE), PRIOR, TRUST)) == pytest.approx(
        expected, rel=1e-4
    )


def test_temporal_has_a_gradient_only_where_the_confidence_is_above_0() -> None:
    confidence = TRUST.copy()
    confidence[:3] = 0
    pull = gradient(lambda x: losses.temporal(x, PRIOR, confidence), IMAGE)
    assert np.all(pull[:3] == 0)
    assert np.all(pull[3:] != 0)


def test_a_position_of_higher_tv_weight_is_smoothed_more() -> None:
    image = np.zeros((6, 8, 3), np.float32)
    image[2, 3] = image[2, 6] = 1
    weights = np.ones((6, 8, 1), np.float32)
    weights[1:4, 2:5] = 3
    with tf.GradientTape() as tape:
        x = tf.constant(image)
        tape.watch(x)
        total = losses.total_variation(x, tf.constant(weights))
    gradient = tape.gradient(total, x).numpy()
    np.testing.assert_allclose(gradient[2, 3], 3 * gradient[2, 6], rtol=1e-4)


@pytest.mark.parametrize(
    ("loss", "at"),
    [
        (lambda x: losses.style(losses.moments(x), losses.moments(OTHER)), FEATURES),
        (lambda x: losses.relative(losses.gram(x), GRAM), FEATURES),
        (lambda x: losses.content(x, FEATURES[::-1].copy(), losses.energy(FEATURES)), FEATURES),
        (lambda x: 1e4 * losses.total_variation(x), IMAGE),
        (lambda x: losses.temporal(x, PRIOR, TRUST), IMAGE),
    ],
    ids=["style", "gram", "content", "tv", "temporal"],
)
def test_every_term_has_the_gradient_of_finite_differences(
    loss: Callable[[Any], Any], at: np.ndarray
) -> None:
    direction = RANDOM.normal(0, 1, at.shape).astype(np.float32)
    step = 1e-3
    ahead, behind = (float(loss(tf.constant(at + s * direction))) for s in (step, -step))
    slope = float((gradient(loss, at) * direction).sum())
    assert abs(slope) > 1e-3
    assert slope == pytest.approx((ahead - behind) / (2 * step), rel=0.02, abs=2e-3)
