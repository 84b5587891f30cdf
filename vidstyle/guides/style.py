"""Style: a style picture, its share of a blend, and where in it which style is."""

from dataclasses import dataclass

from vidstyle.guides.guide import Guide
from vidstyle.image import Image
from vidstyle.validation import check_image, check_weight

__all__ = ["Style"]


@dataclass(frozen=True)
class Style:
    """A style picture (an Image of any size) and its share when several are blended.

    guide: where in the picture which style is, its planes [H, W, K] of the picture's own size; or
    None: all of it is one. Raises MediaError or SettingsError for another type, shape or range.
    """

    image: Image
    weight: float = 1.0
    guide: Guide | None = None

    def __post_init__(self) -> None:
        check_image(self.image, "style")
        check_weight(self.weight, "style")
