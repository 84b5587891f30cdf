"""The start image in the colours of the styles: one affine map of colours for each plane."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vidstyle.guides.style import Style
from vidstyle.image import Image
from vidstyle.techniques._masked_style import Source

__all__ = ["in_style_colours"]

# Of 1, squared: added to the variance of every colour of the frame, so that a flat one has a map.
_FLAT = 1e-4
# Largest gain of a map in any direction of the colour space. Tried: none (a red patch on a sleeve).
_LARGEST_GAIN = 3.0


class _Colours(NamedTuple):
    """The first two moments of RGB colours: mean [3] and second [3, 3], float64."""

    mean: np.ndarray
    second: np.ndarray

    @property
    def covariance(self) -> np.ndarray:
        return self.second - np.outer(self.mean, self.mean)


def in_style_colours(
    frame: Image,
    planes: np.ndarray,
    styles: Sequence[Style],
    sources: Sequence[Sequence[Source]],
) -> Image:
    """Return the frame with the mean and covariance of the colours of each plane's styles.

    planes: float32 [H, W, K]. sources: the styles blended for each plane. Pixels get the change of
    their planes, weighted; where all planes are 0 they are unchanged. The map is the linear
    Monge-Kantorovich map of Pitié & Kokaram, "The linear Monge-Kantorovitch linear colour mapping
    for example-based colour transfer", 2007. Differs in that its gain is limited.
    """
    weights = planes / np.maximum(planes.sum(axis=2, keepdims=True), 1)
    start = frame.astype(np.float32)
    for plane, blend in enumerate(sources):
        share = weights[..., plane, None]
        if blend and share.any():
            goal = _blended([(_of_style(styles[at.style], at.plane), at.share) for at in blend])
            start = start + share * (_mapped(frame, _colours(frame, share), goal) - frame)
    return np.clip(start, 0, 1)


def _of_style(style: Style, plane: int | None) -> _Colours:
    if plane is None or style.guide is None:
        return _colours(style.image, np.ones((*style.image.shape[:2], 1), np.float32))
    return _colours(style.image, style.guide.planes[..., plane, None])


def _colours(image: Image, weights: np.ndarray) -> _Colours:
    """Return the moments of an image's colours, weighted by [H, W, 1]."""
    there = weights[..., 0] > 0
    colours, own = image[there].astype(np.float64), weights[there]
    total = own.sum(dtype=np.float64)
    return _Colours((own * colours).sum(axis=0) / total, (own * colours).T @ colours / total)


def _blended(parts: Sequence[tuple[_Colours, float]]) -> _Colours:
    total = sum(share for _, share in parts)
    mean, second = (
        sum(share / total * moments[order] for moments, share in parts) for order in (0, 1)
    )
    return _Colours(np.asarray(mean), np.asarray(second))


def _mapped(image: Image, own: _Colours, goal: _Colours) -> Image:
    """Return the image with its colours mapped from moments `own` to `goal`, not clipped."""
    root = _root(own.covariance + _FLAT * np.eye(3))
    inverse = np.linalg.inv(root)
    matrix = inverse @ _root(root @ goal.covariance @ root) @ inverse
    gains, axes = np.linalg.eigh(matrix)
    matrix = (axes * np.minimum(gains, _LARGEST_GAIN)) @ axes.T
    offset = goal.mean - matrix @ own.mean
    return image @ matrix.astype(np.float32) + offset.astype(np.float32)


def _root(matrix: np.ndarray) -> np.ndarray:
    """Return the square root of a symmetric positive semidefinite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T)
