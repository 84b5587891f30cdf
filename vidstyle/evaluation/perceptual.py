"""Distances: how far a picture is from a style and from a content, as the network sees it.

Gatys, Ecker & Bethge (2016): relative squared distances of Gram matrices and of features. Taken at
layers and at a size that the optimiser does not use, since it drives its own towards 0, and as
the plain Gram matrix, which it does not use either (see losses.style).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from vidstyle.image import Image, resize
from vidstyle.techniques._masked_gram import plane_moments, planes_of
from vidstyle.vgg import losses
from vidstyle.vgg.encoder import load_encoder

__all__ = ["PerceptualDistances"]


class PerceptualDistances:
    """Distances from one style picture, at one size (width, height).

    layers: where Gram matrices are compared; content: the layer whose features are. Raises
    WeightsError if the network is not to be had.
    """

    def __init__(
        self,
        style: Image,
        layers: Sequence[str],
        content: str,
        size: tuple[int, int],
        weights: Path | None = None,
    ) -> None:
        self._layers, self._content, self._size = tuple(layers), content, size
        self._encode = tf.function(load_encoder(weights, (*layers, content)))
        rows, columns = style.shape[:2]
        factor = (size[0] * size[1] / (rows * columns)) ** 0.5  # strokes of the same proportion
        scaled = resize(style, max(16, round(columns * factor)), max(16, round(rows * factor)))
        self._goals = {
            name: losses.gram(features)
            for name, features in self._encode(tf.constant(scaled)).items()
        }

    def __call__(self, image: Image, source: Image, inside: np.ndarray) -> dict[str, float]:
        """Return style_distance and content_distance of an image: 0 if equal, 1 for a grey one.

        inside: bool [H, W], where the style is looked for; the content is compared everywhere.
        """
        ours, theirs = (
            self._encode(tf.constant(resize(one, *self._size))) for one in (image, source)
        )
        apart = [
            losses.relative(self._gram(ours[name], inside), self._goals[name])
            for name in self._layers
        ]
        content = losses.relative(ours[self._content], theirs[self._content])
        return {
            "style_distance": float(losses.summed(apart)) / len(apart),
            "content_distance": float(content),
        }

    def _gram(self, features: tf.Tensor, inside: np.ndarray) -> tf.Tensor:
        if inside.all() or not inside.any():
            return losses.gram(features)
        rows, columns = (
            losses.area_average(long, short)
            for long, short in zip(inside.shape, features.shape[:2], strict=True)
        )
        weights = (rows @ inside.astype(np.float32) @ columns.T)[..., None]
        return plane_moments(features, planes_of(weights))[0, :-1]
