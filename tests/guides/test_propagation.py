import os
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest

from vidstyle import media
from vidstyle.errors import GuideError
from vidstyle.guides.propagation import Tracked, track
from vidstyle.image import Image

HEIGHT, WIDTH = 96, 128
FOOTAGE = Path(os.environ.get("VIDSTYLE_FOOTAGE") or "absent") / "davis"
on_footage = pytest.mark.skipif(not FOOTAGE.is_dir(), reason="VIDSTYLE_FOOTAGE has no davis")


def clouds(seed: int) -> Image:
    """Return a picture with detail of every size from three pixels on."""
    noise = np.random.default_rng(seed).random((HEIGHT, WIDTH, 3)).astype(np.float32)
    layers = [cv2.GaussianBlur(noise, (0, 0), size) for size in (1.5, 4, 10)]
    picture = sum((layer - layer.mean()) / layer.std() for layer in layers)
    return np.clip(0.5 + 0.1 * picture, 0, 1).astype(np.float32)


def square_at(x: int, ground: int = 0) -> tuple[Image, np.ndarray]:
    """Return a frame with a bluish square of side 36, and its mask [H, W, 1]."""
    frame, mask = clouds(ground), np.zeros((HEIGHT, WIDTH, 1), np.float32)
    frame[30:66, x : x + 36] = 1 - clouds(9)[:36, :36] * (1, 0.3, 0.2)
    mask[30:66, x : x + 36] = 1
    return frame, mask


def sliding(count: int, ground: int = 0) -> tuple[list[Image], list[np.ndarray]]:
    frames, masks = zip(*(square_at(12 + 3 * i, ground) for i in range(count)), strict=True)
    return list(frames), list(masks)


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Return the intersection over union of two masks."""
    return float(np.minimum(a, b).sum() / np.maximum(a, b).sum())


def as_map(mask: np.ndarray) -> np.ndarray:
    """Return three hard planes: background, left half and right half of the mask."""
    columns = np.flatnonzero(mask.any(axis=(0, 2)))
    left = mask.copy()
    left[:, int(columns.mean()) + 1 :] = 0
    return np.dstack([1 - mask, left, mask - left])


def soft_disc(x: float) -> tuple[Image, np.ndarray]:
    """Return a frame with a bright ball, and a mask that falls off from its centre."""
    rows, columns = np.indices((HEIGHT, WIDTH))
    mask = np.exp(-((rows - 48) ** 2 + (columns - x) ** 2) / 200)[..., None].astype(np.float32)
    inside = np.hypot(rows - 48, columns - x)[..., None] < 18
    ball = np.roll(1 - clouds(9), round(x), axis=1)
    return np.where(inside, ball, clouds(0)).astype(np.float32), mask


def test_a_moving_square_is_propagated_from_both_key_frames() -> None:
    frames, masks = sliding(9)
    found = list(track(frames, {0: masks[0], 8: masks[8]}, hard=True))
    assert [each.index for each in found] == list(range(9))
    assert [each.keys for each in found] == [(0,), *[(0, 8)] * 7, (8,)]
    assert min(overlap(each.planes, masks[each.index]) for each in found) > 0.95
    assert overlap(masks[0], masks[4]) < 0.6


@pytest.mark.parametrize(("key", "hard"), [(0, True), (5, True), (0, False), (5, False)])
def test_one_key_frame_is_propagated_forward_and_backward(key: int, hard: bool) -> None:
    frames, masks = sliding(6)
    found = list(track(frames, {key: masks[key]}, hard=hard))
    assert all(each.keys == (key,) for each in found)
    least = min(overlap(each.planes, masks[each.index]) for each in found)
    assert least > (0.83 if hard else 0.75)
    assert overlap(masks[0], masks[5]) < 0.5


@pytest.mark.parametrize("hard", [True, False])
@pytest.mark.parametrize("noise", [0, 1 / 255])
@pytest.mark.parametrize("keys", [(0,), (0, 19), (19,)])
def test_a_static_scene_keeps_the_planes_exactly(
    keys: tuple[int, ...], noise: float, hard: bool
) -> None:
    frame, mask = square_at(30)
    mask = mask if hard else np.rint(soft_disc(40)[1] * 255).astype(np.float32) / 255
    rng = np.random.default_rng(0)
    frames = [
        np.clip(frame + rng.normal(0, noise, frame.shape), 0, 1).astype(np.float32)
        for _ in range(20)
    ]
    found = list(track(frames, dict.fromkeys(keys, mask), hard=hard))
    assert all(np.array_equal(each.planes, mask) for each in found)


def test_nothing_is_propagated_across_a_cut() -> None:
    (first, masks), (second, others) = sliding(4), sliding(4, ground=5)
    second = [frame[::-1, ::-1].copy() for frame in second]
    others = [mask[::-1, ::-1].copy() for mask in others]
    keys = {0: masks[0], 7: others[3]}
    found = list(track([*first, *second], keys, hard=True))
    assert [each.keys for each in found] == [(0,)] * 4 + [(7,)] * 4
    truth = [*masks, *others]
    assert min(overlap(each.planes, truth[each.index]) for each in found) > 0.85


@pytest.mark.parametrize(("key", "begins"), [(1, 4), (5, 0)])
def test_a_shot_without_a_key_is_an_error_that_names_its_first_frame(key: int, begins: int) -> None:
    frames = [*sliding(4)[0], *(frame[::-1, ::-1].copy() for frame in sliding(4, ground=5)[0])]
    with pytest.raises(GuideError, match=rf"begins at frame {begins}\b.*draw"):
        list(track(frames, {key: square_at(12)[1]}, hard=True))


def test_no_key_at_all_is_an_error_before_the_second_frame_is_read() -> None:
    frames = iter(sliding(3)[0])
    with pytest.raises(GuideError, match="begins at frame 0"):
        next(track(frames, {}, hard=False))
    assert len(list(frames)) == 2


def test_another_frame_size_is_a_cut() -> None:
    small = np.ascontiguousarray(clouds(0)[:40])
    keys = {0: square_at(12)[1], 1: np.ones((40, WIDTH, 1), np.float32)}
    found = list(track([square_at(12)[0], small], keys, hard=True))
    assert [each.planes.shape for each in found] == [(HEIGHT, WIDTH, 1), (40, WIDTH, 1)]


@pytest.mark.parametrize("shape", [(HEIGHT, WIDTH), (HEIGHT, WIDTH + 1, 1)])
def test_planes_of_another_shape_are_an_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(GuideError, match="key frame 0: expected planes of shape"):
        list(track([clouds(0)], {0: np.zeros(shape, np.float32)}, hard=True))


def test_key_frames_with_different_numbers_of_planes_are_an_error() -> None:
    frames, masks = sliding(3)
    with pytest.raises(GuideError, match=r"0 and 2: expected .* got 3 and 4"):
        list(track(frames, {0: np.dstack([masks[0]] * 3), 2: np.dstack([masks[2]] * 4)}, hard=True))


@pytest.mark.parametrize("labels", [3, 7])
def test_a_propagated_label_map_is_one_hot(labels: int) -> None:
    frames, masks = sliding(7)
    maps = [np.dstack([as_map(mask), *[mask * 0] * (labels - 3)]) for mask in masks]
    found = list(track(frames, {0: maps[0], 6: maps[6]}, hard=True))
    for each in found:
        assert each.planes.dtype == np.float32
        assert each.planes.shape == (HEIGHT, WIDTH, labels)
        assert set(np.unique(each.planes)) == {0, 1}
        assert (each.planes.sum(axis=2) == 1).all()
        assert overlap(each.planes[..., :3], maps[each.index][..., :3]) > 0.95


@pytest.mark.parametrize("labels", [1, 2, 60])
@pytest.mark.parametrize("size", [(1, 1), (2, 9), (33, 17)])
def test_tiny_frames_and_many_labels_stay_hard(size: tuple[int, int], labels: int) -> None:
    random = np.random.default_rng(0)
    frames = [np.full((*size, 3), 0.5 + 0.01 * i, np.float32) for i in range(4)]
    planes = np.eye(max(2, labels), dtype=np.float32)[random.integers(0, max(2, labels), size)]
    found = list(track(frames, {0: planes[..., :labels], 3: planes[..., :labels]}, hard=True))
    assert all(each.planes.shape == (*size, labels) for each in found)
    assert all(set(np.unique(each.planes)) <= {0, 1} for each in found)


def test_labels_that_tie_go_to_the_first() -> None:
    planes = np.full((HEIGHT, WIDTH, 3), (0.2, 0.4, 0.4), np.float32)
    (found,) = track([clouds(0)], {0: planes}, hard=True)
    assert (found.planes == (0, 1, 0)).all()


def test_propagated_soft_masks_stay_soft() -> None:
    frames, masks = zip(*(soft_disc(30 + 3 * i) for i in range(7)), strict=True)
    pairs = [np.dstack([mask, 0.5 * mask]) for mask in masks]
    found = list(track(frames, {0: pairs[0], 6: pairs[6]}, hard=False))
    for each in found:
        assert each.planes.min() >= 0
        assert each.planes.max() <= 1
        assert ((each.planes[..., 0] > 0.1) & (each.planes[..., 0] < 0.9)).mean() > 0.08
        assert np.abs(each.planes - pairs[each.index]).mean() < 0.01
    assert np.abs(pairs[3] - pairs[0]).mean() > 0.02


@pytest.mark.parametrize("hard", [True, False])
def test_two_runs_give_the_same_bits(hard: bool) -> None:
    frames, masks = sliding(5)
    keys = {0: as_map(masks[0]), 4: as_map(masks[4])}
    threads = cv2.getNumThreads()
    runs = []
    try:
        for count in (1, 4):
            cv2.setNumThreads(count)
            runs.append([each.planes for each in track(frames, keys, hard=hard)])
    finally:
        cv2.setNumThreads(threads)
    assert all(np.array_equal(a, b) for a, b in zip(*runs, strict=True))


class LazyKeys(Mapping[int, np.ndarray]):
    """Key frames that log each access."""

    def __init__(self, keys: dict[int, np.ndarray], journal: list[str]) -> None:
        self._keys, self._journal = keys, journal

    def __getitem__(self, index: int) -> np.ndarray:
        self._journal.append(f"key {index}")
        return self._keys[index]

    def __iter__(self) -> Iterator[int]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, index: object) -> bool:
        return index in self._keys


def test_frames_and_keys_are_read_once_and_lazily() -> None:
    frames, masks = sliding(6)
    journal: list[str] = []

    def read() -> Iterator[Image]:
        for index, frame in enumerate(frames):
            journal.append(f"read {index}")
            yield frame

    for each in track(read(), LazyKeys({1: masks[1], 3: masks[3]}, journal), hard=False):
        journal.append(f"give {each.index}")
    assert " ".join(journal) == (
        "read 0 read 1 key 1 give 0 give 1 read 2 read 3 key 3 give 2 give 3 "
        "read 4 give 4 read 5 give 5"
    )


def peak(count: int, keys: range) -> int:
    """Return the peak memory in bytes of tracking a clip of `count` frames."""
    masks = {key: square_at(30)[1] for key in keys}
    frames = (clouds(0) for _ in range(count))

    def still(a: Image, b: Image) -> np.ndarray:
        return np.zeros((HEIGHT, WIDTH, 2), np.float32)

    tracemalloc.start()
    for _ in track(frames, masks, hard=False, flow=still):
        pass
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


def test_memory_depends_on_the_distance_between_keys_only() -> None:
    short, long = peak(20, range(0, 20, 5)), peak(100, range(0, 100, 5))
    assert long < 1.2 * short + 80 * HEIGHT * WIDTH * 4
    assert peak(100, range(1)) < 1.2 * peak(20, range(1))
    wide = peak(60, range(0, 60, 50)) - peak(60, range(0, 60, 5))
    assert 45 * HEIGHT * WIDTH * 8 < wide < 45 * HEIGHT * WIDTH * 16


def test_tracking_never_imports_tensorflow() -> None:
    code = "import sys, vidstyle.guides.propagation; print('tensorflow' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert found.stdout.strip() == "False"


def davis(name: str, count: int) -> tuple[list[Image], list[np.ndarray]]:
    """Return the first frames and masks of a sequence at half their size."""
    folder, frames, masks = FOOTAGE / name, [], []
    for file in sorted((folder / "frames").glob("*.jpg"))[:count]:
        frames.append(media.resize(media.read_picture(file), 427, 240))
        mask = cv2.imread(str(folder / "masks" / f"{file.stem}.png"), 0)
        masks.append((cv2.resize(mask, (427, 240), interpolation=cv2.INTER_AREA) > 127)[..., None])
    return frames, [mask.astype(np.float32) for mask in masks]


def score(found: list[Tracked], masks: list[np.ndarray]) -> float:
    return float(np.mean([overlap(each.planes, masks[each.index]) for each in found]))


@on_footage
@pytest.mark.parametrize(
    ("name", "keys", "least"),
    [("camel", (0, 10), 0.95), ("camel", (0,), 0.9), ("camel", (10,), 0.9), ("cows", (0, 5), 0.95)],
)
def test_masks_of_real_footage_are_propagated(
    name: str, keys: tuple[int, ...], least: float
) -> None:
    frames, masks = davis(name, keys[-1] + 1 if len(keys) > 1 else 11)
    found = list(track(frames, {key: masks[key] for key in keys}, hard=True))
    assert score(found, masks) > least


class _AtLast:
    """Mends the last frame of a shot only, and records which ones those were."""

    def __init__(self, planes: np.ndarray) -> None:
        self.planes, self.frames = planes, []

    def at_key(self, index: int, frame: np.ndarray, planes: np.ndarray) -> None:
        pass

    def __call__(
        self, index: int, frame: np.ndarray, planes: np.ndarray, confidence: np.ndarray
    ) -> None:
        pass

    def at_last(
        self, index: int, frame: np.ndarray, planes: np.ndarray, confidence: np.ndarray
    ) -> np.ndarray:
        self.frames.append(index)
        return self.planes


def test_mended_planes_replace_only_what_is_not_followed_reliably() -> None:
    still = [clouds(0)] * 3
    other, mask = square_at(40, ground=3)
    mend = _AtLast(np.ones_like(mask))
    made = list(track([*still, *[other] * 3], {0: mask, 3: mask}, hard=True, mend=mend))
    assert mend.frames == [2, 5]  # never across the cut
    assert all(np.array_equal(one.planes, mask) for one in made)  # nothing moves
    frames, masks = sliding(6)
    mend = _AtLast(masks[-1])
    mended = list(track(frames, {0: masks[0]}, hard=True, mend=mend))[-1]
    plain = list(track(frames, {0: masks[0]}, hard=True))[-1]
    assert mend.frames == [5]
    assert overlap(mended.planes, masks[-1]) > overlap(plain.planes, masks[-1])
