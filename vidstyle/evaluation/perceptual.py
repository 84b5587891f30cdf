"""Style and content distances of an image in VGG-19 feature space.

Relative squared distances of Gram matrices and of features after Gatys, Ecker & Bethge (2016). The
layers, the size and the Gram matrix, which is not centred, differ from those of the optimiser (see
losses.style), which drives its own terms towards 0.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from vidstyle.image import Image, resize
from vidstyle.techniques._masked_gram import plane_moments, planes_of
from vidstyle.techniques._receptive_field import area_averaged
from vidstyle.vgg import losses
from vidstyle.vgg.encoder import load_encoder

__all__ = ["PerceptualDistances"]


class PerceptualDistances:
    """Distances of images from one style picture, measured at one size (width, height).

    style: float32 [H, W, 3], RGB, 0..1. layers: for the Gram matrices. content: layer for the
    features. Raises WeightsError if the weights are unavailable.
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
        self._encode = tf.function(load_encoder(weights, (*layers, content)), autograph=False)
        rows, columns = style.shape[:2]
        factor = (size[0] * size[1] / (rows * columns)) ** 0.5  # equal areas: equal stroke size
        scaled = resize(style, max(16, round(columns * factor)), max(16, round(rows * factor)))
        self._goals = {
            name: losses.gram(features)
            for name, features in self._encode(tf.constant(scaled)).items()
        }

    def __call__(self, image: Image, source: Image, inside: np.ndarray) -> dict[str, float]:
        """Return the style_distance and content_distance of an image: 0 if equal, 1 if grey.

        inside: bool [H, W], the area whose style is compared; the content is compared everywhere.
        """
        result, target = (
            self._encode(tf.constant(resize(picture, *self._size))) for picture in (image, source)
        )
        distances = [
            losses.relative(self._gram(result[name], inside), self._goals[name])
            for name in self._layers
        ]
        content = losses.relative(result[self._content], target[self._content])
        return {
            "style_distance": float(losses.summed(distances)) / len(distances),
            "content_distance": float(content),
        }

    def _gram(self, features: tf.Tensor, inside: np.ndarray) -> tf.Tensor:
        if inside.all() or not inside.any():
            return losses.gram(features)
        weights = area_averaged(inside[..., None].astype(np.float32), *features.shape[:2])
        return plane_moments(features, planes_of(weights))[0, :-1]
