"""`vidstyle preview`: a contact sheet of single frames, to choose a look before a run."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidstyle.cli import options, progress
from vidstyle.cli.commands import stylize
from vidstyle.cli.terminal import printable
from vidstyle.errors import UsageError
from vidstyle.settings import Settings
from vidstyle.settings import options as declared_options
from vidstyle.techniques import TECHNIQUES

if TYPE_CHECKING:
    from vidstyle.jobs.contact_sheet import Column
    from vidstyle.jobs.job_file import Request

SUMMARY = "stylise single frames and print them beside each other on a contact sheet"

_TIMES = ("start", "end")  # replaced by --at


def _settings() -> tuple[str, ...]:
    """Return the names of the settings that a preview takes."""
    looks = (n for n, (_, spec) in declared_options(Settings).items() if spec.scope == "look")
    return (*(name for name in looks if name not in _TIMES), "overwrite")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="SOURCE", type=Path, help=options.SOURCE_HELP)
    parser.add_argument(
        "-o", "--output", metavar="PICTURE", required=True, type=Path,
        help="the contact sheet: a row for each time; the columns are the source and each style",
    )  # fmt: skip
    parser.add_argument(
        "--at", metavar="TIME", action="append", default=[],
        help="time in seconds (3.2) or frame from 0 (48f); several make rows (default: the middle)",
    )  # fmt: skip
    parser.add_argument(
        "--technique", choices=[*TECHNIQUES], default="basic",
        help="technique of the previews (default: basic)",
    )  # fmt: skip
    parser.add_argument(
        "--blend", action="store_true",
        help="blend all styles in one column; so do weights (a.jpg=0.7), several masks, and "
        "--regions",
    )  # fmt: skip
    stylize.add_look(parser, TECHNIQUES.values(), whole=False, only=_settings())
    options.add_printing(parser)


def run(args: argparse.Namespace) -> None:
    """Make the contact sheet."""
    from vidstyle.jobs.contact_sheet import check_sheet, contact_sheet, write_sheet
    from vidstyle.jobs.events import Event, StepEvent, WarningEvent
    from vidstyle.jobs.pipeline import make_stylizer
    from vidstyle.jobs.preview import Moment

    moments = [Moment.parse(text) for text in args.at]
    columns = _columns(args)
    overwrite = bool(getattr(args, "overwrite", False))
    check_sheet(args.output, [column.job for column in columns], overwrite=overwrite)
    make = make_stylizer if args.verbose else progress.without_stderr(make_stylizer)
    count = len(columns) * max(1, len(moments))
    quiet = args.quiet or args.json
    with progress.new_bar(total=count, unit="picture", desc="preview", quiet=quiet) as bar:

        def notify(event: Event) -> None:
            if isinstance(event, StepEvent):
                bar.set_postfix(evaluation=event.evaluation, loss=f"{event.loss:.4g}")
            elif isinstance(event, WarningEvent) and args.json:
                progress.print_json(event.to_json())
            elif isinstance(event, WarningEvent):
                bar.write(printable(f"vidstyle: {event.message}"))

        sheet = contact_sheet(
            columns, moments, on_event=notify, on_picture=lambda: _advance(bar), make_stylizer=make
        )
    write_sheet(args.output, sheet, overwrite=overwrite)
    if args.json:
        progress.print_json({"event": "done", "output": str(args.output), "pictures": count})
    elif not args.quiet:
        print(printable(f"{args.output}: {count} pictures"))


def _advance(bar: Any) -> None:
    bar.update(1)


def _columns(args: argparse.Namespace) -> "list[Column]":
    """Return a column for each style, or one for all that are blended."""
    from vidstyle.jobs.contact_sheet import Column
    from vidstyle.jobs.job_file import check_request
    from vidstyle.jobs.request import single_job

    request = check_request(_request(args), "the command line")
    looks = [request]
    if not (args.blend or _is_one_look(request)):
        looks = [_with_style(request, number) for number in range(len(request["style"]))]
    return [Column(_label(look), single_job(look)) for look in looks]


def _request(args: argparse.Namespace) -> "Request":
    """Return the request of one run with the options given."""
    if not args.style:
        raise UsageError("expected one or more style pictures, got none; add --style PICTURE")
    named = vars(args)
    whole = {"sources": [args.source], "recursive": False}
    whole |= {"list": None, "shard": None, "scheduler": None}
    whole["technique"] = None  # options of all techniques: those of another are refused later
    request = stylize.given_request(argparse.Namespace(**{**named, **whole}))
    return {**request, "technique": args.technique}


def _is_one_look(request: "Request") -> bool:
    """Tell whether the styles belong together: by weights, by masks in order, or by regions."""
    from vidstyle.jobs.job import parse_style

    weights = [parse_style(text)[1] for text in request["style"]]
    maps = len(request.get("style_map", ())) not in (0, len(weights))
    several = len(request.get("mask", ())) > 1
    return any(w is not None for w in weights) or maps or several or "regions" in request


def _with_style(request: "Request", number: int) -> "Request":
    """Return the request with one of its styles, and its style map."""
    look = {**request, "style": request["style"][number : number + 1]}
    if "style_map" in request:
        look["style_map"] = request["style_map"][number : number + 1]
    return look


def _label(request: "Request") -> str:
    from vidstyle.jobs.job import parse_style

    found = map(parse_style, request["style"])
    return " + ".join(path.name if w is None else f"{path.name} {w:g}" for path, w in found)
