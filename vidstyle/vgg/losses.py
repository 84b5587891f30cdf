"""Loss terms: pure functions of tensors, relative or averaged, so that weights suit every size.

Gatys, Ecker & Bethge, "Image Style Transfer Using CNNs", 2016 (style and content terms); Ruder,
Dosovitskiy & Brox, "Artistic Style Transfer for Videos", 2016 (temporal term). Differs in that
every term is divided by the size of its target; the style term differs further: see `style`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

__all__ = [
    "added",
    "area_average",
    "combined",
    "content",
    "energy",
    "forked",
    "gram",
    "moments",
    "over_layers",
    "relative",
    "shrunk",
    "style",
    "summed",
    "sums",
    "temporal",
    "total_variation",
    "zeros",
]

# Weights of the style layers of VGG-19's five blocks, no unit: palette and fine strokes first, as
# in style-transfer-pytorch (256, 64, 16, 4, 1, which there weigh terms that are not relative).
# Tried: 2, 1.5, 1, 0.5, 0.3 (see docs/decisions.md).
_BLOCK_WEIGHTS = (2.5, 1.5, 0.6, 0.2, 0.2)
# Lower bound, about, of the norm of a target's covariance matrix, in units of ‖μ‖², the norm of its
# mean's outer product. The covariance of a flat style or block is near 0, so a distance relative to
# it would be unbounded. No other value was tried.
_FLAT = 0.05
# Relative squared distance, no unit, below which the norm is smoothed to a parabola (at most 0.3 %
# lower), so that its slope at 0 is finite. No other value was tried.
_ROUND = 1e-5
_LUMA_CHROMA = np.array(  # columns: Y, and four times Cb and Cr (Rec. 601)
    [[0.299, -0.676, 2.0], [0.587, -1.324, -1.676], [0.114, 2.0, -0.324]], np.float32
)
_ROUNDING = 0.02  # of 1: differences below it are hardly penalised
_TV_REFERENCE = 512.0  # pixels: the long side at which gradients are per pixel


@tf.custom_gradient
def _sums(rows: Any) -> tuple[Any, Any]:
    """Return rowsᵀ·rows of [P, C] and below it Σ rows; the gradient takes one matrix product."""
    sums = tf.matmul(rows, rows, transpose_a=True)
    sums = tf.concat([sums, tf.reduce_sum(rows, axis=0, keepdims=True)], axis=0)
    return sums, lambda up: tf.matmul(rows, up[:-1] + tf.transpose(up[:-1])) + up[-1]


def summed(values: Sequence[Any]) -> Any:
    """Return the sum of tensors of one shape, in this order.

    TensorFlow merges three or more additions of a graph into one AddN, whose order, and so the last
    bits of the sum, depend on which operation ran first.
    """
    return tf.reduce_sum(tf.stack(values), axis=0)


@tf.custom_gradient
def forked(values: Any) -> tuple[Any, Any]:
    """Return a tensor twice, for two terms; their gradients are added in this order: see summed."""
    return (tf.identity(values), tf.identity(values)), lambda one, other: one + other


def gram(features: Any) -> Any:
    """Return Σ_p f(p) f(p)ᵀ / P of features [h, w, C], P = h·w positions: [C, C]."""
    return moments(features)[:-1]


def moments(features: Any) -> Any:
    """Return the moments of features [h, w, C]: the Gram matrix and below it the mean, [C + 1, C].

    Moments are linear: those of a union of areas are the weighted mean of those of each.
    """
    height, width, _ = features.shape
    return sums(features) / float(height * width)


def sums(features: Any) -> Any:
    """Return Σ_p f(p) f(p)ᵀ of features [h, w, C] and below it Σ_p f(p): [C + 1, C]."""
    return _sums(tf.reshape(features, (-1, features.shape[2])))


def style(moments: Any, goal: Any) -> Any:
    """Return the style distance of moments [..., C + 1, C] from a goal, [...]: see `combined`.

    Covariance matrices and means are compared separately. The Gram matrix of Gatys et al. is
    E[f fᵀ] = cov f + μ μᵀ; the means dominate its energy, so that its relative distance hardly
    depends on the covariance (Risser, Wilmot & Barnes, "Stable and Controllable Neural Texture
    Synthesis and Style Transfer Using Histogram Losses", 2017).
    """
    (mean, covariance), (goal_mean, goal_covariance) = map(_centred, (moments, goal))
    return combined(
        tf.reduce_sum(tf.square(covariance - goal_covariance), axis=(-2, -1)),
        tf.reduce_sum(tf.square(goal_covariance), axis=(-2, -1)),
        tf.reduce_sum(tf.square(mean - goal_mean), axis=-1),
        tf.reduce_sum(tf.square(goal_mean), axis=-1),
    )


def combined(spread: Any, spread_energy: Any, shift: Any, shift_energy: Any) -> Any:
    """Return the mean of two relative distances: of covariance matrices and of means.

    spread: ‖C − A‖² of covariance matrices C and A, spread_energy: ‖A‖²; shift, shift_energy: the
    same of means. Norms are used, since the gradient of their squares vanishes near the goal. 0 if
    equal, 1 for an image whose features are all 0.
    """
    flat = tf.square(_FLAT * shift_energy)
    of_spread = _norm(spread / (spread_energy + flat + 1e-12))
    return (of_spread + _norm(shift / (shift_energy + 1e-12))) / 2


def over_layers(distances: Mapping[str, Any], layers: Iterable[str] = ()) -> Any:
    """Return the weighted mean of style distances by layer ("relu2_1"), scalar tensors.

    layers: those whose weights add up to 1, by default those of `distances`; layers without a
    distance count as 0.
    """
    weights = {layer: _BLOCK_WEIGHTS[int(layer[4]) - 1] for layer in (layers or distances)}
    total = sum(weights.values())
    return summed([weights[layer] / total * value for layer, value in distances.items()])


def _norm(squared: Any) -> Any:
    """Return √d of d ≥ 0, smoothed so that its slope at 0 is finite."""
    return tf.sqrt(tf.maximum(squared, 0.0) + _ROUND) - _ROUND**0.5


def _centred(moments: Any) -> tuple[Any, Any]:
    """Return the mean [..., C] and the covariance matrix [..., C, C] of moments."""
    mean = moments[..., -1, :]
    return mean, moments[..., :-1, :] - _outer(mean)


@tf.custom_gradient
def _outer(mean: Any) -> tuple[Any, Any]:
    """Return μμᵀ [..., C, C] of means [..., C]; its gradient is one tensor, not two: see summed.

    With that of the distance of means, three gradients were added in an order that varied.
    """

    def backwards(up: Any) -> Any:
        return tf.linalg.matvec(up + tf.linalg.matrix_transpose(up), mean)

    return mean[..., :, None] * mean[..., None, :], backwards


def relative(values: Any, target: Any) -> Any:
    """Return ‖values − target‖² / ‖target‖² of tensors: 0 if equal, 1 if all values are 0."""
    return tf.reduce_sum(tf.square(values - target)) / energy(target)


def energy(features: Any) -> Any:
    """Return Σ f² of features of any shape, a scalar tensor above 0."""
    return tf.reduce_sum(tf.square(features)) + 1e-12


def content(features: Any, target: Any, whole: Any) -> Any:
    """Return ‖features − target‖² / whole, of features [h, w, C] and those of the frame.

    whole: `energy` of the target at the whole frame; `features` may be a window of it.
    """
    return 2.0 * tf.nn.l2_loss(features - target) / whole


def total_variation(image: Any, weights: Any = None) -> Any:
    """Return the mean of √(∂x² + ∂y² + ε²) − ε over luma and chroma of an image [H, W, 3] in 0..1.

    weights: [H, W, 1], the weight of each position; None: 1.

    Rudin, Osher & Fatemi, "Nonlinear total variation based noise removal", 1992. Differs in that
    chroma weighs four times as much as luma, since strokes have luma edges while specks differ in
    colour; that the root is smoothed (ε = 0.02); and that gradients are per 1/512 of the long side,
    not per pixel, so that they do not depend on the size. A power of 2.5 in place of the root kept
    grain and blurred strokes.
    """
    height, width = image.shape[:2]
    scale = max(height, width) / _TV_REFERENCE
    planes = tf.tensordot(image, tf.constant(_LUMA_CHROMA * scale), 1)
    size = (height - 1, width - 1, 3)  # tf.slice, since the gradient of indexing is slow
    left = tf.slice(planes, (0, 0, 0), (height, width - 1, 3))
    corner, below = (tf.slice(left, (row, 0, 0), size) for row in (0, 1))
    down, right = below - corner, tf.slice(planes, (0, 1, 0), size) - corner
    steepness = tf.sqrt(tf.square(down) + tf.square(right) + _ROUNDING**2) - _ROUNDING
    if weights is not None:
        steepness *= tf.slice(weights, (0, 0, 0), (height - 1, width - 1, 1))
    return tf.reduce_mean(tf.reduce_sum(steepness, axis=2))


def temporal(image: Any, prior: Any, confidence: Any) -> Any:
    """Return Σ c·‖x − prior‖² / Σ c over images [H, W, 3]; c: confidence [H, W, 1] in 0..1."""
    return tf.reduce_sum(confidence * tf.square(image - prior)) / (tf.reduce_sum(confidence) + 1e-6)


def area_average(long: int, short: int) -> np.ndarray:
    """Return the float32 matrix [short, long] that averages `long` samples in `short` spans."""
    edges = np.arange(short + 1) * (long / short)
    starts, ends = edges[:-1, None], edges[1:, None]
    cells = np.arange(long)[None, :]
    shares = np.clip(np.minimum(ends, cells + 1) - np.maximum(starts, cells), 0, None)
    return (shares / (long / short)).astype(np.float32)


def shrunk(image: Any, matrices: tuple[Any, Any]) -> Any:
    """Return an image [H, W, 3] resized by two area_average matrices: of rows, of columns."""
    rows, columns = matrices
    return tf.einsum("hH,HWc,wW->hwc", rows, image, columns)


def zeros(shape: Sequence[int], of: Any) -> Any:
    """Return zeros computed from the tensor `of`; a constant would stay in memory."""
    nothing = tf.minimum(tf.abs(tf.gather(tf.reshape(of, (-1,)), 0)), 0.0)
    return tf.fill(shape, nothing)


def added(total: Any, first: Any, values: Any) -> Any:
    """Return total [N, …] with values [n, …] added to its rows first, first + 1 and so on.

    first: a number, or the numbers [n] of the rows. Adds in place: nothing else may read `total`.
    tf.tensor_scatter_nd_add would copy it.
    """
    rows = tf.convert_to_tensor(first)
    rows = tf.range(values.shape[0]) + rows if rows.shape.rank == 0 else rows
    return tf.raw_ops.InplaceAdd(x=total, i=rows, v=values)
