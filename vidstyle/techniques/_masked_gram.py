"""Planes: K weights at every position of a layer, and the moments of each plane in one pass.

Sparse planes: the positions of each plane are gathered. Dense planes (most weights above 0): since
masks are smooth, the K weights within a small tile are linear combinations of R < K weights; the
moments of these R are computed and mixed.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from vidstyle.vgg.crop import Window
from vidstyle.vgg.losses import style, summed

__all__ = ["Planes", "plane_moments", "planes_of", "style_of_planes"]

_MAX_WEIGHTED = 8_000_000  # weighted features: 32 MB
_RANK_TOLERANCE = 1e-3  # RMS error of the weights of a tile, of 1: less than 8-bit rounding
_LARGE = 65_536  # positions of a layer above which tiles have 16 x 16 cells, not 8 x 8


class Planes(NamedTuple):
    """Weights of K planes over P positions: sparse (R = 0), or dense in tiles (M = 0).

    Sparse: positions: int32 [M], indices of positions with a weight above 0, plane after plane;
    weights: float32 [M, 1]; starts: int32 [K + 1], the first row of each plane; rows: int32
    [P, D], the rows of `positions` that hold each position, filled up with M.
    Dense: tiles: int32 [T, N], the positions of each tile; parts: float32 [T, N, R] and mix:
    float32 [T, R, K], whose product is the weights; indices: int32 [P], the index of each position
    in the flattened tiles.
    totals: float32 [K], the sum of each plane's weights; shares: float32 [K], totals / positions
    of the frame.
    """

    positions: Any
    weights: Any
    starts: Any
    rows: Any
    tiles: Any
    parts: Any
    mix: Any
    indices: Any
    totals: Any
    shares: Any

    def specification(self) -> "Planes":
        """Return TensorSpecs for any number of positions and any rank."""
        count, (tiles, size) = self.totals.shape[0], self.tiles.shape
        return Planes(
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([None, 1], tf.float32),
            tf.TensorSpec([count + 1], tf.int32),
            tf.TensorSpec([None, None], tf.int32),
            tf.TensorSpec([tiles, size], tf.int32),
            tf.TensorSpec([tiles, size, None], tf.float32),
            tf.TensorSpec([tiles, None, count], tf.float32),
            tf.TensorSpec(self.indices.shape, tf.int32),
            tf.TensorSpec([count], tf.float32),
            tf.TensorSpec([count], tf.float32),
        )


def planes_of(weights: np.ndarray, window: Window | None = None) -> Planes:
    """Return the Planes of a layer's weights [h, w, K], 0..1.

    window: the part of the layer, in cells, that the loss computes; all weights above 0 lie in it.
    None: the whole layer.
    """
    frame_size = weights.shape[0] * weights.shape[1]
    if window is not None:
        weights = window.cut(weights)
    flat = weights.reshape(-1, weights.shape[2]).astype(np.float32)
    size, count = flat.shape
    plane_of, positions = np.nonzero(flat.T)
    tiles, inside = _tiles(*weights.shape)
    parts, mix = np.zeros((*tiles.shape, 0)), np.zeros((len(tiles), 0, count))
    if 2 * len(positions) > size * count:
        parts, mix = _low_rank(flat[tiles] * inside[..., None])
        plane_of = positions = np.empty(0, np.int64)
    totals = flat.sum(axis=0)
    return Planes(
        tf.constant(positions, tf.int32),
        tf.constant(flat[positions, plane_of][:, None]),
        tf.constant(np.searchsorted(plane_of, np.arange(count + 1)), tf.int32),
        tf.constant(_rows_of_positions(positions, size), tf.int32),
        tf.constant(tiles, tf.int32),
        tf.constant(parts, tf.float32),
        tf.constant(mix, tf.float32),
        tf.constant(_tile_indices(tiles, inside), tf.int32),
        tf.constant(totals + np.float32(1e-12)),
        tf.constant(totals / np.float32(frame_size)),
    )


def _rows_of_positions(positions: np.ndarray, size: int) -> np.ndarray:
    """Return the rows of `positions` [M] that hold each of `size` positions, [size, D].

    Filled up with M.
    """
    order = np.argsort(positions, kind="stable")
    ordered = positions[order]
    depth = int(np.bincount(positions, minlength=1).max())
    rows = np.full((size, max(1, depth)), len(positions))
    rows[ordered, np.arange(len(positions)) - np.searchsorted(ordered, ordered)] = order
    return rows


def _tiles(height: int, width: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions of each tile, int [T, N], and whether they lie inside the layer.

    A single plane has a single tile.
    """
    if count == 1:
        return np.arange(height * width)[None], np.ones((1, height * width), bool)
    side = 16 if height * width > _LARGE else 8
    down, across = (
        np.arange(-(-length // side) * side).reshape(-1, side) for length in (height, width)
    )
    row = np.repeat(np.repeat(down, len(across), axis=0), side, axis=1)
    column = np.tile(np.tile(across, (len(down), 1)), (1, side))
    inside = (row < height) & (column < width)
    return np.where(inside, row * width + column, 0), inside


def _tile_indices(tiles: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Return the index of each position in the flattened tiles."""
    indices = np.empty(int(inside.sum()), np.int64)
    indices[tiles[inside]] = np.flatnonzero(inside.ravel())
    return indices


def _low_rank(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return parts [T, N, R] and mix [T, R, K] whose product approximates weights [T, N, K].

    From the eigenvectors of each tile's WᵀW; R is the largest rank that a tile needs for an error
    of at most _RANK_TOLERANCE.
    """
    exact = weights.astype(np.float64)
    values, vectors = np.linalg.eigh(exact.transpose(0, 2, 1) @ exact)  # ascending
    errors = np.cumsum(np.maximum(values, 0), axis=1) / (exact.shape[1] * exact.shape[2])
    count = exact.shape[2] - int((errors <= _RANK_TOLERANCE**2).sum(axis=1).min())
    basis = vectors[:, :, exact.shape[2] - max(1, count) :]
    return exact @ basis, basis.transpose(0, 2, 1)


def plane_moments(features: Any, planes: Planes, at_once: int = _MAX_WEIGHTED) -> Any:
    """Return the moments of features [h, w, C] for each plane k: [K, C + 1, C].

    Σ_p w_k(p) f(p) f(p)ᵀ / Σ_p w_k(p), and below it Σ_p w_k(p) f(p) / Σ_p w_k(p). Differs from
    Gatys et al. (2017), where the weight is squared. at_once: weighted features of dense planes in
    memory at once.
    """
    channels = features.shape[2]
    rows = tf.reshape(features, (-1, channels))
    dense = tf.shape(planes.parts)[2] > 0

    @tf.custom_gradient
    def moments(rows: Any) -> tuple[Any, Any]:
        gathered = tf.gather(rows, planes.positions)
        weighted = gathered * planes.weights
        sums = tf.cond(
            dense,
            lambda: _dense_sums(_tiles_of(rows, planes, at_once), planes),
            lambda: _sparse_sums(weighted, gathered, planes),
        )
        per_total = planes.totals[:, None, None]

        def backwards(up: Any) -> Any:
            up = up / per_total
            product_gradients, sum_gradients = (
                up[:, :-1] + tf.transpose(up[:, :-1], (0, 2, 1)),
                up[:, -1],
            )
            return tf.cond(
                dense,
                lambda: _dense_gradient(
                    _tiles_of(rows, planes, at_once), planes, product_gradients, sum_gradients
                ),
                lambda: _sparse_gradient(weighted, planes, product_gradients, sum_gradients),
            )

        return sums / per_total, backwards

    return moments(rows)


def _of_plane(rows: Any, planes: Planes, index: int) -> Any:
    first, size = planes.starts[index], planes.starts[index + 1] - planes.starts[index]
    return tf.slice(rows, [first, 0], [size, rows.shape[1]])


def _sparse_sums(weighted: Any, gathered: Any, planes: Planes) -> Any:
    """Return Σ w f fᵀ and below it Σ w f of each sparse plane, [K, C + 1, C]."""
    sums = []
    for k in range(planes.totals.shape[0]):
        plane_rows = _of_plane(weighted, planes, k)
        products = tf.matmul(plane_rows, _of_plane(gathered, planes, k), transpose_a=True)
        sums.append(tf.concat([products, tf.reduce_sum(plane_rows, axis=0, keepdims=True)], axis=0))
    return tf.stack(sums)


def _sparse_gradient(
    weighted: Any, planes: Planes, product_gradients: Any, sum_gradients: Any
) -> Any:
    """Return the gradient Σ_k w_k (f · G_k + g_k) at each position, [P, C].

    product_gradients: G, [K, C, C]; sum_gradients: g, [K, C]. Computed by gathering, since
    scattering is slow.
    """
    count, channels = planes.totals.shape[0], weighted.shape[1]
    parts = [
        tf.matmul(_of_plane(weighted, planes, k), product_gradients[k])
        + _of_plane(planes.weights, planes, k) * sum_gradients[k]
        for k in range(count)
    ]
    padded = tf.concat([*parts, tf.zeros((1, channels))], axis=0)
    return tf.reduce_sum(tf.gather(padded, planes.rows), axis=1)


class _Tiles(NamedTuple):
    """A group of t tiles: rows [t, N, C], parts [t, N, R], wide [t, N, R · C], mix [t · R, K].

    rows: features; wide: the products of rows and parts.
    """

    rows: Any
    parts: Any
    wide: Any
    mix: Any


def _tiles_of(rows: Any, planes: Planes, at_once: int) -> list[_Tiles]:
    """Return all tiles in groups of at most `at_once` weighted features each."""
    (tiles, size), channels = planes.tiles.shape, rows.shape[1]
    rank, plane_count = tf.shape(planes.parts)[2], planes.totals.shape[0]
    step = max(1, at_once // (size * channels * plane_count))
    groups = []
    for first in range(0, tiles, step):
        count = min(step, tiles - first)
        features = tf.gather(rows, tf.slice(planes.tiles, (first, 0), (count, size)))
        weights = tf.slice(planes.parts, (first, 0, 0), (count, size, rank))
        wide = tf.reshape(features[:, :, None] * weights[..., None], (count, size, rank * channels))
        mix = tf.slice(planes.mix, (first, 0, 0), (count, rank, plane_count))
        groups.append(_Tiles(features, weights, wide, tf.reshape(mix, (-1, plane_count))))
    return groups


def _dense_sums(groups: Sequence[_Tiles], planes: Planes) -> Any:
    """Return Σ w f fᵀ and below it Σ w f of each dense plane, [K, C + 1, C]."""
    channels, count = groups[0].rows.shape[2], planes.totals.shape[0]
    products, feature_sums = [], []
    for group in groups:
        product = tf.matmul(group.wide, group.rows, transpose_a=True)
        product = tf.reshape(product, (-1, channels * channels))
        products.append(tf.matmul(group.mix, product, transpose_a=True))
        product = tf.reshape(tf.reduce_sum(group.wide, axis=1), (-1, channels))
        feature_sums.append(tf.matmul(group.mix, product, transpose_a=True))
    square = tf.reshape(summed(products), (count, channels, channels))
    return tf.concat([square, summed(feature_sums)[:, None]], axis=1)


def _dense_gradient(
    groups: Sequence[_Tiles], planes: Planes, product_gradients: Any, sum_gradients: Any
) -> Any:
    """Return the gradient of dense planes, [P, C]: see `_sparse_gradient`."""
    channels = groups[0].rows.shape[2]
    flat = tf.reshape(product_gradients, (-1, channels * channels))
    gradients = []
    for group in groups:
        count = group.wide.shape[0]
        matrices = tf.reshape(group.mix @ flat, (count, -1, channels))
        offsets = tf.reshape(group.mix @ sum_gradients, (count, -1, channels))
        gradient = tf.matmul(group.wide, matrices) + tf.matmul(group.parts, offsets)
        gradients.append(tf.reshape(gradient, (-1, channels)))
    return tf.gather(tf.concat(gradients, axis=0), planes.indices)


def style_of_planes(features: Any, planes: Planes, goals: Any) -> Any:
    """Return Σ_k ω_k d_k of features [h, w, C]: d_k is the style distance from goals [K, C + 1, C].

    ω_k is the plane's share of the frame, so that the gradient at a position does not depend on
    the size of its plane.
    """
    return tf.reduce_sum(planes.shares * style(plane_moments(features, planes), goals))
