"""`vidstyle run`: run a job file."""

import argparse
from pathlib import Path

from vidstyle.cli.commands import stylize
from vidstyle.techniques import TECHNIQUES

SUMMARY = "run a job file, as --save-job writes it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(technique=None)
    parser.add_argument(
        "job", metavar="JOB", type=Path,
        help="job file (TOML): its keys are the options of the command line; relative paths count "
        "from its folder; every option given here replaces the file's",
    )  # fmt: skip
    parser.add_argument(
        "sources", metavar="SOURCE", nargs="*", type=Path,
        help="run the job for these sources instead of its own",
    )  # fmt: skip
    stylize.add_request(parser, TECHNIQUES.values(), whole=False)
    parser.add_argument(
        "--json-steps", action="store_true",
        help="with --json, print a step event about once a second as well",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Run a job file with the options given beside it; return the exit code."""
    from vidstyle.jobs.job_file import check_request, read_job
    from vidstyle.jobs.request import check_job_file_apart

    given = stylize.given_request(args)
    saved = read_job(args.job, whole=False)
    where = str(args.job)
    request = check_request({**saved, **given}, where)
    check_job_file_apart(args.job, request)
    return stylize.execute(request, args, args.job.parent)
