"""The optimiser on losses whose minimum is known."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from vidstyle.stylizer.lbfgs import Evaluation, FrequencyFilter, minimise

SHAPE = (12, 17, 3)
TARGET = np.random.default_rng(2).uniform(-0.3, 1.3, SHAPE).astype(np.float32)
START = tf.fill(SHAPE, 0.5)


def bowl(image: Any) -> Evaluation:
    """A valley 100 times steeper in some pixels than in others, lowest at TARGET."""
    steep = 1 + 99 * (np.arange(17)[None, :, None] % 3 == 0).astype(np.float32)
    away = steep * (image - TARGET)
    return Evaluation(float(tf.reduce_sum(away * (image - TARGET))), 2 * away, {})


def test_the_minimum_within_the_bounds_is_found() -> None:
    found = minimise(bowl, START, 250, FrequencyFilter(*SHAPE[:2]))
    np.testing.assert_allclose(found.image, np.clip(TARGET, 0, 1), atol=0.02)


def test_bfloat16_pairs_converge_as_far() -> None:
    least = bowl(tf.clip_by_value(TARGET, 0.0, 1.0)).total
    totals = []
    twelve_pairs = 12 * 2 * 4 * math.prod(SHAPE)  # bytes in float32; in bfloat16 the half
    for pair_bytes in (twelve_pairs, twelve_pairs // 2):
        found = minimise(bowl, START, 30, FrequencyFilter(*SHAPE[:2]), pair_bytes=pair_bytes)
        totals.append(found.last.total - least)
    assert totals[1] < 1.5 * totals[0]


def test_every_image_that_is_tried_lies_within_the_bounds() -> None:
    tried = []

    def watched(image: Any) -> Evaluation:
        tried.append(image.numpy())
        return bowl(image)

    minimise(watched, START, 20, FrequencyFilter(*SHAPE[:2]))
    assert min(image.min() for image in tried) >= 0
    assert max(image.max() for image in tried) <= 1


def test_no_more_evaluations_are_made_than_allowed_and_each_is_reported() -> None:
    seen: list[int] = []
    found = minimise(
        bowl, START, 7, FrequencyFilter(*SHAPE[:2]), lambda count, *_: seen.append(count)
    )
    assert seen == [1, 2, 3, 4, 5, 6, 7]
    assert found.evaluations == 7


def test_the_result_is_never_worse_than_the_start() -> None:
    def rough(image: Any) -> Evaluation:
        found = bowl(image)
        return Evaluation(
            found.total + 1e3 * float(tf.reduce_sum(tf.sin(500 * image))), found.gradient, {}
        )

    start = rough(START).total
    assert minimise(rough, START, 15, FrequencyFilter(*SHAPE[:2])).last.total <= start


def test_a_loss_that_turns_infinite_does_not_spoil_the_picture() -> None:
    def cliff(image: Any) -> Evaluation:
        found = bowl(image)
        total = found.total if float(tf.reduce_max(image)) < 0.6 else float("nan")
        return Evaluation(total, found.gradient, {})

    found = minimise(cliff, START, 20, FrequencyFilter(*SHAPE[:2]))
    assert np.isfinite(found.image).all()
    assert found.last.total < cliff(START).total


def test_a_step_is_bounded_even_if_the_loss_is_nearly_linear() -> None:
    tried = [START]

    def nearly_straight(image: Any) -> Evaluation:
        tried.append(image)
        total = tf.reduce_sum(1 - image + 1e-3 * tf.square(image))
        return Evaluation(float(total), 2e-3 * image - 1, {})

    minimise(nearly_straight, START, 8, FrequencyFilter(*SHAPE[:2]))
    moves = [np.sqrt(np.mean(np.square(b - a))) for a, b in pairwise(tried)]
    assert 0.04 < max(moves) < 0.0501


def test_an_exception_of_progress_ends_the_search() -> None:
    def stop(count: int, total: float, image: Any) -> None:
        if count == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        minimise(bowl, START, 100, FrequencyFilter(*SHAPE[:2]), stop)


WEIGHT = 50 * (np.indices(SHAPE[:2])[1] < 9).astype(np.float32)[..., None]


@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_the_filter_is_symmetric_and_positive_and_favours_slow_changes(
    weight: np.ndarray | None,
) -> None:
    filtered: Any = FrequencyFilter(*SHAPE[:2])
    filtered = filtered if weight is None else filtered.near(weight)
    random = np.random.default_rng(3)
    a, b = (tf.constant(random.normal(0, 1, SHAPE), tf.float32) for _ in range(2))
    dot = lambda x, y: float(tf.reduce_sum(x * y))  # noqa: E731  (two letters, used thrice)
    assert dot(a, filtered(b)) == pytest.approx(dot(filtered(a), b), rel=1e-3, abs=1e-3)
    assert dot(a, filtered(a)) > 0
    even, checks = tf.ones(SHAPE), tf.constant((-1.0) ** np.indices(SHAPE)[:2].sum(0), tf.float32)
    least = 5 if weight is None else 1.5
    assert float(tf.norm(filtered(even))) > least * float(tf.norm(filtered(checks)))


def test_constrained_pixels_do_not_slow_the_others() -> None:
    def watched(image: Any) -> Evaluation:
        away = image - TARGET
        pull = WEIGHT * (image - START)
        total = tf.reduce_sum(away * away) + tf.reduce_sum(pull * (image - START))
        return Evaluation(float(total), 2 * (away + pull), {})

    usual = FrequencyFilter(*SHAPE[:2])
    far, near = (minimise(watched, START, 8, h0).last.total for h0 in (usual, usual.near(WEIGHT)))
    least = minimise(watched, START, 300, usual).last.total
    assert near - least < 0.2 * (far - least)
