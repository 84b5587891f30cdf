"""Benchmark of patch: memory and time of a large frame."""

import resource
import time
from pathlib import Path
from unittest import mock

SAMPLES = Path(__file__).parent.parent / "samples"
WIDTH, HEIGHT, STYLE = 1920, 1080, 1024
EVALUATIONS = 10  # until L-BFGS has all its curvature pairs
WARM = 15  # evaluations of a warm frame


def patch() -> None:
    """Print the peak memory of a frame of patch, and the share of the time spent matching."""
    from vidstyle import media
    from vidstyle.stylizer.problem import FrameProblem
    from vidstyle.stylizer.stylizer import Style, Stylizer
    from vidstyle.techniques import TECHNIQUES
    from vidstyle.techniques.patch import Patch

    frame = media.resize(media.read_picture(SAMPLES / "photo.png"), WIDTH, HEIGHT)
    picture = media.read_picture(SAMPLES / "style.jpg")
    rows = round(STYLE * picture.shape[0] / picture.shape[1])
    style = Style(media.resize(picture, STYLE, rows))
    seconds, stamps = [0.0], []
    matches = Patch._matches

    def timed(*given: object) -> object:
        began = time.perf_counter()
        found = matches(*given)  # type: ignore[arg-type]
        seconds[0] += time.perf_counter() - began
        return found

    with mock.patch.object(Patch, "_matches", timed):
        stylizer = Stylizer([style], technique=TECHNIQUES["patch"]())
        size, problem = stylizer.step_at(frame), FrameProblem(frame, None, False)
        began = time.perf_counter()
        size.improve(frame, problem, EVALUATIONS, lambda *_: stamps.append(time.perf_counter()))
    first, each = stamps[0] - began, (stamps[-1] - stamps[0]) / (EVALUATIONS - 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{WIDTH}x{HEIGHT}, a style of {STYLE}x{rows}: peak memory {peak:.2f} GiB")
    print(f"matching {seconds[0]:.1f} s, an evaluation {each:.1f} s, the first {first:.1f} s")
    print(f"matching takes {seconds[0] / (seconds[0] + WARM * each):.1%} of a warm frame")
