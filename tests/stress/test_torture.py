"""A sample of scripts/torture; full disks, concurrent runs, changed weights and versions."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from conftest import write_clip
from test_pipeline import NO_STEPS, Inverter

from stress.torture import JOBS, Bench, Trial
from vidstyle.cli import main
from vidstyle.errors import OutputError, StateError
from vidstyle.jobs import job as job_module
from vidstyle.jobs.job import Job, Network, make_job
from vidstyle.jobs.pipeline import run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.mark.parametrize(("test", "count"), [("faults", 16), ("kills", 6), ("signals", 2)])
def test_a_sample_of_the_torture_has_no_failures(test: str, count: int) -> None:
    command = [
        sys.executable,
        "-m",
        "stress.torture_main",
        test,
        "--count",
        str(count),
        "--seed",
        "7",
    ]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "| 0 |" in found.stdout


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    """A job with a known complete output, not started."""
    whole = {job: {"out.mp4": "0" * 64} for job in JOBS}
    return Bench(tmp_path, whole).trial("video")


def test_partial_files_and_debris_are_detected(trial: Trial) -> None:
    assert trial.partial() is None
    assert trial.differs() == "not identical: out.mp4"
    (trial.folder / "out.mp4.vidstyle").mkdir()
    (trial.folder / "out.mp4.vidstyle" / "part.mp4").touch()
    assert trial.partial() is None
    assert trial.differs() == "extra files: out.mp4.vidstyle, out.mp4.vidstyle/part.mp4"
    (trial.folder / "out.mp4").touch()
    assert trial.partial() == "out.mp4"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    arguments = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    try:
        subprocess.run(arguments, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("may not mount")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.fixture
def make(clip: Path, style: Path) -> Callable[..., Job]:
    def build(output: Path, **values: Any) -> Job:
        return make_job(clip, output, style=style, **{**NO_STEPS, **values})

    return build


@pytest.mark.parametrize("filled_at", [1, 4, 6], ids=["first frames", "last frames", "encoding"])
def test_a_full_disk_keeps_the_finished_frames(
    make: Callable[..., Job], tmp_path: Path, disk: Path, filled_at: int
) -> None:
    run(make(tmp_path / "whole.mp4"), make_stylizer=Inverter())

    class Filling(Inverter):
        def stylize(self, *given: Any, **named: Any) -> Any:
            found = super().stylize(*given, **named)
            if len(self.priors) == filled_at:
                with suppress(OSError), (disk / "ballast").open("wb", buffering=0) as file:
                    while file.write(bytes(1024)):
                        pass
            return found

    broken = make(disk / "out.mp4")
    with pytest.raises(OutputError, match="the disk is full; free some space and run the same"):
        run(broken, make_stylizer=Filling())
    assert not broken.output.exists()
    (disk / "ballast").unlink()
    rest = Inverter()
    run(broken, make_stylizer=rest)
    assert len(rest.priors) == 7 - filled_at
    assert broken.output.read_bytes() == (tmp_path / "whole.mp4").read_bytes()
    assert [path.name for path in disk.iterdir()] == ["out.mp4"]


def test_a_read_only_disk_is_reported_in_one_sentence(
    clip: Path, style: Path, disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    arguments = ["basic", str(clip), "-o", str(disk / "out.mp4"), "--style", str(style)]
    assert main.main([*arguments, "--steps", "0", "--steps-next", "0"]) == 4
    assert capsys.readouterr().err == (
        f"vidstyle: cannot write in {disk}: choose a folder that you may write to\n"
    )


def test_a_second_run_is_refused_while_the_first_is_running(
    style: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip, output = write_clip(tmp_path / "long.mp4", 40), tmp_path / "out.mp4"
    arguments = ["basic", str(clip), "-o", str(output), "--style", str(style), "--json"]
    arguments += ["--steps", "0", "--steps-next", "0"]
    command = [sys.executable, "-m", "vidstyle", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        assert b"start" in first.stdout.readline()
        os.kill(first.pid, signal.SIGSTOP)
        try:
            assert main.main(arguments) == 2
            assert f"another run holds {output}.vidstyle; wait" in capsys.readouterr().err
        finally:
            os.kill(first.pid, signal.SIGKILL)
    assert not output.exists()
    assert main.main(arguments) == 0
    assert not Path(f"{output}.vidstyle").exists()


def test_an_error_names_changed_weights_and_versions(
    make: Callable[..., Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make(tmp_path / "out.mp4", steps=1)
    with pytest.raises(RuntimeError):
        run(job, make_stylizer=Inverter(2), network=Network(None, "a"))
    frames = sorted(Path(f"{job.output}.vidstyle/frames").iterdir())
    with pytest.raises(StateError, match="request: the VGG-19 weights changed; repeat"):
        run(job, make_stylizer=Inverter(), network=Network(None, "b"))
    with monkeypatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "3")
        patch.setattr(job_module, "version_of", lambda _: "0.0")
        with pytest.raises(StateError, match=r"numpy was .*, is 0\.0; .*OMP_NUM_THREADS .*, is 3"):
            run(job, make_stylizer=Inverter(), network=Network(None, "a"))
    assert sorted(Path(f"{job.output}.vidstyle/frames").iterdir()) == frames
    rest = Inverter()
    run(job, make_stylizer=rest, network=Network(None, "a"))
    assert len(rest.priors) == 4
