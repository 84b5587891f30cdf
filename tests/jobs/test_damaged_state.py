"""A state whose files have wrong types is refused in one sentence."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from films import Film, shot

from vidstyle.errors import MediaError, StateError
from vidstyle.jobs.checkpoint import _records
from vidstyle.jobs.job import Job
from vidstyle.jobs.manifest import read_manifest, state_path

DEEP = "[" * 100_000
NESTED = json.dumps({"job": {"source": [[[[[[[[[[[[[[1]]]]]]]]]]]]]]}, "published": {}})
WHOLE = {"files": {"a.mp4": "0" * 64}, "frames": 3, "form": {"crf": 18}, "kept": False}


@pytest.mark.parametrize(
    "text",
    [
        DEEP,
        NESTED,
        "5",
        "null",
        '{"job": 5, "published": {}}',
        '{"job": {}, "published": []}',
        '{"job": {"settings": [1]}, "published": {}}',
        '{"job": {"versions": "1"}, "published": {}}',
        *(
            json.dumps({"job": {}, "published": {**WHOLE, **part}})
            for part in (
                {"files": ["a.mp4"]},
                {"files": {"a.mp4": 5}},
                {"frames": "3"},
                {"frames": True},
                {"form": [1]},
                {"kept": "no"},
            )
        ),
        '{"job": {}, "published": {"files": {}}}',
    ],
)
def test_a_manifest_with_wrong_types_is_damaged(tmp_path: Path, text: str) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(text)
    with pytest.raises(StateError, match="is damaged; add --restart"):
        read_manifest(path)


def test_a_written_manifest_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    for published in ({}, WHOLE):
        path.write_text(json.dumps({"job": {"settings": {"seed": 1}}, "published": published}))
        found = read_manifest(path)
        assert found is not None
        assert found["published"] == published
    path.unlink()
    if hasattr(os, "mkfifo"):
        os.mkfifo(path)
        with pytest.raises(StateError, match="is damaged"):
            read_manifest(path)


@pytest.mark.parametrize(
    "line",
    [
        DEEP.encode(),
        b"5",
        b'{"index": "0", "sha256": "a"}',
        b'{"index": true, "sha256": "a"}',
        b'{"index": 0}',
    ],
)
def test_a_journal_ends_at_a_line_with_wrong_types(line: bytes) -> None:
    good = b'{"index": 0, "sha256": "a"}\n'
    assert [whole for whole, _ in _records(good + line + b"\n" + good)] == [good]


@pytest.fixture(scope="module")
def stopped(shared_film: Film) -> Job:
    """A run stopped after two frames; each test replaces the notes of the second."""
    job = shared_film.job("noted", shot(1))

    def stop(event: Any) -> None:
        if event.name == "frame" and event.index == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shared_film.run(job, stop)
    return job


@pytest.mark.parametrize(
    "notes",
    [
        {"optimised_image": np.zeros((5, 5, 3), np.uint16)},
        {"optimised_image": np.zeros((48, 64, 3), np.float32)},
        {"change": np.zeros((12, 16), np.float16)},
        {"matches": np.zeros((2, 2, 5), "U3")},
        {"other": np.zeros(1)},
        None,
    ],
)
def test_notes_with_wrong_types_are_refused(
    shared_film: Film, stopped: Job, notes: dict[str, np.ndarray[Any, Any]] | None
) -> None:
    state = state_path(stopped.output)
    path = state / "frames/000001.npz"
    path.write_bytes(b"no archive") if notes is None else np.savez(path, **notes)  # type: ignore
    lines = [json.loads(line) for line in (state / "journal.jsonl").read_text().splitlines()]
    lines[1]["notes"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (state / "journal.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    with pytest.raises(MediaError, match=r"noted_out\.vidstyle.*: expected "):
        shared_film.run(stopped)
