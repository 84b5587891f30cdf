"""Loss terms: pure functions of tensors. All are relative or means, so weights hold at every size.

Gatys, Ecker & Bethge, "Image Style Transfer Using CNNs", 2016 (Gram and content terms); Ruder,
Dosovitskiy & Brox, "Artistic Style Transfer for Videos", 2016 (temporal term). They differ here in
that every term is divided by the size of its target.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

__all__ = [
    "Planes",
    "area_average",
    "content",
    "gram",
    "plane_grams",
    "planes",
    "relative",
    "shrunk",
    "style_of_planes",
    "summed",
    "temporal",
    "total_variation",
]

_LUMA_CHROMA = np.array(  # columns: Y, and four times Cb and Cr (Rec. 601)
    [[0.299, -0.676, 2.0], [0.587, -1.324, -1.676], [0.114, 2.0, -0.324]], np.float32
)
_ROUNDING = 0.02  # of 1: differences below it are hardly smoothed
_STRIP = 8_000_000  # numbers of weighted features held at once where planes cover everything
_TV_REFERENCE = 512.0  # pixels; gradients are measured as if the long side were this


@tf.custom_gradient
def _outer(rows: Any) -> tuple[Any, Any]:
    """Return rowsᵀ·rows of [P, C]; its gradient is one product where autodiff would take two."""
    return tf.matmul(rows, rows, transpose_a=True), lambda up: tf.matmul(
        rows, up + tf.transpose(up)
    )


def summed(values: Sequence[Any]) -> Any:
    """Return the sum of tensors of one shape, in this order.

    TensorFlow makes one AddN of three or more additions in a graph, and that begins with whichever
    input has no other reader left: the last bits would depend on which operation ran first.
    """
    return tf.reduce_sum(tf.stack(values), axis=0)


def gram(features: Any) -> Any:
    """Return Σ_p f(p) f(p)ᵀ / P of features [h, w, C], P = h·w positions: [C, C]."""
    height, width, channels = features.shape
    return _outer(tf.reshape(features, (-1, channels))) / float(height * width)


class Planes(NamedTuple):
    """K weight planes over P positions of a layer, as the M places where a weight is not 0.

    places: int32 [M], plane after plane; weights: float32 [M, 1]; starts: int32 [K + 1], where in
    them each plane begins; shares: float32 [K], the sum of a plane's weights / P.
    """

    places: Any
    weights: Any
    starts: Any
    shares: Any


def planes(weights: np.ndarray) -> Planes:
    """Return weight planes [h, w, K] in 0..1 as Planes."""
    flat = weights.reshape(-1, weights.shape[2]).T.astype(np.float32)  # [K, P]
    which, places = np.nonzero(flat)
    starts = np.searchsorted(which, np.arange(len(flat) + 1))
    return Planes(
        tf.constant(places, tf.int32),
        tf.constant(flat[which, places][:, None]),
        tf.constant(starts, tf.int32),
        tf.constant(flat.mean(axis=1)),
    )


def plane_grams(features: Any, over: Planes) -> Any:
    """Return Σ_p w_k(p) f(p) f(p)ᵀ / Σ_p w_k(p) for each plane k: [K, C, C].

    The weight enters once (in the original's techniques it is squared). One pass of the network
    serves all planes, and no weighted copy of the features is kept for the gradient. The time
    grows with the depth of the planes' overlap: each gathers its own places; planes that mostly
    cover the whole frame are multiplied out together, a strip of rows at a time.
    """
    rows = tf.reshape(features, (-1, features.shape[2]))
    count = over.starts.shape[0] - 1
    spans = [_span(over, index) for index in range(count)]
    sums = tf.stack([tf.reduce_sum(weights) for _, weights in spans]) + 1e-12
    full = 2 * tf.shape(over.places)[0] > count * rows.shape[0]

    @tf.custom_gradient
    def grams(rows: Any) -> tuple[Any, Any]:
        found = tf.cond(
            full,
            lambda: _products_in_strips(rows, _dense(rows, spans)),
            lambda: _products_at_places(rows, spans),
        )

        def backwards(up: Any) -> Any:
            pulls = (up + tf.transpose(up, (0, 2, 1))) / sums[:, None, None]
            return tf.cond(
                full,
                lambda: _pulled_in_strips(rows, _dense(rows, spans), pulls),
                lambda: _pulled_at_places(rows, spans, pulls),
            )

        return found / sums[:, None, None], backwards

    return grams(rows)


def _span(over: Planes, index: int) -> tuple[Any, Any]:
    """Return the places and weights of one plane."""
    first, size = over.starts[index], over.starts[index + 1] - over.starts[index]
    return tf.slice(over.places, [first], [size]), tf.slice(over.weights, [first, 0], [size, 1])


def _products_at_places(rows: Any, spans: Sequence[tuple[Any, Any]]) -> Any:
    """Return Σ w f fᵀ of each plane, [K, C, C], from its own places."""
    parts = ((tf.gather(rows, places), weights) for places, weights in spans)
    return tf.stack([tf.matmul(part * weights, part, transpose_a=True) for part, weights in parts])


def _pulled_at_places(rows: Any, spans: Sequence[tuple[Any, Any]], pulls: Any) -> Any:
    """Return Σ_k w_k f · pull_k for each row, [P, C], summed in one order."""
    total = tf.zeros_like(rows)
    for index, (places, weights) in enumerate(spans):
        part = tf.matmul(tf.gather(rows, places), pulls[index]) * weights
        total = tf.tensor_scatter_nd_add(total, places[:, None], part)
    return total


def _dense(rows: Any, spans: Sequence[tuple[Any, Any]]) -> Any:
    """Return the weights of all planes at all places, [P, K]."""
    size = [rows.shape[0]]
    planes = [tf.scatter_nd(at[:, None], weights[:, 0], size) for at, weights in spans]
    return tf.stack(planes, axis=1)


def _strips(rows: Any, weights: Any) -> list[tuple[Any, Any]]:
    """Return pairs of rows [p, C] and rows times every plane's weight [p, K · C], a strip each."""
    height, channels = rows.shape
    wide = weights.shape[1] * channels
    step = max(1, _STRIP // wide)
    strips = []
    for first in range(0, height, step):
        size = min(step, height - first)
        part = tf.slice(rows, (first, 0), (size, channels))
        weighed = (
            part[:, None, :] * tf.slice(weights, (first, 0), (size, weights.shape[1]))[..., None]
        )
        strips.append((part, tf.reshape(weighed, (size, wide))))
    return strips


def _products_in_strips(rows: Any, weights: Any) -> Any:
    """Return Σ w f fᵀ of each plane, [K, C, C]."""
    products = [tf.matmul(wide, part, transpose_a=True) for part, wide in _strips(rows, weights)]
    return tf.reshape(summed(products), (weights.shape[1], rows.shape[1], rows.shape[1]))


def _pulled_in_strips(rows: Any, weights: Any, pulls: Any) -> Any:
    """Return Σ_k w_k f · pull_k for each row, [P, C]."""
    tall = tf.reshape(pulls, (-1, rows.shape[1]))
    return tf.concat([tf.matmul(wide, tall) for _, wide in _strips(rows, weights)], axis=0)


def style_of_planes(features: Any, over: Planes, goals: Any) -> Any:
    """Return Σ_k ω_k ‖G_k − A_k‖² / ‖A_k‖², G of features [h, w, C], A = goals [K, C, C].

    ω_k is the plane's share of the frame: every position is pulled with its own weight, in a small
    region as in a large one.
    """
    apart = tf.reduce_sum(tf.square(plane_grams(features, over) - goals), axis=(1, 2))
    return tf.reduce_sum(
        over.shares * apart / (tf.reduce_sum(tf.square(goals), axis=(1, 2)) + 1e-12)
    )


def relative(values: Any, target: Any) -> Any:
    """Return ‖values − target‖² / ‖target‖²: 0 when equal, 1 when values are 0."""
    return tf.reduce_sum(tf.square(values - target)) / (tf.reduce_sum(tf.square(target)) + 1e-12)


def content(features: Any, target: Any) -> Any:
    """Return the relative squared distance of features [h, w, C] from those of the frame."""
    return relative(features, target)


def total_variation(image: Any) -> Any:
    """Return the mean of √(∂x² + ∂y² + ε²) − ε over luma and chroma of an image [H, W, 3] in 0..1.

    Rudin, Osher & Fatemi, "Nonlinear total variation based noise removal", 1992. Differs in that
    colour weighs four times as much as brightness, since a stroke has edges and a speck has a
    colour of its own; that the root is rounded (ε = 0.02); and that gradients are taken per 1/512
    of the long side, not per pixel, so that a size does not change their meaning. The original's
    power of 2.5 does the opposite: it lets grain be and blunts the strokes.
    """
    height, width = image.shape[:2]
    scale = max(height, width) / _TV_REFERENCE
    planes = tf.tensordot(image, tf.constant(_LUMA_CHROMA * scale), 1)
    size = (height - 1, width - 1, 3)  # tf.slice, since the gradient of indexing is slow
    left = tf.slice(planes, (0, 0, 0), (height, width - 1, 3))
    corner, below = (tf.slice(left, (row, 0, 0), size) for row in (0, 1))
    down, right = below - corner, tf.slice(planes, (0, 1, 0), size) - corner
    steepness = tf.sqrt(tf.square(down) + tf.square(right) + _ROUNDING**2) - _ROUNDING
    return tf.reduce_mean(tf.reduce_sum(steepness, axis=2))


def temporal(image: Any, prior: Any, trust: Any) -> Any:
    """Return Σ trust·‖x − prior‖² / Σ trust over images [H, W, 3]; trust [H, W, 1] in 0..1."""
    return tf.reduce_sum(trust * tf.square(image - prior)) / (tf.reduce_sum(trust) + 1e-6)


def area_average(long: int, short: int) -> np.ndarray:
    """Return the matrix [short, long] that averages `long` samples into `short` equal spans."""
    edges = np.arange(short + 1) * (long / short)
    starts, ends = edges[:-1, None], edges[1:, None]
    cells = np.arange(long)[None, :]
    shares = np.clip(np.minimum(ends, cells + 1) - np.maximum(starts, cells), 0, None)
    return (shares / (long / short)).astype(np.float32)


def shrunk(image: Any, matrices: tuple[Any, Any]) -> Any:
    """Return an image [H, W, 3] at the size of two area_average matrices, rows and columns."""
    rows, columns = matrices
    return tf.einsum("hH,HWc,wW->hwc", rows, image, columns)
