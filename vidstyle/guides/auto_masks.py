"""Masks of salient objects: detected at key frames, propagated to the frames between.

Key frames are chosen by change: where too little of the picture can be followed from the last one.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import cv2
import numpy as np

from vidstyle import media
from vidstyle.errors import GuideError
from vidstyle.guides.propagation import track
from vidstyle.image import Image, resize
from vidstyle.media import Clip
from vidstyle.motion.flow import optical_flow
from vidstyle.motion.occlusion import confidence, is_cut
from vidstyle.motion.warp import sample
from vidstyle.segmentation.matting import matted
from vidstyle.segmentation.u2net import (
    mask_of,
    nothing_stands_out,
    saliency_map,
    stands_out,
)

__all__ = ["AutoMasks", "KeyFrames"]

_THUMBNAIL = 192  # pixels of the long side of the frames in which change is measured
_FOLLOWED = 0.5  # of the weighted picture; a frame that shows less of the last key frame is one
_SHORTEST, _LONGEST = 2, 24  # frames from one key frame of a shot to the next
_TRACKED = 384  # pixels of the long side at most while masks are tracked
_GROUND = 0.1  # weight of what does not stand out, relative to what does


@dataclass
class KeyFrames:
    """Chooses key frames one frame after another, by the share that can be followed from the last.

    find: returns the saliency map of a frame.
    """

    find: Callable[[Image], np.ndarray] = saliency_map
    _before: Image | None = None
    _followed: np.ndarray = field(default_factory=lambda: np.zeros((1, 1), np.float32))
    _weight: np.ndarray = field(default_factory=lambda: np.zeros((1, 1), np.float32))
    _since: int = 0

    def advance(self, frame: Image) -> tuple[bool, np.ndarray | None]:
        """Return whether a shot begins with a frame, and its saliency map if it is a key frame.

        Every map returned has a salient area.
        """
        long = max(frame.shape[:2])
        height, width = (max(1, round(side * _THUMBNAIL / long)) for side in frame.shape[:2])
        thumbnail = resize(frame, width, height)
        cut = self._before is None or not self._follow(self._before, thumbnail)
        self._before = thumbnail
        self._since += 1
        if not (cut or self._is_due()):
            return cut, None
        found = self.find(frame)
        exists = stands_out(found)
        self._since = 0
        self._followed = np.ones((height, width), np.float32)
        self._weight = cv2.resize(found, (width, height)) * exists + np.float32(_GROUND)
        if not exists:
            self._followed[:] = 0  # the next attempt is due soon
        return cut, found if exists else None

    def _is_due(self) -> bool:
        """Return whether the frame is a key frame, if no shot begins with it."""
        followed = float(np.average(self._followed, weights=self._weight))
        return self._since >= (_SHORTEST if followed < _FOLLOWED else _LONGEST)

    def _follow(self, before: Image, thumbnail: Image) -> bool:
        """Carry the share that is followed to the next frame; return False across a cut."""
        back, ahead = optical_flow(thumbnail, before), optical_flow(before, thumbnail)
        certainty = confidence(back, ahead, before, thumbnail)
        if is_cut(certainty, before, thumbnail):
            return False
        self._followed = sample(self._followed, back) * certainty[..., 0]
        self._weight = sample(self._weight, back)
        return True


@dataclass(frozen=True)
class AutoMasks:
    """The masks of the salient objects in the frames `indices` of a clip.

    size: returns the (width, height) of the frame at a position. warn: called with warnings. The
    masks depend on the frames, their size and the network only.
    """

    clip: Clip
    indices: range
    size: Callable[[int], tuple[int, int]]
    warn: Callable[[str], None] = lambda message: None

    def check(self) -> None:
        """Raise GuideError if nothing is salient; warn of shots in which nothing is."""
        if self._linked:
            _ = self._keys
            return
        empty = [
            self.clip.files[index]
            for index, image in zip(self.indices, self._frames(), strict=True)
            if not stands_out(saliency_map(image))
        ]
        if empty:
            some = ", ".join(str(path) for path in empty[:3]) + (", …" if len(empty) > 3 else "")
            raise GuideError(nothing_stands_out(some))

    def masks(self) -> Iterator[np.ndarray]:
        """Yield the mask of each frame, float32 [H, W], 0..1. Raises GuideError as `check`."""
        if not self._linked:
            for position, image in enumerate(self._frames()):
                frame = resize(image, *self.size(position))
                yield mask_of(saliency_map(frame), frame)
            return
        size, small = self.size(0), self._tracked_size
        reduced = (resize(frame, *small) for frame in self._frames())
        made = track(reduced, _KeyPlanes(self._keys, small), hard=True, opening=_opening)
        for tracked, frame in zip(made, self._frames(), strict=True):
            plane = cv2.resize(tracked.planes[..., 0], size, interpolation=cv2.INTER_LINEAR)
            yield matted(resize(frame, *size), plane)

    @property
    def _linked(self) -> bool:
        return self.clip.kind not in ("picture", "photos")

    def _frames(self) -> Iterator[Image]:
        side = max(max(self.size(position)) for position in range(len(self.indices)))
        return media.read(self.clip, self.indices, side)

    @property
    def _tracked_size(self) -> tuple[int, int]:
        """The (width, height) at which masks are tracked; their edges are aligned afterwards."""
        width, height = self.size(0)
        scale = min(1.0, _TRACKED / max(width, height))
        return max(1, round(width * scale)), max(1, round(height * scale))

    @cached_property
    def _keys(self) -> dict[int, bytes]:
        """The saliency maps of the key frames by position, as PNG."""
        chosen = KeyFrames()
        keys: dict[int, bytes] = {}
        shots: list[int] = []
        for position, frame in enumerate(self._frames()):
            cut, found = chosen.advance(frame)
            if cut:
                shots.append(position)
            if found is not None:
                keys[position] = _packed(found)
        if not keys:
            raise GuideError(nothing_stands_out(str(self.clip.path)))
        for begin, end in zip(shots, [*shots[1:], len(self.indices)], strict=True):
            if not keys.keys() & set(range(begin, end)):
                first = self.indices.start + begin
                self.warn(
                    f"{self.clip.path}: nothing stands out in frames {first} to "
                    f"{self.indices.start + end - 1}, a whole shot: --mask auto is empty there"
                )
        return keys


@dataclass(frozen=True)
class _KeyPlanes(Mapping[int, np.ndarray]):
    """The planes [H, W, 1] of key frames at a (width, height), decoded on access."""

    maps: Mapping[int, bytes]
    size: tuple[int, int]

    def __getitem__(self, position: int) -> np.ndarray:
        packed = np.frombuffer(self.maps[position], np.uint8)
        found = np.asarray(cv2.imdecode(packed, cv2.IMREAD_GRAYSCALE), np.float32)
        return _hard(found / 255, self.size)

    def __iter__(self) -> Iterator[int]:
        return iter(self.maps)

    def __len__(self) -> int:
        return len(self.maps)


def _packed(found: np.ndarray) -> bytes:
    """Return a saliency map as the bytes of a PNG."""
    return bytes(cv2.imencode(".png", np.rint(found * 255).astype(np.uint8))[1])


def _hard(found: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return a saliency map as a binary plane [H, W, 1]."""
    return (cv2.resize(found, size) > 0.5).astype(np.float32)[..., None]


def _opening(_: int, frame: np.ndarray) -> np.ndarray:
    """Return the plane of the first frame of a shot without key frame; 0 if nothing is salient."""
    found = saliency_map(frame.astype(np.float32) / 255)
    return _hard(found * stands_out(found), (frame.shape[1], frame.shape[0]))
