"""Receptive fields of VGG-19, and the weights of a layer's cells for the planes of a guide."""

import numpy as np

from vidstyle.guides.guide import Guide
from vidstyle.settings import LAYERS
from vidstyle.vgg.crop import stride

__all__ = ["area_averaged", "plane_weights", "receptive_field", "receptive_field_share"]

_SIGMAS = 8.0  # side of a receptive field in sigmas of the Gaussian that approximates it
_MIN_CELLS = 8.0  # cells of a layer below which the weight of a plane is reduced


def plane_weights(guide: Guide, layer: str, height: int, width: int) -> np.ndarray:
    """Return the weights of a layer's cells for a guide's K planes: float32 [height, width, K].

    height, width: of the layer, in cells. A cell's weight is the plane's mean over it, times the
    part of its receptive field that any plane covers. The weights of a plane are then scaled to
    add up to its area, or to less if it has few cells: the moments of few cells describe no style
    and produced foreign patterns. Where planes together cover everything, there is no edge.
    """
    areas = area_averaged(guide.planes, height, width)
    weights = areas * receptive_field_share(guide.covered, layer, height, width)
    sums = weights.sum(axis=(0, 1)) + np.float32(1e-12)
    cells = sums / (guide.planes.max(axis=(0, 1)) + np.float32(1e-12))
    scale = np.minimum(1, cells / min(_MIN_CELLS, height * width))
    return np.asarray(weights * (scale * areas.sum(axis=(0, 1)) / sums))


def receptive_field_share(area: np.ndarray, layer: str, height: int, width: int) -> np.ndarray:
    """Return the share of each cell's receptive field inside an area, 0..1: [height, width, 1].

    area: float32 [H, W, 1], 1 where pixels may change. At its edge a receptive field includes
    pixels that may not change; with full weight, the few pixels inside compensated for them with
    blocks of saturated colour. Gatys et al. (2017), section 4, leave such features out. Differs:
    they are weighted, by a Gaussian (Luo et al., "Understanding the Effective Receptive Field",
    2016).
    """
    import cv2

    if not area.all():
        sigma = receptive_field(layer) / _SIGMAS
        area = cv2.GaussianBlur(area, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)[..., None]
    return area_averaged(area, height, width)


def area_averaged(planes: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return planes [H, W, K] averaged over the cells of a layer: [height, width, K]."""
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
