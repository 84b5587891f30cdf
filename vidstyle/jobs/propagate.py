"""Propagate masks or maps from key frames to all frames, as pictures that can be edited."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vidstyle import media
from vidstyle.atomic import drafted
from vidstyle.errors import UsageError, writing
from vidstyle.guides import palette as palettes
from vidstyle.guides.frame_guides import GuideSeries
from vidstyle.image import Image
from vidstyle.inputs import check_apart, is_automatic
from vidstyle.jobs.mask_sheet import write_sheet

__all__ = ["check_folder", "picture_names", "write_pictures", "write_tracks"]


def write_tracks(  # noqa: PLR0913 - one argument for each option of `track`
    source: Path,
    output: Path,
    *,
    map: Path | None = None,
    mask: Path | None = None,
    start: float | None = None,
    end: float | None = None,
    rate: Fraction | None = None,
    refine: bool = False,
    preview: Path | None = None,
    overwrite: bool = False,
    notify: Callable[[int, int], None] = lambda done, of: None,
    warn: Callable[[str], None] = lambda message: None,
    note: Callable[[dict[str, Any]], None] = lambda event: None,
) -> int:
    """Write a PNG for every frame of `source` into the folder `output`; return their number.

    map, mask: exactly one; key frames, or pictures for all frames; mask may be "auto" or
    "auto:background". Files are named by frame number, from 0, so that the folder can be used as
    --map or --mask; automatic masks of photos by the photo. start, end: in seconds; rate: frames
    per second of a folder of pictures. refine: mend tracked masks by the click model. preview: a
    picture of some frames under their masks to write. notify(frames done, frames in all) is called
    after each frame; warn and note as in GuideSeries. Raises VidstyleError.
    """
    _check_guides(map, mask, refine=refine)
    automatic = mask is not None and is_automatic(mask)
    drawn = () if automatic else filter(None, (map, mask))
    check_folder(output, (source, *drawn), preview, overwrite=overwrite)
    if rate is None and not source.is_file() and start is None and end is None and not automatic:
        rate = Fraction(25)  # of a folder; any rate will do without start and end
    clip = media.probe(source, rate=rate)
    indices = media.select(clip, start, end)
    series = GuideSeries(clip, indices, partial(_size, clip, indices), warn, note)
    pictures = _maps(series, map) if map else _masks(series, mask or Path(), refine)
    rows = ([picture] for picture in pictures)
    write_pictures([output], picture_names(clip, indices), rows, notify, overwrite=overwrite)
    if preview is not None:
        write_sheet(preview, clip, indices, [output], overwrite=overwrite)
    return len(indices)


def _check_guides(map: Path | None, mask: Path | None, *, refine: bool) -> None:
    if (map is None) == (mask is None):
        raise UsageError("track: expected either --map or --mask, got both or neither")
    if refine and mask is None:
        raise UsageError("--refine: expected --mask, got --map, which is not refined; leave it out")


def write_pictures(
    folders: Sequence[Path],
    names: Sequence[str],
    pictures: Iterable[Sequence[Image]],
    notify: Callable[[int, int], None],
    *,
    overwrite: bool,
) -> None:
    """Write the pictures of each frame, one into each folder. notify(frames done, in all)."""
    with writing(folders[0]):
        for folder in folders:
            folder.mkdir(exist_ok=True)
        for done, (name, row) in enumerate(zip(names, pictures, strict=True), 1):
            for folder, picture in zip(folders, row, strict=True):
                write_picture(folder / name, picture, overwrite=overwrite)
            notify(done, len(names))


def _size(clip: media.Clip, indices: range, position: int) -> tuple[int, int]:
    """Return the (width, height) of the frame at a position."""
    if clip.kind in ("picture", "photos"):
        return clip.sizes[indices[position]]
    return clip.width, clip.height


def check_folder(
    output: Path, inputs: Iterable[Path], preview: Path | None, *, overwrite: bool
) -> None:
    """Raise UsageError for an output folder or a preview that may not be written."""
    for path in filter(None, (output, preview)):
        check_apart(path, inputs)
    if output.exists() and not (output.is_dir() and (overwrite or not any(output.iterdir()))):
        raise UsageError(
            f"{output}: expected a new or empty folder; add --overwrite, or choose another output"
        )
    if preview is not None and preview.exists() and not overwrite:
        raise UsageError(f"{preview} exists; add --overwrite, or choose another --preview")


def picture_names(clip: media.Clip, indices: range) -> list[str]:
    """Return the name of each frame's picture: its number, or for a photo its name."""
    if clip.kind in ("picture", "photos"):
        stems = [clip.files[index].stem for index in indices]
        if len(set(stems)) == len(stems):
            return [f"{stem}.png" for stem in stems]
    return [f"{index:06d}.png" for index in indices]


def write_picture(path: Path, picture: Image, *, overwrite: bool) -> None:
    """Write a picture under a temporary name and move it to `path`. Raises UsageError."""
    try:
        with drafted(path, overwrite=overwrite) as draft:
            media.write_picture(draft, picture)
    except FileExistsError as error:
        raise UsageError(
            f"{path} appeared while frames were tracked, and is left as it is; add --overwrite to "
            "replace it, or choose another output"
        ) from error


def _maps(series: GuideSeries, path: Path) -> Iterator[Image]:
    """Yield the map of each frame in the colours of its palette."""
    drawn = series.open(path)
    series.report(drawn)
    palette = palettes.palette_of(drawn.pictures(), str(path))
    matches = [palettes.Match(place, name, ()) for place, name in enumerate(palette.names)]
    for planes in series.maps(drawn, palette, matches, palettes.TOLERANCE):
        yield np.asarray(planes @ palette.colors, np.float32)


def _masks(series: GuideSeries, path: Path, refine: bool) -> Iterator[Image]:
    """Yield the mask of each frame as a grey image."""
    mend = None
    if refine:
        from vidstyle.guides.mending import Mender

        mend = Mender()
    for plane in series.all_masks(path, mend):
        yield np.repeat(plane, 3, axis=2)
