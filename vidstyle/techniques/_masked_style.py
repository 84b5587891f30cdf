"""Targets and loss of mask and region: each plane of the frame's guide has its own style."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from vidstyle.techniques._disoccluded import disoccluded_loss, disoccluded_plane, parted
from vidstyle.techniques._receptive_field import counted, shrunk
from vidstyle.techniques.base import Features, StyleFeatures, Targets

if TYPE_CHECKING:
    from vidstyle.techniques._masked_gram import Planes

__all__ = ["Source", "plane_loss", "plane_targets"]


class Source(NamedTuple):
    """One style of a plane: its index, the index of its plane (None: all of it), its share."""

    style: int
    plane: int | None
    share: float


def plane_targets(
    styles: Sequence[StyleFeatures], frame: StyleFeatures, sources: Sequence[Sequence[Source]]
) -> Targets:
    """Return {"goals": moments [K, C + 1, C], "planes", "disoccluded"}, each by layer.

    sources: the styles that are blended for each of the K planes of the frame's guide.
    """
    import tensorflow as tf

    from vidstyle.techniques._masked_gram import planes_of
    from vidstyle.vgg import losses

    assert frame.guide is not None
    goals, planes, every = {}, {}, []
    for layer, features in frame.features.items():
        found = [_style_moments(style, layer) for style in styles]
        goals[layer] = tf.stack(
            [
                losses.summed([share * found[style][plane] for style, plane, share in blend])
                for blend in sources
            ]
        )
        part = None if frame.window is None else frame.window.at(layer)
        weights = counted(frame.guide, layer, *features.shape[:2])
        planes[layer] = planes_of(weights, part)
        every.append(weights)
    return {"goals": goals, "planes": planes, "disoccluded": disoccluded_plane(frame, every)}


def _style_moments(style: StyleFeatures, layer: str) -> dict[int | None, Any]:
    """Return the moments of each plane of a style by index, and of the whole style under None."""
    from vidstyle.techniques._masked_gram import plane_moments, planes_of
    from vidstyle.vgg import losses

    features = style.features[layer]
    moments: dict[int | None, Any] = {None: losses.moments(features)}
    if style.guide is not None:
        weights = shrunk(style.guide.planes, *features.shape[:2])
        over = planes_of(weights)
        moments.update(enumerate(plane_moments(features, over)))
    return moments


def plane_loss(features: Features, targets: Targets) -> Any:
    """Return the weighted mean over layers of the style distance, plus disoccluded_loss."""
    from vidstyle.techniques._masked_gram import style_of_planes
    from vidstyle.vgg import losses

    planes: dict[str, Planes] = targets["planes"]
    whole, parts = parted(features, targets["disoccluded"])
    apart = {
        layer: style_of_planes(whole[layer], planes[layer], goals)
        for layer, goals in targets["goals"].items()
    }
    return losses.over_layers(apart) + disoccluded_loss(
        parts, targets["disoccluded"], targets["goals"]
    )
