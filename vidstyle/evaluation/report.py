"""Report: an evaluation as one HTML page, which needs no server and no other file."""

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

from vidstyle.atomic import delete, draft_beside, is_special, settle
from vidstyle.errors import MediaError, UsageError, writing
from vidstyle.evaluation.evaluate import Evaluation
from vidstyle.image import Image, resize
from vidstyle.inputs import check_apart

__all__ = ["Album", "check_page", "read_log", "write_report"]

_SHEET, _SMALL, _LARGE = 12, 240, 960  # pictures of the sheet; long sides in pixels
_CURVES = {  # title: (series, what it is called)
    "Warping error over one frame (Lai)": (
        ("warping_error_lai_short", "result"),
        ("source_warping_error_lai_short", "source"),
    ),
    "Warping error over ten frames (Lai)": (
        ("warping_error_lai_long", "result"),
        ("source_warping_error_lai_long", "source"),
    ),
    "Flicker where nothing moves": (("flicker", "result"), ("source_flicker", "source")),
    "Sharpness": (
        ("sharpness", "result"),
        ("source_sharpness", "source"),
        ("cold_sharpness", "made one by one"),
    ),
    "Mean colour": (("mean_r", "red"), ("mean_b", "blue"), ("mean_g", "green")),
    "Contrast": (("contrast", "result"), ("source_contrast", "source")),
    "Distance from the style": (("style_distance", "result"),),
    "Loss": (("loss", "total"),),
    "Seconds a frame": (("seconds", "seconds"),),
}  # fmt: skip
_COLUMNS = {  # head: what a figure is called there
    "result": "{}",
    "source": "source_{}",
    "result / source": "{}_ratio",
    "one by one": "cold_{}",
    "result / one by one": "cold_{}_ratio",
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
    """The pictures of a report, taken as frames go by: some small ones and one large pair."""

    sheet: list[str] = field(default_factory=list)
    pair: tuple[str, str] = ("", "")
    masked: str = ""

    def __call__(
        self, index: int, count: int, made: Image, source: Image, inside: np.ndarray
    ) -> None:
        chosen = np.linspace(0, count - 1, min(_SHEET, count)).round()
        if index in chosen:
            self.sheet.append(_picture(made, _SMALL))
        if index == count // 2:
            self.pair = (_picture(source, _LARGE), _picture(made, _LARGE))
            if not inside.all():
                dimmed = np.where(inside[..., None], source, 0.3 * source)
                self.masked = _picture(dimmed.astype(np.float32), _LARGE)


def _picture(image: Image, side: int) -> str:
    """Return an image as the address of a JPEG, no longer than `side`."""
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
    """Refuse, before anything is measured, a page that could not be written and a log not there.

    inputs: the other files and folders that are read; the page is to be apart from them.
    """
    if page is None:
        if log is not None:
            raise UsageError("--log: expected --html FILE too, which shows it, got none; add it")
        return
    check_apart(page, (*map(Path, inputs), *filter(None, (log,))), "page")
    if page.is_dir() or is_special(page) or not page.parent.is_dir():
        raise UsageError(
            f"--html: expected a file in a folder that exists, got {page}; mend the path"
        )
    if page.exists() and not overwrite:
        raise UsageError(f"{page}: it exists; add --overwrite, or choose another --html")
    if log is not None:
        read_log(log, 0)


def read_log(path: Path, count: int) -> dict[str, list[float | None]]:
    """Return the loss and the seconds of each frame from what a run printed with --json."""
    series: dict[str, list[float | None]] = {"loss": [None] * count, "seconds": [None] * count}
    if is_special(path):
        raise MediaError(
            f"{path}: expected a file, got a pipe or a device; save it as a file first"
        )
    try:
        events = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]
        for event in events:
            if event["event"] == "frame" and 0 <= event["index"] < count:
                series["loss"][event["index"]] = _number(event["losses"].get("total"))
                series["seconds"][event["index"]] = _number(event["seconds"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise MediaError(
            f"{path}: expected what `vidstyle … --json` printed, a JSON object a line, got "
            f"{error}; save it with > run.jsonl, or leave --log out"
        ) from error
    return series


def _number(value: Any) -> float | None:
    """Return a number of a log; None for null. Raises ValueError or TypeError."""
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
    """Write the page. log: the losses and times of the run, if they are known.

    overwrite: replace a file of that name. Raises UsageError if there is one that may not be.
    """
    series = {**found.series, **(log or {})}
    curves = [
        _curve(name, [(label, series[key]) for key, label in lines if key in series], found.cuts)
        for name, lines in _CURVES.items()
        if lines[0][0] in series
    ]
    unknown = "" if log else (
        "<p>Losses and times are not known: save what a run prints with --json, and give it as "
        "--log.</p>"
    )  # fmt: skip
    parts = (
        f"<h1>{html.escape(title)}</h1>",
        f"<p>{found.frames} frames{_cuts(found)}</p>",
        _slider(*album.pair),
        album.masked and f"<h2>Measured within</h2><div class=one>{_img(album.masked)}</div>",
        "<h2>Frames</h2><div class=sheet>" + "".join(map(_img, album.sheet)) + "</div>",
        "<h2>Figures</h2>" + _table(found),
        "<h2>Over the frames</h2>" + "".join(curves) + unknown,
    )  # fmt: skip
    page = (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport "
        f'content="width=device-width"><title>{html.escape(title)}</title>'
        f"<style>{_STYLE}</style><body>{''.join(parts)}</body></html>"
    )
    draft = draft_beside(path)
    with writing(path):
        try:
            draft.write_text(page, "utf-8", errors="backslashreplace")
            settle(draft, path, overwrite=overwrite)
        except FileExistsError as error:
            raise UsageError(
                f"{path} appeared while the video was measured, and is left as it is; add "
                "--overwrite to replace it, or choose another --html"
            ) from error
        finally:
            delete(draft)


def _cuts(found: Evaluation) -> str:
    return f", cuts before {', '.join(map(str, found.cuts))}" if found.cuts else ""


def _img(address: str) -> str:
    return f'<img alt="" src="{address}">'


def _slider(before: str, after: str) -> str:
    """Return two pictures over one another, and a handle that uncovers the first."""
    return (
        f"<div class=slide>{_img(before)}<div class=over>{_img(after)}</div></div>"
        '<input type=range min=0 max=100 value=50 aria-label="source left, result right" '
        "oninput=\"this.previousElementSibling.style.setProperty('--at', this.value + '%')\">"
    )


def _table(found: Evaluation) -> str:
    """Return the figures, with those of the source and of frames made one by one beside them."""
    known = found.summary
    columns = {
        head: form
        for head, form in _COLUMNS.items()
        if any(form.format(name) in known for name in known)
    }
    beside = {form.format(name) for name in known for form in columns.values() if form != "{}"}
    rows = "".join(
        f"<tr><td>{name.replace('_', ' ')}"
        + "".join(_cell(known.get(form.format(name))) for form in columns.values())
        for name in sorted(known.keys() - beside)
    )
    return f"<table><tr><th>{''.join(f'<th>{head}' for head in columns)}{rows}</table>"


def _cell(value: float | None) -> str:
    return "<td>" if value is None else f"<td>{value:.4g}"


def _curve(title: str, lines: Sequence[tuple[str, list[float | None]]], cuts: Sequence[int]) -> str:
    """Return a figure of one line a series, on one scale from 0, broken where it has no value."""
    top = max((v for _, row in lines for v in row if v is not None), default=0) or 1.0
    frames = max(len(row) for _, row in lines)
    drawn, legend = [_mark(_across(cut - 0.5, frames)) for cut in cuts], []
    for (label, row), color in zip(lines, _COLORS, strict=False):
        path, pen = [], "M"
        for index, value in enumerate(row):
            if value is None:
                pen = "M"
                continue
            path.append(f"{pen}{_across(index, frames):.1f} {170 - 150 * value / top:.1f}")
            pen = "L"
        drawn.append(f'<path d="{" ".join(path)}" fill="none" stroke="{color}" stroke-width="2"/>')
        legend.append(f'<span style="color: {color}">{label}</span>')
    return (
        f"<figure><figcaption>{title}, up to {top:.4g}: {', '.join(legend)}</figcaption>"
        f'<svg viewBox="0 0 800 180" role="img" aria-label="{title}">{"".join(drawn)}</svg>'
        "</figure>"
    )


def _across(index: float, frames: int) -> float:
    return 10 + 780 * index / max(1, frames - 1)


def _mark(x: float) -> str:
    """Return the upright line of a cut."""
    return f'<path d="M{x:.1f} 10V170" stroke="#999" stroke-dasharray="4"/>'
