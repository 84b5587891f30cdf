"""Moments of weight planes: sparse, as sums and in a window, compared with the plain formula."""

from typing import Any
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

from vidstyle.techniques import _masked_gram
from vidstyle.techniques._masked_gram import plane_moments, planes_of, style_of_planes
from vidstyle.vgg.crop import Window

RANDOM = np.random.default_rng(3)
HEIGHT, WIDTH, CHANNELS = 20, 28, 6
FEATURES = tf.constant(RANDOM.random((HEIGHT, WIDTH, CHANNELS)), tf.float32)
PULL = tf.constant(RANDOM.normal(size=(4, CHANNELS + 1, CHANNELS)), tf.float32)


def bands(soft: bool) -> np.ndarray:
    """Four bands from left to right, which overlap if they are soft."""
    across = (np.arange(WIDTH) + 0.5) / WIDTH * 3
    fall = np.clip(1 - abs(across[:, None] - np.arange(4)), 0, 1)
    fall = fall if soft else np.eye(4)[fall.argmax(axis=1)]
    return np.tile(fall.astype(np.float32), (HEIGHT, 1, 1))


def waves() -> np.ndarray:
    """Four smooth planes, none of them 0 anywhere."""
    row, column = np.mgrid[:HEIGHT, :WIDTH] / WIDTH
    each = [0.5 + 0.4 * np.sin(k + 3 * row + (k + 1) * column) for k in range(4)]
    return np.dstack(each).astype(np.float32)


WEIGHTS = {
    "hard": bands(soft=False),
    "soft": bands(soft=True),
    "smooth": waves(),
    "equal": np.full((HEIGHT, WIDTH, 4), 0.25, np.float32),
    "random": RANDOM.random((HEIGHT, WIDTH, 4)).astype(np.float32),
    "one empty": bands(soft=False) * np.float32([1, 0, 1, 1]),
}


def plain(features: Any, weights: np.ndarray) -> Any:
    total = weights.sum(axis=(0, 1))[:, None, None] + 1e-12
    products = tf.einsum("hwk,hwc,hwd->kcd", weights, features, features)
    return tf.concat([products, tf.einsum("hwk,hwc->kc", weights, features)[:, None]], 1) / total


def with_gradient(function: Any) -> tuple[np.ndarray, np.ndarray]:
    with tf.GradientTape() as tape:
        tape.watch(FEATURES)
        moments = function(FEATURES)
        pulled = tf.reduce_sum(moments * PULL)
    return moments.numpy(), tape.gradient(pulled, FEATURES).numpy()


@pytest.mark.parametrize("held", [64 * 24, 10**9])
@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
def test_moments_and_their_gradient_are_the_plain_formulas(weights: np.ndarray, held: int) -> None:
    expected = with_gradient(lambda features: plain(features, weights))
    with mock.patch.object(_masked_gram, "_HELD", held):
        over = planes_of(weights)
        found = with_gradient(tf.function(lambda features: plane_moments(features, over)))
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=4e-3 * abs(theirs).max())


def test_planes_of_low_rank_are_stored_at_that_rank() -> None:
    tiles = (3 * 4, 64)  # of 8 x 8 cells, the last ones partly beyond the layer
    assert planes_of(WEIGHTS["equal"]).parts.shape == (*tiles, 1)
    assert planes_of(WEIGHTS["random"]).parts.shape == (*tiles, 4)
    assert planes_of(WEIGHTS["hard"]).parts.shape == (*tiles, 0)


def test_the_error_of_a_tiles_weights_is_below_8_bit_rounding() -> None:
    over = planes_of(WEIGHTS["smooth"])
    held = (over.parts @ over.mix).numpy().reshape(-1, 4)[over.untile.numpy()]
    apart = held - WEIGHTS["smooth"].reshape(-1, 4)
    assert np.sqrt(np.mean(apart**2)) < 1e-3


@pytest.mark.parametrize("name", ["hard", "smooth"])
def test_within_a_window_the_distance_is_that_of_the_whole(name: str) -> None:
    window = Window(4, 8, 12, 16)
    inside = np.zeros((HEIGHT, WIDTH, 1), np.float32)
    window.cut(inside)[:] = 1
    weights = WEIGHTS[name] * inside
    goals = plain(tf.square(FEATURES), weights)
    whole = style_of_planes(FEATURES, planes_of(weights), goals)
    part = style_of_planes(window.cut(FEATURES), planes_of(weights, window), goals)
    assert float(part) == pytest.approx(float(whole), rel=2e-3)


def test_one_specification_serves_planes_of_every_kind() -> None:
    traced = tf.function(plane_moments).get_concrete_function(
        tf.TensorSpec(FEATURES.shape, tf.float32),
        planes_of(WEIGHTS["hard"]).specification(),
    )
    for weights in WEIGHTS.values():
        found = traced(FEATURES, planes_of(weights)).numpy()
        expected = plain(FEATURES, weights).numpy()
        np.testing.assert_allclose(found, expected, atol=4e-3 * abs(expected).max())


def test_a_plane_of_one_cell_has_a_gradient_of_its_mean_alone() -> None:
    """One position has no covariance: the rest of its gradient is rounding, and finite."""
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
