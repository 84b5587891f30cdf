"""Test recovery from kills, I/O errors and signals; print a table.

scripts/torture faults      each file operation fails once, with each error
scripts/torture kills       SIGKILL at random moments of decode, stylise, encode and rename
scripts/torture signals     SIGINT and SIGTERM at random moments
scripts/torture long        memory and open files of a long run

Runs the real command line with a stylizer that does not optimise. Afterwards the same command must
produce the bytes of an uninterrupted run, and leave no other file. Prints each failure; the exit
code is then 1. Needs Linux (/proc).
"""

import argparse
import random
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from stress import torture

TESTS = {name: getattr(torture, name) for name in ("faults", "kills", "signals", "long")}


def main() -> int:
    """Run one test; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("test", choices=TESTS)
    parser.add_argument("--count", metavar="N", type=int, help="how many (default: all, 200, 50)")
    parser.add_argument("--seed", metavar="S", type=int, default=0)
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell ignore it
    table, began = torture.Table(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        bench = torture.Bench(Path(folder).resolve())
        with suppress(KeyboardInterrupt):  # print the table so far
            TESTS[arguments.test](bench, table, arguments.count, random.Random(arguments.seed))
    print(table)
    for failure in table.failures:
        print(failure)
    print(f"{len(table.failures)} failures, {time.monotonic() - began:.0f} s")
    return 1 if table.failures else 0


if __name__ == "__main__":
    sys.exit(main())
