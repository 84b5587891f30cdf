"""Every command refuses an output that is an input, lies in one or contains one."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from conftest import FRAMES, HEIGHT, WIDTH, write_clip

from vidstyle import inputs, media
from vidstyle.cli import main
from vidstyle.errors import UsageError
from vidstyle.evaluation.evaluate import Evaluation
from vidstyle.evaluation.report import Album, write_report
from vidstyle.inputs import check_apart
from vidstyle.jobs import propagate
from vidstyle.jobs.checkpoint import Checkpoint
from vidstyle.jobs.job import Job, make_job
from vidstyle.jobs.pipeline import run

NO_STEPS = ["--steps", "0", "--steps-next", "0", "--overwrite"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder `in` of numbered pictures beside a file, and links to them."""
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for name in ("in/001.png", "in/002.png", "in/deep/a.png", "file.mp4", "other.mp4"):
        (tmp_path / name).write_text(name)
    (tmp_path / "link").symlink_to("in")
    (tmp_path / "link.mp4").symlink_to("file.mp4")
    (tmp_path / "into.mp4").symlink_to("in/new.mp4")
    os.link(tmp_path / "file.mp4", tmp_path / "twin.mp4")
    os.link(tmp_path / "in" / "001.png", tmp_path / "twin.png")
    (tmp_path / "in" / "away.png").symlink_to(tmp_path / "other.mp4")
    return tmp_path


@pytest.mark.parametrize(
    ("output", "input_name", "message"),
    [
        ("file.mp4", "file.mp4", "is also an input"),
        ("link.mp4", "file.mp4", "is also an input"),
        ("file.mp4", "link.mp4", "is also an input"),
        ("twin.mp4", "file.mp4", "is also an input"),
        ("in/../file.mp4", "file.mp4", "is also an input"),
        ("in", "in", "is also an input"),
        ("link", "in", "is also an input"),
        ("in/new.png", "in", "lies in the input folder"),
        ("link/new", "in", "lies in the input folder"),
        ("in/deep/er/new.png", "in", "lies in the input folder"),
        ("in/new.png", "link", "lies in the input folder"),
        ("into.mp4", "in", "lies in the input folder"),
        ("twin.png", "in", "is also an input: it is a file of"),
        ("other.mp4", "in", "is also an input: it is a file of"),
        ("in", "in/deep/a.png", "contains the input"),
        ("link", "in/deep", "contains the input"),
        ("", "link/deep/a.png", "contains the input"),
        ("in/001.png", "in/%03d.png", "is also an input"),
        ("in/003.png", "in/%03d.png", "is also an input: it matches"),
        ("twin.png", "in/%03d.png", "is also an input: it is a file of"),
        ("in", "in/%03d.png", "contains the input"),
        ("", "in/%03d.png", "contains the input"),
    ],
)
def test_an_output_that_touches_an_input_is_refused(
    folder: Path, output: str, input_name: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message) as refused:
        check_apart(folder / output, [folder / "other", folder / input_name])
    assert str(refused.value).endswith("; choose an output apart from all inputs")


@pytest.mark.parametrize(
    ("output", "input_name"),
    [
        ("new.mp4", "file.mp4"), ("in/new.mp4", "in/001.png"), ("in2", "in"), ("i", "in"),
        ("in/new.mp4", "in/%03d.png"), ("in/0001.mp4", "in/%03d.png"), ("new", "in"),
        ("in", "in/none.png"), ("in", "in/x%03d.jpg.png/y"), ("link.mp4", "other.mp4"),
    ],
)  # fmt: skip
def test_the_folder_of_an_input_file_is_not_an_input(
    folder: Path, output: str, input_name: str
) -> None:
    check_apart(folder / output, [folder / input_name])


def test_a_case_insensitive_file_system_is_respected(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On macOS and Windows, IN and in are the same folder."""
    same = Path.samefile

    def ignoring(one: Path, other: Path) -> bool:
        return same(Path(str(one).replace("/IN", "/in")), Path(str(other).replace("/IN", "/in")))

    monkeypatch.setattr(inputs.Path, "samefile", ignoring)
    with pytest.raises(UsageError, match="lies in the input folder"):
        check_apart(folder / "IN" / "new.png", [folder / "in"])


def grey(path: Path, value: int = 255) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(np.full((HEIGHT, WIDTH), value, np.uint8)).save(path)
    return path


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture
def workspace(tmp_path: Path, clip: Path, style: Path) -> Path:
    """A folder with an input of every kind; the clip is in a separate folder too."""
    for number in (0, 3):
        grey(tmp_path / "keys" / f"{number:06d}.png")
    (tmp_path / "shoot").mkdir()
    shutil.copy(clip, tmp_path / "shoot" / "clip.mp4")
    shutil.copy(clip, tmp_path / "result.mp4")
    (tmp_path / "list.txt").write_text(f"{clip}\n{style}\n")
    event = {"event": "frame", "index": 0, "losses": {"total": 1}, "seconds": 1}
    (tmp_path / "run.jsonl").write_text(json.dumps(event))
    return tmp_path


COMMANDS = (
    "track shoot/clip.mp4 --map keys -o keys",
    "track shoot/clip.mp4 --mask keys -o keys/all",
    "track shoot/clip.mp4 --mask keys -o shoot",
    "track shoot --mask keys -o shoot",
    "track shoot/clip.mp4 --mask keys/000000.png -o keys",
    "eval result.mp4 --source clip.mp4 --html result.mp4",
    "eval result.mp4 --source clip.mp4 --html clip.mp4",
    "eval result.mp4 --source clip.mp4 --log run.jsonl --html run.jsonl",
    "eval result.mp4 --source clip.mp4 --style wave.png --html wave.png",
    "eval result.mp4 --source clip.mp4 --mask keys --html keys/page.html",
    "eval result.mp4 --source clip.mp4 --cold shoot/clip.mp4 --html shoot/clip.mp4",
    "eval result.mp4 --source clip.mp4 --weights run.jsonl --html run.jsonl",
    "mask clip.mp4 --style wave.png --mask keys -o keys/out.mp4",
    "mask clip.mp4 --style wave.png --mask keys/%06d.png -o keys",
    "mask clip.mp4 --style wave.png --mask keys -o keys/000000.png",
    "region clip.mp4 --style wave.png --map keys --style-map wave.png -o keys",
    "region clip.mp4 --style wave.png --map keys --style-map run.png -o run.png",
    "basic clip.mp4 --style wave.png -o wave.png",
    "basic keys --style wave.png -o keys/styled",
    "basic keys --style wave.png --rate 25 -o keys/out.mp4",
    "basic clip.mp4 --style wave.png --weights run.mp4 -o run.mp4",
    "basic clip.mp4 shoot/clip.mp4 --style keys/000000.png -o keys",
    "basic clip.mp4 --list list.txt --style wave.png -o .",
    "basic --list shoot/list.txt --style wave.png -o shoot",
    "basic keys -r --style wave.png -o keys/styled",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_overwrites_an_input(
    workspace: Path,
    command: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(workspace)
    grey(workspace / "run.png")
    shutil.copy("clip.mp4", "run.mp4")
    shutil.copy("list.txt", "shoot/list.txt")
    before = contents(workspace)
    more = ["--overwrite"] if command.startswith(("track", "eval")) else NO_STEPS
    assert main.main([*command.split(), *more]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("; choose an output apart from all inputs")
    assert contents(workspace) == before


def test_weights_from_the_environment_are_an_input(
    workspace: Path, clip: Path, style: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIDSTYLE_WEIGHTS", str(workspace / "run.mp4"))
    (workspace / "run.mp4").touch()
    with pytest.raises(UsageError, match="is also an input"):
        make_job(clip, workspace / "run.mp4", style=style)


def test_pictures_that_appear_during_tracking_are_not_replaced(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The fourth picture finds a file of another program."""
    monkeypatch.chdir(workspace)
    write = propagate.write_picture

    def writing(path: Path, *given: object, **named: object) -> None:
        if path.name == "000003.png" and not path.exists():
            path.write_text("mine")
        write(path, *given, **named)

    monkeypatch.setattr(propagate, "write_picture", writing)
    arguments = ["track", "shoot/clip.mp4", "--mask", "keys", "-o", "all"]
    assert main.main(arguments) == 2
    assert "all/000003.png appeared while frames were tracked" in capsys.readouterr().err
    assert (workspace / "all" / "000003.png").read_text() == "mine"
    assert sorted(path.name for path in (workspace / "all").iterdir()) == [
        f"{number:06d}.png" for number in range(4)
    ]
    assert main.main([*arguments, "--overwrite"]) == 0
    assert len(list((workspace / "all").iterdir())) == FRAMES


def test_a_page_that_appears_during_the_measurement_is_not_replaced(tmp_path: Path) -> None:
    found, album = Evaluation(1, (), {"contrast": 1.0}, {}), Album()
    page = tmp_path / "page.html"
    page.write_text("mine")
    (tmp_path / ".page.html.draft").write_text("mine too")
    with pytest.raises(UsageError, match="appeared while the video was measured"):
        write_report(page, "t", found, album)
    assert page.read_text() == "mine"
    write_report(page, "t", found, album, overwrite=True)
    assert page.read_text() != "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".page.html.draft", "page.html"]


@pytest.fixture
def make(clip: Path, style: Path, tmp_path: Path) -> Callable[..., Job]:
    (tmp_path / "made").mkdir()

    def build(name: str, source: Path = clip, **values: Any) -> Job:
        output = tmp_path / "made" / name
        return make_job(source, output, style=style, steps=0, steps_next=0, **values)

    return build


Appear = Callable[[Path], object]


@pytest.mark.parametrize(
    ("name", "appeared"),
    [
        ("out.mp4", lambda output: output.write_text("mine")),
        ("out.mp4", lambda output: output.symlink_to("nowhere")),
        ("out.mp4", lambda output: output.mkdir()),
        ("frames", lambda output: (output.mkdir(), (output / "000002.png").write_text("mine"))),
        ("frames", lambda output: output.write_text("mine")),
    ],
    ids=["file", "link", "folder", "picture", "file for a folder"],
)
@pytest.mark.parametrize("late", [False, True], ids=["while encoded", "at the last moment"])
def test_an_output_that_appears_during_the_run_is_not_replaced(
    make: Callable[..., Job], tmp_path: Path, name: str, appeared: Appear, *, late: bool
) -> None:
    job = make(name, write_clip(tmp_path / "short.mp4", 3))
    encode, write_manifest = media.encode, Checkpoint._write_manifest

    def encoding(*given: Any) -> list[str]:
        found = encode(*given)
        if not late:
            appeared(job.output)
        return found

    def writing(state: Checkpoint, published: dict[str, Any]) -> None:
        """Outputs are checked before the manifest names them, and renamed afterwards."""
        write_manifest(state, published)
        if late and published:
            appeared(job.output)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(media, "encode", encoding)
        patch.setattr(Checkpoint, "_write_manifest", writing)
        with pytest.raises(
            UsageError, match=r"appeared during the run.*--overwrite .* are kept in .*style"
        ):
            run(job)
    mine = job.output / "000002.png" if name == "frames" and job.output.is_dir() else job.output
    assert mine.is_dir() or mine.is_symlink() or mine.read_text() == "mine"
    shutil.rmtree(job.output) if job.output.is_dir() else job.output.unlink()
    assert run(job).stylized == 0  # from the frames that were kept


def test_an_output_that_appears_is_replaced_on_demand(
    make: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    job, encode = make("out.mp4", overwrite=True), media.encode

    def encoding(*given: Any) -> list[str]:
        job.output.write_text("mine")
        return encode(*given)

    monkeypatch.setattr(media, "encode", encoding)
    run(job)
    assert media.probe(job.output).frames == FRAMES
