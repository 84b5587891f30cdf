"""Steadying: the last touch on a frame that follows another, so that what moves does not tremble.

The optimiser redraws a little of every stroke in every frame, and a stroke that moves by a part of
a pixel is sampled anew. So what is shown is drawn towards what was shown before, carried along the
motion: a low pass over time, the more the more a place trembles. What bilinear sampling blurs is
made up for in the coarser half of the detail, as much as is lacking; the finest is let go, since
that is what trembles.
The optimiser goes on from what it drew, not from what is shown, so that nothing adds up.
"""

from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np

from vidstyle.image import Image, difference_of_gaussians
from vidstyle.motion.warp import sample

__all__ = ["PreviousOutput", "filtered"]

_TREMBLE = 4.2e-4  # mean squared difference from which on a place is mostly drawn back
_MOST = 0.95  # of the way to what was shown before, at most
_RESTING = 0.8  # of what steadying did to a place, kept a frame longer where it has come to rest
_AROUND = 0.3  # of the long side: the square over which a place is said to tremble
_RESTORED = 0.7  # of the contrast of strokes that is lost
_CRISP = 0.36  # of the share: so much of the detail at least, or large frames lose their finest
_STROKE = (0.5, 1.5)  # pixels: the blurs between which strokes are seen
_DETAIL = (0.65, 1.4)  # the same of the detail that is added: finer detail is what trembles


@dataclass(frozen=True)
class PreviousOutput:
    """What the frame before looked like, where this frame has its pixels.

    shown, drawn: Images, sampled bilinearly: what was shown, and what the optimiser had drawn.
    seen: bool [H, W], where both frames show the same. moving: bool [H, W], where it moves.
    """

    shown: Image
    drawn: Image
    seen: np.ndarray
    moving: np.ndarray

    @classmethod
    def along(
        cls,
        backward: np.ndarray,
        shown: Image,
        drawn: Image,
        seen: np.ndarray,
    ) -> Self:
        """Return what a frame looked like along the flow [H, W, 2] that leads back to it."""
        here = sample(drawn, backward)
        there = here if shown is drawn else sample(shown, backward)
        return cls(there, here, seen, (backward != 0).any(axis=2))


def filtered(image: Image, previous_output: PreviousOutput, support: np.ndarray) -> Image:
    """Return what to show of an Image that was drawn.

    support: [H, W, 1], 0 where nothing is painted.

    The share of what was shown before is m² / (m² + c²), where m is the mean squared difference
    of what was drawn from frame to frame, around a place. Where motion has come to rest, what
    steadying did fades from frame to frame, so that the picture is not seen to grow sharp at once.
    Where nothing moves and nothing differs, from what was drawn and from what was shown, the image
    is returned to the bit.
    """
    seen = previous_output.seen & (support[..., 0] > 0)
    share = _share(image, previous_output, seen.astype(np.float32))[..., None]
    resting = np.maximum(
        np.float32(_RESTING) * (seen & ~previous_output.moving)[..., None] - share, 0
    )
    steady = (
        image
        + share * (previous_output.shown - image)
        + resting * (previous_output.shown - previous_output.drawn)
    )
    where = seen & previous_output.moving
    if where.any():
        detail = (
            share * previous_output.moving[..., None] * difference_of_gaussians(image, *_DETAIL)
        )
        least = _CRISP * float(share[where].mean())
        steady += max(least, _needed(image, steady, detail, where)) * detail
    return np.clip(steady, 0, 1)


def _share(image: Image, previous_output: PreviousOutput, seen: np.ndarray) -> np.ndarray:
    """Return the share of what was shown before; seen: [H, W], 1 where both show the same."""
    apart = seen * np.square(image - previous_output.drawn).mean(axis=2)
    tremble = np.square(_mean(apart) / np.maximum(_mean(seen), np.float32(1e-3)))
    return np.asarray(_MOST * seen * tremble / (tremble + np.float32(_TREMBLE**2)))


def _needed(image: Image, steady: Image, detail: np.ndarray, where: np.ndarray) -> float:
    """Return how much of the detail is to be added to what is steady, 0..1.

    So much that strokes have again _RESTORED of the contrast (root mean square of the luma, between
    the blurs of _STROKE) that they lost where bool [H, W] says: the root of a quadratic.
    """
    drawn, left, more = (
        difference_of_gaussians(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), *_STROKE)
        for picture in (image, steady, detail)
    )
    pairs = (drawn, drawn), (left, left), (left, more), (more, more)
    full, *rest = (_product(*pair, where) for pair in pairs)
    goal = (_RESTORED * full**0.5 + (1 - _RESTORED) * rest[0] ** 0.5) ** 2
    return min(_reaching(goal, *rest), 1)


def _reaching(goal: float, rest: float, both: float, added: float) -> float:
    """Return how much of a detail is to be added for a mean square of `goal`, 0 if it is there.

    rest, added: the mean squares before, and of the detail; both: the mean of their product.
    """
    lacking = max(goal - rest, 0)
    return ((both**2 + added * lacking) ** 0.5 - both) / max(added, 1e-12) if lacking else 0.0


def _product(one: np.ndarray, other: np.ndarray, where: np.ndarray) -> float:
    """Return the mean of the product of two [H, W, …] where bool [H, W] says."""
    return float(np.mean((one * other)[where], dtype=np.float64))


def _mean(values: np.ndarray) -> np.ndarray:
    """Return the mean of [H, W] values over the square around each."""
    side = max(1, round(_AROUND * max(values.shape)))
    return cv2.blur(values, (side, side), borderType=cv2.BORDER_REFLECT_101)
