"""A style loss of disoccluded pixels alone, added to that of the whole frame.

Moments are averages over the frame. Where most of it is already stylised, their gradient at a few
newly visible pixels is small, and the style would fade frame by frame during a pan or a turn.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from vidstyle.techniques._receptive_field import seen, shrunk
from vidstyle.techniques.base import Features, StyleFeatures

__all__ = ["DisoccludedPlane", "disoccluded_loss", "disoccluded_plane", "parted"]

_PULL = 8.0  # weight relative to the style loss: these pixels have one frame's steps only


class DisoccludedPlane(NamedTuple):
    """The disoccluded part of K planes at a layer of P positions, sparse.

    places: int32 [M], the disoccluded positions; weights: float32 [M, K]; totals: float32 [K],
    their sums; shares: totals / P.
    """

    places: Any
    weights: Any
    totals: Any
    shares: Any

    def specification(self) -> "DisoccludedPlane":
        """Return TensorSpecs for any number of places."""
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

    planes: for each of these layers the planes [h, w, K] that its moments are taken over. A
    feature is weighted by the disoccluded part of its receptive field: with full weight at the
    edge, the few pixels inside compensated for the static ones outside with streaks of saturated
    colour. Unlike at a mask's edge the lost weight is not restored, so slivers hardly count.
    """
    import tensorflow as tf

    found = {}
    for (layer, features), over in zip(frame.features.items(), planes, strict=True):
        height, width = features.shape[:2]
        weights = np.zeros_like(over)
        if frame.disoccluded is not None and frame.disoccluded.any():
            alone = seen(frame.disoccluded, layer, height, width)
            weights = over * shrunk(frame.disoccluded, height, width) * alone
        if frame.window is not None:
            weights = frame.window.at(layer).cut(weights)
        flat = weights.reshape(-1, weights.shape[2]).astype(np.float32)
        places = np.flatnonzero(flat.any(axis=1))
        totals = flat.sum(axis=0)
        found[layer] = DisoccludedPlane(
            tf.constant(places, tf.int32),
            tf.constant(flat[places]),
            tf.constant(totals + np.float32(1e-12)),
            tf.constant(totals / np.float32(height * width)),
        )
    return found


def parted(
    features: Features, disoccluded: Mapping[str, DisoccludedPlane]
) -> tuple[Features, Features]:
    """Return the features unchanged, and by layer the disoccluded rows [M, C] of them."""
    whole, parts = dict(features), {}
    for layer, over in disoccluded.items():
        whole[layer], parts[layer] = _parted(features[layer], over.places)
    return whole, parts


def _parted(values: Any, places: Any) -> tuple[Any, Any]:
    """Return values [h, w, C] and their rows at these places [M, C].

    Their gradients are added in a fixed order: see losses.summed.
    """
    import tensorflow as tf

    height, width, channels = values.shape

    @tf.custom_gradient
    def split(values: Any) -> tuple[Any, Any]:
        rows = tf.reshape(values, (height * width, channels))

        def backwards(whole: Any, part: Any) -> Any:
            flat = tf.reshape(whole, (height * width, channels))
            both = tf.tensor_scatter_nd_add(flat, places[:, None], part)
            return tf.reshape(both, (height, width, channels))

        return (tf.identity(values), tf.gather(rows, places)), backwards

    return split(values)


def disoccluded_loss(
    parts: Features, disoccluded: Mapping[str, DisoccludedPlane], goals: Mapping[str, Any]
) -> Any:
    """Return the style distance of the disoccluded pixels; 0 if there are none.

    Planes are weighted by area, as in style_of_planes. goals: moments [K, C + 1, C] by layer; the
    weights of all of these layers add up to 1, also of those computed in strips.
    """
    import tensorflow as tf

    from vidstyle.vgg import losses

    apart = {}
    for layer, over in disoccluded.items():
        part = parts[layer]
        weighed = part[None] * tf.transpose(over.weights)[..., None]
        products = tf.matmul(weighed, part[None], transpose_a=True)
        sums = tf.concat([products, tf.reduce_sum(weighed, axis=1, keepdims=True)], axis=1)
        missed = losses.style(sums / over.totals[:, None, None], goals[layer])
        apart[layer] = tf.reduce_sum(over.shares * missed)
    return _PULL * losses.over_layers(apart, goals)
