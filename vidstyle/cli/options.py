"""Options of the command line, derived from the dataclasses that declare them."""

import argparse
from dataclasses import Field
from fractions import Fraction
from typing import Any

from vidstyle.errors import SettingsError
from vidstyle.settings import Option, kinds_of, options

__all__ = ["add_options", "add_printing", "values"]


def add_options(
    parser: argparse.ArgumentParser, owner: Any, only: tuple[str, ...] | None = None
) -> None:
    """Give `parser` the options that a dataclass declares, or `only` some, with their help."""
    for name, (declared, facts) in options(owner).items():
        if only is None or name in only:
            _add(parser, name, declared, facts)


def add_printing(parser: argparse.ArgumentParser, as_json: str = "", quiet: str = "") -> None:
    """Give `parser` --json and --quiet; as_json, quiet: what their help says besides."""
    told = f"print one JSON object a line{as_json}"
    parser.add_argument("--json", action="store_true", help=told)
    told = f"print errors and warnings only{quiet}"
    parser.add_argument("-q", "--quiet", action="store_true", help=told)


def values(asked: argparse.Namespace, owner: Any) -> dict[str, Any]:
    """Return the options of `owner` that were given, read as what they are declared to be."""
    return {
        name: _read(name, getattr(asked, name), declared, facts)
        for name, (declared, facts) in options(owner).items()
        if hasattr(asked, name)
    }


def _add(parser: argparse.ArgumentParser, name: str, declared: "Field[Any]", facts: Option) -> None:
    flag = f"--{name.replace('_', '-')}"
    told = _told(declared, facts).replace("%", "%%")
    if declared.type is bool:
        parser.add_argument(flag, action="store_true", default=argparse.SUPPRESS, help=told)
        return
    parser.add_argument(
        flag,
        metavar="NAME,..." if facts.choices else _METAVARS[kinds_of(declared)[0]],
        default=argparse.SUPPRESS,
        help=told,
    )


_METAVARS = {int: "N", float: "NUMBER", Fraction: "NUMBER", str: "TEXT"}


def _told(declared: "Field[Any]", facts: Option) -> str:
    """Return the help of an option: meaning, unit, bounds, default."""
    notes = [*(f"'{word}'" for word in facts.words)]
    if facts.low is not None:
        high = "" if facts.high is None else f" to {facts.high:.10g}"
        notes.append(f"from {facts.low:.10g}{high}{' ' + facts.unit if facts.unit else ''}")
    if facts.choices:
        notes.append(f"from {facts.choices[0]} to {facts.choices[-1]}")
    told = facts.meaning + (f"; {' or '.join(notes)}" if notes else "")
    if isinstance(declared.default, tuple):
        return f"{told} (default: {','.join(declared.default)})"
    plain = declared.default is None or declared.default is False
    return told if plain else f"{told} (default: {declared.default})"


def _read(name: str, text: Any, declared: "Field[Any]", facts: Option) -> Any:
    """Turn the text of an option into its value. Raises SettingsError."""
    if isinstance(text, bool) or text in facts.words:
        return text
    if facts.choices:
        return tuple(entry.strip() for entry in text.split(","))
    kind = kinds_of(declared)[0]
    try:
        return kind(text)
    except (ValueError, ZeroDivisionError) as error:
        noun = {int: "a whole number", Fraction: "a number or a fraction (30000/1001)"}
        wanted = " or ".join([*(f"'{word}'" for word in facts.words), noun.get(kind, "a number")])
        flag = f"--{name.replace('_', '-')}"
        raise SettingsError(f"{flag}: expected {wanted}, got {text!r}") from error
