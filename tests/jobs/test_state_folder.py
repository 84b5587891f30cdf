"""State folders not made by vidstyle, or with other files: no such file is deleted."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_checkpoint import MANIFEST, image
from test_pipeline import Inverter

from vidstyle import media
from vidstyle.atomic import lock
from vidstyle.cli import main
from vidstyle.errors import StateError, UsageError
from vidstyle.jobs.checkpoint import Checkpoint
from vidstyle.jobs.events import WarningEvent
from vidstyle.jobs.job import Job, make_job
from vidstyle.jobs.manifest import state_path
from vidstyle.jobs.pipeline import plan, run, run_shard
from vidstyle.jobs.state_folder import StateFolder
from vidstyle.jobs.targets import check_target

NO_STEPS = ["--steps", "0", "--steps-next", "0"]
STRANGE = (  # files of other origin, which an earlier version deleted
    "frames/holiday.jpg", "frames/000001.png", "frames/000001.npz", "frames/sub/a.txt",
    "part.mp4", "part one.txt", "part/letter.txt", "journal.txt", "journal.jsonl", "lock",
    "lock.txt", "a.tmp.txt", "manifest.tmp.json", "manifest.json",
)  # fmt: skip


@pytest.fixture
def output(tmp_path: Path) -> Path:
    (tmp_path / "results").mkdir()
    return tmp_path / "results" / "out.mp4"


@pytest.fixture
def state(output: Path) -> Path:
    return state_path(output)


@pytest.fixture
def make(output: Path, clip: Path, style: Path) -> Callable[..., Job]:
    def build(**values: Any) -> Job:
        return make_job(clip, output, style=style, steps=0, steps_next=0, **values)

    return build


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"mine: {name}")


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def begin(make: Callable[..., Job]) -> None:
    """Leave the state of a run that stopped after three frames."""
    with pytest.raises(RuntimeError):
        run(make(), make_stylizer=Inverter(3))


@pytest.mark.parametrize("name", STRANGE)
def test_a_folder_without_a_manifest_is_refused_by_name_and_kept(
    make: Callable[..., Job], state: Path, name: str
) -> None:
    put(state, name)
    before = contents(state)
    runs: list[Callable[[], object]] = [
        lambda: run(make()),
        lambda: run(make(restart=True, overwrite=True)),
        lambda: run_shard(make(), (1, 2)),
        lambda: plan(make()),
    ]
    for begin_run in runs:
        with pytest.raises(StateError, match="choose another output") as refused:
            begin_run()
        assert name.split("/", maxsplit=1)[0] in str(refused.value)
        assert contents(state) == before


def test_a_batch_keeps_a_folder_without_a_manifest_and_does_the_rest(
    clip: Path, style: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(clip, tmp_path / "other.mp4")
    (tmp_path / "in").mkdir()
    for name in ("clip.mp4", "other.mp4"):
        (tmp_path / name).rename(tmp_path / "in" / name)
    put(tmp_path / "out" / "clip.mp4.vidstyle", *STRANGE)
    before = contents(tmp_path / "out" / "clip.mp4.vidstyle")
    arguments = ["basic", str(tmp_path / "in"), "-r", "-o", str(tmp_path / "out")]
    for more in ([], ["--restart"], ["--shard", "1/1"], ["--dry-run"]):
        assert main.main([*arguments, "--style", str(style), *NO_STEPS, "--overwrite", *more]) == 1
        assert "which vidstyle did not write" in capsys.readouterr().err
        assert contents(tmp_path / "out" / "clip.mp4.vidstyle") == before
    assert media.probe(tmp_path / "out" / "other.mp4").frames == 6


@pytest.mark.parametrize("which", ["state", "frames", "journal.jsonl", "lock", "000000.png"])
@pytest.mark.parametrize("restart", [False, True])
def test_links_as_or_in_the_state_folder_are_refused(
    make: Callable[..., Job], state: Path, tmp_path: Path, which: str, *, restart: bool
) -> None:
    begin(make)
    aside = tmp_path / "elsewhere"
    link = state if which == "state" else state / ("frames" if which[0] == "0" else "") / which
    if link.exists():
        link.rename(aside)
    else:
        aside.write_text("mine")
    before = contents(tmp_path / "elsewhere") if aside.is_dir() else aside.read_bytes()
    link.symlink_to(aside)
    with pytest.raises(StateError, match="link"):
        run(make(restart=restart), make_stylizer=Inverter())
    with pytest.raises(StateError, match="link"):
        run_shard(make(), (1, 2), make_stylizer=Inverter())
    assert (contents(aside) if aside.is_dir() else aside.read_bytes()) == before


@pytest.mark.parametrize("left", ["frames", "journal.jsonl", "both"])
def test_frames_without_a_manifest_need_restart(
    make: Callable[..., Job], state: Path, left: str
) -> None:
    begin(make)
    for name in {"frames", "journal.jsonl", "manifest.json"} - {left}:
        if left == "both" and name != "manifest.json":
            continue
        path = state / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    before = contents(state)
    for shard in (None, (1, 2)):
        with pytest.raises(StateError, match=r"no manifest\.json, .*add --restart to discard"):
            run(make()) if shard is None else run_shard(make(), shard)
        assert contents(state) == before
    run(make(restart=True))
    assert not state.exists()


def test_the_state_of_a_run_killed_before_its_manifest_is_reused(
    make: Callable[..., Job], state: Path
) -> None:
    state.mkdir()
    for name in ("lock", "lock.1-of-2"):
        (state / name).touch()
    (state / "manifest.tmp.json").write_text('{\n "job": {\n  "sour')
    run(make())
    assert not state.exists()


@pytest.mark.parametrize("restart", [False, True])
def test_other_files_in_a_state_folder_survive_restart_and_the_end_of_the_run(
    make: Callable[..., Job], state: Path, *, restart: bool
) -> None:
    begin(make)
    others = ("notes.txt", "frames/holiday.jpg", "part one.txt", "journal.old", "x.tmp.y", "d/e")
    put(state, *others)
    (state / "frames" / "link.png").symlink_to(make().source)
    events: list[Any] = []
    outcome = run(make(restart=restart), events.append, make_stylizer=Inverter())
    assert sorted(contents(state)) == sorted((*others, "frames/link.png"))
    assert all(contents(state)[name] == f"mine: {name}".encode() for name in others)
    (warning,) = outcome.warnings
    assert WarningEvent(message=warning) in events
    assert f"{state} stays, since it holds files that vidstyle did not write: d, " in warning
    assert make().source.exists()


def test_part_files_are_deleted_by_exact_names(photos: Path, style: Path, tmp_path: Path) -> None:
    """part/ has the names of the photos; other files in it survive."""
    job = make_job(photos, tmp_path / "out", style=style, steps=0, steps_next=0)
    state = state_path(job.output)
    with pytest.raises(RuntimeError):
        run(job, make_stylizer=Inverter(2))
    folder = StateFolder(job.output)
    folder.note_parts(["photo0.png"])
    put(state / "part", "photo0.png", "mine.png")
    outcome = run(job, make_stylizer=Inverter())
    assert contents(state) == {"part/mine.png": b"mine: mine.png"}
    assert "part/mine.png" in outcome.warnings[0]
    assert sorted(path.name for path in job.output.iterdir()) == sorted(
        path.name for path in photos.iterdir()
    )


def test_a_frame_with_modified_notes_is_not_finished(output: Path) -> None:
    with Checkpoint(output, MANIFEST) as state:
        for index in range(2):
            state.save(index, image(), {}, {"drawn": image(index)})
    notes = state.path / "frames" / "000001.npz"
    notes.write_bytes(notes.read_bytes()[:-1] + b"!")
    with Checkpoint(output, MANIFEST) as state:
        assert sorted(state.finished) == [0]
        notes.unlink()
    with Checkpoint(output, MANIFEST) as state:
        assert sorted(state.finished) == [0]


def test_a_state_folder_that_another_run_is_creating_is_accepted(output: Path) -> None:
    state_path(output).mkdir()
    with lock(state_path(output) / "lock"):
        check_target(output, overwrite=False, restart=False, output_options={})


def test_records_of_a_batch_replace_no_other_files(
    photos: Path, style: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ["basic", str(photos), "-r", "-o", str(out), "--style", str(style), *NO_STEPS]
    put(out / ".vidstyle", "photo0.png.json")
    (out / ".vidstyle" / "photo1.png.json").symlink_to(photos / "photo1.png")
    for more in ([], ["--restart", "--overwrite"]):
        assert main.main([*arguments, *more]) == 1
        stderr = capsys.readouterr().err
        assert stderr.count("expected no file or one that vidstyle wrote") == 2
        assert (out / ".vidstyle" / "photo0.png.json").read_text() == "mine: photo0.png.json"
    shutil.rmtree(out / ".vidstyle")
    (tmp_path / "aside").mkdir()
    (out / ".vidstyle").symlink_to(tmp_path / "aside")
    assert main.main(arguments) == 2
    assert "is a link" in capsys.readouterr().err
    assert not any((tmp_path / "aside").iterdir())


def test_inputs_in_the_state_folder_are_refused(
    make: Callable[..., Job], state: Path, style: Path, output: Path
) -> None:
    run(make(keep_frames=True))
    frames = state / "frames"
    before = contents(frames)
    with pytest.raises(UsageError, match=r"state folder .*contains the input"):
        make_job(frames, output, style=style, rate=25, overwrite=True)
    assert contents(frames) == before
    assert json.loads((state / "manifest.json").read_bytes())["published"]


def test_a_state_path_that_is_a_file_is_refused(make: Callable[..., Job], state: Path) -> None:
    state.symlink_to("nowhere")
    with pytest.raises(StateError, match="is a link"):
        run(make())
    assert os.path.lexists(state)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no named pipes in folders")
@pytest.mark.parametrize("name", ["manifest.json", "lock", "journal.jsonl", "frames", "part.mp4"])
@pytest.mark.parametrize("genuine", [False, True])
def test_a_pipe_with_the_name_of_a_state_file_is_refused_at_once(
    make: Callable[..., Job], state: Path, name: str, *, genuine: bool
) -> None:
    if genuine:
        begin(make)
        path = state / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    state.mkdir(exist_ok=True)
    os.mkfifo(state / name)
    for restart in (False, True):
        with pytest.raises(StateError, match=r"expected .* got something else; move"):
            run(make(restart=restart))
