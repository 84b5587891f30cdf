"""Animated stills (GIF, WebP, APNG, AVIF): every frame with its exact duration, through Pillow."""

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import accumulate
from pathlib import Path

import PIL.Image

from vidstyle.errors import MediaError
from vidstyle.media.clip import Clip, Image
from vidstyle.media.stills import open_picture, quiet, to_image

__all__ = ["durations_of", "is_animation", "loops", "probe_animation", "read_animation"]

_FORMATS = ("AVIF", "GIF", "PNG", "WEBP")
_NO_DURATION = 100  # milliseconds that browsers show a frame that names none


def is_animation(picture: PIL.Image.Image) -> bool:
    """Tell whether an open picture moves (a TIFF of several pages does not)."""
    return picture.format in _FORMATS and getattr(picture, "n_frames", 1) > 1


def probe_animation(path: Path, count: bool) -> Clip:
    """Probe an animated picture; see `probe`. Times are in milliseconds, as Pillow gives them."""
    with open_picture(path) as picture:
        width, height = picture.size
        clip = Clip(
            path=path,
            kind="animation",
            width=width,
            height=height,
            time_base=Fraction(1, 1000),
            frames=getattr(picture, "n_frames", 1),
            counted=False,
            files=(path,),
        )
        if not count:
            return clip
        durations, fault = durations_of(picture, path)
    times = [0, *accumulate(durations)]
    notes = (f"damaged after {len(durations)} frames ({fault})",) if fault else ()
    return replace(
        clip,
        timestamps=tuple(times[:-1]),
        end=times[-1],
        frames=len(durations),
        counted=True,
        rate=Fraction(len(durations) * 1000, times[-1]),
        variable=max(durations) - min(durations) > 1,
        duration=times[-1] / 1000,
        notes=notes,
    )


def durations_of(picture: PIL.Image.Image, path: Path) -> tuple[list[int], str]:
    """Return the milliseconds of each frame that decodes, and why it stops early, if it does."""
    durations: list[int] = []
    for index in range(getattr(picture, "n_frames", 1)):
        try:
            picture.seek(index)
            picture.load()
        except (OSError, EOFError, ValueError, SyntaxError) as error:
            if not durations:
                raise MediaError(f"{path}: expected frames, got none that decodes") from error
            return durations, str(error)
        durations.append(round(picture.info.get("duration", 0)) or _NO_DURATION)
    return durations, ""


def read_animation(path: Path, indices: range) -> Iterator[Image]:
    """Yield the frames of `indices`, what is transparent over white."""
    with open_picture(path) as picture:
        for index in indices:
            with quiet():
                picture.seek(index)
                image = to_image(picture)
            yield image


def loops(path: Path) -> int | None:
    """Return how often an animation repeats: 0 for ever, None if it plays once."""
    with open_picture(path) as picture:
        count = picture.info.get("loop")
    return None if count is None else int(count)
