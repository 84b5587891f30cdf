"""Edges of what may change: with what weights the cells of a layer count for planes there."""

import numpy as np

from vidstyle.guides import Guide
from vidstyle.settings import LAYERS
from vidstyle.techniques._fresh import shrunk
from vidstyle.window import stride

__all__ = ["counted", "receptive_field"]

_SPREAD = 8.0  # receptive fields by this: the sigma of the Gaussian by which a feature sees
_ENOUGH = 8.0  # cells that a plane is to have, for its Gram matrix to pull as its area does


def counted(guide: Guide, layer: str, height: int, width: int) -> np.ndarray:
    """Return with what weights a layer's cells count for a guide's K planes: [height, width, K].

    A cell counts by its part of the plane, and by how much of what it sees may change. Together
    those of a plane weigh what its area does, or less where they are few: a Gram matrix of so few
    says little of a style, and was met by patterns that are not the style's. Where planes cover
    everything there is no edge, whatever lies between them.
    """
    areas = shrunk(guide.planes, height, width)
    weights = areas * shrunk(_free_of_seen(guide.covered, layer), height, width)
    total = weights.sum(axis=(0, 1)) + np.float32(1e-12)
    cells = total / (guide.planes.max(axis=(0, 1)) + np.float32(1e-12))
    worth = np.minimum(1, cells / min(_ENOUGH, height * width))
    return np.asarray(weights * (worth * areas.sum(axis=(0, 1)) / total))


def _free_of_seen(free: np.ndarray, layer: str) -> np.ndarray:
    """Return how much of what a layer's feature sees at each pixel is free to change, [H, W, 1].

    free: [H, W, 1], 1 where pixels may change. At the edge of that a feature sees the source around
    it, too, which stays. To be like the style in spite of it, the few pixels within became blocks
    of glaring colour. Gatys et al. (2017), section 4, leave such features out; by this they count
    for what they see, of a Gaussian (Luo et al., "Understanding the Effective Receptive Field",
    2016).
    """
    import cv2

    if free.all():
        return free
    sigma = receptive_field(layer) / _SPREAD
    return cv2.GaussianBlur(free, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)[..., None]


def receptive_field(layer: str) -> int:
    """Return how many pixels across a feature of VGG-19 depends on ("relu4_1": 68)."""
    field = 1
    for name in LAYERS[: LAYERS.index(layer) + 1]:
        pooled = stride(name) // 2 if name.endswith("_1") else 0  # by 2 x 2 cells of half the step
        field += pooled + 2 * stride(name)
    return field
