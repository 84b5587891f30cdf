"""Step: one evaluation of the loss and its gradient at one frame size, traced once."""

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import tensorflow as tf

from vidstyle.coherence.prior import TemporalPrior, moved_matches
from vidstyle.coherence.stylized import Stylized
from vidstyle.image import Image, resize
from vidstyle.memory import release_memory
from vidstyle.settings import Settings
from vidstyle.stylizer.lbfgs import Evaluation, FrequencyFilter, Minimise, Minimum, minimise
from vidstyle.stylizer.problem import FrameProblem
from vidstyle.stylizer.protocol import Progress
from vidstyle.stylizer.pyramid import levels
from vidstyle.stylizer.stopping import SlowProgress
from vidstyle.techniques import Share, Strip, Style, StyleFeatures, Targets, Technique
from vidstyle.vgg import losses
from vidstyle.vgg.crop import Window
from vidstyle.vgg.encoder import Features
from vidstyle.vgg.forward import forward_pass_for

__all__ = ["LARGE", "Step"]

LARGE = 500_000  # pixels of a size from which on style features are not kept between frames
_COARSE_WEIGHT = 400.0  # of the mean squared difference from the coarsest level's result
_SMALL = 100_000  # pixels of a frame up to which releasing memory (0.2 s) is not worth it
_WINDOWS_KEPT = 8  # traced graphs of one size, one for each size of its window


class Step:
    """Optimises frames of one size: the style features at that size and the traced graph.

    If only a window of the frame may change, one graph is traced for each size of the window.
    traced: called once for each trace. minimise: the minimiser, called as lbfgs.minimise is.
    shortages: see Technique.strip_rows.
    """

    def __init__(  # noqa: PLR0913 - what one size needs of a stylizer
        self,
        styles: Sequence[Style],
        technique: Technique,
        settings: Settings,
        encode: Callable[[Any], Features],
        size: tuple[int, int],
        traced: Callable[[], None],
        *,
        minimise: Minimise = minimise,
        shortages: int = 0,
    ) -> None:
        self._styles, self._technique, self._settings = styles, technique, settings
        self._count_trace = traced
        self._minimise = minimise
        self._content_layers = settings.content_layers if technique.has_content else ()
        rows = technique.strip_rows(size, shortages)
        self.forward = forward_pass_for(encode, rows, self._content_layers)
        self._area, self._encoded = size[0] * size[1], list[StyleFeatures]()
        self._filter = FrequencyFilter(*size)
        self._graphs: OrderedDict[Any, Callable[..., Any]] = OrderedDict()
        self._coarsest = levels(*size)[0]
        self._shrink = tuple(
            tf.constant(losses.area_average(*pair))
            for pair in zip(size, self._coarsest, strict=True)
        )

    def improve(
        self,
        start: Image,
        problem: FrameProblem,
        evaluations: int,
        progress: Progress,
        *,
        coarsest: Image | None = None,
    ) -> Stylized:
        """Return the result of so many evaluations from `start`, without an output image yet.

        coarsest: the result of the coarsest level; this one is pulled to it at its size.
        """
        frame, support = tf.constant(problem.frame), tf.constant(problem.free)
        targets, inputs, part = self._aims(frame, problem)
        inputs |= {
            "support": support,
            "smoothness": tf.constant(problem.smoothness),
            **_temporal_inputs(frame, problem.prior),
            **self._coarse_inputs(coarsest),
        }
        if self._area > _SMALL:
            release_memory()

        def evaluate(image: Any) -> Evaluation:
            total, gradient, terms = self.evaluate(image, targets, inputs, part)
            return Evaluation(float(total), gradient, {k: float(v) for k, v in terms.items()})

        def report(count: int, total: float, image: Any) -> None:
            progress(count, total, image.numpy)  # the method: copies only if it is called

        weights = self._settings.temporal_weight * inputs["confidence"]
        inverse = self._filter if problem.prior is None else self._filter.near(weights)
        limits = evaluations, inverse, report, support, self._stop(problem)
        found = self._minimise(evaluate, tf.constant(start), *limits)
        return self._result(found, targets, part)

    def _result(self, found: Minimum, targets: Targets, part: tuple[int, int] | None) -> Stylized:
        matches = targets["matches"].numpy() if "matches" in targets else None
        share = 1.0 if part is None else math.prod(part) / self._area
        return Stylized(
            found.image.numpy(),
            {"total": found.last.total, **found.last.terms},
            found.evaluations,
            matches,
            frame_equivalents=share * found.evaluations,
        )

    def _stop(self, problem: FrameProblem) -> Callable[[Evaluation], bool]:
        """Return the criterion that ends the optimisation before its last evaluation."""
        if problem.prior is None or self._settings.steps_next != "auto":
            return lambda here: False
        return SlowProgress(self._settings, problem.prior.parameters.stopping)

    def evaluate(
        self, image: Any, targets: Targets, inputs: dict[str, Any], part: tuple[int, int] | None
    ) -> Any:
        """Return (total, gradient, terms) at `image`, through the graph for a window of this size.

        part: the window's (rows, columns); None: the whole frame.
        """
        if part not in self._graphs:
            step = tf.function(partial(self._traced, part), autograph=False)
            specs = (_specified(value) for value in (image, targets, inputs))
            self._graphs[part] = step.get_concrete_function(*specs)
            if len(self._graphs) > _WINDOWS_KEPT:
                self._graphs.popitem(last=False)
        return self._graphs[part](image, targets, inputs)

    def _aims(
        self, frame: Any, problem: FrameProblem
    ) -> tuple[Targets, dict[str, Any], tuple[int, int] | None]:
        """Return the style targets, the content targets by layer, and the size of the window.

        The frame's features, which are larger than all of these, are not kept.
        """
        seen = self.forward.of_frame(frame, problem.support)
        window = seen.window
        encoded = StyleFeatures(
            _only(seen.features, self._settings.style_layers),
            problem.frame.shape[:2],
            guide=problem.guide,
            window=window,
            early=seen.early,
            suggested=None if problem.prior is None else moved_matches(problem.prior),
            disoccluded=None if problem.prior is None else problem.prior.disoccluded,
        )
        targets = self._technique.targets(self._style_features(), encoded)
        content = {
            at: _content_target(seen.features[at], at, window) for at in self._content_layers
        }
        around = {} if seen.around is None else {"around": seen.around}
        part = None if window is None else (window.rows, window.columns)
        return targets, {"content": content, **around}, part

    def _style_features(self) -> list[StyleFeatures]:
        """Return the features of the styles.

        For a large frame they are computed each time, to save memory: 2 % of its time.
        """
        found = self._encoded or self._encode_styles()
        self._encoded = found if self._area < LARGE else []
        return found

    def _encode_styles(self) -> list[StyleFeatures]:
        total = sum(style.weight for style in self._styles)
        found = []
        for style in self._styles:
            image = self._scaled(style.image)
            seen = self.forward.of(tf.constant(image))
            features = _only(seen.features, self._settings.style_layers)
            share = style.weight / total
            found.append(
                StyleFeatures(features, image.shape[:2], share, style.guide, early=seen.early)
            )
        return found

    def _scaled(self, image: Image) -> Image:
        """Resize a style to the frame's area times style_scale²: strokes keep their proportion."""
        rows, columns = image.shape[:2]
        factor = self._settings.style_scale * (self._area / (rows * columns)) ** 0.5
        return resize(image, max(16, round(columns * factor)), max(16, round(rows * factor)))

    def _coarse_inputs(self, coarsest: Image | None) -> dict[str, Any]:
        """Return the coarsest level's result and whether there is one: one trace for both cases."""
        if coarsest is None:
            return {"coarsest": tf.zeros((*self._coarsest, 3)), "is_finer": tf.constant(False)}
        rows, columns = self._coarsest  # rounding may make it a row or a column larger or smaller
        image = tf.constant(resize(coarsest, columns, rows))
        return {"coarsest": image, "is_finer": tf.constant(True)}

    def _traced(
        self, part: tuple[int, int] | None, image: Any, targets: Targets, inputs: dict[str, Any]
    ) -> Any:
        """Return (total, gradient, terms); whatever changes from frame to frame is an argument.

        Each term has its own tape, so that gradients are added in a fixed order: see summed.
        """
        self._count_trace()
        terms: dict[str, Any] = {}
        found = self._coarse_loss(image, inputs)
        for loss in (
            partial(self._temporal_loss, inputs, terms),
            partial(self._smoothness_loss, inputs, terms),
            partial(self._network_loss, part, targets, inputs, terms),
        ):
            with tf.control_dependencies([found[1]]):  # one after another: each takes much memory
                more = _value_and_gradient(loss, image)
            found = tuple(losses.summed(pair) for pair in zip(found, more, strict=True))
        total, gradient = found
        return total, gradient * inputs["support"], terms

    def _network_loss(
        self,
        part: tuple[int, int] | None,
        targets: Targets,
        inputs: dict[str, Any],
        terms: dict[str, Any],
        image: Any,
    ) -> Any:
        """Return the weighted style and content losses; `terms` receives them unweighted."""
        settings = self._settings
        sums = partial(_sums, self._technique, targets)
        features, early = self.forward.recompute(image, inputs.get("around"), part, sums)
        compared = dict(features)
        for layer in inputs["content"]:
            if layer in settings.style_layers:
                features[layer], compared[layer] = losses.forked(features[layer])
        terms["style"] = self._technique.loss(features, targets, early)
        if not inputs["content"]:
            return settings.style_weight * terms["style"]
        layers = inputs["content"].items()
        apart = [losses.content(compared[layer], *target) for layer, target in layers]
        terms["content"] = losses.summed(apart) / len(apart)
        style, content = settings.style_weight, settings.content_weight
        return style * terms["style"] + content * terms["content"]

    def _smoothness_loss(self, inputs: dict[str, Any], terms: dict[str, Any], image: Any) -> Any:
        terms["tv"] = losses.total_variation(image, inputs["smoothness"])
        return self._settings.tv_weight * terms["tv"]

    def _temporal_loss(self, inputs: dict[str, Any], terms: dict[str, Any], image: Any) -> Any:
        terms["temporal"] = losses.temporal(image, inputs["earlier"], inputs["confidence"])
        return self._settings.temporal_weight * terms["temporal"]

    def _coarse_loss(self, image: Any, inputs: dict[str, Any]) -> Any:
        """Return the pull to the coarsest level's result and its gradient; 0 if there is none."""

        def loss(image: Any) -> Any:
            shrunk = losses.shrunk(image, self._shrink)
            return _COARSE_WEIGHT * tf.reduce_mean(tf.square(shrunk - inputs["coarsest"]))

        return tf.cond(
            inputs["is_finer"],
            lambda: _value_and_gradient(loss, image),
            lambda: (tf.constant(0.0), tf.zeros_like(image)),
        )


def _sums(
    technique: Technique, targets: Targets, features: Features, strip: Strip
) -> dict[str, Share]:
    return technique.sums(features, targets, strip)


def _content_target(features: Any, layer: str, window: Window | None) -> tuple[Any, Any]:
    """Return the frame's features within the window, and the energy of the whole frame's."""
    energy = losses.energy(features)
    return (features if window is None else window.at(layer).cut(features)), energy


def _specified(value: Any) -> Any:
    """Return the TensorSpecs of a nested structure.

    An object with a `specification` method says which of its dimensions vary between frames.
    """
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


def _temporal_inputs(frame: Any, prior: TemporalPrior | None) -> dict[str, Any]:
    """Return the prior's image and confidence; confidence 0 without one: one trace for both."""
    if prior is None:
        return {"earlier": frame, "confidence": tf.zeros((*frame.shape[:2], 1))}
    return {"earlier": tf.constant(prior.image), "confidence": tf.constant(prior.confidence)}


def _only(features: Features, layers: Sequence[str]) -> Features:
    """Return the features at those of `layers` that were computed for the whole image."""
    return {layer: features[layer] for layer in layers if layer in features}
