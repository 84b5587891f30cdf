"""Masks of salient objects: detected at key frames, averaged along the motion of each shot.

Key frames are chosen by change: where too little of the picture can be followed from the last one.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import cv2
import numpy as np

from vidstyle import media
from vidstyle.errors import GuideError
from vidstyle.guides.averaging import MotionAverage, Step, step_between
from vidstyle.image import Image, resize, to_bytes
from vidstyle.media import Clip
from vidstyle.motion.warp import sample
from vidstyle.segmentation.u2net import (
    mask_of,
    nothing_stands_out,
    saliency_map,
    stands_out,
)

__all__ = ["AutoMasks", "KeyFrames"]

_SIDE = 256  # pixels of the long side at which motion is followed and maps are averaged
_FOLLOWED = 0.7  # of the weighted picture; a frame that shows less of the last key frame is one
_SHORTEST, _LONGEST = 5, 12  # frames from one key frame of a shot to the next
_GROUND = 0.1  # weight of what does not stand out, relative to what does


@dataclass
class KeyFrames:
    """Chooses key frames one frame after another, by the share that can be followed from the last.

    find: returns the saliency map of a frame. step: the motion from the frame before to the newest
    one, at most _SIDE pixels; None if a shot begins with it.
    """

    find: Callable[[Image], np.ndarray] = saliency_map
    step: Step | None = None
    _frame: Image | None = None
    _followed: np.ndarray = field(default_factory=lambda: np.zeros((1, 1), np.float32))
    _weight: np.ndarray = field(default_factory=lambda: np.zeros((1, 1), np.float32))
    _since: int = 0

    def advance(self, frame: Image) -> tuple[bool, np.ndarray | None]:
        """Return whether a shot begins with a frame, and its saliency map if it is a key frame.

        Every map returned has a salient area.
        """
        before = self._frame
        self._frame = resize(frame, *_reduced(frame))
        self.step = None if before is None else step_between(before, self._frame)
        self._since += 1
        if self.step is not None:
            self._follow(self.step)
            if not self._is_due():
                return False, None
        return self.step is None, self._detect(frame)

    def _detect(self, frame: Image) -> np.ndarray | None:
        """Return the saliency map of a key frame; None if nothing is salient: try again soon."""
        found = _salient(self.find(frame))
        width, height = _reduced(frame)
        self._since = 0
        self._weight = np.full((height, width), _GROUND, np.float32)
        self._followed = np.full((height, width), found is not None, np.float32)
        if found is not None:
            self._weight += cv2.resize(found, (width, height))
        return found

    def _is_due(self) -> bool:
        """Return whether the frame is a key frame, if no shot begins with it."""
        followed = float(np.average(self._followed, weights=self._weight))
        return self._since >= (_SHORTEST if followed < _FOLLOWED else _LONGEST)

    def _follow(self, step: Step) -> None:
        """Carry the share that is followed to the next frame."""
        back = step.back.astype(np.float32)
        self._followed = sample(self._followed, back) * step.followed[..., 0]
        self._weight = sample(self._weight, back)


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
        for packed, frame in zip(self._detected.means, self._frames(), strict=True):
            yield mask_of(_unpacked(packed), resize(frame, *self.size(0)))

    @property
    def _linked(self) -> bool:
        return self.clip.kind not in ("picture", "photos")

    def _frames(self) -> Iterator[Image]:
        side = max(max(self.size(position)) for position in range(len(self.indices)))
        return media.read(self.clip, self.indices, side)

    @property
    def _keys(self) -> list[int]:
        """The positions of the key frames in which something is salient."""
        return self._detected.keys

    @cached_property
    def _detected(self) -> "_Detected":
        """Raises GuideError if nothing is salient, and warns of shots in which nothing is."""
        detected = _Detected(self._frames())
        if not detected.keys:
            raise GuideError(nothing_stands_out(str(self.clip.path)))
        start = self.indices.start
        for begin, end in detected.empty:
            self.warn(
                f"{self.clip.path}: nothing stands out in frames {start + begin} to "
                f"{start + end - 1}, a whole shot: --mask auto is empty there"
            )
        return detected


class _Detected:
    """The saliency of the frames of a clip.

    means: the mean saliency of each frame, as PNG. keys: the positions of the frames with a salient
    area. empty: the shots without, each from its first position to the one after its last.
    """

    def __init__(self, frames: Iterable[Image]) -> None:
        self.means: list[bytes] = []
        self.keys: list[int] = []
        self.empty: list[tuple[int, int]] = []
        self._begin = self._count = 0
        chosen = KeyFrames()
        held: tuple[Step | None, np.ndarray | None, Image] | None = None
        for frame in frames:
            cut, found = chosen.advance(frame)
            if held is not None:
                self._add(*held, ends=cut)
            held = (chosen.step, found, frame)
        if held is not None:
            self._add(*held, ends=True)

    def _add(
        self, step: Step | None, found: np.ndarray | None, frame: Image, *, ends: bool
    ) -> None:
        """Take a frame. ends: it is the last of its shot."""
        if step is None:
            self._average = MotionAverage(_reduced(frame))
            self._begin = self._count
        if ends and found is None:  # maps then reach each frame from both sides
            found = _salient(saliency_map(frame))
        if found is not None:
            self.keys.append(self._count)
        self._count += 1
        means = list(self._average.add(step, found))
        if ends:
            means += self._average.end()
            if not self.keys or self.keys[-1] < self._begin:
                self.empty.append((self._begin, self._count))
        self.means += [bytes(cv2.imencode(".png", to_bytes(mean))[1]) for mean in means]


def _salient(found: np.ndarray) -> np.ndarray | None:
    """Return a saliency map; None without a salient area."""
    return found if stands_out(found) else None


def _reduced(frame: Image) -> tuple[int, int]:
    """Return the (width, height) at which the motion of a frame is followed."""
    height, width = frame.shape[:2]
    scale = _SIDE / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _unpacked(packed: bytes) -> np.ndarray:
    """Return a map, float32 [H, W], 0..1, from its PNG."""
    pixels = cv2.imdecode(np.frombuffer(packed, np.uint8), cv2.IMREAD_GRAYSCALE)
    return np.asarray(pixels, np.float32) / 255
