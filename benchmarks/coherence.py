"""Benchmark of temporal coherence: the default and other methods, in one table.

scripts/bench coherence FOLDER       a folder with davis/NAME/frames and davis/NAME/masks, or clips/
    --size 160 --frames 12 --cases blackswan:mask:style,still:basic:a.jpg
    --arms cold,default --output coherence --cap 1000 --seed 0

A case is a sequence, a technique and a style (a file, or the name of one in samples/). An arm is a
temporal method; all arms run through jobs.pipeline, with the same reading, flow and cuts (see
arms.py):

    cold     every frame independently
    plain    initialised with the previous result: no warping, no temporal loss
    warped   initialised with the previous result, warped: no temporal loss
    ruder    single pass of Ruder, Dosovitskiy & Brox (2016), as in artistic-videos
    default  the defaults of vidstyle
    deflicker.most=0.9   the default with one constant varied, see coherence/parameters.py

Finished arms in the output folder are measured, not run again. difference.mp4 in the folder of a
case shows the frames of all arms and their warping errors (see pictures).
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.arms import Arm, arm_of
from benchmarks.pictures import show_differences
from vidstyle import media
from vidstyle.evaluation import evaluate
from vidstyle.jobs import pipeline as runs
from vidstyle.jobs.job import Job, make_job, target_size

SAMPLES = Path(__file__).parent.parent / "samples"
CASES = (
    "breakdance:basic:style2",
    "car-shadow:basic:style2",
    "cutie_example:basic:style2",
    "blackswan:basic:style",
    "cows:basic:style",
    "sam2_bedroom:basic:style",
    "blackswan:mask:style",
    "cows:mask:style",
)
STILL = "still"  # a generated sequence: a static picture with noise, to measure drift


def coherence(folder: Path, words: Sequence[str]) -> None:
    """Run the unfinished arms, and print a row for each arm of each case."""
    arguments = _parsed(words)
    arms = sorted(arguments.arms.split(","), key=lambda arm: arm != "cold")  # the reference first
    rows: list[dict[str, Any]] = []
    _head()
    for word in arguments.cases.split(","):
        rows += _compared(_case(folder, word, arguments), arms)
    _means(rows, arms)


def _parsed(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench coherence FOLDER")
    parser.add_argument("--size", type=int, default=160, help="long side in pixels")
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--cases", default=",".join(CASES), help="SEQUENCE:TECHNIQUE:STYLE,…")
    parser.add_argument("--arms", default="cold,plain,warped,ruder,default")
    parser.add_argument("--output", default="coherence", help="folder for the results")
    parser.add_argument(
        "--cap", type=int, default=1000, help="most evaluations of a warm frame of ruder"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of first frames; use a folder for each"
    )
    return parser.parse_args(words)


def _case(folder: Path, word: str, arguments: argparse.Namespace) -> "Case":
    try:
        name, technique, style = word.split(":")
    except ValueError:
        raise SystemExit(f"{word}: expected SEQUENCE:TECHNIQUE:STYLE") from None
    picture = Path(style) if Path(style).is_file() else SAMPLES / f"{style}.jpg"
    output = Path(arguments.output)
    source = _source(folder, name, output / "sources", arguments)
    return Case(source, technique, picture, output, arguments.cap, arguments.seed)


def _source(folder: Path, name: str, made: Path, arguments: argparse.Namespace) -> Path:
    """Return a folder of the first frames of a sequence; masks in a folder NAME_masks beside it."""
    place = made / name
    if place.is_dir():
        return place
    if name == STILL:
        write_frames(place, _static_with_noise(arguments.frames, arguments.size))
        return place
    davis = folder / "davis" / name
    clips = sorted((folder / "clips").glob(f"{name}.*"))
    if not davis.is_dir() and not clips:
        raise SystemExit(f"{name}: expected {davis} or {folder / 'clips' / name}.*, found neither")
    origin = davis / "frames" if davis.is_dir() else clips[0]
    rate = Fraction(24) if davis.is_dir() else None
    clip = media.probe(origin, rate=rate)
    size = target_size(arguments.size, clip.width, clip.height)
    write_frames(place, first_frames(clip, arguments.frames, size))
    if davis.is_dir():
        masks = media.probe(davis / "masks", rate=rate)
        write_frames(place.with_name(f"{name}_masks"), first_frames(masks, arguments.frames, size))
    return place


def _static_with_noise(count: int, side: int) -> Iterator[np.ndarray]:
    """Yield a static picture with sensor noise."""
    picture = media.read_picture(SAMPLES / "photo.png")
    picture = media.resize(picture, *target_size(side, picture.shape[1], picture.shape[0]))
    random = np.random.default_rng(0)
    for _ in range(count):
        noise = random.standard_normal(picture.shape, np.float32) * (2 / 255)
        yield np.clip(picture + noise, 0, 1)


def first_frames(clip: media.Clip, count: int, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """Yield the first frames of a clip, at most `count`, at `size` (width, height)."""
    for frame in media.read(clip, range(min(count, clip.frames))):
        yield media.resize(frame, *size)


def write_frames(folder: Path, frames: Iterator[np.ndarray]) -> None:
    """Write a folder of pictures 000000.png, 000001.png, …; it exists only when complete."""
    draft = folder.with_name(f"{folder.name}.tmp")
    draft.mkdir(parents=True, exist_ok=True)
    for index, frame in enumerate(frames):
        media.save_frame(draft / f"{index:06d}.png", frame)
    draft.rename(folder)


@dataclass(frozen=True)
class Case:
    """A sequence, technique and style, which all arms share."""

    source: Path
    technique: str
    style: Path
    output: Path
    cap: int
    seed: int

    @property
    def name(self) -> str:
        return f"{self.source.name} {self.technique} {self.style.stem}"

    @property
    def mask(self) -> Path | None:
        """Return the folder of masks, for a technique that uses masks."""
        return self.source.with_name(f"{self.source.name}_masks") if self.masked else None

    @property
    def masked(self) -> bool:
        return self.technique != "basic"

    @property
    def subject(self) -> Path | None:
        """Return the folder of masks of the sequence, if it has one."""
        found = self.source.with_name(f"{self.source.name}_masks")
        return found if found.is_dir() else None

    def job(self, arm: Arm, place: Path) -> Job:
        """Return the job of an arm: the defaults, except for its own settings."""
        return make_job(
            self.source,
            place,
            style=self.style,
            technique=self.technique,
            mask=self.mask or (),
            size="source",
            rate=Fraction(24),
            seed=self.seed,
            restart=True,
            overwrite=True,
            **arm.settings,
        )


def _compared(case: Case, arms: Sequence[str]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    folder = case.output / case.name.replace(" ", "_")
    for arm in arms:
        place = folder / arm
        record = place.with_suffix(".json")
        if not record.exists():
            record.write_text(json.dumps(_made(case, arm, place), indent=1))
        made = json.loads(record.read_text())
        cold = folder / "cold" if "cold" in arms else None
        rows.append({"case": case.name, "arm": arm, **made, **_measured(case, place, cold)})
        _row(rows[-1], rows)
    show_differences(case.source, [folder / arm for arm in arms], folder / "difference.mp4")
    return rows


def _made(case: Case, arm: str, place: Path) -> dict[str, Any]:
    """Stylise the frames of an arm; return the mean frame-equivalents and times."""
    place.parent.mkdir(parents=True, exist_ok=True)
    warm: list[Any] = []

    def watch(event: Any) -> None:
        if event.name == "frame" and (not event.cut or arm == "cold"):
            warm.append(event)

    began = time.monotonic()
    method = arm_of(arm)
    if arm == "ruder":
        method = replace(method, settings={**method.settings, "steps_next": case.cap})
    runs.run(
        case.job(method, place),
        watch,
        make_stylizer=method.make_stylizer,
        coherence=method.coherence,
        parameters=method.parameters,
    )
    return {
        "evaluations": float(np.mean([event.frame_equivalents for event in warm])),
        "seconds_a_frame": float(np.mean([event.seconds for event in warm])),
        "seconds": time.monotonic() - began,
    }


def _measured(case: Case, place: Path, cold: Path | None) -> dict[str, Any]:
    found = evaluate.evaluate(
        place, case.source, style=case.style, mask=case.mask, cold=cold, subject=case.subject
    )
    return {"summary": found.summary}


_COLUMNS = {
    "E short": ("warping_error_lai_short", 1e4, "9.3f"),
    "/ floor": ("warping_error_lai_short_ratio", 1, "9.3f"),
    "E long": ("warping_error_lai_long", 1e4, "9.3f"),
    "/ floor ": ("warping_error_lai_long_ratio", 1, "9.3f"),
    "R short": ("warping_error_ruder_short", 1e4, "9.3f"),
    "R long": ("warping_error_ruder_long", 1e4, "9.3f"),
    "L short": ("warping_error_lanczos_short", 1e4, "9.3f"),
    "L long": ("warping_error_lanczos_long", 1e4, "9.3f"),
    "flicker/": ("flicker_ratio", 1, "9.3f"),
    "style": ("style_distance", 1, "9.4f"),
    "content": ("content_distance", 1, "9.3f"),
    "sharp": ("cold_sharpness_ratio", 1, "9.3f"),
    "seen": ("cold_sharpness_visible_ratio", 1, "9.3f"),
    "late": ("cold_sharpness_late_ratio", 1, "9.3f"),
    "legible": ("cold_legibility_late_ratio", 1, "9.3f"),
    "new": ("cold_style_distance_new_ratio", 1, "9.3f"),
    "specks": ("cold_specks_late_ratio", 1, "9.3f"),
    "mesh": ("cold_texture_periodicity_late_ratio", 1, "9.3f"),
    "drift": ("drift_color", 255, "9.3f"),
    "style %": ("drift_style_distance", 100, "9.2f"),
}


def _head() -> None:
    print("E: warping error (Lai), 1e-4; / floor: relative to the source; R: Ruder's, 1e-4;")
    print("L: Lai's with Lanczos sampling, which does not blur; / cold: style distance relative to")
    print("cold; sharp: sharpness relative to cold; seen: the same where the short error is taken;")
    print("late, legible, specks, mesh: sharpness of the last third, legibility of the subject,")
    print("specks and periodicity of the texture, relative to cold; new: style distance of areas")
    print("disoccluded or entered in the last ten frames, relative to cold;")
    print("drift: change of mean colour (of 255) and style distance, first to last tenth of a clip")
    print(
        f"{'':44}" + "".join(f"{name:>9}" for name in _COLUMNS)
        + f"{'/ cold':>9}{'evals':>9}{'s/frame':>9}"
    )  # fmt: skip


def _row(row: dict[str, Any], rows: Sequence[dict[str, Any]]) -> None:
    summary = row["summary"]
    cells = [_cell(summary.get(name), unit, form) for name, unit, form in _COLUMNS.values()]
    cold = [other["summary"]["style_distance"] for other in rows if other["arm"] == "cold"]
    row["style_to_cold"] = summary["style_distance"] / cold[0] if cold else None
    cells += [_cell(row["style_to_cold"], 1, "9.3f"), _cell(row["evaluations"], 1, "9.1f")]
    print(
        f"{row['case'] + ' ' + row['arm']:44}" + "".join(cells) + f"{row['seconds_a_frame']:9.1f}"
    )


def _cell(value: float | None, unit: float, form: str) -> str:
    return f"{'-':>9}" if value is None else f"{value * unit:{form}}"


def _means(rows: Sequence[dict[str, Any]], arms: Sequence[str]) -> None:
    """Print the mean of each arm, and the errors of the default relative to plain and ruder."""
    print()
    for arm in arms:
        chosen = [row for row in rows if row["arm"] == arm]
        if not chosen:
            continue
        mean: dict[str, Any] = {
            name: _mean([row["summary"].get(name) for row in chosen])
            for name, _, _ in _COLUMNS.values()
        }
        cells = [_cell(mean[name], unit, form) for name, unit, form in _COLUMNS.values()]
        others = [_mean([row[key] for row in chosen]) for key in ("style_to_cold", "evaluations")]
        cells += [_cell(others[0], 1, "9.3f"), _cell(others[1], 1, "9.1f")]
        took = _mean([row["seconds_a_frame"] for row in chosen])
        print(f"{'mean ' + arm:44}" + "".join(cells) + f"{took:9.1f}")
    for other in ("plain", "ruder"):
        for term, metric in product(("short", "long"), ("lai", "ruder", "lanczos")):
            ratios = list(_ratios(rows, other, f"warping_error_{metric}_{term}"))
            if ratios:
                print(
                    f"{term} warping error ({metric}), default / {other}: "
                    f"mean {np.mean(ratios):.3f}, worst {max(ratios):.3f}"
                )


def _ratios(rows: Sequence[dict[str, Any]], other: str, figure: str) -> Iterator[float]:
    known = {(row["case"], row["arm"]): row["summary"].get(figure) for row in rows}
    for (case, arm), value in known.items():
        reference = known.get((case, other))
        if arm == "default" and value is not None and reference:
            yield value / reference


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
