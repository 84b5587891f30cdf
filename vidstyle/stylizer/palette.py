"""The mean colour of a later frame's start, with `--steps-next auto`."""

from dataclasses import replace

import numpy as np

from vidstyle.coherence.prior import TemporalPrior
from vidstyle.settings import Settings

__all__ = ["is_held", "recentred"]

_MOST = 0.02  # of 1: largest change of a channel's mean in one frame, so that no change is seen
_MOST_STATIC = 0.5  # share of static pixels above which the others would bear all of the change
_LEAST_RATIO = 5.0  # style weight over content weight; measured at the default of 10 only


def is_held(settings: Settings) -> bool:
    """Return whether the style loss holds a frame's mean colour at that of the style.

    At the defaults a first frame has it within 0.001. The style loss is a norm, so its pull does
    not fade near the goal; it needs a layer of the first block, and not too much content.
    """
    shallow = any(layer.startswith("relu1_") for layer in settings.style_layers)
    return shallow and settings.style_weight > _LEAST_RATIO * settings.content_weight


def recentred(prior: TemporalPrior, goal: np.ndarray) -> TemporalPrior:
    """Return the prior with its image's mean colour moved towards `goal` [3], RGB in 0..1.

    Few evaluations correct the mean colour only in part, and the rest adds up from frame to frame:
    roads and skies darken. All pixels change by the same amount, except static ones.
    """
    static = np.zeros(1, bool) if prior.static is None else prior.static
    if static.mean() > _MOST_STATIC:
        return prior
    change = np.clip(goal - prior.image.mean(axis=(0, 1)), -_MOST, _MOST).astype(np.float32)
    moved = np.clip(prior.image + change, 0, 1)
    return replace(prior, image=np.where(static, prior.image, moved))
