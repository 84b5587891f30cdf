"""basic: the style of whole pictures over the whole frame."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from vidstyle.techniques._disoccluded import fresh_loss, fresh_of, parted
from vidstyle.techniques.base import Encoded, Features, Share, Strip, Sums, Targets, Technique
from vidstyle.vgg.crop import cells

__all__ = ["Basic"]

_STRIP = 64  # rows of a large frame that are seen at a time
_LARGE = 1_500_000  # pixels: strips take a fifth longer, and so serve where memory is short


@dataclass(frozen=True, kw_only=True)
class Basic(Technique):
    """One Gram matrix a layer, over the whole frame (Gatys, Ecker & Bethge 2016).

    Differs in that the distance of each layer is relative to its target, and several styles blend
    as the weighted mean of their Gram matrices.
    """

    summary: ClassVar[str] = "the style of one or more pictures over the whole frame"

    def targets(self, styles: Sequence[Encoded], frame: Encoded) -> Targets:
        """Return {"goals": the blended Gram matrices [C, C], "fresh": Fresh}, each by layer."""
        from vidstyle.vgg import losses

        grams = [_grams(style) for style in styles]
        goals = {
            layer: losses.summed(
                [style.weight * own[layer] for style, own in zip(styles, grams, strict=True)]
            )
            for layer in (*frame.early_layers, *frame.features)
        }
        everywhere = [np.ones((*values.shape[:2], 1)) for values in frame.features.values()]
        return {"goals": goals, "fresh": fresh_of(frame, everywhere)}

    def loss(self, features: Features, targets: Targets, early: Sums | None = None) -> Any:
        """Return the mean over layers of the style distance, and of that of what is fresh.

        Where early layers are seen in strips, what is fresh is drawn to the style at the others.
        """
        from vidstyle.vgg import losses

        goals, fresh = targets["goals"], targets["fresh"]
        whole, parts = parted(features, fresh)
        grams = {layer: losses.gram(whole[layer]) for layer in fresh}
        grams.update(_means(early) if early else {})
        apart = [losses.relative(grams[layer], goal) for layer, goal in goals.items()]
        each = {layer: goals[layer][None] for layer in goals}
        return losses.summed(apart) / len(apart) + fresh_loss(parts, fresh, each)

    def strip_rows(self, size: tuple[int, int]) -> int | None:
        """Return the rows of a strip of a large frame."""
        return _STRIP if math.prod(size) >= _LARGE else None

    def sums(self, features: Features, targets: Targets, strip: Strip) -> dict[str, Share]:
        """Return Σ f fᵀ [1, C, C] of each layer."""
        from vidstyle.vgg import losses

        del targets, strip
        return {
            layer: Share(losses.products(values)[None], 0, 1) for layer, values in features.items()
        }


def _means(early: Sums) -> Features:
    """Return the Gram matrices of a frame from the products of its strips [S, C, C]."""
    from vidstyle.vgg import losses

    return {
        layer: losses.summed(found) / float(math.prod(cells(early.size, layer)))
        for layer, found in early.sums.items()
    }


def _grams(style: Encoded) -> Features:
    """Return a style's Gram matrices, of the whole of it."""
    from vidstyle.vgg import losses

    grams = {layer: losses.gram(values) for layer, values in style.features.items()}
    strips = [
        {layer: losses.products(values) for layer, values in features.items()}
        for features in style.early or ()
    ]
    if strips:
        sums = {layer: [strip[layer] for strip in strips] for layer in strips[0]}
        grams.update(_means(Sums(style.size, sums)))
    return grams
