"""Fades and flashes: detected in the source, removed before stylising, applied to the result.

Stylised as it is, a black frame gets a full set of strokes, and every step of a fade another one.
So faded frames are stylised in full light, and the fade is applied to the output image:
frame = c + g (full - c), with gain g and colour c. A fade is detected by its end, a flat frame of
colour c, where g = 0; a flash by the similar frames before and after it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import cv2
import numpy as np

from vidstyle.image import Image

__all__ = ["THUMBNAIL", "Fade", "fades", "thumbnail"]

THUMBNAIL = 16  # pixels; side of a thumbnail
_FLAT = 0.02  # of 1; a thumbnail with a smaller range of values is flat
_STEP = 1.005  # least ratio of the contrasts of two neighbouring frames of a fade
_ALIKE = 0.95  # least cosine between two neighbouring frames of a fade; over a cut it is less
_SUDDEN = 0.7  # gain of the frame next to a flat one; above it there is a cut and no fade
_FADED = 0.98  # gain; a frame above it is in full light
_SHORT = 6  # frames; longest flash
_MIXED, _LIT = 0.85, 0.95  # gain; a flash falls below the first and ends above the second
_STILL = 0.85  # least cosine between a frame of a flash and the frame before the flash
_LEAST = 0.05  # gain; a frame below it is faded out and not stylised


@dataclass(frozen=True)
class Fade:
    """The fade of a frame. gain: 1 in full light, 0 in a flat frame. colour: [3], RGB, 0..1."""

    gain: float
    colour: np.ndarray

    @property
    def is_out(self) -> bool:
        """Whether the frame is too faint to be stylised."""
        return self.gain < _LEAST

    def lifted(self, frame: Image) -> Image:
        """Return the frame in full light, or unchanged if it is faded out."""
        if self.is_out:
            return frame
        return np.clip(self.colour + (frame - self.colour) / np.float32(self.gain), 0, 1)

    def dimmed(self, result: Image) -> Image:
        """Return the result with the fade applied, or unchanged if the frame is faded out."""
        if self.is_out:
            return result
        return np.asarray(self.colour + (result - self.colour) * np.float32(self.gain))


def thumbnail(frame: Image) -> np.ndarray:
    """Return a frame's thumbnail for `fades`: float16 [16, 16, 3]."""
    return cv2.resize(frame, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA).astype(
        np.float16
    )


def fades(thumbnails: Iterable[np.ndarray]) -> dict[int, Fade]:
    """Return the fades by frame position; frames in full light are left out.

    thumbnails: of all frames, in order. A film of flat frames only has no fades.
    """
    film = list(thumbnails)  # float16, to save memory
    spread = [float(np.ptp(thumb, axis=(0, 1)).max()) for thumb in film]
    found: dict[int, Fade] = {}
    for is_flat, run in groupby(range(len(film)), lambda place: spread[place] < _FLAT):
        places = list(run)
        if not is_flat or len(places) == len(film):
            continue
        colour = _mean(film[min(places, key=spread.__getitem__)])
        found |= dict.fromkeys(places, Fade(0.0, colour))
        around = range(places[0] - 1, -1, -1), range(places[-1] + 1, len(film))
        for way in around:
            for place, gain in _ramp(film, way, colour):
                if place not in found or gain < found[place].gain:
                    found[place] = Fade(gain, colour)
    return {**dict(_flashes(film)), **found}


def _flashes(film: Sequence[np.ndarray]) -> Iterator[tuple[int, Fade]]:
    """Yield the position and fade of each frame of each flash."""
    place = 1
    while place < len(film):
        lit = _flash(film[place - 1], film[place : place + _SHORT + 1])
        yield from enumerate(lit, place)
        place += max(1, len(lit))


def _flash(before: np.ndarray, coming: Sequence[np.ndarray]) -> list[Fade]:
    """Return the fades of the frames of a flash that begins with `coming`; empty if there is none.

    Each frame is modelled as `before` mixed with a colour. The flash must end within `coming`.
    """
    found: list[Fade] = []
    usual = _mean(before)
    full = before - usual
    for thumb in coming:
        mean = _mean(thumb)
        shown = thumb - mean
        gain = _size(shown) / max(_size(full), 1e-6)
        if gain > _LEAST and np.mean(full * shown) < _STILL * _size(full) * _size(shown):
            return []
        if gain > _LIT:
            return found if any(fade.gain < _MIXED for fade in found) else []
        colour = (mean - gain * usual) / (1 - gain)
        if abs(colour - 0.5).max() > 0.55:  # not a colour: beyond 0..1 by more than 0.05
            return []
        found.append(Fade(gain, np.clip(colour, 0, 1)))
    return []


def _mean(thumb: np.ndarray) -> np.ndarray:
    """Return the mean colour: float32 [3]."""
    return np.asarray(thumb.mean(axis=(0, 1), dtype=np.float32))


def _size(values: np.ndarray) -> float:
    """Return the root mean square."""
    return float(np.sqrt(np.square(values).mean()))


def _ramp(
    film: Sequence[np.ndarray], way: Iterable[int], colour: np.ndarray
) -> Iterator[tuple[int, float]]:
    """Yield the position and gain of each frame of a fade, from a flat frame along `way`.

    Empty at a cut to a flat frame: the neighbour's contrast is above _SUDDEN of the largest.
    """
    shown: list[tuple[int, np.ndarray]] = []
    for place in way:
        apart = film[place] - colour
        if shown and not _rises(shown[-1][1], apart):
            break
        shown.append((place, apart))
    sizes = [_size(apart) for _, apart in shown]
    if not sizes or sizes[0] > _SUDDEN * sizes[-1]:
        return
    for (place, _), size in zip(shown, sizes, strict=True):
        if size < _FADED * sizes[-1]:
            yield place, size / sizes[-1]


def _rises(darker: np.ndarray, lighter: np.ndarray) -> bool:
    """Return whether `lighter` is `darker` at higher contrast; a flat `darker` fits any content."""
    less, more = _size(darker), _size(lighter)
    if more < _STEP * less:
        return False
    return bool(np.ptp(darker) < _FLAT or np.mean(darker * lighter) > _ALIKE * less * more)
