"""Benchmarks of masks: time and memory of an evaluation, opacity of greys, cropping."""

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
    """Print time and peak memory of one evaluation by guide. `arms`: print the memory of these."""
    if arms:
        for arm in arms:
            step = _step(str(arm))
            for _ in range(3):
                step()
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        return
    peaks = {arm: _peak(arm) for arm in _GUIDES}  # first: a child inherits the peak of its parent
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
    print(f"{'16 masks, one pass each (original code)':42}"
          f"{COUNT * statistics.median(times['one mask']):9.3f}{COUNT:12.2f}")  # fmt: skip


def _peak(arm: str) -> float:
    command = [sys.executable, "-m", "benchmarks", "masks", arm]
    child = subprocess.run(command, capture_output=True, check=True, text=True)
    return float(child.stdout.split()[-1])


def _soft() -> np.ndarray:
    """Return 16 soft masks from left to right; two overlap at each pixel."""
    across = (np.arange(WIDTH) + 0.5) / WIDTH * (COUNT - 1)
    fall = np.clip(1 - abs(across[:, None] - np.arange(COUNT)), 0, 1)
    return np.tile(fall.astype(np.float32), (HEIGHT, 1, 1))


def _smooth() -> np.ndarray:
    """Return 16 wide soft blobs, nowhere 0."""
    row, column = np.mgrid[:HEIGHT, :WIDTH] / WIDTH
    places = np.random.default_rng(1).random((COUNT, 2)) * (HEIGHT / WIDTH, 1)
    far = [(row - y) ** 2 + (column - x) ** 2 for y, x in places]
    return (0.02 + np.exp(-np.dstack(far) / (2 * 0.2**2))).clip(0, 1).astype(np.float32)


def _hard() -> np.ndarray:
    """Return 16 disjoint regions from left to right."""
    label = np.arange(WIDTH) * COUNT // WIDTH
    return np.tile(np.eye(COUNT, dtype=np.float32)[label], (HEIGHT, 1, 1))


_GUIDES: dict[str, Callable[[], np.ndarray] | None] = {
    "basic": None,
    "one mask": lambda: np.full((HEIGHT, WIDTH, 1), 0.5, np.float32),
    "16 soft masks, two overlapping": _soft,
    "16 disjoint regions": _hard,
    "16 smooth masks of the whole frame": _smooth,
    "16 equal masks of the whole frame": lambda: np.full(
        (HEIGHT, WIDTH, COUNT), 1 / COUNT, np.float32
    ),
}


def _quarter(height: int, width: int, *, windowed: bool) -> Callable[[], Any]:
    """Return one evaluation with a mask of the central quarter, cropped or not."""
    from vidstyle.vgg import forward

    mask = np.zeros((height, width, 1), np.float32)
    mask[height // 4 : -(height // 4), width // 4 : -(width // 4)] = 1
    found = forward.window_around
    if not windowed:
        forward.window_around = lambda support: None
    try:
        return _evaluation(mask)
    finally:
        forward.window_around = found


GREYS = (0.0, 0.25, 0.5, 0.75, 1.0)
SIDE, STEPS = 128, 60  # long side in pixels, evaluations for each mask: one minute in all


def greys(folder: Path | None = None) -> None:
    """Print the change of the sample photo by uniform masks of five greys, at 128 pixels.

    change: mean absolute difference of the output image from the source, in 8-bit levels.
    optimised: the same of the optimised image. gradient: change of a left-to-right ramp where it is
    within 0.1 of the grey, relative to a white mask. folder: optional, for the output images.
    """
    from vidstyle import media

    photo = media.read_picture(SAMPLES / "photo.png")
    rows, columns = (round(side * SIDE / max(photo.shape[:2])) for side in photo.shape[:2])
    frame = media.resize(photo, columns, rows)
    ramp = np.tile(np.linspace(0, 1, columns, dtype=np.float32), (rows, 1))
    found = {grey: _masked(frame, np.full_like(ramp, grey)) for grey in GREYS}
    across = _masked(frame, ramp)
    print(f"{'mask':>6}{'change':>9}{'/ white':>9}{'optimised':>11}{'gradient':>10}")
    for grey, made in found.items():
        near = np.abs(ramp - grey) < 0.1
        change, white, optimised, gradient, there = (
            255 * float(np.abs(image - frame)[where].mean())
            for image, where in (
                (made.image, slice(None)),
                (found[1.0].image, slice(None)),
                (made.optimised_image, slice(None)),
                (across.image, near),
                (found[1.0].image, near),
            )
        )
        shares = f"{change / white:9.2f}{optimised:11.2f}{gradient / there:10.2f}"
        print(f"{grey:6.0%}{change:9.2f}{shares}")
    if folder is not None:
        for name, made in [*((f"{grey:.0%}", made) for grey, made in found.items()), ("r", across)]:
            media.write_picture(folder / f"{name}.png", made.image)


def _masked(frame: Any, plane: np.ndarray) -> Any:
    """Return a frame stylised with a mask, at the defaults except the steps."""
    from vidstyle import media
    from vidstyle.guides.guide import Guide
    from vidstyle.settings import Settings
    from vidstyle.stylizer.stylizer import Style, Stylizer
    from vidstyle.techniques import TECHNIQUES

    style = Style(media.read_picture(SAMPLES / "style.jpg"))
    technique = TECHNIQUES["mask"]()
    stylizer = Stylizer([style], technique=technique, settings=Settings(steps=STEPS))
    return stylizer.stylize(frame, guide=Guide(plane[..., None], ("mask",)))


def window() -> None:
    """Print the time of a mask of the central quarter in its crop, relative to the whole frame."""
    for height, width in ((HEIGHT, WIDTH), (720, 1280)):
        arms = [_quarter(height, width, windowed=on) for on in (False, True)]
        gradients = [arm() for arm in arms]
        times: list[list[float]] = [[], []]
        for _ in range(ROUNDS):
            for took, arm in zip(times, arms, strict=True):
                began = time.perf_counter()
                arm()
                took.append(time.perf_counter() - began)
        ratio = statistics.median(part / whole for whole, part in zip(*times, strict=True))
        whole, part = gradients
        error = np.linalg.norm(part - whole) / np.linalg.norm(whole)
        print(
            f"{width}x{height}, a quarter covered: {statistics.median(times[0]):.3f} s whole, "
            f"{statistics.median(times[1]):.3f} s in its crop, ratio {ratio:.2f}; "
            f"the gradients differ by {error:.2%}",
            flush=True,
        )


def _step(arm: str) -> Callable[[], Any]:
    """Return one evaluation, all loss terms and the gradient, with the guide of an arm."""
    make = _GUIDES[arm]
    return _evaluation(None if make is None else make())


def _evaluation(planes: np.ndarray | None) -> Callable[[], Any]:
    from vidstyle import media
    from vidstyle.guides.guide import Guide
    from vidstyle.settings import Settings
    from vidstyle.stylizer.problem import FrameProblem
    from vidstyle.stylizer.stylizer import Style, Stylizer
    from vidstyle.techniques import TECHNIQUES

    height, width = (HEIGHT, WIDTH) if planes is None else planes.shape[:2]
    guide = None
    if planes is not None:
        guide = Guide(planes, tuple(f"mask {k}" for k in range(planes.shape[2])))
    frame = media.resize(media.read_picture(SAMPLES / "photo.png"), width, height)
    stylizer = Stylizer(
        [Style(media.read_picture(SAMPLES / "style.jpg"))],
        technique=TECHNIQUES["basic" if guide is None else "mask"](),
        settings=Settings(steps_next=1),
    )
    size, problem = stylizer.step_at(frame), FrameProblem(frame, guide, guide is not None)
    noise = np.random.default_rng(0).normal(0, 0.1, frame.shape) * problem.support
    start = np.clip(frame + noise, 0, 1).astype(np.float32)
    caught: list[Any] = []
    traced = size.evaluate
    size.evaluate = lambda *given: caught.append(given) or traced(*given)  # type: ignore
    size.improve(start, problem, 1, lambda *_: None)

    def evaluate() -> Any:
        _, gradient, _ = traced(*caught[0])
        return gradient.numpy()

    return evaluate
