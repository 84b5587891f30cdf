"""What a source is, told by its content, measured and counted; and its frames, one by one."""

import re
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from vidstyle.errors import MediaError, UsageError
from vidstyle.inputs import NUMBER as _NUMBER
from vidstyle.inputs import pattern_of as _pattern
from vidstyle.media import animation_read
from vidstyle.media.clip import Clip, Image
from vidstyle.media.large import (
    LARGE,
    Factor,
    check_regular,
    exif_of,
    native,
    reduced_size,
    side_factor,
)
from vidstyle.media.pictures import (
    PICTURES,
    has_clear_pixels,
    open_picture,
    over_white,
    quiet,
    read_pixels,
    resize,
    signatures,
    upright_size,
)

__all__ = ["is_footage", "natural", "probe", "read", "read_alpha"]

_EXPECTED = "expected a video, a picture, a folder of pictures or a numbered pattern (f/%05d.png)"
_VIDEOS = frozenset(
    (
        ".3gp", ".apng", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg",
        ".mpg", ".mts", ".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv", ".y4m",
    )
)  # fmt: skip
_TURNS = {3: 180, 6: 90, 8: 270}  # EXIF orientation -> clockwise degrees; the rest mirror as well


def probe(source: Path | str, *, rate: Fraction | None = None, count: bool = True) -> Clip:
    """Find out what a source is. Raises MediaError if it cannot be used.

    rate: pictures of a folder or pattern are a sequence with this many frames a second.
    count: decode everything, so that counts and times are those of the frames that really come.
    """
    path = Path(source)
    if path.is_dir() or (_NUMBER.search(path.name) and not path.exists()):
        return _probe_pictures(path, _listed(path), rate, count)
    _check_file(path)
    if rate is not None:
        raise UsageError(
            f"--rate: expected a folder of pictures or a numbered pattern, got one file ({path}); "
            "leave --rate out"
        )
    if not _is_picture(path):
        from vidstyle.media import timestamps

        return timestamps.probe_video(path, count)
    with open_picture(path) as picture:
        moves = animation_read.is_animation(picture)
    return animation_read.probe_animation(path, count) if moves else _probe_picture(path, count)


def is_footage(name: str) -> bool:
    """Tell whether a file of this name is taken for a picture, an animation or a video."""
    return Path(name).suffix.lower() in PICTURES | _VIDEOS and not name.startswith(".")


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
            f"{path}: {_EXPECTED}, but that may not be read; mend its rights"
        ) from error
    except OSError as error:
        raise MediaError(f"{path}: {_EXPECTED}, but {error.strerror}") from error
    if size == 0:
        raise MediaError(f"{path}: {_EXPECTED}, got an empty file (0 bytes); get it again")


def _is_picture(path: Path) -> bool:
    """Tell whether Pillow knows the file's first bytes, whole or not."""
    with path.open("rb") as file:
        start = file.read(32)
    return any(test and test(start) is True for test in signatures().values())


def _probe_picture(path: Path, count: bool) -> Clip:
    size, rotation, alpha = _measure(path, count)
    return Clip(
        path=path,
        kind="picture",
        width=size[0],
        height=size[1],
        sizes=(size,),
        frames=1,
        counted=count,
        rotation=rotation,
        alpha=alpha,
        files=(path,),
    )


def _measure(path: Path, count: bool) -> tuple[tuple[int, int], int, bool]:
    """Return ((width, height), rotation, alpha) of a picture; with `count` it must decode as well.

    alpha: with `count`, that a pixel is not opaque; without, that one may be.
    """
    with open_picture(path) as picture, quiet():
        orientation: int = exif_of(picture).get(0x0112) or 1
        size = upright_size(picture)
        alpha = picture.has_transparency_data
        if count:
            if picture.format == "JPEG" and picture.width * picture.height > LARGE:
                picture.draft(picture.mode, (1, 1))  # all of it is read, at an eighth of its size
            picture.load()
            alpha = has_clear_pixels(picture)
        return size, _TURNS.get(orientation, 0), alpha


def _probe_pictures(path: Path, files: list[Path], rate: Fraction | None, count: bool) -> Clip:
    found = [_measure(file, count) for file in files]
    sizes = tuple(size for size, _, _ in found)
    clip = Clip(
        path=path,
        kind="photos",
        width=sizes[0][0],
        height=sizes[0][1],
        sizes=sizes,
        frames=len(files),
        counted=count,
        alpha=any(alpha for _, _, alpha in found),
        files=tuple(files),
        notes=_gaps(path, files),
    )
    return clip if rate is None else _as_sequence(clip, rate)


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


def _listed(path: Path) -> list[Path]:
    """Return the pictures of a folder, or of a numbered pattern, in natural order."""
    folder = path if path.is_dir() else path.parent
    try:
        present = [file for file in folder.iterdir() if file.is_file()]
    except OSError as error:
        raise MediaError(f"{path}: {_EXPECTED}, but {error.strerror}: {folder}") from error
    if path.is_dir():
        files = [file for file in present if _looks_like_picture(file)]
    else:
        files = [file for file in present if _pattern(path).fullmatch(file.name)]
    if not files:
        nothing = "no picture in it" if path.is_dir() else "no file that matches"
        raise MediaError(f"{path}: expected pictures (.png, .jpg and others), got {nothing}")
    return sorted(files, key=lambda file: natural(file.name))


def _looks_like_picture(file: Path) -> bool:
    return file.suffix.lower() in PICTURES and not file.name.startswith(".")


def natural(name: str) -> list[tuple[int, int, str]]:
    """Return a key that puts frame10 after frame9."""
    parts = re.split(r"(\d+)", name.lower())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts] + [
        (2, 0, name)
    ]


def _gaps(path: Path, files: list[Path]) -> tuple[str, ...]:
    if path.is_dir():
        return ()
    pattern = _pattern(path)
    numbers = [int(match[1]) for file in files if (match := pattern.fullmatch(file.name))]
    missing = numbers[-1] - numbers[0] + 1 - len(numbers)
    if missing <= 0:
        return ()
    return (f"{missing} of the numbers {numbers[0]} to {numbers[-1]} are missing: left out",)


def read(clip: Clip, indices: range, side: int | None = None) -> Iterator[Image]:
    """Yield the frames of `indices`, upright, with square pixels, one at a time.

    They come at their native size; those of more than LARGE pixels, if they are needed at `side`
    pixels on the long side, at twice that or more. What is transparent lies over white. Raises
    MediaError if one cannot be read.
    """
    factor = native if side is None else side_factor(side)
    images = (over_white(pixels) for pixels in _read_pixels(clip, indices, factor))
    if clip.kind == "sequence":
        size = (clip.width, clip.height)
        reduced = reduced_size(size, factor(size))
        return (resize(image, *reduced) for image in images)
    return images


def read_alpha(clip: Clip, indices: range, side: int | None = None) -> Iterator[Image]:
    """Yield the alpha of each frame, [H, W, 1], at the size of `read`; 1 where it has none."""
    for pixels in _read_pixels(clip, indices, native if side is None else side_factor(side)):
        yield pixels[..., 3:] if pixels.shape[2] == 4 else np.ones_like(pixels[..., :1])


def _read_pixels(clip: Clip, indices: range, factor: Factor) -> Iterator[Image]:
    if clip.kind == "video":
        from vidstyle.media import decode

        return decode.read_video(clip.path, indices, factor)
    if clip.kind == "animation":
        return animation_read.read_animation(clip.path, indices, factor)
    return (read_pixels(clip.files[index], factor) for index in indices)
