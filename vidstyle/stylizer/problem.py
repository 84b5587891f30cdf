"""FrameProblem: a frame with its guide and prior, and which of its pixels may change."""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from vidstyle.coherence.parameters import TvWeights
from vidstyle.coherence.prior import TemporalPrior
from vidstyle.guides.guide import Guide
from vidstyle.image import Image, resize

__all__ = ["FrameProblem"]

_FIRST_FRAME = TvWeights()


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
        constrains the pixel: see TvWeights.
        """
        inside, square = self.support[..., 0], np.ones((3, 3), np.uint8)
        edge = (cv2.dilate(inside, square) - cv2.erode(inside, square))[..., None]
        if self.prior is None:
            return np.asarray(1.0 + (_FIRST_FRAME.edge - 1.0) * edge, np.float32)
        tv = self.prior.parameters.tv
        usual = tv.unconstrained + (tv.constrained - tv.unconstrained) * self.prior.confidence
        smooth = usual + (tv.edge - usual) * edge
        if self.prior.disoccluded is not None:
            smooth = smooth + (tv.disoccluded - usual) * self.prior.disoccluded
        return np.asarray(smooth, np.float32)

    def kept(self, image: Image) -> Image:
        """Return the image inside the support, and the frame outside it."""
        return np.asarray(np.where(self.support > 0, image, self.frame))

    @property
    def opacity(self) -> np.ndarray | None:
        """Return Guide.weight: float32 [H, W, 1]; None (1 everywhere) if it is not confined."""
        return None if self.guide is None or not self.confined else self.guide.weight

    def resized(self, width: int, height: int) -> "FrameProblem":
        guide = None if self.guide is None else self.guide.resized(width, height)
        return FrameProblem(resize(self.frame, width, height), guide, self.confined)
