"""Let runs of vidstyle be killed, starved and interrupted; print a table of how they fared.

scripts/torture faults      each file operation fails in turn, in each way
scripts/torture kills       kill -9 at random moments of decode, stylise, encode and rename
scripts/torture signals     SIGINT and SIGTERM at random moments
scripts/torture long        memory and open files of a long run

The command line is the real one; the engine is one that optimises nothing. Afterwards the same
command must end with the same bytes as an undisturbed run's, and leave nothing else. Any failure
is told in a sentence, and the exit code is 1. Needs Linux: it reads /proc.
"""

import argparse
import random
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import stress.torture as _torture

TESTS = {name: getattr(_torture, name) for name in ("faults", "kills", "signals", "long")}


def main() -> int:
    """Do one test; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("test", choices=TESTS)
    parser.add_argument("--count", metavar="N", type=int, help="how many (default: all, 200, 50)")
    parser.add_argument("--seed", metavar="S", type=int, default=0)
    given = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a shell puts behind
    table, began = _torture.Table(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        bench = _torture.Bench(Path(folder).resolve())
        with suppress(KeyboardInterrupt):  # what was done so far counts
            TESTS[given.test](bench, table, given.count, random.Random(given.seed))
    print(table)
    for failure in table.failures:
        print(failure)
    print(f"{len(table.failures)} failures, {time.monotonic() - began:.0f} s")
    return 1 if table.failures else 0


if __name__ == "__main__":
    sys.exit(main())
