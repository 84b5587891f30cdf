"""Put every file of a corpus through vidstyle with an engine that changes nothing; print a table.

scripts/corpus FOLDER [OUT]     FOLDER: media, there or in folders right below. OUT: for the results

A row a file: what the source is, what the result is, and the verdict: the same frames at the same
times, a refusal in one sentence, or BAD. The exit code is 1 if any is bad.
"""

import argparse
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from stress.corpus import examine, sources


def main() -> int:
    """Examine each file; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", metavar="FOLDER", type=Path)
    parser.add_argument("out", metavar="OUT", type=Path, nargs="?")
    given = parser.parse_args()
    with ExitStack() as stack:
        out = given.out or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        out.mkdir(parents=True, exist_ok=True)
        print("| file | source | result | verdict |\n|---|---|---|---|")
        bad = []
        for path in sources(given.folder):
            row = examine(path, path.relative_to(given.folder).as_posix(), out)
            print(f"| {row.name} | {row.source} | {row.result} | {row.verdict} |", flush=True)
            bad += [row.name] * bool(row.bad)
    print(f"\n{len(bad)} bad" + (f": {', '.join(bad)}" if bad else ""))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
