"""Scene: a frame with its guide, at any size, and which of its pixels may change."""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from vidstyle.coherence.deflicker import FineDetail, filtered
from vidstyle.coherence.warm_start import TemporalPrior
from vidstyle.guides.guide import Guide
from vidstyle.media import Image, resize

__all__ = ["FrameProblem"]

_HELD = 0.1  # of how smooth a first frame is held: what is held to a frame before, which was smooth
_LOOSE = 0.6  # the same of what nothing holds, though the frame follows another
_RIM = 8.0  # how much smoother the edge of what changes is held than the rest
_FRESH = 3.0  # the same of what is fresh, which pulls so hard that specks of colour appear


@dataclass(frozen=True)
class FrameProblem:
    """A frame and its guide at one size, and where pixels may change.

    support: float32 [H, W, 1]; 0 where a confined technique has no plane above 0, else 1.
    free: also 0 where an earlier frame's result is left as it is.
    """

    frame: Image
    guide: Guide | None
    confined: bool
    prior: TemporalPrior | None = None

    @cached_property
    def support(self) -> np.ndarray:
        if self.guide is None or not self.confined:
            return np.ones((*self.frame.shape[:2], 1), np.float32)
        return self.guide.covered

    @property
    def free(self) -> np.ndarray:
        static = None if self.prior is None else self.prior.static
        return self.support if static is None else self.support * ~static

    @property
    def smoothness(self) -> np.ndarray:
        """Return how smooth positions are to be, [H, W, 1]: 1, and more where support has an edge.

        A pixel there has the source on one side, where nothing restrains it: some turned white or
        black. More, too, where the frame is fresh; less where it follows another, and hardly
        where it is held to that: what has no hold takes on specks of colour frame by frame.
        """
        inside, square = self.support[..., 0], np.ones((3, 3), np.uint8)
        rim = (cv2.dilate(inside, square) - cv2.erode(inside, square))[..., None]
        usual = 1.0 if self.prior is None else _LOOSE + (_HELD - _LOOSE) * self.prior.confidence
        smooth = usual + (_RIM - usual) * rim
        if self.prior is not None and self.prior.disoccluded is not None:
            smooth = smooth + (_FRESH - usual) * self.prior.disoccluded
        return np.asarray(smooth, np.float32)

    def kept(self, image: Image) -> Image:
        """Return the image where pixels may change, and the frame elsewhere."""
        return np.asarray(np.where(self.support > 0, image, self.frame))

    def shown(self, image: Image, *, steady: bool = True) -> tuple[Image, FineDetail | None]:
        """Return what is to be shown of an image: it does not tremble beside the frame before.

        And the finest detail that what follows is to keep: the first's. steady: False: as it is.
        """
        if not steady:
            return image, None
        if self.prior is None:
            inside = self.support[..., 0] > 0
            return image, FineDetail.of(image, self.frame, inside) if inside.any() else None
        previous_output = self.prior.previous_output
        if previous_output is None:
            return image, None
        return self.kept(
            filtered(image, previous_output, self.frame, self.support)
        ), previous_output.fine_detail

    def blended(self, image: Image) -> Image:
        """Return the output image: frame + weight · (image - frame), weight: see Guide.weight.

        `image` itself, to the bit, where the weight is 1 or the technique is not confined.
        """
        if self.guide is None or not self.confined:
            return image
        weight = self.guide.weight
        soft = np.clip(self.frame + weight * (image - self.frame), 0, 1)
        return np.asarray(np.where(weight == 1, image, soft))

    def resized(self, width: int, height: int) -> "FrameProblem":
        guide = None if self.guide is None else self.guide.resized(width, height)
        return FrameProblem(resize(self.frame, width, height), guide, self.confined)
