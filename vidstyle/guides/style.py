"""Style: a style picture with its weight and, for label maps, its guide."""

from dataclasses import dataclass

from vidstyle.guides.guide import Guide
from vidstyle.image import Image
from vidstyle.validation import check_image, check_weight

__all__ = ["Style"]


@dataclass(frozen=True)
class Style:
    """A style picture (an Image of any size), and its weight relative to the other styles.

    guide: planes [H, W, K] of the picture's size, one for each region of its label map; None: the
    whole picture is one style. Raises MediaError or SettingsError for another type, shape or range.
    """

    image: Image
    weight: float = 1.0
    guide: Guide | None = None

    def __post_init__(self) -> None:
        check_image(self.image, "style")
        check_weight(self.weight, "style")
