"""`vidstyle track`: propagate key frames of a map or mask along the optical flow."""

import argparse
from pathlib import Path

from vidstyle.cli import options
from vidstyle.cli.progress import print_picture_count, progress_callbacks
from vidstyle.settings import Settings

SUMMARY = "propagate the key frames of a map or mask to every frame"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="SOURCE", help=options.SOURCE_HELP)
    for name, meaning in (("map", options.GUIDE_HELP["map"]), ("mask", options.TRACKED_MASK_HELP)):
        text = meaning + options.SERIES_HELP
        parser.add_argument(f"--{name}", metavar="PATH", type=Path, help=text)
    parser.add_argument(
        "--refine", action="store_true",
        help="mend tracked masks by the click model, never across a cut; key frames stay as they "
        "are; needs the extra 'subject'",
    )  # fmt: skip
    options.add_picture_series(parser)


def run(args: argparse.Namespace) -> None:
    from vidstyle.jobs.propagate import write_tracks

    with progress_callbacks("tracking", as_json=args.json, quiet=args.quiet) as callbacks:
        count = write_tracks(
            Path(args.source), args.output, map=args.map, mask=args.mask,
            refine=args.refine, preview=args.preview,
            **options.given_options(args, Settings), **callbacks,
        )  # fmt: skip
    print_picture_count(args.output, count, as_json=args.json, quiet=args.quiet)
