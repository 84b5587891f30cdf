"""VGG-19's structure and the fast convolution, on random weights; and the real network."""

import numpy as np
import pytest
import tensorflow as tf

from vidstyle.settings import LAYERS
from vidstyle.vgg import weights
from vidstyle.vgg.encoder import Encoder, load_encoder, normalized
from vidstyle.vgg.layers import conv2d, winograd

RANDOM = np.random.default_rng(4)
EARLY = LAYERS[:4]


@pytest.fixture(scope="module")
def network() -> weights.Network:
    """The first four layers of VGG-19 with random weights; deeper ones are not built."""
    shapes = {"conv1_1": (3, 64), "conv1_2": (64, 64), "conv2_1": (64, 128), "conv2_2": (128, 128)}
    return {
        name: (
            RANDOM.normal(0, 0.05, (3, 3, *shape)).astype(np.float32),
            RANDOM.normal(0, 0.05, shape[1]).astype(np.float32),
        )
        for name, shape in shapes.items()
    }


@pytest.mark.parametrize("bordered", [False, True])
@pytest.mark.parametrize("size", [(8, 8), (9, 13), (4, 3), (1, 1), (17, 6)])
def test_winograd_equals_plain_convolution_at_every_size(
    size: tuple[int, int], bordered: bool
) -> None:
    x = tf.constant(RANDOM.random((*size, 16)), tf.float32)
    kernel = RANDOM.normal(0, 0.1, (3, 3, 16, 12)).astype(np.float32)
    values, gradients = [], []
    for convolution in (conv2d, winograd):
        with tf.GradientTape() as tape:
            tape.watch(x)
            values.append(convolution(kernel, bordered=bordered)(x))
            loss = tf.reduce_sum(tf.square(values[-1]))
        gradients.append(tape.gradient(loss, x).numpy())
    for plain, fast in (values, gradients):
        np.testing.assert_allclose(fast, plain, atol=1e-4 * np.abs(plain).max())


def test_a_repeated_border_equals_one_more_row_of_the_image() -> None:
    kernel = RANDOM.normal(0, 0.1, (3, 3, 4, 5)).astype(np.float32)
    x = RANDOM.random((6, 7, 4)).astype(np.float32)
    wider = np.pad(x, ((1, 1), (1, 1), (0, 0)), mode="edge")
    inner = conv2d(kernel)(tf.constant(wider))[1:-1, 1:-1]
    np.testing.assert_allclose(conv2d(kernel, bordered=True)(tf.constant(x)), inner, atol=1e-5)


def test_pooling_halves_sides_rounding_up(network: weights.Network) -> None:
    features = Encoder(network, EARLY)(tf.zeros((9, 6, 3)))
    assert features["relu1_2"].shape == (9, 6, 64)
    assert features["relu2_1"].shape == (5, 3, 128)


def test_only_the_requested_layers_are_returned(network: weights.Network) -> None:
    assert list(Encoder(network, ["relu2_1", "relu1_1"])(tf.zeros((8, 8, 3)))) == [
        "relu1_1",
        "relu2_1",
    ]


def test_a_flat_picture_has_no_border_in_the_first_layer(network: weights.Network) -> None:
    first = Encoder(network, ["relu1_1"])(tf.fill((8, 8, 3), 0.3))["relu1_1"].numpy()
    np.testing.assert_allclose(
        first, np.broadcast_to(first[4, 4], first.shape), rtol=1e-4, atol=1e-3
    )


def rescaled(network: weights.Network) -> weights.Network:
    """Multiply each channel by a random positive factor that the next layer divides away."""
    before, out = np.ones(3, np.float32), {}
    for name, (kernel, bias) in network.items():
        factors = np.exp(RANDOM.normal(0, 1, bias.shape)).astype(np.float32)
        out[name] = (kernel / before[:, None] * factors, bias * factors)
        before = factors
    return out


@pytest.mark.vgg
def test_the_source_of_the_weights_does_not_change_the_features() -> None:
    network = weights.load(weights.find())
    picture = tf.constant(RANDOM.random((64, 64, 3)), tf.float32)
    features, rescaled_features = (
        Encoder(normalized(copy), LAYERS[:13])(picture) for copy in (network, rescaled(network))
    )
    for layer in features:
        np.testing.assert_allclose(
            rescaled_features[layer],
            features[layer],
            atol=1e-4 * float(tf.reduce_max(features[layer])),
        )


@pytest.mark.vgg
def test_the_fast_network_equals_the_plain_one() -> None:
    network = weights.load(weights.find())
    picture = tf.constant(RANDOM.random((48, 80, 3)), tf.float32)
    plain, fast = (Encoder(network, LAYERS[:13], plain=plain)(picture) for plain in (True, False))
    for layer in plain:
        np.testing.assert_allclose(
            fast[layer], plain[layer], atol=1e-4 * float(tf.reduce_max(plain[layer]))
        )


@pytest.mark.vgg
def test_the_loaded_network_is_ready_to_use() -> None:
    features = load_encoder(None, ["relu3_1"])(tf.zeros((32, 32, 3)))
    assert features["relu3_1"].shape == (8, 8, 256)
