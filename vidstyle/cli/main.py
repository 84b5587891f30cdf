"""Entry point of the command line: runs a command and maps errors to exit codes.

Heavy modules are imported inside the commands, so that help, version and errors print at once.
"""

import logging
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress

from vidstyle.cli.parser import parse
from vidstyle.cli.progress import print_json, resume_hint
from vidstyle.cli.standard_streams import lost_output, prepare_streams, stop_signals
from vidstyle.cli.terminal import printable
from vidstyle.errors import ContainerError, describe_error
from vidstyle.jobs.events import ErrorEvent

__all__ = ["main"]

INTERRUPTED = 130  # exit code after SIGINT by the shells' convention: 128 + 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line (default: sys.argv[1:]) and return the exit code."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns about each retraced shape
    given = list(sys.argv[1:] if arguments is None else arguments)
    prepare_streams()
    try:
        with stop_signals():
            return _run(given)
    except KeyboardInterrupt as stop:
        return _fail(given, str(stop) or f"stopped; {resume_hint()}", INTERRUPTED)
    except ContainerError as error:
        from vidstyle.jobs.takeover import message_with_command

        return _fail(given, message_with_command(error, given), error.exit_code)
    except Exception as error:
        lost = lost_output() if isinstance(error, OSError) else None
        return _fail(given, *(lost or describe_error(error)))


def _run(given: list[str]) -> int:
    """Parse and run a command. Raises OSError if stdout cannot be written."""
    try:
        args = parse(given)
        return args.run(args) or 0
    finally:  # also after --help and --version, which raise SystemExit
        sys.stdout.flush()


def _fail(given: list[str], message: str, code: int) -> int:
    """Print an error and return its exit code."""
    if "-v" in given or "--verbose" in given:
        print(printable(traceback.format_exc(), keep="\n"), file=sys.stderr, end="")
    with suppress(OSError):
        if "--json" in given:
            print_json(ErrorEvent(message=message, exit_code=code).to_json())
    lost_output()
    print(printable(f"vidstyle: {message}"), file=sys.stderr)
    return code
