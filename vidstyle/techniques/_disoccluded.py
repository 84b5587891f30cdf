"""A style loss over disoccluded pixels alone, added to that of the whole frame.

Moments are averages over the frame. Where most of it is already stylised, their gradient at a few
newly visible pixels is small, and the style would fade frame by frame during a pan or a turn.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from vidstyle.techniques._receptive_field import area_averaged, receptive_field_share
from vidstyle.techniques.base import Features, StyleFeatures

__all__ = ["DisoccludedPlane", "disoccluded_loss", "disoccluded_plane", "split_disoccluded"]

# Relative to the style loss. Tried: 8 (chosen for squared distances; with norms more specks, and
# the subject less legible: 0.95 in place of 0.99 of a frame alone on bmx-trees), 1 (the same).
_WEIGHT = 2.0


class DisoccludedPlane(NamedTuple):
    """The disoccluded part of K planes at a layer of P positions, sparse.

    positions: int32 [M], indices of the disoccluded positions; weights: float32 [M, K]; totals:
    float32 [K], the sum of each plane's weights; shares: float32 [K], totals / P.
    """

    positions: Any
    weights: Any
    totals: Any
    shares: Any

    def specification(self) -> "DisoccludedPlane":
        """Return TensorSpecs for any number of positions."""
        import tensorflow as tf

        count = self.totals.shape[0]
        return DisoccludedPlane(
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([None, count], tf.float32),
            tf.TensorSpec([count], tf.float32),
            tf.TensorSpec([count], tf.float32),
        )


def disoccluded_plane(
    frame: StyleFeatures, planes: Sequence[np.ndarray]
) -> dict[str, DisoccludedPlane]:
    """Return the disoccluded part of each plane, by layer of the frame's features.

    planes: for each of these layers, the weights float32 [h, w, K] of its moments. Each is
    multiplied by the disoccluded part of the cell and of its receptive field: with full weight at
    the edge, the few pixels inside compensated for the static ones outside with streaks of
    saturated colour. Unlike at a mask's edge, the weights are not rescaled to the plane's area, so
    slivers have little weight.
    """
    import tensorflow as tf

    parts = {}
    for (layer, features), over in zip(frame.features.items(), planes, strict=True):
        height, width = features.shape[:2]
        weights = np.zeros_like(over)
        if frame.disoccluded is not None and frame.disoccluded.any():
            share = receptive_field_share(frame.disoccluded, layer, height, width)
            weights = over * area_averaged(frame.disoccluded, height, width) * share
        if frame.window is not None:
            weights = frame.window.at(layer).cut(weights)
        flat = weights.reshape(-1, weights.shape[2]).astype(np.float32)
        positions = np.flatnonzero(flat.any(axis=1))
        totals = flat.sum(axis=0)
        parts[layer] = DisoccludedPlane(
            tf.constant(positions, tf.int32),
            tf.constant(flat[positions]),
            tf.constant(totals + np.float32(1e-12)),
            tf.constant(totals / np.float32(height * width)),
        )
    return parts


def split_disoccluded(
    features: Features, disoccluded: Mapping[str, DisoccludedPlane]
) -> tuple[Features, Features]:
    """Return the features unchanged, and by layer those of the disoccluded positions, [M, C]."""
    whole, parts = dict(features), {}
    for layer, plane in disoccluded.items():
        whole[layer], parts[layer] = _split(features[layer], plane.positions)
    return whole, parts


def _split(values: Any, positions: Any) -> tuple[Any, Any]:
    """Return values [h, w, C] and their rows at these positions, [M, C].

    Their gradients are added in a fixed order: see losses.summed.
    """
    import tensorflow as tf

    height, width, channels = values.shape

    @tf.custom_gradient
    def split(values: Any) -> tuple[Any, Any]:
        rows = tf.reshape(values, (height * width, channels))

        def backwards(whole: Any, part: Any) -> Any:
            flat = tf.reshape(whole, (height * width, channels))
            both = tf.tensor_scatter_nd_add(flat, positions[:, None], part)
            return tf.reshape(both, (height, width, channels))

        return (tf.identity(values), tf.gather(rows, positions)), backwards

    return split(values)


def disoccluded_loss(
    parts: Features, disoccluded: Mapping[str, DisoccludedPlane], goals: Mapping[str, Any]
) -> Any:
    """Return the style distance of the disoccluded pixels, a scalar tensor; 0 if there are none.

    parts: by layer, features [M, C] as of `split_disoccluded`. Planes are weighted by area, as in
    style_of_planes. goals: moments [K, C + 1, C] by layer; the layer weights of all of them add up
    to 1, including layers that are computed in strips and have no part here.
    """
    import tensorflow as tf

    from vidstyle.vgg import losses

    distances = {}
    for layer, plane in disoccluded.items():
        rows = parts[layer]
        weighted = rows[None] * tf.transpose(plane.weights)[..., None]
        products = tf.matmul(weighted, rows[None], transpose_a=True)
        sums = tf.concat([products, tf.reduce_sum(weighted, axis=1, keepdims=True)], axis=1)
        distance = losses.style(sums / plane.totals[:, None, None], goals[layer])
        distances[layer] = tf.reduce_sum(plane.shares * distance)
    return _WEIGHT * losses.over_layers(distances, goals)
