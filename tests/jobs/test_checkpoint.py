import json
import multiprocessing
import os
import shutil
import signal
import zipfile
from pathlib import Path
from typing import IO

import numpy as np
import pytest

from vidstyle.errors import OutputError, StateError, UsageError
from vidstyle.jobs.checkpoint import Checkpoint
from vidstyle.jobs.manifest import differences
from vidstyle.jobs.targets import check_space, check_target

MANIFEST = {"settings": {"style_weight": 1.0}, "source": {"sha256": "a"}}
FREE = {"overwrite": False, "restart": False, "output_options": {}}


def image(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((16, 20, 3), dtype=np.float32)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out.mp4"


@pytest.fixture
def state_folder(output: Path) -> Path:
    """The state of a run that finished three frames."""
    with Checkpoint(output, MANIFEST) as state:
        for index in range(3):
            state.save(index, image(index), {"losses": {"total": 1.0}})
    return state.path


def publish(output: Path, *, kept: bool = True, output_options: dict | None = None) -> None:
    with Checkpoint(output, MANIFEST) as state:
        state.save(0, image(), {})
        part = state.part(folder=False)
        part.write_bytes(b"whole")
        state.publish(part, output_options=output_options or {}, kept=kept)


def test_a_saved_frame_is_loaded_with_sixteen_bits(output: Path) -> None:
    with Checkpoint(output, MANIFEST) as state:
        state.save(4, image(), {})
        assert np.abs(state.load(4) - image()).max() < 1e-5
        assert state.has(4)
        assert not state.has(3)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_notes_are_saved_leaves_the_frame_unfinished(
    output: Path, state_folder: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    usual = zipfile.ZipFile.open

    def stopped(archive: zipfile.ZipFile, *args: object, **kwargs: object) -> IO[bytes]:
        handle = usual(archive, *args, **kwargs)
        signal.raise_signal(number)  # here closing the archive raises ValueError
        return handle

    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    monkeypatch.setattr(zipfile.ZipFile, "open", stopped)
    try:
        with Checkpoint(output, MANIFEST) as state, pytest.raises(KeyboardInterrupt):
            state.save(3, image(), {}, {"drawn": image()})
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, before)
    with Checkpoint(output, MANIFEST) as state:
        assert [index for index in range(5) if state.has(index)] == [0, 1, 2]


def test_finished_frames_are_found_again(output: Path, state_folder: Path) -> None:
    with Checkpoint(output, MANIFEST) as state:
        assert [index for index in range(5) if state.has(index)] == [0, 1, 2]
        assert state.finished[1] == (False, False, None, False)
    lines = (state_folder / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["losses"] for line in lines] == [{"total": 1.0}] * 3


def test_a_state_without_a_frame_leaves_nothing(output: Path) -> None:
    with pytest.raises(RuntimeError), Checkpoint(output, MANIFEST):
        raise RuntimeError
    assert list(output.parent.iterdir()) == []


def test_an_incomplete_last_line_is_truncated(output: Path, state_folder: Path) -> None:
    journal = state_folder / "journal.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-9])
    with Checkpoint(output, MANIFEST) as state:
        assert sorted(state.finished) == [0, 1]
        state.save(2, image(2), {"losses": {"total": 1.0}})
    assert journal.read_bytes() == whole


@pytest.mark.parametrize("damage", [b"", b"garbage"])
def test_a_modified_frame_is_not_finished(output: Path, state_folder: Path, damage: bytes) -> None:
    (state_folder / "frames" / "000001.png").write_bytes(damage)
    with Checkpoint(output, MANIFEST) as state:
        assert sorted(state.finished) == [0, 2]


def test_a_frame_without_its_file_is_not_finished(output: Path, state_folder: Path) -> None:
    (state_folder / "frames" / "000001.png").unlink()
    with Checkpoint(output, MANIFEST) as state:
        assert not state.has(1)
        with pytest.raises(OutputError):
            state.load(1)


def test_drafts_of_an_interrupted_write_are_deleted(output: Path, state_folder: Path) -> None:
    drafts = [state_folder / "manifest.tmp.json", state_folder / "frames" / "000003.tmp.png"]
    for draft in drafts:
        draft.write_bytes(b"half")
    with Checkpoint(output, MANIFEST):
        assert not any(draft.exists() for draft in drafts)


def test_another_request_is_refused_by_name_and_keeps_the_frames(
    output: Path, state_folder: Path
) -> None:
    other = {**MANIFEST, "settings": {"style_weight": 2.0}}
    with pytest.raises(StateError, match=r"--style-weight was 1\.0, is 2\.0.*--restart"):
        Checkpoint(output, other).__enter__()
    with Checkpoint(output, MANIFEST) as state:
        assert len(state.finished) == 3


def test_restart_discards_the_frames(output: Path, state_folder: Path) -> None:
    other = {**MANIFEST, "settings": {"style_weight": 2.0}}
    with Checkpoint(output, other, restart=True) as state:
        assert state.finished == {}
        state.save(0, image(), {})
    assert [path.name for path in (state_folder / "frames").iterdir()] == ["000000.png"]


@pytest.mark.parametrize("content", ["", "{", '{"job": 1}'])
def test_a_damaged_manifest_is_refused(output: Path, state_folder: Path, content: str) -> None:
    (state_folder / "manifest.json").write_text(content)
    with pytest.raises(StateError, match="damaged"):
        Checkpoint(output, MANIFEST).__enter__()
    with Checkpoint(output, MANIFEST, restart=True) as state:
        assert state.finished == {}


def test_differences_name_the_options_of_the_command_line() -> None:
    old = {
        "source": 1, "styles": 1, "weights": "a", "technique": "basic",
        "options": {}, "settings": {"style_layers": ["relu1_1"], "start": None},
        "versions": {"numpy": "2.0"}, "environment": {"OMP_NUM_THREADS": None},
    }  # fmt: skip
    new = {
        "source": 2, "styles": 2, "weights": "b", "technique": "mask",
        "options": {"soft_edge": 3}, "settings": {"style_layers": ["relu2_1"], "start": 1.5},
        "versions": {"numpy": "2.1"}, "environment": {"OMP_NUM_THREADS": "1"},
    }  # fmt: skip
    assert differences(old, new) == [
        "the source changed", "the styles changed", "the VGG-19 weights changed",
        "the technique was basic, is mask", "--soft-edge was unset, is 3",
        "--style-layers was relu1_1, is relu2_1", "--start was unset, is 1.5",
        "numpy was 2.0, is 2.1", "OMP_NUM_THREADS was unset, is 1",
    ]  # fmt: skip
    assert differences(old, json.loads(json.dumps(old))) == []


def test_a_second_run_is_refused_while_the_first_is_running(output: Path) -> None:
    with Checkpoint(output, MANIFEST) as state:
        state.save(0, image(), {})
        with pytest.raises(StateError, match="another run holds"):
            Checkpoint(output, MANIFEST).__enter__()


def _hold_and_die(output: Path) -> None:
    state = Checkpoint(output, MANIFEST).__enter__()
    state.save(0, image(), {})
    os._exit(9)


def test_a_dead_run_holds_no_lock(output: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_hold_and_die, args=(output,))
    process.start()
    process.join()
    assert process.exitcode == 9
    with Checkpoint(output, MANIFEST) as state:
        assert state.has(0)


def test_a_file_is_published_and_the_state_deleted(output: Path) -> None:
    with Checkpoint(output, MANIFEST) as state:
        state.save(0, image(), {})
        part = state.part(folder=False)
        part.write_bytes(b"whole")
        assert part.suffix == ".mp4"
        state.publish(part, output_options={}, kept=False)
        assert state.is_published(output_options={})
        assert not state.is_published(output_options={"crf": 20})
        state.remove()
    assert [path.name for path in output.parent.iterdir()] == ["out.mp4"]
    assert output.read_bytes() == b"whole"


def test_a_published_folder_keeps_other_files(tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.mkdir()
    (output / "notes.txt").write_text("mine")
    with Checkpoint(output, MANIFEST) as state:
        state.save(0, image(), {})
        part = state.part(folder=True, names=["a.png"])
        part.mkdir()
        (part / "a.png").write_bytes(b"a")
        state.publish(part, output_options={}, kept=False)
        assert state.is_published(output_options={})
        state.remove()
    assert sorted(path.name for path in output.iterdir()) == ["a.png", "notes.txt"]


def test_a_modified_output_does_not_count_as_published(output: Path) -> None:
    publish(output)
    output.write_bytes(b"other")
    with Checkpoint(output, MANIFEST) as state:
        assert not state.is_published(output_options={})


def test_an_existing_output_is_refused_unless_the_state_lists_it(
    output: Path,
) -> None:
    publish(output)
    check_target(output, **FREE)
    for changed in ({"restart": True}, {"output_options": {"crf": 20}}):
        with pytest.raises(UsageError, match="exists; add --overwrite"):
            check_target(output, **{**FREE, **changed})
    output.write_bytes(b"other")
    with pytest.raises(UsageError, match="exists; add --overwrite"):
        check_target(output, **FREE)
    check_target(output, **{**FREE, "overwrite": True})


def test_an_empty_output_folder_is_accepted(tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.mkdir()
    check_target(output, **FREE)
    (output / "a.png").touch()
    with pytest.raises(UsageError, match="not empty; add --overwrite"):
        check_target(output, **FREE)


def test_a_dangling_link_counts_as_an_output(output: Path) -> None:
    output.symlink_to("nowhere")
    with pytest.raises(UsageError, match="exists"):
        check_target(output, **FREE)


def test_an_empty_state_folder_of_a_killed_run_is_deleted(output: Path) -> None:
    output.touch()
    left = Path(f"{output}.vidstyle")
    left.mkdir()
    with pytest.raises(UsageError):
        check_target(output, **FREE)
    assert not left.exists()


def test_an_output_in_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist; make it first"):
        check_target(tmp_path / "no" / "out.mp4", **FREE)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_not_writable_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(OutputError, match="cannot write in"):
            check_target(tmp_path / "out.mp4", **FREE)
    finally:
        tmp_path.chmod(0o755)


def test_too_little_disk_space_is_refused_with_the_figures(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 5, 5_000_000))
    check_space(output, 4_000_000, 1)
    with pytest.raises(OutputError, match=r"about 9 MB free .* 3 frames .* got 5 MB"):
        check_space(output, 9_000_000, 3)


def test_a_state_folder_that_is_a_file_is_an_output_error(output: Path) -> None:
    Path(f"{output}.vidstyle").touch()
    with pytest.raises(OutputError, match="cannot write"):
        Checkpoint(output, MANIFEST).__enter__()


def test_a_disk_that_fills_up_keeps_the_finished_frames(
    output: Path, state_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with Checkpoint(output, MANIFEST) as state, monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OutputError, match="the disk is full"):
            state.save(3, image(), {})
    with Checkpoint(output, MANIFEST) as state:
        assert sorted(state.finished) == [0, 1, 2]


def test_a_state_folder_that_cannot_be_listed_is_not_taken_as_empty(
    output: Path, state_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(path: object = ".") -> None:
        raise PermissionError(13, "Permission denied", str(path))

    with Checkpoint(output, MANIFEST) as state:
        state.part(folder=True).mkdir()
        with monkeypatch.context() as patched:
            patched.setattr("os.listdir", denied)
            patched.setattr("os.scandir", denied)
            with pytest.raises(OutputError):
                state.remove()
        state.remove()
    assert not state_folder.exists()
