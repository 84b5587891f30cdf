"""Style: a style picture with its weight and, for label maps, its guide."""

from dataclasses import dataclass
from functools import cached_property

from vidstyle.guides.colours import ColourMoments, colour_moments
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

    @cached_property
    def colours(self) -> dict[int | None, ColourMoments]:
        """The moments of the picture's colours under None, and of its guide's planes by index."""
        planes = () if self.guide is None else self.guide.planes.transpose(2, 0, 1)
        moments: dict[int | None, ColourMoments] = {None: colour_moments(self.image)}
        moments.update((at, colour_moments(self.image, plane)) for at, plane in enumerate(planes))
        return moments
