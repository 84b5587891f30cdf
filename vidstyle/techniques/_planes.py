"""What mask and region share: each plane of the frame's guide has a style of its own."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from vidstyle.techniques.base import Encoded, Features, Targets

if TYPE_CHECKING:
    from vidstyle.planes import Planes

__all__ = ["Source", "plane_loss", "plane_targets"]


class Source(NamedTuple):
    """Where a plane's style comes from: style's index, its plane's (None: all of it), its share."""

    style: int
    plane: int | None
    share: float


def plane_targets(
    styles: Sequence[Encoded], frame: Encoded, sources: Sequence[Sequence[Source]]
) -> Targets:
    """Return {"goals": Gram matrices [K, C, C] a layer, "planes": Planes a layer}.

    sources: for each of the K planes of the frame's guide, what its style is blended of.
    """
    import tensorflow as tf

    from vidstyle import losses
    from vidstyle.planes import planes_of

    assert frame.guide is not None
    goals, planes = {}, {}
    for layer, features in frame.features.items():
        found = [_style_grams(style, layer) for style in styles]
        goals[layer] = tf.stack(
            [
                losses.summed([share * found[style][plane] for style, plane, share in blend])
                for blend in sources
            ]
        )
        part = None if frame.window is None else frame.window.at(layer)
        weights = _shrunk(frame.guide.planes, *features.shape[:2])
        planes[layer] = planes_of(weights, part)
    return {"goals": goals, "planes": planes}


def _style_grams(style: Encoded, layer: str) -> dict[int | None, Any]:
    """Return the Gram matrix of each plane of a style, and under None that of the whole of it."""
    from vidstyle import losses
    from vidstyle.planes import plane_grams, planes_of

    features = style.features[layer]
    grams: dict[int | None, Any] = {None: losses.gram(features)}
    if style.guide is not None:
        weights = _shrunk(style.guide.planes, *features.shape[:2])
        over = planes_of(weights)
        grams.update(enumerate(plane_grams(features, over)))
    return grams


def _shrunk(planes: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return planes [H, W, K] averaged over the cells of a layer's grid: a hard edge is a part."""
    from vidstyle import losses

    rows, columns = (
        losses.area_average(long, short)
        for long, short in zip(planes.shape[:2], (height, width), strict=True)
    )
    return np.einsum("hH,HWk,wW->hwk", rows, planes, columns, optimize=True)


def plane_loss(features: Features, targets: Targets) -> Any:
    """Return the mean over layers of the style distance of the planes."""
    from vidstyle import losses
    from vidstyle.planes import style_of_planes

    planes: dict[str, Planes] = targets["planes"]
    apart = [
        style_of_planes(features[layer], planes[layer], goals)
        for layer, goals in targets["goals"].items()
    ]
    return losses.summed(apart) / len(apart)
