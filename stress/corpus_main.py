"""Run every file of a corpus through vidstyle with an identity stylizer; print a table.

scripts/corpus FOLDER [OUT]     FOLDER: media files, also one level down. OUT: for the results

Each row has the properties of source and result, and the verdict: same (frames and timestamps), a
refusal in one sentence, or BAD. The exit code is 1 if any is bad.
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
    arguments = parser.parse_args()
    with ExitStack() as stack:
        out = arguments.out or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        out.mkdir(parents=True, exist_ok=True)
        print("| file | source | result | verdict |\n|---|---|---|---|")
        bad = []
        for path in sources(arguments.folder):
            row = examine(path, path.relative_to(arguments.folder).as_posix(), out)
            print(f"| {row.name} | {row.source} | {row.result} | {row.verdict} |", flush=True)
            bad += [row.name] * bool(row.bad)
    print(f"\n{len(bad)} bad" + (f": {', '.join(bad)}" if bad else ""))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
