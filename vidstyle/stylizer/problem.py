"""FrameProblem: a frame with its guide and prior, and which of its pixels may change."""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from vidstyle.coherence.deflicker import filtered
from vidstyle.coherence.warm_start import TemporalPrior
from vidstyle.guides.guide import Guide
from vidstyle.image import Image, resize

__all__ = ["FrameProblem"]

_HELD = 0.1  # TV weight where the prior's confidence is 1, relative to a first frame
_LOOSE = 0.6  # TV weight where the confidence is 0, relative to a first frame
_RIM = 8.0  # TV weight at the edge of the support
_FRESH = 3.0  # TV weight of disoccluded pixels: their strong style loss left colour specks


@dataclass(frozen=True)
class FrameProblem:
    """A frame, its guide and its prior at one size.

    confined: whether pixels where every plane is 0 stay the source's.
    support: float32 [H, W, 1], 1 where the style may go, else 0.
    free: the support less the static pixels of the prior.
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
        """Return the weights of the TV loss, float32 [H, W, 1]; 1 for a first frame.

        More at the edge of the support, where single pixels turned white or black, and on
        disoccluded pixels; less in a later frame, and least where the temporal loss already
        constrains the pixel. Without any, specks of colour grew from frame to frame.
        """
        inside, square = self.support[..., 0], np.ones((3, 3), np.uint8)
        rim = (cv2.dilate(inside, square) - cv2.erode(inside, square))[..., None]
        usual = 1.0 if self.prior is None else _LOOSE + (_HELD - _LOOSE) * self.prior.confidence
        smooth = usual + (_RIM - usual) * rim
        if self.prior is not None and self.prior.disoccluded is not None:
            smooth = smooth + (_FRESH - usual) * self.prior.disoccluded
        return np.asarray(smooth, np.float32)

    def kept(self, image: Image) -> Image:
        """Return the image inside the support, and the frame outside it."""
        return np.asarray(np.where(self.support > 0, image, self.frame))

    def shown(self, image: Image, *, steady: bool = True) -> Image:
        """Return the deflickered image; the image itself without a previous output or `steady`."""
        previous_output = None if self.prior is None else self.prior.previous_output
        if previous_output is None or not steady:
            return image
        return self.kept(filtered(image, previous_output, self.support))

    def blended(self, image: Image) -> Image:
        """Return the output image: frame + weight · (image - frame); weight: see Guide.weight.

        Bit-identical to `image` where the weight is 1, and if the technique is not confined.
        """
        if self.guide is None or not self.confined:
            return image
        weight = self.guide.weight
        soft = np.clip(self.frame + weight * (image - self.frame), 0, 1)
        return np.asarray(np.where(weight == 1, image, soft))

    def resized(self, width: int, height: int) -> "FrameProblem":
        guide = None if self.guide is None else self.guide.resized(width, height)
        return FrameProblem(resize(self.frame, width, height), guide, self.confined)
