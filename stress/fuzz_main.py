"""Damage files and let vidstyle read them; print a table of how it fared.

scripts/fuzz videos             2,000 damaged videos and animations: as source, mask and map
scripts/fuzz pictures           2,000 damaged pictures: as source, style, mask, map and style map
scripts/fuzz states             2,000 state folders that are not vidstyle's, or hold other files
scripts/fuzz playlists          playlists that name themselves or another file
scripts/fuzz bombs              small files with pictures of hundreds of millions of pixels, at the
                                default --size; each of these two kinds as it is first, then damaged
    --count 2000 --first 0 --seed 0     which: each depends on the seed and its number alone
    --more FOLDER                       damage the small files below it too
    --keep FOLDER                       keep those that fail

The command line is the real one; the engine is one that optimises nothing. A run is to end within
30 s (playlists and bombs: 120 s), in 2 GB, with a result or with one sentence; no traceback, no
signal, nothing half-written, and no file lost that vidstyle did not write.
Any failure is told in a sentence, and the exit code is 1. Needs Linux.
"""

import argparse
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import stress.fuzz as _fuzz
import stress.fuzz_states as _fuzz_states
from stress.torture import Table


def main() -> int:
    """Read all the mutants; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=(*_fuzz.KINDS, "states"))
    parser.add_argument("--count", metavar="N", type=int, default=2000)
    parser.add_argument("--first", metavar="N", type=int, default=0)
    parser.add_argument("--seed", metavar="S", type=int, default=0)
    parser.add_argument("--more", metavar="FOLDER", type=Path)
    parser.add_argument("--keep", metavar="FOLDER", type=Path)
    given = parser.parse_args()
    table, began = Table(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder, suppress(KeyboardInterrupt):
        _try_all(Path(folder).resolve(), given, table)  # what was done until then counts
    print(table)
    for failure in table.failures:
        print(failure)
    print(f"{len(table.failures)} failures, {time.monotonic() - began:.0f} s")
    return 1 if table.failures else 0


def _try_all(folder: Path, given: argparse.Namespace, table: Table) -> None:
    numbers = range(given.first, given.first + given.count)
    if given.kind == "states":
        states = _fuzz_states.prepare_states(folder)
        _fuzz_states.fuzz_states(states, numbers, given.seed, table)
        return
    bench, seeds = _fuzz.prepare(folder, given.kind, given.more)
    mutants = _fuzz.mutants(seeds, given.kind, numbers, given.seed)
    _fuzz.fuzz(bench, mutants, table, given.keep)


if __name__ == "__main__":
    sys.exit(main())
