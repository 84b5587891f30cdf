"""Masks and maps as they are drawn: raw values with their alpha, and the frames that they are for.

A `Drawing` is not an `Image`: its colours are weights or labels. So no profile is applied and
nothing is laid over white; palettes are expanded, 16 bits kept, EXIF orientation applied.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import PIL.Image
from PIL import ImageOps

from vidstyle.errors import GuideError
from vidstyle.media import sources
from vidstyle.media.clip import Clip
from vidstyle.media.large import UPRIGHT, area_factor, exif_of, reduced_size
from vidstyle.media.pictures import open_picture, quiet

__all__ = ["Drawing", "GuideFile", "missing", "open_guide", "read_drawing"]

Drawing = np.ndarray[Any, Any]  # float32 [H, W, 4], RGBA, 0..1; the alpha is not multiplied in

_ORIENTATION = 0x0112


@dataclass(frozen=True, kw_only=True)
class GuideFile:
    """The masks or maps that one path gave, and which frames of the source they are for.

    Frames are counted from the beginning of the source, whatever part of it is stylised.

    clip: what was given, as `probe` found it. first: the frame of the first picture of a series.
    files: the pictures in the order of their frames, () for a video and an animation.
    keys: the frames that have a picture, ascending, where only some have; None elsewhere.
    still: one picture serves every frame.
    """

    clip: Clip
    files: tuple[Path, ...]
    first: int = 0
    keys: tuple[int, ...] | None = None
    still: bool = False

    def name(self, frame: int) -> str:
        """Return what to call the picture of a frame in a sentence."""
        place = self._place(frame)
        return str(self.files[place]) if self.files else f"{self.clip.path}, picture {place}"

    def size(self, frame: int) -> tuple[int, int]:
        """Return the (width, height) of the picture of a frame, from its header."""
        sizes = dict(zip(self.clip.files, self.clip.sizes, strict=False))
        own = (self.clip.width, self.clip.height)
        return sizes[self.files[self._place(frame)]] if self.files else own

    def frames(self, indices: range) -> tuple[int, ...]:
        """Return which frames of `indices` have a picture: all, but where `keys` are given."""
        return tuple(indices if self.keys is None else (k for k in self.keys if k in indices))

    @property
    def taken(self) -> Literal["still", "each", "keys"]:
        """Return how the pictures are taken: one for all frames, one for each, or key frames."""
        return "still" if self.still else "each" if self.keys is None else "keys"

    def read(self, indices: range) -> Iterator[tuple[int, Drawing]]:
        """Yield (frame, Drawing) of each of `frames(indices)`, in order, one at a time.

        A still picture is read once; the same array, which may not be written to, comes each time.
        Raises MediaError if a picture cannot be read.
        """
        if self.still:
            drawing = next(self._drawings(range(1)))
            drawing.flags.writeable = False
            return ((frame, drawing) for frame in indices)
        frames = self.frames(indices)
        places = [self._place(frame) for frame in frames]
        span = range(places[0], places[-1] + 1) if places else range(0)
        return zip(frames, self._drawings(span), strict=True)

    def at(self, frame: int) -> Drawing:
        """Return the Drawing of one frame. A video is decoded from its beginning for it."""
        place = self._place(frame)
        return next(self._drawings(range(place, place + 1)))

    def pictures(self) -> Iterator[tuple[str, Drawing]]:
        """Yield (name, Drawing) of every picture once, also those before and after a range."""
        every = range(self.clip.frames)
        named = (
            str(self.files[i]) if self.files else f"{self.clip.path}, picture {i}" for i in every
        )
        return zip(named, self._drawings(every), strict=True)

    def _place(self, frame: int) -> int:
        """Return which of the pictures, from 0, is the frame's. Raises KeyError without one."""
        place = 0 if self.still else frame - self.first
        if self.keys is not None:
            place = self.keys.index(frame) if frame in self.keys else -1
        if not 0 <= place < self.clip.frames:
            raise KeyError(frame)
        return place

    def _drawings(self, places: range) -> Iterator[Drawing]:
        if self.files:
            return (read_drawing(self.files[place]) for place in places)
        read = _read_animation if self.clip.kind == "animation" else _read_video
        return read(self.clip.path, places)


def open_guide(path: Path | str, source: Clip, indices: range) -> GuideFile:
    """Find out which frames of `source` the masks or maps at `path` are for.

    source: the clip, counted, that they were drawn for. indices: its frames that are stylised.

    One file that is a picture serves every frame. A video or an animation has a picture for each
    frame of the source, or for each of `indices`. So has a folder or numbered pattern of as many
    pictures, in natural order. One with fewer holds key frames, if all its names have numbers (the
    last digits before the suffix): the numbers of the source's own pictures where it is a folder
    or pattern with those numbers, else frames counted from 0. Thus a series in which one is
    missing is tracked over the gap. As many pictures as `indices` has frames are key frames too
    if there are gaps between their numbers. Photos have no key frames: a folder or pattern with
    their names, whatever the suffixes, goes by name, and may hold more; another goes in order.

    Raises MediaError for what cannot be read, GuideError for a number that does not fit.
    """
    clip = sources.probe(path)
    if clip.kind == "picture":
        return GuideFile(clip=clip, files=clip.files, still=True)
    if source.kind == "photos" and (named := _named(clip, source, indices)):
        return named
    if clip.frames == source.frames:
        return GuideFile(clip=clip, files=_files(clip))
    if clip.frames > source.frames:
        raise GuideError(_miscounted(clip, source, indices))
    if not _files(clip):
        return _series(clip, source, indices)
    return _numbered(clip, source, indices)


def _files(clip: Clip) -> tuple[Path, ...]:
    return () if clip.kind in ("video", "animation") else clip.files


def _named(clip: Clip, source: Clip, indices: range) -> GuideFile | None:
    """Return the pictures named as the photos of `indices` are, or None if no photo's name is met.

    Raises GuideError if one of them is missing.
    """
    files = _files(clip)
    by_name = {file.stem: place for place, file in reversed(list(enumerate(files)))}
    by_name |= {file.name: place for place, file in enumerate(files)}  # the whole name goes first
    found = [by_name.get(photo.name, by_name.get(photo.stem)) for photo in source.files]
    if all(place is None for place in found):
        return None
    places: list[int] = []
    for index in indices:
        place, photo = found[index], source.files[index]
        if place is None:
            raise GuideError(missing(photo, clip.path, photo.stem))
        places.append(place)
    sizes = tuple(clip.sizes[place] for place in places)
    chosen = tuple(files[place] for place in places)
    named = replace(clip, files=chosen, sizes=sizes, frames=len(chosen))
    return GuideFile(clip=named, files=chosen, first=indices.start)


def missing(source: Path, folder: Path, name: str) -> str:
    """Return the sentence for a source whose mask or map is not there."""
    return (
        f"{source}: expected its mask or map in {folder}, named {name}.png (or .jpg, .tif, ...), "
        "got none; draw one, or leave the source out"
    )


def _series(clip: Clip, source: Clip, indices: range) -> GuideFile:
    if clip.frames != len(indices):
        raise GuideError(_miscounted(clip, source, indices))
    return GuideFile(clip=clip, files=_files(clip), first=indices.start)


def _numbered(clip: Clip, source: Clip, indices: range) -> GuideFile:
    """Return pictures of a folder or pattern that are fewer than the source's frames."""
    numbers = _numbers(clip.files) if source.kind not in ("picture", "photos") else None
    if numbers is None:
        if clip.frames == 1:
            return GuideFile(clip=clip, files=clip.files, still=True)
        return _series(clip, source, indices)
    by_number = dict(zip(numbers, clip.files, strict=True))
    if len(by_number) < len(numbers):
        raise GuideError(_twice(clip, numbers))
    whole = max(numbers) - min(numbers) + 1 == len(numbers)
    if whole and len(numbers) == len(indices) > 1:
        return GuideFile(clip=clip, files=_in_order(by_number), first=indices.start)
    frames = _frames_of(by_number, source)
    keys = tuple(sorted(frames))
    return GuideFile(clip=clip, files=tuple(frames[key] for key in keys), keys=keys)


def _numbers(files: tuple[Path, ...]) -> list[int] | None:
    """Return the last number in each file's name, or None if one has none."""
    found = [re.findall(r"\d+", file.stem) for file in files]
    return [int(digits[-1]) for digits in found] if all(found) else None


def _in_order(by_number: dict[int, Path]) -> tuple[Path, ...]:
    return tuple(by_number[number] for number in sorted(by_number))


def _frames_of(by_number: dict[int, Path], source: Clip) -> dict[int, Path]:
    """Return the frame that each numbered key picture is for. Raises GuideError."""
    own = _numbers(_files(source)) or []
    if len(set(own)) == len(own) and set(by_number) <= set(own):
        return {own.index(number): file for number, file in by_number.items()}
    outside = [number for number in sorted(by_number) if number >= source.frames]
    if outside:
        raise GuideError(
            f"{by_number[outside[0]]}: expected the number of a frame of {source.path}, from 0 to "
            f"{source.frames - 1}, got {outside[0]}; name key frames by their number from 0"
        )
    return by_number


def _twice(clip: Clip, numbers: list[int]) -> str:
    twice = next(number for number in numbers if numbers.count(number) > 1)
    a, b = [file.name for file, n in zip(clip.files, numbers, strict=True) if n == twice][:2]
    return (
        f"{clip.path}: expected one picture for each frame, got {a} and {b}, both with the number "
        f"{twice}; remove one of them, or rename it"
    )


def _miscounted(clip: Clip, source: Clip, indices: range) -> str:
    part = "" if len(indices) == source.frames else f", or {len(indices)} for the part chosen of it"
    wanted = f"expected a picture for each of the {source.frames} frames of {source.path}{part}"
    if not _files(clip):
        return f"{clip.path}: {wanted}, got {clip.frames}; make it from the source, frame by frame"
    mend = "name key frames by their number from 0 (000024.png)"
    if source.kind in ("picture", "photos"):
        mend = "give one picture for all, or one for each in the same order"
    elif clip.frames > source.frames:
        mend = "remove those that are too many"
    return f"{clip.path}: {wanted}, got {clip.frames}; {mend}"


def read_drawing(path: Path) -> Drawing:
    """Read a picture of any kind as a Drawing. Raises MediaError that names it.

    Palettes are expanded. Grey and 1-bit pictures are grey RGB. Without transparency the alpha is
    1. Grey of 16 bits and floating point, and 16-bit colour in PNG and TIFF, keep their precision.
    What has more than LARGE pixels is reduced to as many by taking single pixels, which keeps the
    colours that labels have, with 8 bits a channel.
    """
    with open_picture(path) as picture, quiet():
        deep = ";16" in str(getattr(picture, "tile", "")) and picture.mode in ("RGB", "RGBA", "LA")
        orientation: int = exif_of(picture).get(_ORIENTATION) or 1
        picture.load()
        if area_factor(picture.size) > 1:
            return np.ascontiguousarray(
                UPRIGHT.get(orientation, np.asarray)(_to_drawing(_picked(picture)))
            )
        if deep and (drawing := _read_deep(path)) is not None:
            return np.ascontiguousarray(UPRIGHT.get(orientation, np.asarray)(drawing))
        return _to_drawing(ImageOps.exif_transpose(picture))


def _picked(picture: PIL.Image.Image) -> PIL.Image.Image:
    """Return a picture of at most LARGE pixels, made of single pixels of a larger one."""
    times = area_factor(picture.size)
    if times == 1:
        return picture
    nearest = PIL.Image.Resampling.NEAREST
    return picture.resize(reduced_size(picture.size, times), nearest)


def _read_deep(path: Path) -> Drawing | None:
    """Read a 16-bit colour picture, which Pillow cuts to 8 bits; None if OpenCV cannot either."""
    import cv2

    pixels = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16 or pixels.ndim != 3:
        return None
    drawing = pixels.astype(np.float32) / np.float32(65535)
    colour = drawing[..., 2::-1]
    return np.dstack([colour, drawing[..., 3]]) if drawing.shape[2] == 4 else _opaque(colour)


def _to_drawing(picture: PIL.Image.Image) -> Drawing:
    """Return a Pillow picture of any mode as a Drawing."""
    if picture.mode.startswith("I"):
        return _grey(np.asarray(picture).astype(np.float32) / 65535)
    if picture.mode == "F":
        return _grey(np.nan_to_num(np.asarray(picture, np.float32)))
    mode = "RGBA" if picture.has_transparency_data else "RGB"
    drawing = np.asarray(picture.convert(mode), np.float32) / np.float32(255)
    return drawing if mode == "RGBA" else _opaque(drawing)


def _grey(plane: np.ndarray[Any, Any]) -> Drawing:
    return _opaque(np.repeat(np.clip(plane, 0, 1)[..., None], 3, axis=2))


def _opaque(colour: np.ndarray[Any, Any]) -> Drawing:
    return np.dstack([colour, np.ones(colour.shape[:2], np.float32)])


def _read_animation(path: Path, places: range) -> Iterator[Drawing]:
    with open_picture(path) as picture:
        for place in places:
            with quiet():
                picture.seek(place)
                drawing = _to_drawing(_picked(picture))
            yield drawing


def _read_video(path: Path, places: range) -> Iterator[Drawing]:
    from vidstyle.media import decode

    for pixels in decode.read_video(path, places, area_factor):
        yield pixels if pixels.shape[2] == 4 else _opaque(pixels)
