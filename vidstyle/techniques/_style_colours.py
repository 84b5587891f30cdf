"""The start image in the colours of the styles: one affine map of colours for each plane."""

from collections.abc import Sequence

import numpy as np

from vidstyle.guides.colours import ColourMoments, colour_moments
from vidstyle.guides.style import Style
from vidstyle.image import Image
from vidstyle.techniques._masked_style import Source

__all__ = ["in_style_colours"]

# Of 1, squared: added to the variance of every colour of the frame, so that a flat one has a map.
_FLAT = 1e-4
# Largest gain of a map in any direction of the colour space. Tried: none (a red patch on a sleeve).
_LARGEST_GAIN = 3.0


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
        there = weights[..., plane] > 0  # with many planes, each covers few pixels
        if blend and there.any():
            goal = _blended([(styles[at.style].colours[at.plane], at.share) for at in blend])
            share, pixels = weights[there, plane, None], frame[there]
            start[there] += share * (_mapped(pixels, colour_moments(pixels, share), goal) - pixels)
    return np.clip(start, 0, 1)


def _blended(parts: Sequence[tuple[ColourMoments, float]]) -> ColourMoments:
    total = sum(share for _, share in parts)
    mean, second = (
        sum(share / total * moments[order] for moments, share in parts) for order in (0, 1)
    )
    return ColourMoments(np.asarray(mean), np.asarray(second))


def _mapped(pixels: np.ndarray, own: ColourMoments, goal: ColourMoments) -> np.ndarray:
    """Return pixels [N, 3] with their colours mapped from moments `own` to `goal`, not clipped."""
    import cv2

    root = _root(own.covariance + _FLAT * np.eye(3))
    inverse = np.linalg.inv(root)
    matrix = inverse @ _root(root @ goal.covariance @ root) @ inverse
    gains, axes = np.linalg.eigh(matrix)
    matrix = (axes * np.minimum(gains, _LARGEST_GAIN)) @ axes.T
    offset = goal.mean - matrix @ own.mean
    return cv2.transform(pixels[:, None], np.column_stack([matrix, offset]))[:, 0]


def _root(matrix: np.ndarray) -> np.ndarray:
    """Return the square root of a symmetric positive semidefinite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T)
