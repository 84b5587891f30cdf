"""L-BFGS over an image whose pixels stay within 0..1.

Nocedal & Wright 2006, algorithm 7.4, with two changes. The initial inverse Hessian is a filter,
H0 = IDCT · diag(1 / (f0 + |f|)^p) · DCT, so that low frequencies converge first: the change of
variables of Lucid's decorrelated images (Olah et al. 2017) as a preconditioner. It differs in that
the three channels are treated equally, and near the minimum: see FrequencyFilter.near. Steps are
projected onto 0..1, and pixels at a bound whose gradient points outwards stay there (two-metric
projection, Bertsekas 1982). All tensors are float32 on the device that evaluates the loss, except
the curvature pairs of a large image: bfloat16, to halve their memory; convergence was the same.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

__all__ = ["Evaluation", "FrequencyFilter", "Minimise", "Minimum", "minimise"]

_F0 = 0.02  # cycles a pixel, below which the filter is flat
# Cycles a pixel; the same for a start near the minimum, whose low frequencies are right already.
# Tried at 15 evaluations: 0.03, 0.2, 1.5 (no gain), 0.5 (the mean colour drifted).
_F0_NEAR = 0.08
_POWER = 1.25  # exponent p of the filter; 1: lowest loss, 1.5 and 2: smoothest picture
# Curvature of a temporal weight of 1, relative to the rest of the loss. With _F0_NEAR, at 320
# pixels and 15 evaluations, eight cases are 1.6 % further from the style than frames made alone;
# with neither 5 %.
_STIFF = 0.1
_MEMORY = (6, 12)  # curvature pairs, at least and at most
_PAIR_BYTES = 200_000_000  # bytes of all pairs above the least number
_STEP = 0.05  # largest RMS of a step, of 1: beyond it the quadratic model is inaccurate
_FIRST_GAIN = 0.1  # part of the loss by which the first step should lower it; 0.03: one step more
_DESCENT = 1e-4  # Armijo's constant
_SHORTER = 0.35  # factor by which a refused step is shortened
_REFUSALS = 8  # refused steps in a row after which the search ends


@dataclass(frozen=True)
class Evaluation:
    """The loss at one image: total (float), gradient (tensor like the image), named terms."""

    total: float
    gradient: Any
    terms: dict[str, float]


@dataclass(frozen=True)
class Minimum:
    """image: tensor [H, W, 3] in 0..1; last: the evaluation there; evaluations: their number."""

    image: Any
    last: Evaluation
    evaluations: int


class FrequencyFilter:
    """H0: 1 / (f0 + |f|)^p, of mean 1, on the cosine transform of an image [H, W, 3]."""

    def __init__(self, height: int, width: int) -> None:
        self._far, self._near = (_gain(height, width, flat) for flat in (_F0, _F0_NEAR))
        self._rows = tf.constant(_cosines(height))
        self._columns = tf.constant(_cosines(width))

    def __call__(self, image: Any) -> Any:
        """Return the filtered image, same shape."""
        return self._weighed(image, self._far)

    def near(self, weight: Any) -> Callable[[Any], Any]:
        """Return H0 for a start near the minimum: flatter, and smaller at constrained pixels.

        weight: [H, W, 1], the weight of the temporal loss at each pixel, whose curvature is known.
        """
        ease = tf.math.rsqrt(1 + _STIFF * weight)
        return lambda image: ease * self._weighed(ease * image, self._near)

    def _weighed(self, image: Any, gain: Any) -> Any:
        planes = tf.transpose(image, (2, 0, 1))
        spectrum = self._rows @ planes @ tf.transpose(self._columns)
        planes = tf.transpose(self._rows) @ (spectrum * gain) @ self._columns
        return tf.transpose(planes, (1, 2, 0))


Minimise = Callable[..., Minimum]  # takes the arguments of `minimise`, by position


def _gain(height: int, width: int, flat: float) -> Any:
    """Return the filter's factors, float32 [H, W], mean 1."""
    radius = np.hypot(_frequencies(height)[:, None], _frequencies(width)[None, :])
    gain = (flat + radius) ** -_POWER
    return tf.constant((gain / gain.mean()).astype(np.float32))


def _frequencies(length: int) -> np.ndarray:
    return np.arange(length) / (2.0 * length)


def _cosines(length: int) -> np.ndarray:
    """Return the orthonormal DCT-II matrix, float32 [length, length]."""
    angles = np.pi * (2 * np.arange(length)[None, :] + 1) * _frequencies(length)[:, None]
    matrix = np.cos(angles) * np.sqrt(2.0 / length)
    matrix[0] /= np.sqrt(2.0)
    return matrix.astype(np.float32)


def minimise(  # noqa: PLR0913, PLR0917 - the problem, its limits and its callbacks
    evaluate: Callable[[Any], Evaluation],
    start: Any,
    evaluations: int,
    filtered: Callable[[Any], Any],
    progress: Callable[[int, float, Any], None] = lambda count, total, image: None,
    support: Any = 1.0,
    enough: Callable[[Evaluation], bool] = lambda here: False,
    pair_bytes: int = _PAIR_BYTES,
) -> Minimum:
    """Return the best image found from `start` [H, W, 3] within so many evaluations of the loss.

    evaluations: at least 1; fewer are made if `enough`, or if no step lowers the loss. filtered:
    H0, a symmetric positive filter. progress(count, total, image) is called after each evaluation;
    its exceptions end the search. support: [H, W, 1], 1 where pixels may change. enough: called
    with the evaluation at the start and at each accepted step. pair_bytes: see _Pairs.
    """
    count = 0

    def measured(image: Any) -> Evaluation:
        nonlocal count
        count += 1
        found = evaluate(image)
        progress(count, found.total, image)
        return found

    image, here = start, measured(start)
    pairs, length, refusals, ended = _Pairs(start, pair_bytes), 1.0, 0, enough(here)
    direction, slope = _direction(image, here, pairs, filtered, support)
    while count < evaluations and refusals < _REFUSALS and slope < 0 and not ended:
        trial = tf.clip_by_value(image + length * direction, 0.0, 1.0)
        there = measured(trial)
        moved = trial - image
        if there.total <= here.total + _DESCENT * float(_dot(here.gradient, moved)):
            pairs.remember(moved, there.gradient - here.gradient)
            image, here, length, refusals, ended = trial, there, 1.0, 0, enough(there)
            direction, slope = _direction(image, here, pairs, filtered, support)
        else:
            length, refusals = length * _SHORTER, refusals + 1
    return Minimum(image, here, count)


class _Pairs:
    """The last curvature pairs (moved, change, 1 / curvature) of an image [H, W, 3].

    If they would take more than `most_bytes` as float32, they are bfloat16, and fewer.
    """

    def __init__(self, image: Any, most_bytes: int) -> None:
        numbers = 2 * math.prod(image.shape)
        least, most = _MEMORY
        self._kind = tf.float32 if 4 * numbers * most <= most_bytes else tf.bfloat16
        count = most_bytes // (self._kind.size * numbers)
        self._kept: deque[tuple[Any, Any, Any]] = deque(maxlen=max(least, min(most, count)))
        self.forget = self._kept.clear

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[tuple[Any, Any, Any]]:
        """Yield the pairs, the earliest first."""
        yield from map(self._read, self._kept)

    def __reversed__(self) -> Iterator[tuple[Any, Any, Any]]:
        yield from map(self._read, reversed(self._kept))

    def remember(self, moved: Any, change: Any) -> None:
        """Keep a pair if its curvature is positive."""
        kept = tf.cast(moved, self._kind), tf.cast(change, self._kind)
        moved, change = (tf.cast(vector, tf.float32) for vector in kept)
        curvature = _dot(moved, change)
        if float(curvature) > 1e-10 * float(_dot(change, change)):
            self._kept.append((*kept, 1.0 / curvature))

    def _read(self, pair: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
        moved, change, inverse = pair
        return tf.cast(moved, tf.float32), tf.cast(change, tf.float32), inverse


def _direction(
    image: Any,
    here: Evaluation,
    pairs: _Pairs,
    filtered: Callable[[Any], Any],
    support: Any,
) -> tuple[Any, float]:
    """Return the step to try and its slope; the pairs are dropped if the slope is positive."""
    gradient = here.gradient
    free = tf.cast(~(((image <= 0) & (gradient > 0)) | ((image >= 1) & (gradient < 0))), tf.float32)
    free *= support
    direction = -free * _inverse_hessian(free * gradient, pairs, filtered, here.total)
    size = float(tf.sqrt(tf.reduce_mean(tf.square(direction)) / tf.reduce_mean(support)))
    direction *= min(1.0, _STEP / max(size, 1e-30))
    slope = float(_dot(gradient, direction))
    if slope >= 0 and pairs:
        pairs.forget()
        return _direction(image, here, pairs, filtered, support)
    return direction, slope


def _inverse_hessian(
    gradient: Any,
    pairs: _Pairs,
    filtered: Callable[[Any], Any],
    total: float,
) -> Any:
    """Apply the L-BFGS estimate of the inverse Hessian: the two-loop recursion around H0."""
    vector, weights = gradient, []
    for moved, change, inverse in reversed(pairs):
        weight = inverse * _dot(moved, vector)
        weights.append(weight)
        vector = vector - weight * change
    vector = _scaled(vector, pairs, filtered, total)
    for (moved, change, inverse), weight in zip(pairs, reversed(weights), strict=True):
        vector = vector + (weight - inverse * _dot(change, vector)) * moved
    return vector


def _scaled(vector: Any, pairs: _Pairs, filtered: Callable[[Any], Any], total: float) -> Any:
    """Return γ·H0·vector: γ from the last pair, or for a first step from the loss itself.

    The first step aims to lower the loss by a small part (Polyak's step), so that a start near the
    minimum is kept.
    """
    step = filtered(vector)
    if pairs:
        _, change, inverse = next(reversed(pairs))
        return step / (inverse * _dot(change, filtered(change)))
    return step * (_FIRST_GAIN * total / max(float(_dot(vector, step)), 1e-30))


def _dot(a: Any, b: Any) -> Any:
    return tf.reduce_sum(a * b)
