"""A tiny fixed encoder and images for tests of the stylizer, without weights."""

from typing import Any

import numpy as np
import tensorflow as tf

from vidstyle.image import Image
from vidstyle.settings import LAYERS as VGG
from vidstyle.vgg.encoder import Encoder

LAYERS = ("relu1_1", "relu2_1", "relu3_1")


class TinyEncoder:
    """Three random 3x3 convolutions with pooling between, under the names of VGG's layers."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        shapes = ((3, 8), (8, 12), (12, 16))
        self._kernels = [
            tf.constant(random.normal(0, 0.4, (3, 3, *shape)), tf.float32) for shape in shapes
        ]

    def __call__(self, image: Any) -> dict[str, Any]:
        x, features = image - 0.5, {}
        for name, kernel in zip(LAYERS, self._kernels, strict=True):
            x = x if name == LAYERS[0] else tf.nn.avg_pool2d(x[None], 2, 2, "SAME")[0]
            x = tf.nn.relu(tf.nn.conv2d(x[None], kernel, 1, "SAME")[0])
            features[name] = x
        return features


def narrow_encoder(*layers: str, **options: Any) -> Encoder:
    """VGG-19's layers to relu4_1 with few channels and fixed random weights; see Encoder."""
    random, shapes, before = np.random.default_rng(5), {}, 3
    for name, channels in zip(VGG[:9], (4, 4, 6, 6, 8, 8, 8, 8, 8), strict=True):
        kernel = random.normal(0, (2 / (9 * before)) ** 0.5, (3, 3, before, channels))
        bias = np.zeros(channels, np.float32)
        shapes[name.replace("relu", "conv")] = (kernel.astype(np.float32), bias)
        before = channels
    return Encoder(shapes, layers, **options)


def plain_style(rows: Any, weights: Any, goal_rows: Any, goal_weights: Any) -> Any:
    """The style distance of features [P, C], weighted by [P], from others, by its definition."""
    (mean, spread), (goal_mean, goal_spread) = (
        _mean_and_covariance(tf.convert_to_tensor(f), tf.constant(w, tf.float32))
        for f, w in ((rows, weights), (goal_rows, goal_weights))
    )
    energy = tf.reduce_sum(goal_spread**2) + (0.05 * tf.reduce_sum(goal_mean**2)) ** 2
    apart = (
        tf.reduce_sum((spread - goal_spread) ** 2) / energy,
        tf.reduce_sum((mean - goal_mean) ** 2) / tf.reduce_sum(goal_mean**2),
    )
    return sum(tf.sqrt(squared + 1e-5) - 1e-5**0.5 for squared in apart) / 2


def _mean_and_covariance(rows: Any, weights: Any) -> tuple[Any, Any]:
    parts = (weights / tf.reduce_sum(weights))[:, None]
    mean = tf.reduce_sum(parts * rows, axis=0)
    return mean, tf.transpose(rows - mean) @ (parts * (rows - mean))


def disc(height: int, width: int, *, x: float = 0.5, y: float = 0.5) -> Image:
    """A soft orange disc at (x, y) of the size, on a blue gradient with a little texture."""
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    inside = np.clip(height / 4 + 1 - np.hypot(columns - x * width, rows - y * height), 0, 2) / 2
    ground = np.stack([rows / height * 0.3, columns / width * 0.5, np.full_like(rows, 0.6)], -1)
    texture = 0.08 * np.sin(columns * 0.9)[..., None] * np.cos(rows * 0.7)[..., None]
    orange = np.array([0.9, 0.5, 0.1], np.float32)
    return np.clip(
        ground * (1 - inside[..., None]) + orange * inside[..., None] + texture, 0, 1
    ).astype(np.float32)


def stripes(height: int, width: int) -> Image:
    """A style: slanted stripes in three colours."""
    rows, columns = np.mgrid[:height, :width]
    palette = np.array([[0.1, 0.1, 0.4], [0.9, 0.8, 0.2], [0.8, 0.2, 0.2]], np.float32)
    return palette[((rows + 2 * columns) // 5) % 3]
