"""mask: the style where masks say, as strongly as they say."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from vidstyle.errors import UsageError
from vidstyle.techniques._masked_style import Source, plane_loss, plane_targets
from vidstyle.techniques.base import Features, StyleFeatures, Sums, Targets
from vidstyle.techniques.guided import MaskedTechnique

__all__ = ["Mask"]


@dataclass(frozen=True, kw_only=True)
class Mask(MaskedTechnique):
    """Moments for each soft mask, of positions weighted by it; masks may overlap.

    Gatys et al., "Controlling Perceptual Factors in Neural Style Transfer" (2017), section 4.
    Differs in that the weight enters once, not squared, so that a mask of one half everywhere asks
    for the same style as a mask of one; and in what counts at a mask's edge: see _edges.
    """

    name: ClassVar[str] = "mask"
    summary: ClassVar[str] = "a style where a mask says, or one for each of several masks"
    confined: ClassVar[bool] = True

    def targets(self, styles: Sequence[StyleFeatures], frame: StyleFeatures) -> Targets:
        """Return the goals and the planes of each style layer."""
        assert frame.guide is not None
        return plane_targets(styles, frame, _sources(styles, len(frame.guide.names)))

    def loss(self, features: Features, targets: Targets, early: Sums | None = None) -> Any:
        """Return the weighted mean over layers of the style distance of the masks."""
        del early
        return plane_loss(features, targets)


def _sources(styles: Sequence[StyleFeatures], count: int) -> list[list[Source]]:
    """Mask i has style i; or there is one style for all, or one mask for a blend of them."""
    if len(styles) == count and count > 1:
        return [[Source(index, None, 1.0)] for index in range(count)]
    if len(styles) > 1 and count > 1:
        raise UsageError(
            f"expected as many masks as styles, or one of either, got {count} masks and "
            f"{len(styles)} styles; leave out some --mask or --style"
        )
    blend = [Source(index, None, style.weight) for index, style in enumerate(styles)]
    return [blend] * count
