"""Segmentation: masks of the salient object of an image, or of a clicked or framed one.

An image is an `Image`, a mask float32 [H, W], 0..1, soft at its edges.
"""

from vidstyle.segmentation.grabcut import grab_cut
from vidstyle.segmentation.sam import Selector, has_click_model, select
from vidstyle.segmentation.u2net import saliency

__all__ = ["Selector", "grab_cut", "has_click_model", "saliency", "select"]
