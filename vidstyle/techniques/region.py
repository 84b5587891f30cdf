"""region: each region of the frame's label map takes the style of the style map's region."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from vidstyle.image import Image
from vidstyle.techniques._masked_style import Source, plane_loss, plane_targets
from vidstyle.techniques._style_colours import in_style_colours
from vidstyle.techniques.base import Features, Style, StyleFeatures, Sums, Targets
from vidstyle.techniques.guided import MappedTechnique

if TYPE_CHECKING:
    from vidstyle.guides.guide import Guide

__all__ = ["Region"]


@dataclass(frozen=True, kw_only=True)
class Region(MappedTechnique):
    """Moments of each region of the frame's label map, compared with the style's same region.

    Gatys et al., "Controlling Perceptual Factors in Neural Style Transfer" (2017), section 4, with
    planes of 0 and 1. Regions correspond by name.
    """

    name: ClassVar[str] = "region"
    summary: ClassVar[str] = "each region of a map takes the style of the style map's same region"
    confined: ClassVar[bool] = True

    def start(self, frame: Image, guide: "Guide | None", styles: Sequence[Style]) -> Image:
        """Return the frame in the colours of the styles of each region."""
        if guide is None:
            return frame
        sources = [_sources(styles, name) for name in guide.names]
        return in_style_colours(frame, guide.planes, styles, sources)

    def targets(self, styles: Sequence[StyleFeatures], frame: StyleFeatures) -> Targets:
        """Return the goals and the planes of each style layer."""
        assert frame.guide is not None
        return plane_targets(styles, frame, [_sources(styles, n) for n in frame.guide.names])

    def loss(self, features: Features, targets: Targets, early: Sums | None = None) -> Any:
        """Return the weighted mean over layers of the style distance of the regions."""
        del early
        return plane_loss(features, targets)


def _sources(styles: Sequence[Style | StyleFeatures], name: str) -> list[Source]:
    """Return the styles with a region of this name, with shares that add up to 1."""
    matching = [
        (index, style.guide.names.index(name), style.weight)
        for index, style in enumerate(styles)
        if style.guide is not None and name in style.guide.names
    ]
    weights = sum(share for *_, share in matching)
    return [Source(index, plane, share / weights) for index, plane, share in matching]
