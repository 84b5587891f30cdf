"""The queue: real child processes, paused, resumed, cancelled, and found again."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import FRAMES, write_clip

import vidstyle
from vidstyle import media
from vidstyle.errors import UsageError, VidstyleError
from vidstyle.jobs.manifest import state_path
from vidstyle.studio import process
from vidstyle.studio.progress import EventFile
from vidstyle.studio.queue import JobQueue, QueuedJob

SLOW = """
import sys, time
import numpy as np
from vidstyle.cli import main
from vidstyle.jobs import pipeline
from vidstyle.jobs.job import Network
from vidstyle.stylizer.protocol import IdentityStylizer, Stylized

class Slow(IdentityStylizer):
    def stylize(self, content, guide=None, prior=None, *, progress):
        time.sleep({seconds})
        progress(1, 0.5, lambda: content)
        return Stylized(1 - content, {{"total": np.float32(0.5)}}, evaluations=1)

pipeline.make_stylizer = lambda *_: Slow()
pipeline.find_network = lambda *_: Network()
sys.exit(main.main(sys.argv[2:]))
"""


@pytest.fixture
def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let children invert each frame, in so many seconds, by the real command line."""
    monkeypatch.setenv("PYTHONPATH", str(Path(vidstyle.__file__).parents[1]))
    launcher = tmp_path / "python"

    def use(seconds: float) -> None:
        script = tmp_path / "slow.py"
        script.write_text(SLOW.format(seconds=seconds))
        launcher.write_text(f'#!/bin/sh\nshift 2\nexec {sys.executable} {script} - "$@"\n')
        launcher.chmod(0o755)

    use(0.0)
    monkeypatch.setattr(process, "PYTHON", str(launcher))
    return use


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[JobQueue]:
    with JobQueue(tmp_path / "queue") as made:
        yield made
        for job in made.jobs():
            if job.pid:
                end(job)


def end(job: QueuedJob) -> None:
    assert job.pid is not None
    os.kill(job.pid, signal.SIGKILL)


def until(
    queue: JobQueue, id: str, reached: Callable[[QueuedJob], object], seconds: float = 60
) -> QueuedJob:
    last = time.monotonic() + seconds
    while time.monotonic() < last:
        if reached(job := queue.get(id)):
            return job
        time.sleep(0.05)
    pytest.fail(f"not within {seconds} s: {queue.get(id)}")


def finished(queue: JobQueue, id: str) -> QueuedJob:
    return until(queue, id, lambda job: job.state in ("done", "failed", "cancelled", "paused"))


@pytest.fixture
def values(clip: Path, style: Path) -> dict[str, Any]:
    assert clip.parent == style.parent
    return {
        "technique": "basic", "source": "clip.mp4", "output": "out.mp4", "style": "wave.png",
        "steps": 1, "steps_next": 1, "size": 64,
    }  # fmt: skip


def test_a_job_runs_to_its_output(
    slow: Callable[[float], None], queue: JobQueue, values: dict[str, Any], tmp_path: Path
) -> None:
    seen: list[str] = []
    queue.on_change = seen.append
    id = queue.add(values, tmp_path)
    job = finished(queue, id)
    assert (job.state, job.message) == ("done", None)
    assert media.probe(tmp_path / "out.mp4").frames == FRAMES
    assert job.progress.of == job.progress.finished == FRAMES
    assert job.progress.losses == {"total": 0.5}
    assert job.progress.frame_losses == (0.5,) * FRAMES
    assert job.progress.output == tmp_path / "out.mp4"
    assert job.progress.seconds_left is None
    assert job.command[:2] == ["basic", str(tmp_path / "clip.mp4")]
    assert json.loads(json.dumps(job.to_json()))["values"]["size"] == 64
    assert id in seen


def some_frames(job: QueuedJob) -> bool:
    return job.progress.finished >= 2


def test_a_paused_job_keeps_its_frames_and_continues_to_the_same_bytes(
    slow: Callable[[float], None], queue: JobQueue, values: dict[str, Any], tmp_path: Path
) -> None:
    whole = queue.add({**values, "output": "whole.mp4"}, tmp_path)
    assert finished(queue, whole).state == "done"
    slow(0.5)
    id = queue.add(values, tmp_path)
    running = until(queue, id, some_frames)
    assert running.state == "running"
    assert running.progress.latest_frame is not None
    assert running.progress.seconds_left is not None
    queue.pause(id)
    job = finished(queue, id)
    assert (job.state, job.pid) == ("paused", None)
    kept = len(list((state_path(tmp_path / "out.mp4") / "frames").glob("*.png")))
    assert 2 <= kept < FRAMES
    slow(0.0)
    queue.resume(id)
    job = until(queue, id, lambda job: job.state == "done")
    assert job.progress.finished == FRAMES
    assert (tmp_path / "out.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()


def test_jobs_run_one_at_a_time_and_a_waiting_one_can_be_cancelled(
    slow: Callable[[float], None], queue: JobQueue, values: dict[str, Any], tmp_path: Path
) -> None:
    slow(0.3)
    ids = [queue.add({**values, "output": f"{name}.mp4"}, tmp_path) for name in "abc"]
    until(queue, ids[0], some_frames)
    assert [job.state for job in queue.jobs()] == ["running", "queued", "queued"]
    queue.cancel(ids[1])
    until(queue, ids[1], lambda job: job.state == "cancelled")
    queue.cancel(ids[0])
    assert finished(queue, ids[0]).state == "cancelled"
    assert state_path(tmp_path / "a.mp4").exists()
    assert finished(queue, ids[2]).state == "done"
    assert not (tmp_path / "b.mp4").exists()
    queue.resume(ids[0])
    until(queue, ids[0], lambda job: job.state == "done")


def test_a_job_goes_on_when_its_queue_is_closed_and_is_found_again(
    slow: Callable[[float], None], values: dict[str, Any], tmp_path: Path
) -> None:
    slow(0.3)
    with JobQueue(tmp_path / "queue") as first:
        id = first.add(values, tmp_path)
        pid = until(first, id, some_frames).pid
    with JobQueue(tmp_path / "queue") as second:
        job = second.get(id)
        assert (job.state, job.pid) == ("running", pid)
        assert job.progress.finished >= 2
        assert finished(second, id).state == "done"


KILLED = """
import sys, time
from pathlib import Path
from vidstyle.studio import process
from vidstyle.studio.queue import JobQueue
process.PYTHON = sys.argv[1]
JobQueue(Path(sys.argv[2])).start()
time.sleep(600)
"""


@pytest.mark.parametrize("child_too", [False, True])
def test_a_killed_studio_loses_nothing(
    slow: Callable[[float], None], values: dict[str, Any], tmp_path: Path, child_too: bool
) -> None:
    slow(0.4)
    watching = JobQueue(tmp_path / "queue")  # not started: it only reads
    id = watching.add(values, tmp_path)
    words = [sys.executable, "-c", KILLED, str(tmp_path / "python"), str(tmp_path / "queue")]
    studio = subprocess.Popen(words)
    running = until(watching, id, some_frames)
    studio.kill()
    studio.wait()
    if child_too:
        end(running)
    with JobQueue(tmp_path / "queue") as queue:
        if not child_too:
            assert queue.get(id).pid == running.pid
            queue.pause(id)
            until(queue, id, lambda job: job.state == "paused")
            slow(0.0)
            queue.resume(id)
        job = until(queue, id, lambda job: job.state == "done")
    launches = (job.job_file.parent / "events.jsonl").read_text().count("launch")
    assert launches == 2
    assert media.probe(tmp_path / "out.mp4").frames == FRAMES


def test_a_process_that_dies_is_a_failure_and_can_be_resumed(
    slow: Callable[[float], None], queue: JobQueue, values: dict[str, Any], tmp_path: Path
) -> None:
    slow(0.4)
    id = queue.add(values, tmp_path)
    end(until(queue, id, some_frames))
    job = finished(queue, id)
    assert job.state == "failed"
    assert "ended by SIGKILL" in (job.message or "")
    slow(0.0)
    queue.resume(id)
    assert until(queue, id, lambda job: job.state == "done").message is None


def test_a_failure_has_the_sentence_and_the_code_of_the_command_line(
    slow: Callable[[float], None], queue: JobQueue, values: dict[str, Any], tmp_path: Path
) -> None:
    slow(0.3)
    first = queue.add(values, tmp_path)
    second = queue.add({**values, "output": "two.mp4", "source": "other.mp4"}, write_clip(
        tmp_path / "other.mp4").parent)  # fmt: skip
    (tmp_path / "other.mp4").unlink()
    job = finished(queue, second)
    assert (job.state, job.exit_code) == ("failed", 3)
    assert job.message == f"the source {tmp_path / 'other.mp4'} does not exist; check the path"
    assert queue.get(first).state == "done"


def test_an_output_that_another_run_holds_is_not_run_twice(
    slow: Callable[[float], None], queue: JobQueue, values: dict[str, Any], tmp_path: Path
) -> None:
    state = state_path(tmp_path / "out.mp4")
    with JobQueue(tmp_path / "other") as other:
        slow(0.5)
        added = other.add(values, tmp_path)
        until(other, added, some_frames)
        job = finished(queue, queue.add(values, tmp_path))
        assert (job.state, job.exit_code) == ("failed", 2)
        assert f"another run holds {state}" in (job.message or "")
        assert finished(other, added).state == "done"


def test_what_does_not_fit_is_refused_when_it_is_added(
    queue: JobQueue, values: dict[str, Any], tmp_path: Path
) -> None:
    queue.close()
    queue.add(values, tmp_path)
    (tmp_path / "there.mp4").touch()
    cases = {
        "out.mp4 is the output of job 000001, which is queued": {},
        "did you mean 'size'": {"siez": 1, "output": "b.mp4"},
        "the source .* does not exist": {"source": "gone.mp4", "output": "b.mp4"},
        "add --overwrite": {"output": "there.mp4"},
    }
    for message, change in cases.items():
        with pytest.raises(VidstyleError, match=message):
            queue.add({**values, **change}, tmp_path)
    assert len(queue.jobs()) == 1
    for act in (queue.pause, queue.resume, queue.cancel, queue.remove, queue.get):
        with pytest.raises(UsageError, match="expected the id of a job"):
            act("../../etc")


def test_two_studios_share_a_queue(
    slow: Callable[[float], None], queue: JobQueue, values: dict[str, Any], tmp_path: Path
) -> None:
    slow(0.3)
    with JobQueue(tmp_path / "queue") as second:
        id = second.add(values, tmp_path)
        until(second, id, some_frames)
        second.pause(id)
        assert finished(second, id).state == "paused"
        queue.close()
        second.resume(id)
        assert until(second, id, lambda job: job.state == "done")
    text = (tmp_path / "queue" / id / "events.jsonl").read_text()
    assert text.count("launch") == 2


def test_a_job_that_is_not_running_can_be_removed(
    slow: Callable[[float], None], queue: JobQueue, values: dict[str, Any], tmp_path: Path
) -> None:
    slow(0.3)
    id = queue.add(values, tmp_path)
    until(queue, id, some_frames)
    with pytest.raises(UsageError, match="is running; cancel it first"):
        queue.remove(id)
    assert finished(queue, id).state == "done"
    queue.remove(id)
    assert queue.jobs() == []
    assert not (tmp_path / "queue" / id).exists()
    assert (tmp_path / "out.mp4").exists()


def test_a_batch_counts_its_sources(
    slow: Callable[[float], None],
    queue: JobQueue,
    values: dict[str, Any],
    photos: Path,
    tmp_path: Path,
) -> None:
    (photos / "broken.png").write_bytes(b"no picture")
    change = {"source": "photos", "recursive": True, "output": "all", "size": "source"}
    job = finished(queue, queue.add({**values, **change}, tmp_path))
    assert (job.state, job.exit_code) == ("failed", 1)
    assert "1 of 4 sources failed; the first: " in (job.message or "")
    assert (job.progress.of, job.progress.finished) == (4, 4)


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"state": "lost"}'])
def test_a_damaged_state_is_shown(
    queue: JobQueue, values: dict[str, Any], tmp_path: Path, damage: bytes
) -> None:
    queue.close()
    id = queue.add(values, tmp_path)
    (tmp_path / "queue" / id / "state.json").write_bytes(damage)
    job = queue.get(id)
    assert job.state == "failed"
    assert "state.json is damaged" in (job.message or "")
    queue.remove(id)


def test_events_are_followed_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    events = EventFile(path, tmp_path / "out.mp4")
    assert not events.read_on()
    frame = {
        "event": "frame", "losses": {"total": 2.0}, "evaluations": 4, "seconds": 10.0, "index": 3,
        "left": 20,
    }  # fmt: skip
    path.write_text('{"event": "start", "of": 9, "finished": 3, "left": 60}\nnoise\n{"event": "st')
    assert events.read_on()
    assert (events.progress.of, events.progress.finished) == (9, 3)
    assert events.progress.seconds_left is None
    with path.open("a") as file:
        file.write('ep", "index": 3, "evaluation": 2, "loss": 0.5}\n')
    assert events.read_on()
    assert (events.progress.index, events.progress.evaluation, events.progress.loss) == (3, 2, 0.5)
    with path.open("a") as file:
        file.write(json.dumps(frame) + "\n")
    events.read_on()
    found = events.progress
    assert (found.finished, found.losses, found.evaluation) == (4, {"total": 2.0}, None)
    assert found.seconds_left == 20 * 10.0 / 5
    with path.open("a") as file:
        file.write('{"event": "error", "message": "m", "exit_code": 3}\n')
    events.read_on()
    assert events.final == {"event": "error", "message": "m", "exit_code": 3}
    with path.open("a") as file:
        file.write('{"event": "launch"}\n')
    events.read_on()
    assert events.final is None
