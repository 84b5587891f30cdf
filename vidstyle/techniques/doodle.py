"""doodle: a drawing of labels becomes a painting."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from vidstyle.media import Image
from vidstyle.techniques.base import Inputs, Style
from vidstyle.techniques.patch import Patch

if TYPE_CHECKING:
    from vidstyle.guides.guide import Guide

__all__ = ["Doodle"]


@dataclass(frozen=True, kw_only=True)
class Doodle(Patch):
    """As patch, but the source is the map itself: there is no content to be held to.

    Differs from the original in what it begins with: the drawing in the colours that the labels
    have in the style picture, since a label's own colour shines through at the edges.
    """

    name: ClassVar[str] = "doodle"
    summary: ClassVar[str] = "a drawing of labels becomes a painting like the style picture"
    inputs: ClassVar[Inputs] = Inputs(style_map="required")
    has_content: ClassVar[bool] = False

    def start(self, frame: Image, guide: "Guide | None", styles: Sequence[Style]) -> Image:
        """Return the drawing in the mean colours of the style; what has no label stays."""
        style = styles[0]
        if guide is None or style.guide is None:
            return frame
        order = [style.guide.names.index(name) for name in guide.names]
        theirs = style.guide.planes[..., order]
        sums = np.einsum("hwk,hwc->kc", theirs, style.image, optimize=True)
        colours = sums / np.maximum(theirs.sum(axis=(0, 1)), 1e-6)[:, None]
        labelled = guide.planes.sum(axis=2, keepdims=True)
        return np.asarray(guide.planes @ colours + (1 - labelled) * frame, np.float32)
