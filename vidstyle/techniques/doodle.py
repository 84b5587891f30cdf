"""doodle: turns a label map into a picture in the style."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from vidstyle.image import Image
from vidstyle.techniques.base import Inputs, Style
from vidstyle.techniques.patch import Patch

if TYPE_CHECKING:
    from vidstyle.guides.guide import Guide

__all__ = ["Doodle"]


@dataclass(frozen=True, kw_only=True)
class Doodle(Patch):
    """As Patch, but the source is the label map itself, and there is no content loss.

    Champandard, "Semantic Style Transfer" (2016). Differs in the start image: each label in its
    mean colour in the style, since a label's own colour would show at the edges.
    """

    name: ClassVar[str] = "doodle"
    summary: ClassVar[str] = "a label map becomes a painting in the style"
    inputs: ClassVar[Inputs] = Inputs(style_map="required")
    has_content: ClassVar[bool] = False

    def start(self, frame: Image, guide: "Guide | None", styles: Sequence[Style]) -> Image:
        """Return the label map in the style's mean colours; unlabelled pixels are unchanged."""
        style = styles[0]
        if guide is None or style.guide is None:
            return frame
        order = [style.guide.names.index(name) for name in guide.names]
        planes = style.guide.planes[..., order]
        sums = np.einsum("hwk,hwc->kc", planes, style.image, optimize=True)
        colours = sums / np.maximum(planes.sum(axis=(0, 1)), 1e-6)[:, None]
        labelled = guide.planes.sum(axis=2, keepdims=True)
        return np.asarray(guide.planes @ colours + (1 - labelled) * frame, np.float32)
