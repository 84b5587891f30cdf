"""Stylizer: stylises one image at a time."""

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import tensorflow as tf

from vidstyle.coherence.prior import TemporalPrior
from vidstyle.coherence.stylized import Stylized, blended
from vidstyle.errors import UsageError
from vidstyle.guides.guide import Guide
from vidstyle.image import Image
from vidstyle.memory import release_memory
from vidstyle.settings import Settings
from vidstyle.stylizer.lbfgs import Minimise, minimise
from vidstyle.stylizer.problem import FrameProblem
from vidstyle.stylizer.protocol import Progress
from vidstyle.stylizer.pyramid import coarse_to_fine, evaluations_at
from vidstyle.stylizer.step import LARGE, Step
from vidstyle.techniques import Style, Technique
from vidstyle.techniques.basic import Basic
from vidstyle.validation import check_frame, check_parts
from vidstyle.vgg.device import choose_device, make_deterministic, precision_of
from vidstyle.vgg.encoder import Features, load_encoder

__all__ = ["Style", "Stylizer"]

_SIZES_KEPT = 40  # sizes whose traced step and style features are kept, at most
_PIXELS_KEPT = 2_000_000  # pixels of all kept sizes together, unless only one is kept


class Stylizer:
    """Stylises single images: the weights are loaded once, one step is traced for each size.

    styles: one or more Style; their weights are normalised to add up to 1.
    encoder: a function from an image tensor [H, W, 3] to features by layer; default: the VGG-19 of
        the file `weights`, or of the file that vidstyle finds or fetches.
    minimise: the minimiser, called as lbfgs.minimise is.
    traces: the number of steps traced so far.
    Raises WeightsError if the network cannot be loaded, UsageError or SettingsError for arguments
    of a wrong type, UsageError if the device of `settings` is not available.
    """

    def __init__(
        self,
        styles: Sequence[Style],
        *,
        technique: Technique | None = None,
        settings: Settings | None = None,
        weights: Path | None = None,
        encoder: Callable[[Any], Features] | None = None,
        minimise: Minimise = minimise,
    ) -> None:
        self.settings, self.technique = settings or Settings(), technique or Basic()
        check_parts(styles, Style, self.settings, Settings, self.technique, Technique)
        choose_device(self.settings.device)
        make_deterministic()
        self._styles = tuple(styles)
        if encoder is not None and self.settings.precision == "bfloat16":
            raise UsageError(
                "precision: expected 'auto' or 'float32' with an encoder of your own, got "
                "'bfloat16'; leave out one of the two"
            )
        self.encode = encoder or self._network(weights)
        release_memory()
        self._minimise = minimise
        self._steps: OrderedDict[tuple[int, int], Step] = OrderedDict()
        self._shortages: dict[tuple[int, int], int] = {}
        self._warnings: list[str] = []  # of the present call of `stylize`
        self.traces = 0

    def _network(self, weights: Path | None) -> Callable[[Any], Features]:
        layers = (*self.settings.style_layers, *self.settings.content_layers)
        return load_encoder(weights, layers, precision_of(self.settings.precision))

    def begin(self, content: Image, guide: Guide | None = None) -> Image:
        """Return the start image of a frame, also used where motion uncovers pixels."""
        return self.technique.start(content, guide, self._styles)

    def stylize(
        self,
        content: Image,
        *,
        guide: Guide | None = None,
        prior: TemporalPrior | None = None,
        progress: Progress | None = None,
    ) -> Stylized:
        """Return `content` stylised: float32 [H, W, 3], RGB, 0..1, at the same size.

        guide: planes [H, W, K], for a technique that takes masks or a map; the names are the same
            for every frame.
        prior: the warm start from an earlier result; None: optimise from coarse to fine.
        progress: called after each evaluation, see protocol.Progress; an exception that it raises
            ends the call.
        Where memory runs out, it continues in lower strips of rows and warns in the result.
        Raises MediaError, GuideError or UsageError for arguments that do not fit one another, and
        ResourceExhaustedError if there are no lower strips.
        """
        check_frame(
            content, guide, prior, guide_required=self.technique.inputs.frame_guide_required
        )
        count = self.settings.steps if prior is None else self.settings.most_steps_next
        problem = FrameProblem(content, guide, self.technique.confined, prior)
        start = problem.kept(content if prior is None else prior.image)
        if count == 0 or not problem.free.any():
            found = Stylized(start, matches=None if prior is None else prior.matches)
            return _with_output(found, problem)
        self._warnings.clear()
        improve = partial(self._improve, count, progress)
        if prior is None:
            found = coarse_to_fine(problem, self.begin, improve, self.settings.seed)
        else:
            found = improve(problem, start, 0, None)
        if math.prod(content.shape[:2]) >= LARGE:
            release_memory()  # for the optical flow of later frames
        return replace(_with_output(found, problem), warnings=tuple(self._warnings))

    def _lower_strips(self, image: Image, rows: int | None) -> bool:
        """Make the step for the size of `image` anew, in strips lower than `rows`; warn of it.

        Return False if there are none.
        """
        height, width = image.shape[:2]
        self._shortages[height, width] = self._shortages.get((height, width), 0) + 1
        self._steps.pop((height, width), None)
        lower = self.step_at(image).forward.strip_rows
        if lower is None or (rows is not None and lower >= rows):
            return False
        self._warnings.append(
            f"memory ran out at {width} x {height} pixels; continuing in strips of {lower} rows, "
            "which takes longer"
        )
        return True

    def _improve(
        self,
        steps: int,
        progress: Progress | None,
        problem: FrameProblem,
        start: Image,
        made: int,
        coarsest: Image | None,
    ) -> Stylized:
        """Return the result of one level; made: evaluations of earlier levels, for `progress`.

        Where memory runs out, the level begins again in lower strips, with a warning.
        """
        own = evaluations_at(steps, finer=coarsest is not None)
        while True:
            step = self.step_at(problem.frame)
            counted = _counted(progress, made)
            try:
                return step.improve(start, problem, own, counted, coarsest=coarsest)
            except tf.errors.ResourceExhaustedError:
                if not self._lower_strips(problem.frame, step.forward.strip_rows):
                    raise
            del step
            release_memory()

    def step_at(self, image: Image) -> Step:
        """Return the step for the size of `image`, made at the first call for that size."""
        size = (image.shape[0], image.shape[1])
        if size not in self._steps:
            self._steps[size] = Step(
                self._styles,
                self.technique,
                self.settings,
                self.encode,
                size,
                self._count_trace,
                minimise=self._minimise,
                shortages=self._shortages.get(size, 0),
            )
            self._evict()
        self._steps.move_to_end(size)
        return self._steps[size]

    def _count_trace(self) -> None:
        self.traces += 1

    def _evict(self) -> None:
        """Drop the least recently used sizes beyond the limits."""
        while len(self._steps) > 1 and (
            len(self._steps) > _SIZES_KEPT or sum(map(math.prod, self._steps)) > _PIXELS_KEPT
        ):
            self._steps.popitem(last=False)


def _with_output(found: Stylized, problem: FrameProblem) -> Stylized:
    """Return the result with its output image, blended by a soft guide but not deflickered."""
    output = blended(found.optimised_image, problem.frame, problem.opacity)
    return replace(found, output_image=output, opacity=problem.opacity)


def _counted(progress: Progress | None, before: int) -> Progress:
    """Return `progress` with the evaluations made before added to its count."""
    if progress is None:
        return lambda count, total, image: None
    return lambda count, total, image: progress(before + count, total, image)
