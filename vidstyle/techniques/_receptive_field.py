"""Edges of what may change: with what weights the cells of a layer count for planes there."""

import numpy as np

from vidstyle.guides.guide import Guide
from vidstyle.settings import LAYERS
from vidstyle.vgg.crop import stride

__all__ = ["counted", "receptive_field", "seen", "shrunk"]

_SPREAD = 8.0  # receptive fields by this: the sigma of the Gaussian by which a feature sees
_ENOUGH = 8.0  # cells that a plane is to have, for its moments to pull as its area does


def counted(guide: Guide, layer: str, height: int, width: int) -> np.ndarray:
    """Return with what weights a layer's cells count for a guide's K planes: [height, width, K].

    A cell counts by its part of the plane, and by how much of what it sees may change. Together
    those of a plane weigh what its area does, or less where they are few: the moments of so few
    say little of a style, and were met by patterns that are not the style's. Where planes cover
    everything there is no edge, whatever lies between them.
    """
    areas = shrunk(guide.planes, height, width)
    weights = areas * seen(guide.covered, layer, height, width)
    total = weights.sum(axis=(0, 1)) + np.float32(1e-12)
    cells = total / (guide.planes.max(axis=(0, 1)) + np.float32(1e-12))
    worth = np.minimum(1, cells / min(_ENOUGH, height * width))
    return np.asarray(weights * (worth * areas.sum(axis=(0, 1)) / total))


def seen(places: np.ndarray, layer: str, height: int, width: int) -> np.ndarray:
    """Return how much of what a layer's features see is of places [H, W, 1]: [height, width, 1].

    places: 1 where pixels may change. At the edge of that a feature sees what is around it, too,
    which stays. To be like the style in spite of it, the few pixels within became blocks of glaring
    colour. Gatys et al. (2017), section 4, leave such features out; by this they count for what
    they see, of a Gaussian (Luo et al., "Understanding the Effective Receptive Field", 2016).
    """
    import cv2

    if not places.all():
        sigma = receptive_field(layer) / _SPREAD
        places = cv2.GaussianBlur(places, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)[..., None]
    return shrunk(places, height, width)


def shrunk(planes: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return planes [H, W, K] averaged over the cells of a layer's grid: a hard edge is a part."""
    from vidstyle.vgg import losses

    rows, columns = (
        losses.area_average(long, short)
        for long, short in zip(planes.shape[:2], (height, width), strict=True)
    )
    return np.einsum("hH,HWk,wW->hwk", rows, planes, columns, optimize=True)


def receptive_field(layer: str) -> int:
    """Return how many pixels across a feature of VGG-19 depends on ("relu4_1": 68)."""
    field = 1
    for name in LAYERS[: LAYERS.index(layer) + 1]:
        pooled = stride(name) // 2 if name.endswith("_1") else 0  # by 2 x 2 cells of half the step
        field += pooled + 2 * stride(name)
    return field
