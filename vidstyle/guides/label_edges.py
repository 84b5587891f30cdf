"""Edges of propagated labels: pixels near them are reclassified by colour."""

from dataclasses import dataclass

import cv2
import numpy as np

from vidstyle.segmentation.matting import around, guided_filter, square

__all__ = ["Samples", "reclassified", "samples_of"]

# Sizes in pixels of a frame of _WIDTH, tuned on DAVIS; others in proportion.
_WIDTH = 854
_BAND = 10  # pixels; labels this near to an edge are reclassified
_EDGE = 4  # pixels; radius of the guided filter
_FLAT = 4e-4  # of 1; variance below which the guided filter sees no edge
_CELLS = (256, 64)  # pixels; cells of the colour histogram, the coarser is the finer's prior
_BINS = 16  # per channel
_PRIOR_PIXELS = 0.5  # weight of the coarser histogram in the finer
_FLOW, _CONSISTENT_FLOW, _COLOUR = 0.5, 1.0, 0.5  # exponents of the propagated and colour terms
_MIN_PROBABILITY = 0.01  # of either term


@dataclass(frozen=True)
class Samples:
    """Every second pixel of a frame, as training data of the colour model.

    colours: uint8 [h, w, 3]. planes: [h, w, K], labels times the weight of a pixel. positions:
    [h, w, 2], (x, y) in the current frame.
    """

    colours: np.ndarray
    planes: np.ndarray
    positions: np.ndarray


def samples_of(frame: np.ndarray, planes: np.ndarray, positions: np.ndarray) -> Samples:
    """Return every second pixel of a frame; planes, positions: [H, W, …], see Samples."""
    return Samples(*(np.ascontiguousarray(a[::2, ::2]) for a in (frame, planes, positions)))


def reclassified(
    frame: np.ndarray,
    planes: np.ndarray,
    consistency: np.ndarray,
    static: np.ndarray,
    samples: list[Samples],
) -> np.ndarray:
    """Reclassify the pixels near label edges by propagated label and colour; [H, W, K].

    After Bai et al., "Video SnapCut" (2009): flow consistency weights the two terms. Differs: one
    histogram over position and colour instead of local classifiers, and a guided filter instead of
    a graph cut. Static pixels keep their planes.
    """
    scale = max(frame.shape) / _WIDTH
    near = cv2.split(cv2.blur(planes, square(_BAND * scale)))
    band = (np.maximum.reduce(near) < 0.999) & ~static
    if not band.any():
        return planes
    likelihood = _colour_likelihood(frame, band, samples, scale)
    power = (_FLOW + _CONSISTENT_FLOW * consistency[band])[:, None]
    shares = planes.copy()
    shares[band] = _normal(
        np.maximum(planes[band], _MIN_PROBABILITY) ** power * likelihood**_COLOUR
    )
    part = around(band, round(2 * _EDGE * scale) + 2)
    colours = frame[part].astype(np.float32) / 255
    shares[part] = guided_filter(colours, shares[part], band[part], square(_EDGE * scale), _FLAT)
    sharp = _normal(np.clip(shares[band], 0, 1) ** 2 + 1e-9)
    refined = planes.copy()
    refined[band] = _normal(np.where(sharp < 0.04 / planes.shape[2], 0, sharp))
    return refined


def _normal(shares: np.ndarray) -> np.ndarray:
    return np.asarray(shares / shares.sum(axis=-1, keepdims=True))


def _colour_likelihood(
    frame: np.ndarray, band: np.ndarray, samples: list[Samples], scale: float
) -> np.ndarray:
    """Return the probability of each label at the N pixels of the band, by colour: [N, K]."""
    rows, columns = np.nonzero(band)
    positions = np.column_stack([columns, rows])
    likelihood = np.float32(1 / samples[0].planes.shape[2])
    weight = _PRIOR_PIXELS * scale * scale
    for cell in _CELLS:
        counts = _histogram(samples, frame.shape, cell * scale)
        index = _bins(frame[band], positions, counts.shape, cell * scale)
        found = counts.reshape(-1, counts.shape[-1])[index]
        likelihood = (found + weight * likelihood) / (found.sum(axis=1, keepdims=True) + weight)
    return np.maximum(likelihood, _MIN_PROBABILITY)


def _histogram(samples: list[Samples], shape: tuple[int, ...], cell: float) -> np.ndarray:
    """Return the smoothed histogram of labels, [rows, columns, red, green, blue, K]."""
    labels = samples[0].planes.shape[2]
    sides = (int(side / cell) + 2 for side in shape[:2])
    counts = np.zeros((*sides, _BINS, _BINS, _BINS, labels), np.float32)
    for sample in samples:
        index = _bins(sample.colours, sample.positions, counts.shape, cell)[..., None] * labels
        index = (index + np.arange(labels)).ravel()
        counts += np.bincount(index, sample.planes.ravel(), counts.size).reshape(counts.shape)
    for axis in range(5):
        counts = np.moveaxis(counts, axis, 0)
        wider = counts / 2
        wider[1:] += counts[:-1] / 4
        wider[:-1] += counts[1:] / 4
        counts = np.moveaxis(wider, 0, axis)
    return counts


def _bins(
    colours: np.ndarray, positions: np.ndarray, shape: tuple[int, ...], cell: float
) -> np.ndarray:
    """Return the flat index of the histogram bin of each colour and position."""
    column, row = (np.rint(positions[..., i] / cell).astype(np.intp) for i in (0, 1))
    red, green, blue = (colours[..., i].astype(np.intp) * _BINS // 256 for i in range(3))
    return np.ravel_multi_index((row, column, red, green, blue), shape[:5], mode="clip")
