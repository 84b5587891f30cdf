"""Contact sheets of stylised clips, and their late frames beside the same frames made alone.

scripts/bench sheet CLIP [CLIP …]    a video file, or a folder with frames/ and masks/
    --style style --size 256 --at 0,8,16,23 --steps-next 15 --output looks

Each clip is stylised by `basic` at the defaults up to the last frame of --at, and each frame of
--at alone, as the first of a shot. CLIP.png in the output folder has the rows source, alone and
video. The printed row is the mean over the frames of --at after the first, video / alone: legible
and sharp (larger is better up to 1), style, new, specks and mesh (smaller is better). See
docs/evaluation.md for the figures; legible is of the subject where the clip has a mask for every
frame, else of the whole frame. What the output folder has is measured, not made again.
"""

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.arms import Arm, arm_of
from benchmarks.coherence import SAMPLES, Case, first_frames, write_frames
from vidstyle import media
from vidstyle.evaluation import evaluate
from vidstyle.image import Image
from vidstyle.jobs import pipeline as runs
from vidstyle.jobs.job import target_size
from vidstyle.settings import Settings

_RATE = Fraction(24)
_FIGURES = {
    "legible": "legibility",
    "sharp": "sharpness",
    "style": "style_distance",
    "new": "style_distance_new",
    "specks": "specks",
    "mesh": "texture_periodicity",
}
_LEAST = {"specks": 1.0}  # per 10,000 pixels: the least denominator of a ratio


def sheet(clips: Sequence[Path], words: Sequence[str]) -> None:
    """Write a contact sheet and print a row of figures for each clip."""
    given = _parsed(words)
    shown = sorted({int(word) for word in given.at.split(",")})
    print(f"video / alone, mean over frames {', '.join(map(str, shown[1:]))}")
    print(f"{'':24}" + "".join(f"{name:>9}" for name in _FIGURES))
    for clip in clips:
        case = _case(clip, given, shown)
        video, alone = _video(case, given.steps_next), _alone(case, shown)
        rows = [_read(case.source, shown), _read(video, shown), _read(alone, range(len(shown)))]
        source, made, cold = rows
        picture = np.vstack([np.hstack(row) for row in (source, cold, made)])
        media.write_picture(case.output / f"{video.name}.png", picture)
        ratios = _ratios(case, video, dict(zip(shown, cold, strict=True)), shown[1:])
        cells = (f"{'-':>9}" if value is None else f"{value:9.3f}" for value in ratios.values())
        print(f"{case.source.name[:23]:24}" + "".join(cells), flush=True)


def _parsed(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench sheet CLIP …")
    parser.add_argument("--style", default="style", help="a file, or the name of one in samples/")
    parser.add_argument("--size", type=int, default=256, help="long side in pixels")
    usual = str(Settings().steps_next)
    parser.add_argument("--steps-next", default=usual, help="of the video: auto, or a number")
    parser.add_argument("--at", default="0,8,16,23", help="frames to show, from 0")
    parser.add_argument("--output", type=Path, default=Path("looks"), help="folder for the results")
    return parser.parse_args(words)


def _case(clip: Path, given: argparse.Namespace, shown: Sequence[int]) -> Case:
    """Return the case of a clip, with its first frames and masks written as pictures."""
    style = Path(given.style)
    style = style if style.is_file() else SAMPLES / f"{given.style}.jpg"
    output = given.output / f"{style.stem}_{given.size}"
    place = output / "sources" / clip.stem
    if not place.is_dir():
        frames = clip / "frames" if (clip / "frames").is_dir() else clip
        found = media.probe(frames, rate=_RATE if frames.is_dir() else None)
        if found.frames <= shown[-1]:
            raise SystemExit(f"{clip}: expected more than {shown[-1]} frames, got {found.frames}")
        size = target_size(given.size, found.width, found.height)
        masks = clip / "masks"
        if masks.is_dir() and len(list(masks.iterdir())) >= found.frames:
            drawn = media.probe(masks, rate=_RATE)
            write_frames(_masks(place), first_frames(drawn, shown[-1] + 1, size))
        write_frames(place, first_frames(found, shown[-1] + 1, size))
    return Case(place, "basic", style, output, 0, 0)


def _masks(source: Path) -> Path:
    return source.with_name(f"{source.name}_masks")


def _video(case: Case, steps_next: str) -> Path:
    """Return the folder of the stylised clip, one for each number of evaluations."""
    method = arm_of("default")
    number = steps_next if steps_next == "auto" else int(steps_next)
    method = replace(method, settings={**method.settings, "steps_next": number})
    return _made(case, method, case.output / "video" / f"{case.source.name}_{steps_next}")


def _alone(case: Case, shown: Sequence[int]) -> Path:
    """Return a folder of the shown frames, each stylised alone."""
    source = case.output / "shown" / case.source.name
    if not source.is_dir():
        write_frames(source, iter(_read(case.source, shown)))
    alone = case.output / "alone" / case.source.name
    return _made(replace(case, source=source), arm_of("cold"), alone)


def _made(case: Case, method: Arm, place: Path) -> Path:
    if not place.is_dir():
        place.parent.mkdir(parents=True, exist_ok=True)
        runs.run(
            case.job(method, place),
            make_stylizer=method.make_stylizer,
            coherence=method.coherence,
            parameters=method.parameters,
        )
    return place


def _read(folder: Path, chosen: Sequence[int]) -> list[Image]:
    clip = media.probe(folder, rate=_RATE)
    frames = list(media.read(clip, range(clip.frames)))
    return [frames[index] for index in chosen]


def _ratios(
    case: Case, video: Path, alone: dict[int, Image], late: Sequence[int]
) -> dict[str, float | None]:
    """Return each figure of the video over that of the frames made alone, over `late` frames.

    The frames to compare with are the video's own, except at the keys of `alone`.
    """
    mixed = case.output / "mixed" / case.source.name
    frames = _read(video, range(len(list(case.source.iterdir()))))
    shutil.rmtree(mixed, ignore_errors=True)
    write_frames(mixed, iter(alone.get(index, frame) for index, frame in enumerate(frames)))
    found = evaluate.evaluate(
        video, case.source, style=case.style, cold=mixed, subject=case.subject
    ).series
    if "legibility" not in found:
        found |= _legibility(case, video, mixed)
    found |= _style_distance(case, mixed)
    return {name: _ratio(found, figure, late) for name, figure in _FIGURES.items()}


def _legibility(case: Case, video: Path, mixed: Path) -> dict[str, list[float | None]]:
    """Return the series of the legibility over whole frames."""
    from vidstyle.evaluation import metrics

    count = range(len(list(case.source.iterdir())))
    sources = _read(case.source, count)
    whole = np.ones(sources[0].shape[:2], bool)
    return {
        f"{prefix}legibility": [
            metrics.legibility(frame, source, whole)
            for frame, source in zip(_read(place, count), sources, strict=True)
        ]
        for prefix, place in (("", video), ("cold_", mixed))
    }


def _style_distance(case: Case, mixed: Path) -> dict[str, list[float | None]]:
    """Return the series of the style distance of the frames to compare with."""
    found = evaluate.evaluate(mixed, case.source, style=case.style).series
    return {"cold_style_distance": found["style_distance"]}


def _ratio(series: dict[str, Any], figure: str, late: Sequence[int]) -> float | None:
    """Return the mean of a figure over these frames over that of the frames made alone."""
    pairs = [
        (series[figure][index], series[f"cold_{figure}"][index])
        for index in late
        if figure in series and f"cold_{figure}" in series
    ]
    known = [(value, cold) for value, cold in pairs if value is not None and cold is not None]
    if not known:
        return None
    value, cold = np.mean(known, axis=0)
    return float(value / max(cold, _LEAST.get(figure, 1e-12)))
