"""Benchmark of mask propagation: intersection over union with the true masks of DAVIS.

scripts/bench tracking FOLDER        a folder with davis/NAME/frames and davis/NAME/masks
"""

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from vidstyle import media
from vidstyle.guides.propagation import OpticalFlow, track
from vidstyle.motion.flow import optical_flow

STEPS = (5, 10, 20)
FIRST = 20  # frames from the first mask alone


def tracking(footage: Path | None = None) -> None:
    """Print the mean intersection over union of `track` and of a baseline, by sequence.

    Columns: a true mask every 5, 10 and 20 frames, and 20 frames from the first mask alone; with
    and without the key frames themselves. Baseline: masks warped along the same flows, from both
    key frames, blended by distance and consistency of the flows.
    """
    folder = Path(footage or os.environ["VIDSTYLE_FOOTAGE"]) / "davis"
    print(f"{'':24}{'with the key frames':^28}{'without':^28}")
    columns = [*(f"every {step}" for step in STEPS), "first"] * 2
    print(f"{'':24}" + "".join(f"{column:>9}" for column in columns).replace("every ", "  1/"))
    rows: dict[str, list[list[float]]] = {"track": [], "flow": []}
    for sequence in sorted(path.parent for path in folder.glob("*/masks")):
        for name, values in zip(rows, _sequence(sequence), strict=True):
            rows[name].append(values)
            _print(f"{sequence.name} {name}", values)
    for name, all_values in rows.items():
        _print(f"mean {name}", np.mean(all_values, axis=0).tolist())


def _print(name: str, values: list[float]) -> None:
    print(f"{name:24}" + "".join(f"{value:9.3f}" for value in values), flush=True)


def _sequence(folder: Path) -> tuple[list[float], list[float]]:
    """Return the row of `track` and the row of the baseline."""
    files = sorted((folder / "frames").glob("*.jpg"))
    frames = [media.read_picture(file) for file in files]
    masks = [cv2.imread(str(file), 0) > 127 for file in sorted((folder / "masks").glob("*.png"))]
    cache: dict[tuple[int, int], np.ndarray] = {}
    positions = {id(frame): index for index, frame in enumerate(frames)}

    def cached_flow(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        pair = (positions[id(a)], positions[id(b)])
        if pair not in cache:
            cache[pair] = optical_flow(a, b)
        return cache[pair]

    tracked_scores, baseline_scores = [], []
    for keys, count in _cases(len(frames)):
        part = frames[:count]
        drawn = {key: masks[key][..., None].astype(np.float32) for key in keys}
        tracked = [
            each.planes[..., 0] > 0.5 for each in track(part, drawn, hard=True, flow=cached_flow)
        ]
        tracked_scores.append(_scores(tracked, masks, keys))
        baseline_scores.append(
            _scores(list(_baseline(part, masks, keys, cached_flow)), masks, keys)
        )
    return _row(tracked_scores), _row(baseline_scores)


def _cases(count: int) -> Iterator[tuple[list[int], int]]:
    """Yield the key frames and the number of frames of each column."""
    for step in STEPS:
        yield list(range(0, count, step)), count
    yield [0], FIRST


def _scores(
    found: list[np.ndarray], masks: list[np.ndarray], keys: list[int]
) -> tuple[float, float]:
    """Return the mean over all frames, and over those that are not key frames."""
    overlaps = [(a & b).sum() / max(1, (a | b).sum()) for a, b in zip(found, masks, strict=False)]
    others = [overlap for index, overlap in enumerate(overlaps) if index not in keys]
    return float(np.mean(overlaps)), float(np.mean(others))


def _row(scores: list[tuple[float, float]]) -> list[float]:
    return [score for column in zip(*scores, strict=True) for score in column]


def _baseline(
    frames: list[np.ndarray], masks: list[np.ndarray], keys: list[int], flow: OpticalFlow
) -> Iterator[np.ndarray]:
    """Yield the masks of the baseline."""
    for left, right in pairwise([*keys, None]):
        end = len(frames) if right is None else right
        forward = _chained(frames, masks[left], range(left, end), flow)
        if right is None:
            yield from (mask > 0.5 for mask, _ in forward)
            continue
        backward = _chained(frames, masks[right], range(right, left, -1), flow)[::-1]
        yield masks[left]
        for step, (one, two) in enumerate(zip(forward[1:], backward, strict=False), 1):
            near = step / (right - left)
            weights = (1 - near) * (one[1] + 1e-3), near * (two[1] + 1e-3)
            yield weights[0] * one[0] + weights[1] * two[0] > sum(weights) / 2


def _chained(
    frames: list[np.ndarray], mask: np.ndarray, path: range, flow: OpticalFlow
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the mask and its confidence at each frame of the path."""
    warped, confidence = mask.astype(np.float32), np.ones(mask.shape, np.float32)
    found = [(warped, confidence)]
    for before, index in pairwise(path):
        back = flow(frames[index], frames[before])
        ahead = flow(frames[before], frames[index])
        there = np.dstack(np.indices(mask.shape, np.float32)[::-1]) + back
        error = np.linalg.norm(_sampled(ahead, there) + back, axis=2)
        warped = _sampled(warped, there)
        confidence = _sampled(confidence, there) * np.exp(-error / 2)
        found.append((warped, confidence))
    return found


def _sampled(values: np.ndarray, positions: np.ndarray) -> np.ndarray:
    return np.asarray(
        cv2.remap(values, positions, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    )
