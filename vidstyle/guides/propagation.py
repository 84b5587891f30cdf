"""Label maps and masks carried from the key frames they were drawn on to the frames between.

Planes are float32 [H, W, K], 0..1. Hard planes are a label map: at each pixel one of them is 1
and the others are 0 (one hard plane alone is a mask of 0 and 1). Soft planes are K masks, each on
its own.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import cv2
import numpy as np

from vidstyle.errors import GuideError
from vidstyle.image import Image
from vidstyle.motion import flow

__all__ = ["Tracked", "track"]

_WIDTH = 854  # pixels: the frames that the sizes below were measured on; others are in proportion
_BAND = 10  # pixels: so near to an edge labels are decided anew
_EDGE = 4  # pixels: radius of the guided filter
_FLAT = 4e-4  # of 1: a variance below which the guided filter sees no edge
_CELLS = (256, 64)  # pixels: places that share a colour model; the finer refines the coarser
_BINS = 16  # of 256 values of red, of green and of blue
_FEW = 0.5  # pixels: what the coarser colour model counts for in the finer
_DRAWN = 4.0  # pixels of the frame before: what a pixel of the key frame counts for
_FLOW, _SURE_FLOW, _COLOUR = 0.5, 1.0, 0.5  # the exponents by which flow and colour decide
_LEAST = 0.01  # of 1: neither ever rules a label out
_STRAY = 2.0  # pixels: a flow that misses its way back by so much is believed by 1 / e
_DOUBT = 0.02  # of 1: belief that is left where flow has failed


@dataclass(frozen=True)
class Tracked:
    """A frame's planes and the key frames that they come from: itself, or one or two others."""

    index: int
    planes: np.ndarray
    keys: tuple[int, ...]


@dataclass(frozen=True)
class _Source:
    """What a colour model learns from: every second pixel of a frame.

    colours: uint8 [h, w, 3]; planes: [h, w, K], as many pixels as it counts for; places:
    [h, w, 2], (x, y) of where they are now.
    """

    colours: np.ndarray
    planes: np.ndarray
    places: np.ndarray


@dataclass(frozen=True)
class _Carried:
    """What one key says of a frame (uint8): planes, and belief [H, W], 0..1, that falls with time.

    alone: a single hard plane was drawn; here it has its complement beside it.
    """

    key: int
    drawn: _Source
    alone: bool
    frame: np.ndarray
    planes: np.ndarray
    belief: np.ndarray


@dataclass
class _Moment:
    """A frame, uint8, that waits for the next key.

    flows: from it to the frame before and back, float16; None: a shot begins. planes and belief:
    what the key before says of it, uint8.
    """

    index: int
    frame: np.ndarray
    flows: tuple[np.ndarray, np.ndarray] | None
    planes: np.ndarray | None = None
    belief: np.ndarray | None = None


def track(
    frames: Iterable[Image], keys: Mapping[int, np.ndarray], *, hard: bool
) -> Iterator[Tracked]:
    """Carry the planes of key frames to every frame; yield them in order.

    keys: planes by frame number. Between two keys planes are carried by flow from both and
    blended by belief and nearness; after the last key forward only, before the first backward
    only, and never over a cut. Hard planes are decided anew near their edges by the colours of
    the keys and stay hard.

    Each frame and each key is asked for once, in order. From one key to the next the frames
    between are held, in 12 + K bytes a pixel each; after the last key, one frame.
    """
    last = max(keys, default=-1)
    held: list[_Moment] = []
    carried: _Carried | None = None
    for moment in _moments(frames):
        if moment.flows is None:
            yield from _one_sided(held, carried, hard)
            held, carried = [], None
        if moment.index in keys:
            drawn = _drawn(moment, keys[moment.index], hard)
            yield from _two_sided(held, carried, moment, drawn, hard)
            yield Tracked(moment.index, _shown(drawn.planes, drawn.alone, hard), (drawn.key,))
            held, carried = [], drawn
            continue
        if carried is not None and moment.flows is not None:
            carried = _moved(carried, moment.frame, moment.flows, hard)
            moment.planes, moment.belief = _bytes(carried.planes), _bytes(carried.belief)
        held.append(moment)
        if moment.index > last:
            yield from _one_sided(held, carried, hard)
            held = []
    yield from _one_sided(held, carried, hard)


def _moments(frames: Iterable[Image]) -> Iterator[_Moment]:
    before: Image | None = None
    for index, frame in enumerate(frames):
        yield _Moment(index, _bytes(frame), None if before is None else _flows(before, frame))
        before = frame


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.rint(values * 255).astype(np.uint8)


def _flows(before: Image, frame: Image) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the flows from `frame` to the one before and back, float16; None over a cut."""
    if before.shape != frame.shape:
        return None
    back, ahead = flow.optical_flow(frame, before), flow.optical_flow(before, frame)
    if flow.is_cut(flow.confidence(back, ahead, before, frame), before, frame):
        return None
    return back.astype(np.float16), ahead.astype(np.float16)


def _drawn(moment: _Moment, planes: np.ndarray, hard: bool) -> _Carried:
    """Return what a key says of its own frame."""
    height, width = moment.frame.shape[:2]
    if planes.ndim != 3 or planes.shape[:2] != (height, width):
        message = f"the key frame {moment.index} has planes of shape {planes.shape}, expected"
        raise GuideError(f"{message} ({height}, {width}, K); draw it at the size of its frame")
    alone = hard and planes.shape[2] == 1
    if hard:
        planes = _one_hot(np.dstack([1 - planes, planes]) if alone else planes)
    source = _source(moment.frame, planes * _DRAWN, _grid(planes))
    belief = np.ones((height, width), np.float32)
    return _Carried(moment.index, source, alone, moment.frame, planes, belief)


def _one_hot(planes: np.ndarray) -> np.ndarray:
    """Return hard planes: 1 where a plane is the highest (of equals the first), else 0."""
    return np.eye(planes.shape[2], dtype=np.float32)[planes.argmax(axis=2)]


def _shown(planes: np.ndarray, alone: bool, hard: bool) -> np.ndarray:
    """Return planes as they were drawn: hard if hard, alone if alone."""
    planes = _one_hot(planes) if hard else planes
    return planes[..., 1:] if alone else planes


def _source(frame: np.ndarray, planes: np.ndarray, places: np.ndarray) -> _Source:
    return _Source(*(np.ascontiguousarray(a[::2, ::2]) for a in (frame, planes, places)))


def _one_sided(held: list[_Moment], carried: _Carried | None, hard: bool) -> Iterator[Tracked]:
    """Yield frames that no later key reaches."""
    for moment in held:
        if moment.planes is None or carried is None:
            message = f"no key frame in the shot that begins at frame {moment.index}: nothing is"
            raise GuideError(f"{message} carried over a cut; draw one for frame {moment.index}")
        planes = moment.planes.astype(np.float32) / 255
        yield Tracked(moment.index, _shown(planes, carried.alone, hard), (carried.key,))


def _two_sided(
    held: list[_Moment], left: _Carried | None, end: _Moment, right: _Carried, hard: bool
) -> Iterator[Tracked]:
    """Carry the right key back over the frames held, blend, and yield them in order."""
    if left is not None and left.planes.shape != right.planes.shape:
        counts = f"{left.planes.shape[2]} and {right.planes.shape[2]}"
        message = f"the key frames {left.key} and {right.key} have {counts} planes"
        raise GuideError(f"{message}, expected as many; draw both with the same labels")
    carried, later = right, end.flows
    for place, moment in reversed(list(enumerate(held, 1))):
        if later is not None:
            carried = _moved(carried, moment.frame, later[::-1], hard)
        moment.planes = _bytes(_blended(moment, carried, place / (len(held) + 1)))
        later = moment.flows
    keys = (right.key,) if left is None else (left.key, right.key)
    for moment in held:
        planes = np.asarray(moment.planes, np.float32) / 255
        yield Tracked(moment.index, _shown(planes, right.alone, hard), keys)


def _blended(moment: _Moment, right: _Carried, share: float) -> np.ndarray:
    """Return the planes that two keys give; share: 0..1, the way from the left to the right."""
    if moment.planes is None or moment.belief is None:
        return right.planes
    one = ((1 - share) * (moment.belief.astype(np.float32) / 255 + _DOUBT))[..., None]
    two = (share * (right.belief + _DOUBT))[..., None]
    return (one * (moment.planes.astype(np.float32) / 255) + two * right.planes) / (one + two)


def _moved(
    carried: _Carried, frame: np.ndarray, flows: tuple[np.ndarray, np.ndarray], hard: bool
) -> _Carried:
    """Carry to a neighbouring frame; flows: from that one to the one carried from, and back."""
    back, ahead = (each.astype(np.float32) for each in flows)
    there = _grid(back) + back
    stray = np.hypot(*cv2.split(_sampled(ahead, there) + back))
    holds = np.exp(-stray / _STRAY)
    belief = _sampled(carried.belief, there) * holds
    places = carried.drawn.places + _sampled(ahead, carried.drawn.places)
    drawn = replace(carried.drawn, places=places)
    planes = _sampled(carried.planes, there) if hard else flow.warp(carried.planes, back)
    planes = planes.reshape(carried.planes.shape)
    if hard:
        still = (stray == 0) & (np.hypot(*cv2.split(back)) == 0)
        before = _source(carried.frame, carried.planes, _grid(ahead) + ahead)
        decided = _decided(frame, planes, holds, still, [drawn, before])
        planes = belief[..., None] * planes + (1 - belief[..., None]) * decided
    return _Carried(carried.key, drawn, carried.alone, frame, planes, belief)


def _grid(like: np.ndarray) -> np.ndarray:
    """Return each pixel's own place (x, y), float32 [H, W, 2]."""
    rows, columns = np.indices(like.shape[:2], np.float32)
    return np.dstack([columns, rows])


def _sampled(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Sample between pixels at places (x, y), the border continued."""
    return np.asarray(
        cv2.remap(values, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    )


def _decided(
    frame: np.ndarray,
    planes: np.ndarray,
    holds: np.ndarray,
    still: np.ndarray,
    sources: list[_Source],
) -> np.ndarray:
    """Decide anew which label a pixel near an edge has, by flow and by colour.

    After Bai et al., "Video SnapCut" (2009): what flow carries and what the colours of the place
    say are weighed by how far the flow holds. Differs: the colours are one histogram over place
    and colour, and the edge is a guided filter's, not a graph cut's. Where nothing moves the
    planes stay.
    """
    scale = max(frame.shape) / _WIDTH
    near = cv2.split(cv2.blur(planes, _square(_BAND * scale)))
    band = (np.maximum.reduce(near) < 0.999) & ~still
    if not band.any():
        return planes
    likely = _likely(frame, band, sources, scale)
    power = (_FLOW + _SURE_FLOW * holds[band])[:, None]
    shares = planes.copy()
    shares[band] = _normal(np.maximum(planes[band], _LEAST) ** power * likely**_COLOUR)
    part = _around(band, round(2 * _EDGE * scale) + 2)
    colours = frame[part].astype(np.float32) / 255
    shares[part] = _guided(colours, shares[part], band[part], _square(_EDGE * scale))
    sharp = _normal(np.clip(shares[band], 0, 1) ** 2 + 1e-9)
    decided = planes.copy()
    decided[band] = _normal(np.where(sharp < 0.04 / planes.shape[2], 0, sharp))
    return decided


def _normal(shares: np.ndarray) -> np.ndarray:
    return np.asarray(shares / shares.sum(axis=-1, keepdims=True))


def _square(radius: float) -> tuple[int, int]:
    side = 2 * max(2, round(radius)) + 1
    return side, side


def _around(band: np.ndarray, margin: int) -> tuple[slice, slice]:
    """Return the smallest part of the frame that holds the band and a margin."""
    spans = (np.flatnonzero(band.any(axis=axis)) for axis in (1, 0))
    rows, columns = (slice(max(0, s[0] - margin), s[-1] + margin + 1) for s in spans)
    return rows, columns


def _likely(
    frame: np.ndarray,
    band: np.ndarray,
    sources: list[_Source],
    scale: float,
) -> np.ndarray:
    """Return float32 [N, K]: how likely each label is at the N pixels of the band, by colour."""
    rows, columns = np.nonzero(band)
    places = np.column_stack([columns, rows])
    likely = np.float32(1 / sources[0].planes.shape[2])
    few = _FEW * scale * scale
    for cell in _CELLS:
        counts = _counted(sources, frame.shape, cell * scale)
        index = _bins(frame[band], places, counts.shape, cell * scale)
        found = counts.reshape(-1, counts.shape[-1])[index]
        likely = (found + few * likely) / (found.sum(axis=1, keepdims=True) + few)
    return np.maximum(likely, _LEAST)


def _counted(sources: list[_Source], shape: tuple[int, ...], cell: float) -> np.ndarray:
    """Return the smoothed histogram of labels, [rows, columns, red, green, blue, K]."""
    labels = sources[0].planes.shape[2]
    sides = (int(side / cell) + 2 for side in shape[:2])
    counts = np.zeros((*sides, _BINS, _BINS, _BINS, labels), np.float32)
    for source in sources:
        index = _bins(source.colours, source.places, counts.shape, cell)[..., None] * labels
        index = (index + np.arange(labels)).ravel()
        counts += np.bincount(index, source.planes.ravel(), counts.size).reshape(counts.shape)
    for axis in range(5):
        counts = np.moveaxis(counts, axis, 0)
        wider = counts / 2
        wider[1:] += counts[:-1] / 4
        wider[:-1] += counts[1:] / 4
        counts = np.moveaxis(wider, 0, axis)
    return counts


def _bins(
    colours: np.ndarray, places: np.ndarray, shape: tuple[int, ...], cell: float
) -> np.ndarray:
    """Return where in a histogram of this shape colours at these places count."""
    column, row = (np.rint(places[..., i] / cell).astype(np.intp) for i in (0, 1))
    red, green, blue = (colours[..., i].astype(np.intp) * _BINS // 256 for i in range(3))
    return np.ravel_multi_index((row, column, red, green, blue), shape[:5], mode="clip")


def _guided(
    image: Image, planes: np.ndarray, band: np.ndarray, square: tuple[int, int]
) -> np.ndarray:
    """Fit planes to the edges of the image (He et al., "Guided Image Filtering", 2010).

    Differs: the result holds in the band only, so that little is solved.
    """

    def mean(values: np.ndarray) -> np.ndarray:
        return cv2.blur(values.reshape(*band.shape, -1), square).reshape(values.shape)

    wide = cv2.dilate(band.astype(np.uint8), np.ones(square, np.uint8)) > 0
    colour, share = mean(image), mean(planes)
    spread = mean(_outer(image, image))[wide]
    spread += _FLAT * np.eye(3, dtype=np.float32) - _outer(colour[wide], colour[wide])
    common = mean(_outer(image, planes))[wide]
    slope = np.zeros((*band.shape, 3, planes.shape[2]), np.float32)
    slope[wide] = np.linalg.solve(spread, common - _outer(colour[wide], share[wide]))
    offset = share - np.einsum("hwc,hwck->hwk", colour, slope)
    return np.einsum("hwc,hwck->hwk", image, mean(slope)) + mean(offset)


def _outer(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.asarray(a[..., :, None] * b[..., None, :])
