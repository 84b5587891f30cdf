"""Contact sheet: previews of a source beside each other, a row for each time, a column a look."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
from PIL import ImageDraw, ImageFont

from vidstyle import media
from vidstyle.atomic import drafted
from vidstyle.errors import UsageError, writing
from vidstyle.image import Image
from vidstyle.inputs import check_apart
from vidstyle.jobs.cancel import Cancel
from vidstyle.jobs.events import OnEvent, each_warning_once, ignore
from vidstyle.jobs.job import Job
from vidstyle.jobs.pipeline import MakeStylizer, make_stylizer
from vidstyle.jobs.plan import Work
from vidstyle.jobs.preview import Moment, Previews

__all__ = ["Column", "check_sheet", "contact_sheet", "write_sheet"]

_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
_BACKGROUND, _INK = (24, 24, 24), (232, 232, 232)
_FONT = 1 / 22  # height of the letters, of a picture's long side
_SMALLEST_FONT = 11  # pixels


@dataclass(frozen=True)
class Column:
    """A look: its label, and its job. The output of the job is not written."""

    label: str
    job: Job


def contact_sheet(
    columns: Sequence[Column],
    moments: Sequence[Moment],
    *,
    on_event: OnEvent | None = None,
    on_picture: Callable[[], None] = lambda: None,
    cancel: Cancel | None = None,
    make_stylizer: MakeStylizer = make_stylizer,
) -> Image:
    """Return the sheet: float32 [H, W, 3], RGB, 0..1; the first column is the source.

    columns: one or more, of one source, range and size. moments: the rows; empty: the frame in the
    middle. on_event: see Previews. on_picture: called after each preview. Raises VidstyleError,
    for a moment that the source does not have before anything is stylised.
    """
    notify = each_warning_once(on_event or ignore)
    rows: dict[int, list[Image]] = {}
    labels: list[str] = []
    for column in columns:
        previews = Previews(column.job, on_event=notify, cancel=cancel, make_stylizer=make_stylizer)
        positions = _positions(previews.work, moments)
        labels = labels or [_label(previews.work, position) for position in positions]
        for position in positions:
            frame, made = previews.stylized(position)
            rows.setdefault(position, [frame]).append(made.output_image)
            on_picture()
    return _drawn(["source", *(column.label for column in columns)], labels, list(rows.values()))


def _positions(work: Work, moments: Sequence[Moment]) -> list[int]:
    """Return the distinct positions of the moments, in the order given."""
    if not moments:
        return [len(work.indices) // 2]
    return list(dict.fromkeys(moment.position(work) for moment in moments))


def _label(work: Work, position: int) -> str:
    clip = work.clip
    if clip.kind == "picture":
        return clip.path.name
    if not work.linked:
        return f"{clip.files[position].name}, {position}f"
    return f"{media.times_of(clip)[position]:.2f} s, {position}f"


def check_sheet(output: Path, jobs: Sequence[Job], *, overwrite: bool) -> None:
    """Raise UsageError unless the sheet may be written to `output`."""
    if output.suffix.lower() not in _SUFFIXES:
        raise UsageError(
            f"{output}: expected a picture for the contact sheet ({', '.join(_SUFFIXES)}), got "
            f"{output.suffix or 'no suffix'}; choose another output"
        )
    for job in jobs:
        check_apart(output, job.inputs)
    if not output.absolute().parent.is_dir():
        raise UsageError(f"the folder {output.parent} for the output does not exist; make it first")
    if output.is_dir() or (not overwrite and (output.exists() or output.is_symlink())):
        what = "is a folder" if output.is_dir() else "exists"
        raise UsageError(
            f"{output} {what}; add --overwrite to replace a picture, or choose another output"
        )


def write_sheet(output: Path, sheet: Image, *, overwrite: bool) -> None:
    """Write the sheet under a temporary name, and move it into place. Raises OutputError."""
    with writing(output), drafted(output, overwrite=overwrite) as draft:
        media.write_picture(draft, sheet)


def _drawn(heads: Sequence[str], labels: Sequence[str], rows: Sequence[Sequence[Image]]) -> Image:
    """Return the pictures in a table, with a head above each column and a label above each row.

    Pictures of different sizes, as photos have them, stand at the top left of their cells.
    """
    width = max(picture.shape[1] for row in rows for picture in row)
    size = max(_SMALLEST_FONT, round(_FONT * max(max(row[0].shape[:2]) for row in rows)))
    font, line, gap = ImageFont.load_default(size), 2 * size, max(4, size // 2)
    heights = [max(picture.shape[0] for picture in row) + line for row in rows]
    whole = (gap + len(heads) * (width + gap), line + sum(heights) + gap * len(rows))
    sheet = PIL.Image.new("RGB", whole, _BACKGROUND)
    pen = ImageDraw.Draw(sheet)
    lefts = [gap + number * (width + gap) for number in range(len(heads))]
    for left, head in zip(lefts, heads, strict=True):
        pen.text((left, size // 2), _fitted(head, font, width), font=font, fill=_INK)
    for top, label, row in zip(_tops(heights, line, gap), labels, rows, strict=True):
        pen.text((gap, top + size // 2), label, font=font, fill=_INK)
        for left, picture in zip(lefts, row, strict=True):
            pixels = np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)
            sheet.paste(PIL.Image.fromarray(pixels), (left, top + line))
    return np.asarray(sheet, np.float32) / np.float32(255)


def _tops(heights: Sequence[int], line: int, gap: int) -> Iterator[int]:
    top = line
    for height in heights:
        yield top
        top += height + gap


def _fitted(text: str, font: "ImageFont.FreeTypeFont | ImageFont.ImageFont", width: int) -> str:
    """Return the text, its middle cut out if it is wider than `width` pixels."""
    cut, half = text, len(text) // 2
    while font.getlength(cut) > width and half > 1:
        half -= 1
        cut = f"{text[:half]}…{text[-half:]}"
    return cut
