"""Fades and flashes: the light a film's frames are shown in, so that a fade dims the painting.

Painted as it stands, a black frame becomes a full picture, and every step into the dark another
one. So what fades is painted in full light, and the fade is done again to the result:
frame = c + g (full - c). A fade is found by its end, a flat frame of colour c, where g is 0; a
flash by the frames before and after it, which are alike.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import cv2
import numpy as np

from vidstyle.image import Image

__all__ = ["THUMBNAIL", "Fade", "fades", "thumbnail"]

THUMBNAIL = 16  # pixels of a thumbnail's sides
_FLAT = 0.02  # of 1: what differs by less within a thumbnail shows nothing
_STEP = 1.005  # the contrast of a frame over that of the next one into the dark, at least
_ALIKE = 0.95  # cosine of the angle between these, at least; over a cut it is less
_SUDDEN = 0.7  # the gain of the frame beside a flat one, from which on that is a cut
_FADED = 0.98  # the gain below which light is missed
_SHORT = 6  # frames of a flash, at most
_MIXED, _LIT = 0.85, 0.95  # the gain of some frame in a flash, at most; of the frame after it
_STILL = 0.85  # the cosine between what is shown before a flash and in it, at least
_LEAST = 0.05  # the gain below which there is nothing left to paint


@dataclass(frozen=True)
class Fade:
    """How a frame is faded. gain: 1 in full light, 0 where nothing shows; colour: [3], in 0..1."""

    gain: float
    colour: np.ndarray

    @property
    def is_out(self) -> bool:
        """Whether too little shows to be painted."""
        return self.gain < _LEAST

    def lifted(self, frame: Image) -> Image:
        """Return the frame in full light; as it is where it is out."""
        if self.is_out:
            return frame
        return np.clip(self.colour + (frame - self.colour) / np.float32(self.gain), 0, 1)

    def dimmed(self, result: Image) -> Image:
        """Return a picture made of the lifted frame in this light."""
        if self.is_out:
            return result
        return np.asarray(self.colour + (result - self.colour) * np.float32(self.gain))


def thumbnail(frame: Image) -> np.ndarray:
    """Return what `lights` needs of a frame: float16 [16, 16, 3]."""
    return cv2.resize(frame, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA).astype(
        np.float16
    )


def fades(thumbnails: Iterable[np.ndarray]) -> dict[int, Fade]:
    """Return the light of each frame that is not in full light, by its place in the film.

    A film that is flat from end to end is in full light.
    """
    film = list(thumbnails)  # in 16 bits: a film has many frames
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
    """Yield the place and light of each frame of a flash."""
    place = 1
    while place < len(film):
        lit = _flash(film[place - 1], film[place : place + _SHORT + 1])
        yield from enumerate(lit, place)
        place += max(1, len(lit))


def _flash(before: np.ndarray, coming: Sequence[np.ndarray]) -> list[Fade]:
    """Return the light of each frame until all is as before; none if it is not, or never was else.

    Each is taken for a mixture of the frame before, as it is, with a colour.
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
        if abs(colour - 0.5).max() > 0.55:  # no colour, but for a little error
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
    """Yield the place and gain of each frame on the way from a flat one to the first in full light.

    After a cut to a flat frame there is none: its neighbour shows nearly as much as what follows.
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
    """Say whether the same is shown in more light; what is nearly flat shows nothing."""
    less, more = _size(darker), _size(lighter)
    if more < _STEP * less:
        return False
    return bool(np.ptp(darker) < _FLAT or np.mean(darker * lighter) > _ALIKE * less * more)
