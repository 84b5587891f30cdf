"""`vidstyle eval`: measure a stylised video against its source."""

import argparse
from pathlib import Path

from vidstyle.cli import options
from vidstyle.cli.progress import print_json, progress_callbacks, without_stderr
from vidstyle.settings import Settings

SUMMARY = "measure a stylised video against its source"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("output", metavar="OUTPUT", help="stylised video, from any program")
    parser.add_argument("--source", metavar="CLIP", required=True, help="clip it was made from")
    for name, meaning in (
        ("style", "style picture: the style distance is measured too"),
        ("mask", "area to measure: white or opaque" + options.SERIES_HELP),
        ("cold", "the same frames stylised independently, to compare with"),
        ("subject", "mask of the moving subject: its legibility is measured" + options.SERIES_HELP),
    ):
        parser.add_argument(f"--{name}", metavar="PATH", type=Path, help=meaning)
    options.add_options(parser, Settings, only=options.RANGE)
    options.add_weights(parser)
    for name, meaning in (
        ("html", "also write a report page with pictures"),
        ("log", "--json output of the run: the page shows its losses and times"),
    ):
        parser.add_argument(f"--{name}", metavar="FILE", type=Path, help=meaning)
    options.add_options(parser, Settings, only=("overwrite",))
    options.add_printing(
        parser,
        as_json="; the last one holds the values of every frame",
        quiet=", besides the measured values",
    )


def run(args: argparse.Namespace) -> None:
    from vidstyle.evaluation.evaluate import as_json, evaluate, format_summary, make_distances
    from vidstyle.evaluation.report import Album, check_page, read_log, write_report

    given = options.given_options(args, Settings)
    overwrite = given.pop("overwrite", False)
    guides = (args.mask, args.subject)
    inputs = (args.output, args.source, args.style, *guides, args.cold, args.weights)
    check_page(args.html, args.log, inputs=filter(None, inputs), overwrite=overwrite)
    album = Album()
    with progress_callbacks("measuring", as_json=args.json, quiet=args.quiet) as callbacks:
        found = evaluate(
            args.output, args.source, style=args.style, mask=args.mask, cold=args.cold,
            subject=args.subject, weights=args.weights,
            on_frame=None if args.html is None else album,
            make_distances=make_distances if args.verbose else without_stderr(make_distances),
            **given, **callbacks,
        )  # fmt: skip
    if args.html is not None:
        log = None if args.log is None else read_log(args.log, found.frames)
        title = f"{args.output} beside {args.source}"
        write_report(args.html, title, found, album, log, overwrite=overwrite)
    if args.json:
        print_json({"event": "done", **as_json(found)})
    else:
        print(format_summary(found))
