"""Evaluation report: one self-contained HTML page."""

import base64
import html
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vidstyle.atomic import drafted, is_special
from vidstyle.errors import MediaError, UsageError, writing
from vidstyle.evaluation.evaluate import Evaluation
from vidstyle.image import Image, resize
from vidstyle.inputs import check_apart

__all__ = ["Album", "check_page", "read_log", "write_report"]

_SHEET, _SMALL, _LARGE = 12, 240, 960  # pictures in the contact sheet; long sides in pixels
_CURVES = {  # title: (series, label)
    "Warping error over one frame (Lai)": (
        ("warping_error_lai_short", "result"),
        ("source_warping_error_lai_short", "source"),
    ),
    "Warping error over ten frames (Lai)": (
        ("warping_error_lai_long", "result"),
        ("source_warping_error_lai_long", "source"),
    ),
    "Flicker in static areas": (("flicker", "result"), ("source_flicker", "source")),
    "Sharpness": (
        ("sharpness", "result"),
        ("source_sharpness", "source"),
        ("cold_sharpness", "independent frames"),
    ),
    "Mean colour": (("mean_r", "red"), ("mean_b", "blue"), ("mean_g", "green")),
    "Contrast": (("contrast", "result"), ("source_contrast", "source")),
    "Style distance": (("style_distance", "result"),),
    "Loss": (("loss", "total"),),
    "Seconds per frame": (("seconds", "seconds"),),
}  # fmt: skip
_COLUMNS = {  # heading: pattern of the metric names in the column
    "result": "{}",
    "source": "source_{}",
    "result / source": "{}_ratio",
    "independent frames": "cold_{}",
    "result / independent": "cold_{}_ratio",
}
_COLORS = ("#c2410c", "#1d4ed8", "#15803d")
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 62em; padding: 0 1em }
h1 { font-size: 1.4em } h2 { font-size: 1.1em; margin-top: 2em }
td, th { padding: 0 1.5em 0 0; font-variant-numeric: tabular-nums; text-align: left }
.sheet { display: grid; grid-template-columns: repeat(auto-fill, minmax(14em, 1fr)); gap: 4px }
.sheet img, .one img { width: 100%; display: block }
.slide { position: relative; --at: 50% } .slide img { width: 100%; display: block }
.slide .over { position: absolute; inset: 0; clip-path: inset(0 0 0 var(--at)) }
input { width: 100% } svg { width: 100%; background: #f6f6f4 } figure { margin: 1em 0 }
"""


@dataclass
class Album:
    """Pictures of a report as data URLs: a contact sheet and one large pair.

    Call it with every frame: index, frame count, result, source, measured area.
    """

    sheet: list[str] = field(default_factory=list)
    pair: tuple[str, str] = ("", "")
    masked: str = ""

    def __call__(
        self, index: int, count: int, result: Image, source: Image, inside: np.ndarray
    ) -> None:
        chosen = np.linspace(0, count - 1, min(_SHEET, count)).round()
        if index in chosen:
            self.sheet.append(_data_url(result, _SMALL))
        if index == count // 2:
            self.pair = (_data_url(source, _LARGE), _data_url(result, _LARGE))
            if not inside.all():
                dimmed = np.where(inside[..., None], source, 0.3 * source)
                self.masked = _data_url(dimmed.astype(np.float32), _LARGE)


def _data_url(image: Image, side: int) -> str:
    """Return an image as the data URL of a JPEG whose long side is at most `side` pixels."""
    scale = min(1, side / max(image.shape[:2]))
    small = resize(image, *(max(1, round(length * scale)) for length in image.shape[1::-1]))
    data = cv2.imencode(".jpg", np.rint(small[..., ::-1] * 255).astype(np.uint8))[1]
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()


def check_page(
    page: Path | None,
    log: Path | None,
    *,
    inputs: Iterable[Path | str] = (),
    overwrite: bool,
) -> None:
    """Raise UsageError if the page cannot be written, MediaError if the log cannot be read.

    Called before the measurement. inputs: the other files and folders that are read.
    """
    if page is None:
        if log is not None:
            raise UsageError(
                "--log: expected --html FILE too, which shows the log, got none; add it"
            )
        return
    check_apart(page, (*map(Path, inputs), *filter(None, (log,))), "page")
    if page.is_dir() or is_special(page) or not page.parent.is_dir():
        raise UsageError(
            f"--html: expected a file in an existing folder, got {page}; correct the path"
        )
    if page.exists() and not overwrite:
        raise UsageError(f"{page} exists; add --overwrite, or choose another --html")
    if log is not None:
        read_log(log, 0)


def read_log(path: Path, count: int) -> dict[str, list[float | None]]:
    """Return the loss and the seconds of each frame from the --json output of a run.

    count: number of frames. Raises MediaError.
    """
    series: dict[str, list[float | None]] = {"loss": [None] * count, "seconds": [None] * count}
    if is_special(path):
        raise MediaError(
            f"{path}: expected a file, got a pipe or a device; save its content as a file first"
        )
    try:
        events = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]
        for event in events:
            if event["event"] == "frame" and 0 <= event["index"] < count:
                series["loss"][event["index"]] = _number(event["losses"].get("total"))
                series["seconds"][event["index"]] = _number(event["seconds"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise MediaError(
            f"{path}: expected the output of `vidstyle … --json`, one JSON object per line, got "
            f"{error}; save it with > run.jsonl, or omit --log"
        ) from error
    return series


def _number(value: Any) -> float | None:
    """Return a finite number of a log, or None for null. Raises ValueError or TypeError."""
    if value is not None and not math.isfinite(value):
        raise ValueError(f"the number {value}")
    return None if value is None else float(value)


def write_report(
    path: Path,
    title: str,
    found: Evaluation,
    album: Album,
    log: dict[str, list[float | None]] | None = None,
    *,
    overwrite: bool = False,
) -> None:
    """Write the report. log: the losses and times of the run, from read_log.

    overwrite: replace an existing file; otherwise UsageError is raised if there is one.
    """
    page = _page(title, found, album, log or {})
    with writing(path):
        try:
            with drafted(path, overwrite=overwrite) as draft:
                draft.write_text(page, "utf-8", errors="backslashreplace")
        except FileExistsError as error:
            raise UsageError(
                f"{path} appeared while the video was measured and is not replaced; add "
                "--overwrite, or choose another --html"
            ) from error


def _page(title: str, found: Evaluation, album: Album, log: dict[str, list[float | None]]) -> str:
    series = {**found.series, **log}
    curves = [
        _curve(name, [(label, series[key]) for key, label in lines if key in series], found.cuts)
        for name, lines in _CURVES.items()
        if lines[0][0] in series
    ]
    unknown = "" if log else (
        "<p>Losses and times are unknown: save the --json output of the run and pass it as "
        "--log.</p>"
    )  # fmt: skip
    parts = (
        f"<h1>{html.escape(title)}</h1>",
        f"<p>{found.frames} frames{_cuts(found)}</p>",
        _slider(*album.pair),
        album.masked and f"<h2>Measured area</h2><div class=one>{_img(album.masked)}</div>",
        "<h2>Frames</h2><div class=sheet>" + "".join(map(_img, album.sheet)) + "</div>",
        "<h2>Metrics</h2>" + _table(found),
        "<h2>By frame</h2>" + "".join(curves) + unknown,
    )  # fmt: skip
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport "
        f'content="width=device-width"><title>{html.escape(title)}</title>'
        f"<style>{_STYLE}</style><body>{''.join(parts)}</body></html>"
    )


def _cuts(found: Evaluation) -> str:
    return f", cuts before {', '.join(map(str, found.cuts))}" if found.cuts else ""


def _img(url: str) -> str:
    return f'<img alt="" src="{url}">'


def _slider(before: str, after: str) -> str:
    """Return a before/after slider of two pictures."""
    return (
        f"<div class=slide>{_img(before)}<div class=over>{_img(after)}</div></div>"
        '<input type=range min=0 max=100 value=50 aria-label="source left, result right" '
        "oninput=\"this.previousElementSibling.style.setProperty('--at', this.value + '%')\">"
    )


def _table(found: Evaluation) -> str:
    """Return the metrics as a table with columns for the source and for independent frames."""
    known = found.summary
    columns = {
        head: pattern
        for head, pattern in _COLUMNS.items()
        if any(pattern.format(name) in known for name in known)
    }
    in_columns = {
        pattern.format(name) for name in known for pattern in columns.values() if pattern != "{}"
    }
    rows = "".join(
        f"<tr><td>{name.replace('_', ' ')}"
        + "".join(_cell(known.get(pattern.format(name))) for pattern in columns.values())
        for name in sorted(known.keys() - in_columns)
    )
    return f"<table><tr><th>{''.join(f'<th>{head}' for head in columns)}{rows}</table>"


def _cell(value: float | None) -> str:
    return "<td>" if value is None else f"<td>{value:.4g}"


def _curve(title: str, lines: Sequence[tuple[str, list[float | None]]], cuts: Sequence[int]) -> str:
    """Return an SVG chart of series on one scale from 0, with gaps where a value is None."""
    top = max((v for _, row in lines for v in row if v is not None), default=0) or 1.0
    frames = max(len(row) for _, row in lines)
    paths, legend = [_cut_line(_x(cut - 0.5, frames)) for cut in cuts], []
    for (label, row), color in zip(lines, _COLORS, strict=False):
        points, pen = [], "M"
        for index, value in enumerate(row):
            if value is None:
                pen = "M"
                continue
            points.append(f"{pen}{_x(index, frames):.1f} {170 - 150 * value / top:.1f}")
            pen = "L"
        paths.append(
            f'<path d="{" ".join(points)}" fill="none" stroke="{color}" stroke-width="2"/>'
        )
        legend.append(f'<span style="color: {color}">{label}</span>')
    return (
        f"<figure><figcaption>{title}, up to {top:.4g}: {', '.join(legend)}</figcaption>"
        f'<svg viewBox="0 0 800 180" role="img" aria-label="{title}">{"".join(paths)}</svg>'
        "</figure>"
    )


def _x(index: float, frames: int) -> float:
    return 10 + 780 * index / max(1, frames - 1)


def _cut_line(x: float) -> str:
    return f'<path d="M{x:.1f} 10V170" stroke="#999" stroke-dasharray="4"/>'
