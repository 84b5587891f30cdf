"""`vidstyle TECHNIQUE`: stylise one source, or a batch."""

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidstyle.cli import options, progress
from vidstyle.errors import UsageError, VidstyleError
from vidstyle.settings import Settings
from vidstyle.techniques import TECHNIQUES

if TYPE_CHECKING:
    from vidstyle.jobs.batch import MakeJob
    from vidstyle.techniques import Technique


def add_arguments(
    parser: argparse.ArgumentParser, *, name: str, technique: "type[Technique]"
) -> None:
    parser.set_defaults(technique=name)
    parser.add_argument(
        "sources", metavar="SOURCE", nargs="*", type=Path,
        help=f"{options.SOURCE_HELP}; several form a batch, and OUTPUT is its folder: a result "
        "keeps its path within a source folder, or the path of a source file as given (an absolute "
        "path without its root)",
    )  # fmt: skip
    parser.add_argument(
        "-o", "--output", metavar="OUTPUT", required=True, type=Path,
        help="result: a video, a GIF, a picture or a folder",
    )  # fmt: skip
    _add_batch(parser)
    parser.add_argument(
        "--style", metavar="PICTURE[=WEIGHT]", required=True, action="append",
        help="style picture; several are blended, equally or by weight (a.jpg=0.7)",
    )  # fmt: skip
    for guide in technique.inputs.accepted:
        _add_guide(
            parser, guide, several=guide != "map", required=guide in technique.inputs.required
        )
    options.add_options(parser, technique)
    options.add_options(parser, Settings)
    options.add_weights(parser)
    parser.add_argument("--dry-run", action="store_true", help="print the plan and exit")
    options.add_printing(parser)


def _add_batch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-r", "--recursive", action="store_true",
        help="stylise every video, animation and picture in a folder and its subfolders; OUTPUT "
        "gets the same tree",
    )  # fmt: skip
    parser.add_argument(
        "--list", metavar="FILE",
        help="read further sources from FILE, one per line; a result keeps the path of its line; "
        "- reads standard input",
    )  # fmt: skip
    parser.add_argument(
        "--shard", metavar="I/N",
        help="process every N-th source from the I-th on, or every N-th shot of one video: N "
        "machines with a shared disk divide the work; a video is then written by the same command "
        "without --shard",
    )  # fmt: skip
    parser.add_argument(
        "--scheduler", metavar="ADDRESS",
        help="distribute the sources, or the shots of one video, over the workers of a dask "
        "scheduler that can read the same files; local:N starts N workers on this machine; needs "
        "the extra 'cluster'",
    )  # fmt: skip


def _add_guide(
    parser: argparse.ArgumentParser, name: str, *, several: bool, required: bool
) -> None:
    mirrored = "; for a batch, a folder that mirrors the tree of its sources by name"
    series = "" if name == "style_map" else options.SERIES_HELP + mirrored
    parser.add_argument(
        f"--{name.replace('_', '-')}",
        metavar="PATH" if series else "PICTURE",
        action="append" if several else "store",
        default=argparse.SUPPRESS,
        required=required,
        help=options.GUIDE_HELP[name] + series,
    )


def run(args: argparse.Namespace) -> int:
    """Stylise one source, or a batch of them; return the exit code."""
    from vidstyle.jobs.discovery import parse_shard
    from vidstyle.jobs.pipeline import make_stylizer, plan, run_shard
    from vidstyle.jobs.pipeline import run as run_job
    from vidstyle.jobs.shards import run_shots

    if _is_batch(args):
        return _run_batch(args)
    job = _job_maker(args)(args.sources[0], args.output)
    if args.shard and args.scheduler:
        raise UsageError("--shard: expected without --scheduler, which distributes all shots")
    if args.dry_run:
        found = plan(job)
        if args.json:
            progress.print_json(found.to_json())
        else:
            print(progress.plan_in_words(found))
        return 0
    make = make_stylizer if args.verbose else progress.without_stderr(make_stylizer)
    restart = job.settings.restart
    with progress.Reporter(as_json=args.json, quiet=args.quiet, restart=restart) as reporter:
        if args.shard:
            run_shard(job, parse_shard(args.shard), reporter, make_stylizer=make)
        elif args.scheduler:
            run_shots(job, args.scheduler, reporter, make_stylizer=make, verbose=args.verbose)
        else:
            run_job(job, reporter, make_stylizer=make)
    return 0


def _guides(args: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(args, name) for name in options.GUIDE_HELP if hasattr(args, name)}


def _job_maker(args: argparse.Namespace) -> "MakeJob":
    """Return a function that makes a Job from a source and an output."""
    from vidstyle.jobs.job import make_job

    return partial(
        make_job,
        style=args.style,
        technique=args.technique,
        weights=args.weights,
        **_guides(args),
        **options.given_options(args, TECHNIQUES[args.technique]),
        **options.given_options(args, Settings),
    )


def _is_batch(args: argparse.Namespace) -> bool:
    """Tell whether OUTPUT is a folder of results; one clip is distributed by shots instead."""
    if args.recursive or args.list or len(args.sources) != 1:
        return True
    (source,) = args.sources
    return bool(args.shard or args.scheduler) and source.is_dir() and not hasattr(args, "rate")


def _run_batch(args: argparse.Namespace) -> int:
    from vidstyle.jobs.batch import plan_batch, run_batch
    from vidstyle.jobs.cluster import spread_over
    from vidstyle.jobs.discovery import collect, parse_shard, read_list
    from vidstyle.jobs.pipeline import make_stylizer

    given = options.given_options(args, Settings)
    batch = collect(
        args.sources,
        args.output,
        listed=read_list(args.list, args.output) if args.list else (),
        recursive=args.recursive,
        sequences="rate" in given,
        shard=parse_shard(args.shard or "1/1"),
        guides=_guides(args).values(),
    )
    make = make_stylizer if args.verbose else progress.without_stderr(make_stylizer)
    with progress.BatchReporter(
        as_json=args.json, quiet=args.quiet, verbose=args.verbose, restart="restart" in given
    ) as reporter:
        if args.dry_run:
            failed = plan_batch(batch, _job_maker(args), reporter)
        else:
            each = spread_over(args.scheduler, verbose=args.verbose) if args.scheduler else None
            failed = run_batch(batch, _job_maker(args), reporter, make_stylizer=make, each=each)
    return VidstyleError.exit_code if failed else 0
