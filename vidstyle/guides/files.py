"""Files of masks and label maps: raw pixel values with alpha, and their frames of the source.

An `RgbaPicture` is not an `Image`: its values are weights or labels. No colour profile is applied
and alpha is kept; palettes are expanded, 16 bits kept, EXIF orientation applied.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import PIL.Image
from PIL import ImageOps

from vidstyle.errors import GuideError
from vidstyle.media import sources
from vidstyle.media.clip import Clip
from vidstyle.media.large import UPRIGHT, area_factor, exif_of, reduced_size
from vidstyle.media.pictures.files import open_picture, quiet

__all__ = ["GuideFile", "RgbaPicture", "missing", "open_guide", "read_rgba"]

RgbaPicture = np.ndarray  # float32 [H, W, 4], RGBA, 0..1; alpha is not premultiplied

_ORIENTATION = 0x0112


@dataclass(frozen=True, kw_only=True)
class GuideFile:
    """The masks or maps of one path, assigned to frames of the source.

    Frame numbers count from the beginning of the source, also where only a part is stylised.

    clip: the probed path. files: the pictures in the order of their frames; () for a video or an
    animation. first: the frame of the first picture of a series. keys: the key frames, ascending;
    None if all frames have a picture. still: one picture for all frames.
    """

    clip: Clip
    files: tuple[Path, ...]
    first: int = 0
    keys: tuple[int, ...] | None = None
    still: bool = False

    def name(self, frame: int) -> str:
        """Return the name of the picture of a frame, for errors."""
        return self._name(self._index(frame))

    def size(self, frame: int) -> tuple[int, int]:
        """Return the (width, height) of the picture of a frame, from its header."""
        sizes = dict(zip(self.clip.files, self.clip.sizes, strict=False))
        own = (self.clip.width, self.clip.height)
        return sizes[self.files[self._index(frame)]] if self.files else own

    def frames(self, indices: range) -> tuple[int, ...]:
        """Return the frames of `indices` that have a picture."""
        return tuple(indices if self.keys is None else (k for k in self.keys if k in indices))

    @property
    def taken(self) -> Literal["still", "each", "keys"]:
        """Return how pictures are assigned: one for all frames, one for each, or key frames."""
        return "still" if self.still else "each" if self.keys is None else "keys"

    def read(self, indices: range) -> Iterator[tuple[int, RgbaPicture]]:
        """Yield (frame, RgbaPicture) of each of `frames(indices)`, in order.

        A still picture is read once and yielded as the same read-only array. Raises MediaError.
        """
        if self.still:
            rgba = next(self._pictures(range(1)))
            rgba.flags.writeable = False
            return ((frame, rgba) for frame in indices)
        frames = self.frames(indices)
        positions = [self._index(frame) for frame in frames]
        span = range(positions[0], positions[-1] + 1) if positions else range(0)
        return zip(frames, self._pictures(span), strict=True)

    def at(self, frame: int) -> RgbaPicture:
        """Return the RgbaPicture of one frame. A video is decoded from its beginning."""
        index = self._index(frame)
        return next(self._pictures(range(index, index + 1)))

    def pictures(self) -> Iterator[tuple[str, RgbaPicture]]:
        """Yield (name, RgbaPicture) of every picture once, whatever part is stylised."""
        every = range(self.clip.frames)
        return zip(map(self._name, every), self._pictures(every), strict=True)

    def _name(self, index: int) -> str:
        return str(self.files[index]) if self.files else f"{self.clip.path}, picture {index}"

    def _index(self, frame: int) -> int:
        """Return the index of the frame's picture. Raises KeyError without one."""
        index = 0 if self.still else frame - self.first
        if self.keys is not None:
            index = self.keys.index(frame) if frame in self.keys else -1
        if not 0 <= index < self.clip.frames:
            raise KeyError(frame)
        return index

    def _pictures(self, positions: range) -> Iterator[RgbaPicture]:
        if self.files:
            return (read_rgba(self.files[index]) for index in positions)
        read = _read_animation if self.clip.kind == "animation" else _read_video
        return read(self.clip.path, positions)


def open_guide(path: Path | str, source: Clip, indices: range) -> GuideFile:
    """Assign the masks or maps at `path` to the frames of `source`.

    source: the clip; if it is counted, the guides are too. indices: its frames that are stylised.

    A single picture is for all frames. A video or an animation has a picture for each frame of the
    source, or for each of `indices`; so has a folder or pattern of as many pictures, in natural
    order. Fewer pictures are key frames if every name has a number (the last digits before the
    suffix): a number of the source's own pictures if they have all of these, else a frame index.
    Thus a series that lacks a frame is propagated across it. As many pictures as `indices` are also
    key frames if their numbers have gaps.

    For photos, a folder or pattern with their names, whatever the suffix, is assigned by name and
    may hold more; others are assigned in order. There are no key frames.

    Raises MediaError for unreadable files, GuideError for a count or number that does not fit.
    """
    clip = sources.probe(path) if source.counted else sources.probe_headers(path)
    if clip.kind == "picture":
        return GuideFile(clip=clip, files=clip.files, still=True)
    if source.kind == "photos" and (named := _named(clip, source, indices)):
        return named
    if clip.frames == source.frames:
        return GuideFile(clip=clip, files=_files(clip))
    if clip.frames > source.frames:
        raise GuideError(_count_message(clip, source, indices))
    if not _files(clip):
        return _series(clip, source, indices)
    return _numbered(clip, source, indices)


def _files(clip: Clip) -> tuple[Path, ...]:
    return () if clip.kind in ("video", "animation") else clip.files


def _named(clip: Clip, source: Clip, indices: range) -> GuideFile | None:
    """Assign pictures by the names of the photos, or return None if no name matches.

    Raises GuideError if a photo of `indices` has no picture.
    """
    files = _files(clip)
    by_name = {file.stem: index for index, file in reversed(list(enumerate(files)))}
    by_name |= {
        file.name: index for index, file in enumerate(files)
    }  # the full name takes precedence
    found = [by_name.get(photo.name, by_name.get(photo.stem)) for photo in source.files]
    if all(index is None for index in found):
        return None
    positions: list[int] = []
    for frame in indices:
        index, photo = found[frame], source.files[frame]
        if index is None:
            raise GuideError(missing(photo, clip.path, photo.stem))
        positions.append(index)
    sizes = tuple(clip.sizes[index] for index in positions)
    chosen = tuple(files[index] for index in positions)
    named = replace(clip, files=chosen, sizes=sizes, frames=len(chosen))
    return GuideFile(clip=named, files=chosen, first=indices.start)


def missing(source: Path, folder: Path, name: str) -> str:
    """Return the error message for a source without mask or map."""
    return (
        f"{source}: expected its mask or map in {folder}, named {name}.png (or .jpg, .tif, ...), "
        "got none; draw one, or leave the source out"
    )


def _series(clip: Clip, source: Clip, indices: range) -> GuideFile:
    if clip.frames != len(indices):
        raise GuideError(_count_message(clip, source, indices))
    return GuideFile(clip=clip, files=_files(clip), first=indices.start)


def _numbered(clip: Clip, source: Clip, indices: range) -> GuideFile:
    """Assign fewer pictures than the source has frames."""
    numbers = _numbers(clip.files) if source.kind not in ("picture", "photos") else None
    if numbers is None:
        if clip.frames == 1:
            return GuideFile(clip=clip, files=clip.files, still=True)
        return _series(clip, source, indices)
    by_number = dict(zip(numbers, clip.files, strict=True))
    if len(by_number) < len(numbers):
        raise GuideError(_duplicate_message(clip, numbers))
    consecutive = max(numbers) - min(numbers) + 1 == len(numbers)
    if consecutive and len(numbers) == len(indices) > 1:
        return GuideFile(clip=clip, files=_by_ascending_number(by_number), first=indices.start)
    frames = _frames_of(by_number, source)
    keys = tuple(sorted(frames))
    return GuideFile(clip=clip, files=tuple(frames[key] for key in keys), keys=keys)


def _numbers(files: tuple[Path, ...]) -> list[int] | None:
    """Return the last number in each file name, or None if one has no number."""
    found = [re.findall(r"\d+", file.stem) for file in files]
    return [int(digits[-1]) for digits in found] if all(found) else None


def _by_ascending_number(by_number: dict[int, Path]) -> tuple[Path, ...]:
    return tuple(by_number[number] for number in sorted(by_number))


def _frames_of(by_number: dict[int, Path], source: Clip) -> dict[int, Path]:
    """Return the key pictures by frame. Raises GuideError for a number beyond the source."""
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


def _duplicate_message(clip: Clip, numbers: list[int]) -> str:
    twice = next(number for number in numbers if numbers.count(number) > 1)
    a, b = [file.name for file, n in zip(clip.files, numbers, strict=True) if n == twice][:2]
    return (
        f"{clip.path}: expected one picture for each frame, got {a} and {b}, both with the number "
        f"{twice}; remove one of them, or rename it"
    )


def _count_message(clip: Clip, source: Clip, indices: range) -> str:
    part = "" if len(indices) == source.frames else f", or {len(indices)} for the part to stylise"
    wanted = f"expected a picture for each of the {source.frames} frames of {source.path}{part}"
    if not _files(clip):
        return f"{clip.path}: {wanted}, got {clip.frames}; make it from the source, frame by frame"
    remedy = "name key frames by their number from 0 (000024.png)"
    if source.kind in ("picture", "photos"):
        remedy = "give one picture for all, or one for each in the same order"
    elif clip.frames > source.frames:
        remedy = "remove the extra ones"
    return f"{clip.path}: {wanted}, got {clip.frames}; {remedy}"


def read_rgba(path: Path) -> RgbaPicture:
    """Read a picture file as an RgbaPicture. Raises MediaError that names it.

    Palettes are expanded, grey becomes grey RGB, a missing alpha becomes 1. 16-bit and float grey
    and 16-bit colour in PNG and TIFF keep their precision. A picture of more than LARGE pixels is
    subsampled (nearest), which keeps the colours of labels, at 8 bits a channel.
    """
    with open_picture(path) as picture, quiet():
        deep = ";16" in str(getattr(picture, "tile", "")) and picture.mode in ("RGB", "RGBA", "LA")
        orientation: int = exif_of(picture).get(_ORIENTATION) or 1
        picture.load()
        if area_factor(picture.size) > 1:
            return np.ascontiguousarray(
                UPRIGHT.get(orientation, np.asarray)(_to_rgba(_subsampled(picture)))
            )
        if deep and (rgba := _read_deep(path)) is not None:
            return np.ascontiguousarray(UPRIGHT.get(orientation, np.asarray)(rgba))
        return _to_rgba(ImageOps.exif_transpose(picture))


def _subsampled(picture: PIL.Image.Image) -> PIL.Image.Image:
    """Return the picture, subsampled to at most LARGE pixels."""
    factor = area_factor(picture.size)
    if factor == 1:
        return picture
    nearest = PIL.Image.Resampling.NEAREST
    return picture.resize(reduced_size(picture.size, factor), nearest)


def _read_deep(path: Path) -> RgbaPicture | None:
    """Read a 16-bit colour picture, which Pillow truncates to 8 bits; None if OpenCV cannot."""
    import cv2

    pixels = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16 or pixels.ndim != 3:
        return None
    rgba = pixels.astype(np.float32) / np.float32(65535)
    colour = rgba[..., 2::-1]
    return np.dstack([colour, rgba[..., 3]]) if rgba.shape[2] == 4 else _opaque(colour)


def _to_rgba(picture: PIL.Image.Image) -> RgbaPicture:
    """Return a Pillow picture of any mode as a RgbaPicture."""
    if picture.mode.startswith("I"):
        return _grey(np.asarray(picture).astype(np.float32) / 65535)
    if picture.mode == "F":
        return _grey(np.nan_to_num(np.asarray(picture, np.float32)))
    mode = "RGBA" if picture.has_transparency_data else "RGB"
    rgba = np.asarray(picture.convert(mode), np.float32) / np.float32(255)
    return rgba if mode == "RGBA" else _opaque(rgba)


def _grey(plane: np.ndarray) -> RgbaPicture:
    return _opaque(np.repeat(np.clip(plane, 0, 1)[..., None], 3, axis=2))


def _opaque(colour: np.ndarray) -> RgbaPicture:
    return np.dstack([colour, np.ones(colour.shape[:2], np.float32)])


def _read_animation(path: Path, positions: range) -> Iterator[RgbaPicture]:
    with open_picture(path) as picture:
        for index in positions:
            with quiet():
                picture.seek(index)
                rgba = _to_rgba(_subsampled(picture))
            yield rgba


def _read_video(path: Path, positions: range) -> Iterator[RgbaPicture]:
    from vidstyle.media.decoding import decode

    for pixels in decode.read_video(path, positions, area_factor):
        yield pixels if pixels.shape[2] == 4 else _opaque(pixels)
