"""Benchmark of masks made by vidstyle, against the true masks of DAVIS.

scripts/bench segmentation FOLDER [NAME,…]   a folder with davis/NAME and davis_bmx-trees
"""

import os
import resource
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from vidstyle import media
from vidstyle.errors import GuideError
from vidstyle.guides.auto_masks import AutoMasks
from vidstyle.guides.mending import Mender
from vidstyle.guides.propagation import track
from vidstyle.jobs.plan import PIXEL_SECONDS
from vidstyle.motion.flow import optical_flow
from vidstyle.motion.warp import sample
from vidstyle.segmentation import Selector
from vidstyle.segmentation.matting import matted

TRACKED = 20  # frames from the first true mask
COLUMNS = (
    "auto", "worst", "stable", "cpu s", "wall s", "share",
    "1 click", "3", "5", "box", "track", "last", "refine", "last",
)  # fmt: skip
EVALUATIONS = 15  # of a frame after the first, at the default settings
RUN_SIDE = 512  # pixels of the long side of a frame at the default settings


def segmentation(footage: Path | None = None, only: Path | None = None) -> None:
    """Print intersection over union with the true masks, and times, by sequence.

    auto: mean over all frames of --mask auto, and the worst frame. stable: of each mask and its
    neighbour warped along the flow. cpu s, wall s: of a frame, tracking and key frames included.
    share: of the CPU time of a default run on this machine, as `jobs.plan` estimates it.
    1 click, 3, 5: on the first frame; each at the middle of the largest error. box: around the
    true mask. track, refine: TRACKED frames from the first true mask, mean and last frame.
    only: comma-separated names of sequences.
    """
    folder = Path(footage or os.environ["VIDSTYLE_FOOTAGE"])
    sequences = [*sorted((folder / "davis").iterdir()), folder / "davis_bmx-trees"]
    wanted = str(only).split(",") if only else [path.name for path in sequences]
    print(f"{'':17}" + "".join(f"{column:>8}" for column in COLUMNS), flush=True)
    rows = []
    for sequence in sequences:
        if sequence.name in wanted:
            rows.append(list(_row(sequence)))
            _print(sequence.name, rows[-1])
    _print("mean", np.mean(rows, axis=0).tolist())
    _print("worst", [max(c) if i in (3, 4, 5) else min(c) for i, c in enumerate(zip(*rows))])  # noqa: B905
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory: {peak:.0f} MB, with all frames of a sequence in memory")


def _print(name: str, values: list[float]) -> None:
    print(f"{name:17}" + "".join(f"{value:8.3f}" for value in values), flush=True)


def _row(folder: Path) -> Iterator[float]:
    clip = media.probe(folder / "frames", rate=Fraction(25))
    frames = list(media.read(clip, range(clip.frames)))
    files = sorted((folder / "masks").iterdir())
    true = [cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) > 127 for file in files]
    yield from _automatic(clip, frames, true)
    yield from _clicked(frames[0], true[0])
    plain = track(frames[:TRACKED], {0: _plane(true[0])}, hard=True)
    yield from _scores([tracked.planes[..., 0] for tracked in plain], true)
    mended = track(frames[:TRACKED], {0: _plane(true[0])}, hard=True, mend=Mender())
    yield from _scores([matted(frames[one.index], one.planes[..., 0]) for one in mended], true)


def _plane(mask: np.ndarray) -> np.ndarray:
    return mask.astype(np.float32)[..., None]


def _overlap(mask: np.ndarray, true: np.ndarray) -> float:
    found = mask > 0.5
    return float((found & true).sum() / max(1, (found | true).sum()))


def _scores(masks: list[np.ndarray], true: list[np.ndarray]) -> tuple[float, float]:
    """Return the mean overlap and that of the last frame."""
    overlaps = [_overlap(*pair) for pair in zip(masks, true, strict=False)]
    return float(np.mean(overlaps)), overlaps[-1]


def _automatic(
    clip: media.Clip, frames: list[np.ndarray], true: list[np.ndarray]
) -> Iterator[float]:
    auto = AutoMasks(clip, range(clip.frames), lambda _: (clip.width, clip.height))
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        masks = list(auto.masks())
    except GuideError:  # nothing is salient: no mask, so no overlap
        masks = [np.zeros(frames[0].shape[:2], np.float32)] * len(frames)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    overlaps = [_overlap(*pair) for pair in zip(masks, true, strict=True)]
    yield float(np.mean(overlaps))
    yield min(overlaps)
    yield float(np.mean(list(_stability(frames, masks))))
    yield cpu / len(frames)
    yield wall / len(frames)
    height, width = (side * RUN_SIDE / max(clip.width, clip.height) for side in frames[0].shape[:2])
    optimising = 2 * EVALUATIONS * height * width * PIXEL_SECONDS  # CPU seconds, of two cores
    yield cpu / len(frames) / (cpu / len(frames) + optimising)


def _stability(frames: list[np.ndarray], masks: list[np.ndarray]) -> Iterator[float]:
    for index in range(1, len(frames), 4):
        back = optical_flow(frames[index], frames[index - 1])
        yield _overlap(sample(masks[index - 1], back), masks[index] > 0.5)


def _clicked(frame: np.ndarray, true: np.ndarray) -> Iterator[float]:
    """Yield the overlap after 1, 3 and 5 clicks, and of a box."""
    selector = Selector(frame)
    points: list[tuple[float, float]] = []
    labels: list[int] = []
    mask: np.ndarray | None = None
    for count in range(1, 6):
        found = np.zeros(true.shape, bool) if mask is None else mask > 0.5
        point, label = _next_click(found, true)
        points.append(point)
        labels.append(label)
        mask = selector.select(points, labels, previous=mask)
        if count in (1, 3, 5):
            yield _overlap(mask, true)
    rows, columns = (np.flatnonzero(true.any(axis=axis)) for axis in (1, 0))
    box = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
    yield _overlap(selector.select(box=box), true)


def _next_click(found: np.ndarray, true: np.ndarray) -> tuple[tuple[float, float], int]:
    """Return the place farthest within an error, and 1 if it is missing or 0 if too much."""

    def deepest(error: np.ndarray) -> tuple[float, tuple[float, float]]:
        depth = cv2.distanceTransform(np.pad(error, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
        row, column = np.unravel_index(depth.argmax(), depth.shape)
        return float(depth.max()), (float(column), float(row))

    missing, excess = deepest(true & ~found), deepest(found & ~true)
    return (missing[1], 1) if missing[0] >= excess[0] else (excess[1], 0)
