"""Stylizer: one image in, one stylised image out."""

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from vidstyle.coherence.stylized import Stylized
from vidstyle.coherence.warm_start import TemporalPrior, carried
from vidstyle.guides.guide import Guide
from vidstyle.media import Image, resize
from vidstyle.memory import release_memory
from vidstyle.settings import Settings
from vidstyle.stylizer.lbfgs import Evaluation, FrequencyFilter, minimise
from vidstyle.stylizer.problem import FrameProblem, levels
from vidstyle.stylizer.protocol import Progress
from vidstyle.techniques import Share, Strip, Style, StyleFeatures, Targets, Technique
from vidstyle.techniques.basic import Basic
from vidstyle.validation import check_frame, check_parts
from vidstyle.vgg import losses
from vidstyle.vgg.crop import Window
from vidstyle.vgg.device import make_deterministic
from vidstyle.vgg.encoder import Features, load_encoder
from vidstyle.vgg.forward import ForwardPass, forward_pass_for

__all__ = ["Style", "Stylizer"]

_COARSE_WEIGHT = 400.0  # of the mean squared difference from the coarsest level's result
_ROUGHNESS = 0.02  # standard deviation of the noise that gives flat areas something to grow from
_SIZES_KEPT = 40  # traced graphs and style features held at once, at most
_PIXELS_KEPT = 2_000_000  # of all these sizes together, where they are more than one
_LARGE = 500_000  # pixels of a size from which on the styles' features are not kept
_SMALL = 100_000  # pixels of a frame that leaves too little to look for: that takes a fifth second
_WINDOWS_KEPT = 8  # traced graphs of one size, for windows in it


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
        self.settings, self.technique = settings or Settings(), technique or Basic()
        check_parts(styles, Style, self.settings, Settings, self.technique, Technique)
        make_deterministic()
        self._styles = tuple(styles)
        layers = (*self.settings.style_layers, *self.settings.content_layers)
        self.encode = encoder or load_encoder(weights, layers)
        release_memory()
        self._sizes: OrderedDict[tuple[int, int], _Size] = OrderedDict()
        self.traces = 0

    def begin(self, content: Image, guide: Guide | None = None) -> Image:
        """Return what a first frame begins with, and what motion uncovers: the frame, mostly."""
        return self.technique.start(content, guide, self._styles)

    def stylize(
        self,
        content: Image,
        *,
        guide: Guide | None = None,
        prior: TemporalPrior | None = None,
        progress: Progress | None = None,
    ) -> Stylized:
        """Return `content` (an Image [H, W, 3]) in the style, the same size, within 0..1.

        guide: where which style goes, planes [H, W, K], for a technique that takes masks or a map;
        its names are the same for every frame. prior: the earlier result in this frame's place;
        without one the picture is begun anew, coarse to fine. progress: called after each
        evaluation; what it raises stops the work.
        """
        check_frame(
            content, guide, prior, guide_required=self.technique.inputs.frame_guide_required
        )
        steps = self.settings.steps if prior is None else self.settings.steps_next
        scene = FrameProblem(content, guide, self.technique.confined, prior)
        start = scene.kept(content if prior is None else prior.image)
        if steps == 0 or not scene.free.any():
            found = Stylized(start, matches=None if prior is None else prior.matches)
            return self._shown(found, scene)
        count = partial(_counted, progress or (lambda count, total: None))
        if prior is None:
            found = self._coarse_to_fine(scene, steps, count)
        else:
            found = self._at(content).improve(start, scene, steps, count(0))
        if math.prod(content.shape[:2]) >= _LARGE:
            release_memory()  # the motion to the next frame takes memory too
        return self._shown(found, scene)

    def _shown(self, found: Stylized, scene: FrameProblem) -> Stylized:
        """Return the frame with its output image, and what later frames need of it."""
        unblended, fine_detail = scene.shown(
            found.optimised_image, steady=self.settings.temporal_weight > 0
        )
        output = scene.blended(unblended)
        return replace(
            found, output_image=output, unblended_image=unblended, fine_detail=fine_detail
        )

    def _coarse_to_fine(
        self, whole: FrameProblem, steps: int, count: Callable[[int], Progress]
    ) -> Stylized:
        (rows, columns), *finer = levels(*whole.frame.shape[:2])
        scene = whole.resized(columns, rows)
        start = scene.kept(self._rough(self.begin(scene.frame, scene.guide)))
        found = self._at(scene.frame).improve(start, scene, steps, count(0))
        coarsest, made = found.optimised_image, found.evaluations
        for rows, columns in finer:
            scene = whole.resized(columns, rows)
            start = scene.kept(resize(found.optimised_image, columns, rows))
            size = self._at(scene.frame)
            found = size.improve(start, scene, steps, count(made), coarse=coarsest)
            made += found.evaluations
        return replace(found, evaluations=made)

    def _rough(self, image: Image) -> Image:
        """Return the image with the seed's noise, within 0..1."""
        noise = np.random.default_rng(self.settings.seed).standard_normal(image.shape, np.float32)
        return np.clip(image + np.float32(_ROUGHNESS) * noise, 0, 1)

    def _at(self, image: Image) -> "_Size":
        """Return what is kept for this size, made when it is first met."""
        key = image.shape[:2]
        if key not in self._sizes:
            self._sizes[key] = _Size(self, *key)
            self._let_go()
        self._sizes.move_to_end(key)
        return self._sizes[key]

    def _let_go(self) -> None:
        """Drop the sizes that were not used for longest."""
        while len(self._sizes) > 1 and (
            len(self._sizes) > _SIZES_KEPT or sum(map(math.prod, self._sizes)) > _PIXELS_KEPT
        ):
            self._sizes.popitem(last=False)

    def _views(self, size: tuple[int, int]) -> ForwardPass:
        """Return how the network is run on frames of this size."""
        technique = self.technique
        held = self.settings.content_layers if technique.has_content else ()
        return forward_pass_for(self.encode, technique.strip_rows(size), held)

    def _encoded(self, views: ForwardPass, area: int) -> list[StyleFeatures]:
        """Encode the styles at the scale that suits a frame of this area."""
        total = sum(style.weight for style in self._styles)
        found = []
        for style in self._styles:
            image = self._scaled(style.image, area)
            seen = views.of(tf.constant(image))
            features = _only(seen.features, self.settings.style_layers)
            share = style.weight / total
            found.append(
                StyleFeatures(features, image.shape[:2], share, style.guide, early=seen.early)
            )
        return found

    def _scaled(self, image: Image, area: int) -> Image:
        """Resize a style to the frame's area times style_scale²: strokes keep their proportion."""
        rows, columns = image.shape[:2]
        factor = self.settings.style_scale * (area / (rows * columns)) ** 0.5
        return resize(image, max(16, round(columns * factor)), max(16, round(rows * factor)))


class _Size:
    """What one frame size needs: the styles' features and the step, traced once.

    Where only a part of the frame may change, there is one trace for each size of its window.
    """

    def __init__(self, owner: Stylizer, height: int, width: int) -> None:
        self._owner = owner
        self._views = owner._views((height, width))
        self._area, self._styles = height * width, list[StyleFeatures]()
        self._filter = FrequencyFilter(height, width)
        self._steps: OrderedDict[Any, Callable[..., Any]] = OrderedDict()
        self._coarse = levels(height, width)[0]
        self._shrink = tuple(
            tf.constant(losses.area_average(*pair))
            for pair in zip((height, width), self._coarse, strict=True)
        )

    def improve(
        self,
        start: Image,
        scene: FrameProblem,
        steps: int,
        progress: Progress,
        *,
        coarse: Image | None = None,
    ) -> Stylized:
        """Return the result of `steps` evaluations from `start`.

        coarse: the coarsest level's result, which this one is to be when made as small.
        """
        frame, support = tf.constant(scene.frame), tf.constant(scene.free)
        targets, pulls, part = self._aims(frame, scene)
        pulls |= {
            "support": support,
            "smoothness": tf.constant(scene.smoothness),
            **_temporal_pull(frame, scene.prior),
            **self._coarse_pull(coarse),
        }
        if self._area > _SMALL:
            release_memory()

        def evaluate(image: Any) -> Evaluation:
            total, gradient, terms = self._traced(image, targets, pulls, part)
            return Evaluation(float(total), gradient, {k: float(v) for k, v in terms.items()})

        held = self._owner.settings.temporal_weight * pulls["confidence"]
        filtered = self._filter if scene.prior is None else self._filter.near(held)
        found = minimise(evaluate, tf.constant(start), steps, filtered, progress, support)
        named = {"total": found.last.total, **found.last.terms}
        matches = targets["matches"].numpy() if "matches" in targets else None
        return Stylized(found.image.numpy(), named, found.evaluations, matches)

    def _aims(
        self, frame: Any, scene: FrameProblem
    ) -> tuple[Targets, dict[str, Any], tuple[int, int] | None]:
        """Return what the frame's own features aim at, and the size of its window if it has one.

        The features themselves are let go: they are larger than all that is kept of them.
        """
        owner = self._owner
        seen = self._views.of_frame(frame, scene.support)
        window = seen.window
        encoded = StyleFeatures(
            _only(seen.features, owner.settings.style_layers),
            scene.frame.shape[:2],
            guide=scene.guide,
            window=window,
            early=seen.early,
            suggested=None if scene.prior is None else carried(scene.prior),
            disoccluded=None if scene.prior is None else scene.prior.disoccluded,
        )
        targets = owner.technique.targets(self._seen_styles(), encoded)
        content = {at: _goal(seen.features[at], at, window) for at in self._content_layers()}
        around = {} if seen.around is None else {"around": seen.around}
        part = None if window is None else (window.rows, window.columns)
        return targets, {"content": content, **around}, part

    def _seen_styles(self) -> list[StyleFeatures]:
        """Return the styles at this size.

        Seen anew for each large frame, to hold less meanwhile: that takes a fiftieth of its time.
        """
        found = self._styles or self._owner._encoded(self._views, self._area)
        self._styles = found if self._area < _LARGE else []
        return found

    def _content_layers(self) -> tuple[str, ...]:
        return self._owner.settings.content_layers if self._owner.technique.has_content else ()

    def _traced(
        self, image: Any, targets: Targets, pulls: dict[str, Any], part: tuple[int, int] | None
    ) -> Any:
        """Call the traced step; it is traced when it is first called for a window of this size."""
        if part not in self._steps:
            step = tf.function(partial(self._evaluation, part))
            specs = (_specified(value) for value in (image, targets, pulls))
            self._steps[part] = step.get_concrete_function(*specs)
            if len(self._steps) > _WINDOWS_KEPT:
                self._steps.popitem(last=False)
        return self._steps[part](image, targets, pulls)

    def _coarse_pull(self, coarse: Image | None) -> dict[str, Any]:
        """Return the coarse picture and whether there is one: one trace for both."""
        if coarse is None:
            return {"coarse": tf.zeros((*self._coarse, 3)), "is_finer": tf.constant(False)}
        rows, columns = self._coarse  # within a row or a column of it, by rounding
        return {"coarse": tf.constant(resize(coarse, columns, rows)), "is_finer": tf.constant(True)}

    def _evaluation(
        self, part: tuple[int, int] | None, image: Any, targets: Targets, pulls: dict[str, Any]
    ) -> Any:
        """Return (total, gradient, terms); what changes from frame to frame is an argument.

        Each term has its own tape, so that their gradients are added in one order (see summed).
        """
        self._owner.traces += 1
        settings = self._owner.settings
        terms: dict[str, Any] = {}

        def network(image: Any) -> Any:
            technique = self._owner.technique
            sums = partial(_sums, technique, targets)
            features, early = self._views.again(image, pulls.get("around"), part, sums)
            terms["style"] = technique.loss(features, targets, early)
            if not pulls["content"]:
                return settings.style_weight * terms["style"]
            apart = [losses.content(features[at], *goal) for at, goal in pulls["content"].items()]
            terms["content"] = losses.summed(apart) / len(apart)
            style, content = settings.style_weight, settings.content_weight
            return style * terms["style"] + content * terms["content"]

        def smooth(image: Any) -> Any:
            terms["tv"] = losses.total_variation(image, pulls["smoothness"])
            return settings.tv_weight * terms["tv"]

        def steady(image: Any) -> Any:
            terms["temporal"] = losses.temporal(image, pulls["earlier"], pulls["confidence"])
            return settings.temporal_weight * terms["temporal"]

        def alike(image: Any) -> Any:
            shrunk = losses.shrunk(image, self._shrink)
            return _COARSE_WEIGHT * tf.reduce_mean(tf.square(shrunk - pulls["coarse"]))

        def alike_if_finer() -> Any:
            return tf.cond(
                pulls["is_finer"],
                lambda: _value_and_gradient(alike, image),
                lambda: (tf.constant(0.0), tf.zeros_like(image)),
            )

        found = alike_if_finer()
        for term in (steady, smooth, network):  # one after another, since each holds much
            with tf.control_dependencies([found[1]]):
                more = _value_and_gradient(term, image)
            found = tuple(losses.summed(pair) for pair in zip(found, more, strict=True))
        total, gradient = found
        return total, gradient * pulls["support"], terms


def _sums(
    technique: Technique, targets: Targets, features: Features, strip: Strip
) -> dict[str, Share]:
    return technique.sums(features, targets, strip)


def _goal(features: Any, layer: str, window: Window | None) -> tuple[Any, Any]:
    """Return the frame's features within the window, and the energy of all of them."""
    energy = losses.energy(features)
    return (features if window is None else window.at(layer).cut(features)), energy


def _specified(value: Any) -> Any:
    """Return the TensorSpecs of a nested structure; Planes and Rings say what in them may vary."""
    if hasattr(value, "specification"):
        return value.specification()
    if isinstance(value, dict):
        return {name: _specified(part) for name, part in value.items()}
    if hasattr(value, "_fields"):
        return type(value)(*map(_specified, value))
    if isinstance(value, (list, tuple)):
        return type(value)(map(_specified, value))
    return tf.TensorSpec.from_tensor(value)


def _value_and_gradient(function: Callable[[Any], Any], image: Any) -> tuple[Any, Any]:
    with tf.GradientTape() as tape:
        tape.watch(image)
        value = function(image)
    return value, tape.gradient(value, image)


def _temporal_pull(frame: Any, prior: TemporalPrior | None) -> dict[str, Any]:
    """Return the earlier result and its trust, 0 if there is none: one trace for both."""
    if prior is None:
        return {"earlier": frame, "confidence": tf.zeros((*frame.shape[:2], 1))}
    return {"earlier": tf.constant(prior.image), "confidence": tf.constant(prior.confidence)}


def _only(features: Features, layers: Sequence[str]) -> Features:
    """Return the features at these layers, but for those that are seen in strips."""
    return {layer: features[layer] for layer in layers if layer in features}


def _counted(progress: Progress, before: int) -> Progress:
    return lambda count, total: progress(before + count, total)
