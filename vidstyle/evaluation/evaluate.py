"""A finished video measured against its source, frame by frame; memory does not grow with it."""

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
from vidstyle.guides import guide
from vidstyle.guides.frame_guides import GuideSeries
from vidstyle.media import Clip, Image
from vidstyle.motion.flow import optical_flow
from vidstyle.motion.occlusion import confidence, is_cut
from vidstyle.motion.warp import compose_flows

if TYPE_CHECKING:
    from vidstyle.evaluation.perceptual import PerceptualDistances

__all__ = ["Evaluation", "as_json", "evaluate", "in_words", "make_distances"]

_LONG = 10  # frames between those that the long-term errors compare
_LOOKED_AT = 20  # frames, evenly spread, that the network sees
_LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")  # none that our optimiser uses
_CONTENT = "relu3_3"
_BESIDE_COLD = ("sharpness", "sharpness_visible", "legibility", "specks", "texture_periodicity",
                "style_distance_new")  # fmt: skip
_LATE = 3  # the last third of the frames: what adds up from frame to frame shows there
_FEWEST = 1.0  # specks of 10,000 pixels: a ratio to fewer says nothing
_NEW = 0.005  # of the frame: the style distance of a smaller area says nothing
_SIDE = 384  # pixels, long side, at which the network sees: not one of our optimiser's levels


@dataclass(frozen=True)
class Evaluation:
    """summary: each figure by name; series: by name a value for each frame, None where it has none.

    Errors are of squared values in 0..1 (see metrics); a `source_` figure is the same of the source
    and so the noise floor, a `_ratio` is ours over it. cuts: where a frame follows none.
    """

    frames: int
    cuts: tuple[int, ...]
    summary: dict[str, float | None]
    series: dict[str, list[float | None]]


_Flows = tuple[np.ndarray, np.ndarray]


@dataclass
class _Pair:
    """A frame of the output and of the source, and where figures are taken.

    cold: the same frame stylised on its own, if it is to be compared. subject: bool [H, W], where
    legibility is taken. flows: of the source to the frame before and back, once they are known.
    """

    made: Image
    source: Image
    inside: np.ndarray
    index: int
    cold: Image | None = None
    subject: np.ndarray | None = None
    flows: _Flows | None = None


@dataclass
class _Series:
    """Figures of every frame as they come."""

    count: int
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
    """Return what gives a frame's distances from the style and from the content."""
    picture = media.read_style(style)  # before TensorFlow, which takes seconds
    from vidstyle.evaluation.perceptual import PerceptualDistances

    scale = _SIDE / max(size)
    small = (max(16, round(size[0] * scale)), max(16, round(size[1] * scale)))
    return PerceptualDistances(picture, _LAYERS, _CONTENT, small, weights)


def evaluate(  # noqa: PLR0913 - what is compared with what, and who is told
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
    see: Callable[[int, int, Image, Image, np.ndarray], None] | None = None,
    notify: Callable[[int, int], None] = lambda done, of: None,
    warn: Callable[[str], None] = lambda message: None,
    note: Callable[[dict[str, Any]], None] = lambda event: None,
) -> Evaluation:
    """Measure `output`, anyone's, against the source it was made of.

    style: the style picture, for the distance from it; mask: only there; cold: the same frames
    stylised one by one, which the result is compared with; subject: a mask of what moves, whose
    legibility is taken (default: mask, or all of the frame); start, end: the part of the source, in
    seconds, that the output is of; rate: of what is a folder of pictures. see(index, frames in all,
    frame, its source, where it is measured) is shown all, notify(frames done, frames in all) is
    told, note as in GuideSeries. Raises VidstyleError.
    """
    made, clip = (_probed(path, rate) for path in (output, source))
    if rate is not None and "sequence" not in (made.kind, clip.kind):
        media.probe(source, rate=rate)  # which refuses it
    for told in (made, clip):
        for line in told.notes:
            warn(f"{told.path}: {line}")
    indices = media.select(clip, start, end)
    _check_count(made, indices, source)
    size = (made.width, made.height)
    figures, cuts = _Series(made.frames), []
    look = None if style is None else make_distances(Path(style), weights, size)
    chosen = set(np.linspace(0, made.frames - 1, min(_LOOKED_AT, made.frames)).round().astype(int))
    shot: deque[_Pair] = deque(maxlen=_LONG)
    series = GuideSeries(clip, indices, lambda _: size, warn, note)
    masks, subjects = (
        None if path is None else _masks(Path(path), series)
        for path in (mask, mask if subject is None else subject)
    )
    alone = None if cold is None else _alone_stylised(Path(cold), made)
    for pair in _pairs(made, clip, indices, (masks, subjects), alone):
        if shot and not _follow(pair, shot, figures):
            cuts.append(pair.index)
            shot.clear()
        _of_one(pair, figures)
        if look is not None and pair.index in chosen:
            for name, value in look(pair.made, pair.source, pair.inside).items():
                figures.put(name, pair.index, value)
            _of_new(pair, shot, look, figures)
        if see is not None:
            see(pair.index, made.frames, pair.made, pair.source, pair.inside)
        shot.append(pair)
        notify(pair.index + 1, made.frames)
    return Evaluation(made.frames, tuple(cuts), _summary(figures), figures.values)


def _probed(path: Path | str, rate: Fraction | None) -> Clip:
    return media.probe(path, rate=None if Path(path).is_file() else rate)


def _check_count(made: Clip, indices: range, source: Path | str) -> None:
    if made.frames != len(indices):
        raise MediaError(
            f"{made.path}: expected as many frames as {source} has, {len(indices)}, got "
            f"{made.frames}; name the source it was made of, and --start and --end if it was cut"
        )


def _masks(path: Path, series: GuideSeries) -> Iterator[np.ndarray]:
    drawn = series.open(path)
    guide.check_covers(drawn)
    series.report(drawn)
    return series.masks(drawn)


def _alone_stylised(path: Path, made: Clip) -> Clip:
    clip = media.probe(path)
    _check_count(clip, range(made.frames), made.path)
    return clip


def _pairs(
    made: Clip,
    clip: Clip,
    indices: range,
    guides: tuple[Iterator[np.ndarray] | None, Iterator[np.ndarray] | None],
    alone: Clip | None,
) -> Iterator[_Pair]:
    """Yield the frames of all at the output's size. guides: the masks, and those of the subject."""
    every = media.read(made, range(made.frames))
    side = max(made.width, made.height)
    sources = media.read(clip, indices, side)
    colds = repeat(None) if alone is None else media.read(alone, range(made.frames), side)
    both = zip(every, sources, strict=True)
    for index, ((ours, theirs), cold) in enumerate(zip(both, colds, strict=False)):
        height, width = ours.shape[:2]
        inside, subject = (
            np.ones((height, width), bool) if masks is None else next(masks)[..., 0] > 0.5
            for masks in guides
        )
        compared = None if cold is None else media.resize(cold, width, height)
        yield _Pair(ours, media.resize(theirs, width, height), inside, index, compared, subject)


def _follow(pair: _Pair, shot: Sequence[_Pair], figures: _Series) -> bool:
    """Take the figures of a frame and those before it; False if a cut lies between."""
    before = shot[-1]
    flow, back = pair.flows = _flows(pair, before)
    if is_cut(confidence(flow, back, before.source, pair.source), before.source, pair.source):
        return False
    visible = _compare(pair, before, (flow, back), "short", figures)
    if pair.cold is not None and visible.any():
        for whose, image in (("", pair.made), ("cold_", pair.cold)):
            sharp = metrics.sharpness(image, visible)
            figures.put(f"{whose}sharpness_visible", pair.index, sharp)
    for whose, now, then in _both(pair, before):
        still = metrics.deviation_where_still(now, then, np.where(pair.inside[..., None], flow, 1))
        figures.put(f"{whose}flicker", pair.index, still)
    if len(shot) == _LONG:
        flows = _flows(pair, shot[0], _added_up([*list(shot)[1:], pair]))
        _compare(pair, shot[0], flows, "long", figures)
    return True


def _flows(pair: _Pair, other: _Pair, near: tuple[Any, Any] = (None, None)) -> _Flows:
    there, back = near
    return (
        optical_flow(pair.source, other.source, there),
        optical_flow(other.source, pair.source, back),
    )


def _added_up(pairs: Sequence[_Pair]) -> _Flows:
    """Return the flows from the last of the pairs to the frame before the first, and back."""
    flows = [pair.flows for pair in pairs if pair.flows is not None]
    return (
        reduce(compose_flows, [there for there, _ in reversed(flows)]),
        reduce(compose_flows, [back for _, back in flows]),
    )


def _both(pair: _Pair, other: _Pair) -> tuple[tuple[str, Image, Image], ...]:
    return (("", pair.made, other.made), ("source_", pair.source, other.source))


def _compare(pair: _Pair, other: _Pair, flows: _Flows, term: str, figures: _Series) -> np.ndarray:
    """Take the warping errors of a frame and an earlier one; return what of it is seen there."""
    back, forth = flows
    visible = metrics.visible(back, forth) & pair.inside
    ahead = metrics.visible(forth, back) & other.inside
    figures.put(f"coverage_{term}", pair.index, metrics.coverage(visible))
    for whose, now, then in _both(pair, other):
        for name, value in (
            ("lai", metrics.warping_error_lai(then, now, forth, ahead)),
            ("lanczos", metrics.warping_error_lanczos(then, now, forth, ahead)),
            ("ruder", metrics.warping_error_ruder(now, then, back, visible)),
        ):
            figures.put(f"{whose}warping_error_{name}_{term}", pair.index, value)
    return visible


def _of_one(pair: _Pair, figures: _Series) -> None:
    for channel, value in zip("rgb", metrics.mean_color(pair.made), strict=True):
        figures.put(f"mean_{channel}", pair.index, value)
    for whose, image in (("", pair.made), ("source_", pair.source)):
        figures.put(f"{whose}contrast", pair.index, metrics.contrast(image))
        figures.put(f"{whose}sharpness", pair.index, metrics.sharpness(image))
    for whose, image in _beside_cold(pair):
        figures.put(f"{whose}specks", pair.index, metrics.specks(image))
        figures.put(f"{whose}texture_periodicity", pair.index, metrics.texture_periodicity(image))
        if pair.subject is not None:
            legible = metrics.legibility(image, pair.source, pair.subject)
            figures.put(f"{whose}legibility", pair.index, legible)
    if pair.cold is not None:
        figures.put("cold_sharpness", pair.index, metrics.sharpness(pair.cold))


def _beside_cold(pair: _Pair) -> list[tuple[str, Image]]:
    """Return the result and, if there is one, the frame stylised on its own, with their prefix."""
    return [("", pair.made), *([] if pair.cold is None else [("cold_", pair.cold)])]


def _of_new(
    pair: _Pair, shot: Sequence[_Pair], look: "PerceptualDistances", figures: _Series
) -> None:
    """Take the style distance over what was disoccluded or entered in the last ten frames."""
    if not shot:
        return
    back, forth = _flows(pair, shot[0], _added_up([*list(shot)[1:], pair]))
    new = ~metrics.visible(back, forth) & pair.inside
    figures.put("coverage_new", pair.index, metrics.coverage(new))
    if new.mean() < _NEW:
        return
    for whose, image in _beside_cold(pair):
        distance = look(image, pair.source, new)["style_distance"]
        figures.put(f"{whose}style_distance_new", pair.index, distance)


def _summary(figures: _Series) -> dict[str, float | None]:
    found = {name: figures.mean(name) for name in sorted(figures.values)}
    for name in list(found):
        if (floor := found.get(f"source_{name}")) and (ours := found[name]) is not None:
            found[f"{name}_ratio"] = ours / floor
    found |= _cold_ratios(figures)
    tenth = max(1, figures.count // 10)
    first, last = slice(0, tenth), slice(-tenth, None)
    colors = [(figures.mean(f"mean_{c}", first), figures.mean(f"mean_{c}", last)) for c in "rgb"]
    found["drift_color"] = max(abs(b - a) for a, b in colors if a is not None and b is not None)
    for name in ("contrast", "style_distance"):
        begin, finish = figures.mean(name, first), figures.mean(name, last)
        if begin and finish is not None:
            found[f"drift_{name}"] = finish / begin - 1
    return found


def _cold_ratios(figures: _Series) -> dict[str, float]:
    """Return figures over those of the frames stylised one by one, of all frames and late ones."""
    found: dict[str, float] = {}
    late = slice(-max(1, figures.count // _LATE), None)
    for name, (term, chosen) in product(_BESIDE_COLD, (("", slice(None)), ("_late", late))):
        least = _FEWEST if name == "specks" else 0.0
        made, cold = figures.mean(name, chosen), figures.mean(f"cold_{name}", chosen)
        if made is not None and cold is not None and max(cold, least) > 0:
            found[f"cold_{name}{term}_ratio"] = made / max(cold, least)
    return found


def as_json(found: Evaluation, *, series: bool = True) -> dict[str, Any]:
    """Return an evaluation as plain values; its series are long."""
    told = {"frames": found.frames, "cuts": list(found.cuts), "summary": found.summary}
    return {**told, "series": found.series} if series else told


def in_words(found: Evaluation) -> str:
    """Return the summary as a table, a figure a line."""
    cuts = f", cuts before {', '.join(map(str, found.cuts))}" if found.cuts else ""
    width = max(map(len, found.summary))
    lines = (
        f"{name:{width}}  {'-' if value is None else f'{value:.6g}'}"
        for name, value in sorted(found.summary.items())
    )
    return "\n".join([f"{found.frames} frames{cuts}", *lines])
