"""A Python that runs jobs without a network: it inverts each frame, in so many seconds."""

import sys
from pathlib import Path

__all__ = ["slow_python"]

SLOW = """
import sys, time
import numpy as np
from vidstyle.cli import main
from vidstyle.jobs import pipeline
from vidstyle.jobs.job import Network
from vidstyle.stylizer.protocol import IdentityStylizer, Stylized

class Slow(IdentityStylizer):
    def stylize(self, content, guide=None, prior=None, *, progress):
        time.sleep({seconds})
        progress(1, 0.5, lambda: content)
        return Stylized(1 - content, {{"total": np.float32(0.5)}}, evaluations=1)

pipeline.make_stylizer = lambda *_: Slow()
pipeline.find_network = lambda *_: Network()
sys.exit(main.main(sys.argv[2:]))
"""


def slow_python(folder: Path, seconds: float) -> Path:
    """Write and return a launcher for `PYTHON -m vidstyle ARGUMENTS`, the real command line."""
    script, launcher = folder / "slow.py", folder / "python"
    script.write_text(SLOW.format(seconds=seconds))
    launcher.write_text(f'#!/bin/sh\nshift 2\nexec {sys.executable} {script} - "$@"\n')
    launcher.chmod(0o755)
    return launcher
