"""Closed or full standard streams, stop signals, pipes and undecodable names."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import FRAMES, write_clip

from vidstyle import media
from vidstyle.cli import main

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX streams and signals")
COMMAND = f"'{sys.executable}' -m vidstyle"
NO_STEPS = "--steps 0 --steps-next 0"


def shell(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a line of sh in a folder; descriptor 3 is a copy of stderr."""
    return subprocess.run(
        ["/bin/sh", "-c", f"exec 3>&2; {script}"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_closed_streams_do_no_harm(clip: Path, style: Path, tmp_path: Path) -> None:
    arguments = f"{COMMAND} basic {clip.name} --style {style.name} {NO_STEPS} -o out.mp4"
    assert shell(f"{arguments} <&- >&- 2>&-", tmp_path).returncode == 0
    assert media.probe(tmp_path / "out.mp4").frames == FRAMES
    assert shell(f"{COMMAND} probe none.mp4 >&- 2>&-", tmp_path).returncode == 3


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
@pytest.mark.parametrize("arguments", ["probe clip.mp4", "--help"])
def test_a_full_stdout_is_one_line_of_error(clip: Path, tmp_path: Path, arguments: str) -> None:
    found = shell(f"{COMMAND} {arguments} 2>&3 >/dev/full", clip.parent)
    assert found.returncode == 4
    assert found.stderr == (
        "vidstyle: cannot write to standard output: No space left on device; redirect it "
        "elsewhere\n"
    )
    assert shell(f"{COMMAND} probe none.mp4 2>/dev/full", tmp_path).returncode == 3


def test_a_closed_pipe_stops_the_run_and_keeps_its_state(
    clip: Path, style: Path, tmp_path: Path
) -> None:
    arguments = f"{COMMAND} basic {clip.name} --style {style.name} {NO_STEPS} -o out.mp4"
    found = shell(f"({arguments} --json 2>&3; echo $? >code) | head -c 20", tmp_path)
    assert found.stderr == "vidstyle: the reader of the output closed the pipe\n"
    assert (tmp_path / "code").read_text() == "1\n"
    assert shell(arguments, tmp_path).returncode == 0


@pytest.mark.parametrize(("ignored", "code"), [(False, 130), (True, 0)])
def test_sighup_stops_a_run_unless_it_is_ignored(
    style: Path, tmp_path: Path, ignored: bool, code: int
) -> None:
    clip, output = write_clip(tmp_path / "long.mp4", 40), tmp_path / "out.mp4"
    arguments = [str(clip), "-o", str(output), "--style", str(style), *NO_STEPS.split(), "--json"]
    command = [sys.executable, "-m", "vidstyle", "basic", *arguments]
    if ignored:
        command = ["/bin/sh", "-c", 'trap "" HUP; exec "$@"', "sh", *command]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert b"start" in process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        process.stdout.read()
        message = process.stderr.read().decode()
    assert process.returncode == code
    assert message.startswith("vidstyle: stopped after") is not ignored
    assert output.exists() is ignored
    if not ignored:
        assert main.main(["basic", *arguments]) == 0


def test_signal_handlers_are_restored(clip: Path) -> None:
    before = [signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGHUP)]
    assert main.main(["probe", str(clip)]) == 0
    assert [signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGHUP)] == before


def test_pipes_and_devices_are_refused_without_blocking(
    clip: Path, style: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("pipe.mp4", "pipe.png"):
        os.mkfifo(tmp_path / name)
    video, picture = str(tmp_path / "pipe.mp4"), str(tmp_path / "pipe.png")
    out, rest = str(tmp_path / "out.mp4"), ["--style", str(style), *NO_STEPS.split()]
    html = str(tmp_path / "a.html")
    for given, code in (
        (["probe", video], 3),
        (["probe", "/dev/zero"], 3),
        (["basic", video, "-o", out, *rest], 3),
        (["basic", str(clip), "-o", out, "--style", picture, *NO_STEPS.split()], 3),
        (["basic", str(clip), "-o", video, "--overwrite", *rest], 2),
        (["basic", str(clip), "-o", "/dev/null", "--overwrite", *rest], 2),
        (["mask", str(clip), "-o", out, "--mask", picture, *rest], 3),
        (["region", str(clip), "-o", out, "--map", str(style), "--style-map", picture, *rest], 3),
        (["track", video, "-o", str(tmp_path / "all"), "--mask", str(style)], 3),
        (["eval", video, "--source", str(clip)], 3),
        (["eval", str(clip), "--source", str(clip), "--html", picture, "--overwrite"], 2),
        (["eval", str(clip), "--source", str(clip), "--html", html, "--log", picture], 3),
    ):
        assert main.main(given) == code, given
        (line,) = capsys.readouterr().err.splitlines()
        assert "internal error" not in line, given


def test_names_that_are_not_utf_8_work(clip: Path, style: Path, tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    source, picture = (
        path.rename(folder / os.fsdecode(b"\xfc" + os.fsencode(path.name)))
        for path in (clip, style)
    )
    out = folder / os.fsdecode(b"out\xe9.mp4")
    rest = ["--style", str(picture), *NO_STEPS.split()]
    assert main.main(["basic", str(source), "-o", str(out), "--keep-frames", *rest]) == 0
    assert main.main(["basic", str(source), "-o", str(out), "--json", *rest]) == 0
    assert main.main(["basic", "-r", str(folder), "-o", str(tmp_path / "all"), *rest]) == 0
    page = tmp_path / os.fsdecode(b"p\xe4ge.html")
    assert main.main(["eval", str(out), "--source", str(source), "--html", str(page)]) == 0
    assert "out\\udce9.mp4" in page.read_text("utf-8")
    keys = tmp_path / os.fsdecode(b"keys\xff")
    keys.mkdir()
    picture.rename(keys / "000000.png")
    assert (
        main.main(["track", str(source), "--mask", str(keys), "-o", str(folder / "t\udcff")]) == 0
    )
    assert main.main(["probe", str(source)]) == 0
