"""Propagate masks or maps from key frames to all frames, as pictures that can be edited."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from vidstyle import media
from vidstyle.atomic import commit, delete, draft_beside
from vidstyle.errors import UsageError, writing
from vidstyle.guides import guide
from vidstyle.guides import palette as palettes
from vidstyle.guides.frame_guides import GuideSeries
from vidstyle.image import Image
from vidstyle.inputs import check_apart

__all__ = ["write_tracks"]


def write_tracks(  # noqa: PLR0913 - one argument for each option of `track`
    source: Path,
    output: Path,
    *,
    map: Path | None = None,
    mask: Path | None = None,
    start: float | None = None,
    end: float | None = None,
    rate: Fraction | None = None,
    overwrite: bool = False,
    notify: Callable[[int, int], None] = lambda done, of: None,
    warn: Callable[[str], None] = lambda message: None,
    note: Callable[[dict[str, Any]], None] = lambda event: None,
) -> int:
    """Write a PNG for every frame of `source` into the folder `output`; return their number.

    map, mask: exactly one; key frames, or pictures for all frames. Files are named by frame number,
    from 0, so that the folder can be used as --map or --mask. start, end: in seconds; rate: frames
    per second of a folder of pictures. notify(frames done, frames in all) is called after each
    frame; warn and note as in GuideSeries. Raises VidstyleError.
    """
    if (map is None) == (mask is None):
        raise UsageError("track: expected either --map or --mask, got both or neither")
    check_apart(output, (source, *filter(None, (map, mask))))
    if output.exists() and not (output.is_dir() and (overwrite or not any(output.iterdir()))):
        raise UsageError(
            f"{output}: expected a new or empty folder; add --overwrite, or choose another output"
        )
    if rate is None and not source.is_file() and start is None and end is None:
        rate = Fraction(25)  # of a folder; any rate will do without start and end
    clip = media.probe(source, rate=rate)
    indices = media.select(clip, start, end)
    series = GuideSeries(clip, indices, lambda _: (clip.width, clip.height), warn, note)
    pictures = _maps(series, map) if map else _masks(series, mask or Path())
    with writing(output):
        output.mkdir(exist_ok=True)
        for index, picture in zip(indices, pictures, strict=True):
            _write(output / f"{index:06d}.png", picture, overwrite=overwrite)
            notify(index - indices.start + 1, len(indices))
    return len(indices)


def _write(path: Path, picture: Image, *, overwrite: bool) -> None:
    draft = draft_beside(path)
    try:
        media.write_picture(draft, picture)
        commit(draft, path, overwrite=overwrite)
    except FileExistsError as error:
        raise UsageError(
            f"{path} appeared while frames were tracked, and is left as it is; add --overwrite to "
            "replace it, or choose another output"
        ) from error
    finally:
        delete(draft)


def _maps(series: GuideSeries, path: Path) -> Iterator[Image]:
    """Yield the map of each frame in the colours of its palette."""
    drawn = series.open(path)
    series.report(drawn)
    palette = palettes.palette_of(drawn.pictures(), str(path))
    matches = [palettes.Match(place, name, ()) for place, name in enumerate(palette.names)]
    for planes in series.maps(drawn, palette, matches, palettes.TOLERANCE):
        yield np.asarray(planes @ palette.colors, np.float32)


def _masks(series: GuideSeries, path: Path) -> Iterator[Image]:
    """Yield the mask of each frame as a grey image."""
    drawn = series.open(path)
    guide.check_covers(drawn)
    series.report(drawn)
    for plane in series.masks(drawn):
        yield np.repeat(plane, 3, axis=2)
