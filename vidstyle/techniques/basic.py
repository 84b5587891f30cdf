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

    def targets(self, styles: Sequence[Encoded], content: Features) -> Targets:
        """Return {"style": Gram matrix [C, C] a layer, "content": features [h, w, C] a layer}."""
        from vidstyle import losses

        layers = styles[0].features
        blended = {
            layer: sum(style.weight * losses.gram(style.features[layer]) for style in styles)
            for layer in layers
        }
        return {"style": blended, "content": content}

    def losses(self, features: Features, targets: Targets) -> dict[str, Any]:
        """Return the mean over layers of the style and of the content distance."""
        from vidstyle import losses

        goals = targets["style"]
        style = [losses.relative(losses.gram(features[at]), goal) for at, goal in goals.items()]
        content = [losses.content(features[at], goal) for at, goal in targets["content"].items()]
        return {
            "style": losses.summed(style) / len(style),
            "content": losses.summed(content) / len(content),
        }
