"""LookAhead: the temporal method advances while a frame is optimised, with the same results."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import FRAMES

from vidstyle.coherence.default import DefaultCoherence
from vidstyle.coherence.interface import SourceFrame
from vidstyle.coherence.stylized import Stylized
from vidstyle.errors import CancelledError, MediaError
from vidstyle.jobs import ahead
from vidstyle.jobs.ahead import LookAhead
from vidstyle.jobs.job import Job, make_job
from vidstyle.jobs.manifest import state_path
from vidstyle.jobs.pipeline import run
from vidstyle.stylizer.protocol import IdentityStylizer

IMAGE = np.zeros((4, 4, 3), np.float32)


class Method:
    """Records the frames that it advances to, and in which thread; fails at one of them."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.advanced: list[tuple[int, threading.Thread]] = []
        self.reached = threading.Event()
        self._fails_at = fails_at

    def advance(self, frame: SourceFrame) -> bool:
        if frame.position == self._fails_at:
            raise MediaError(f"frame {frame.position} cannot be used")
        self.advanced.append((frame.position, threading.current_thread()))
        self.reached.set()
        return False


def frames(count: int) -> Iterator[SourceFrame]:
    for position in range(count):
        yield SourceFrame(position, IMAGE)


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if "ahead" in thread.name]


def test_it_advances_one_frame_ahead_in_a_thread_and_ends_it() -> None:
    method: Any = Method()
    with LookAhead(frames(3), method) as taken:
        first = taken.take()
        assert first is not None
        assert method.advanced == [(0, threading.main_thread())]
        method.reached.clear()
        taken.begin()
        assert method.reached.wait(60)
        assert [position for position, _ in method.advanced] == [0, 1]
        assert method.advanced[1][1] is not threading.main_thread()
        later = [taken.take(), taken.take(), taken.take()]
        assert [frame and frame.position for frame in later] == [1, 2, None]
    assert threads() == []


def test_it_does_not_look_ahead_where_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    method: Any = Method()
    monkeypatch.setattr(ahead, "available", lambda: 1000)
    with LookAhead(frames(2), method) as taken:
        taken.take()
        taken.begin()
        assert taken.take() is not None
    assert [thread for _, thread in method.advanced] == [threading.main_thread()] * 2


def test_an_error_of_the_thread_is_raised_by_take() -> None:
    method: Any = Method(fails_at=1)
    with pytest.raises(MediaError, match="frame 1 cannot be used"):  # noqa: PT012, SIM117
        with LookAhead(frames(3), method) as taken:
            taken.take()
            taken.begin()
            taken.take()
    assert threads() == []


def test_an_error_while_reading_ahead_is_raised_by_take_and_not_before() -> None:
    def cut_off() -> Iterator[SourceFrame]:
        yield from frames(1)
        raise MediaError("expected 2 frames, got 1")

    with LookAhead(cut_off(), Method()) as taken:  # type: ignore[arg-type]
        taken.take()
        taken.begin()
        with pytest.raises(MediaError, match="expected 2 frames, got 1"):
            taken.take()
    assert threads() == []


class Blender(IdentityStylizer):
    """Inverts, and blends with the prior; calls `before` with the number of the frame."""

    def __init__(self, before: Callable[[int], None] = lambda number: None) -> None:
        self.made, self._before = 0, before

    def stylize(self, content: Any, guide: Any = None, prior: Any = None, *, progress: Any) -> Any:
        self._before(self.made)
        self.made += 1
        image = 1 - content
        if prior is not None:
            image = (image + prior.confidence * prior.image) / (1 + prior.confidence)
        progress(1, 0.5, lambda: image)
        return Stylized(image)

    def __call__(self, *_: object) -> "Blender":
        return self


@pytest.fixture
def job(tmp_path: Path, clip: Path, style: Path) -> Job:
    return make_job(
        clip, tmp_path / "out.mp4", style=style, steps=0, steps_next=0, keep_frames=True
    )


def saved(job: Job) -> list[bytes]:
    return [path.read_bytes() for path in sorted((state_path(job.output) / "frames").iterdir())]


def test_a_run_looks_ahead_and_gives_the_bytes_of_a_run_that_does_not(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside: list[bool] = []

    class Noting(DefaultCoherence):
        def advance(self, frame: SourceFrame) -> bool:
            inside.append(threading.current_thread() is threading.main_thread())
            return super().advance(frame)

    run(job, make_stylizer=Blender(), coherence=Noting)
    assert inside == [True, *[False] * (FRAMES - 1)]
    looked = saved(job)
    with monkeypatch.context() as patch:
        patch.setattr(LookAhead, "begin", lambda self: None)
        again = make_job(
            job.source, job.output.with_name("serial.mp4"), style=job.styles[0][0],
            steps=0, steps_next=0, keep_frames=True,
        )  # fmt: skip
        run(again, make_stylizer=Blender())
    assert len(looked) == 2 * FRAMES - 1  # a picture each, and notes of all but the first
    assert looked == saved(again)


def fail(number: int) -> None:
    if number == 2:
        raise KeyboardInterrupt


def test_an_interrupted_or_cancelled_run_leaves_no_thread_and_is_continued(job: Job) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(job, make_stylizer=Blender(fail))
    assert threads() == []
    stop = threading.Event()
    with pytest.raises(CancelledError):
        run(job, make_stylizer=Blender(lambda number: number and stop.set()), cancel=stop)
    assert threads() == []
    assert run(job, make_stylizer=Blender()).stylized == FRAMES - 3


def test_an_error_of_the_motion_keeps_the_frame_before_it(job: Job) -> None:
    class Failing(DefaultCoherence):
        def advance(self, frame: SourceFrame) -> bool:
            if frame.position == 3:
                raise MediaError("the motion to frame 3 failed")
            return super().advance(frame)

    with pytest.raises(MediaError, match="the motion to frame 3 failed"):
        run(job, make_stylizer=Blender(), coherence=Failing)
    assert threads() == []
    assert len(saved(job)) == 2 * 3 - 1
