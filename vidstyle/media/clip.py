"""Clip: the metadata of a source, known before its first frame is processed."""

from bisect import bisect_left
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from vidstyle.errors import MediaError, UsageError

__all__ = [
    "Clip",
    "Kind",
    "Stream",
    "as_json",
    "increasing",
    "output_times",
    "select",
    "times_of",
]

Kind = Literal["video", "animation", "picture", "photos", "sequence"]

_SLACK = 1e-6  # seconds of tolerance, so that the float 0.1 selects frame 3 at 30 fps


@dataclass(frozen=True, kw_only=True)
class Stream:
    """One stream of a video file. language: its tag ("eng"), None if unknown."""

    index: int
    kind: str
    codec: str
    language: str | None


@dataclass(frozen=True, kw_only=True)
class Clip:
    """Metadata of a source. Unknown values are None.

    kind: picture: one file; photos: unrelated pictures; sequence: pictures that are frames of one
        scene.
    width, height: pixels of the first frame, upright and with square pixels.
    sizes: (width, height) of each picture file, () for a video.
    rate: average frames per second. time_base: seconds per tick of `timestamps` and `end`.
    timestamps: one per decodable frame, strictly increasing; None if not counted, or without times.
    end: timestamp at which the last frame ends. duration: seconds from the first frame to `end`.
    frames: counted by decoding if `counted`, else as the packets declare.
    variable: the gaps between frames differ by more than rounding.
    depth: bits per channel. alpha: some pixel is not opaque (uncounted: of the first frame).
    rotation: clockwise degrees by which frames are turned upright.
    files: the pictures in natural order, () for a video. notes: one sentence per irregularity.
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
    """Return the clip as plain values for JSON: fractions as "30000/1001", times in seconds."""
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

    start, end: seconds from the first frame; None: the clip's own. Raises UsageError for pictures
    without times, MediaError if no frame lies in the interval.
    """
    if start is None and end is None:
        return range(clip.frames)
    if clip.kind in ("picture", "photos"):
        raise UsageError(
            f"--start, --end: expected a source that has time, got {_NOUNS[clip.kind]} "
            f"({clip.path}); leave them out, or say with --rate that it is a sequence"
        )
    times = times_of(clip)
    first = 0 if start is None else bisect_left(times, start - _SLACK)
    last = len(times) if end is None else bisect_left(times, end - _SLACK)
    if first >= last:
        raise MediaError(_no_frames_message(clip, start, end))
    return range(first, last)


_NOUNS = {"picture": "a picture", "photos": "photos"}


def times_of(clip: Clip) -> list[float]:
    """Return each frame's seconds from the first; if uncounted, computed from the rate."""
    if clip.timestamps is None or clip.time_base is None:
        rate = clip.rate or Fraction(25)
        return [float(index / rate) for index in range(clip.frames)]
    first = clip.timestamps[0]
    return [float((stamp - first) * clip.time_base) for stamp in clip.timestamps]


def _no_frames_message(clip: Clip, start: float | None, end: float | None) -> str:
    length = "unknown" if clip.duration is None else f"{clip.duration:.3f} s"
    until = "the end" if end is None else f"{end:g} s"
    return (
        f"{clip.path}: expected frames from {start or 0:g} s to {until}, got none; "
        f"the clip's length is {length}: choose other --start and --end"
    )


def output_times(clip: Clip, indices: range) -> tuple[list[int], int, int]:
    """Return (timestamps, end, shift) of a counted clip's selected frames in the output, in ticks.

    The whole clip keeps its times (shift 0); a part starts at 0 (shift: the ticks subtracted).
    """
    if clip.timestamps is None or clip.end is None:
        raise ValueError("expected a counted clip with times; call probe(source, count=True)")
    stamps = [clip.timestamps[index] for index in indices]
    end = clip.timestamps[indices.stop] if indices.stop < clip.frames else clip.end
    shift = 0 if len(indices) == clip.frames else stamps[0]
    return [stamp - shift for stamp in stamps], end - shift, shift


def increasing(stamps: list[int]) -> list[int]:
    """Return the timestamps, each at least one tick after the one before."""
    moved: list[int] = []
    for stamp in stamps:
        moved.append(max(stamp, moved[-1] + 1) if moved else stamp)
    return moved
