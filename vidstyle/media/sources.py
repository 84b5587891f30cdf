"""Probing a source (recognised by its content) and reading its frames one by one."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from vidstyle.errors import MediaError, UsageError, as_path
from vidstyle.image import Image, over_white, resize
from vidstyle.media.animations import read as animations
from vidstyle.media.clip import Clip
from vidstyle.media.large import (
    LARGE,
    Factor,
    check_regular,
    exif_of,
    native,
    reduced_size,
    side_factor,
)
from vidstyle.media.listing import is_pattern, list_pictures
from vidstyle.media.pictures.deep import depth_of, has_transparent_values, loses_depth, reads_deep
from vidstyle.media.pictures.files import (
    is_picture,
    is_transparent,
    open_picture,
    quiet,
    read_pixels,
    upright_size,
)
from vidstyle.media.pictures.jpegs import lacks_end
from vidstyle.media.pictures.raws import check_developed

__all__ = ["probe", "probe_headers", "read", "read_alpha", "read_frame"]

_EXPECTED = "expected a video, a picture, a folder of pictures or a numbered pattern (f/%05d.png)"
_TURNS = {3: 180, 6: 90, 8: 270}  # EXIF orientation -> clockwise degrees; the others also mirror


def probe(source: Path | str, *, rate: Fraction | None = None, count: bool = True) -> Clip:
    """Return the metadata of a source. Raises MediaError if it cannot be used.

    rate: treat a folder or numbered pattern as a sequence at this many frames per second.
    count: decode everything, so that counts and times describe the frames that really decode.
    """
    path = as_path(source, "source")
    if path.is_dir() or is_pattern(path):
        return _probe_pictures(path, rate, count)
    _check_file(path)
    check_developed(path)
    if rate is not None:
        raise UsageError(
            f"--rate: expected a folder of pictures or a numbered pattern, got one file ({path}); "
            "leave --rate out"
        )
    if not is_picture(path):
        from vidstyle.media.decoding import timestamps

        return timestamps.probe_video(path, count)
    with open_picture(path) as picture:
        moves = animations.is_animation(picture)
    return animations.probe_animation(path, count) if moves else _probe_picture(path, count)


def probe_headers(source: Path | str, *, rate: Fraction | None = None) -> Clip:
    """Return the metadata of a source with the times of its frames, without decoding a video.

    The frames are those that the packets declare; of a damaged file, some may not decode.
    """
    clip = probe(source, rate=rate, count=False)
    if clip.kind == "animation":  # small, and its times are known only by decoding
        return probe(source, rate=rate)
    if clip.kind != "video":
        return clip
    from vidstyle.media.decoding.timestamps import with_declared_times

    return with_declared_times(clip)


def _check_file(path: Path) -> None:
    check_regular(path)
    try:
        size = path.stat().st_size
        with path.open("rb"):
            pass
    except FileNotFoundError as error:
        raise MediaError(f"{path}: {_EXPECTED}, but there is no such file") from error
    except PermissionError as error:
        raise MediaError(
            f"{path}: {_EXPECTED}, but it may not be read; change its permissions"
        ) from error
    except OSError as error:
        raise MediaError(f"{path}: {_EXPECTED}, but {error.strerror}") from error
    if size == 0:
        raise MediaError(f"{path}: {_EXPECTED}, got an empty file (0 bytes); get it again")


def _probe_picture(path: Path, count: bool) -> Clip:
    found = _measure(path, count)
    return Clip(
        path=path,
        kind="picture",
        width=found.size[0],
        height=found.size[1],
        sizes=(found.size,),
        frames=1,
        counted=count,
        rotation=found.rotation,
        depth=found.depth,
        alpha=found.alpha,
        files=(path,),
        notes=_file_notes([path], [found]),
    )


@dataclass(frozen=True)
class _Measured:
    """Measurements of one picture: upright (width, height), rotation in degrees, bits per channel.

    alpha: some pixel is not opaque; from the header alone: one may be.
    shallow: it is read with fewer bits per channel than it has.
    """

    size: tuple[int, int]
    rotation: int
    depth: int
    alpha: bool
    shallow: bool


def _measure(path: Path, count: bool) -> _Measured:
    """Measure a picture from its header; with `count` it is decoded as well."""
    with open_picture(path) as picture, quiet():
        orientation: int = exif_of(picture).get(0x0112) or 1
        size, depth = upright_size(picture), depth_of(path, picture)
        alpha, shallow = picture.has_transparency_data, loses_depth(path, picture)
        if count and reads_deep(path, picture):
            alpha = has_transparent_values(path, picture)
        elif count:
            if picture.format == "JPEG" and picture.width * picture.height > LARGE:
                picture.draft(picture.mode, (1, 1))  # decodes all data at 1/8 size
            picture.load()
            alpha = is_transparent(picture)
        return _Measured(size, _TURNS.get(orientation, 0), depth, alpha, shallow)


def _file_notes(files: list[Path], found: list[_Measured]) -> tuple[str, ...]:
    """Return notes on JPEG files without an end marker and on reduced bit depth."""
    without_end = ", ".join(file.name for file in files if lacks_end(file))
    shallow = ", ".join(file.name for file, one in zip(files, found, strict=True) if one.shallow)
    notes = (
        (without_end, "the end marker is missing but all pixels are there: read as whole"),
        (shallow, "16 bits per channel are read as 8 for this kind or size of picture"),
    )
    return tuple(f"{names}: {note}" for names, note in notes if names)


def _probe_pictures(path: Path, rate: Fraction | None, count: bool) -> Clip:
    files, notes = list_pictures(path, _EXPECTED)
    found = _measured(path, files, count, rate is None)
    sizes = tuple(one.size for one in found)
    clip = Clip(
        path=path,
        kind="photos",
        width=sizes[0][0],
        height=sizes[0][1],
        sizes=sizes,
        frames=len(files),
        counted=count,
        depth=max(one.depth for one in found),
        alpha=any(one.alpha for one in found),
        files=tuple(files),
        notes=notes + _file_notes(files, found),
    )
    return clip if rate is None else _as_sequence(clip, rate)


def _measured(path: Path, files: list[Path], count: bool, unrelated: bool) -> list[_Measured]:
    """Measure the pictures of a folder. Raises one MediaError that names all unusable ones.

    unrelated: they are photos, not the frames of a sequence.
    """
    found, faults = [], []
    for file in files:
        try:
            found.append(_measure(file, count))
        except MediaError as error:
            faults.append(f"{file.name} ({_fault(file, error)})")
    if not faults:
        return found
    if not count:  # damage in the others shows only in decoding
        return _measured(path, files, True, unrelated)
    advice = "get them again, or add -r to go on without them" if unrelated else "get them again"
    raise MediaError(
        f"{path}: expected {len(files)} whole pictures, got {len(faults)} that cannot be used: "
        f"{', '.join(faults)}; {advice}"
    )


def _fault(file: Path, error: MediaError) -> str:
    """Return the "got" part of an error message."""
    message = str(error).removeprefix(f"{file}: ")
    got = message.partition(", got ")[2] or message.partition(", but ")[2] or message
    return got.rpartition("; ")[0] or got


def _as_sequence(clip: Clip, rate: Fraction) -> Clip:
    rate = Fraction(rate)
    notes = clip.notes
    if len(set(clip.sizes)) > 1:
        notes += (f"the pictures differ in size: all become {clip.width}x{clip.height}",)
    return replace(
        clip,
        kind="sequence",
        rate=rate,
        time_base=1 / rate,
        timestamps=tuple(range(clip.frames)),
        end=clip.frames,
        variable=False,
        duration=float(clip.frames / rate),
        notes=notes,
    )


def read(clip: Clip, indices: range, side: int | None = None) -> Iterator[Image]:
    """Yield the frames of `indices` one at a time: [H, W, 3], upright, with square pixels.

    Frames have their native size; if `side` is given, those of more than LARGE pixels are reduced
    while decoding, to no less than twice `side` on the long side. Transparent frames are composited
    over white. Raises MediaError if a frame cannot be read.
    """
    factor = native if side is None else side_factor(side)
    images = (over_white(pixels) for pixels in _read_pixels(clip, indices, factor))
    if clip.kind == "sequence":
        size = (clip.width, clip.height)
        reduced = reduced_size(size, factor(size))
        return (resize(image, *reduced) for image in images)
    return images


def read_frame(clip: Clip, index: int, side: int) -> Image:
    """Return one frame as `read` does; a video is decoded from the key frame before it."""
    if clip.kind != "video":
        return next(read(clip, range(index, index + 1), side))
    from vidstyle.media.decoding.seeking import VideoFrames

    with VideoFrames(clip.path, side) as frames:
        frames.scan()
        return over_white(frames.read(index))


def read_alpha(clip: Clip, indices: range, side: int | None = None) -> Iterator[Image]:
    """Yield the alpha of each frame, [H, W, 1], at the size of `read`; 1 without alpha."""
    for pixels in _read_pixels(clip, indices, native if side is None else side_factor(side)):
        yield pixels[..., 3:] if pixels.shape[2] == 4 else np.ones_like(pixels[..., :1])


def _read_pixels(clip: Clip, indices: range, factor: Factor) -> Iterator[Image]:
    if clip.kind == "video":
        from vidstyle.media.decoding import decode

        return decode.read_video(clip.path, indices, factor)
    if clip.kind == "animation":
        return animations.read_animation(clip.path, indices, factor)
    return (read_pixels(clip.files[index], factor) for index in indices)
