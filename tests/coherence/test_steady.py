"""Cuts, still shots and key frames in whole runs with a tiny encoder."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from films import HEIGHT, LENGTH, WIDTH, Film, save, shot

from vidstyle.coherence.parameters import CoherenceParameters, KeyframeParameters
from vidstyle.image import Image
from vidstyle.jobs.job import Job
from vidstyle.jobs.manifest import state_path
from vidstyle.media import load_frame


def test_a_shot_after_a_hard_cut_is_bit_identical_to_the_shot_alone(film: Film) -> None:
    first, second = shot(1), shot(2, speed=2)
    events: list[Any] = []
    together = film.run(film.job("film", first + second), events.append)
    cuts = [event.cut for event in events if event.name == "frame"]
    assert cuts == [index in (0, LENGTH) for index in range(2 * LENGTH)]
    assert together[LENGTH:] == film.run(film.job("alone", second))
    assert len(set(together)) == 2 * LENGTH


def still(noise: float, length: int = LENGTH) -> list[Image]:
    return shot(1, speed=0, noise=noise, length=length)


@pytest.mark.parametrize("steps_next", [4, "auto"])
@pytest.mark.parametrize("noise", [0.0, 2 / 255])
def test_a_still_shot_is_not_optimised_again(
    film: Film, noise: float, steps_next: int | str
) -> None:
    events: list[Any] = []
    made = film.run(film.job("still", still(noise), steps_next=steps_next), events.append)
    first, *rest = (event.frame_equivalents for event in events if event.name == "frame")
    assert first == 8
    assert sum(rest) <= 0.1 * len(rest)
    assert len(set(made)) == 1


def test_slow_changes_of_light_are_followed(film: Film) -> None:
    """The light falls by 0.4 % per frame, too little to differ from the previous frame."""
    frames = [frame * (1 - 0.004 * i) for i, frame in enumerate(still(0.0, 12))]
    made = film.run(film.job("fade", frames))
    assert made[1] == made[0]
    assert len(set(made)) > 6


def partly_moving(length: int = 6) -> list[Image]:
    """Return a still, noisy shot with a small picture moving in front of it."""
    frames = still(1 / 255, length)
    for index, frame in enumerate(frames):
        frame[10:26, 4 + 3 * index : 16 + 3 * index] = shot(5)[0][10:26, :12]
    return frames


def test_static_areas_beside_motion_are_bit_identical(film: Film) -> None:
    job = film.job("partly", partly_moving())
    film.run(job)
    results = [
        load_frame(file) for file in sorted((state_path(job.output) / "frames").glob("*.png"))
    ]
    for before, after in pairwise(results):
        assert np.array_equal(before[32:, 44:], after[32:, 44:])
        assert not np.array_equal(before[:30, :40], after[:30, :40])


@pytest.mark.parametrize("steps_next", [4, "auto"])
def test_a_run_stopped_within_a_shot_resumes_to_the_same_bytes(
    film: Film, steps_next: int | str
) -> None:
    whole = film.run(film.job("whole", partly_moving(), steps_next=steps_next))

    def stop(event: Any) -> None:
        if event.name == "frame" and event.index == 3:
            raise KeyboardInterrupt

    job = film.job("stopped", partly_moving(), steps_next=steps_next)
    with pytest.raises(KeyboardInterrupt):
        film.run(job, stop)
    assert film.run(job) == whole


@pytest.fixture(scope="module")
def stopped(shared_film: Film) -> Job:
    """A run stopped after its last frame, in a shot that is longer than a key frame's span."""

    def stop(event: Any) -> None:
        if event.name == "frame" and event.index == 12:
            raise KeyboardInterrupt

    job = shared_film.job("pan", shot(4, noise=1 / 255, length=13))
    with pytest.raises(KeyboardInterrupt):
        shared_film.run(job, stop)
    return job


@pytest.mark.parametrize("gaps", [range(3, 13), range(9, 13), range(11, 13), [12], [2, 5, 11]])
def test_a_shot_with_gaps_is_filled_to_the_same_bytes(
    film: Film, stopped: Job, tmp_path: Path, gaps: Sequence[int]
) -> None:
    job = replace(stopped, output=tmp_path / "pan_out")
    shutil.copytree(state_path(stopped.output), state_path(job.output))
    files = sorted((state_path(job.output) / "frames").glob("*.png"))
    whole = [file.read_bytes() for file in files]
    for index in gaps:
        files[index].unlink()
    assert film.run(job) == whole


def test_reappearing_areas_are_restored(film: Film) -> None:
    """Reappearing areas are restored: a picture passes over still, textured ground."""
    frames = still(1 / 255, 7)
    for index, frame in enumerate(frames[1:-1]):
        frame[6:42, 4 + 8 * index : 24 + 8 * index] = shot(5)[0][6:42, :20]
    job = film.job("hidden", frames, steps_next=2)
    film.run(job)
    files = sorted((state_path(job.output) / "frames").glob("*.png"))
    first, *_, last = map(load_frame, files)
    passed = np.s_[10:38, 12:36]
    apart = np.abs(first - last)[passed].mean()
    assert apart < 0.25 * np.abs(first - frames[0])[passed].mean()


def test_a_run_corrects_drift(film: Film) -> None:
    loose = CoherenceParameters(keyframe=KeyframeParameters(corrected_share=0.0))
    frames = shot(4, noise=1 / 255, length=4)
    steady = film.run(film.job("steady", frames))
    free = film.run(film.job("loose", frames), parameters=loose)
    assert free[:2] == steady[:2]
    assert free[2:] != steady[2:]


def test_a_mask_moving_over_still_ground_is_stylised(film: Film, tmp_path: Path) -> None:
    planes = [np.zeros((HEIGHT, WIDTH, 3), np.float32) for _ in range(LENGTH)]
    for index, plane in enumerate(planes):
        plane[8:40, 4 + 8 * index : 24 + 8 * index] = 1
    masks = save(tmp_path / "masks", planes)
    job = film.job("masked", still(0.0), technique="mask", mask=masks)
    film.run(job)
    source = still(0.0)[0]
    files = sorted((state_path(job.output) / "frames").glob("*.png"))
    for plane, made in zip(planes, map(load_frame, files), strict=True):
        inside = plane[..., 0] > 0
        assert np.abs(made - source)[inside].mean() > 10 * np.abs(made - source)[~inside].mean()
