"""Rehearsal: a stylizer that optimises nothing; and what a run needs of any stylizer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np

    from vidstyle.coherence.history import Result
    from vidstyle.coherence.warm_start import TemporalPrior
    from vidstyle.guides.guide import Guide
    from vidstyle.media import Image

__all__ = ["IdentityStylizer", "Rehearsed", "Stylizes"]


class Stylizes(Protocol):
    """What a run needs of a stylizer: engine.Stylizer, or a stand-in."""

    def begin(self, content: "Image", guide: "Guide | None" = None) -> "Image": ...

    def stylize(
        self,
        content: "Image",
        *,
        guide: "Guide | None" = None,
        prior: "TemporalPrior | None" = None,
        progress: Callable[[int, float], None] | None = None,
    ) -> "Result": ...


@dataclass(frozen=True)
class Rehearsed:
    """The result of a rehearsal; has the fields of engine.Stylized."""

    image: "Image"
    losses: dict[str, float]
    evaluations: int = 0
    matches: "np.ndarray | None" = None
    drawn: "Image | None" = None
    filtered: "Image | None" = None


class IdentityStylizer:
    """A stylizer that optimises nothing: each frame is what an optimiser would start from."""

    def begin(self, content: "Image", guide: "Guide | None" = None) -> "Image":
        """Return the frame."""
        del guide
        return content

    def stylize(
        self,
        content: "Image",
        *,
        guide: "Guide | None" = None,
        prior: "TemporalPrior | None" = None,
        progress: Callable[[int, float], None] | None = None,
    ) -> Rehearsed:
        """Return the picture of the prior, or the frame if there is none."""
        return Rehearsed(content if prior is None else prior.image, {})
