"""Planes: K weights for every position of a layer, and the moments of each plane in one pass.

Sparse planes: the positions of each plane are gathered. Dense planes (most weights above 0): since
masks are smooth, the K weights within a small tile are linear combinations of R < K of them; the
moments of these R are computed and mixed.
"""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from vidstyle.vgg.crop import Window
from vidstyle.vgg.losses import style, summed

__all__ = ["Planes", "plane_moments", "planes_of", "style_of_planes"]

_HELD = 8_000_000  # weighted features in memory at once, of dense planes
_LEFT_OUT = 1e-3  # RMS error of the weights of a tile, of 1: less than 8-bit rounding
_MANY = 65_536  # positions above which tiles have 16 x 16 cells, not 8 x 8


class Planes(NamedTuple):
    """Weights of K planes over P positions: sparse (R = 0), or dense in tiles (M = 0).

    Sparse: places: int32 [M], positions of weights above 0, plane after plane; weights: float32
    [M, 1]; starts: int32 [K + 1], the first row of each plane; back: int32 [P, D], the rows of
    `places` that name a position, filled up with M.
    Dense: tiles: int32 [T, N], the positions of each tile; parts: float32 [T, N, R] and mix:
    float32 [T, R, K], whose product is the weights; untile: int32 [P], the index of each position
    in the flattened tiles.
    totals: float32 [K], the sum of each plane's weights; shares: totals / positions of the frame.
    """

    places: Any
    weights: Any
    starts: Any
    back: Any
    tiles: Any
    parts: Any
    mix: Any
    untile: Any
    totals: Any
    shares: Any

    def specification(self) -> "Planes":
        """Return TensorSpecs for any number of places and of parts."""
        count, (tiles, size) = self.totals.shape[0], self.tiles.shape
        return Planes(
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([None, 1], tf.float32),
            tf.TensorSpec([count + 1], tf.int32),
            tf.TensorSpec([None, None], tf.int32),
            tf.TensorSpec([tiles, size], tf.int32),
            tf.TensorSpec([tiles, size, None], tf.float32),
            tf.TensorSpec([tiles, None, count], tf.float32),
            tf.TensorSpec(self.untile.shape, tf.int32),
            tf.TensorSpec([count], tf.float32),
            tf.TensorSpec([count], tf.float32),
        )


def planes_of(weights: np.ndarray, window: Window | None = None) -> Planes:
    """Return Planes of weights [h, w, K] in 0..1 of a layer.

    window: the part of the layer, in its cells, whose features the loss is given; all weights
    above 0 lie in it.
    """
    whole = weights.shape[0] * weights.shape[1]
    if window is not None:
        weights = window.cut(weights)
    flat = weights.reshape(-1, weights.shape[2]).astype(np.float32)
    size, count = flat.shape
    which, places = np.nonzero(flat.T)
    tiles, within = _tiles(*weights.shape)
    parts, mix = np.zeros((*tiles.shape, 0)), np.zeros((len(tiles), 0, count))
    if 2 * len(places) > size * count:
        parts, mix = _as_sums(flat[tiles] * within[..., None])
        which = places = np.empty(0, np.int64)
    totals = flat.sum(axis=0)
    return Planes(
        tf.constant(places, tf.int32),
        tf.constant(flat[places, which][:, None]),
        tf.constant(np.searchsorted(which, np.arange(count + 1)), tf.int32),
        tf.constant(_rows_of_positions(places, size), tf.int32),
        tf.constant(tiles, tf.int32),
        tf.constant(parts, tf.float32),
        tf.constant(mix, tf.float32),
        tf.constant(_where_in(tiles, within), tf.int32),
        tf.constant(totals + np.float32(1e-12)),
        tf.constant(totals / np.float32(whole)),
    )


def _rows_of_positions(places: np.ndarray, size: int) -> np.ndarray:
    """Return the rows of `places` that name each position, [size, D], filled up with M."""
    order = np.argsort(places, kind="stable")
    ordered = places[order]
    depth = int(np.bincount(places, minlength=1).max())
    rows = np.full((size, max(1, depth)), len(places))
    rows[ordered, np.arange(len(places)) - np.searchsorted(ordered, ordered)] = order
    return rows


def _tiles(height: int, width: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions of each tile, [T, N], and which of them lie inside the layer.

    A single plane has a single tile.
    """
    if count == 1:
        return np.arange(height * width)[None], np.ones((1, height * width), bool)
    side = 16 if height * width > _MANY else 8
    down, across = (
        np.arange(-(-length // side) * side).reshape(-1, side) for length in (height, width)
    )
    row = np.repeat(np.repeat(down, len(across), axis=0), side, axis=1)
    column = np.tile(np.tile(across, (len(down), 1)), (1, side))
    within = (row < height) & (column < width)
    return np.where(within, row * width + column, 0), within


def _where_in(tiles: np.ndarray, within: np.ndarray) -> np.ndarray:
    """Return the index of each position in the flattened tiles."""
    found = np.empty(int(within.sum()), np.int64)
    found[tiles[within]] = np.flatnonzero(within.ravel())
    return found


def _as_sums(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return parts [T, N, R] and mix [T, R, K] whose product approximates weights [T, N, K].

    From the eigenvectors of each tile's WᵀW; R is the largest rank that a tile needs.
    """
    exact = weights.astype(np.float64)
    values, vectors = np.linalg.eigh(exact.transpose(0, 2, 1) @ exact)  # ascending
    left_out = np.cumsum(np.maximum(values, 0), axis=1) / (exact.shape[1] * exact.shape[2])
    count = exact.shape[2] - int((left_out <= _LEFT_OUT**2).sum(axis=1).min())
    kept = vectors[:, :, exact.shape[2] - max(1, count) :]
    return exact @ kept, kept.transpose(0, 2, 1)


def plane_moments(features: Any, over: Planes) -> Any:
    """Return the moments of features [h, w, C] for each plane k: [K, C + 1, C].

    Σ_p w_k(p) f(p) f(p)ᵀ / Σ_p w_k(p), and below it Σ_p w_k(p) f(p) / Σ_p w_k(p). Differs from
    Gatys et al. (2017), where the weight is squared.
    """
    channels = features.shape[2]
    rows = tf.reshape(features, (-1, channels))
    dense = tf.shape(over.parts)[2] > 0

    @tf.custom_gradient
    def moments(rows: Any) -> tuple[Any, Any]:
        gathered = tf.gather(rows, over.places)
        weighed = gathered * over.weights
        found = tf.cond(
            dense,
            lambda: _mixed_sums(rows, over),
            lambda: _sums(weighed, gathered, over),
        )
        per_total = over.totals[:, None, None]

        def backwards(up: Any) -> Any:
            up = up / per_total
            pulls, shifts = up[:, :-1] + tf.transpose(up[:, :-1], (0, 2, 1)), up[:, -1]
            return tf.cond(
                dense,
                lambda: _mixed_pulls(rows, over, pulls, shifts),
                lambda: _pulls(weighed, over, pulls, shifts),
            )

        return found / per_total, backwards

    return moments(rows)


def _of_plane(rows: Any, over: Planes, index: int) -> Any:
    first, size = over.starts[index], over.starts[index + 1] - over.starts[index]
    return tf.slice(rows, [first, 0], [size, rows.shape[1]])


def _sums(weighed: Any, gathered: Any, over: Planes) -> Any:
    """Return Σ w f fᵀ and below it Σ w f of each sparse plane, [K, C + 1, C]."""
    found = []
    for k in range(over.totals.shape[0]):
        own = _of_plane(weighed, over, k)
        products = tf.matmul(own, _of_plane(gathered, over, k), transpose_a=True)
        found.append(tf.concat([products, tf.reduce_sum(own, axis=0, keepdims=True)], axis=0))
    return tf.stack(found)


def _pulls(weighed: Any, over: Planes, pulls: Any, shifts: Any) -> Any:
    """Return Σ_k w_k (f · pull_k + shift_k) for each position, [P, C].

    By gathering, since scattering is slow. pulls: [K, C, C]; shifts: [K, C].
    """
    count, channels = over.totals.shape[0], weighed.shape[1]
    parts = [
        tf.matmul(_of_plane(weighed, over, k), pulls[k])
        + _of_plane(over.weights, over, k) * shifts[k]
        for k in range(count)
    ]
    every = tf.concat([*parts, tf.zeros((1, channels))], axis=0)
    return tf.reduce_sum(tf.gather(every, over.back), axis=1)


class _Tiles(NamedTuple):
    """Some tiles: rows [t, N, C], parts [t, N, R], wide [t, N, R · C], mix [t · R, K].

    wide: the products of rows and parts.
    """

    rows: Any
    parts: Any
    wide: Any
    mix: Any


def _tiles_of(rows: Any, over: Planes) -> list[_Tiles]:
    """Return all tiles in groups of at most _HELD weighted features."""
    (tiles, size), channels = over.tiles.shape, rows.shape[1]
    count, planes = tf.shape(over.parts)[2], over.totals.shape[0]
    step = max(1, _HELD // (size * channels * planes))
    found = []
    for first in range(0, tiles, step):
        some = min(step, tiles - first)
        part = tf.gather(rows, tf.slice(over.tiles, (first, 0), (some, size)))
        weights = tf.slice(over.parts, (first, 0, 0), (some, size, count))
        wide = tf.reshape(part[:, :, None] * weights[..., None], (some, size, count * channels))
        mix = tf.slice(over.mix, (first, 0, 0), (some, count, planes))
        found.append(_Tiles(part, weights, wide, tf.reshape(mix, (-1, planes))))
    return found


def _mixed_sums(rows: Any, over: Planes) -> Any:
    """Return Σ w f fᵀ and below it Σ w f of each dense plane, [K, C + 1, C]."""
    channels, planes = rows.shape[1], over.totals.shape[0]
    products, plain = [], []
    for some in _tiles_of(rows, over):
        own = tf.matmul(some.wide, some.rows, transpose_a=True)
        own = tf.reshape(own, (-1, channels * channels))
        products.append(tf.matmul(some.mix, own, transpose_a=True))
        own = tf.reshape(tf.reduce_sum(some.wide, axis=1), (-1, channels))
        plain.append(tf.matmul(some.mix, own, transpose_a=True))
    square = tf.reshape(summed(products), (planes, channels, channels))
    return tf.concat([square, summed(plain)[:, None]], axis=1)


def _mixed_pulls(rows: Any, over: Planes, pulls: Any, shifts: Any) -> Any:
    """Return Σ_k w_k (f · pull_k + shift_k) for each position, [P, C]."""
    channels = rows.shape[1]
    flat = tf.reshape(pulls, (-1, channels * channels))
    found = []
    for some in _tiles_of(rows, over):
        count = some.wide.shape[0]
        pull = tf.reshape(some.mix @ flat, (count, -1, channels))
        shift = tf.reshape(some.mix @ shifts, (count, -1, channels))
        both = tf.matmul(some.wide, pull) + tf.matmul(some.parts, shift)
        found.append(tf.reshape(both, (-1, channels)))
    return tf.gather(tf.concat(found, axis=0), over.untile)


def style_of_planes(features: Any, over: Planes, goals: Any) -> Any:
    """Return Σ_k ω_k d_k of features [h, w, C], d_k the style distance from goals [K, C + 1, C].

    ω_k is the plane's share of the frame, so that a position's gradient does not depend on how
    large its plane is.
    """
    return tf.reduce_sum(over.shares * style(plane_moments(features, over), goals))
