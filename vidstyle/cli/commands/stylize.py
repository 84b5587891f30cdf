"""`vidstyle TECHNIQUE`: stylise one source, or a batch."""

import argparse
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidstyle.cli import options, progress
from vidstyle.cli.json_steps import with_steps
from vidstyle.cli.terminal import printable
from vidstyle.errors import UsageError, VidstyleError
from vidstyle.settings import Settings
from vidstyle.settings import options as declared_options
from vidstyle.techniques import TECHNIQUES

if TYPE_CHECKING:
    from vidstyle.jobs.job_file import Request
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
    add_request(parser, [technique])


def add_request(
    parser: argparse.ArgumentParser, techniques: "Iterable[type[Technique]]", *, whole: bool = True
) -> None:
    """Add the options of a run with one of these techniques; whole: those required are required."""
    parser.add_argument(
        "-o", "--output", metavar="OUTPUT", required=whole, type=Path,
        help="result: a video, a GIF, a picture or a folder",
    )  # fmt: skip
    _add_batch(parser)
    add_look(parser, techniques, whole=whole)
    parser.add_argument("--dry-run", action="store_true", help="print the plan and exit")
    parser.add_argument(
        "--save-job", metavar="FILE", type=Path,
        help="write this command line as a job file (TOML) and exit; `vidstyle run FILE` runs it; "
        "relative paths in it count from its folder; an existing FILE is not replaced",
    )  # fmt: skip
    parser.set_defaults(json_steps=False)
    options.add_printing(parser)


def add_look(
    parser: argparse.ArgumentParser,
    techniques: "Iterable[type[Technique]]",
    *,
    whole: bool,
    only: tuple[str, ...] | None = None,
) -> None:
    """Add the options that decide how a frame looks. only: of Settings, default all."""
    parser.add_argument(
        "--style", metavar="PICTURE[=WEIGHT]", required=whole, action="append",
        help="style picture; several are blended, equally or by weight (a.jpg=0.7)",
    )  # fmt: skip
    kinds = list(techniques)
    for guide in options.GUIDE_HELP:
        if any(guide in kind.inputs.accepted for kind in kinds):
            required = whole and all(guide in kind.inputs.required for kind in kinds)
            _add_guide(parser, guide, several=guide != "map", required=required)
    added: set[str] = set()
    for kind in kinds:  # several techniques have the same option
        names = tuple(name for name in declared_options(kind) if name not in added)
        options.add_options(parser, kind, only=names)
        added.update(names)
    options.add_options(parser, Settings, only=only)
    options.add_weights(parser)


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
    return execute(given_request(args), args)


def given_request(args: argparse.Namespace) -> "Request":
    """Return the request (see jobs.job_file) that the options of a command line make.

    Raises SettingsError for text that is not a number where one is expected.
    """
    named: dict[str, Any] = {
        "technique": args.technique,
        "source": tuple(map(str, args.sources)),
        "output": None if args.output is None else str(args.output),
        "style": tuple(args.style or ()),
        "weights": None if args.weights is None else str(args.weights),
        **{name: getattr(args, name, None) for name in options.GUIDE_HELP},
        **{name: getattr(args, name) for name in ("recursive", "list", "shard", "scheduler")},
    }
    owners = [TECHNIQUES[args.technique]] if args.technique else TECHNIQUES.values()
    for owner in (*owners, Settings):
        named |= options.given_options(args, owner)
    values = {key: tuple(one) if isinstance(one, list) else one for key, one in named.items()}
    return {key: value for key, value in values.items() if not _is_absent(value)}


def _is_absent(value: Any) -> bool:
    return value is None or value is False or value == ()


def execute(request: "Request", args: argparse.Namespace, base: Path = Path()) -> int:
    """Run, plan or save a request; return the exit code.

    args: --save-job, --dry-run, --json, --quiet and --verbose. base: see jobs.request.batch_of.
    """
    from vidstyle.jobs.request import is_batch

    if args.save_job is not None:
        return _save(request, args, base)
    return _run_batch(request, args, base) if is_batch(request) else _run_one(request, args)


def _save(request: "Request", args: argparse.Namespace, base: Path) -> int:
    """Check a request and write it as a job file."""
    from vidstyle.inputs import check_apart
    from vidstyle.jobs import job_file
    from vidstyle.jobs.request import check_files, check_job_file_apart, input_paths

    check_files(request, base)
    check_apart(args.save_job, input_paths(request), "job file")
    check_job_file_apart(args.save_job, request)
    job_file.write_job(args.save_job, request)
    if args.json:
        progress.print_json({"event": "job", "output": str(args.save_job)})
    elif not args.quiet:
        print(printable(f"{args.save_job}: run it by {shlex.join(_run_words(args.save_job))}"))
    return 0


def _run_words(path: Path) -> list[str]:
    return ["vidstyle", "run", str(path)]


def _run_one(request: "Request", args: argparse.Namespace) -> int:
    from vidstyle.jobs.discovery import parse_shard
    from vidstyle.jobs.pipeline import make_stylizer, plan, run_shard
    from vidstyle.jobs.pipeline import run as run_job
    from vidstyle.jobs.request import single_job
    from vidstyle.jobs.shards import run_shots

    job, shard, scheduler = single_job(request), request.get("shard"), request.get("scheduler")
    if shard and scheduler:
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
        notify = with_steps(reporter) if args.json and args.json_steps else reporter
        if shard:
            run_shard(job, parse_shard(shard), notify, make_stylizer=make)
        elif scheduler:
            run_shots(job, scheduler, notify, make_stylizer=make, verbose=args.verbose)
        else:
            run_job(job, notify, make_stylizer=make)
    return 0


def _run_batch(request: "Request", args: argparse.Namespace, base: Path) -> int:
    from vidstyle.jobs.batch import plan_batch, run_batch
    from vidstyle.jobs.cluster import spread_over
    from vidstyle.jobs.pipeline import make_stylizer
    from vidstyle.jobs.request import batch_of, job_maker

    batch, make_job = batch_of(request, base), job_maker(request)
    make = make_stylizer if args.verbose else progress.without_stderr(make_stylizer)
    scheduler, restart = request.get("scheduler"), bool(request.get("restart"))
    with progress.BatchReporter(
        as_json=args.json, quiet=args.quiet, verbose=args.verbose, restart=restart
    ) as reporter:
        if args.dry_run:
            failed = plan_batch(batch, make_job, reporter)
        else:
            each = spread_over(scheduler, verbose=args.verbose) if scheduler else None
            failed = run_batch(batch, make_job, reporter, make_stylizer=make, each=each)
    return VidstyleError.exit_code if failed else 0
