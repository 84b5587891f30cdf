"""Encoder: VGG-19 as a function from an RGB image to features by layer.

Simonyan & Zisserman, "Very Deep Convolutional Networks", 2014. Differs in two ways: the first
four layers pad by repeating the border (zero padding produced a visible frame around the image),
and each channel is scaled to unit mean activation on fixed pictures (Gatys et al. 2016), so that
features do not depend on which copy of the network was loaded.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from vidstyle.errors import WeightsError
from vidstyle.image import Image
from vidstyle.media import read_picture
from vidstyle.settings import LAYERS
from vidstyle.vgg import weights
from vidstyle.vgg.crop import Window
from vidstyle.vgg.device import Precision, has_gpu
from vidstyle.vgg.features import Features
from vidstyle.vgg.layers import (
    Convolution,
    Halo,
    conv2d,
    conv2d_flipped,
    max_pool,
    relu,
    winograd,
    with_halo,
)

__all__ = [
    "EARLY_MARGIN",
    "Encoder",
    "Features",
    "Surroundings",
    "load_encoder",
]


class Surroundings(NamedTuple):
    """A window's corner (top, left, 0), int32 [3], and the Halo of each convolution's input."""

    corner: Any
    halos: list[Halo]


_MEAN_BGR = (103.939, 116.779, 123.68)

_BORDERED = 4  # layers that pad by repeating the border: conv1_1 to conv2_2
EARLY_MARGIN = 6  # pixels: rows above and below a strip within the receptive field of conv2_2
_WINOGRAD_CHANNELS = 128  # input channels below which Winograd convolution is slower


class Encoder:
    """The network up to the deepest of `layers`; a call returns the features at these layers.

    plain: use tf.nn.conv2d throughout, the reference. By default, a CPU uses Winograd convolution
    for layers from 128 input channels on, where it was measured to be faster, and a GPU
    convolutions whose gradient is deterministic. precision: "bfloat16" computes and keeps the
    activations from the second layer on in bfloat16; images, features and their gradients are
    float32. The first layer is float32, since 8 bits would round the pixels.
    """

    def __init__(
        self,
        network: weights.Network,
        layers: Sequence[str],
        *,
        plain: bool | None = None,
        precision: Precision = "float32",
    ) -> None:
        self.layers = tuple(sorted(set(layers), key=LAYERS.index))
        self.plain, self.precision = plain, precision
        depth = LAYERS.index(self.layers[-1]) + 1
        self._network = [
            (name, self._convolution(name, kernel), tf.cast(bias, self._kind(name)))
            for name in LAYERS[:depth]
            for kernel, bias in (network[name.replace("relu", "conv")],)
        ]

    def __call__(self, image: Any) -> Features:
        """Return the features of `image`, a float32 tensor [H, W, 3], RGB, 0..1."""
        return self._features(image, [None] * len(self._network))

    def within(self, image: Any, around: Surroundings, size: tuple[int, int]) -> Features:
        """Return the features of a window of `image`, with constant surroundings.

        around: as returned by `surroundings`; size: (rows, columns) of the window in pixels. The
        window includes all features that depend on the changed pixels: see crop._MARGIN.
        """
        return self._features(tf.slice(image, around.corner, (*size, 3)), around.halos)

    def surroundings(
        self, image: Any, corner: Any, size: tuple[int, int]
    ) -> tuple[Features, Surroundings]:
        """Return the features of `image`, and the surroundings of a window of it in every layer.

        corner: int32 [3], the window's (top, left, 0) in pixels; size: its (rows, columns).
        """
        halos: list[Halo] = []
        window = Window(corner[0], corner[1], *size)

        def observe(name: str, x: Any) -> None:
            halos.append(_halo(x, window.at(name), name in LAYERS[:_BORDERED]))

        features = self._features(image, [None] * len(self._network), observe)
        return features, Surroundings(corner, halos)

    @property
    def early_layers(self) -> tuple[str, ...]:
        """Those of `layers` that `early` computes; empty if it would compute all of them."""
        early = tuple(name for name in self.layers if name in LAYERS[:_BORDERED])
        return early if len(early) < len(self.layers) else ()

    def early(self, rows: Any, edges: tuple[int, int], own: int) -> tuple[Features, Any]:
        """Return the features of a strip at the early layers, and its part of the input of `late`.

        rows: float32 [own + 2 · EARLY_MARGIN, W, 3], the strip with its margins; edges:
        (above, below), 1 where the margin is missing at the image's edge, else 0. own: height of
        the strip without margins, a multiple of 4 unless it is the last; a strip begins at a
        multiple of 4 rows.
        """
        x, margin, features = _centred(rows), EARLY_MARGIN, {}
        for name, convolution, bias in self._network[:_BORDERED]:
            if name == "relu2_1":
                x, margin, own = max_pool(x), margin // 2, -(-own // 2)
            x = tf.pad(tf.cast(x, bias.dtype), (edges, (1, 1), (0, 0)), "SYMMETRIC")
            x, margin = relu(convolution(x, padded=True) + bias), margin - 1
            if name in self.layers:
                own_rows = _without_margin(x, 0 if edges[0] else margin, own)
                features[name] = tf.cast(own_rows, tf.float32)
        pooled = max_pool(_without_margin(x, 0 if edges[0] else margin, own))
        return features, tf.cast(pooled, tf.float32)

    def late(self, x: Any) -> Features:
        """Return the features at the other layers, from the outputs of `early` of all strips."""
        network = self._network[_BORDERED:]
        return self._run(x, network, [None] * len(network))

    def _features(
        self,
        image: Any,
        halos: Sequence[Halo | None],
        observe: Callable[[str, Any], None] | None = None,
    ) -> Features:
        return self._run(_centred(image), self._network, halos, observe)

    def _run(
        self,
        x: Any,
        network: Sequence[tuple[str, Convolution, Any]],
        halos: Sequence[Halo | None],
        observe: Callable[[str, Any], None] | None = None,
    ) -> Features:
        """Return the features at `layers` of a part of the network that begins with a block.

        observe(name, input) is called for each convolution.
        """
        features: Features = {}
        for index, ((name, convolution, bias), halo) in enumerate(zip(network, halos, strict=True)):
            if name.endswith("_1") and index > 0:
                x = max_pool(x)
            x = tf.cast(x, bias.dtype)
            if observe is not None:
                observe(name, x)
            x = relu(convolution(x, halo) + bias)
            if name in self.layers:
                features[name] = tf.cast(x, tf.float32)
        return features

    def _kind(self, name: str) -> Any:
        """Return the type of a layer's input, kernel and activations."""
        return tf.as_dtype("float32" if name == LAYERS[0] else self.precision)

    def _convolution(self, name: str, kernel: np.ndarray) -> Convolution:
        bordered = name in LAYERS[:_BORDERED]
        if self.precision != "float32" or (self.plain is None and has_gpu()):
            return conv2d_flipped(kernel, bordered=bordered, dtype=self._kind(name))
        slow = self.plain or kernel.shape[2] < _WINOGRAD_CHANNELS
        return (conv2d if slow else winograd)(kernel, bordered=bordered)


def _centred(image: Any) -> Any:
    """Convert RGB in 0..1 to the network's input: BGR in 0..255, less the channel means."""
    return tf.reverse(image, (-1,)) * 255.0 - tf.constant(_MEAN_BGR)


def _without_margin(x: Any, margin: int, count: int) -> Any:
    """Return at most `count` rows of x [h, W, C] after a margin of rows."""
    height, width, channels = x.shape
    return tf.slice(x, (margin, 0, 0), (min(count, height - margin), width, channels))


def _halo(x: Any, window: Window, bordered: bool) -> Halo:
    """Return the halo of a window from a convolution's input x [h, w, C]."""
    height, width, channels = x.shape
    begin, size = (window.top, window.left), (window.rows + 2, window.columns + 2)
    halo = np.pad(np.zeros((window.rows, window.columns), bool), 1, constant_values=True)
    positions = tf.constant(np.argwhere(halo), tf.int32)
    values = tf.slice(with_halo(x, None, bordered), (*begin, 0), (*size, channels))
    if bordered:
        copied = tf.clip_by_value(positions + begin, 1, (height, width)) - begin  # 1-based
        inside = tf.reduce_all((copied >= 1) & (copied <= (window.rows, window.columns)), axis=1)
        positions = tf.boolean_mask(positions, ~inside)
    return Halo(positions, tf.gather_nd(values, positions))


def load_encoder(
    path: Path | None, layers: Sequence[str], precision: Precision = "float32"
) -> Encoder:
    """Return the normalised VGG-19; the last one loaded is cached. Raises WeightsError."""
    found = weights.find(path)
    return _encoder(found, found.stat().st_mtime_ns, tuple(layers), precision)


@lru_cache(maxsize=1)
def _encoder(path: Path, changed: int, layers: tuple[str, ...], precision: Precision) -> Encoder:
    return Encoder(normalized(weights.load(path)), layers, precision=precision)


def normalized(network: weights.Network) -> weights.Network:
    """Give every channel unit mean activation on the reference pictures.

    Copies of a network that differ by a positive factor a channel then have equal features.
    """
    observe = tf.function(Encoder(network, LAYERS, plain=True), autograph=False)
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
    here = Path(__file__).parent.parent
    for folder in (here / "reference", here.parent / "samples" / "reference"):
        if paths := sorted(folder.glob("*.png")):
            return [read_picture(path) for path in paths]
    raise WeightsError(
        f"expected the reference pictures of vidstyle in {here / 'reference'}, found none; "
        "install vidstyle again"
    )
