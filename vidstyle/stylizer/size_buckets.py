"""SizeBuckets: pads photos of many sizes to few sizes, since the step is traced once a size."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from vidstyle.guides.guide import Guide
from vidstyle.stylizer.protocol import Progress, Stylized, Stylizes

if TYPE_CHECKING:
    from vidstyle.coherence.prior import TemporalPrior
    from vidstyle.image import Image

__all__ = ["SizeBuckets", "padded_side"]

_STEPS = 16  # bucket sizes between a power of two and the next
_FINEST = 8  # pixels: the least difference of two bucket sizes


class SizeBuckets:
    """A stylizer that pads images to a bucket size, stylises them and crops the result.

    The padding mirrors the image at its right and lower edge. The bucket depends only on the
    image's own size, so a result does not depend on the other images of a batch.
    """

    def __init__(self, stylizer: Stylizes) -> None:
        self._stylizer = stylizer

    def begin(self, content: "Image", guide: Guide | None = None) -> "Image":
        """Return the start image of `content`."""
        return self._stylizer.begin(content, guide)

    def stylize(
        self,
        content: "Image",
        *,
        guide: Guide | None = None,
        prior: "TemporalPrior | None" = None,
        progress: Progress | None = None,
    ) -> Stylized:
        """Return `content` stylised, at its own size. prior: None, since photos have none."""
        rows, columns = content.shape[:2]
        if guide is not None:
            guide = replace(guide, planes=_padded(guide.planes))
        padded = _padded(content)
        if progress is not None:
            progress = _without_padding(progress, padded.shape, rows, columns)
        found = self._stylizer.stylize(padded, guide=guide, prior=prior, progress=progress)
        image = np.ascontiguousarray(found.output_image[:rows, :columns])
        share = math.prod(padded.shape[:2]) / (rows * columns)
        return Stylized(
            image,
            found.losses,
            found.evaluations,
            found.matches,
            frame_equivalents=share * found.frame_equivalents,
            warnings=found.warnings,
        )


def _without_padding(
    progress: Progress, padded: tuple[int, ...], rows: int, columns: int
) -> Progress:
    """Return a callback that passes images on to `progress` without the padding at their level."""

    def report(evaluation: int, loss: float, image: "Callable[[], Image]") -> None:
        def cropped() -> "Image":
            whole = image()
            height, width = whole.shape[:2]
            kept = whole[: round(rows * height / padded[0]), : round(columns * width / padded[1])]
            return np.ascontiguousarray(kept)

        progress(evaluation, loss, cropped)

    return report


def _padded(values: "np.ndarray") -> "np.ndarray":
    """Return [H, W, C] at its bucket size, mirrored into the padding."""
    rows, columns = values.shape[:2]
    below, right = padded_side(rows) - rows, padded_side(columns) - columns
    return np.pad(values, ((0, below), (0, right), (0, 0)), mode="symmetric")


def padded_side(length: int) -> int:
    """Return the bucket size of a side in pixels: at most 6 % longer, from 128 pixels on."""
    step = max(_FINEST, 2 ** (length.bit_length() - 1) // _STEPS)
    return -(-length // step) * step
