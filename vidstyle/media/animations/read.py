"""Animated pictures (GIF, WebP, APNG, AVIF): frames and exact durations, read with Pillow."""

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import accumulate
from pathlib import Path

import PIL.Image

from vidstyle.errors import MediaError, OutputError
from vidstyle.image import Image
from vidstyle.media.clip import Clip, increasing, output_times
from vidstyle.media.large import (
    Factor,
    check_decoding,
    check_room,
    native,
    read_reduced,
    reduced_size,
)
from vidstyle.media.pictures.files import (
    PICTURE_FAULTS,
    is_transparent,
    open_picture,
    quiet,
    to_pixels,
)

__all__ = [
    "NO_DURATION",
    "check_durations",
    "in_ticks",
    "is_animation",
    "plays",
    "probe_animation",
    "read_animation",
]

_FORMATS = ("AVIF", "GIF", "PNG", "WEBP")
NO_DURATION = 100  # milliseconds for which browsers show a frame without a duration


def is_animation(picture: PIL.Image.Image) -> bool:
    """Whether an open picture is animated (a TIFF of several pages is not)."""
    return picture.format in _FORMATS and getattr(picture, "n_frames", 1) > 1


def probe_animation(path: Path, count: bool) -> Clip:
    """Probe an animated picture; see `probe`. Times are in milliseconds, as in Pillow."""
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
        durations, alpha, fault = _frames_of(picture, path)
    times = [0, *accumulate(durations)]
    notes = (f"damaged after {len(durations)} frames ({fault})",) if fault else ()
    return replace(
        clip,
        timestamps=tuple(times[:-1]),
        end=times[-1],
        frames=len(durations),
        alpha=alpha,
        counted=True,
        rate=Fraction(len(durations) * 1000, times[-1]),
        variable=max(durations) - min(durations) > 1,
        duration=times[-1] / 1000,
        notes=notes,
    )


def _frames_of(picture: PIL.Image.Image, path: Path) -> tuple[list[int], bool, str]:
    """Decode all frames; return (milliseconds of each, any has alpha, first error or "")."""
    durations: list[int] = []
    alpha = False
    for index in range(getattr(picture, "n_frames", 1)):
        try:
            picture.seek(index)
            check_decoding(path, picture)  # a GIF's frames may enlarge the picture
            picture.load()
        except PICTURE_FAULTS as error:
            if not durations:
                raise MediaError(f"{path}: expected frames, got none that decodes") from error
            return durations, alpha, str(error)
        alpha = alpha or is_transparent(picture)
        durations.append(round(picture.info.get("duration", 0)) or NO_DURATION)
    return durations, alpha, ""


def read_animation(path: Path, indices: range, factor: Factor = native) -> Iterator[Image]:
    """Yield the frames of `indices`: [H, W, 3], or [H, W, 4] if they have alpha.

    factor: function of (width, height) that returns the reduction factor.
    """
    with open_picture(path) as picture:
        times = factor(picture.size)
        check_room(path, reduced_size(picture.size, times), 4)
        for index in indices:
            with quiet():
                picture.seek(index)
                whole = times == 1
                pixels = to_pixels(picture) if whole else read_reduced(picture, times, to_pixels)
            yield pixels


def plays(clip: Clip) -> int:
    """Return how often an animation plays; 0: for ever, also for other sources.

    A GIF stores the number of repeats.
    """
    if clip.kind != "animation":
        return 0
    with open_picture(clip.path) as picture:
        count = picture.info.get("loop")
        repeats = picture.format == "GIF"
    if count is None:
        return 1
    return int(count) + (repeats and count > 0)


def in_ticks(clip: Clip, indices: range, tick: Fraction) -> list[int]:
    """Return each frame's start and the last one's end in ticks from 0, each rounded by itself.

    tick: in seconds. Rounding errors do not add up.
    """
    stamps, end, _ = output_times(clip, indices)
    base = clip.time_base or Fraction(1)
    return increasing([round((stamp - stamps[0]) * base / tick) for stamp in [*stamps, end]])


def check_durations(part: Path, durations: list[int]) -> None:
    """Read a written file back; raise OutputError unless its frames have these milliseconds."""
    try:
        with open_picture(part) as picture:
            found, _, _ = _frames_of(picture, part)
    except MediaError as error:
        raise OutputError(
            f"{part} cannot be read back: {error}; run the same command again"
        ) from error
    if found != durations:
        raise OutputError(
            f"{part} is not whole: expected {len(durations)} frames with the source's timing, "
            f"got {len(found)}; run the same command again, or choose .mp4"
        )
