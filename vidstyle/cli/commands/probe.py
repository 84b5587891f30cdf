"""`vidstyle probe`: print a source's properties as JSON."""

import argparse
import json

from vidstyle.cli import options
from vidstyle.settings import Settings

SUMMARY = "print the properties of a source as JSON"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="SOURCE", help=options.SOURCE_HELP)
    options.add_options(parser, Settings, only=("rate",))


def run(args: argparse.Namespace) -> None:
    from vidstyle.media import as_json, probe

    clip = probe(args.source, **options.given_options(args, Settings))
    print(json.dumps(as_json(clip), indent=2))
