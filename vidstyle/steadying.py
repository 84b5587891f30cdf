"""Steadying: the last touch on a frame that follows another, so that what moves does not tremble.

The optimiser redraws a little of every stroke in every frame, and a stroke that moves by a part of
a pixel is sampled anew. So what is shown is drawn towards what was shown before, carried along the
motion: a low pass over time, the more the more a place trembles. The optimiser goes on from what it
drew, not from what is shown, so that nothing adds up.
"""

from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np

from vidstyle.flow import sampled
from vidstyle.media import Image

__all__ = ["Looked", "steadied"]

_TREMBLE = 5.5e-4  # mean squared difference from which on a place is mostly drawn back
_MOST = 0.95  # of the way to what was shown before, at most
_AROUND = 0.3  # of the long side: the square over which a place is said to tremble
_CRISP = 0.43  # of the detail between _FINE and _COARSE: makes up for what sampling blurs
_FINE, _COARSE = 0.8, 1.6  # pixels


@dataclass(frozen=True)
class Looked:
    """What the frame before looked like, where this frame has its pixels.

    shown, drawn: Images, sampled bilinearly: what was shown, and what the optimiser had drawn.
    seen: bool [H, W], where both frames show the same. moving: bool [H, W], where it moves.
    """

    shown: Image
    drawn: Image
    seen: np.ndarray
    moving: np.ndarray

    @classmethod
    def along(cls, backward: np.ndarray, shown: Image, drawn: Image, seen: np.ndarray) -> Self:
        """Return what a frame looked like along the flow [H, W, 2] that leads back to it."""
        here = sampled(drawn, backward)
        there = here if shown is drawn else sampled(shown, backward)
        return cls(there, here, seen, (backward != 0).any(axis=2))


def steadied(image: Image, looked: Looked, support: np.ndarray) -> Image:
    """Return what to show of an Image that was drawn; support: [H, W, 1], 0 where nothing is.

    The share of what was shown before is m² / (m² + c²), where m is the mean squared difference
    of what was drawn from frame to frame, around a place. What bilinear sampling blurs meanwhile is
    made up for in the coarser half of the detail; the finest is let go, since it is what trembles.
    Where nothing moves and nothing differs the image is returned to the bit.
    """
    seen = (looked.seen & (support[..., 0] > 0)).astype(np.float32)
    apart = seen * np.square(image - looked.drawn).mean(axis=2)
    tremble = np.square(_mean(apart) / np.maximum(_mean(seen), np.float32(1e-3)))
    share = _MOST * seen * tremble / (tremble + np.float32(_TREMBLE**2))
    fine, coarse = (cv2.GaussianBlur(image, (0, 0), size) for size in (_FINE, _COARSE))
    crisp = looked.shown + np.float32(_CRISP) * looked.moving[..., None] * (fine - coarse)
    return np.clip(image + share[..., None] * (crisp - image), 0, 1)


def _mean(values: np.ndarray) -> np.ndarray:
    """Return the mean of [H, W] values over the square around each."""
    side = max(1, round(_AROUND * max(values.shape)))
    return cv2.blur(values, (side, side), borderType=cv2.BORDER_REFLECT_101)
