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

from vidstyle.coherence.parameters import FadeParameters
from vidstyle.image import Image

__all__ = ["THUMBNAIL", "Fade", "fades", "thumbnail"]

THUMBNAIL = 16  # pixels; side of a thumbnail
_DEFAULTS = FadeParameters()


@dataclass(frozen=True)
class Fade:
    """The fade of a frame. gain: 1 in full light, 0 in a flat frame. colour: [3], RGB, 0..1.

    is_out: whether the frame is too faint to be stylised.
    """

    gain: float
    colour: np.ndarray
    is_out: bool = False

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


def fades(
    thumbnails: Iterable[np.ndarray], parameters: FadeParameters = _DEFAULTS
) -> dict[int, Fade]:
    """Return the fades by frame position; frames in full light are left out.

    thumbnails: of all frames, in order. A film of flat frames only has no fades.
    """
    film = list(thumbnails)  # float16, to save memory
    spread = [float(np.ptp(thumb, axis=(0, 1)).max()) for thumb in film]
    found: dict[int, Fade] = {}
    for is_flat, run in groupby(range(len(film)), lambda place: spread[place] < parameters.flat):
        places = list(run)
        if not is_flat or len(places) == len(film):
            continue
        colour = _mean(film[min(places, key=spread.__getitem__)])
        found |= dict.fromkeys(places, _fade(0.0, colour, parameters))
        around = range(places[0] - 1, -1, -1), range(places[-1] + 1, len(film))
        for way in around:
            for place, gain in _ramp(film, way, colour, parameters):
                if place not in found or gain < found[place].gain:
                    found[place] = _fade(gain, colour, parameters)
    return {**dict(_flashes(film, parameters)), **found}


def _fade(gain: float, colour: np.ndarray, parameters: FadeParameters) -> Fade:
    return Fade(gain, colour, is_out=gain < parameters.faded_out)


def _flashes(film: Sequence[np.ndarray], parameters: FadeParameters) -> Iterator[tuple[int, Fade]]:
    """Yield the position and fade of each frame of each flash."""
    place = 1
    while place < len(film):
        coming = film[place : place + parameters.longest_flash + 1]
        flash = _flash(film[place - 1], coming, parameters)
        yield from enumerate(flash, place)
        place += max(1, len(flash))


def _flash(
    before: np.ndarray, coming: Sequence[np.ndarray], parameters: FadeParameters
) -> list[Fade]:
    """Return the fades of the frames of a flash that begins with `coming`; empty if there is none.

    Each frame is modelled as `before` mixed with a colour. The flash must end within `coming`.
    """
    found: list[Fade] = []
    mean_before = _mean(before)
    full = before - mean_before
    for thumb in coming:
        mean = _mean(thumb)
        shown = thumb - mean
        gain = _size(shown) / max(_size(full), 1e-6)
        least = parameters.flash_cosine * _size(full) * _size(shown)
        if gain > parameters.faded_out and np.mean(full * shown) < least:
            return []
        if gain > parameters.flash_end:
            return found if any(fade.gain < parameters.flash_gain for fade in found) else []
        colour = (mean - gain * mean_before) / (1 - gain)
        if abs(colour - 0.5).max() > 0.5 + parameters.flash_color_margin:
            return []
        found.append(_fade(gain, np.clip(colour, 0, 1), parameters))
    return []


def _mean(thumb: np.ndarray) -> np.ndarray:
    """Return the mean colour: float32 [3]."""
    return np.asarray(thumb.mean(axis=(0, 1), dtype=np.float32))


def _size(values: np.ndarray) -> float:
    """Return the root mean square."""
    return float(np.sqrt(np.square(values).mean()))


def _ramp(
    film: Sequence[np.ndarray], way: Iterable[int], colour: np.ndarray, parameters: FadeParameters
) -> Iterator[tuple[int, float]]:
    """Yield the position and gain of each frame of a fade, from a flat frame along `way`.

    Empty at a cut to a flat frame: the neighbour's contrast is near the largest.
    """
    shown: list[tuple[int, np.ndarray]] = []
    for place in way:
        apart = film[place] - colour
        if shown and not _rises(shown[-1][1], apart, parameters):
            break
        shown.append((place, apart))
    sizes = [_size(apart) for _, apart in shown]
    if not sizes or sizes[0] > parameters.cut_gain * sizes[-1]:
        return
    for (place, _), size in zip(shown, sizes, strict=True):
        if size < parameters.full_light * sizes[-1]:
            yield place, size / sizes[-1]


def _rises(darker: np.ndarray, lighter: np.ndarray, parameters: FadeParameters) -> bool:
    """Return whether `lighter` is `darker` at higher contrast; a flat `darker` fits any content."""
    less, more = _size(darker), _size(lighter)
    if more < parameters.least_step * less:
        return False
    is_alike = np.mean(darker * lighter) > parameters.least_cosine * less * more
    return bool(np.ptp(darker) < parameters.flat or is_alike)
