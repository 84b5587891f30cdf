"""Clip: what is known of a source before its first frame is worked on."""

from bisect import bisect_left
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from vidstyle.errors import MediaError, UsageError

__all__ = ["MOVIES", "Clip", "Kind", "Stream", "as_json", "mend", "select", "span"]

# picture: one file. photos: unrelated pictures. sequence: pictures that are frames of one scene.
Kind = Literal["video", "animation", "picture", "photos", "sequence"]

# Suffix of a video file -> its format as FFmpeg calls it.
MOVIES = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}

_SLACK = 1e-6  # seconds: 0.1 as typed is frame 3 of 30 a second, whatever a float makes of it


@dataclass(frozen=True, kw_only=True)
class Stream:
    """One stream of a video file. language: as tagged ("eng"), None if unknown."""

    index: int
    kind: str
    codec: str
    language: str | None


@dataclass(frozen=True, kw_only=True)
class Clip:
    """What is known of a source. Unknown is None.

    width, height: pixels of the first frame, upright and with square pixels.
    sizes: (width, height) of each picture file, () for a video.
    rate: average frames a second. time_base: seconds of one tick of `timestamps` and `end`.
    timestamps: of each frame that decodes, strictly increasing; None if not counted, or no time.
    end: timestamp where the last frame ends. duration: seconds from the first frame to `end`.
    frames: counted by decoding if `counted`, else as the packets promise.
    variable: the gaps between frames differ by more than rounding.
    depth: bits of a channel. alpha: some pixel is not opaque (uncounted: of the first frame).
    rotation: degrees that frames are turned clockwise to stand upright.
    files: the pictures in natural order, () for a video. notes: one sentence an oddity.
    """

    path: Path
    kind: Kind
    width: int
    height: int
    sizes: tuple[tuple[int, int], ...] = ()
    rate: Fraction | None = None
    time_base: Fraction | None = None
    timestamps: tuple[int, ...] | None = None
    end: int | None = None
    frames: int
    counted: bool
    variable: bool | None = None
    duration: float | None = None
    rotation: int = 0
    depth: int = 8
    alpha: bool = False
    pixel_aspect: Fraction = Fraction(1)
    streams: tuple[Stream, ...] = ()
    files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()


def as_json(clip: Clip) -> dict[str, Any]:
    """Return what is known as plain values for JSON: fractions as "30000/1001", times in s."""
    return {
        "source": str(clip.path),
        "kind": clip.kind,
        "width": clip.width,
        "height": clip.height,
        "sizes": [list(size) for size in clip.sizes],
        "rate": _text(clip.rate),
        "time_base": _text(clip.time_base),
        "frames": clip.frames,
        "counted": clip.counted,
        "variable_rate": clip.variable,
        "start": _start(clip),
        "duration": clip.duration,
        "rotation": clip.rotation,
        "depth": clip.depth,
        "alpha": clip.alpha,
        "pixel_aspect": _text(clip.pixel_aspect),
        "streams": [vars(stream) for stream in clip.streams],
        "files": [str(path) for path in clip.files],
        "notes": list(clip.notes),
    }


def _text(value: Fraction | None) -> str | None:
    return None if value is None else str(value)


def _start(clip: Clip) -> float | None:
    if not clip.timestamps or clip.time_base is None:
        return None
    return float(clip.timestamps[0] * clip.time_base)


def select(clip: Clip, start: float | None, end: float | None) -> range:
    """Return the indices of the frames whose time lies in [start, end).

    start, end: seconds from the first frame; None is the clip's own. Raises UsageError for
    pictures that have no time, MediaError if no frame lies there.
    """
    if start is None and end is None:
        return range(clip.frames)
    if clip.kind in ("picture", "photos"):
        raise UsageError(
            f"--start, --end: expected a source that has time, got {_NOUNS[clip.kind]} "
            f"({clip.path}); leave them out, or say with --rate that it is a sequence"
        )
    times = _times(clip)
    first = 0 if start is None else bisect_left(times, start - _SLACK)
    last = len(times) if end is None else bisect_left(times, end - _SLACK)
    if first >= last:
        raise MediaError(_nothing_there(clip, start, end))
    return range(first, last)


_NOUNS = {"picture": "a picture", "photos": "photos"}


def _times(clip: Clip) -> list[float]:
    """Return each frame's seconds from the first; as the rate promises where not counted."""
    if clip.timestamps is None or clip.time_base is None:
        rate = clip.rate or Fraction(25)
        return [float(index / rate) for index in range(clip.frames)]
    first = clip.timestamps[0]
    return [float((stamp - first) * clip.time_base) for stamp in clip.timestamps]


def _nothing_there(clip: Clip, start: float | None, end: float | None) -> str:
    length = "unknown" if clip.duration is None else f"{clip.duration:.3f} s"
    until = "the end" if end is None else f"{end:g} s"
    return (
        f"{clip.path}: expected frames from {start or 0:g} s to {until}, got none; "
        f"the clip's length is {length}: choose other --start and --end"
    )


def span(clip: Clip, indices: range) -> tuple[list[int], int, int]:
    """Return (timestamps, end, shift) of a counted clip's frames in the result, in time-base units.

    The whole clip keeps its times (shift 0); a part of it begins at 0 (shift: what was taken off).
    """
    if clip.timestamps is None or clip.end is None:
        raise ValueError("expected a counted clip with times; call probe(source, count=True)")
    stamps = [clip.timestamps[index] for index in indices]
    end = clip.timestamps[indices.stop] if indices.stop < clip.frames else clip.end
    shift = 0 if len(indices) == clip.frames else stamps[0]
    return [stamp - shift for stamp in stamps], end - shift, shift


def mend(stamps: list[int]) -> list[int]:
    """Return the stamps strictly increasing: one that is not goes a tick after the one before."""
    mended: list[int] = []
    for stamp in stamps:
        mended.append(max(stamp, mended[-1] + 1) if mended else stamp)
    return mended
