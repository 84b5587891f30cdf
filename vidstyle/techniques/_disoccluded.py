"""What nothing before this frame shows, and what is drawn to the style for itself there.

Moments are of all of a frame, and where most of that is painted already, little pulls at the
few pixels that a pan or a turn has just brought in: frame by frame the style would wane.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from vidstyle.techniques._receptive_field import seen, shrunk
from vidstyle.techniques.base import Features, StyleFeatures

__all__ = ["DisoccludedPlane", "disoccluded_loss", "disoccluded_plane", "parted"]

_PULL = 8.0  # of the style's own: what is fresh has the steps of one frame to be painted in


class DisoccludedPlane(NamedTuple):
    """K planes of what is fresh at a layer of P positions.

    places: int32 [M], the positions where it is, none if nothing is; weights: float32 [M, K];
    totals: float32 [K], their sums; shares: the same / all positions of the layer.
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
    """Return what is fresh of each plane at the layers that the frame has features of.

    planes: for each of these layers the planes [h, w, K] that its moments are taken over. A
    feature counts for what it sees that is fresh: at the edge it sees what is held as it was, too,
    and to be like the style in spite of that, the few pixels within became streaks of glaring
    colour. Unlike at a mask's edge this is not made good for, so slivers hardly pull at all.
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
    """Return the features as they are, and by layer the rows [M, C] of them that are fresh."""
    whole, parts = dict(features), {}
    for layer, over in disoccluded.items():
        whole[layer], parts[layer] = _parted(features[layer], over.places)
    return whole, parts


def _parted(values: Any, places: Any) -> tuple[Any, Any]:
    """Return values [h, w, C] and their rows at these places [M, C].

    Their gradients are added in one order: see losses.summed.
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
    """Return the style distance of what is fresh: 0 if nothing is.

    Each plane is weighed by its area, as in planes.style_of_planes. goals: moments
    [K, C + 1, C] by layer; the mean is over all of these, also those that are seen in strips.
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
