"""Previews as streams: ended when they are left, and begun ahead of the user."""

from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest

import vidstyle.jobs.preview
from vidstyle.errors import CancelledError
from vidstyle.jobs.events import StepEvent
from vidstyle.jobs.job_file import check_request
from vidstyle.jobs.request import single_job
from vidstyle.studio import live, tasks

PICTURE = np.full((9, 16, 3), 0.5, np.float32)


@pytest.fixture
def evaluations(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What an endless preview did: "step" for each evaluation, and "ended"."""
    done: list[str] = []

    def preview(job: Any, position: int, *, on_event: Any, cancel: Any, **_: Any) -> None:
        del job, position
        try:
            while not cancel():
                step = StepEvent(index=0, evaluation=1, loss=1.0, image=lambda: PICTURE)
                on_event(step)
                done.append("step")
            raise CancelledError("cancelled")
        finally:
            done.append("ended")

    monkeypatch.setattr(vidstyle.jobs.preview, "preview", preview)
    monkeypatch.setattr(live, "_stylizers", lambda: None)
    return done


@pytest.fixture
def values(clip: Path, style: Path, tmp_path: Path) -> dict[str, Any]:
    return {"technique": "basic", "source": str(clip), "output": str(tmp_path / "o.png"),
            "style": [str(style)]}  # fmt: skip


def test_a_preview_that_is_left_is_ended(evaluations: list[str], values: dict[str, Any]) -> None:
    pictures = live.live_pictures(single_job(check_request(values, "the test")), Event())
    progress, image = next(pictures)
    assert (progress["evaluation"], progress["of"]) == (1, 150)
    assert image is PICTURE
    pictures.close()
    assert evaluations[-1] == "ended"


def test_a_preview_that_is_cancelled_raises(evaluations: list[str], values: dict[str, Any]) -> None:
    cancelled = Event()
    pictures = live.live_pictures(single_job(check_request(values, "the test")), cancelled)
    next(pictures)
    cancelled.set()
    with pytest.raises(CancelledError):
        list(pictures)
    assert evaluations[-1] == "ended"


def test_warming_up_ends_at_the_first_picture(
    evaluations: list[str],
    values: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live, "load_network", lambda: True)
    assert list(tasks.warm_up(Event(), values, 2, str(tmp_path))) == [({}, b"")]
    assert evaluations[-1] == "ended"
    assert list(tmp_path.glob("frame-*.png")) == []


@pytest.mark.parametrize("present", [True, False])
def test_warming_up_previews_nothing_without_values_or_network(
    present: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def preview_frame(*_: Any) -> Iterator[Any]:
        raise AssertionError("it would fetch the network")

    monkeypatch.setattr(tasks, "preview_frame", preview_frame)
    monkeypatch.setattr(live, "load_network", lambda: present)
    assert list(tasks.warm_up(Event(), None if present else {}, 0, "")) == [({}, b"")]
