"""Batches on the command line: a source that fails never stops the others."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from conftest import write_clip
from sounds import write_film

from vidstyle.cli.main import main

NO_STEPS = ("--steps", "0", "--steps-next", "0")


def picture(path: Path, seed: int = 0, size: tuple[int, int] = (24, 40)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, 255, (*size, 3), np.uint8)
    PIL.Image.fromarray(values).save(path)
    return path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Seven valid sources, two with one stem; one damaged, one hidden and one foreign file."""
    folder = tmp_path / "in"
    for index, name in enumerate(("a.png", "a.jpg", "img10.png", "img2.png", "deep/er/a.png")):
        picture(folder / name, index, (24 + index, 40))
    (folder / "clips").mkdir()
    write_clip(folder / "clips" / "move.mp4", 3)
    picture(folder / "z.png", 9)
    (folder / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    picture(folder / ".hidden.png")
    (folder / "notes.txt").write_text("not a picture")
    return folder


def json_lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def results(folder: Path) -> dict[str, bytes]:
    """Return the bytes of the results by name, without states and records."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in files
        if not any(part.startswith(".") or part.endswith(".vidstyle") for part in path.parts)
    }


def command(tree: Path, style: Path, *more: str) -> list[str]:
    out = tree.parent / "out"
    return ["basic", str(tree), "-o", str(out), "-r", "--style", str(style), *NO_STEPS, *more]


def test_one_bad_file_never_stops_the_rest(
    tree: Path, style: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(tree, style, "--json")) == 1
    warning, *items, summary = json_lines(capsys)
    assert warning["message"] == "left out: notes.txt"
    left = [item["left"] for item in items]  # seconds
    assert left[0] is not None
    assert left[-1] == 0
    assert summary["event"] == "summary"
    assert (summary["of"], summary["done"], summary["skipped"]) == (8, 7, 0)
    assert [Path(failed["source"]).name for failed in summary["failed"]] == ["bad.png"]
    assert summary["failed"][0]["exit_code"] == 3
    assert sum(summary["left_out"].values()) == 2
    made = results(tree.parent / "out")
    assert len(made) == 7
    assert {Path(name).parent for name in made} == {Path(), Path("deep/er"), Path("clips")}


def test_the_summary_reports_changes_of_the_sound(
    tmp_path: Path, style: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    names = [str(folder / f"{number}.avi") for number in range(7)]
    for name in names:
        write_film(Path(name), "adpcm_ms", "-fflags", "+bitexact", video="mpeg4")
    words = ["basic", str(folder), "-o", str(tmp_path / "out"), "-r", "--style", str(style)]
    assert main([*words, *NO_STEPS, "--end", "0.1"]) == 0
    sound = "audio stream 1 (adpcm_ms): it cannot be copied into mp4, so it was re-encoded as AAC"
    *_, summary = capsys.readouterr().out.split("7 done")
    assert f"warning: {sound} (in {', '.join(names[:5])} and 2 more)" in summary
    assert main([*words, *NO_STEPS, "--end", "0.1", "--overwrite", "--restart", "--json"]) == 0
    summary = json_lines(capsys)[-1]
    assert summary["event"] == "summary"
    assert [one for one in summary["warnings"] if one["message"] == sound] == [
        {"source": name, "message": sound} for name in names
    ]


def test_finished_sources_are_skipped(
    tree: Path, style: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tree / "bad.png").unlink()
    assert main(command(tree, style)) == 0
    before = {path: path.stat().st_mtime_ns for path in (tree.parent / "out").rglob("*.*")}
    capsys.readouterr()
    assert main(command(tree, style, "--json")) == 0
    summary = json_lines(capsys)[-1]
    assert (summary["done"], summary["skipped"]) == (0, 7)
    assert all(path.stat().st_mtime_ns == was for path, was in before.items() if path.is_file())
    picture(tree / "a.png", 77)
    assert main(command(tree, style)) == 1  # another source: refused by name
    assert "a.png" in capsys.readouterr().err
    assert main(command(tree, style, "--overwrite")) == 0


def test_a_killed_batch_continues_to_the_same_bytes(tree: Path, style: Path) -> None:
    (tree / "bad.png").unlink()
    assert main(command(tree, style)) == 0
    whole = results(tree.parent / "out")
    (tree.parent / "out").rename(tree.parent / "whole")
    for pause in (0.3, 0.6, 0.9):
        process = subprocess.Popen(
            [sys.executable, "-m", "vidstyle", *command(tree, style)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(pause)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert main(command(tree, style)) == 0
    assert results(tree.parent / "out") == whole


def test_shards_cover_the_whole_batch(
    tree: Path, style: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tree / "bad.png").unlink()
    done = []
    for shard in ("1/2", "2/2"):
        assert main(command(tree, style, "--json", "--shard", shard)) == 0
        done.append(json_lines(capsys)[-1]["done"])
    assert sorted(done) == [3, 4]
    assert len(results(tree.parent / "out")) == 7


def test_several_sources_and_a_list(
    tmp_path: Path, style: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sources = [picture(tmp_path / name / "same.png", k) for k, name in enumerate("abc")]
    listed = tmp_path / "list.txt"
    listed.write_text(f"{sources[2]}\n")
    arguments = ["basic", str(sources[0]), str(sources[1]), "--list", str(listed), "-o"]
    arguments += [str(tmp_path / "out"), "--style", str(style), *NO_STEPS, "--json"]
    assert main(arguments) == 0
    assert json_lines(capsys)[-1]["done"] == 3
    made = results(tmp_path / "out")
    assert len(made) == len(set(made.values())) == 3


@pytest.mark.parametrize("folder", [False, True], ids=["list", "folder and list"])
def test_more_lines_in_a_list_change_no_output_path(
    tmp_path: Path, style: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch, *, folder: bool,
) -> None:  # fmt: skip
    """At any position of the list, with relative or absolute paths."""
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("in/a.png", "b/same.png", "c/same.png", "d/e/same.png")):
        picture(tmp_path / name, seed)
    arguments = [
        "basic",
        *["in"] * folder,
        "--list",
        "list.txt",
        "-o",
        "out",
        "--style",
        str(style),
    ]
    lines = ["b/same.png", str(tmp_path / "c" / "same.png")]
    Path("list.txt").write_text("\n".join(lines))
    assert main([*arguments, *NO_STEPS, "--json"]) == 0
    before = {path: path.stat().st_mtime_ns for path in Path("out").rglob("*.png")}
    capsys.readouterr()
    more = ["/nowhere/x.png", "d/e/same.png", *lines, "../none.png", "d"]
    Path("list.txt").write_text("\n".join(more))
    assert main([*arguments, *NO_STEPS, "--json"]) == 1
    summary = json_lines(capsys)[-1]
    assert (summary["done"], summary["skipped"]) == (1, 2 + folder)
    assert {one["source"] for one in summary["failed"]} == {"../none.png", "/nowhere/x.png"}
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_dry_run_writes_nothing(
    tree: Path, style: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(tree, style, "--dry-run", "--json")) == 1  # one would fail
    plan = json_lines(capsys)[-1]
    assert (plan["event"], plan["planned"], len(plan["failed"])) == ("plan", 7, 1)
    assert not (tree.parent / "out").exists()


def test_an_empty_folder_is_refused_in_one_sentence(
    tmp_path: Path, style: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    arguments = ["basic", str(tmp_path / "empty"), "-o", str(tmp_path / "out"), "-r"]
    assert main([*arguments, "--style", str(style), *NO_STEPS]) == 3
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
