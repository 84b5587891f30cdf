"""Evaluation of a stylised video against its source, frame by frame, in constant memory."""

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import reduce
from itertools import product, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vidstyle import media
from vidstyle.errors import MediaError
from vidstyle.evaluation import metrics
from vidstyle.guides.frame_guides import GuideSeries
from vidstyle.image import Image, resize
from vidstyle.media import Clip
from vidstyle.motion.flow import optical_flow
from vidstyle.motion.occlusion import confidence, is_cut
from vidstyle.motion.warp import compose_flows

if TYPE_CHECKING:
    from vidstyle.evaluation.perceptual import PerceptualDistances

__all__ = ["Evaluation", "as_json", "evaluate", "format_summary", "make_distances"]

_LONG_TERM = 10  # frames between the two that the long-term errors compare
_SAMPLES = 20  # evenly spread frames whose perceptual distances are computed
_LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")  # unlike those of the optimiser
_CONTENT = "relu3_3"
_COMPARED_TO_COLD = (
    "sharpness", "sharpness_visible", "legibility", "specks", "texture_periodicity",
    "style_distance_new",
)  # fmt: skip
_LATE = 3  # the late frames, in which errors have accumulated, are the last third
_MIN_SPECKS = 1.0  # specks per 10,000 pixels: the smallest denominator of a ratio
_MIN_NEW_AREA = 0.005  # of the frame; no style distance is computed over a smaller area
_SIDE = 384  # pixels: long side of the network's input, unlike any level of the optimiser


@dataclass(frozen=True)
class Evaluation:
    """Metrics of a video: summary by name, and series by name with one value per frame or None.

    Errors are mean squares of values in 0..1 (see metrics). `source_NAME` is the metric of the
    source, i.e. the noise floor, and `NAME_ratio` the result's metric divided by it. cuts: indices
    of the first frames of shots.
    """

    frames: int
    cuts: tuple[int, ...]
    summary: dict[str, float | None]
    series: dict[str, list[float | None]]


_Flows = tuple[np.ndarray, np.ndarray]


@dataclass
class _Pair:
    """A frame of the result and its source.

    inside: bool [H, W], the area to measure. cold: the frame stylised independently, if given.
    subject: bool [H, W], the moving subject.
    flows: optical flow of the source to the previous frame and back; None until computed.
    """

    result: Image
    source: Image
    inside: np.ndarray
    index: int
    cold: Image | None = None
    subject: np.ndarray | None = None
    flows: _Flows | None = None


@dataclass
class _Series:
    """Values of each metric by frame, and the cuts."""

    count: int
    cuts: list[int] = field(default_factory=list)
    values: dict[str, list[float | None]] = field(default_factory=dict)

    def put(self, name: str, index: int, value: float) -> None:
        row = self.values.setdefault(name, [None] * self.count)
        row[index] = None if math.isnan(value) else value

    def mean(self, name: str, chosen: slice = slice(None)) -> float | None:
        known = [v for v in self.values.get(name, [])[chosen] if v is not None]
        return float(np.mean(known)) if known else None


def make_distances(
    style: Path, weights: Path | None, size: tuple[int, int]
) -> "PerceptualDistances":
    """Return the distances from a style picture for frames of `size` (width, height)."""
    picture = media.read_style(style)  # before the slow import of TensorFlow, for early errors
    from vidstyle.evaluation.perceptual import PerceptualDistances

    scale = _SIDE / max(size)
    small = (max(16, round(size[0] * scale)), max(16, round(size[1] * scale)))
    return PerceptualDistances(picture, _LAYERS, _CONTENT, small, weights)


def evaluate(  # noqa: PLR0913 - inputs, range and callbacks
    output: Path | str,
    source: Path | str,
    *,
    style: Path | str | None = None,
    mask: Path | str | None = None,
    cold: Path | str | None = None,
    subject: Path | str | None = None,
    start: float | None = None,
    end: float | None = None,
    rate: Fraction | None = None,
    weights: Path | None = None,
    make_distances: "Callable[..., PerceptualDistances]" = make_distances,
    on_frame: Callable[[int, int, Image, Image, np.ndarray], None] | None = None,
    notify: Callable[[int, int], None] = lambda done, of: None,
    warn: Callable[[str], None] = lambda message: None,
    note: Callable[[dict[str, Any]], None] = lambda event: None,
) -> Evaluation:
    """Measure the stylised video `output`, made by any program, against its source.

    style: style picture, for the style distance. mask: area to measure. cold: the same frames
    stylised independently, to compare with. subject: mask of the moving subject for the legibility,
    default `mask`. start, end: seconds of the source that `output` covers. rate: frames per second
    of a folder of pictures. weights: VGG-19. on_frame(index, count, frame, source frame, area),
    notify(done, count), warn(message), note (see GuideSeries): callbacks. Raises VidstyleError.
    """
    result, clip = _probe_both(output, source, rate, warn)
    indices = media.select(clip, start, end)
    _check_count(result, indices, source)
    size = (result.width, result.height)
    series = GuideSeries(clip, indices, lambda _: size, warn, note)
    distances = None if style is None else make_distances(Path(style), weights, size)
    masks = _masks(series, mask), _masks(series, mask if subject is None else subject)
    figures = _Series(result.frames)
    pairs = _pairs(result, clip, indices, masks, _probed_cold(cold, result))
    for pair in _measured(pairs, figures, distances):
        if on_frame is not None:
            on_frame(pair.index, result.frames, pair.result, pair.source, pair.inside)
        notify(pair.index + 1, result.frames)
    return Evaluation(result.frames, tuple(figures.cuts), _summary(figures), figures.values)


def _probe_both(
    output: Path | str, source: Path | str, rate: Fraction | None, warn: Callable[[str], None]
) -> tuple[Clip, Clip]:
    clips = [
        media.probe(path, rate=None if Path(path).is_file() else rate) for path in (output, source)
    ]
    if rate is not None and all(clip.kind != "sequence" for clip in clips):
        media.probe(source, rate=rate)  # raises, since a rate needs a folder of pictures
    for clip in clips:
        for line in clip.notes:
            warn(f"{clip.path}: {line}")
    return clips[0], clips[1]


def _measured(
    pairs: Iterator[_Pair], figures: _Series, distances: "PerceptualDistances | None"
) -> Iterator[_Pair]:
    """Yield the pairs after measuring each."""
    shot: deque[_Pair] = deque(maxlen=_LONG_TERM)
    for pair in pairs:
        if shot and not _measure_motion(pair, shot, figures):
            figures.cuts.append(pair.index)
            shot.clear()
        if _measure_frame(pair, figures, distances) and shot:
            _measure_new_areas(pair, shot, distances, figures)
        shot.append(pair)
        yield pair


def _check_count(result: Clip, indices: range, source: Path | str) -> None:
    if result.frames != len(indices):
        raise MediaError(
            f"{result.path}: expected as many frames as {source} has, {len(indices)}, got "
            f"{result.frames}; name the source it was made from, and --start and --end if it "
            "covers a part of it"
        )


def _probed_cold(path: Path | str | None, result: Clip) -> Clip | None:
    if path is None:
        return None
    clip = media.probe(path)
    _check_count(clip, range(result.frames), result.path)
    return clip


def _masks(series: GuideSeries, path: Path | str | None) -> Iterator[np.ndarray] | None:
    return None if path is None else series.all_masks(Path(path))


def _pairs(
    result: Clip,
    clip: Clip,
    indices: range,
    guides: tuple[Iterator[np.ndarray] | None, Iterator[np.ndarray] | None],
    cold_clip: Clip | None,
) -> Iterator[_Pair]:
    """Yield the frames of all clips at the size of the result. guides: masks, and subject's."""
    all_frames = range(result.frames)
    side = max(result.width, result.height)
    cold_frames = repeat(None) if cold_clip is None else media.read(cold_clip, all_frames, side)
    pairs = zip(media.read(result, all_frames), media.read(clip, indices, side), strict=True)
    for index, ((frame, source), cold) in enumerate(zip(pairs, cold_frames, strict=False)):
        height, width = frame.shape[:2]
        inside, subject = (
            np.ones((height, width), bool) if masks is None else next(masks)[..., 0] > 0.5
            for masks in guides
        )
        resized = None if cold is None else resize(cold, width, height)
        yield _Pair(frame, resize(source, width, height), inside, index, resized, subject)


def _measure_motion(pair: _Pair, shot: Sequence[_Pair], figures: _Series) -> bool:
    """Measure a frame against earlier frames of its shot; return False if it follows a cut."""
    previous = shot[-1]
    flow, back = pair.flows = _flows(pair, previous)
    if is_cut(confidence(flow, back, previous.source, pair.source), previous.source, pair.source):
        return False
    visible = _warping_errors(pair, previous, (flow, back), "short", figures)
    if pair.cold is not None and visible.any():
        for prefix, image in (("", pair.result), ("cold_", pair.cold)):
            sharp = metrics.sharpness(image, visible)
            figures.put(f"{prefix}sharpness_visible", pair.index, sharp)
    for prefix, now, then in _images(pair, previous):
        inside = np.where(pair.inside[..., None], flow, 1)  # a flow of 1 pixel is not static
        flicker = metrics.flicker(now, then, inside)
        figures.put(f"{prefix}flicker", pair.index, flicker)
    if len(shot) == _LONG_TERM:
        flows = _flows(pair, shot[0], _composed_flows([*list(shot)[1:], pair]))
        _warping_errors(pair, shot[0], flows, "long", figures)
    return True


def _flows(pair: _Pair, other: _Pair, initial: tuple[Any, Any] = (None, None)) -> _Flows:
    """Return the flows from the source of `pair` to that of `other` and back."""
    flow, back = initial
    return (
        optical_flow(pair.source, other.source, flow),
        optical_flow(other.source, pair.source, back),
    )


def _composed_flows(pairs: Sequence[_Pair]) -> _Flows:
    """Return the flows from the last pair to the frame before the first pair, and back."""
    flows = [pair.flows for pair in pairs if pair.flows is not None]
    return (
        reduce(compose_flows, [flow for flow, _ in reversed(flows)]),
        reduce(compose_flows, [back for _, back in flows]),
    )


def _images(pair: _Pair, other: _Pair) -> tuple[tuple[str, Image, Image], ...]:
    return (("", pair.result, other.result), ("source_", pair.source, other.source))


def _warping_errors(
    pair: _Pair, other: _Pair, flows: _Flows, term: str, figures: _Series
) -> np.ndarray:
    """Measure the warping errors to an earlier frame; return the visible area, bool [H, W]."""
    back, forth = flows
    visible = metrics.visible(back, forth) & pair.inside
    ahead = metrics.visible(forth, back) & other.inside
    figures.put(f"coverage_{term}", pair.index, metrics.coverage(visible))
    for prefix, now, then in _images(pair, other):
        for name, value in (
            ("lai", metrics.warping_error_lai(then, now, forth, ahead)),
            ("lanczos", metrics.warping_error_lanczos(then, now, forth, ahead)),
            ("ruder", metrics.warping_error_ruder(now, then, back, visible)),
        ):
            figures.put(f"{prefix}warping_error_{name}_{term}", pair.index, value)
    return visible


def _measure_frame(pair: _Pair, figures: _Series, distances: "PerceptualDistances | None") -> bool:
    """Measure the metrics that need no other frame; return whether distances were measured."""
    for channel, value in zip("rgb", metrics.mean_color(pair.result), strict=True):
        figures.put(f"mean_{channel}", pair.index, value)
    for prefix, image in (("", pair.result), ("source_", pair.source)):
        figures.put(f"{prefix}contrast", pair.index, metrics.contrast(image))
        figures.put(f"{prefix}sharpness", pair.index, metrics.sharpness(image))
    for prefix, image in _with_cold(pair):
        figures.put(f"{prefix}specks", pair.index, metrics.specks(image))
        figures.put(f"{prefix}texture_periodicity", pair.index, metrics.texture_periodicity(image))
        if pair.subject is not None:
            legible = metrics.legibility(image, pair.source, pair.subject)
            figures.put(f"{prefix}legibility", pair.index, legible)
    if pair.cold is not None:
        figures.put("cold_sharpness", pair.index, metrics.sharpness(pair.cold))
    samples = np.linspace(0, figures.count - 1, min(_SAMPLES, figures.count)).round()
    if distances is None or pair.index not in samples:
        return False
    for name, value in distances(pair.result, pair.source, pair.inside).items():
        figures.put(name, pair.index, value)
    return True


def _with_cold(pair: _Pair) -> list[tuple[str, Image]]:
    """Return the result and, if given, the frame stylised independently, with their prefixes."""
    return [("", pair.result), *([] if pair.cold is None else [("cold_", pair.cold)])]


def _measure_new_areas(
    pair: _Pair, shot: Sequence[_Pair], distances: "PerceptualDistances | None", figures: _Series
) -> None:
    """Measure the style distance over areas disoccluded or entered within the long-term span."""
    if distances is None:
        return
    back, forth = _flows(pair, shot[0], _composed_flows([*list(shot)[1:], pair]))
    new = ~metrics.visible(back, forth) & pair.inside
    figures.put("coverage_new", pair.index, metrics.coverage(new))
    if new.mean() < _MIN_NEW_AREA:
        return
    for prefix, image in _with_cold(pair):
        distance = distances(image, pair.source, new)["style_distance"]
        figures.put(f"{prefix}style_distance_new", pair.index, distance)


def _summary(figures: _Series) -> dict[str, float | None]:
    """Return the means, their ratios to the source and to `cold`, and the drifts."""
    summary = {name: figures.mean(name) for name in sorted(figures.values)}
    for name in list(summary):
        if (floor := summary.get(f"source_{name}")) and (value := summary[name]) is not None:
            summary[f"{name}_ratio"] = value / floor
    summary |= _cold_ratios(figures)
    tenth = max(1, figures.count // 10)
    first, last = slice(0, tenth), slice(-tenth, None)
    colors = [(figures.mean(f"mean_{c}", first), figures.mean(f"mean_{c}", last)) for c in "rgb"]
    summary["drift_color"] = max(abs(b - a) for a, b in colors if a is not None and b is not None)
    for name in ("contrast", "style_distance"):
        early, late = figures.mean(name, first), figures.mean(name, last)
        if early and late is not None:
            summary[f"drift_{name}"] = late / early - 1
    return summary


def _cold_ratios(figures: _Series) -> dict[str, float]:
    """Return metrics relative to the frames stylised independently, of all and of late frames."""
    ratios: dict[str, float] = {}
    late = slice(-max(1, figures.count // _LATE), None)
    for name, (term, chosen) in product(_COMPARED_TO_COLD, (("", slice(None)), ("_late", late))):
        minimum = _MIN_SPECKS if name == "specks" else 0.0
        value, cold = figures.mean(name, chosen), figures.mean(f"cold_{name}", chosen)
        if value is not None and cold is not None and max(cold, minimum) > 0:
            ratios[f"cold_{name}{term}_ratio"] = value / max(cold, minimum)
    return ratios


def as_json(found: Evaluation, *, series: bool = True) -> dict[str, Any]:
    """Return an evaluation as JSON values. series: include the values of every frame."""
    values = {"frames": found.frames, "cuts": list(found.cuts), "summary": found.summary}
    return {**values, "series": found.series} if series else values


def format_summary(found: Evaluation) -> str:
    """Return the summary as a text table with one metric per line."""
    cuts = f", cuts before {', '.join(map(str, found.cuts))}" if found.cuts else ""
    width = max(map(len, found.summary))
    lines = (
        f"{name:{width}}  {'-' if value is None else f'{value:.6g}'}"
        for name, value in sorted(found.summary.items())
    )
    return "\n".join([f"{found.frames} frames{cuts}", *lines])
