"""Style: a style picture, its share of a blend, and where in it which style is."""

from dataclasses import dataclass

from vidstyle.guides.guide import Guide
from vidstyle.media import Image

__all__ = ["Style"]


@dataclass(frozen=True)
class Style:
    """A style picture (an Image of any size) and its share when several are blended.

    guide: where in the picture which style is, its planes [H, W, K] of the picture's own size; or
    None: all of it is one.
    """

    image: Image
    weight: float = 1.0
    guide: Guide | None = None
