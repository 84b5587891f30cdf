"""VGG-19 as a function from a picture to its features: the only place of BGR means and batch axes.

Simonyan & Zisserman, "Very Deep Convolutional Networks", 2014. Differs in two ways: conv1_1
pads by repeating the border (zeros there are seen as a frame around the picture), and each channel
is scaled to unit mean activation on fixed pictures (Gatys et al. 2016), so that the features do not
depend on which copy of the network was loaded.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from vidstyle import weights
from vidstyle.errors import WeightsError
from vidstyle.media import Image, read_picture
from vidstyle.settings import LAYERS

__all__ = ["Encoder", "Features", "conv2d", "load_encoder", "winograd"]

Features = dict[str, Any]  # layer name -> float32 tensor [h, w, C], after the ReLU

Convolution = Callable[[Any], Any]  # [H, W, C] -> [H, W, K]

_MEAN_BGR = (103.939, 116.779, 123.68)

# Winograd F(4x4, 3x3): Lavin & Gray, "Fast Algorithms for Convolutional Neural Networks", 2016.
_INPUT = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    np.float64,
)
_KERNEL = np.array(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ]
)
_OUTPUT = np.array(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
    np.float64,
)
_WINOGRAD_CHANNELS = 128  # with fewer input channels the transforms cost more than they save


def conv2d(kernel: np.ndarray) -> Convolution:
    """3x3 convolution of [H, W, C] by a kernel [3, 3, C, K], zero padding: the reference path."""
    weights = tf.constant(kernel)
    return lambda x: tf.nn.conv2d(x[None], weights, strides=1, padding="SAME")[0]


def winograd(kernel: np.ndarray) -> Convolution:
    """Return what conv2d returns (to about 1e-5 of its maximum) as 36 matrix products.

    Lavin & Gray 2016, F(4x4, 3x3), with the kernel transformed once in float64. The gradient to x
    is the same product with the kernel flipped and transposed; none for the kernel is ever built.
    """
    flipped = np.ascontiguousarray(kernel[::-1, ::-1].transpose(0, 1, 3, 2))
    forward, backward = _transformed(kernel), _transformed(flipped)

    @tf.custom_gradient
    def product(image: Any) -> tuple[Any, Convolution]:
        return _tiles_product(image, forward), lambda up: _tiles_product(up, backward)

    return product


def _bordered(kernel: np.ndarray) -> Convolution:
    """conv2d with the border repeated in place of zeros."""
    weights, around = tf.constant(kernel), ((1, 1), (1, 1), (0, 0))
    return lambda x: tf.nn.conv2d(tf.pad(x, around, "SYMMETRIC")[None], weights, 1, "VALID")[0]


def _transformed(kernel: np.ndarray) -> Any:
    """Return a [3, 3, C, K] kernel in the Winograd domain, [36, C, K]."""
    both = np.einsum("ai,bj,ijck->abck", _KERNEL, _KERNEL, kernel.astype(np.float64))
    return tf.constant(both.reshape(36, *kernel.shape[2:]).astype(np.float32))


def _tiles_product(x: Any, transformed: Any) -> Any:
    height, width = x.shape[0], x.shape[1]
    channels, outputs = transformed.shape[1:]
    rows, columns = -(-height // 4), -(-width // 4)
    x = tf.pad(x, ((1, 4 * rows + 3 - height), (1, 4 * columns + 3 - width), (0, 0)))
    x = _overlapping(x, rows, axis=0)
    x = _overlapping(x, columns, axis=2)
    x = tf.transpose(x, (1, 3, 0, 2, 4))
    x = tf.matmul(_kron(_INPUT), tf.reshape(x, (36, -1)))
    x = tf.matmul(tf.reshape(x, (36, -1, channels)), transformed)
    x = tf.matmul(_kron(_OUTPUT), tf.reshape(x, (36, -1)))
    x = tf.transpose(tf.reshape(x, (4, 4, rows, columns, outputs)), (2, 0, 3, 1, 4))
    return tf.reshape(x, (4 * rows, 4 * columns, outputs))[:height, :width]


def _kron(matrix: np.ndarray) -> Any:
    return tf.constant(np.kron(matrix, matrix).astype(np.float32))


def _overlapping(x: Any, count: int, axis: int) -> Any:
    """Split `axis` (4·count + 4 long) into `count` pieces of 6 that start 4 apart."""
    shape = x.shape.as_list()
    lead, tail = shape[:axis], shape[axis + 1 :]
    cut = [slice(None)] * axis
    starts = tf.reshape(x[(*cut, slice(0, 4 * count))], (*lead, count, 4, *tail))
    nexts = tf.reshape(x[(*cut, slice(4, 4 * count + 4))], (*lead, count, 4, *tail))
    return tf.concat([starts, nexts[(*cut, slice(None), slice(0, 2))]], axis=axis + 1)


class Encoder:
    """The network up to the deepest of `layers`; calling it gives those layers' features.

    plain: use tf.nn.conv2d throughout, the reference. By default Winograd products stand in for it
    where they were measured to be faster: on a CPU, from 128 input channels on.
    """

    def __init__(
        self, network: weights.Network, layers: Sequence[str], *, plain: bool | None = None
    ) -> None:
        self.layers = tuple(sorted(set(layers), key=LAYERS.index))
        self.plain = bool(tf.config.list_logical_devices("GPU")) if plain is None else plain
        depth = LAYERS.index(self.layers[-1]) + 1
        self._network = [
            (name, self._convolution(name, kernel), tf.constant(bias))
            for name in LAYERS[:depth]
            for kernel, bias in (network[name.replace("relu", "conv")],)
        ]

    def __call__(self, image: Any) -> Features:
        """Return the features of `image`, a float32 tensor [H, W, 3], RGB, 0..1."""
        x = image[..., ::-1] * 255.0 - tf.constant(_MEAN_BGR)
        features: Features = {}
        for name, convolution, bias in self._network:
            if name.endswith("_1") and name != LAYERS[0]:
                x = _max_pool(x)
            x = tf.nn.relu(convolution(x) + bias)
            if name in self.layers:
                features[name] = x
        return features

    def _convolution(self, name: str, kernel: np.ndarray) -> Convolution:
        if name == LAYERS[0]:
            return _bordered(kernel)
        if self.plain or kernel.shape[2] < _WINOGRAD_CHANNELS:
            return conv2d(kernel)
        return winograd(kernel)


def _max_pool(x: Any) -> Any:
    return tf.nn.max_pool2d(x[None], 2, 2, "SAME")[0]


def load_encoder(path: Path | None, layers: Sequence[str]) -> Encoder:
    """Find, load and normalise the VGG-19; WeightsError if it is not to be had."""
    network = weights.load(weights.find(path))
    return Encoder(normalized(network), layers)


def normalized(network: weights.Network) -> weights.Network:
    """Give every channel unit mean activation on the reference pictures.

    The features of any two copies of a network that differ by a positive factor a channel are then
    the same.
    """
    observe = tf.function(Encoder(network, LAYERS, plain=True))
    sums: dict[str, np.ndarray] = {}
    pictures = _reference_pictures()
    for picture in pictures:
        for name, features in observe(tf.constant(picture)).items():
            mean = tf.reduce_mean(features, axis=(0, 1)).numpy() / len(pictures)
            sums[name] = sums.get(name, 0) + mean
    return weights.normalized(
        network, {name.replace("relu", "conv"): m for name, m in sums.items()}
    )


def _reference_pictures() -> list[Image]:
    """Return the fixed pictures: beside the installed package, or in the checkout's samples/."""
    here = Path(__file__).parent
    for folder in (here / "reference", here.parent / "samples" / "reference"):
        if paths := sorted(folder.glob("*.png")):
            return [read_picture(path) for path in paths]
    raise WeightsError(
        f"expected the reference pictures of vidstyle in {here / 'reference'}, found none; "
        "install vidstyle again"
    )
