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

    invert_mask: bool = option(False, "exchange black and white in the masks")
    feather: float = option(
        0.0,
        "distance by which mask edges are softened to either side",
        unit="pixels",
        low=0,
        high=1000,
    )


@dataclass(frozen=True, kw_only=True)
class MappedTechnique(Technique):
    """A technique whose guide has one plane for each label of a map; a label is a colour."""

    inputs: ClassVar[Inputs] = Inputs(map="required", style_map="required")

    regions: str | None = option(
        None,
        "use only these colours of the map, each with a style if one is named "
        "('#0000ff=a.jpg,#ff0000=b.jpg')",
    )
    unmatched: str = option(
        "refuse", "treatment of a colour that no style map has", words=("refuse", "keep")
    )
    tolerance: float = option(
        0.14, "largest distance of a pixel's colour from its label's, in RGB 0..1", low=0, high=1
    )
