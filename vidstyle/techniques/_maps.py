"""The options of techniques that take maps."""

from dataclasses import dataclass

from vidstyle.settings import option
from vidstyle.techniques.base import Technique

__all__ = ["Mapped"]


@dataclass(frozen=True, kw_only=True)
class Mapped(Technique):
    """A technique to which colours of a map are labels."""

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
