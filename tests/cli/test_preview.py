"""`vidstyle preview`: the contact sheet, its rows, its columns, its errors."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from vidstyle import media
from vidstyle.cli import main
from vidstyle.errors import UsageError
from vidstyle.jobs.job import make_job
from vidstyle.jobs.plan import survey
from vidstyle.jobs.preview import Moment

Preview = Callable[..., int]
WIDTH, GAP = 128, 5  # of the clip; between cells


@pytest.fixture
def preview(clip: Path, style: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Preview:
    """Run `vidstyle preview clip.mp4 --style wave.png` with 0 steps; return the exit code."""
    monkeypatch.chdir(tmp_path)

    def command(*more: str, source: str = "clip.mp4", output: str = "sheet.png") -> int:
        words = ["preview", source, "-o", output, "--steps", "0", "--steps-next", "0"]
        return main.main([*words, "--style", "wave.png", *more])

    return command


def columns(path: str = "sheet.png") -> int:
    with PIL.Image.open(path) as sheet:
        return (sheet.width - GAP) // (WIDTH + GAP)


def test_rows_are_times_and_columns_are_the_source_and_each_style(
    preview: Preview, clip: Path, style: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    style.with_name("b.png").write_bytes(style.read_bytes())
    assert preview("--at", "0", "--at", "5f", "--style", "b.png", "--json") == 0
    done = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert done == {"event": "done", "output": "sheet.png", "pictures": 4}
    assert columns() == 3
    found = np.asarray(PIL.Image.open("sheet.png").convert("RGB"), np.float32) / 255
    for row, index in enumerate((0, 5)):
        (frame,) = media.read(media.probe(clip), range(index, index + 1))
        top = 2 * 22 + row * (96 + 22 + GAP)
        for column in range(3):
            left = GAP + column * (WIDTH + GAP)
            cell = found[top : top + 96, left : left + WIDTH]
            assert np.abs(cell - frame).max() < 2 / 255


@pytest.mark.parametrize(
    ("more", "count"),
    [
        (["--blend", "--style", "b.png"], 2),
        (["--style", "b.png"], 3),
        (["--technique", "mask", "--mask", "m.png", "--style", "b.png"], 3),
        (["--technique", "mask", "--mask", "m.png", "--mask", "m.png", "--style", "b.png"], 2),
    ],
)
def test_styles_that_belong_together_are_one_column(
    preview: Preview, style: Path, more: list[str], count: int
) -> None:
    style.with_name("b.png").write_bytes(style.read_bytes())
    PIL.Image.new("L", (WIDTH, 96), 255).save("m.png")
    assert preview(*more) == 0
    assert columns() == count


def test_weights_blend(preview: Preview, style: Path) -> None:
    words = ["preview", "clip.mp4", "-o", "sheet.png", "--steps", "0", "--steps-next", "0"]
    assert main.main([*words, "--style", "wave.png=0.7", "--style", "wave.png=0.3"]) == 0
    assert columns() == 2


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--at", "9"], "--at: expected a time in clip.mp4, from 0 to 0.20 seconds, got 9"),
        (["--at", "6f"], "--at: expected a frame of clip.mp4 from 0f to 5f, got 6f"),
        (["--at", "-1f"], "--at: expected seconds from the start"),
        (["--at=nan"], "--at: expected seconds from the start (3.2) or a frame (48f), got 'nan'"),
        (["--feather", "3"], "feather: the technique basic has no such option"),
        (["--technique", "mask"], "mask: expected --mask PICTURE"),
        (["--crf", "3"], "unrecognized arguments"),
    ],
)
def test_wrong_usage_gets_one_sentence(
    preview: Preview, more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    more = [f"{more[0]}={more[1]}"] if more[-1] == "-1f" else more
    assert preview(*more) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not Path("sheet.png").exists()


def test_no_file_is_lost(preview: Preview, style: Path, clip: Path) -> None:
    before = style.read_bytes()
    assert preview("--overwrite", output="wave.png") == 2
    assert preview("--overwrite", output="clip.mp4") == 2
    assert preview(output="none/sheet.png") == 2
    assert preview() == 0
    first = Path("sheet.png").read_bytes()
    assert preview("--at", "0") == 2
    assert Path("sheet.png").read_bytes() == first
    assert preview("--at", "0", "--overwrite") == 0
    assert Path("sheet.png").read_bytes() != first
    assert style.read_bytes() == before


def test_photos_are_named_by_number(preview: Preview, photos: Path) -> None:
    assert preview("--at", "2", source="photos") == 2
    assert preview("--at", "2f", "--at", "0f", source="photos") == 0


@pytest.mark.parametrize(("text", "frame"), [("0", 0), ("0.0334", 1), ("0.1", 2), ("0.19", 5)])
def test_a_time_is_the_frame_shown_then(clip: Path, style: Path, text: str, frame: int) -> None:
    work = survey(make_job(clip, "out.mp4", style=style), print, count=False)
    assert Moment.parse(text).position(work) == frame


def test_a_frame_far_in_is_read_from_the_key_frame_before_it(tmp_path: Path) -> None:
    from conftest import write_clip

    path = write_clip(tmp_path / "long.mp4", 400)
    clip = media.probe(path)
    counted = media.probe_headers(path)
    assert (counted.timestamps, counted.frames) == (clip.timestamps, clip.frames)
    every: list[Any] = list(media.read(clip, range(400)))
    for index in (0, 13, 249, 250, 251, 399):
        assert np.array_equal(media.read_frame(counted, index, 128), every[index])


def test_moments_are_parsed() -> None:
    assert Moment.parse("48f") == Moment(frame=48)
    assert Moment.parse("3.2") == Moment(seconds=3.2)
    for text in ("f", "1.5f", "-1", "inf", "²f"):
        with pytest.raises(UsageError):
            Moment.parse(text)
