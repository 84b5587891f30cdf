"""Planes: K weights for every position of a layer, and the Gram matrix of each in one pass.

What K masks cost is what their overlap costs. Where few overlap, each plane's own places are
gathered. Where many cover everything, their weights in a strip of the layer are mostly sums of a
few (masks are smooth), and the Gram matrices of those few are mixed.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from vidstyle.losses import summed
from vidstyle.window import Window

__all__ = ["Planes", "plane_grams", "planes_of", "style_of_planes"]

_STRIP = 8_000_000  # numbers of weighted features held at once where planes cover everything
_ALIKE = 1e-4  # of the greatest: what of the weights of a strip is left out of its sums


class Planes(NamedTuple):
    """Weights of K planes over P positions, sparse or, with M = 0 places, as sums.

    places: int32 [M], where weights are not 0, plane after plane; weights: float32 [M, 1]; starts:
    int32 [K + 1], where in them each plane begins; back: int32 [P, D], the up to D rows of
    `places` that are a position, or M. parts: float32 [P, R], of which the weights are sums; mix:
    float32 [S, R, K], the sums in each of S strips. totals: float32 [K], the sum of a plane's
    weights; shares: the same / all positions of the layer.
    """

    places: Any
    weights: Any
    starts: Any
    back: Any
    parts: Any
    mix: Any
    totals: Any
    shares: Any

    def specification(self) -> "Planes":
        """Return TensorSpecs for planes that may have any number of places and of parts."""
        count, strips = self.totals.shape[0], self.mix.shape[0]
        return Planes(
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([None, 1], tf.float32),
            tf.TensorSpec([count + 1], tf.int32),
            tf.TensorSpec([None, None], tf.int32),
            tf.TensorSpec([None, None], tf.float32),
            tf.TensorSpec([strips, None, count], tf.float32),
            tf.TensorSpec([count], tf.float32),
            tf.TensorSpec([count], tf.float32),
        )


def planes_of(weights: np.ndarray, channels: int, window: Window | None = None) -> Planes:
    """Return weight planes [h, w, K] in 0..1 of a layer of so many channels as Planes.

    window: the part of the layer that features will be given of; all weights are to lie in it.
    """
    whole = weights.shape[0] * weights.shape[1]
    if window is not None:
        weights = window.cut(weights)
    flat = weights.reshape(-1, weights.shape[2]).astype(np.float32)
    size, count = flat.shape
    which, places = np.nonzero(flat.T)
    strips = _strips(size, count * channels)
    if 2 * len(places) > size * count:
        parts, mix = _as_sums(flat, strips)
        which = places = np.empty(0, np.int64)
    else:
        parts, mix = np.zeros((0, 1), np.float32), np.zeros((len(strips), 1, count), np.float32)
    totals = flat.sum(axis=0)
    return Planes(
        tf.constant(places, tf.int32),
        tf.constant(flat[places, which][:, None]),
        tf.constant(np.searchsorted(which, np.arange(count + 1)), tf.int32),
        tf.constant(_rows_of_positions(places, size), tf.int32),
        tf.constant(parts),
        tf.constant(mix),
        tf.constant(totals + np.float32(1e-12)),
        tf.constant(totals / np.float32(whole)),
    )


def _rows_of_positions(places: np.ndarray, size: int) -> np.ndarray:
    """Return for each position the rows of `places` that name it, [size, D]; filled with M."""
    order = np.argsort(places, kind="stable")
    ordered = places[order]
    depth = int(np.bincount(places, minlength=1).max())
    rows = np.full((size, max(1, depth)), len(places))
    rows[ordered, np.arange(len(places)) - np.searchsorted(ordered, ordered)] = order
    return rows


def _strips(size: int, wide: int) -> list[tuple[int, int]]:
    """Return (first position, how many) of strips in which `wide` numbers a position are held."""
    step = max(1, _STRIP // wide)
    return [(first, min(step, size - first)) for first in range(0, size, step)]


def _as_sums(flat: np.ndarray, strips: Sequence[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Return parts [P, R] and mix [S, R, K] of which each strip's weights are the product.

    By the eigenvectors of WᵀW, a strip's own; R is the most that any strip needs.
    """
    found = []
    for first, size in strips:
        weights = flat[first : first + size].astype(np.float64)
        values, vectors = np.linalg.eigh(weights.T @ weights)
        kept = vectors[:, values > values[-1] * _ALIKE**2]
        found.append((weights @ kept, kept.T))
    most = max(mix.shape[0] for _, mix in found)
    parts = [np.pad(part, ((0, 0), (0, most - part.shape[1]))) for part, _ in found]
    mixes = [np.pad(mix, ((0, most - mix.shape[0]), (0, 0))) for _, mix in found]
    return np.concatenate(parts).astype(np.float32), np.stack(mixes).astype(np.float32)


def plane_grams(features: Any, over: Planes) -> Any:
    """Return Σ_p w_k(p) f(p) f(p)ᵀ / Σ_p w_k(p) for each plane k: [K, C, C].

    The weight enters once (in the original's techniques it is squared), and one pass of the network
    serves all planes.
    """
    channels = features.shape[2]
    rows = tf.reshape(features, (-1, channels))
    dense = tf.shape(over.parts)[0] > 0

    @tf.custom_gradient
    def grams(rows: Any) -> tuple[Any, Any]:
        gathered = tf.gather(rows, over.places)
        weighed = gathered * over.weights
        found = tf.cond(
            dense,
            lambda: _mixed_products(rows, over),
            lambda: _products(weighed, gathered, over),
        )
        per_total = over.totals[:, None, None]

        def backwards(up: Any) -> Any:
            pulls = (up + tf.transpose(up, (0, 2, 1))) / per_total
            return tf.cond(
                dense,
                lambda: _mixed_pulls(rows, over, pulls),
                lambda: _pulls(weighed, over, pulls),
            )

        return found / per_total, backwards

    return grams(rows)


def _of_plane(rows: Any, over: Planes, index: int) -> Any:
    first, size = over.starts[index], over.starts[index + 1] - over.starts[index]
    return tf.slice(rows, [first, 0], [size, rows.shape[1]])


def _products(weighed: Any, gathered: Any, over: Planes) -> Any:
    """Return Σ w f fᵀ of each plane, [K, C, C], from its own places."""
    products = [
        tf.matmul(_of_plane(weighed, over, k), _of_plane(gathered, over, k), transpose_a=True)
        for k in range(over.totals.shape[0])
    ]
    return tf.stack(products)


def _pulls(weighed: Any, over: Planes, pulls: Any) -> Any:
    """Return Σ_k w_k f · pull_k for each position, [P, C]; gathered, since scattering is slow."""
    count, channels = over.totals.shape[0], weighed.shape[1]
    parts = [tf.matmul(_of_plane(weighed, over, k), pulls[k]) for k in range(count)]
    every = tf.concat([*parts, tf.zeros((1, channels))], axis=0)
    return tf.reduce_sum(tf.gather(every, over.back), axis=1)


def _wide(rows: Any, over: Planes) -> list[tuple[Any, Any]]:
    """Return for each strip its rows [p, C], and these times every part, [p, R · C]."""
    size, channels = rows.shape
    count = tf.shape(over.parts)[1]
    strips = []
    for first, length in _strips(size, over.totals.shape[0] * channels):
        part = tf.slice(rows, (first, 0), (length, channels))
        weights = tf.slice(over.parts, (first, 0), (length, count))
        weighed = part[:, None, :] * weights[..., None]
        strips.append((part, tf.reshape(weighed, (length, count * channels))))
    return strips


def _mixed_products(rows: Any, over: Planes) -> Any:
    """Return Σ w f fᵀ of each plane, [K, C, C], from those of each strip's parts."""
    channels = rows.shape[1]
    found = []
    for index, (part, wide) in enumerate(_wide(rows, over)):
        product = tf.reshape(tf.matmul(wide, part, transpose_a=True), (-1, channels * channels))
        found.append(tf.matmul(over.mix[index], product, transpose_a=True))
    return tf.reshape(summed(found), (over.totals.shape[0], channels, channels))


def _mixed_pulls(rows: Any, over: Planes, pulls: Any) -> Any:
    """Return Σ_k w_k f · pull_k for each position, [P, C]."""
    channels = rows.shape[1]
    flat = tf.reshape(pulls, (-1, channels * channels))
    found = []
    for index, (_, wide) in enumerate(_wide(rows, over)):
        found.append(tf.matmul(wide, tf.reshape(over.mix[index] @ flat, (-1, channels))))
    return tf.concat(found, axis=0)


def style_of_planes(features: Any, over: Planes, goals: Any) -> Any:
    """Return Σ_k ω_k ‖G_k − A_k‖² / ‖A_k‖², G of features [h, w, C], A = goals [K, C, C].

    ω_k is the plane's share of the frame: every position is pulled with its own weight, in a small
    region as in a large one.
    """
    apart = tf.reduce_sum(tf.square(plane_grams(features, over) - goals), axis=(1, 2))
    return tf.reduce_sum(
        over.shares * apart / (tf.reduce_sum(tf.square(goals), axis=(1, 2)) + 1e-12)
    )
