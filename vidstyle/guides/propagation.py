"""Propagation of masks and label maps from key frames to all frames along the optical flow.

Planes are float32 [H, W, K], 0..1. Hard planes are a label map: one-hot at each pixel, or a single
binary mask. Soft planes are K independent masks.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import cv2
import numpy as np

from vidstyle.errors import GuideError
from vidstyle.guides.mending import Mend
from vidstyle.image import Image
from vidstyle.motion.flow import optical_flow
from vidstyle.motion.occlusion import confidence, is_cut
from vidstyle.motion.warp import warp
from vidstyle.segmentation.matting import around, guided_filter, square

__all__ = ["Opening", "OpticalFlow", "Tracked", "track"]

OpticalFlow = Callable[[Image, Image], np.ndarray]
Opening = Callable[[int, np.ndarray], np.ndarray]  # frame index, uint8 [H, W, 3] -> planes


# Edges of hard planes: sizes in pixels of a frame of _WIDTH, tuned on DAVIS; others in proportion.
_WIDTH = 854
_BAND = 10  # pixels; labels this near to an edge are reclassified
_EDGE = 4  # pixels; radius of the guided filter
_FLAT = 4e-4  # of 1; variance below which the guided filter sees no edge
_CELLS = (256, 64)  # pixels; cells of the colour histogram, the coarser is the finer's prior
_BINS = 16  # per channel
_PRIOR_PIXELS = 0.5  # weight of the coarser histogram in the finer
_KEY_WEIGHT = 4.0  # of a pixel of the key frame, relative to one of the previous frame
_FLOW, _CONSISTENT_FLOW, _COLOUR = 0.5, 1.0, 0.5  # exponents of the propagated and colour terms
_MIN_PROBABILITY = 0.01  # of either term
_CONSISTENCY = 2.0  # pixels; forward-backward error at which the confidence falls to 1 / e
_MIN_CONFIDENCE = 0.02  # added to both sides of a blend
_PATIENCE = 24  # frames after the last key frame that wait for a mended one, to be blended


@dataclass(frozen=True)
class Tracked:
    """Planes [H, W, K] of a frame, uint8 [H, W, 3], and the key frames that they come from."""

    index: int
    planes: np.ndarray
    keys: tuple[int, ...]
    frame: np.ndarray


@dataclass(frozen=True)
class _Samples:
    """Every second pixel of a frame, as training data of the colour model.

    colours: uint8 [h, w, 3]. planes: [h, w, K], labels times the weight of a pixel. positions:
    [h, w, 2], (x, y) in the current frame.
    """

    colours: np.ndarray
    planes: np.ndarray
    positions: np.ndarray


@dataclass(frozen=True)
class _Propagated:
    """The planes of one key frame at a frame (uint8), with their confidence [H, W], 0..1.

    samples: of the key frame. binary: the guide is a single hard plane; `planes` then has its
    complement as well.
    """

    key: int
    samples: _Samples
    binary: bool
    frame: np.ndarray
    planes: np.ndarray
    confidence: np.ndarray


@dataclass
class _PendingFrame:
    """A frame (uint8) buffered until the next key frame.

    flows: to the previous frame and back, float16; None: first of a shot. planes, confidence: from
    the previous key frame, uint8.
    """

    index: int
    frame: np.ndarray
    flows: tuple[np.ndarray, np.ndarray] | None
    planes: np.ndarray | None = None
    confidence: np.ndarray | None = None


def track(
    frames: Iterable[Image],
    keys: Mapping[int, np.ndarray],
    *,
    hard: bool,
    flow: OpticalFlow = optical_flow,
    opening: Opening | None = None,
    mend: Mend | None = None,
) -> Iterator[Tracked]:
    """Propagate the planes of key frames to all frames, and yield them in order.

    keys: planes [H, W, K] by frame index. hard: the planes are a label map and stay one-hot; their
    edges are reclassified by colour. flow: the optical flow between two frames. opening: returns
    the planes of the first frame of a shot without key frame. mend: called with each frame after a
    key frame and the planes propagated to it; returns better planes, which make it a key frame, or
    None.

    Between two key frames, planes are propagated from both and blended by confidence and distance;
    before the first and after the last, from one. Nothing is propagated across a cut. Raises
    GuideError for planes that do not fit the frame or each other, and for a shot without key frame
    and without `opening`.

    Reads each frame and key once, in order. Buffers the frames between two keys at 12 + K bytes
    per pixel; after the last key, one frame.
    """
    last = max(keys, default=-1)
    pending: list[_PendingFrame] = []
    propagated: _Propagated | None = None
    for buffered in _with_flows(frames, flow):
        if buffered.flows is None:
            yield from _from_one_key(pending, propagated, hard, opening)
            pending, propagated = [], None
        planes = keys.get(buffered.index)
        if planes is not None and mend is not None:
            mend.at_key(buffered.index, buffered.frame, planes)
        done = buffered.index > last and (mend is None or len(pending) >= _PATIENCE)
        if planes is None and done and buffered.flows is None and opening is not None:
            planes = opening(buffered.index, buffered.frame)
        if planes is None and propagated is not None and buffered.flows is not None:
            propagated = _carried(propagated, buffered, hard)
            if mend is not None:
                carried = _output(propagated.planes, propagated.binary, hard)
                planes = mend(buffered.index, buffered.frame, carried)
        if planes is not None:
            at_key = _at_key(buffered, planes, hard)
            yield from _between_keys(pending, propagated, buffered, at_key, hard)
            made = _output(at_key.planes, at_key.binary, hard)
            yield Tracked(buffered.index, made, (at_key.key,), buffered.frame)
            pending, propagated = [], at_key
            continue
        pending.append(buffered)
        if done:
            yield from _from_one_key(pending, propagated, hard, opening)
            pending = []
    yield from _from_one_key(pending, propagated, hard, opening)


def _carried(propagated: _Propagated, buffered: _PendingFrame, hard: bool) -> _Propagated:
    """Propagate to the next frame, and keep the planes and their confidence with it."""
    assert buffered.flows is not None
    propagated = _propagate(propagated, buffered.frame, buffered.flows, hard)
    buffered.planes = _uint8(propagated.planes)
    buffered.confidence = _uint8(propagated.confidence)
    return propagated


def _with_flows(frames: Iterable[Image], flow: OpticalFlow) -> Iterator[_PendingFrame]:
    before: Image | None = None
    for index, frame in enumerate(frames):
        flows = None if before is None else _flows(before, frame, flow)
        yield _PendingFrame(index, _uint8(frame), flows)
        before = frame


def _uint8(values: np.ndarray) -> np.ndarray:
    return np.rint(values * 255).astype(np.uint8)


def _flows(before: Image, frame: Image, flow: OpticalFlow) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the flows from `frame` to `before` and back, float16; None across a cut."""
    if before.shape != frame.shape:
        return None
    back, ahead = flow(frame, before), flow(before, frame)
    if is_cut(confidence(back, ahead, before, frame), before, frame):
        return None
    return back.astype(np.float16), ahead.astype(np.float16)


def _at_key(buffered: _PendingFrame, planes: np.ndarray, hard: bool) -> _Propagated:
    """Return a key frame's own planes, before propagation. Raises GuideError for another shape."""
    height, width = buffered.frame.shape[:2]
    if planes.ndim != 3 or planes.shape[:2] != (height, width):
        raise GuideError(
            f"key frame {buffered.index}: expected planes of shape ({height}, {width}, K), "
            f"got {planes.shape}; draw it at the size of its frame"
        )
    binary = hard and planes.shape[2] == 1
    if hard:
        planes = _one_hot(np.dstack([1 - planes, planes]) if binary else planes)
    samples = _samples(buffered.frame, planes * _KEY_WEIGHT, _grid(planes))
    certain = np.ones((height, width), np.float32)
    return _Propagated(buffered.index, samples, binary, buffered.frame, planes, certain)


def _one_hot(planes: np.ndarray) -> np.ndarray:
    """Return 1 in the highest plane of each pixel (the first of equals), 0 in the others."""
    return np.eye(planes.shape[2], dtype=np.float32)[planes.argmax(axis=2)]


def _output(planes: np.ndarray, binary: bool, hard: bool) -> np.ndarray:
    """Return propagated planes in the form of the key frame's planes."""
    planes = _one_hot(planes) if hard else planes
    return planes[..., 1:] if binary else planes


def _samples(frame: np.ndarray, planes: np.ndarray, positions: np.ndarray) -> _Samples:
    return _Samples(*(np.ascontiguousarray(a[::2, ::2]) for a in (frame, planes, positions)))


def _from_one_key(
    pending: list[_PendingFrame],
    propagated: _Propagated | None,
    hard: bool,
    opening: Opening | None,
) -> Iterator[Tracked]:
    """Yield the frames after the last key frame of a shot. Raises GuideError without one."""
    if pending and propagated is None and opening is not None:
        propagated = _opened(pending, hard, opening)
    for buffered in pending:
        if buffered.planes is None or propagated is None:
            raise GuideError(
                f"no key frame in the shot that begins at frame {buffered.index}: guides are not "
                f"propagated across a cut; draw one for frame {buffered.index}"
            )
        planes = buffered.planes.astype(np.float32) / 255
        made = _output(planes, propagated.binary, hard)
        yield Tracked(buffered.index, made, (propagated.key,), buffered.frame)


def _opened(pending: list[_PendingFrame], hard: bool, opening: Opening) -> _Propagated:
    """Propagate the planes of `opening` at the first frame of a shot to the others."""
    first, *others = pending
    propagated = _at_key(first, opening(first.index, first.frame), hard)
    first.planes = _uint8(propagated.planes)
    for buffered in others:
        propagated = _carried(propagated, buffered, hard)
    return propagated


def _between_keys(
    pending: list[_PendingFrame],
    left: _Propagated | None,
    end: _PendingFrame,
    right: _Propagated,
    hard: bool,
) -> Iterator[Tracked]:
    """Propagate the right key frame back over the pending frames, and yield the blends."""
    if left is not None and left.planes.shape != right.planes.shape:
        counts = f"{left.planes.shape[2]} and {right.planes.shape[2]}"
        raise GuideError(
            f"key frames {left.key} and {right.key}: expected the same number of planes, "
            f"got {counts}; draw both with the same labels"
        )
    propagated, later = right, end.flows
    for position, buffered in reversed(list(enumerate(pending, 1))):
        if later is not None:
            propagated = _propagate(propagated, buffered.frame, later[::-1], hard)
        buffered.planes = _uint8(_blended(buffered, propagated, position / (len(pending) + 1)))
        later = buffered.flows
    keys = (right.key,) if left is None else (left.key, right.key)
    for buffered in pending:
        planes = np.asarray(buffered.planes, np.float32) / 255
        made = _output(planes, right.binary, hard)
        yield Tracked(buffered.index, made, keys, buffered.frame)


def _blended(buffered: _PendingFrame, right: _Propagated, share: float) -> np.ndarray:
    """Blend the planes of two keys; share: 0..1, from the left key to the right."""
    if buffered.planes is None or buffered.confidence is None:
        return right.planes
    one = ((1 - share) * (buffered.confidence.astype(np.float32) / 255 + _MIN_CONFIDENCE))[
        ..., None
    ]
    two = (share * (right.confidence + _MIN_CONFIDENCE))[..., None]
    return (one * (buffered.planes.astype(np.float32) / 255) + two * right.planes) / (one + two)


def _propagate(
    propagated: _Propagated, frame: np.ndarray, flows: tuple[np.ndarray, np.ndarray], hard: bool
) -> _Propagated:
    """Propagate to the adjacent `frame`; flows: from it to `propagated.frame`, and back."""
    back, ahead = (each.astype(np.float32) for each in flows)
    there = _grid(back) + back
    error = np.hypot(*cv2.split(_sampled(ahead, there) + back))
    consistency = np.exp(-error / _CONSISTENCY)
    confidence = _sampled(propagated.confidence, there) * consistency
    positions = propagated.samples.positions + _sampled(ahead, propagated.samples.positions)
    samples = replace(propagated.samples, positions=positions)
    planes = _sampled(propagated.planes, there) if hard else warp(propagated.planes, back)
    planes = planes.reshape(propagated.planes.shape)
    if hard:
        static = (error == 0) & (np.hypot(*cv2.split(back)) == 0)
        before = _samples(propagated.frame, propagated.planes, _grid(ahead) + ahead)
        refined = _refined(frame, planes, consistency, static, [samples, before])
        planes = confidence[..., None] * planes + (1 - confidence[..., None]) * refined
    return _Propagated(propagated.key, samples, propagated.binary, frame, planes, confidence)


def _grid(like: np.ndarray) -> np.ndarray:
    """Return the position (x, y) of each pixel: float32 [H, W, 2]."""
    rows, columns = np.indices(like.shape[:2], np.float32)
    return np.dstack([columns, rows])


def _sampled(values: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Sample at positions (x, y): bilinear, replicated border."""
    return np.asarray(
        cv2.remap(values, positions, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    )


def _refined(
    frame: np.ndarray,
    planes: np.ndarray,
    consistency: np.ndarray,
    static: np.ndarray,
    samples: list[_Samples],
) -> np.ndarray:
    """Reclassify the pixels near label edges by propagated label and colour; [H, W, K].

    After Bai et al., "Video SnapCut" (2009): flow consistency weights the two terms. Differs: one
    histogram over position and colour instead of local classifiers, and a guided filter instead of
    a graph cut. Static pixels keep their planes.
    """
    scale = max(frame.shape) / _WIDTH
    near = cv2.split(cv2.blur(planes, square(_BAND * scale)))
    band = (np.maximum.reduce(near) < 0.999) & ~static
    if not band.any():
        return planes
    likelihood = _colour_likelihood(frame, band, samples, scale)
    power = (_FLOW + _CONSISTENT_FLOW * consistency[band])[:, None]
    shares = planes.copy()
    shares[band] = _normal(
        np.maximum(planes[band], _MIN_PROBABILITY) ** power * likelihood**_COLOUR
    )
    part = around(band, round(2 * _EDGE * scale) + 2)
    colours = frame[part].astype(np.float32) / 255
    shares[part] = guided_filter(colours, shares[part], band[part], square(_EDGE * scale), _FLAT)
    sharp = _normal(np.clip(shares[band], 0, 1) ** 2 + 1e-9)
    refined = planes.copy()
    refined[band] = _normal(np.where(sharp < 0.04 / planes.shape[2], 0, sharp))
    return refined


def _normal(shares: np.ndarray) -> np.ndarray:
    return np.asarray(shares / shares.sum(axis=-1, keepdims=True))


def _colour_likelihood(
    frame: np.ndarray, band: np.ndarray, samples: list[_Samples], scale: float
) -> np.ndarray:
    """Return the probability of each label at the N pixels of the band, by colour: [N, K]."""
    rows, columns = np.nonzero(band)
    positions = np.column_stack([columns, rows])
    likelihood = np.float32(1 / samples[0].planes.shape[2])
    weight = _PRIOR_PIXELS * scale * scale
    for cell in _CELLS:
        counts = _histogram(samples, frame.shape, cell * scale)
        index = _bins(frame[band], positions, counts.shape, cell * scale)
        found = counts.reshape(-1, counts.shape[-1])[index]
        likelihood = (found + weight * likelihood) / (found.sum(axis=1, keepdims=True) + weight)
    return np.maximum(likelihood, _MIN_PROBABILITY)


def _histogram(samples: list[_Samples], shape: tuple[int, ...], cell: float) -> np.ndarray:
    """Return the smoothed histogram of labels, [rows, columns, red, green, blue, K]."""
    labels = samples[0].planes.shape[2]
    sides = (int(side / cell) + 2 for side in shape[:2])
    counts = np.zeros((*sides, _BINS, _BINS, _BINS, labels), np.float32)
    for sample in samples:
        index = _bins(sample.colours, sample.positions, counts.shape, cell)[..., None] * labels
        index = (index + np.arange(labels)).ravel()
        counts += np.bincount(index, sample.planes.ravel(), counts.size).reshape(counts.shape)
    for axis in range(5):
        counts = np.moveaxis(counts, axis, 0)
        wider = counts / 2
        wider[1:] += counts[:-1] / 4
        wider[:-1] += counts[1:] / 4
        counts = np.moveaxis(wider, 0, axis)
    return counts


def _bins(
    colours: np.ndarray, positions: np.ndarray, shape: tuple[int, ...], cell: float
) -> np.ndarray:
    """Return the flat index of the histogram bin of each colour and position."""
    column, row = (np.rint(positions[..., i] / cell).astype(np.intp) for i in (0, 1))
    red, green, blue = (colours[..., i].astype(np.intp) * _BINS // 256 for i in range(3))
    return np.ravel_multi_index((row, column, red, green, blue), shape[:5], mode="clip")
