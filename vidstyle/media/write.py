"""Encoding: which outputs a source can become; writing videos, animations and pictures."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from vidstyle.atomic import sync, sync_folder
from vidstyle.errors import OutputError, UsageError, writing
from vidstyle.image import Image, is_opaque, over_white, resize
from vidstyle.inputs import check_apart
from vidstyle.media.clip import Clip
from vidstyle.media.codecs import PICTURE_CODECS, EncodingOptions, OutputFormat, choose
from vidstyle.media.containers import MOVIES
from vidstyle.media.pictures.deep import DEEP, depth_of
from vidstyle.media.pictures.files import WITH_ALPHA, WRITABLE, open_picture, write_picture
from vidstyle.media.pictures.metadata import write_with_metadata
from vidstyle.media.sources import read_alpha

__all__ = [
    "check_output",
    "encode",
    "is_folder",
    "needs_even_sides",
    "picture_names",
    "result_suffix",
    "try_output",
]

_ANIMATIONS = (".gif", ".webp", ".apng")
_KNOWN = ", ".join([*MOVIES, *_ANIMATIONS, *(kind for kind in WRITABLE if kind != ".webp")])
_DEFAULT_OPTIONS = EncodingOptions()
_HARD_EDGES = 1 / 512  # alpha below this counts as 0


def is_folder(output: Path) -> bool:
    """Whether the output is a folder of pictures: an existing one, or a path without suffix."""
    return output.is_dir() or not output.suffix


def result_suffix(clip: Clip, suffix: str, codec: str | None = None) -> str:
    """Return the suffix of this source's output: `suffix` if possible, else its kind's usual one.

    "" for folders and patterns of pictures, which become a folder. codec: the requested one; a
    picture codec determines the suffix of a picture.
    """
    if clip.kind == "picture" and codec in PICTURE_CODECS:
        return suffix if _has_picture_codec(suffix, codec) else PICTURE_CODECS[codec]
    kinds: dict[str, tuple[str, ...]] = {
        "picture": (".png", *WRITABLE),
        "animation": (_ANIMATED.get(clip.path.suffix.lower(), ".gif"), *_ANIMATIONS, *MOVIES),
        "video": (".mp4", *_ANIMATIONS, *MOVIES),
    }
    if clip.kind not in kinds:
        return ""
    usual, *others = kinds[clip.kind]
    return suffix if suffix.lower() in (usual, *others) else usual


def _has_picture_codec(suffix: str, codec: str | None) -> bool:
    """Whether a picture of this suffix is encoded with this picture codec."""
    kind = PICTURE_CODECS.get(codec or "")
    return kind is not None and _SAME_KIND.get(suffix.lower(), suffix.lower()) == kind


_SAME_KIND = {".jpeg": ".jpg", ".tif": ".tiff"}
_ANIMATED = {".png": ".apng", ".apng": ".apng", ".webp": ".webp"}


def needs_even_sides(clip: Clip, output: Path, encoding: EncodingOptions) -> bool:
    """Whether the frames of this output must have even sides."""
    output_format = _output_format(clip, output, encoding)
    return output_format is not None and output_format.even


def pixel_bytes(clip: Clip, output: Path, encoding: EncodingOptions) -> float:
    """Return about the most bytes per pixel of this output; brush strokes compress badly."""
    output_format = _output_format(clip, output, encoding)
    if output_format is None:
        return 6.0 if clip.depth > 8 and (is_folder(output) or _is_deep(output.suffix)) else 3.0
    return (
        0.5
        if output_format.crf is not None
        else output_format.depth / 2
        if output_format.codec.large_files
        else 1.0
    )


def _is_deep(suffix: str) -> bool:
    return suffix.lower() in DEEP


def _output_format(clip: Clip, output: Path, encoding: EncodingOptions) -> OutputFormat | None:
    """Return the format of a video output, None for other outputs. Raises UsageError."""
    if is_folder(output) or output.suffix.lower() not in MOVIES:
        return None
    return choose(clip, output.suffix, encoding)


def check_output(clip: Clip, output: Path, encoding: EncodingOptions = _DEFAULT_OPTIONS) -> None:
    """Raise UsageError if this source cannot become this output. Decodes nothing."""
    check_apart(output, (clip.path,))
    suffix = output.suffix.lower()
    moving = (*MOVIES, *_ANIMATIONS)
    if is_folder(output):
        if output.is_file():
            raise UsageError(f"{output}: expected a folder, got a file; choose another output")
    elif suffix not in moving and suffix not in WRITABLE:
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
    elif clip.kind != "picture" and suffix not in moving:
        raise UsageError(
            f"{output}: expected a video, an animation ({', '.join(_ANIMATIONS)}) or a folder for "
            f"{clip.frames} frames, got {suffix!r}; choose {output.with_suffix('.mp4').name} for "
            "instance"
        )
    _output_format(clip, output, encoding)


def try_output(
    clip: Clip, indices: range, output: Path, encoding: EncodingOptions, size: tuple[int, int]
) -> tuple[str, ...]:
    """Return a warning for each thing that a video output cannot keep, as far as foreseeable.

    Writes nothing. indices: frames of the counted `clip` to encode, at `size` (width, height).
    Raises UsageError if the encoder or the container refuses them.
    """
    output_format = _output_format(clip, output, encoding)
    if output_format is None:
        return ()
    from vidstyle.media.encoding import movie

    return movie.try_movie(
        clip, indices, MOVIES[output.suffix.lower()], output_format, size
    ).warnings


def encode(
    clip: Clip,
    indices: range,
    frames: Iterable[Image],
    output: Path,
    part: Path,
    encoding: EncodingOptions = _DEFAULT_OPTIONS,
) -> list[str]:
    """Encode the frames to `part` in the format of `output`, and verify by reading back.

    indices: the frames of the counted `clip` that these are; its sound, other streams and alpha are
    copied for that interval. part: a file or folder beside `output`, which is not touched. Returns
    a warning for each thing that could not be kept. Raises OutputError.
    """
    suffix = output.suffix.lower()
    frames = _checked_count(frames, len(indices), output)
    if is_folder(output):
        return _dropped_streams(clip, "a folder") + _write_folder(
            clip, indices, frames, part, encoding
        )
    output_format = _output_format(clip, output, encoding)
    warnings = _unused_options(encoding, output_format, suffix) + (
        [] if output_format else _dropped_streams(clip, suffix)
    )
    if clip.alpha and (output_format.alpha if output_format else suffix in _ALPHA_SUFFIXES):
        frames = _with_alpha(frames, clip, indices)
    elif clip.alpha:
        warnings.append(_alpha_lost_message(output.name, suffix))
    elif output_format and output_format.alpha:
        frames = (np.dstack([frame, np.ones_like(frame[..., :1])]) for frame in frames)
    warnings += _write(clip, indices, frames, part, output_format)
    with writing(part):
        sync(part)
    return warnings


_ALPHA_SUFFIXES = (*WITH_ALPHA, ".apng")


def _write(
    clip: Clip,
    indices: range,
    frames: Iterable[Image],
    part: Path,
    output_format: OutputFormat | None,
) -> list[str]:
    """Write one file in the format of its suffix."""
    suffix = part.suffix.lower()
    if output_format:
        from vidstyle.media.encoding import movie

        return movie.write_movie(clip, indices, frames, part, output_format)
    if suffix == ".gif":
        from vidstyle.media.animations import gif

        return gif.write_gif(clip, indices, frames, part)
    if clip.kind != "picture":
        from vidstyle.media.animations.write import write_apng, write_webp

        write = write_webp if suffix == ".webp" else write_apng
        write(clip, indices, frames, part)
        return []
    warnings = []
    for image in frames:
        warnings += write_with_metadata(part, image, clip.path, suffix, clip.depth)
    return warnings


def _dropped_streams(clip: Clip, kind: str) -> list[str]:
    """Return a warning about sound and subtitles that this kind of output cannot hold."""
    dropped = [
        f"{stream.kind} stream {stream.index} ({stream.codec})"
        for stream in clip.streams
        if stream.kind in ("audio", "subtitle")
    ]
    if not dropped:
        return []
    return [
        f"{', '.join(dropped)}: {kind} holds no sound or subtitles, so it was left out; "
        ".mkv keeps it"
    ]


def _unused_options(
    encoding: EncodingOptions, output_format: OutputFormat | None, suffix: str
) -> list[str]:
    """Return a warning for each encoding option that this output does not use."""
    if output_format is None:
        requested = {"--codec": encoding.codec, "--pix-fmt": encoding.pix_fmt}
        return [
            f"{flag}: {suffix} output does not support it; {value} was not used"
            for flag, value in requested.items()
            if value is not None and not _has_picture_codec(suffix, value)
        ]
    if encoding.crf is None or encoding.crf == output_format.crf:
        return []
    if output_format.crf is None:
        return [f"--crf: {output_format.codec.encoder} has no CRF; {encoding.crf} was not used"]
    return [
        f"--crf: {output_format.codec.encoder} accepts at most {output_format.codec.max_crf}, used "
        f"instead of {encoding.crf}"
    ]


def _alpha_lost_message(name: str, suffix: str) -> str:
    return (
        f"{name}: the source is partly transparent, which {suffix} as written does not "
        "keep: it was composited over white; .webm, .mov, .webp, .apng, .png keep it"
    )


def _with_alpha(frames: Iterable[Image], clip: Clip, indices: range) -> Iterator[Image]:
    """Yield the frames with the alpha of their sources, [H, W, 4]; over white they look the same.

    Frames were stylised over white, so the white is removed from their colours.
    """
    alphas: Iterator[Image] | None = None
    for index, image in zip(indices, frames, strict=False):
        height, width = image.shape[:2]
        if alphas is None or clip.kind == "photos":  # sizes may differ
            alphas = read_alpha(clip, range(index, indices.stop), max(height, width))
        alpha = next(alphas)
        sized = resize(alpha, width, height).reshape(height, width, 1)
        colour = (image - (1 - sized)) / np.maximum(sized, _HARD_EDGES)
        yield np.dstack([np.where(sized < _HARD_EDGES, image, np.clip(colour, 0, 1)), sized])


def _checked_count(frames: Iterable[Image], count: int, output: Path) -> Iterator[Image]:
    """Yield the frames; raise OutputError if there are fewer or more than `count`."""
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


def _write_folder(
    clip: Clip, indices: range, frames: Iterable[Image], part: Path, encoding: EncodingOptions
) -> list[str]:
    with writing(part):
        part.mkdir(parents=True, exist_ok=True)
    names = picture_names(clip, indices, encoding)
    keeps_alpha = clip.alpha and any(Path(name).suffix.lower() in WITH_ALPHA for name in names)
    if keeps_alpha:
        frames = _with_alpha(frames, clip, indices)
    used_options = replace(encoding, codec=None) if encoding.codec in PICTURE_CODECS else encoding
    warnings = _unused_options(used_options, None, "a folder")
    for name, index, image in zip(names, indices, frames, strict=True):
        suffix = Path(name).suffix.lower()
        is_transparent = keeps_alpha and not is_opaque(image[..., 3])
        if is_transparent and suffix not in WITH_ALPHA:
            warnings.append(_alpha_lost_message(name, suffix))
        flattened = image if is_transparent and suffix in WITH_ALPHA else over_white(image)
        if len(clip.files) == clip.frames:
            depth = _depth(clip, index)
            warnings += write_with_metadata(
                part / name, flattened, clip.files[index], suffix, depth
            )
        else:
            write_picture(part / name, flattened, depth=clip.depth)
    if clip.alpha and not keeps_alpha:
        warnings.append(_alpha_lost_message(part.name, Path(names[0]).suffix))
    with writing(part):
        sync_folder(part)
    return warnings


def _depth(clip: Clip, index: int) -> int:
    """Return the bits per channel of a photo, or of the whole sequence."""
    if clip.kind != "photos" or clip.depth == 8:
        return clip.depth
    with open_picture(clip.files[index]) as picture:
        return depth_of(clip.files[index], picture)


def picture_names(clip: Clip, indices: range, encoding: EncodingOptions) -> list[str]:
    """Return the name of each picture in an output folder: its source's, or its number."""
    kind = PICTURE_CODECS.get(encoding.codec or "")
    if len(clip.files) != clip.frames:
        return [f"{index:06d}{kind or '.png'}" for index in indices]
    names = [_name(clip.files[index], kind) for index in indices]
    uses = Counter(names)
    return [
        f"{clip.files[index].name}{kind or '.png'}" if uses[name] > 1 else name
        for index, name in zip(indices, names, strict=True)
    ]


def _name(file: Path, kind: str | None) -> str:
    kept = file.suffix.lower() in WRITABLE and kind in (None, file.suffix.lower())
    return file.name if kept else f"{file.stem}{kind or '.png'}"
