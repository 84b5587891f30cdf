"""What a result may be, and the result written: a video, a GIF, a picture or a folder."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from vidstyle.errors import OutputError, UsageError, writing
from vidstyle.media.clip import MOVIES, Clip, Image
from vidstyle.media.stills import WRITABLE, write_picture

__all__ = ["check_output", "encode", "is_folder", "result_suffix"]

_KNOWN = ", ".join([*MOVIES, ".gif", *WRITABLE])


def is_folder(output: Path) -> bool:
    """Tell whether the result is a folder of pictures: one that exists, or has no suffix."""
    return output.is_dir() or not output.suffix


def result_suffix(clip: Clip, suffix: str) -> str:
    """Return the suffix of this source's result: `suffix` if the result can be that, else another.

    It is "" for pictures that are a folder or match a pattern, which become a folder.
    """
    kinds: dict[str, tuple[str, ...]] = {
        "picture": (".png", *WRITABLE),
        "animation": (".gif", *MOVIES),
        "video": (".mp4", *MOVIES),
    }
    if clip.kind not in kinds:
        return ""
    usual, *others = kinds[clip.kind]
    return suffix if suffix.lower() in (usual, *others) else usual


def check_output(clip: Clip, output: Path) -> None:
    """Raise UsageError if this source cannot become this output. Decodes nothing."""
    _check_apart(clip, output)
    suffix = output.suffix.lower()
    if is_folder(output):
        if output.is_file():
            raise UsageError(f"{output}: expected a folder, got a file; choose another output")
    elif suffix not in MOVIES and suffix != ".gif" and suffix not in WRITABLE:
        raise UsageError(
            f"{output}: expected one of {_KNOWN}, or a folder (no suffix), got {suffix!r}"
        )
    elif clip.kind == "picture" and suffix not in WRITABLE:
        raise UsageError(
            f"{output}: expected a picture ({', '.join(WRITABLE)}) since the source is one, "
            f"got {suffix!r}"
        )
    elif clip.kind == "photos":
        raise UsageError(
            f"{output}: expected a folder for {clip.frames} photos, got {suffix!r}; leave the "
            "suffix out, or say with --rate that they are the frames of a sequence"
        )
    elif clip.kind != "picture" and suffix in WRITABLE:
        raise UsageError(
            f"{output}: expected a video, a GIF or a folder for {clip.frames} frames, "
            f"got {suffix!r}; choose {output.with_suffix('.mp4').name} for instance"
        )


def _check_apart(clip: Clip, output: Path) -> None:
    target = output.resolve()
    sources = {clip.path.resolve(), *(file.resolve() for file in clip.files)}
    if is_folder(output):
        sources |= {file.parent for file in sources if file in _resolved(clip)}
    if target in sources:
        raise UsageError(
            f"{output}: expected an output apart from the source, got the source itself; "
            "choose another name"
        )


def _resolved(clip: Clip) -> set[Path]:
    return {file.resolve() for file in clip.files}


def encode(
    clip: Clip,
    indices: range,
    frames: Iterable[Image],
    output: Path,
    part: Path,
    *,
    crf: int | None,
) -> list[str]:
    """Write the frames to `part` as what `output` names, and read it back.

    indices: which frames of the counted `clip` these are; its sound and other streams are carried
    over for that time. part: a file or folder beside `output`, which is itself never touched.
    Returns a sentence for each thing that could not be kept. Raises OutputError.
    """
    suffix = output.suffix.lower()
    frames = _exactly(frames, len(indices), output)
    if is_folder(output):
        return _write_folder(clip, indices, frames, part)
    if suffix in MOVIES:
        from vidstyle.media import movie

        warnings = movie.write_movie(clip, indices, frames, part, crf)
    elif suffix == ".gif":
        from vidstyle.media import gif

        warnings = gif.write_gif(clip, indices, frames, part)
    else:
        warnings = []
        for image in frames:
            write_picture(part, image, suffix)
    _sync(part)
    return warnings


def _exactly(frames: Iterable[Image], count: int, output: Path) -> Iterator[Image]:
    """Yield the frames; raise OutputError if there are fewer or more of them."""
    given = 0
    for given, image in enumerate(frames, start=1):
        if given > count:
            break
        yield image
    if given != count:
        raise OutputError(
            f"cannot write {output}: expected {count} frames, got "
            f"{'more' if given > count else given}; run the same command again"
        )


def _write_folder(clip: Clip, indices: range, frames: Iterable[Image], part: Path) -> list[str]:
    with writing(part):
        part.mkdir(parents=True, exist_ok=True)
    for name, image in zip(_names(clip, indices), frames, strict=True):
        write_picture(part / name, image)
    _sync(part)
    return []


def _names(clip: Clip, indices: range) -> list[str]:
    """Return a name for each picture: its source's, or its number."""
    if len(clip.files) != clip.frames:
        return [f"{index:06d}.png" for index in indices]
    names = [_name(clip.files[index]) for index in indices]
    uses = Counter(names)
    return [
        f"{clip.files[index].name}.png" if uses[name] > 1 else name
        for index, name in zip(indices, names, strict=True)
    ]


def _name(file: Path) -> str:
    kept = file.suffix.lower() in WRITABLE
    return file.name if kept else f"{file.stem}.png"


def _sync(path: Path) -> None:
    with writing(path):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
