"""Propagation of masks and label maps from key frames to all frames along the optical flow.

Planes are float32 [H, W, K], 0..1. Hard planes are a label map: one-hot at each pixel, or a single
binary mask. Soft planes are K independent masks.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from vidstyle.errors import GuideError
from vidstyle.guides.label_edges import Samples, reclassified, samples_of
from vidstyle.guides.mending import Mend
from vidstyle.image import Image
from vidstyle.motion.flow import optical_flow
from vidstyle.motion.occlusion import confidence, is_cut
from vidstyle.motion.warp import warp

__all__ = ["Opening", "OpticalFlow", "Tracked", "track"]

OpticalFlow = Callable[[Image, Image], np.ndarray]
Opening = Callable[[int, np.ndarray], np.ndarray]  # frame index, uint8 [H, W, 3] -> planes


_KEY_WEIGHT = 4.0  # of a pixel of the key frame, relative to one of the previous frame
_CONSISTENCY = 2.0  # pixels; forward-backward error at which the confidence falls to 1 / e
_MIN_CONFIDENCE = 0.02  # added to both sides of a blend
_RELIABLE = 0.8  # confidence of a pixel that keeps its propagated planes when they are mended
_PATIENCE = 24  # frames after the last key frame that wait for a mended one, to be blended


@dataclass(frozen=True)
class Tracked:
    """Planes [H, W, K] of a frame, uint8 [H, W, 3], and the key frames that they come from."""

    index: int
    planes: np.ndarray
    keys: tuple[int, ...]
    frame: np.ndarray


@dataclass(frozen=True)
class _Propagated:
    """The planes of one key frame at a frame (uint8), with their confidence [H, W], 0..1.

    samples: of the key frame. binary: the guide is a single hard plane; `planes` then has its
    complement as well.
    """

    key: int
    samples: Samples
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
    key frame, the planes propagated to it and their confidence; returns better planes, or None.
    They replace the propagated ones where those are not reliable, and the frame becomes a key.

    Between two key frames, planes are propagated from both and blended by confidence and distance;
    before the first and after the last, from one. Nothing is propagated across a cut. Raises
    GuideError for planes that do not fit the frame or each other, and for a shot without key frame
    and without `opening`.

    Reads each frame and key once, in order. Buffers the frames between two keys at 12 + K bytes
    per pixel; after the last key, one frame.
    """
    tracker = _Tracker(keys, hard, opening, mend)
    for buffered in _with_flows(frames, flow):
        yield from tracker.add(buffered)
    yield from tracker.end_shot()


@dataclass
class _Tracker:
    """Propagates planes; the first four fields are arguments of `track`.

    pending: frames that are not yet yielded. propagated: the planes of the last key frame of this
    shot, at the newest frame.
    """

    keys: Mapping[int, np.ndarray]
    hard: bool
    opening: Opening | None
    mend: Mend | None
    pending: list[_PendingFrame] = field(default_factory=list)
    propagated: _Propagated | None = None

    def add(self, buffered: _PendingFrame) -> Iterator[Tracked]:
        """Take the next frame, and yield the frames whose planes are known now."""
        if buffered.flows is None:
            yield from self.end_shot()
            self.propagated = None
        waits = self.mend is not None and len(self.pending) < _PATIENCE
        is_last = buffered.index > max(self.keys, default=-1) and not waits
        planes = self._key_planes(buffered, is_last)
        if planes is not None:
            yield from self._take_key(buffered, planes)
            return
        self.pending.append(buffered)
        if is_last:
            yield from self._release()

    def _take_key(self, buffered: _PendingFrame, planes: np.ndarray) -> Iterator[Tracked]:
        """Yield the pending frames and the key frame that follows them."""
        at_key = _at_key(buffered, planes, self.hard)
        yield from _between_keys(self.pending, self.propagated, buffered, at_key, self.hard)
        made = _output(at_key.planes, at_key.binary, self.hard)
        yield Tracked(buffered.index, made, (at_key.key,), buffered.frame)
        self.pending, self.propagated = [], at_key

    def _key_planes(self, buffered: _PendingFrame, is_last: bool) -> np.ndarray | None:
        """Return the planes of a key frame; propagate to any other frame, and mend its planes."""
        if buffered.index in self.keys:
            planes = self.keys[buffered.index]
            if self.mend is not None:
                self.mend.at_key(buffered.index, buffered.frame, planes)
            return planes
        if buffered.flows is None:
            if is_last and self.opening is not None:
                return self.opening(buffered.index, buffered.frame)
        elif self.propagated is not None:
            self.propagated = _carried(self.propagated, buffered, self.hard)
            if self.mend is not None:
                return self._mended(self.propagated, buffered, self.mend)
        return None

    def _mended(
        self,
        propagated: _Propagated,
        buffered: _PendingFrame,
        mend: Callable[[int, np.ndarray, np.ndarray, np.ndarray], np.ndarray | None],
    ) -> np.ndarray | None:
        """Return the mended planes of the newest frame; None if they stay as they are."""
        carried = _output(propagated.planes, propagated.binary, self.hard)
        planes = mend(buffered.index, buffered.frame, carried, propagated.confidence)
        if planes is None:
            return None
        return np.where(propagated.confidence[..., None] > _RELIABLE, carried, planes)

    def end_shot(self) -> Iterator[Tracked]:
        """Yield the pending frames of a shot that ends. Raises GuideError without a key frame.

        Its last frame is mended, so that those before it are propagated to from both sides.
        """
        if self.mend is not None and self.propagated is not None and self.pending:
            last = self.pending[-1]
            planes = self._mended(self.propagated, last, self.mend.at_last)
            if planes is not None:
                self.pending.pop()
                yield from self._take_key(last, planes)
        yield from self._release()

    def _release(self) -> Iterator[Tracked]:
        """Yield the pending frames, after the last key frame. Raises GuideError without one."""
        if self.pending and self.propagated is None and self.opening is not None:
            first, *others = self.pending
            self.propagated = _at_key(first, self.opening(first.index, first.frame), self.hard)
            first.planes = _uint8(self.propagated.planes)
            for buffered in others:
                self.propagated = _carried(self.propagated, buffered, self.hard)
        for buffered in self.pending:
            if buffered.planes is None or self.propagated is None:
                raise GuideError(
                    f"no key frame in the shot that begins at frame {buffered.index}: guides are "
                    f"not propagated across a cut; draw one for frame {buffered.index}"
                )
            planes = buffered.planes.astype(np.float32) / 255
            made = _output(planes, self.propagated.binary, self.hard)
            yield Tracked(buffered.index, made, (self.propagated.key,), buffered.frame)
        self.pending = []


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
    samples = samples_of(buffered.frame, planes * _KEY_WEIGHT, _grid(planes))
    certain = np.ones((height, width), np.float32)
    return _Propagated(buffered.index, samples, binary, buffered.frame, planes, certain)


def _one_hot(planes: np.ndarray) -> np.ndarray:
    """Return 1 in the highest plane of each pixel (the first of equals), 0 in the others."""
    return np.eye(planes.shape[2], dtype=np.float32)[planes.argmax(axis=2)]


def _output(planes: np.ndarray, binary: bool, hard: bool) -> np.ndarray:
    """Return propagated planes in the form of the key frame's planes."""
    planes = _one_hot(planes) if hard else planes
    return planes[..., 1:] if binary else planes


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
        before = samples_of(propagated.frame, propagated.planes, _grid(ahead) + ahead)
        refined = reclassified(frame, planes, consistency, static, [samples, before])
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
