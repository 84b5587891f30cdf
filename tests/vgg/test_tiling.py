"""Large frames in strips: the same features and losses as of the whole frame."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tiny import disc, narrow_encoder, stripes

from vidstyle.settings import Settings
from vidstyle.stylizer.problem import FrameProblem
from vidstyle.stylizer.stylizer import Style, Stylizer
from vidstyle.techniques import TECHNIQUES, Share, _patch_gram
from vidstyle.techniques._patch_gram_tiled import StripGrams, WindowMoments
from vidstyle.vgg import forward, losses
from vidstyle.vgg.tiling import EarlyFeatures, Strips

EARLY, LATE = ("relu1_1", "relu2_1"), ("relu3_1", "relu4_1")
ENCODER = narrow_encoder(*EARLY, *LATE)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape).astype(np.float32)


def sums_of(features: Any) -> Any:
    return {layer: losses.sums(features[layer]) for layer in EARLY}


def shares(features: Any, number: Any) -> Any:
    return {layer: Share(found[None], 0, 1) for layer, found in sums_of(features).items()}


@pytest.mark.parametrize("height", [20, 32, 96, 97, 101, 133])
def test_features_sums_and_gradient_equal_those_of_the_whole_image(height: int) -> None:
    image, strips = tf.constant(noise(height, 52, 3)), Strips(ENCODER, 32)

    def loss(late: Any, sums: Any) -> Any:
        values = [late[layer] for layer in LATE] + [sums[layer] / 1e4 for layer in EARLY]
        return sum(tf.reduce_sum(tf.square(value)) for value in values)

    @tf.function
    def in_strips(image: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(image)
            late, sums = strips(image, shares)
            total = loss(late, {layer: sums[layer][0] for layer in EARLY})
        return late, total, tape.gradient(total, image)

    with tf.GradientTape() as tape:
        tape.watch(image)
        whole = ENCODER(image)
        expected = loss(whole, sums_of(whole))
    late, total, gradient = in_strips(image)
    for layer in LATE:
        np.testing.assert_allclose(late[layer], whole[layer], atol=1e-5)
    pieces = list(EarlyFeatures(strips, image))
    for layer in EARLY:
        joined = np.concatenate([piece[layer] for piece in pieces])
        np.testing.assert_allclose(joined, whole[layer], atol=1e-5)
    assert float(total) == pytest.approx(float(expected), rel=1e-5)
    wanted = tape.gradient(expected, image).numpy()
    np.testing.assert_allclose(gradient, wanted, atol=1e-4 * np.abs(wanted).max())


SIZES = [
    ((130, 97), 32),
    ((128, 96), 32),
    ((200, 300), 80),
    ((70, 200), 96),  # one row of nodes
    ((300, 100), 208),  # one column of them
    ((90, 90), 208),
]


@pytest.mark.parametrize(("size", "side"), SIZES)
@pytest.mark.parametrize("stride", [1, 2])
def test_sums_over_strips_equal_those_of_gathered_windows(
    size: tuple[int, int], side: int, stride: int
) -> None:
    bands, half = StripGrams(size, side), side // 2 // stride
    features = noise(*(-(-length // stride) for length in size), 5)
    over = _patch_gram.windows(features.shape[:2], bands.nodes, half)
    expected = moments(features, over)
    rows = bands.rows // stride
    assert bands.rows % 4 == 0
    strips = [tf.constant(features[at : at + rows]) for at in range(0, len(features), rows)]
    shares = [(bands.first(n), bands.sums(strip, n, stride)) for n, strip in enumerate(strips)]
    sums = np.zeros((*bands.nodes, 6, 5), np.float32)
    for first, share in shares:
        sums[first : first + len(share)] += share
    sums = tf.constant(sums)
    np.testing.assert_allclose(bands.moments(sums, stride), expected, atol=1e-5)
    goals = tf.constant(np.float32(1.3) * expected[::-1])
    tensors = _patch_gram.Windows(*map(tf.constant, over))
    gathered = _patch_gram.distance(tf.constant(features), tensors, bands.nodes, {"moments": goals})
    assert float(bands.distance(sums, goals, stride)) == pytest.approx(float(gathered), rel=1e-4)


def moments(features: np.ndarray, over: _patch_gram.Windows) -> np.ndarray:
    rows = features.reshape(-1, features.shape[2])[over.positions]
    weights = over.weights[..., None] / over.weights.sum(axis=1)[:, None, None]
    products = np.einsum("mnc,mnd->mcd", rows * weights, rows)
    return np.concatenate([products, (rows * weights).sum(axis=1, keepdims=True)], axis=1)


@pytest.mark.parametrize("rows", [7, 16, 100])
def test_moments_of_arbitrary_windows_add_up_over_strips(rows: int) -> None:
    style, random, nodes = noise(57, 83, 4), np.random.default_rng(1), (4, 5)
    centres = np.stack([random.integers(0, length, 20) for length in (57, 83)], axis=1)
    spans = _patch_gram.spans_at((57, 83), centres, nodes, 16)
    found = WindowMoments(*spans)
    for first in range(0, 57, rows):
        found.add(tf.constant(style[first : first + rows]))
    expected = moments(style, _patch_gram.crossed((57, 83), *spans))
    np.testing.assert_allclose(found.moments, expected, atol=1e-5)


@pytest.mark.parametrize("name", ["basic", "patch", "doodle"])
def test_the_loss_in_strips_equals_that_of_the_whole_image(
    name: str,
) -> None:
    kind: Any = TECHNIQUES[name]

    class InStrips(kind):  # type: ignore[misc]
        """The technique, which computes a frame of any size in strips."""

        def strip_rows(self, size: tuple[int, int], shortages: int = 0) -> int | None:
            return 64 if name == "basic" else self._strip_grams(size).rows

    def evaluated(*, strips: bool) -> Any:
        settings = Settings(
            steps_next=1, style_layers=(*EARLY, "relu3_1"), content_layers=("relu4_1",)
        )
        stylizer = Stylizer(
            [Style(stripes(90, 120))],
            technique=(InStrips if strips else kind)(),
            settings=settings,
            encoder=ENCODER,
        )
        frame, caught = disc(150, 200), []
        size = stylizer.step_at(frame)
        traced = size.evaluate
        size.evaluate = lambda *given: caught.append(traced(*given)) or caught[-1]  # type: ignore
        size.improve(noise(150, 200, 3), FrameProblem(frame, None, False), 1, lambda *_: None)
        return caught[0], size.forward

    (total, gradient, _), views_of_strips = evaluated(strips=True)
    (expected, wanted, _), views_of_all = evaluated(strips=False)
    assert views_of_strips._strips is not None
    assert views_of_all._strips is None
    assert float(total) == pytest.approx(float(expected), rel=1e-4)
    assert np.linalg.norm(gradient - wanted) < 1e-3 * np.linalg.norm(wanted)


def test_strips_are_not_used_if_the_loss_needs_an_early_layer_whole() -> None:
    assert forward.forward_pass_for(ENCODER, 32, ["relu4_1"])._strips is not None
    assert forward.forward_pass_for(ENCODER, 32, ["relu2_1"])._strips is None
    assert forward.forward_pass_for(ENCODER, None, ["relu4_1"])._strips is None
