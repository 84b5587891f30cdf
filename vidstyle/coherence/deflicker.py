"""Deflicker: a recursive temporal low-pass filter along the motion, applied to the optimised image.

The optimiser redraws strokes slightly in every frame, and subpixel motion resamples them: moving
areas flicker. The output image is a blend of the optimised image and the warped previous output;
the stronger the flicker, the larger the share of the latter. Images are sampled by Lanczos kernels;
the contrast that is still lost is restored in the coarser detail only, since the finest detail is
the part that flickers.
The next frame's optimisation starts from the optimised image, so filtering does not accumulate.
"""

from dataclasses import dataclass, replace
from typing import Self

import cv2
import numpy as np

from vidstyle.coherence.parameters import DeflickerParameters
from vidstyle.coherence.stylized import Stylized, blended
from vidstyle.image import Image, difference_of_gaussians
from vidstyle.motion.warp import warp

__all__ = ["PreviousOutput", "deflickered", "filtered"]

_DEFAULTS = DeflickerParameters()


@dataclass(frozen=True)
class PreviousOutput:
    """The previous frame's images warped to this frame, by Lanczos kernels.

    output: its output image before blending by a soft guide. optimised: its optimised image.
    valid: bool [H, W], where the warp is valid. moving: bool [H, W], where the flow is not 0.
    """

    output: Image
    optimised: Image
    valid: np.ndarray
    moving: np.ndarray

    @classmethod
    def warped(
        cls,
        backward: np.ndarray,
        output: Image,
        optimised: Image,
        valid: np.ndarray,
    ) -> Self:
        """Return the previous output warped by the flow [H, W, 2] to the previous frame."""
        optimised_here = warp(optimised, backward)
        output_here = optimised_here if output is optimised else warp(output, backward)
        return cls(output_here, optimised_here, valid, (backward != 0).any(axis=2))


def filtered(
    image: Image,
    previous: PreviousOutput,
    support: np.ndarray,
    parameters: DeflickerParameters = _DEFAULTS,
) -> Image:
    """Return the output image of an optimised image: float32 [H, W, 3], 0..1.

    support: [H, W, 1], 0 where nothing is stylised; such pixels are returned unchanged.

    The share of the previous output is most · m² / (m² + flicker²), where m is the local mean
    squared difference of the optimised image and the warped previous one. Where motion has stopped,
    the filter's effect decays over several frames, so that sharpness does not jump. A pixel without
    motion that equals both previous images stays bit-identical.
    """
    valid = previous.valid & (support[..., 0] > 0)
    share = _share(image, previous, valid.astype(np.float32), parameters)[..., None]
    resting = np.maximum(
        np.float32(parameters.resting) * (valid & ~previous.moving)[..., None] - share, 0
    )
    steady = (
        image + share * (previous.output - image) + resting * (previous.output - previous.optimised)
    )
    where = valid & previous.moving
    if where.any():
        band = difference_of_gaussians(image, *parameters.detail_band)
        detail = share * previous.moving[..., None] * band
        steady += _gain(image, steady, detail, where, parameters) * detail
    return np.clip(steady, 0, 1)


def deflickered(
    stylized: Stylized,
    source: Image,
    previous: PreviousOutput,
    parameters: DeflickerParameters = _DEFAULTS,
) -> Stylized:
    """Return a stylised frame with its output image deflickered, then blended by its opacity."""
    opacity = stylized.opacity
    if opacity is None:
        support = np.ones((*source.shape[:2], 1), np.float32)
    else:
        support = (opacity > 0).astype(np.float32)
    steady = filtered(stylized.optimised_image, previous, support, parameters)
    steady = np.where(support > 0, steady, source)
    output = blended(steady, source, opacity)
    return replace(stylized, output_image=output, unblended_image=steady)


def _share(
    image: Image, previous: PreviousOutput, valid: np.ndarray, parameters: DeflickerParameters
) -> np.ndarray:
    """Return the share of the previous output, [H, W]; valid: float32 [H, W], 1 where valid."""
    side = max(1, round(parameters.box * max(valid.shape)))
    squared = valid * np.square(image - previous.optimised).mean(axis=2)
    local = np.square(
        _box_mean(squared, side) / np.maximum(_box_mean(valid, side), np.float32(1e-3))
    )
    half = np.float32(parameters.flicker**2)
    return np.asarray(parameters.most * valid * local / (local + half))


def _gain(
    image: Image,
    steady: Image,
    detail: np.ndarray,
    where: np.ndarray,
    parameters: DeflickerParameters,
) -> float:
    """Return the gain, 0..1, with which `detail` is added to the filtered image `steady`.

    It restores a part of the lost stroke contrast (root mean square of the luma in the stroke band)
    over bool [H, W] `where`: the root of a quadratic.
    """
    before, after, added = (
        difference_of_gaussians(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), *parameters.stroke_band)
        for picture in (image, steady, detail)
    )
    pairs = (before, before), (after, after), (after, added), (added, added)
    full, *rest = (_mean_product(*pair, where) for pair in pairs)
    restored = parameters.restored
    goal = (restored * full**0.5 + (1 - restored) * rest[0] ** 0.5) ** 2
    return min(_gain_to_reach(goal, *rest), 1)


def _gain_to_reach(goal: float, rest: float, both: float, added: float) -> float:
    """Return the gain of a detail that gives the sum a mean square of `goal`; 0 if it has that.

    rest, added: mean squares of the image and of the detail; both: the mean of their product.
    """
    lacking = max(goal - rest, 0)
    return ((both**2 + added * lacking) ** 0.5 - both) / max(added, 1e-12) if lacking else 0.0


def _mean_product(one: np.ndarray, other: np.ndarray, where: np.ndarray) -> float:
    """Return the mean product of two [H, W, …] arrays over bool [H, W] `where`."""
    return float(np.mean((one * other)[where], dtype=np.float64))


def _box_mean(values: np.ndarray, side: int) -> np.ndarray:
    """Return the box filter of [H, W] values."""
    return cv2.blur(values, (side, side), borderType=cv2.BORDER_REFLECT_101)
