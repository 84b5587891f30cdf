"""basic: the style of whole pictures over the whole frame."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from vidstyle.techniques.base import Encoded, Features, Targets, Technique

__all__ = ["Basic"]


@dataclass(frozen=True, kw_only=True)
class Basic(Technique):
    """One Gram matrix a layer, over the whole frame (Gatys, Ecker & Bethge 2016).

    Differs in that the distance of each layer is relative to its target, and several styles blend
    as the weighted mean of their Gram matrices.
    """

    summary: ClassVar[str] = "the style of one or more pictures over the whole frame"

    def targets(self, styles: Sequence[Encoded], frame: Encoded) -> Targets:
        """Return the blended Gram matrix [C, C] of each style layer."""
        from vidstyle import losses

        return {
            layer: losses.summed(
                [style.weight * losses.gram(style.features[layer]) for style in styles]
            )
            for layer in frame.features
        }

    def loss(self, features: Features, targets: Targets) -> Any:
        """Return the mean over layers of the style distance."""
        from vidstyle import losses

        apart = [losses.relative(losses.gram(features[at]), goal) for at, goal in targets.items()]
        return losses.summed(apart) / len(apart)
