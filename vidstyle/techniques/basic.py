"""basic: the style of one or more pictures over the whole frame."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from vidstyle.image import Image
from vidstyle.techniques._disoccluded import disoccluded_loss, disoccluded_plane, split_disoccluded
from vidstyle.techniques._masked_style import Source
from vidstyle.techniques._style_colours import in_style_colours
from vidstyle.techniques.base import (
    Features,
    Share,
    Strip,
    Style,
    StyleFeatures,
    Sums,
    Targets,
    Technique,
)
from vidstyle.vgg.crop import cells

if TYPE_CHECKING:
    from vidstyle.guides.guide import Guide

__all__ = ["Basic"]

_STRIP = 64  # pixels: the height of a strip of a large frame
_LOWEST = 16  # pixels: of a strip after memory ran out; its margins already take 12 rows more
_LARGE = 1_500_000  # pixels; larger frames are computed in strips: 20 % slower, but less memory


@dataclass(frozen=True, kw_only=True)
class Basic(Technique):
    """The moments of each layer over the whole frame (Gatys, Ecker & Bethge 2016).

    Differs in the style distance (see losses.style). Several styles blend as the weighted mean of
    their moments.
    """

    name: ClassVar[str] = "basic"
    summary: ClassVar[str] = "the style of one or more pictures over the whole frame"

    def start(self, frame: Image, guide: "Guide | None", styles: Sequence[Style]) -> Image:
        """Return the frame in the colours of the styles."""
        del guide
        blend = [Source(index, None, style.weight) for index, style in enumerate(styles)]
        everywhere = np.ones((*frame.shape[:2], 1), np.float32)
        return in_style_colours(frame, everywhere, styles, [blend])

    def targets(self, styles: Sequence[StyleFeatures], frame: StyleFeatures) -> Targets:
        """Return {"goals": blended moments [C + 1, C], "disoccluded": planes}, each by layer."""
        from vidstyle.vgg import losses

        moments = [_moments(style) for style in styles]
        goals = {
            layer: losses.summed(
                [style.weight * own[layer] for style, own in zip(styles, moments, strict=True)]
            )
            for layer in (*frame.early_layers, *frame.features)
        }
        everywhere = [np.ones((*values.shape[:2], 1)) for values in frame.features.values()]
        return {"goals": goals, "disoccluded": disoccluded_plane(frame, everywhere)}

    def loss(self, features: Features, targets: Targets, early: Sums | None = None) -> Any:
        """Return the weighted mean over layers of the style distance, plus disoccluded_loss.

        The latter covers only the layers that are not computed in strips.
        """
        from vidstyle.vgg import losses

        goals, disoccluded = targets["goals"], targets["disoccluded"]
        whole, parts = split_disoccluded(features, disoccluded)
        moments = {layer: losses.moments(whole[layer]) for layer in disoccluded}
        moments.update(_means(early) if early else {})
        distances = {layer: losses.style(moments[layer], goal) for layer, goal in goals.items()}
        single_planes = {layer: goal[None] for layer, goal in goals.items()}
        return losses.over_layers(distances) + disoccluded_loss(parts, disoccluded, single_planes)

    def strip_rows(self, size: tuple[int, int], shortages: int = 0) -> int | None:
        """Return the height of a strip; None for a frame that is small enough."""
        lower = shortages if math.prod(size) >= _LARGE else shortages - 1
        return None if lower < 0 else max(_STRIP >> lower, _LOWEST)

    def sums(self, features: Features, targets: Targets, strip: Strip) -> dict[str, Share]:
        """Return Σ f fᵀ and below it Σ f of a strip, by layer: [1, C + 1, C]."""
        from vidstyle.vgg import losses

        del targets, strip
        return {layer: Share(losses.sums(values)[None], 0, 1) for layer, values in features.items()}


def _means(early: Sums) -> Features:
    """Return the moments [C + 1, C] by layer, from the sums of strips [S, C + 1, C]."""
    from vidstyle.vgg import losses

    return {
        layer: losses.summed(sums) / float(math.prod(cells(early.size, layer)))
        for layer, sums in early.sums.items()
    }


def _moments(style: StyleFeatures) -> Features:
    """Return the moments of a whole style by layer."""
    from vidstyle.vgg import losses

    moments = {layer: losses.moments(values) for layer, values in style.features.items()}
    strips = [
        {layer: losses.sums(values) for layer, values in features.items()}
        for features in style.early or ()
    ]
    if strips:
        sums = {layer: [strip[layer] for strip in strips] for layer in strips[0]}
        moments.update(_means(Sums(style.size, sums)))
    return moments
