"""Steadying: the last touch on a frame that follows another, so that what moves does not tremble.

The optimiser redraws a little of every stroke in every frame, and a stroke that moves by a part of
a pixel is sampled anew. So what is shown is drawn towards what was shown before, carried along the
motion: a low pass over time, the more the more a place trembles. What bilinear sampling blurs is
made up for in the coarser half of the detail, as much as is lacking; the finest is let go, since
that is what trembles. The source's own finest detail is given in its place: it moves with the scene
and does not tremble, and of it, too, every frame would have less than the first.
The optimiser goes on from what it drew, not from what is shown, so that nothing adds up.
"""

from dataclasses import dataclass
from typing import NamedTuple, Self

import cv2
import numpy as np

from vidstyle.media import Image, difference_of_gaussians
from vidstyle.motion.warp import sample

__all__ = ["FineDetail", "PreviousOutput", "filtered"]

_TREMBLE = 4.2e-4  # mean squared difference from which on a place is mostly drawn back
_MOST = 0.95  # of the way to what was shown before, at most
_RESTING = 0.8  # of what steadying did to a place, kept a frame longer where it has come to rest
_AROUND = 0.3  # of the long side: the square over which a place is said to tremble
_RESTORED = 0.7  # of the contrast of strokes that is lost
_CRISP = 0.36  # of the share: so much of the detail at least, or large frames lose their finest
_STROKE = (0.5, 1.5)  # pixels: the blurs between which strokes are seen
_DETAIL = (0.65, 1.4)  # the same of the detail that is added: finer detail is what trembles
_FINEST = 0.7  # pixels: what a blur of that takes is the finest detail
_OWN = 0.9  # of what is lacking of the source's finest detail
_FAINT = 1 / 255  # of 1: a source whose finest detail is weaker has none to speak of
_LEAST = 0.3  # of that detail is finest detail again; in a soft source less, which is left at that


class FineDetail(NamedTuple):
    """The finest detail of an image, beside that of the frame it is painted of.

    share: how much of the frame's it has, by regression: 1 for the frame itself, 0 for what has
    nothing of it. strength: how strong it is, whatever it shows: 1 if as strong as the frame's.
    """

    share: float
    strength: float = 0.0

    @classmethod
    def of(cls, image: Image, frame: Image, where: np.ndarray) -> Self:
        """Return that of an Image and its frame, where bool [H, W] says."""
        ours, theirs = _fine_detail(image), _fine_detail(frame)
        own, source = _product(ours, ours, where), _product(theirs, theirs, where)
        strength = (own / max(source, _FAINT**2)) ** 0.5
        return cls(_regression(ours, theirs, where), strength)


@dataclass(frozen=True)
class PreviousOutput:
    """What the frame before looked like, where this frame has its pixels.

    shown, drawn: Images, sampled bilinearly: what was shown, and what the optimiser had drawn.
    seen: bool [H, W], where both frames show the same. moving: bool [H, W], where it moves. finest:
    that of the first frame of the shot, None: nothing is to be kept to that.
    """

    shown: Image
    drawn: Image
    seen: np.ndarray
    moving: np.ndarray
    fine_detail: FineDetail | None = None

    @classmethod
    def along(
        cls,
        backward: np.ndarray,
        shown: Image,
        drawn: Image,
        seen: np.ndarray,
        fine_detail: FineDetail | None = None,
    ) -> Self:
        """Return what a frame looked like along the flow [H, W, 2] that leads back to it."""
        here = sample(drawn, backward)
        there = here if shown is drawn else sample(shown, backward)
        return cls(there, here, seen, (backward != 0).any(axis=2), fine_detail)


def filtered(
    image: Image, previous_output: PreviousOutput, frame: Image, support: np.ndarray
) -> Image:
    """Return what to show of an Image that was drawn of a source frame.

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
    steady += _lacking(steady, previous_output, frame, support)
    where = seen & previous_output.moving
    if where.any():
        detail = (
            share * previous_output.moving[..., None] * difference_of_gaussians(image, *_DETAIL)
        )
        least = _CRISP * float(share[where].mean())
        steady += max(least, _needed(image, steady, detail, where)) * detail
    return np.clip(steady, 0, 1)


def _lacking(
    image: Image, previous_output: PreviousOutput, frame: Image, support: np.ndarray
) -> np.ndarray | np.float32:
    """Return what an image lacks, where it moves, of the source's finest detail.

    So much that it has as large a share of it as the first frame, and that its own is as strong
    again: the greater of the two, and no more than the source has.
    """
    where = previous_output.moving & (support[..., 0] > 0)
    if previous_output.fine_detail is None or not where.any():
        return np.float32(0)
    detail, own = _fine_detail(frame), _fine_detail(image)
    left = _fine_detail(detail)  # of what is given, finest again
    has, goal = _regression(own, detail, where), min(max(previous_output.fine_detail.share, 0), 1)
    passed = max(_regression(left, detail, where), _LEAST)
    share = min(max(_OWN * (goal - has), 0), goal) / passed
    strength = _reaching(
        previous_output.fine_detail.strength**2 * _product(detail, detail, where),
        *(_product(*pair, where) for pair in ((own, own), (own, left), (left, left))),
    )
    given = max(share, min(strength, max(1 - has, 0) / passed))
    return np.float32(given) * where[..., None] * detail


def _fine_detail(image: Image) -> np.ndarray:
    return np.asarray(image - cv2.GaussianBlur(image, (0, 0), _FINEST))


def _regression(ours: np.ndarray, theirs: np.ndarray, where: np.ndarray) -> float:
    """Return the multiple of theirs [H, W, 3] that is nearest to ours where bool [H, W] says."""
    return _product(ours, theirs, where) / max(_product(theirs, theirs, where), 1e-12)


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
