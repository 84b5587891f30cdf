"""Stylizer: one image in, one stylised image out."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from vidstyle import losses
from vidstyle.encoder import Features, load_encoder
from vidstyle.errors import UsageError
from vidstyle.flow import Prior
from vidstyle.media import Image, resize
from vidstyle.optimizer import Evaluation, Frequencies, minimise
from vidstyle.settings import Settings
from vidstyle.techniques import Basic, Encoded, Style, Targets, Technique

__all__ = ["Style", "Stylized", "Stylizer"]

Progress = Callable[[int, float], None]  # (evaluations made for this frame, total loss)

_COARSEST = 256  # pixels, long side: where a first frame begins
_COARSE_WEIGHT = 200.0  # of the mean squared difference from the coarsest level's result
_ROUGHNESS = 0.02  # standard deviation of the noise that gives flat areas something to grow from
_SIZES_KEPT = 6  # traced graphs and style features held at once


@dataclass(frozen=True)
class Stylized:
    """image: an Image; losses: total and each term, unweighted, at the last accepted step."""

    image: Image
    losses: dict[str, float]
    evaluations: int


class Stylizer:
    """Stylises single images: weights loaded once, one graph traced for each size.

    styles: one or more Style; their weights are normalised to add up to 1. encoder: any function
    from an image tensor to features; by default the VGG-19 that `weights` names or vidstyle finds.
    Raises WeightsError if that network is not to be had.
    """

    def __init__(
        self,
        styles: Sequence[Style],
        *,
        technique: Technique | None = None,
        settings: Settings | None = None,
        weights: Path | None = None,
        encoder: Callable[[Any], Features] | None = None,
    ) -> None:
        if not styles or sum(style.weight for style in styles) <= 0:
            raise UsageError("expected a style of weight above 0, got none; add --style PICTURE")
        self.settings = settings or Settings()
        self.technique = technique or Basic()
        self._styles = tuple(styles)
        layers = (*self.settings.style_layers, *self.settings.content_layers)
        self._encode = encoder or load_encoder(weights, layers)
        self._sizes: OrderedDict[tuple[int, int], _Size] = OrderedDict()
        self.traces = 0

    def stylize(
        self, content: Image, *, prior: Prior | None = None, progress: Progress | None = None
    ) -> Stylized:
        """Return `content` (an Image [H, W, 3]) in the style, the same size, within 0..1.

        prior: the earlier result in this frame's place; without one the picture is begun anew,
        coarse to fine. progress: called after each evaluation; what it raises stops the work.
        """
        steps = self.settings.steps if prior is None else self.settings.steps_next
        start = content if prior is None else prior.image
        if steps == 0:
            return Stylized(start, {}, 0)
        count = partial(_counted, progress or _silent)
        if prior is not None:
            return self._at(content).improve(start, content, steps, count(0), prior=prior)
        return self._coarse_to_fine(content, steps, count)

    def _coarse_to_fine(
        self, content: Image, steps: int, count: Callable[[int], Progress]
    ) -> Stylized:
        (rows, columns), *finer = _levels(*content.shape[:2])
        frame = resize(content, columns, rows)
        found = self._at(frame).improve(self._rough(frame), frame, steps, count(0))
        coarsest, made = found.image, found.evaluations
        for rows, columns in finer:
            frame, begin = (resize(image, columns, rows) for image in (content, found.image))
            found = self._at(frame).improve(begin, frame, steps, count(made), coarse=coarsest)
            made += found.evaluations
        return Stylized(found.image, found.losses, made)

    def _rough(self, frame: Image) -> Image:
        """Return the frame with the seed's noise, within 0..1."""
        noise = np.random.default_rng(self.settings.seed).standard_normal(frame.shape, np.float32)
        return np.clip(frame + np.float32(_ROUGHNESS) * noise, 0, 1)

    def _at(self, image: Image) -> "_Size":
        """Return what is kept for this size, made when it is first met."""
        key = image.shape[:2]
        if key not in self._sizes:
            self._sizes[key] = _Size(self, *key)
            if len(self._sizes) > _SIZES_KEPT:
                self._sizes.popitem(last=False)
        self._sizes.move_to_end(key)
        return self._sizes[key]

    def _encoded(self, height: int, width: int) -> list[Encoded]:
        """Encode the styles at the scale that suits a frame of this size."""
        total = sum(style.weight for style in self._styles)
        return [
            Encoded(
                _only(self._encode(tf.constant(self._scaled(style.image, height * width))),
                      self.settings.style_layers),
                style.weight / total,
            )
            for style in self._styles
        ]  # fmt: skip

    def _scaled(self, image: Image, area: int) -> Image:
        """Resize a style to the frame's area times style_scale²: strokes keep their proportion."""
        rows, columns = image.shape[:2]
        factor = self.settings.style_scale * (area / (rows * columns)) ** 0.5
        return resize(image, max(16, round(columns * factor)), max(16, round(rows * factor)))


class _Size:
    """What one frame size needs: the styles' features and the step, traced once."""

    def __init__(self, owner: Stylizer, height: int, width: int) -> None:
        self._owner = owner
        self._encode = tf.function(owner._encode)
        self._styles = owner._encoded(height, width)
        self._filter = Frequencies(height, width)
        self._step: Callable[..., Any] | None = None
        self._coarse = _levels(height, width)[0]
        self._shrink = tuple(
            tf.constant(losses.area_average(*pair))
            for pair in zip((height, width), self._coarse, strict=True)
        )

    def improve(
        self,
        start: Image,
        content: Image,
        steps: int,
        progress: Progress,
        *,
        prior: Prior | None = None,
        coarse: Image | None = None,
    ) -> Stylized:
        """Return the result of `steps` evaluations from `start`.

        coarse: the coarsest level's result, which this one is to be when made as small.
        """
        settings = self._owner.settings
        frame = tf.constant(content)
        targets = self._owner.technique.targets(
            self._styles, _only(self._encode(frame), settings.content_layers)
        )
        pulls = {**_temporal_pull(frame, prior), **self._coarse_pull(coarse)}

        def evaluate(image: Any) -> Evaluation:
            total, gradient, terms = self._traced(image, targets, pulls)
            return Evaluation(float(total), gradient, {k: float(v) for k, v in terms.items()})

        found = minimise(evaluate, tf.constant(start), steps, self._filter, progress)
        named = {"total": found.last.total, **found.last.terms}
        return Stylized(found.image.numpy(), named, found.evaluations)

    def _traced(self, *arguments: Any) -> Any:
        """Call the traced step; it is traced when it is first called, and only then."""
        if self._step is None:
            self._step = tf.function(self._evaluation).get_concrete_function(*arguments)
        return self._step(*arguments)

    def _coarse_pull(self, coarse: Image | None) -> dict[str, Any]:
        """Return the coarse picture and whether there is one: one trace for both."""
        if coarse is None:
            return {"coarse": tf.zeros((*self._coarse, 3)), "is_finer": tf.constant(False)}
        rows, columns = self._coarse  # within a row or a column of it, by rounding
        return {"coarse": tf.constant(resize(coarse, columns, rows)), "is_finer": tf.constant(True)}

    def _evaluation(self, image: Any, targets: Targets, pulls: dict[str, Any]) -> Any:
        """Return (total, gradient, terms); what changes from frame to frame is an argument.

        Each term has its own tape, so that their gradients are added in one order (see summed).
        """
        self._owner.traces += 1
        settings = self._owner.settings
        terms: dict[str, Any] = {}

        def network(image: Any) -> Any:
            found = self._owner.technique.losses(self._owner._encode(image), targets)
            terms.update(found)
            return losses.summed(
                [getattr(settings, f"{name}_weight") * term for name, term in found.items()]
            )

        def smooth(image: Any) -> Any:
            terms["tv"] = losses.total_variation(image)
            return settings.tv_weight * terms["tv"]

        def steady(image: Any) -> Any:
            terms["temporal"] = losses.temporal(image, pulls["earlier"], pulls["trust"])
            return settings.temporal_weight * terms["temporal"]

        def alike(image: Any) -> Any:
            shrunk = losses.shrunk(image, self._shrink)
            return _COARSE_WEIGHT * tf.reduce_mean(tf.square(shrunk - pulls["coarse"]))

        parts = [_value_and_gradient(term, image) for term in (network, smooth, steady)]
        parts.append(
            tf.cond(
                pulls["is_finer"],
                lambda: _value_and_gradient(alike, image),
                lambda: (tf.constant(0.0), tf.zeros_like(image)),
            )
        )
        total, gradient = (losses.summed(column) for column in zip(*parts, strict=True))
        return total, gradient, terms


def _value_and_gradient(function: Callable[[Any], Any], image: Any) -> tuple[Any, Any]:
    with tf.GradientTape() as tape:
        tape.watch(image)
        value = function(image)
    return value, tape.gradient(value, image)


def _temporal_pull(frame: Any, prior: Prior | None) -> dict[str, Any]:
    """Return the earlier result and its trust, 0 if there is none: one trace for both."""
    if prior is None:
        return {"earlier": frame, "trust": tf.zeros((*frame.shape[:2], 1))}
    return {"earlier": tf.constant(prior.image), "trust": tf.constant(prior.trust)}


def _only(features: Features, layers: Sequence[str]) -> Features:
    return {layer: features[layer] for layer in layers}


def _levels(height: int, width: int) -> list[tuple[int, int]]:
    """Return the sizes (rows, columns) of a first frame: 256, 512, … pixels, then its own."""
    long = max(height, width)
    sides, side = [], _COARSEST
    while side * 1.25 < long:
        sides.append(side)
        side *= 2
    scaled = [(round(height * s / long), round(width * s / long)) for s in sides]
    return [*((max(8, rows), max(8, columns)) for rows, columns in scaled), (height, width)]


def _counted(progress: Progress, before: int) -> Progress:
    return lambda count, total: progress(before + count, total)


def _silent(count: int, total: float) -> None:
    """Report nothing."""
