"""Where an object is likely to be, by the look of it and its surroundings in earlier frames."""

from dataclasses import dataclass

import cv2
import numpy as np

__all__ = ["Appearance", "likely"]

_SHARPNESS = 0.03  # difference of cosine similarity that makes a cell e times likelier to match


@dataclass(frozen=True)
class Appearance:
    """The features of a frame, and its mask.

    features: [rows, columns, C], of the encoder of the click model. mask: share of the object in
    each cell, [rows, columns], 0..1. reach: standard deviation of the distance, as a share of the
    long side, over which its cells are expected to be found again.
    """

    features: np.ndarray
    mask: np.ndarray
    reach: float

    @classmethod
    def of(cls, features: np.ndarray, mask: np.ndarray, reach: float) -> "Appearance":
        """mask: [H, W], 0..1, of the frame with these features."""
        rows, columns = features.shape[:2]
        small = cv2.resize(mask.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA)
        return cls(features, small, reach)


def likely(features: np.ndarray, known: list[Appearance], size: tuple[int, int]) -> np.ndarray:
    """Return the probability of the object at each pixel, float32 [H, W], 0..1.

    Each cell of `features` takes the mean mask of the cells of the known frames, weighted by how
    like their features are and how near they are; as the memory of Oh et al., "Video Object
    Segmentation using Space-Time Memory Networks" (2019), without training. size: (W, H).
    """
    rows, columns, channels = features.shape
    wanted = features.reshape(-1, channels)
    others = np.concatenate([one.features.reshape(-1, channels) for one in known])
    mean = others.mean(axis=0)
    similar = _unit(wanted - mean) @ _unit(others - mean).T / _SHARPNESS
    distance = _distance(rows, columns)
    similar -= np.hstack([distance / (2 * one.reach**2) for one in known])
    weight = np.exp(similar - similar.max(axis=1, keepdims=True))
    weight /= weight.sum(axis=1, keepdims=True)
    read = weight @ np.concatenate([one.mask.ravel() for one in known])
    read = read.reshape(rows, columns).astype(np.float32)
    return np.asarray(cv2.resize(read, size, interpolation=cv2.INTER_LINEAR))


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Return vectors [N, C] of length 1."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, 1e-6))


def _distance(rows: int, columns: int) -> np.ndarray:
    """Return the squared distance between each two cells, [N, N], in shares of the long side."""
    row, column = (each.ravel().astype(np.float32) for each in np.indices((rows, columns)))
    squared = (row[:, None] - row) ** 2 + (column[:, None] - column) ** 2
    return np.asarray(squared / max(rows, columns) ** 2)
