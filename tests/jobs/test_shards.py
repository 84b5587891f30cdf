"""Shards of one clip: the same bytes as from one run."""

import os
import signal
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from test_cluster import make_slow_stylizer
from test_pipeline import Inverter
from tiny import LAYERS, TinyEncoder

from vidstyle.atomic import lock
from vidstyle.cli.main import main
from vidstyle.errors import HeldError, StateError
from vidstyle.jobs.job import Job, Network, make_job
from vidstyle.jobs.manifest import state_path
from vidstyle.jobs.pipeline import run, run_shard
from vidstyle.jobs.shards import run_shots
from vidstyle.stylizer.stylizer import Stylizer

LENGTHS = (5, 4, 6, 3)  # frames of each shot
NONE = Network()
NO_STEPS = ["--steps", "0", "--steps-next", "0"]


def shot(kind: int, index: int) -> np.ndarray:
    """A random pattern that moves two pixels a frame."""
    random = np.random.default_rng(kind)
    field = random.integers(0, 255, (12, 22, 3), np.uint8)
    return cv2.resize(field, (176, 96), interpolation=cv2.INTER_CUBIC)[:, 2 * index :][:, :160]


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """Four shots of 160 x 96."""
    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        for kind, length in enumerate(LENGTHS):
            for index in range(length):
                frame = av.VideoFrame.from_ndarray(shot(kind, index), format="rgb24")
                container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture
def make(film: Path, style: Path, tmp_path: Path) -> Callable[..., Job]:
    def job(output: str = "out.mp4", **values: Any) -> Job:
        given = {"steps": 0, "steps_next": 0, **values}
        return make_job(film, tmp_path / output, style=style, **given)

    return job


def tiny(job: Job, styles: Any, _: Any) -> Stylizer:
    return Stylizer(styles, technique=job.technique, settings=job.settings, encoder=TinyEncoder())


def frames(job: Job) -> list[bytes]:
    folder = state_path(job.output) / "frames"
    return [path.read_bytes() for path in sorted(folder.glob("*.png"))]


def test_a_shot_alone_equals_the_shot_within_the_clip(make: Callable[..., Job]) -> None:
    look = {
        "size": 64,
        "steps": 2,
        "steps_next": 1,
        "style_layers": LAYERS,
        "content_layers": LAYERS[1:2],
    }
    film, alone = make(**look, keep_frames=True), make("alone.mp4", **look, start=0.2, end=0.36,
                                                       keep_frames=True)  # fmt: skip
    for job in (film, alone):
        run(job, make_stylizer=tiny, network=NONE)
    first, second = LENGTHS[:2]
    assert len(frames(alone)) == second
    assert frames(alone) == frames(film)[first : first + second]


@pytest.mark.parametrize("of", [2, 3])
def test_shards_together_write_the_bytes_of_one_run(make: Callable[..., Job], of: int) -> None:
    whole, job, inverter = make("whole.mp4", keep_frames=True), make(keep_frames=True), Inverter()
    run(whole, make_stylizer=inverter)
    assert len([prior for prior in inverter.priors if prior is None]) == len(LENGTHS)
    done = [run_shard(job, (i, of), make_stylizer=Inverter()) for i in range(of, 0, -1)]
    assert [one.stylized for one in reversed(done)] == [sum(LENGTHS[i::of]) for i in range(of)]
    assert {one.shots for one in done} == {len(LENGTHS)}
    assert not job.output.exists()
    outcome = run(job, make_stylizer=Inverter(fails_at=0))
    assert (outcome.stylized, outcome.frames) == (0, sum(LENGTHS))
    assert frames(job) == frames(whole)
    assert job.output.read_bytes() == whole.output.read_bytes()


def test_shards_with_adaptive_steps_write_the_bytes_of_one_run(make: Callable[..., Job]) -> None:
    look = {"size": 64, "steps": 2, "steps_next": "auto", "style_layers": LAYERS,
            "content_layers": LAYERS[1:2], "keep_frames": True}  # fmt: skip
    whole, job, counts = make("whole.mp4", **look), make(**look), list[int]()

    def watch(event: Any) -> None:
        if event.name == "frame" and not event.cut:
            counts.append(event.evaluations)

    run(whole, watch, make_stylizer=tiny, network=NONE)
    assert len(set(counts)) > 1
    for shard in ((2, 2), (1, 2)):
        run_shard(job, shard, make_stylizer=tiny, network=NONE)
    run(job, make_stylizer=tiny, network=NONE)
    assert frames(job) == frames(whole)
    assert job.output.read_bytes() == whole.output.read_bytes()


def test_the_last_run_finishes_what_shards_left(make: Callable[..., Job]) -> None:
    whole, job = make("whole.mp4"), make()
    run(whole, make_stylizer=Inverter())
    with pytest.raises(RuntimeError):
        run_shard(job, (2, 3), make_stylizer=Inverter(fails_at=2))
    assert run_shard(job, (2, 3), make_stylizer=Inverter()).stylized == LENGTHS[1] - 2
    with pytest.raises(RuntimeError):
        run_shard(job, (1, 3), make_stylizer=Inverter(fails_at=6))
    assert run(job, make_stylizer=Inverter()).stylized == sum(LENGTHS) - LENGTHS[1] - 6
    assert job.output.read_bytes() == whole.output.read_bytes()
    assert not state_path(job.output).exists()


def test_a_shard_without_shots_reports_it(
    clip: Path, style: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "basic",
        str(clip),
        "-o",
        str(tmp_path / "o.mp4"),
        "--style",
        str(style),
        *NO_STEPS,
    ]
    assert main([*arguments, "--shard", "2/2"]) == 0
    assert "shard 2/2: 0 frames (nothing to do: 1 shot in all)" in capsys.readouterr().out
    assert main([*arguments, "--shard", "1/2"]) == 0
    assert "6 of 6 frames are finished; run the same command without" in capsys.readouterr().out
    assert main(arguments) == 0
    assert not state_path(tmp_path / "o.mp4").exists()
    assert main([*arguments, "--shard", "1/2", "--restart", "--overwrite"]) == 2
    assert main([*arguments, "--shard", "1/2", "--scheduler", "local:2"]) == 2


def test_shards_run_at_the_same_time(make: Callable[..., Job]) -> None:
    """While a shard is at its second frame, other shards run, and conflicting runs are refused."""
    job, tried = make(), []

    def run_other_shard(event: Any) -> None:
        if event.name == "frame" and event.index == 1:
            with pytest.raises(HeldError):
                run(job, make_stylizer=Inverter())
            with pytest.raises(HeldError):
                run_shard(job, (1, 2), make_stylizer=Inverter())
            with pytest.raises(StateError):
                run_shard(make(size=64), (2, 2), make_stylizer=Inverter())
            tried.append(run_shard(job, (2, 2), make_stylizer=Inverter()))

    run_shard(job, (1, 2), run_other_shard, make_stylizer=Inverter())
    assert tried[0].stylized == sum(LENGTHS[1::2])
    assert run(job, make_stylizer=Inverter(fails_at=0)).stylized == 0


def test_a_shard_that_fails_before_its_first_frame_leaves_no_state(
    make: Callable[..., Job],
) -> None:
    job = make()
    with pytest.raises(RuntimeError):
        run_shard(job, (1, 2), make_stylizer=Inverter(fails_at=0))
    assert not state_path(job.output).exists()
    run_shard(make(size=64), (2, 2), make_stylizer=Inverter())
    with pytest.raises(RuntimeError):
        run_shard(make(size=64), (1, 2), make_stylizer=Inverter(fails_at=0))
    assert run(make(size=64), make_stylizer=Inverter()).stylized == sum(LENGTHS[::2])


def test_a_running_run_locks_shards_out(
    make: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vidstyle.jobs.checkpoint._PATIENCE", 0.1)
    job = make()
    state_path(job.output).mkdir()
    with lock(state_path(job.output) / "lock"), pytest.raises(HeldError):
        run_shard(job, (1, 2), make_stylizer=Inverter())


def test_a_clip_on_a_cluster_survives_a_killed_worker(
    make: Callable[..., Job], tmp_path: Path
) -> None:
    pytest.importorskip("distributed")
    whole, job, killed = make("whole.mp4"), make(), []
    run(whole)
    events: list[Any] = []

    def kill(event: Any) -> None:
        events.append(event)
        if event.name == "frame" and event.index == 2:
            killed.append(event.process)
            os.kill(event.process, signal.SIGKILL)

    run_shots(job, "local:2", kill, make_stylizer=partial(make_slow_stylizer, tmp_path / "log"))
    assert len(killed) == 1
    assert {e.index for e in events if e.name == "frame"} <= set(range(sum(LENGTHS)))
    done = events[-1]
    assert (done.name, done.frames) == ("done", sum(LENGTHS))
    # frames of the killed worker do not count for its successor
    assert sum(LENGTHS) - 4 <= done.stylized <= sum(LENGTHS)
    assert job.output.read_bytes() == whole.output.read_bytes()
