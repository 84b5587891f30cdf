"""Events as JSON, cancelling, and previews."""

import json
import pickle
import threading
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from conftest import FRAMES
from test_pipeline import NO_STEPS, Inverter, names
from tiny import LAYERS, TinyEncoder

from vidstyle import media
from vidstyle.errors import CancelledError, SettingsError, UsageError
from vidstyle.image import recolored
from vidstyle.jobs import events
from vidstyle.jobs.batch import run_batch
from vidstyle.jobs.cancel import check_of
from vidstyle.jobs.discovery import collect
from vidstyle.jobs.job import Job, make_job
from vidstyle.jobs.manifest import state_path
from vidstyle.jobs.pipeline import run, stylize
from vidstyle.jobs.preview import preview
from vidstyle.stylizer.stylizer import Stylizer


@pytest.fixture
def make(tmp_path: Path, clip: Path, style: Path) -> Callable[..., Job]:
    def build(source: Path = clip, output: str = "out.mp4", **values: Any) -> Job:
        return make_job(source, tmp_path / output, style=style, **{**NO_STEPS, **values})

    return build


ITEM: dict[str, Any] = {"index": 0, "of": 2, "source": "a"}
FAILED = events.FailedSource("a", "broken", 3)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (
            events.StepEvent(index=1, evaluation=2, loss=0.5, image=lambda: np.zeros((2, 2, 3))),
            {"event": "step", "index": 1, "evaluation": 2, "loss": 0.5},
        ),
        (events.WarningEvent(message="lost"), {"event": "warning", "message": "lost"}),
        (
            events.WarningEvent(message="lost", source="a", process=7),
            {"event": "warning", "source": "a", "process": 7, "message": "lost"},
        ),
        (
            events.ItemEvent(**ITEM, output=None, status="skipped", seconds=0.0),
            {
                "event": "item", **ITEM, "output": None, "status": "skipped", "seconds": 0,
                "left": None,
            },
        ),
        (
            events.PlannedItemEvent(**ITEM, status="failed", message="broken", exit_code=3),
            {"event": "item", **ITEM, "status": "failed", "message": "broken", "exit_code": 3},
        ),
        (
            events.SummaryEvent(
                of=2, done=1, skipped=0, failed=(FAILED,), seconds=1.0, left_out={"system": 1},
                warnings=(events.SourceWarning("b", "lost"),),
            ),
            {
                "event": "summary", "of": 2, "done": 1, "skipped": 0,
                "failed": [{"source": "a", "message": "broken", "exit_code": 3}],
                "warnings": [{"source": "b", "message": "lost"}],
                "left_out": {"system": 1}, "seconds": 1,
            },
        ),
        (
            events.DoneEvent(
                output=Path("a.mp4"), frames=2, stylized=2, seconds=1.0, kept=None, warnings=("b",)
            ),
            {
                "event": "done", "output": "a.mp4", "frames": 2, "stylized": 2, "seconds": 1,
                "kept": None, "warnings": ["b"],
            },
        ),
    ],
    ids=lambda value: value.name if isinstance(value, events.Event) else "",
)  # fmt: skip
def test_events_as_json(event: events.Event, expected: dict[str, Any]) -> None:
    assert json.loads(json.dumps(event.to_json())) == expected
    assert pickle.loads(pickle.dumps(event)) == event  # as a cluster sends them


def test_every_kind_of_event_has_a_name() -> None:
    for kind in events.Event.__subclasses__():
        assert kind.name
        assert not {"event", "name"} & {one.name for one in fields(kind)}


def tiny(job: Job, styles: Any, network: Any) -> Stylizer:
    return Stylizer(styles, technique=job.technique, settings=job.settings, encoder=TinyEncoder())


def test_a_step_event_returns_the_image_that_was_evaluated(make: Callable[..., Job]) -> None:
    job = make(
        steps=2, steps_next=1, temporal_weight=0, style_layers=LAYERS, content_layers=LAYERS[:1]
    )
    steps: list[events.StepEvent] = []

    def collect_steps(event: events.Event) -> None:
        if isinstance(event, events.StepEvent):
            assert event.image is not None
            images.append(event.image())
            steps.append(event)

    images: list[np.ndarray] = []
    run(job, collect_steps, make_stylizer=tiny)
    assert [step.index for step in steps] == [0, 0, *range(1, FRAMES)]
    for image in images:
        assert (image.dtype, image.shape) == (np.float32, (96, 128, 3))
        assert image.min() >= 0
        assert image.max() <= 1
    assert not np.array_equal(images[0], images[1])
    assert all("image" not in step.to_json() for step in steps)
    assert pickle.loads(pickle.dumps(steps[0])).image is None


def test_the_steps_of_a_preview_end_with_its_image(make: Callable[..., Job]) -> None:
    job = make(steps=3, style_layers=LAYERS, content_layers=LAYERS[:1])
    seen: list[events.Event] = []
    found = preview(job, 1, on_event=seen.append, make_stylizer=tiny)
    steps = [event for event in seen if isinstance(event, events.StepEvent)]
    assert len(steps) == 3
    best = min(steps, key=lambda step: step.loss)
    assert best.image is not None
    assert np.array_equal(best.image(), found.optimised_image)


def test_a_flag_or_a_function_cancels() -> None:
    flag = threading.Event()
    checks = [check_of(flag), check_of(flag.is_set)]
    for check in (*checks, check_of(None)):
        check()
    flag.set()
    check_of(None)()
    for check in checks:
        with pytest.raises(CancelledError, match="run the same request again to continue"):
            check()
    with pytest.raises(SettingsError, match=r"cancel: expected a threading.Event .*, got str"):
        stylize("a.mp4", "b.mp4", style="c.jpg", cancel="now")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [events.StepEvent, events.FrameEvent])
def test_a_cancelled_run_keeps_its_frames_and_continues_to_the_same_bytes(
    make: Callable[..., Job], kind: type[Any]
) -> None:
    flag, job, whole = threading.Event(), make(), make(output="whole.mp4")

    def stop(event: events.Event) -> None:
        if isinstance(event, kind) and event.index == 2:
            flag.set()

    with pytest.raises(CancelledError):
        run(job, stop, cancel=flag, make_stylizer=Inverter())
    finished = 2 if kind is events.StepEvent else 3
    frames = state_path(job.output) / "frames"
    assert len(list(frames.glob("*.png"))) == finished
    assert run(job, make_stylizer=Inverter()).stylized == FRAMES - finished
    run(whole, make_stylizer=Inverter())
    assert job.output.read_bytes() == whole.output.read_bytes()


def test_a_run_is_cancelled_while_it_encodes(
    make: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    flag, encode = threading.Event(), media.encode

    def cancelled(*given: Any, **named: Any) -> Any:
        flag.set()
        return encode(*given, **named)

    monkeypatch.setattr(media, "encode", cancelled)
    with pytest.raises(CancelledError):
        run(make(), cancel=flag, make_stylizer=Inverter())
    assert not make().output.exists()
    assert run(make(), make_stylizer=Inverter()).stylized == 0


def test_cancelled_before_its_first_frame_a_run_leaves_nothing(
    clip: Path, style: Path, tmp_path: Path
) -> None:
    before = names(tmp_path)
    with pytest.raises(CancelledError):
        stylize(clip, tmp_path / "out.mp4", style=style, cancel=lambda: True, **NO_STEPS)
    assert names(tmp_path) == before


def test_a_cancelled_batch_stops_and_continues(
    make: Callable[..., Job], photos: Path, style: Path, tmp_path: Path
) -> None:
    flag, seen = threading.Event(), []

    def stop(event: events.Event) -> None:
        seen.append(event)
        if isinstance(event, events.ItemEvent):
            flag.set()

    def build(source: Path, output: Path) -> Job:
        return make_job(source, output, style=style, **NO_STEPS)

    batch = collect([photos], tmp_path / "all", recursive=True)
    with pytest.raises(CancelledError):
        run_batch(batch, build, stop, cancel=flag)
    assert [event.name for event in seen].count("item") == 1
    assert run_batch(batch, build, seen.append) == 0
    assert (seen[-1].done, seen[-1].skipped) == (2, 1)


def test_a_preview_is_one_frame_and_writes_nothing(
    make: Callable[..., Job], tmp_path: Path
) -> None:
    job, inverter, seen = make(size=64), Inverter(), []
    before = names(tmp_path)
    found = preview(job, 2, on_event=seen.append, make_stylizer=inverter)
    (frame,) = media.read(media.probe(job.source), range(2, 3), 64)
    assert np.array_equal(found.image, 1 - media.resize(frame, 64, 48))
    assert inverter.priors == [None]
    assert seen == [events.StepEvent(index=2, evaluation=1, loss=0.5)]
    assert names(tmp_path) == before


def test_a_preview_counts_from_the_start_of_the_range(make: Callable[..., Job]) -> None:
    whole = preview(make(), 3, make_stylizer=Inverter())
    part = preview(make(start=1 / media.probe(make().source).rate), 2, make_stylizer=Inverter())
    assert np.array_equal(whole.image, part.image)
    for position in (-1, FRAMES):
        with pytest.raises(UsageError, match=f"0 to {FRAMES - 1}, got {position}"):
            preview(make(), position, make_stylizer=Inverter())
    with pytest.raises(CancelledError):
        preview(make(), 0, cancel=lambda: True, make_stylizer=Inverter())


class Guided(Inverter):
    """Keeps the guides that it was given."""

    def stylize(self, content: Any, guide: Any = None, **given: Any) -> Any:
        self.guide = guide
        return super().stylize(content, **given)


def test_a_preview_has_the_mask_of_its_frame(make: Callable[..., Job], tmp_path: Path) -> None:
    masks = tmp_path / "masks"
    masks.mkdir()
    for index in range(FRAMES):
        PIL.Image.new("L", (128, 96), 255 * (index == 2)).save(masks / f"{index:06d}.png")
    guided, job = Guided(), make(technique="mask", mask=masks)
    for position, value in ((2, 1.0), (3, 0.0)):
        preview(job, position, make_stylizer=guided)
        assert guided.guide.planes.shape == (96, 128, 1)
        assert (guided.guide.planes == value).all()


def test_a_preview_of_a_photo_has_its_own_size(make: Callable[..., Job], photos: Path) -> None:
    sizes = media.probe(photos).sizes
    found = preview(make(photos, "out", size="source"), 1, make_stylizer=Inverter())
    assert found.image.shape[1::-1] == tuple(sizes[1])


def test_a_preview_takes_the_colours_of_the_source(make: Callable[..., Job]) -> None:
    job = make(original_colors=True)
    found = preview(job, 0, make_stylizer=Inverter())
    (frame,) = media.read(media.probe(job.source), range(1), 128)
    assert np.array_equal(found.image, recolored(1 - frame, frame))
