"""The argument parser: the list of commands, and how a command line is parsed."""

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from vidstyle.cli.commands import (
    evaluate,
    preview,
    probe,
    run,
    select,
    studio,
    stylize,
    track,
    weights,
)
from vidstyle.errors import UsageError
from vidstyle.techniques import TECHNIQUES

if TYPE_CHECKING:
    from vidstyle.jobs.job_file import Request

__all__ = ["build_parser", "command_to_job", "parse"]

Add = Callable[[argparse.ArgumentParser], None]
Run = Callable[[argparse.Namespace], int | None]


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse a command line; `run` of the result is the command. Raises UsageError.

    Sources may follow options, which argparse alone does not support.
    """
    parser = build_parser()
    args, rest = parser.parse_known_args(arguments)
    if any(word.startswith("-") for word in rest) or not hasattr(args, "sources"):
        rest and parser.error(f"unrecognized arguments: {' '.join(rest)}")
    else:
        args.sources += map(Path, rest)
    return args


def command_to_job(arguments: Sequence[str]) -> "Request":
    """Return the request (see jobs.job_file) of a command line, without the program's name.

    Raises UsageError or SettingsError.
    """
    from vidstyle.jobs.job_file import check_request

    args = parse(arguments)
    if getattr(args, "technique", None) is None:
        raise UsageError(
            f"expected a command that stylises ({', '.join(TECHNIQUES)}), got {arguments[0]!r}"
        )
    return check_request(stylize.given_request(args), "the command line")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands: one per technique, then the tools."""
    parser = _Parser(
        prog="vidstyle",
        description="Stylise video clips and photo folders with temporal consistency.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, technique in TECHNIQUES.items():
        add = partial(stylize.add_arguments, name=name, technique=technique)
        _add_command(commands, name, technique.summary, add, stylize.run)
    for name, command in (
        ("run", run),
        ("preview", preview),
        ("select", select),
        ("track", track),
        ("eval", evaluate),
        ("probe", probe),
        ("studio", studio),
    ):
        _add_command(commands, name, command.SUMMARY, command.add_arguments, command.run)
    _add_command(commands, "weights", weights.SUMMARY, weights.add_arguments, weights.run)
    return parser


def _add_command(commands: Any, name: str, summary: str, add: Add, run: Run) -> None:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=summary[:1].upper() + summary[1:] + ".", allow_abbrev=False
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "-v", "--verbose", action="store_true",
        help="print the traceback of an error, and TensorFlow's own messages",
    )  # fmt: skip
    add(parser)


class _Parser(argparse.ArgumentParser):
    """A parser that raises UsageError instead of printing its usage and exiting."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see {self.prog} --help")


class _Version(argparse.Action):
    def __call__(self, *_: object) -> NoReturn:
        from vidstyle.jobs.job import version_of

        print(f"vidstyle {version_of('vidstyle') or '(not installed)'}")
        sys.exit(0)
