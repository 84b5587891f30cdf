"""Receptive fields of VGG-19, and the weights of a layer's cells for the planes of a guide."""

import numpy as np

from vidstyle.guides.guide import Guide
from vidstyle.settings import LAYERS
from vidstyle.vgg.crop import stride

__all__ = ["counted", "receptive_field", "seen", "shrunk"]

_SPREAD = 8.0  # receptive field / sigma of the Gaussian that stands for it
_ENOUGH = 8.0  # cells of a layer below which the weight of a plane is reduced


def counted(guide: Guide, layer: str, height: int, width: int) -> np.ndarray:
    """Return the weights of a layer's cells for a guide's K planes: [height, width, K].

    A cell is weighted by the plane's mean over it, times the part of its receptive field that any
    plane covers. The weights of a plane are then scaled to add up to its area, or to less if it
    has few cells: the moments of few cells describe no style and produced foreign patterns. Where
    planes together cover everything, there is no edge.
    """
    areas = shrunk(guide.planes, height, width)
    weights = areas * seen(guide.covered, layer, height, width)
    total = weights.sum(axis=(0, 1)) + np.float32(1e-12)
    cells = total / (guide.planes.max(axis=(0, 1)) + np.float32(1e-12))
    worth = np.minimum(1, cells / min(_ENOUGH, height * width))
    return np.asarray(weights * (worth * areas.sum(axis=(0, 1)) / total))


def seen(places: np.ndarray, layer: str, height: int, width: int) -> np.ndarray:
    """Return the part of each cell's receptive field that lies in places: [height, width, 1].

    places: [H, W, 1], 1 where pixels may change. At its edge a receptive field includes pixels that
    may not change; with full weight, the few pixels inside compensated for them with blocks of
    saturated colour. Gatys et al. (2017), section 4, leave such features out; here they are
    weighted, by a Gaussian (Luo et al., "Understanding the Effective Receptive Field", 2016).
    """
    import cv2

    if not places.all():
        sigma = receptive_field(layer) / _SPREAD
        places = cv2.GaussianBlur(places, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)[..., None]
    return shrunk(places, height, width)


def shrunk(planes: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return planes [H, W, K] averaged over the cells of a layer's grid: [height, width, K]."""
    from vidstyle.vgg import losses

    rows, columns = (
        losses.area_average(long, short)
        for long, short in zip(planes.shape[:2], (height, width), strict=True)
    )
    return np.einsum("hH,HWk,wW->hwk", rows, planes, columns, optimize=True)


def receptive_field(layer: str) -> int:
    """Return the side in pixels of the receptive field of a layer of VGG-19 ("relu4_1": 68)."""
    field = 1
    for name in LAYERS[: LAYERS.index(layer) + 1]:
        pooled = stride(name) // 2 if name.endswith("_1") else 0  # 2 x 2 pooling
        field += pooled + 2 * stride(name)
    return field
