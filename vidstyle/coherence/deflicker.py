"""Deflicker: a recursive temporal low-pass filter along the motion, applied to the optimised image.

The optimiser redraws strokes slightly in every frame, and subpixel motion resamples them: moving
areas flicker. The output image is a blend of the optimised image and the warped previous output;
the stronger the flicker, the larger the share of the latter. The contrast lost to bilinear sampling
is restored in the coarser detail only, since the finest detail is the part that flickers.
The next frame's optimisation starts from the optimised image, so filtering does not accumulate.
"""

from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np

from vidstyle.image import Image, difference_of_gaussians
from vidstyle.motion.warp import sample

__all__ = ["PreviousOutput", "filtered"]

_TREMBLE = 4.2e-4  # mean squared difference at which the share is half of _MOST
_MOST = 0.95  # largest share of the previous output
_RESTING = 0.8  # share of the filter's effect kept per frame where motion has stopped
_AROUND = 0.3  # of the long side; side of the box filter of the squared difference
_RESTORED = 0.7  # share of the lost stroke contrast that is restored
_CRISP = 0.36  # least detail added, per mean share; without it large frames lose their finest
_STROKE = (0.5, 1.5)  # pixels; sigmas of the band in which stroke contrast is measured
_DETAIL = (0.65, 1.4)  # pixels; sigmas of the band that is added; finer detail flickers


@dataclass(frozen=True)
class PreviousOutput:
    """The previous frame's images warped to this frame, bilinearly.

    shown: its output image. drawn: its optimised image. seen: bool [H, W], where the warp is valid.
    moving: bool [H, W], where the flow is not 0.
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
        """Return the previous output warped by the flow [H, W, 2] to the previous frame."""
        here = sample(drawn, backward)
        there = here if shown is drawn else sample(shown, backward)
        return cls(there, here, seen, (backward != 0).any(axis=2))


def filtered(image: Image, previous_output: PreviousOutput, support: np.ndarray) -> Image:
    """Return the output image of an optimised image: float32 [H, W, 3], 0..1.

    support: [H, W, 1], 0 where nothing is stylised; such pixels are returned unchanged.

    The share of the previous output is _MOST m² / (m² + _TREMBLE²), where m is the local mean
    squared difference of the optimised image and the warped previous one. Where motion has stopped,
    the filter's effect decays over several frames, so that sharpness does not jump. A pixel without
    motion that equals both previous images stays bit-identical.
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
    """Return the share of the previous output, [H, W]; seen: float32 [H, W], 1 where valid."""
    apart = seen * np.square(image - previous_output.drawn).mean(axis=2)
    tremble = np.square(_mean(apart) / np.maximum(_mean(seen), np.float32(1e-3)))
    return np.asarray(_MOST * seen * tremble / (tremble + np.float32(_TREMBLE**2)))


def _needed(image: Image, steady: Image, detail: np.ndarray, where: np.ndarray) -> float:
    """Return the gain, 0..1, with which `detail` is added to the filtered image `steady`.

    It restores _RESTORED of the lost stroke contrast (root mean square of the luma in the band
    _STROKE) over bool [H, W] `where`: the root of a quadratic.
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
    """Return the gain of a detail that gives the sum a mean square of `goal`; 0 if it has that.

    rest, added: mean squares of the image and of the detail; both: the mean of their product.
    """
    lacking = max(goal - rest, 0)
    return ((both**2 + added * lacking) ** 0.5 - both) / max(added, 1e-12) if lacking else 0.0


def _product(one: np.ndarray, other: np.ndarray, where: np.ndarray) -> float:
    """Return the mean product of two [H, W, …] arrays over bool [H, W] `where`."""
    return float(np.mean((one * other)[where], dtype=np.float64))


def _mean(values: np.ndarray) -> np.ndarray:
    """Return the box filter of [H, W] values, with the side _AROUND."""
    side = max(1, round(_AROUND * max(values.shape)))
    return cv2.blur(values, (side, side), borderType=cv2.BORDER_REFLECT_101)
