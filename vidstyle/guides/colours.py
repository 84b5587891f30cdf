"""ColourMoments: the mean and the second moments of a picture's colours."""

from typing import NamedTuple

import numpy as np

__all__ = ["ColourMoments", "colour_moments"]


class ColourMoments(NamedTuple):
    """The first two moments of RGB colours: mean [3] and second [3, 3], float64."""

    mean: np.ndarray
    second: np.ndarray

    @property
    def covariance(self) -> np.ndarray:
        return self.second - np.outer(self.mean, self.mean)


def colour_moments(pixels: np.ndarray, weights: np.ndarray | None = None) -> ColourMoments:
    """Return the moments of RGB pixels [..., 3], weighted by float32 [...]; None: all equal.

    The moments are 0 where all weights are 0.
    """
    import cv2

    pixels = pixels.reshape(-1, 3)
    root = np.ones((len(pixels), 1), np.float32)
    if weights is not None:
        root = np.sqrt(weights, dtype=np.float32).reshape(-1, 1)
        pixels = pixels * root
    products = cv2.mulTransposed(np.hstack([pixels, root]), aTa=True, dtype=cv2.CV_64F)
    products /= max(products[3, 3], 1e-12)
    return ColourMoments(products[3, :3], products[:3, :3])
