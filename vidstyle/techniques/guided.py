"""MaskedTechnique, MappedTechnique: the guides of a technique and the options for reading them."""

from dataclasses import dataclass
from typing import ClassVar

from vidstyle.settings import option
from vidstyle.techniques.base import Inputs, Technique

__all__ = ["MappedTechnique", "MaskedTechnique"]


@dataclass(frozen=True, kw_only=True)
class MaskedTechnique(Technique):
    """A technique whose guide has one plane for each mask."""

    inputs: ClassVar[Inputs] = Inputs(mask="required")

    invert_mask: bool = option(False, "the style goes where the masks are black")
    feather: float = option(
        0.0, "how far a mask's edges are spread to either side", unit="pixels", low=0, high=1000
    )


@dataclass(frozen=True, kw_only=True)
class MappedTechnique(Technique):
    """A technique whose guide has one plane for each label of a map; a label is a colour."""

    inputs: ClassVar[Inputs] = Inputs(map="required", style_map="required")

    regions: str | None = option(
        None,
        "only these colours of the map take part, each with a style if one is named "
        "('#0000ff=a.jpg,#ff0000=b.jpg')",
    )
    unmatched: str = option(
        "refuse", "what is done with a colour that no style's map has", words=("refuse", "keep")
    )
    tolerance: float = option(
        0.14, "how far a pixel's colour may be from its label's, of the unit cube", low=0, high=1
    )
