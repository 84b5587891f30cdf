"""VGG-19 as a function from a picture to its features: the only place of BGR means and batch axes.

Simonyan & Zisserman, "Very Deep Convolutional Networks", 2014. Differs in two ways: the first
four layers pad by repeating the border (zeros are seen as a frame around the picture), and each
channel is scaled to unit mean activation on fixed pictures (Gatys et al. 2016), so that the
features do not depend on which copy of the network was loaded.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from vidstyle import weights
from vidstyle.errors import WeightsError
from vidstyle.media import Image, read_picture
from vidstyle.settings import LAYERS
from vidstyle.window import Window

__all__ = [
    "EARLY_MARGIN",
    "Encoder",
    "Features",
    "Ring",
    "Surroundings",
    "conv2d",
    "load_encoder",
    "winograd",
]

Features = dict[str, Any]  # layer name -> float32 tensor [h, w, C], after the ReLU


class Ring(NamedTuple):
    """What stands around a window in a convolution's input, one cell wide.

    places: int32 [M, 2], rows and columns counted from the ring's corner; all of the ring but what
    repeats the window's own border, where that is an edge of the frame. values: float32 [M, C].
    """

    places: Any
    values: Any

    def specification(self) -> "Ring":
        """Return TensorSpecs for a ring that may be known at any number of places."""
        channels = self.values.shape[1]
        return Ring(tf.TensorSpec([None, 2], tf.int32), tf.TensorSpec([None, channels], tf.float32))


class Surroundings(NamedTuple):
    """A window's corner, int32 [3] as tf.slice takes it, and a Ring for each convolution."""

    corner: Any
    rings: list[Ring]


class Convolution(Protocol):
    """[H, W, C] -> [H, W, K]; a ring stands in for the padding, or x is padded already."""

    def __call__(self, x: Any, ring: Ring | None = None, *, padded: bool = False) -> Any: ...


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
_BORDERED = 4  # layers, conv1_1 to conv2_2, that repeat the border
EARLY_MARGIN = 6  # rows of an image that reach into a strip of it through these layers
_TILED = 4_000_000  # numbers of a convolution's input or output that are made into tiles at once
_BORDER = ((1, 1), (1, 1), (0, 0))
_WINOGRAD_CHANNELS = 128  # with fewer input channels the transforms cost more than they save


def conv2d(kernel: np.ndarray, *, bordered: bool = False) -> Convolution:
    """3x3 convolution of [H, W, C] by a kernel [3, 3, C, K]: the reference path.

    The picture is padded with zeros, or if `bordered` by repeating its border.
    """
    weights = tf.constant(kernel)

    def convolved(x: Any, ring: Ring | None = None, *, padded: bool = False) -> Any:
        inner = bordered or ring is not None
        x = _surrounded(x, ring, bordered) if inner and not padded else x
        padding = "VALID" if inner or padded else "SAME"
        return _single(tf.nn.conv2d(_batch(x), weights, strides=1, padding=padding))

    return convolved


def winograd(kernel: np.ndarray, *, bordered: bool = False) -> Convolution:
    """Return what conv2d returns (to about 1e-5 of its maximum) as 36 matrix products.

    Lavin & Gray 2016, F(4x4, 3x3), with the kernel transformed once in float64. The gradient to x
    is the same product with the kernel flipped and transposed; none for the kernel is ever built.
    """
    flipped = np.ascontiguousarray(kernel[::-1, ::-1].transpose(0, 1, 3, 2))
    forward, backward = _transformed(kernel), _transformed(flipped)

    def convolved(x: Any, ring: Ring | None = None, *, padded: bool = False) -> Any:
        @tf.custom_gradient
        def product(image: Any) -> tuple[Any, Callable[[Any], Any]]:
            if ring is not None and not bordered:  # constants, to which no gradient is due
                value = _tiles_product(_surrounded(image, ring, bordered), forward, 0)
            else:
                value = _tiles_product(image, forward, 0 if whole else 1)
            return value, lambda up: _tiles_product(up, backward, 2 if whole else 1)

        whole = bordered or padded  # x has its margin: where from, is no longer of interest
        return product(_surrounded(x, ring, bordered) if bordered and not padded else x)

    return convolved


def _surrounded(x: Any, ring: Ring | None, bordered: bool) -> Any:
    """Return x with one cell more on each side: its border's, zeros, or a ring where known."""
    around = tf.pad(x, _BORDER, "SYMMETRIC" if bordered else "CONSTANT")
    return around if ring is None else tf.tensor_scatter_nd_update(around, *ring)


def _batch(x: Any) -> Any:
    """Return a batch of one; x[None] would do too, but the gradient of indexing is slow."""
    return tf.expand_dims(x, 0)


def _single(batch: Any) -> Any:
    return tf.squeeze(batch, 0)


def _transformed(kernel: np.ndarray) -> Any:
    """Return a [3, 3, C, K] kernel in the Winograd domain, [36, C, K]."""
    both = np.einsum("ai,bj,ijck->abck", _KERNEL, _KERNEL, kernel.astype(np.float64))
    return tf.constant(both.reshape(36, *kernel.shape[2:]).astype(np.float32))


def _tiles_product(x: Any, transformed: Any, margin: int) -> Any:
    """Convolve x [H, W, C] with `margin` zeros around it: [H + 2·margin - 2, …, K].

    Some rows at a time where there is much of it, since its tiles are more than twice as much.
    """
    height, width = (length + 2 * margin - 2 for length in x.shape[:2])
    channels, outputs = transformed.shape[1:]
    count = -(-height * width * max(channels, outputs) // _TILED)
    if count == 1:
        return _rows_product(x, transformed, margin)
    rows = -(-height // (4 * count)) * 4
    found: list[Any] = []
    for first in range(0, height, rows):
        begin, end = first - margin, min(first + rows, height) + 2 - margin  # of rows of x
        above, below = max(0, -begin), max(0, end - x.shape[0])
        size = (end - begin - above - below, *x.shape[1:])
        with tf.control_dependencies(found[-1:]):  # one after another
            part = tf.slice(x, (begin + above, 0, 0), size)
        part = tf.pad(part, ((above, below), (margin, margin), (0, 0)))
        found.append(_rows_product(part, transformed, 0))
    return tf.concat(found, axis=0)


def _rows_product(x: Any, transformed: Any, margin: int) -> Any:
    """Return what _tiles_product does, at once."""
    height, width = (length + 2 * margin - 2 for length in x.shape[:2])
    channels, outputs = transformed.shape[1:]
    around = (margin, margin + 3)  # at the end to whole tiles
    x = tf.pad(x, (around, around, (0, 0)))
    tiles, pixels = _places(height, width, x.shape[1])
    x = tf.gather(tf.reshape(x, (-1, channels)), tiles)
    x = tf.matmul(_kron(_INPUT), tf.reshape(x, (36, -1)))
    x = tf.matmul(tf.reshape(x, (36, -1, channels)), transformed)
    x = tf.matmul(_kron(_OUTPUT), tf.reshape(x, (36, -1)))
    x = tf.gather(tf.reshape(x, (-1, outputs)), pixels)
    return tf.reshape(x, (height, width, outputs))


def _kron(matrix: np.ndarray) -> Any:
    return tf.constant(np.kron(matrix, matrix).astype(np.float32))


def _places(height: int, width: int, stride: int) -> tuple[Any, Any]:
    """Return where the tiles' values stand in the padded image, and the pixels in the tiles.

    Both are row numbers: of the image of `stride` columns as [-1, C], in the order (i, j, row,
    column) for value (i, j) of 6x6 in a tile; and of the tiles' 4x4 results as [-1, K].
    """
    rows, columns = -(-height // 4), -(-width // 4)
    down, right = (4 * np.arange(n) + np.arange(6)[:, None] for n in (rows, columns))
    tiles = down[:, None, :, None] * stride + right[:, None, :]
    (i, row), (j, column) = (np.divmod(np.arange(n), 4)[::-1] for n in (height, width))
    place = (4 * i[:, None] + j) * rows * columns + row[:, None] * columns + column
    return tf.constant(tiles.ravel(), tf.int32), tf.constant(place.ravel(), tf.int32)


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
        return self._features(image, [None] * len(self._network))

    def within(self, image: Any, around: Surroundings, size: tuple[int, int]) -> Features:
        """Return the features of a window of `image` of this size, as if all else were as it was.

        What the window would change around it, and that in turn in it, is left out: see its margin.
        """
        return self._features(tf.slice(image, around.corner, (*size, 3)), around.rings)

    def surroundings(
        self, image: Any, corner: Any, size: tuple[int, int]
    ) -> tuple[Features, Surroundings]:
        """Return the features of `image`, and what surrounds a window of it in every layer.

        corner: int32 [3], the window's top and left in pixels, and 0; size: its rows and columns.
        """
        rings: list[Ring] = []
        window = Window(corner[0], corner[1], *size)

        def look(name: str, x: Any) -> None:
            rings.append(_ring(x, window.at(name), name in LAYERS[:_BORDERED]))

        features = self._features(image, [None] * len(self._network), look)
        return features, Surroundings(corner, rings)

    @property
    def early_layers(self) -> tuple[str, ...]:
        """Those of `layers` that `early` gives, and `late` does not; none if it gives all."""
        early = tuple(name for name in self.layers if name in LAYERS[:_BORDERED])
        return early if len(early) < len(self.layers) else ()

    def early(self, rows: Any, edges: tuple[int, int], own: int) -> tuple[Features, Any]:
        """Return the features of a strip of an image at the early layers, and what `late` takes.

        rows: float32 [own + 2 · EARLY_MARGIN, W, 3], the strip with its neighbours' rows; edges:
        1 above and below where it has none, being at the image's edge, else 0. A strip begins at a
        multiple of 4 rows, and has such a number of its own unless it is the last.
        """
        x, margin, features = _centred(rows), EARLY_MARGIN, {}
        for name, convolution, bias in self._network[:_BORDERED]:
            if name == "relu2_1":
                x, margin, own = _max_pool(x), margin // 2, -(-own // 2)
            x = tf.pad(x, (edges, (1, 1), (0, 0)), "SYMMETRIC")
            x, margin = _relu(convolution(x, padded=True) + bias), margin - 1
            if name in self.layers:
                features[name] = _own(x, 0 if edges[0] else margin, own)
        return features, _max_pool(_own(x, 0 if edges[0] else margin, own))

    def late(self, x: Any) -> Features:
        """Return the features at the other layers, from what `early` gave of all strips."""
        network = self._network[_BORDERED:]
        return self._run(x, network, [None] * len(network))

    def _features(
        self,
        image: Any,
        rings: Sequence[Ring | None],
        look: Callable[[str, Any], None] | None = None,
    ) -> Features:
        return self._run(_centred(image), self._network, rings, look)

    def _run(
        self,
        x: Any,
        network: Sequence[tuple[str, Convolution, Any]],
        rings: Sequence[Ring | None],
        look: Callable[[str, Any], None] | None = None,
    ) -> Features:
        """Return the features at `layers` of this part of the network, which begins a block."""
        features: Features = {}
        for place, ((name, convolution, bias), ring) in enumerate(zip(network, rings, strict=True)):
            if name.endswith("_1") and place > 0:
                x = _max_pool(x)
            if look is not None:
                look(name, x)
            x = _relu(convolution(x, ring) + bias)
            if name in self.layers:
                features[name] = x
        return features

    def _convolution(self, name: str, kernel: np.ndarray) -> Convolution:
        slow = self.plain or kernel.shape[2] < _WINOGRAD_CHANNELS
        return (conv2d if slow else winograd)(kernel, bordered=name in LAYERS[:_BORDERED])


def _centred(image: Any) -> Any:
    """Return an image in RGB, 0..1, as the network takes it."""
    return tf.reverse(image, (-1,)) * 255.0 - tf.constant(_MEAN_BGR)


def _own(x: Any, margin: int, count: int) -> Any:
    """Return `count` rows of x [h, W, C], or what there are of them, after a margin."""
    height, width, channels = x.shape
    return tf.slice(x, (margin, 0, 0), (min(count, height - margin), width, channels))


def _ring(x: Any, window: Window, bordered: bool) -> Ring:
    """Cut the ring around a window out of a convolution's input x [h, w, C]."""
    height, width, channels = x.shape
    begin, size = (window.top, window.left), (window.rows + 2, window.columns + 2)
    ring = np.pad(np.zeros((window.rows, window.columns), bool), 1, constant_values=True)
    places = tf.constant(np.argwhere(ring), tf.int32)
    values = tf.slice(_surrounded(x, None, bordered), (*begin, 0), (*size, channels))
    if bordered:
        copied = tf.clip_by_value(places + begin, 1, (height, width)) - begin  # counted from 1
        own = tf.reduce_all((copied >= 1) & (copied <= (window.rows, window.columns)), axis=1)
        places = tf.boolean_mask(places, ~own)
    return Ring(places, tf.gather_nd(values, places))


@tf.custom_gradient
def _relu(x: Any) -> tuple[Any, Callable[[Any], Any]]:
    """Return max(x, 0); for the gradient a byte a number is held, not four."""
    y = tf.nn.relu(x)
    passing = y > 0
    return y, lambda up: tf.where(passing, up, 0.0)


def _max_pool(x: Any) -> Any:
    return _single(tf.nn.max_pool2d(_batch(x), 2, 2, "SAME"))


def load_encoder(path: Path | None, layers: Sequence[str]) -> Encoder:
    """Find, load and normalise the VGG-19, if the last was another; WeightsError if that fails."""
    found = weights.find(path)
    return _encoder(found, found.stat().st_mtime_ns, tuple(layers))


@lru_cache(maxsize=1)
def _encoder(path: Path, changed: int, layers: tuple[str, ...]) -> Encoder:
    return Encoder(normalized(weights.load(path)), layers)


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
