"""Moments of weight planes: sparse, dense and in a window, compared with the direct formula."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from vidstyle.techniques._masked_gram import plane_moments, planes_of, style_of_planes
from vidstyle.vgg.crop import Window

RANDOM = np.random.default_rng(3)
HEIGHT, WIDTH, CHANNELS = 20, 28, 6
FEATURES = tf.constant(RANDOM.random((HEIGHT, WIDTH, CHANNELS)), tf.float32)
UPSTREAM = tf.constant(RANDOM.normal(size=(4, CHANNELS + 1, CHANNELS)), tf.float32)


def vertical_bands(soft: bool) -> np.ndarray:
    """Four bands from left to right, which overlap if they are soft."""
    across = (np.arange(WIDTH) + 0.5) / WIDTH * 3
    fall = np.clip(1 - abs(across[:, None] - np.arange(4)), 0, 1)
    fall = fall if soft else np.eye(4)[fall.argmax(axis=1)]
    return np.tile(fall.astype(np.float32), (HEIGHT, 1, 1))


def smooth_planes() -> np.ndarray:
    """Four smooth planes, none of them 0 anywhere."""
    row, column = np.mgrid[:HEIGHT, :WIDTH] / WIDTH
    each = [0.5 + 0.4 * np.sin(k + 3 * row + (k + 1) * column) for k in range(4)]
    return np.dstack(each).astype(np.float32)


WEIGHTS = {
    "hard": vertical_bands(soft=False),
    "soft": vertical_bands(soft=True),
    "smooth": smooth_planes(),
    "equal": np.full((HEIGHT, WIDTH, 4), 0.25, np.float32),
    "random": RANDOM.random((HEIGHT, WIDTH, 4)).astype(np.float32),
    "one empty": vertical_bands(soft=False) * np.float32([1, 0, 1, 1]),
}


def reference_moments(features: Any, weights: np.ndarray) -> Any:
    total = weights.sum(axis=(0, 1))[:, None, None] + 1e-12
    products = tf.einsum("hwk,hwc,hwd->kcd", weights, features, features)
    return tf.concat([products, tf.einsum("hwk,hwc->kc", weights, features)[:, None]], 1) / total


def with_gradient(function: Any) -> tuple[np.ndarray, np.ndarray]:
    with tf.GradientTape() as tape:
        tape.watch(FEATURES)
        moments = function(FEATURES)
        weighted_sum = tf.reduce_sum(moments * UPSTREAM)
    return moments.numpy(), tape.gradient(weighted_sum, FEATURES).numpy()


@pytest.mark.parametrize("at_once", [64 * 24, 10**9])
@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
def test_moments_and_their_gradient_equal_the_direct_formula(
    weights: np.ndarray, at_once: int
) -> None:
    expected = with_gradient(lambda features: reference_moments(features, weights))
    planes = planes_of(weights)
    actual = with_gradient(tf.function(lambda features: plane_moments(features, planes, at_once)))
    for got, wanted in zip(actual, expected, strict=True):
        np.testing.assert_allclose(got, wanted, atol=4e-3 * abs(wanted).max())


def test_planes_of_low_rank_are_stored_at_that_rank() -> None:
    tiles = (3 * 4, 64)  # of 8 x 8 cells, the last ones partly beyond the layer
    assert planes_of(WEIGHTS["equal"]).parts.shape == (*tiles, 1)
    assert planes_of(WEIGHTS["random"]).parts.shape == (*tiles, 4)
    assert planes_of(WEIGHTS["hard"]).parts.shape == (*tiles, 0)


def test_the_error_of_a_tiles_weights_is_below_8_bit_rounding() -> None:
    planes = planes_of(WEIGHTS["smooth"])
    stored = (planes.parts @ planes.mix).numpy().reshape(-1, 4)[planes.indices.numpy()]
    error = stored - WEIGHTS["smooth"].reshape(-1, 4)
    assert np.sqrt(np.mean(error**2)) < 1e-3


@pytest.mark.parametrize("name", ["hard", "smooth"])
def test_the_distance_in_a_window_equals_that_of_the_whole_layer(name: str) -> None:
    window = Window(4, 8, 12, 16)
    inside = np.zeros((HEIGHT, WIDTH, 1), np.float32)
    window.cut(inside)[:] = 1
    weights = WEIGHTS[name] * inside
    goals = reference_moments(tf.square(FEATURES), weights)
    whole = style_of_planes(FEATURES, planes_of(weights), goals)
    part = style_of_planes(window.cut(FEATURES), planes_of(weights, window), goals)
    assert float(part) == pytest.approx(float(whole), rel=2e-3)


def test_one_specification_fits_sparse_and_dense_planes() -> None:
    @tf.function
    def moments(features: Any, planes: Any) -> Any:
        return plane_moments(features, planes)

    traced = moments.get_concrete_function(
        tf.TensorSpec(FEATURES.shape, tf.float32),
        planes_of(WEIGHTS["hard"]).specification(),
    )
    for weights in WEIGHTS.values():
        found = traced(FEATURES, planes_of(weights)).numpy()
        expected = reference_moments(FEATURES, weights).numpy()
        np.testing.assert_allclose(found, expected, atol=4e-3 * abs(expected).max())


def test_the_gradient_of_a_plane_of_one_cell_is_that_of_its_mean() -> None:
    """One position has no covariance; the gradient of the covariance term is finite rounding."""
    weights = np.zeros((HEIGHT, WIDTH, 1), np.float32)
    weights[7, 9] = 1
    own = FEATURES[7, 9]
    goal_mean = own + 0.5
    spread = tf.eye(CHANNELS) + goal_mean[:, None] * goal_mean[None]
    goal = tf.concat([spread, goal_mean[None]], axis=0)[None]
    with tf.GradientTape() as tape:
        tape.watch(FEATURES)
        loss = style_of_planes(FEATURES, planes_of(weights), goal)
    found = tape.gradient(loss, FEATURES).numpy()
    norms = float(tf.norm(own - goal_mean)), float(tf.norm(goal_mean))
    expected = (own - goal_mean) / (norms[0] * norms[1]) / 2 / (HEIGHT * WIDTH)
    np.testing.assert_allclose(found[7, 9], expected, rtol=1e-3)
    found[7, 9] = 0
    assert not found.any()
