import multiprocessing
import os
import random
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import PIL.Image
import pytest
from conftest import FRAMES
from media_inputs import write_clip as write_noise
from temporal import Recorder

from vidstyle import media
from vidstyle.coherence.cold import NoCoherence
from vidstyle.coherence.prior import TemporalPrior
from vidstyle.errors import (
    MediaError,
    OutputError,
    StateError,
    UsageError,
    VidstyleError,
    WeightsError,
)
from vidstyle.jobs import pipeline as runs
from vidstyle.jobs.events import StartEvent, StepEvent
from vidstyle.jobs.job import Job, make_job
from vidstyle.jobs.manifest import state_path
from vidstyle.jobs.pipeline import plan, run, stylize
from vidstyle.stylizer.protocol import IdentityStylizer, Stylized

NO_STEPS = {"steps": 0, "steps_next": 0}


class Inverter(IdentityStylizer):
    """A stylizer that inverts, blends with the prior, records priors and fails on demand."""

    def __init__(self, fails_at: int | None = None, error: BaseException | None = None) -> None:
        self.priors: list[TemporalPrior | None] = []
        self._fails_at = fails_at
        self._error = error or RuntimeError("stylizer failed on purpose")

    def stylize(self, content: Any, guide: None = None, prior: Any = None, *, progress: Any) -> Any:
        if len(self.priors) == self._fails_at:
            raise self._error
        self.priors.append(prior)
        image = 1 - content
        if prior is not None:
            image = (image + prior.confidence * prior.image) / (1 + prior.confidence)
        progress(1, 0.5, lambda: image)
        return Stylized(image, {"total": np.float32(0.5)}, evaluations=1)

    def __call__(self, *_: object) -> "Inverter":
        return self


@pytest.fixture
def make(tmp_path: Path, clip: Path, style: Path) -> Callable[..., Job]:
    def build(source: Path = clip, output: str = "out.mp4", **values: Any) -> Job:
        return make_job(source, tmp_path / output, style=style, **{**NO_STEPS, **values})

    return build


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_identity_run_keeps_frames_and_timestamps(make: Callable[..., Job]) -> None:
    job = make()
    outcome = run(job)
    source, result = media.probe(job.source), media.probe(job.output)
    assert (result.frames, result.width, result.height) == (FRAMES, 128, 96)
    assert result.rate == source.rate
    assert result.duration == pytest.approx(source.duration, abs=1e-3)
    assert (outcome.frames, outcome.stylized, outcome.kept) == (FRAMES, FRAMES, None)
    assert not Path(f"{job.output}.vidstyle").exists()


def test_the_identity_stylizer_returns_the_start_image() -> None:
    content, earlier = np.zeros((4, 4, 3), np.float32), np.ones((4, 4, 3), np.float32)
    prior = TemporalPrior(earlier, np.ones((4, 4, 1), np.float32))
    assert IdentityStylizer().stylize(content, prior=prior).image is earlier
    assert IdentityStylizer().stylize(content).image is content


def test_an_animation_becomes_an_animation(make: Callable[..., Job], animation: Path) -> None:
    job = make(animation, "out.gif")
    run(job)
    assert media.probe(job.output).kind == "animation"
    assert media.probe(job.output).frames == FRAMES


def test_a_png_keeps_its_own_size_without_loss(make: Callable[..., Job], picture: Path) -> None:
    with PIL.Image.open(picture) as image:
        image.resize((47, 33)).save(picture)
    job = make(picture, "out.png", size="source")
    run(job)
    difference = media.read_picture(job.output) - media.read_picture(picture)
    assert np.abs(difference).max() < 1e-3


def test_photos_keep_their_names_and_sizes_and_have_no_prior(
    make: Callable[..., Job], photos: Path
) -> None:
    job, inverter = make(photos, "out"), Inverter()
    run(job, make_stylizer=inverter)
    assert inverter.priors == [None, None, None]
    assert names(job.output) == names(photos)
    assert [media.probe(path).sizes for path in sorted(job.output.iterdir())] == [
        media.probe(path).sizes for path in sorted(photos.iterdir())
    ]


def test_a_folder_with_a_rate_is_a_sequence(
    make: Callable[..., Job], clip: Path, tmp_path: Path
) -> None:
    run(make(clip, "frames"))
    job, inverter = make(tmp_path / "frames", "out.mp4", rate=24), Inverter()
    run(job, make_stylizer=inverter)
    assert media.probe(job.output).frames == FRAMES
    assert None not in inverter.priors[1:]


def test_original_colors_keep_the_chroma_of_the_source(
    make: Callable[..., Job], picture: Path
) -> None:
    class Grey(IdentityStylizer):
        """A stylizer that removes colour and inverts luminance."""

        def stylize(self, content: np.ndarray, **_: Any) -> Stylized:
            luma = content @ np.array([0.299, 0.587, 0.114], np.float32)
            return Stylized(np.repeat(1 - luma[..., None], 3, axis=2).astype(np.float32), {})

    source = media.read_picture(picture)
    results = {}
    for original in (False, True):
        job = make(picture, f"out{original}.png", original_colors=original)
        run(job, make_stylizer=lambda *_: Grey())
        results[original] = media.read_picture(job.output)
    assert np.ptp(results[False], axis=2).max() < 0.02
    redness = [image[..., 0] - image[..., 2] for image in (source, results[True])]
    assert np.abs(redness[0] - redness[1]).mean() < 0.03


def test_only_the_frames_of_the_range_are_stylised(make: Callable[..., Job]) -> None:
    job, inverter = make(start=0.05, end=0.12), Inverter()
    outcome = run(job, make_stylizer=inverter)
    assert outcome.frames == len(inverter.priors) == media.probe(job.output).frames == 2


def test_the_first_frame_has_no_prior_and_the_rest_start_from_the_saved_file(
    make: Callable[..., Job],
) -> None:
    inverter, recorder = Inverter(), Recorder()
    job = make(keep_frames=True, temporal_weight=0)
    run(job, make_stylizer=inverter, coherence=recorder)
    assert inverter.priors[0] is None
    assert len(recorder.previous) == FRAMES - 1
    frames = Path(f"{job.output}.vidstyle/frames")
    for index, loaded in enumerate(recorder.previous):
        saved = media.load_frame(frames / f"{index:06d}.png")
        assert np.array_equal(loaded.optimised_image, saved)


def test_without_coherence_every_frame_is_a_shot_without_a_prior(
    make: Callable[..., Job],
) -> None:
    events: list[Any] = []
    inverter = Inverter()
    run(make(), events.append, make_stylizer=inverter, coherence=NoCoherence)
    assert [event.cut for event in events if event.name == "frame"] == [True] * FRAMES
    assert inverter.priors == [None] * FRAMES


@pytest.mark.parametrize("fails_at", [0, 1, 3, 5])
def test_a_resumed_run_writes_the_same_bytes(make: Callable[..., Job], fails_at: int) -> None:
    whole, broken, rest = make(output="whole.mp4"), make(), Inverter()
    run(whole, make_stylizer=Inverter())
    with pytest.raises(RuntimeError):
        run(broken, make_stylizer=Inverter(fails_at))
    assert not broken.output.exists()
    outcome = run(broken, make_stylizer=rest)
    assert len(rest.priors) == outcome.stylized == FRAMES - fails_at
    assert broken.output.read_bytes() == whole.output.read_bytes()


def test_a_modified_frame_is_stylised_again(make: Callable[..., Job]) -> None:
    whole, broken, rest = make(output="whole.mp4"), make(), Inverter()
    run(whole, make_stylizer=Inverter())
    with pytest.raises(RuntimeError):
        run(broken, make_stylizer=Inverter(5))
    frame = Path(f"{broken.output}.vidstyle/frames/000002.png")
    frame.write_bytes(frame.read_bytes()[:-1] + b"!")
    run(broken, make_stylizer=rest)
    assert len(rest.priors) == 2
    assert broken.output.read_bytes() == whole.output.read_bytes()


def test_other_settings_are_refused_by_name_and_restart_discards_the_state(
    make: Callable[..., Job],
) -> None:
    with pytest.raises(RuntimeError):
        run(make(), make_stylizer=Inverter(2))
    with pytest.raises(StateError, match=r"--tv-weight was [0-9.]+, is 3\.5"):
        run(make(tv_weight=3.5), make_stylizer=Inverter())
    inverter = Inverter()
    run(make(tv_weight=3.5, restart=True), make_stylizer=inverter)
    assert len(inverter.priors) == FRAMES


def test_another_source_is_refused(make: Callable[..., Job], clip: Path) -> None:
    with pytest.raises(RuntimeError):
        run(make(), make_stylizer=Inverter(2))
    clip.write_bytes(clip.read_bytes() + b"\0")
    with pytest.raises(StateError, match="the source changed"):
        run(make())


def test_other_quality_encodes_kept_frames_again(make: Callable[..., Job]) -> None:
    run(make(keep_frames=True), make_stylizer=Inverter())
    first = make().output.read_bytes()
    inverter = Inverter()
    with pytest.raises(UsageError, match="--overwrite"):
        run(make(keep_frames=True, crf=40), make_stylizer=inverter)
    outcome = run(make(keep_frames=True, crf=40, overwrite=True), make_stylizer=inverter)
    assert inverter.priors == []
    assert (outcome.frames, outcome.stylized) == (FRAMES, 0)
    assert make().output.read_bytes() != first


def test_a_run_killed_after_publishing_is_done(
    make: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make()
    with monkeypatch.context() as patch:
        patch.setattr(
            "vidstyle.jobs.checkpoint.Checkpoint.remove", Mock(side_effect=KeyboardInterrupt)
        )
        with pytest.raises(KeyboardInterrupt):
            run(job, make_stylizer=Inverter())
    done = job.output.read_bytes()
    inverter, events = Inverter(), []
    outcome = run(job, events.append, make_stylizer=inverter)
    assert (outcome.frames, outcome.stylized, inverter.priors) == (FRAMES, 0, [])
    assert [event.name for event in events] == ["done"]
    assert job.output.read_bytes() == done
    assert not Path(f"{job.output}.vidstyle").exists()


def test_an_existing_output_is_refused_and_replaced_with_overwrite(
    make: Callable[..., Job],
) -> None:
    job = make()
    job.output.write_bytes(b"mine")
    with pytest.raises(UsageError, match="add --overwrite"):
        run(job)
    with pytest.raises(RuntimeError):
        run(make(overwrite=True), make_stylizer=Inverter(3))
    assert job.output.read_bytes() == b"mine"
    run(make(overwrite=True))
    assert media.probe(job.output).frames == FRAMES


@pytest.mark.parametrize(
    ("source", "output"),
    [("clip", "out.xyz"), ("clip", "out.png"), ("photos", "out.mp4"), ("picture", "out.mp4")],
)
def test_an_impossible_output_is_refused_before_any_work(
    make: Callable[..., Job], request: pytest.FixtureRequest, source: str, output: str
) -> None:
    job = make(request.getfixturevalue(source), output)
    with pytest.raises(UsageError):
        run(job, make_stylizer=Inverter())
    assert not Path(f"{job.output}.vidstyle").exists()


def test_an_empty_range_leaves_no_files(make: Callable[..., Job]) -> None:
    job = make(start=50.0)
    with pytest.raises(MediaError, match="got none"):
        run(job)
    assert not Path(f"{job.output}.vidstyle").exists()


def test_a_full_disk_is_reported_before_the_first_frame(
    make: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil._ntuple_diskusage(10, 10, 0)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    inverter = Inverter()
    with pytest.raises(OutputError, match="free some space"):
        run(make(), make_stylizer=inverter)
    assert inverter.priors == []


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.gif", "frames"])
def test_the_estimated_disk_space_is_that_of_a_run_of_noise(
    tmp_path: Path, style: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    clip = write_noise(tmp_path / "noise.mp4", [0, 1, 2, 3], noisy=True)
    encoding = {"codec": "ffv1"} if name.endswith("mkv") else {}
    job = make_job(clip, tmp_path / name, style=style, **{**NO_STEPS, **encoding})
    encode, taken = media.encode, []

    def measured(*given: Any) -> list[str]:
        found = encode(*given)
        taken.append(size_of(state_path(job.output)) - size_of(given[4]))
        return found

    monkeypatch.setattr(media, "encode", measured)
    foreseen = plan(job).bytes
    run(job, make_stylizer=Inverter())
    needed = taken[0] + size_of(job.output)
    assert 0.8 * needed < foreseen < 2 * needed


def size_of(path: Path) -> int:
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


def test_disk_space_is_estimated_for_the_remaining_frames(
    make: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments: list[int] = []
    monkeypatch.setattr(runs, "check_space", lambda _, needed, frames: arguments.append(needed))
    with pytest.raises(KeyboardInterrupt):
        run(make(), make_stylizer=Inverter(2, KeyboardInterrupt()))
    run(make(), make_stylizer=Inverter())
    assert arguments[1] < arguments[0]


def test_a_disk_that_fills_up_while_encoding_keeps_the_frames(
    make: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(media, "encode", full)
        with pytest.raises(OutputError, match="the disk is full"):
            run(make(), make_stylizer=Inverter())
    assert not make().output.exists()
    assert run(make(), make_stylizer=Inverter()).stylized == 0


class ResourceExhaustedError(Exception):
    """Has the name of TensorFlow's exception."""


@pytest.mark.parametrize("error", [MemoryError(), ResourceExhaustedError()])
def test_out_of_memory_is_reported_in_one_sentence(
    make: Callable[..., Job], error: Exception
) -> None:
    with pytest.raises(VidstyleError, match=r"memory ran out at 128 x 96 .* smaller --size"):
        run(make(), make_stylizer=Inverter(0, error))


def test_events_of_a_run(make: Callable[..., Job]) -> None:
    events: list[Any] = []
    run(make(), events.append, make_stylizer=Inverter())
    kinds = [event.name for event in events]
    assert kinds == ["start", *["step", "frame"] * FRAMES, "done"]
    assert events[0] == StartEvent(of=FRAMES, finished=0, width=128, height=96, left=FRAMES)
    assert events[1] == StepEvent(index=0, evaluation=1, loss=0.5)
    frame = events[2]
    assert (frame.index, frame.of, frame.evaluations) == (0, FRAMES, 1)
    assert frame.losses == {"total": 0.5}
    assert events[-2].left == 0
    assert events[-1].frames == FRAMES


def test_a_plan_writes_nothing_and_adds_up(make: Callable[..., Job], tmp_path: Path) -> None:
    before = names(tmp_path)
    found = plan(make(steps=10, steps_next=2))
    assert (found.frames, found.width, found.height) == (FRAMES, 128, 96)
    assert found.evaluations == 10 + 2 * (FRAMES - 1)
    assert found.seconds == pytest.approx(20 * 128 * 96 * 8e-6)
    assert found.bytes == FRAMES * 128 * 96 * 12.5  # 16 bits a channel, twice, and the video
    assert names(tmp_path) == before


def test_a_plan_counts_each_photo_as_a_first_frame(make: Callable[..., Job], photos: Path) -> None:
    assert plan(make(photos, "out", steps=10, steps_next=2)).evaluations == 30


def test_stylize_takes_paths_and_options(clip: Path, style: Path, tmp_path: Path) -> None:
    outcome = stylize(str(clip), str(tmp_path / "out.mp4"), style=str(style), size=32, **NO_STEPS)
    result = media.probe(outcome.output)
    assert (result.width, result.height) == (32, 24)


CHANGES = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate")


class Trap:
    """An audit hook that kills the process at the k-th file operation below a folder."""

    def __init__(self, folder: Path, deadline: int | None) -> None:
        self.count = 0
        self.armed = True
        self._folder = str(folder)
        self._deadline = deadline
        sys.addaudithook(self)

    def __call__(self, event: str, details: tuple) -> None:
        if self.armed and event in CHANGES and str(details[0]).startswith(self._folder):
            self.count += 1
            if self.count == self._deadline:
                os.kill(os.getpid(), signal.SIGKILL)


def _run_until(deadline: int, job: Job) -> None:
    Trap(job.output.parent, deadline)
    run(job, make_stylizer=Inverter())


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
@pytest.mark.parametrize("part", [0.1, 0.5, 0.85, 0.95])
def test_a_run_killed_anywhere_continues_to_the_same_bytes(
    make: Callable[..., Job], tmp_path: Path, part: float
) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    whole, killed = make(output="whole/out.mp4"), make(output="killed/out.mp4")
    trap = Trap(tmp_path / "whole", None)
    run(whole, make_stylizer=Inverter())
    trap.armed = False
    moment = round(part * trap.count) + random.randrange(3)
    spawn = multiprocessing.get_context("spawn")
    process = spawn.Process(target=_run_until, args=(moment, killed))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    if killed.output.exists():
        assert killed.output.read_bytes() == whole.output.read_bytes()
    run(killed, make_stylizer=Inverter())
    assert killed.output.read_bytes() == whole.output.read_bytes()
    assert names(killed.output.parent) == ["out.mp4"]


@pytest.mark.parametrize("named_by", ["option", "environment"])
def test_invalid_weights_are_refused_before_anything_is_written(
    make: Callable[..., Job],
    style: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    named_by: str,
) -> None:
    monkeypatch.setenv("VIDSTYLE_WEIGHTS", str(style))
    given = {"weights": style} if named_by == "option" else {}
    never = Mock(side_effect=AssertionError("the stylizer was made"))
    with pytest.raises(WeightsError, match="expected VGG-19 weights"):
        run(make(steps=1, **given), make_stylizer=never)
    assert not (tmp_path / "out.mp4.vidstyle").exists()
