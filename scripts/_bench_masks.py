"""What masks cost: the time of one evaluation at 512x288 and the peak memory."""

import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SAMPLES = Path(__file__).parent.parent / "samples"
HEIGHT, WIDTH, COUNT, ROUNDS = 288, 512, 16, 7


def masks(*arms: Path) -> None:
    """Print time and memory of each way to use masks; `arms` named: only run those, for memory."""
    if arms:
        for arm in arms:
            step = _step(str(arm))
            for _ in range(3):
                step()
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        return
    peaks = {arm: _peak(arm) for arm in _GUIDES}  # first: a child's peak begins at its parent's
    steps = {arm: _step(arm) for arm in _GUIDES}
    times: dict[str, list[float]] = {arm: [] for arm in steps}
    for turn in range(ROUNDS + 1):
        for arm, step in steps.items():
            began = time.perf_counter()
            step()
            if turn:  # the first call traces
                times[arm].append(time.perf_counter() - began)
    print(f"{'arm':42}{'seconds':>9}{'/ one mask':>12}{'/ basic':>9}{'peak MB':>9}{'/ one':>7}")
    for arm, took in times.items():
        ratios = [
            statistics.median(a / b for a, b in zip(took, times[other], strict=True))
            for other in ("one mask", "basic")
        ]
        print(
            f"{arm:42}{statistics.median(took):9.3f}{ratios[0]:12.2f}{ratios[1]:9.2f}"
            f"{peaks[arm]:9.0f}{peaks[arm] / peaks['one mask']:7.2f}",
            flush=True,
        )
    print(f"{'one pass a mask, 16 masks (as originally)':42}"
          f"{COUNT * statistics.median(times['one mask']):9.3f}{COUNT:12.2f}")  # fmt: skip


def _peak(arm: str) -> float:
    command = [sys.executable, str(Path(__file__).parent / "bench"), "masks", arm]
    told = subprocess.run(command, capture_output=True, check=True, text=True)
    return float(told.stdout.split()[-1])


def _soft() -> np.ndarray:
    """Sixteen soft masks from left to right, of which two overlap at every place."""
    across = (np.arange(WIDTH) + 0.5) / WIDTH * (COUNT - 1)
    fall = np.clip(1 - abs(across[:, None] - np.arange(COUNT)), 0, 1)
    return np.tile(fall.astype(np.float32), (HEIGHT, 1, 1))


def _hard() -> np.ndarray:
    """Sixteen disjoint regions from left to right."""
    label = np.arange(WIDTH) * COUNT // WIDTH
    return np.tile(np.eye(COUNT, dtype=np.float32)[label], (HEIGHT, 1, 1))


_GUIDES: dict[str, Callable[[], np.ndarray] | None] = {
    "basic": None,
    "one mask": lambda: np.full((HEIGHT, WIDTH, 1), 0.5, np.float32),
    "16 soft masks, two deep": _soft,
    "16 disjoint regions": _hard,
    "16 masks of the whole frame": lambda: np.full((HEIGHT, WIDTH, COUNT), 1 / COUNT, np.float32),
}


def _step(arm: str) -> Callable[[], Any]:
    """Return one whole evaluation, every loss term and the gradient, with these masks."""
    from vidstyle import media
    from vidstyle.engine import Scene, Style, Stylizer
    from vidstyle.guides import Guide
    from vidstyle.settings import Settings
    from vidstyle.techniques import TECHNIQUES

    make = _GUIDES[arm]
    planes = None if make is None else make()
    guide = None
    if planes is not None:
        guide = Guide(planes, tuple(f"mask {k}" for k in range(planes.shape[2])))
    frame = np.random.default_rng(0).random((HEIGHT, WIDTH, 3), np.float32)
    stylizer = Stylizer(
        [Style(media.read_picture(SAMPLES / "style.jpg"))],
        technique=TECHNIQUES["basic" if guide is None else "mask"](),
        settings=Settings(steps_next=1),
    )
    size, scene = stylizer._at(frame), Scene(frame, guide, guide is not None)
    caught: list[Any] = []
    traced = size._traced
    size._traced = lambda *given: caught.append(given) or traced(*given)  # type: ignore
    size.improve(frame, scene, 1, lambda count, total: None)

    def evaluate() -> Any:
        _, gradient, _ = traced(*caught[0])
        return gradient.numpy()

    return evaluate
