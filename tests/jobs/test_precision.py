"""The precision of a run is part of what its frames depend on."""

import json
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from films import Film, shot

from vidstyle.errors import CancelledError, StateError, UsageError
from vidstyle.jobs import precision
from vidstyle.jobs.events import FrameEvent
from vidstyle.jobs.job import Job, make_job
from vidstyle.jobs.manifest import state_path
from vidstyle.jobs.pipeline import plan
from vidstyle.jobs.precision import with_precision


def resolved(job: Job, **settings: Any) -> str:
    return with_precision(_with(job, **settings)).settings.precision


def _with(job: Job, **settings: Any) -> Job:
    path, weight = job.styles[0]
    return make_job(job.source, job.output, style=f"{path}={weight}", rate=24, **settings)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Pretend that there are a driver and a GPU of this compute capability."""

    def present(*capability: int) -> None:
        details = {"compute_capability": capability, "device_name": "a card"}
        monkeypatch.setattr(precision, "_has_driver", lambda: True)
        monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: [kind])
        monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: details)

    return present


def test_auto_is_resolved_for_the_device(film: Film, gpu: Any) -> None:
    job = film.job("clip", shot(1))
    assert resolved(job) == "float32"
    gpu(9, 0)
    assert resolved(job) == "bfloat16"
    assert resolved(job, device="cpu") == "float32"
    assert resolved(job, device="cpu", precision="bfloat16") == "bfloat16"
    assert resolved(job, precision="float32") == "float32"
    assert resolved(job, steps=0, steps_next=0) == "auto"  # nothing is optimised


def test_a_gpu_without_it_is_refused_before_anything_is_written(film: Film, gpu: Any) -> None:
    job = _with(film.job("clip", shot(1)), precision="bfloat16")
    gpu(7, 5)
    with pytest.raises(UsageError, match=r"got a card with 7\.5; use --precision float32"):
        plan(job)
    assert not state_path(job.output).exists()


def test_frames_of_another_precision_are_not_continued(film: Film, tmp_path: Path) -> None:
    job = film.job("clip", shot(1))

    def stop(event: Any) -> None:
        if isinstance(event, FrameEvent):
            raise CancelledError("after one frame")

    with pytest.raises(CancelledError):
        film.run(job, stop)
    written = json.loads((state_path(job.output) / "manifest.json").read_text())
    assert written["job"]["settings"]["precision"] == "float32"
    other = make_job(
        job.source,
        job.output,
        style=tuple(job.styles),
        rate=24,
        precision="bfloat16",
        **{name: getattr(job.settings, name) for name in ("steps", "steps_next", "keep_frames")},
        content_layers=job.settings.content_layers,
        style_layers=job.settings.style_layers,
    )
    with pytest.raises(StateError, match="--precision was float32, is bfloat16"):
        film.run(other)
