"""Targets and loss of `mask` and `region`: each plane of the frame's guide has its own style."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from vidstyle.techniques._disoccluded import disoccluded_loss, disoccluded_plane, split_disoccluded
from vidstyle.techniques._receptive_field import area_averaged, plane_weights
from vidstyle.techniques.base import Features, StyleFeatures, Targets

if TYPE_CHECKING:
    from vidstyle.techniques._masked_gram import Planes

__all__ = ["Source", "plane_loss", "plane_targets"]


class Source(NamedTuple):
    """One style of a plane of the frame's guide.

    style: its index. plane: index in the style's guide; None: the whole picture. share:
    its part of the blend; those of a plane add up to 1.
    """

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
    goals, planes, all_weights = {}, {}, []
    for layer, features in frame.features.items():
        moments = [_style_moments(style, layer) for style in styles]
        goals[layer] = tf.stack(
            [
                losses.summed([share * moments[style][plane] for style, plane, share in blend])
                for blend in sources
            ]
        )
        window = None if frame.window is None else frame.window.at(layer)
        weights = plane_weights(frame.guide, layer, *features.shape[:2])
        planes[layer] = planes_of(weights, window)
        all_weights.append(weights)
    return {"goals": goals, "planes": planes, "disoccluded": disoccluded_plane(frame, all_weights)}


def _style_moments(style: StyleFeatures, layer: str) -> dict[int | None, Any]:
    """Return the moments of each plane of a style by index, and of the whole style under None."""
    from vidstyle.techniques._masked_gram import plane_moments, planes_of
    from vidstyle.vgg import losses

    features = style.features[layer]
    moments: dict[int | None, Any] = {None: losses.moments(features)}
    if style.guide is not None:
        weights = area_averaged(style.guide.planes, *features.shape[:2])
        planes = planes_of(weights)
        moments.update(enumerate(plane_moments(features, planes)))
    return moments


def plane_loss(features: Features, targets: Targets) -> Any:
    """Return the weighted mean over layers of the style distance, plus disoccluded_loss."""
    from vidstyle.techniques._masked_gram import style_of_planes
    from vidstyle.vgg import losses

    planes: dict[str, Planes] = targets["planes"]
    whole, parts = split_disoccluded(features, targets["disoccluded"])
    distances = {
        layer: style_of_planes(whole[layer], planes[layer], goals)
        for layer, goals in targets["goals"].items()
    }
    return losses.over_layers(distances) + disoccluded_loss(
        parts, targets["disoccluded"], targets["goals"]
    )
