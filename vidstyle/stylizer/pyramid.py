"""The pyramid of a first frame: its sizes, and the optimisation from the coarsest to its own."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from vidstyle.coherence.stylized import Stylized
from vidstyle.guides.guide import Guide
from vidstyle.image import Image, resize
from vidstyle.stylizer.problem import FrameProblem

__all__ = ["Improve", "coarse_to_fine", "evaluations_at", "levels"]

_COARSEST = 256  # pixels: the long side of the coarsest level
_FINER = 0.48  # evaluations at a finer level, of those at the coarsest, whose result it starts from
_NOISE = 0.02  # standard deviation of the start's noise, of 1: flat areas need a gradient

# (problem of a level, its start image, evaluations made before, result of the coarsest level)
Improve = Callable[[FrameProblem, Image, int, Image | None], Stylized]


def levels(height: int, width: int) -> list[tuple[int, int]]:
    """Return the sizes (rows, columns) of a first frame: long sides of 256, 512, …, then its own.

    A level is left out if the frame's own long side is at most 1.25 times as long.
    """
    long = max(height, width)
    sides, side = [], _COARSEST
    while side * 1.25 < long:
        sides.append(side)
        side *= 2
    scaled = [(round(height * s / long), round(width * s / long)) for s in sides]
    return [*((max(8, rows), max(8, columns)) for rows, columns in scaled), (height, width)]


def evaluations_at(steps: int, *, finer: bool) -> int:
    """Return the evaluations at the coarsest level, or at each finer one: at least 1 of `steps`."""
    return math.ceil(_FINER * steps) if finer else steps


def coarse_to_fine(
    whole: FrameProblem,
    begin: Callable[[Image, Guide | None], Image],
    improve: Improve,
    seed: int,
) -> Stylized:
    """Return the result of a frame without a prior, optimised at each level in turn.

    begin: gives the start image of the coarsest level, to which noise of `seed` is added; a finer
    level starts from the enlarged result of the level before.
    """
    (rows, columns), *finer = levels(*whole.frame.shape[:2])
    problem = whole.resized(columns, rows)
    start = problem.kept(_with_noise(begin(problem.frame, problem.guide), seed))
    found = improve(problem, start, 0, None)
    coarsest, made, work = found.optimised_image, found.evaluations, _pixels(found)
    for rows, columns in finer:
        problem = whole.resized(columns, rows)
        start = problem.kept(resize(found.optimised_image, columns, rows))
        found = improve(problem, start, made, coarsest)
        made, work = made + found.evaluations, work + _pixels(found)
    area = math.prod(whole.frame.shape[:2])
    return replace(found, evaluations=made, frame_equivalents=work / area)


def _pixels(found: Stylized) -> float:
    """Return the number of pixels evaluated for a level."""
    return found.frame_equivalents * math.prod(found.optimised_image.shape[:2])


def _with_noise(image: Image, seed: int) -> Image:
    """Return the image with Gaussian noise added, clipped to 0..1."""
    noise = np.random.default_rng(seed).standard_normal(image.shape, np.float32)
    return np.clip(image + np.float32(_NOISE) * noise, 0, 1)
