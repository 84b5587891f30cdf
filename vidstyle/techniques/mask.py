"""mask: the style inside soft masks, in proportion to their weight."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from vidstyle.errors import UsageError
from vidstyle.image import Image
from vidstyle.techniques._masked_style import Source, plane_loss, plane_targets
from vidstyle.techniques._style_colours import in_style_colours
from vidstyle.techniques.base import Features, Style, StyleFeatures, Sums, Targets
from vidstyle.techniques.guided import MaskedTechnique

if TYPE_CHECKING:
    from vidstyle.guides.guide import Guide

__all__ = ["Mask"]


@dataclass(frozen=True, kw_only=True)
class Mask(MaskedTechnique):
    """Moments of each soft mask, positions weighted by the mask; masks may overlap.

    Gatys et al., "Controlling Perceptual Factors in Neural Style Transfer" (2017), section 4.
    Differs in that the weight enters once, not squared, so that a uniform mask of 0.5 has the same
    target as one of 1; and in the weights at a mask's edge: see _receptive_field.
    """

    name: ClassVar[str] = "mask"
    summary: ClassVar[str] = "a style inside a soft mask, or one for each of several masks"
    confined: ClassVar[bool] = True

    def start(self, frame: Image, guide: "Guide | None", styles: Sequence[Style]) -> Image:
        """Return the frame in the colours of the styles of each mask."""
        if guide is None:
            return frame
        return in_style_colours(frame, guide.planes, styles, _sources(styles, len(guide.names)))

    def targets(self, styles: Sequence[StyleFeatures], frame: StyleFeatures) -> Targets:
        """Return the goals and the planes of each style layer."""
        assert frame.guide is not None
        return plane_targets(styles, frame, _sources(styles, len(frame.guide.names)))

    def loss(self, features: Features, targets: Targets, early: Sums | None = None) -> Any:
        """Return the weighted mean over layers of the style distance of the masks."""
        del early
        return plane_loss(features, targets)


def _sources(styles: Sequence[Style | StyleFeatures], count: int) -> list[list[Source]]:
    """Return the styles of each mask: style i for mask i, or the blend of all for every mask."""
    if len(styles) == count and count > 1:
        return [[Source(index, None, 1.0)] for index in range(count)]
    if len(styles) > 1 and count > 1:
        raise UsageError(
            f"expected as many masks as styles, or one mask or one style, got {count} masks and "
            f"{len(styles)} styles; leave out some --mask or --style"
        )
    blend = [Source(index, None, style.weight) for index, style in enumerate(styles)]
    return [blend] * count
