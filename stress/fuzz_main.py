"""Fuzz vidstyle with damaged and hostile files; print a table.

scripts/fuzz videos             2,000 damaged videos and animations: as source, mask and map
scripts/fuzz pictures           2,000 damaged pictures: as source, style, mask, map and style map
scripts/fuzz states             2,000 state folders with foreign files or links
scripts/fuzz playlists          playlists that name themselves or another file
scripts/fuzz bombs              small files with pictures of hundreds of millions of pixels, at the
                                default --size; playlists and bombs are first used undamaged
    --count 2000 --first 0 --seed 0     mutants to run; each depends on seed and number only
    --more FOLDER                       also mutate the small files in FOLDER
    --keep FOLDER                       keep the mutants that fail

Runs the real command line with a stylizer that returns the frame. A run must end within 30 s
(playlists and bombs: 120 s) and 2 GB, with a result or a message of one sentence; without a
traceback, a signal, a partial output, or the loss of a foreign file. Prints each failure; the exit
code is then 1. Needs Linux.
"""

import argparse
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from stress import fuzz, fuzz_states
from stress.torture import Table


def main() -> int:
    """Run the mutants; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=(*fuzz.KINDS, "states"))
    parser.add_argument("--count", metavar="N", type=int, default=2000)
    parser.add_argument("--first", metavar="N", type=int, default=0)
    parser.add_argument("--seed", metavar="S", type=int, default=0)
    parser.add_argument("--more", metavar="FOLDER", type=Path)
    parser.add_argument("--keep", metavar="FOLDER", type=Path)
    arguments = parser.parse_args()
    table, began = Table(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder, suppress(KeyboardInterrupt):
        _try_all(Path(folder).resolve(), arguments, table)  # print the table so far
    print(table)
    for failure in table.failures:
        print(failure)
    print(f"{len(table.failures)} failures, {time.monotonic() - began:.0f} s")
    return 1 if table.failures else 0


def _try_all(folder: Path, arguments: argparse.Namespace, table: Table) -> None:
    numbers = range(arguments.first, arguments.first + arguments.count)
    if arguments.kind == "states":
        states = fuzz_states.prepare_states(folder)
        fuzz_states.fuzz_states(states, numbers, arguments.seed, table)
        return
    bench, seeds = fuzz.prepare(folder, arguments.kind, arguments.more)
    mutants = fuzz.mutants(seeds, arguments.kind, numbers, arguments.seed)
    fuzz.fuzz(bench, mutants, table, arguments.keep)


if __name__ == "__main__":
    sys.exit(main())
