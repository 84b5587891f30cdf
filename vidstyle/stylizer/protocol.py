"""Stylizes: the protocol of a stylizer; IdentityStylizer: one that does not optimise."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from vidstyle.coherence.stylized import Stylized
from vidstyle.image import Image

if TYPE_CHECKING:
    from vidstyle.coherence.prior import TemporalPrior
    from vidstyle.guides.guide import Guide

__all__ = ["IdentityStylizer", "Progress", "Stylized", "Stylizes"]

# (evaluations made for this frame, total loss, function that returns the image that was evaluated:
# a copy, float32 [h, w, 3], RGB, 0..1, at the size of the present pyramid level)
Progress = Callable[[int, float, Callable[[], Image]], None]


class Stylizes(Protocol):
    """What a run calls of a stylizer: see stylizer.Stylizer for the arguments."""

    def begin(self, content: Image, guide: "Guide | None" = None) -> Image:
        """Return the start image of a frame without a prior."""
        ...

    def stylize(
        self,
        content: Image,
        *,
        guide: "Guide | None" = None,
        prior: "TemporalPrior | None" = None,
        progress: Progress | None = None,
    ) -> Stylized:
        """Return `content` stylised, at its own size."""
        ...


class IdentityStylizer:
    """A stylizer that does not optimise: each result is the frame's start image."""

    def begin(self, content: Image, guide: "Guide | None" = None) -> Image:
        """Return the frame."""
        del guide
        return content

    def stylize(
        self, content: Image, *, prior: "TemporalPrior | None" = None, **_: object
    ) -> Stylized:
        """Return the prior's image, or the frame if there is no prior."""
        return Stylized(content if prior is None else prior.image)
