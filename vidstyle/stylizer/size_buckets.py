"""Padded: pictures of many sizes stylised at few, since each size has to be traced."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from vidstyle.coherence.history import Result
from vidstyle.guides.guide import Guide
from vidstyle.stylizer.protocol import Rehearsed, Stylizes

if TYPE_CHECKING:
    from vidstyle.coherence.warm_start import TemporalPrior
    from vidstyle.image import Image

__all__ = ["SizeBuckets", "padded_side"]

_STEPS = 16  # of a side between a power of two and the next
_FINEST = 8  # pixels


class SizeBuckets:
    """Stylises pictures grown to the next of few sizes, mirrored at their right and lower edge.

    The size depends on the picture's alone, so its result does not depend on what other pictures
    are stylised. The result is cut to the picture's own size.
    """

    def __init__(self, stylizer: Stylizes) -> None:
        self._stylizer = stylizer

    def begin(self, content: "Image", guide: Guide | None = None) -> "Image":
        """Return what a first frame begins with."""
        return self._stylizer.begin(content, guide)

    def stylize(
        self,
        content: "Image",
        *,
        guide: Guide | None = None,
        prior: "TemporalPrior | None" = None,
        progress: Callable[[int, float], None] | None = None,
    ) -> Result:
        """Return `content` stylised, at its own size. prior: None, since pictures have none."""
        rows, columns = content.shape[:2]
        if guide is not None:
            guide = replace(guide, planes=_grown(guide.planes))
        found = self._stylizer.stylize(_grown(content), guide=guide, prior=prior, progress=progress)
        image = np.ascontiguousarray(found.image[:rows, :columns])
        return Rehearsed(image, found.losses, found.evaluations, found.matches)


def _grown(values: "np.ndarray") -> "np.ndarray":
    """Return [H, W, C] at the next of the few sizes; what is added mirrors what is there."""
    rows, columns = values.shape[:2]
    below, right = padded_side(rows) - rows, padded_side(columns) - columns
    return np.pad(values, ((0, below), (0, right), (0, 0)), mode="symmetric")


def padded_side(length: int) -> int:
    """Return the side that a side of this many pixels grows to: by 6 % at most, from 128 on."""
    step = max(_FINEST, 2 ** (length.bit_length() - 1) // _STEPS)
    return -(-length // step) * step
