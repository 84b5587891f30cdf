"""The layers of the network: convolutions, ReLU and pooling, with little memory for gradients.

All take and return the activations of one image, [H, W, C], without a batch axis: float32, or
bfloat16 except for Winograd convolution, whose transforms would lose its few digits.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow as tf

__all__ = [
    "Convolution",
    "Halo",
    "conv2d",
    "conv2d_flipped",
    "max_pool",
    "relu",
    "winograd",
    "with_halo",
]


class Halo(NamedTuple):
    """The cells around a window of a convolution's input, one cell wide.

    positions: int32 [M, 2], rows and columns counted from the halo's corner; without the cells that
    repeat the window's own border at an edge of the frame. values: [M, C], of the input's type.
    """

    positions: Any
    values: Any

    def specification(self) -> "Halo":
        """Return TensorSpecs for a halo of any number of positions."""
        values = tf.TensorSpec([None, self.values.shape[1]], self.values.dtype)
        return Halo(tf.TensorSpec([None, 2], tf.int32), values)


class Convolution(Protocol):
    """[H, W, C] -> [H, W, K]. halo: replaces the padding; padded: whether x has its padding."""

    def __call__(self, x: Any, halo: Halo | None = None, *, padded: bool = False) -> Any: ...


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
_LARGE = 16_000_000  # activations; of larger inputs, max_pool keeps only indices for the gradient
_MAX_TILED = 2_000_000  # values of a Winograd convolution's input or output in tiles at once
_BORDER = ((1, 1), (1, 1), (0, 0))


def conv2d(kernel: np.ndarray, *, bordered: bool = False) -> Convolution:
    """Return the 3x3 convolution of [H, W, C] by a kernel [3, 3, C, K]: the reference path.

    The input is padded with zeros, or if `bordered` by repeating its border. The gradient is
    TensorFlow's.
    """
    weights = tf.constant(kernel)

    def convolved(x: Any, halo: Halo | None = None, *, padded: bool = False) -> Any:
        inner = bordered or halo is not None
        x = with_halo(x, halo, bordered) if inner and not padded else x
        padding = "VALID" if inner or padded else "SAME"
        return _single(tf.nn.conv2d(_batch(x), weights, strides=1, padding=padding))

    return convolved


def winograd(kernel: np.ndarray, *, bordered: bool = False) -> Convolution:
    """Return the convolution of conv2d as 36 matrix products; equal within 1e-5 of its maximum.

    Lavin & Gray 2016, F(4x4, 3x3), with the kernel transformed once in float64. The gradient at x
    is the same product with the kernel flipped and transposed.
    """
    forward, backward = _transformed(kernel), _transformed(_flipped(kernel))
    return _with_own_gradient(
        lambda x, margin: _tiles_product(x, forward, margin),
        lambda up, margin: _tiles_product(up, backward, margin),
        bordered,
    )


def conv2d_flipped(
    kernel: np.ndarray, *, bordered: bool = False, dtype: Any = tf.float32
) -> Convolution:
    """Return the convolution of conv2d, whose gradient at x is a forward convolution too.

    The kernel is flipped and transposed for it. Forward algorithms of cuDNN are deterministic,
    while the fast ones of tf.nn.conv2d's own gradient are not. dtype: of x, the kernel and the
    result, float32 or bfloat16; sums within a product are float32 in both.
    """
    forward, backward = (tf.cast(one, dtype) for one in (kernel, _flipped(kernel)))
    return _with_own_gradient(
        lambda x, margin: _product(x, forward, margin),
        lambda up, margin: _product(up, backward, margin),
        bordered,
    )


# (values [H, W, C], zeros to add around them: 0 to 2) -> their product with a 3x3 kernel
_Product = Callable[[Any, int], Any]


def _with_own_gradient(forward: _Product, backward: _Product, bordered: bool) -> Convolution:
    """Return the convolution `forward` with the gradient `backward`; there is none at the kernel.

    forward, backward: products with a kernel, and with the same flipped and transposed.
    """

    def convolved(x: Any, halo: Halo | None = None, *, padded: bool = False) -> Any:
        @tf.custom_gradient
        def product(image: Any) -> tuple[Any, Callable[[Any], Any]]:
            if halo is not None and not bordered:  # the halo is constant: no gradient
                value = forward(with_halo(image, halo, bordered), 0)
            else:
                value = forward(image, 0 if whole else 1)
            return value, lambda up: backward(up, 2 if whole else 1)

        whole = bordered or padded  # x includes its padding
        return product(with_halo(x, halo, bordered) if bordered and not padded else x)

    return convolved


def _flipped(kernel: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(kernel[::-1, ::-1].transpose(0, 1, 3, 2))


def _product(x: Any, kernel: Any, margin: int) -> Any:
    around = (margin, margin)
    padding = ((0, 0), around, around, (0, 0))
    return _single(tf.nn.conv2d(_batch(x), kernel, strides=1, padding=padding))


def with_halo(x: Any, halo: Halo | None, bordered: bool) -> Any:
    """Return x padded by one cell: with its border or zeros, or the halo's values if given."""
    around = tf.pad(x, _BORDER, "SYMMETRIC" if bordered else "CONSTANT")
    return around if halo is None else tf.tensor_scatter_nd_update(around, *halo)


def _batch(x: Any) -> Any:
    """Return a batch of one; not x[None], since the gradient of indexing is slow."""
    return tf.expand_dims(x, 0)


def _single(batch: Any) -> Any:
    return tf.squeeze(batch, 0)


def _transformed(kernel: np.ndarray) -> Any:
    """Return a [3, 3, C, K] kernel in the Winograd domain, [36, C, K]."""
    both = np.einsum("ai,bj,ijck->abck", _KERNEL, _KERNEL, kernel.astype(np.float64))
    return tf.constant(both.reshape(36, *kernel.shape[2:]).astype(np.float32))


def _tiles_product(x: Any, transformed: Any, margin: int) -> Any:
    """Convolve x [H, W, C] with `margin` zeros around it: [H + 2·margin - 2, …, K].

    A large x in chunks of rows, since its tiles take more than twice its memory.
    """
    height, width = (length + 2 * margin - 2 for length in x.shape[:2])
    channels, outputs = transformed.shape[1:]
    count = -(-height * width * max(channels, outputs) // _MAX_TILED)
    if count == 1:
        return _rows_product(x, transformed, margin)
    rows = -(-height // (4 * count)) * 4
    chunks: list[Any] = []
    for first in range(0, height, rows):
        begin, end = first - margin, min(first + rows, height) + 2 - margin  # of rows of x
        above, below = max(0, -begin), max(0, end - x.shape[0])
        size = (end - begin - above - below, *x.shape[1:])
        with tf.control_dependencies(chunks[-1:]):  # chunks are computed in turn
            part = tf.slice(x, (begin + above, 0, 0), size)
        part = tf.pad(part, ((above, below), (margin, margin), (0, 0)))
        chunks.append(_rows_product(part, transformed, 0))
    return tf.concat(chunks, axis=0)


def _rows_product(x: Any, transformed: Any, margin: int) -> Any:
    """Return the result of `_tiles_product`, computed without chunks."""
    height, width = (length + 2 * margin - 2 for length in x.shape[:2])
    channels, outputs = transformed.shape[1:]
    around = (margin, margin + 3)  # the end is filled up to whole tiles
    x = tf.pad(x, (around, around, (0, 0)))
    tiles, pixels = _tile_indices(height, width, x.shape[1])
    x = tf.gather(tf.reshape(x, (-1, channels)), tiles)
    x = tf.matmul(_kron(_INPUT), tf.reshape(x, (36, -1)))
    x = tf.matmul(tf.reshape(x, (36, -1, channels)), transformed)
    x = tf.matmul(_kron(_OUTPUT), tf.reshape(x, (36, -1)))
    x = tf.gather(tf.reshape(x, (-1, outputs)), pixels)
    return tf.reshape(x, (height, width, outputs))


def _kron(matrix: np.ndarray) -> Any:
    return tf.constant(np.kron(matrix, matrix).astype(np.float32))


@lru_cache(maxsize=64)
def _tile_indices(height: int, width: int, stride: int) -> tuple[Any, Any]:
    """Return the indices of the tiles' values in the padded input, and of the pixels in the tiles.

    The former index the padded input, of `stride` columns, as [-1, C], in the order (i, j, row,
    column) for value (i, j) of a tile's 6x6. The latter index the tiles' 4x4 results as [-1, K].
    """
    rows, columns = -(-height // 4), -(-width // 4)
    down, right = (4 * np.arange(n) + np.arange(6)[:, None] for n in (rows, columns))
    tiles = down[:, None, :, None] * stride + right[:, None, :]
    (i, row), (j, column) = (np.divmod(np.arange(n), 4)[::-1] for n in (height, width))
    pixels = (4 * i[:, None] + j) * rows * columns + row[:, None] * columns + column
    with tf.init_scope():  # shared by all graphs: each would keep several copies of a constant
        return tf.constant(tiles.ravel(), tf.int32), tf.constant(pixels.ravel(), tf.int32)


@tf.custom_gradient
def relu(x: Any) -> tuple[Any, Callable[[Any], Any]]:
    """Return max(x, 0); keeps one byte per value for the gradient instead of four."""
    passing = x > 0
    with tf.control_dependencies([passing]):  # so that x is freed
        y = tf.nn.relu(x)
    return y, lambda up: tf.where(passing, up, 0.0)


def max_pool(x: Any) -> Any:
    """Return the maximum of each 2x2 block of x [H, W, C]; at an odd edge, of its part inside x."""
    return _low_memory_max_pool(x) if math.prod(x.shape) > _LARGE else _max_pool(x)


def _max_pool(x: Any) -> Any:
    return _single(tf.nn.max_pool2d(_batch(x), 2, 2, "SAME"))


@tf.custom_gradient
def _low_memory_max_pool(x: Any) -> tuple[Any, Callable[[Any], Any]]:
    """Return _max_pool(x), keeping one byte per 2x2 block instead of x; it costs 1 % of a step.

    The byte is the index of the largest of the four values, the first if several are equal.
    """
    (height, width, channels), y = x.shape, _max_pool(x)
    rows, columns = y.shape[:2]
    x = tf.pad(x, ((0, 2 * rows - height), (0, 2 * columns - width), (0, 0)))
    x = tf.reshape(x, (rows, 2, columns, 2 * channels))
    argmax = tf.fill(y.shape, tf.constant(3, tf.uint8))
    for index in (2, 1, 0):
        row, column = divmod(index, 2)
        corner = x[:, row, :, column * channels : (column + 1) * channels]
        argmax = tf.where(corner == y, tf.constant(index, tf.uint8), argmax)
    with tf.control_dependencies([argmax]):
        y = tf.identity(y)

    def backwards(up: Any) -> Any:
        parts = [tf.where(argmax == index, up, 0.0) for index in range(4)]
        both = tf.stack([tf.concat(parts[:2], axis=2), tf.concat(parts[2:], axis=2)], axis=1)
        return tf.reshape(both, (2 * rows, 2 * columns, channels))[:height, :width]

    return y, backwards
