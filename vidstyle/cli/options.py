"""Command-line options: derived from the dataclasses that declare them, and shared by commands."""

import argparse
from dataclasses import Field
from fractions import Fraction
from pathlib import Path
from typing import Any

from vidstyle.errors import SettingsError
from vidstyle.settings import Option, Settings, kinds_of, options

__all__ = [
    "GUIDE_HELP",
    "RANGE",
    "SERIES_HELP",
    "SOURCE_HELP",
    "TRACKED_MASK_HELP",
    "add_options",
    "add_picture_series",
    "add_printing",
    "add_weights",
    "given_options",
]

RANGE = ("start", "end", "rate")  # options that select the frames of a source
SOURCE_HELP = (
    "a video, an animation, a picture, a folder of pictures or a pattern (frames/%%05d.png)"
)
GUIDE_HELP = {
    "mask": "area to stylise: white or opaque; 'auto' for the salient objects of each frame, "
    "'auto:background' for the rest; several masks go with several styles, in order",
    "map": "regions of the frame, by colour",
    "style_map": "regions of the style picture, by colour; one for each --style",
}
SERIES_HELP = (
    "; one picture for all frames, or a folder, pattern or video with one for each frame or for "
    "key frames"
)


TRACKED_MASK_HELP = (
    "area: white or opaque; 'auto' for the salient objects of each frame, "
    "'auto:background' for the rest"
)


def add_picture_series(parser: argparse.ArgumentParser) -> None:
    """Add the options of a command that writes a mask or map of each frame."""
    parser.add_argument("-o", "--output", metavar="FOLDER", required=True, type=Path,
                        help="folder for the pictures, one per frame")  # fmt: skip
    parser.add_argument(
        "--preview", metavar="PICTURE", type=Path,
        help="also write a picture of some frames under their masks",
    )  # fmt: skip
    add_options(parser, Settings, only=(*RANGE, "overwrite"))
    add_printing(parser)


def add_options(
    parser: argparse.ArgumentParser, owner: Any, only: tuple[str, ...] | None = None
) -> None:
    """Add the options that the dataclass `owner` declares; only: their names, default all."""
    for name, (declared, spec) in options(owner).items():
        if only is None or name in only:
            _add(parser, name, declared, spec)


def add_printing(parser: argparse.ArgumentParser, as_json: str = "", quiet: str = "") -> None:
    """Add --json and --quiet; as_json, quiet: appended to their help."""
    text = f"print one JSON object per line{as_json}"
    parser.add_argument("--json", action="store_true", help=text)
    text = f"print only errors and warnings{quiet}"
    parser.add_argument("-q", "--quiet", action="store_true", help=text)


def add_weights(parser: argparse.ArgumentParser) -> None:
    """Add --weights."""
    parser.add_argument(
        "--weights", metavar="FILE", type=Path,
        help="VGG-19 weights: .npz, .pth or Keras' notop .h5 (default: found or downloaded)",
    )  # fmt: skip


def given_options(args: argparse.Namespace, owner: Any) -> dict[str, Any]:
    """Return the options of `owner` that were given, by name, converted to their types.

    Raises SettingsError for text that is not a number where one is expected.
    """
    return {
        name: _convert(name, getattr(args, name), declared, spec)
        for name, (declared, spec) in options(owner).items()
        if hasattr(args, name)
    }


def _add(parser: argparse.ArgumentParser, name: str, declared: "Field[Any]", spec: Option) -> None:
    flag = f"--{name.replace('_', '-')}"
    text = _help(declared, spec).replace("%", "%%")
    if declared.type is bool:
        parser.add_argument(flag, action="store_true", default=argparse.SUPPRESS, help=text)
        return
    parser.add_argument(
        flag,
        metavar="NAME,..." if spec.choices else _METAVARS[kinds_of(declared)[0]],
        default=argparse.SUPPRESS,
        help=text,
    )


_METAVARS = {int: "N", float: "NUMBER", Fraction: "NUMBER", str: "TEXT"}


def _help(declared: "Field[Any]", spec: Option) -> str:
    """Return the help of an option: meaning, words, bounds, unit, default."""
    notes = [*(f"'{word}'" for word in spec.words)]
    if spec.low is not None:
        high = "" if spec.high is None else f" to {spec.high:.10g}"
        notes.append(f"from {spec.low:.10g}{high}{' ' + spec.unit if spec.unit else ''}")
    if spec.choices:
        notes.append(f"from {spec.choices[0]} to {spec.choices[-1]}")
    allowed = " or ".join(filter(None, (", ".join(notes[:-1]), *notes[-1:])))
    text = spec.meaning + (f"; {allowed}" if allowed else "")
    if isinstance(declared.default, tuple):
        return f"{text} (default: {','.join(declared.default)})"
    plain = declared.default is None or declared.default is False
    return text if plain else f"{text} (default: {declared.default})"


def _convert(name: str, text: Any, declared: "Field[Any]", spec: Option) -> Any:
    if isinstance(text, bool) or text in spec.words:
        return text
    if spec.choices:
        return tuple(entry.strip() for entry in text.split(","))
    kind = kinds_of(declared)[0]
    try:
        return kind(text)
    except (ValueError, ZeroDivisionError) as error:
        noun = {int: "a whole number", Fraction: "a number or a fraction (30000/1001)"}
        wanted = " or ".join([*(f"'{word}'" for word in spec.words), noun.get(kind, "a number")])
        flag = f"--{name.replace('_', '-')}"
        raise SettingsError(f"{flag}: expected {wanted}, got {text!r}") from error
