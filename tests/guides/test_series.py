"""The reported assignment of masks to frames; labels saved as weights are refused."""

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from conftest import FRAMES, HEIGHT, WIDTH

from vidstyle import media
from vidstyle.cli import main
from vidstyle.errors import GuideError
from vidstyle.guides.files import GuideFile
from vidstyle.guides.guide import check_covers

NO_STEPS = ["--steps", "0", "--steps-next", "0"]


def save(path: Path, *, object_: int = 255, border: int = 0, ground: int = 0) -> Path:
    """Save an 8-bit mask of an object, optionally with a border."""
    pixels = np.full((HEIGHT, WIDTH), ground, np.uint8)
    pixels[20:70, 30:90] = object_
    if border:
        pixels[:3] = pixels[-3:] = border
    PIL.Image.fromarray(pixels).save(path)
    return path


def folder(path: Path, numbers: list[int]) -> Path:
    path.mkdir()
    for number in numbers:
        save(path / f"{number:06d}.png")
    return path


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ([], "one picture for all 6 frames"),
        ([*range(FRAMES)], "one picture for each of 6 frames"),
        ([0, 5], "2 key frames, tracked over 6 frames"),
        ([0, 1, 2, 4, 5], "5 key frames, tracked over 6 frames"),
    ],
)
def test_the_assignment_of_a_series_is_reported(
    clip: Path,
    style: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    numbers: list[int],
    message: str,
) -> None:
    mask = folder(tmp_path / "masks", numbers) if numbers else save(tmp_path / "mask.png")
    arguments = ["mask", str(clip), "--style", str(style), "--mask", str(mask), *NO_STEPS]
    assert main.main([*arguments, "-o", str(tmp_path / "a.mp4")]) == 0
    found = capsys.readouterr()
    assert found.out.splitlines()[0] == f"{mask}: {message}"
    nearly = len(numbers) == 5
    missing = f"vidstyle: {mask}: expected 6 pictures for one a frame, got 5, so"
    assert found.err.startswith(missing) is nearly
    assert ("draw frame 3 if" in found.err) is nearly
    assert main.main([*arguments, "-o", str(tmp_path / "b.mp4"), "-q"]) == 0
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err.startswith(missing) is nearly
    assert main.main([*arguments, "-o", str(tmp_path / "c.mp4"), "--json"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (event,) = [event for event in events if event["event"] == "guides"]
    taken = {0: "still", 6: "each"}.get(len(numbers), "keys")
    assert event == {
        "event": "guides", "path": str(mask), "taken": taken, "message": f"{mask}: {message}"
    }  # fmt: skip


def drawn(path: Path) -> GuideFile:
    clip = media.probe(path)
    return GuideFile(clip=clip, files=clip.files, still=clip.kind == "picture")


@pytest.mark.parametrize(
    ("values", "invert"),
    [
        ({"object_": 1, "border": 255}, False),
        ({"object_": 1, "border": 255}, True),
        ({"object_": 3, "border": 255}, False),
        ({"object_": 1}, True),
    ],
)
def test_labels_saved_as_a_mask_are_refused(
    tmp_path: Path, values: dict[str, int], invert: bool
) -> None:
    path = save(tmp_path / "mask.png", **values)
    with pytest.raises(GuideError, match=r"mask\.png: expected weights from 0 to 255, got a mask "):
        check_covers(drawn(path), invert=invert)


@pytest.mark.parametrize("value", [1, 3, 8])
def test_a_mask_of_labels_alone_is_refused(tmp_path: Path, value: int) -> None:
    path = save(tmp_path / "mask.png", object_=value)
    with pytest.raises(GuideError, match="if it was saved as 0 and 1, save it as 0 and 255"):
        check_covers(drawn(path))


def test_weights_that_resemble_labels_are_accepted(tmp_path: Path) -> None:
    check_covers(drawn(save(tmp_path / "a.png", ground=1)))  # no 0: a range that is not full
    check_covers(drawn(save(tmp_path / "b.png", object_=20, border=255)))
    check_covers(drawn(save(tmp_path / "c.png", object_=0)), invert=True)
    series = tmp_path / "fades in"
    series.mkdir()
    for number, value in enumerate((0, 4, 30, 255)):
        save(series / f"{number}.png", object_=value)
    check_covers(drawn(series))
    check_covers(drawn(series), invert=True)


def test_track_accepts_the_options_of_a_run(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = folder(tmp_path / "keys", [0, 5])
    arguments = ["track", str(clip), "--mask", str(keys), "--start", "0.06", "--end", "0.14"]
    assert main.main([*arguments, "-o", str(tmp_path / "part"), "-q"]) == 0
    assert capsys.readouterr() == ("", "")
    names = [path.name for path in sorted((tmp_path / "part").iterdir())]
    assert names == ["000002.png", "000003.png", "000004.png"]
    assert main.main([*arguments, "-o", str(tmp_path / "again"), "--json"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["event"] for event in events] == ["guides", "done"]
    assert events[-1] == {"event": "done", "output": str(tmp_path / "again"), "pictures": 3}
    assert main.main([*arguments, "-o", str(tmp_path / "no"), "--rate", "25"]) == 2
    assert "--rate: expected a folder" in capsys.readouterr().err
    save(keys / "000000.png", object_=1, border=255)
    assert main.main([*arguments, "-o", str(tmp_path / "no")]) == 3
    assert "a mask of labels" in capsys.readouterr().err


def test_track_and_eval_take_a_folder_as_a_sequence(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in photos.iterdir():
        PIL.Image.open(path).resize((48, 36)).save(path)
    arguments = ["eval", str(photos), "--source", str(photos), "--rate", "10"]
    assert main.main([*arguments, "-q", "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert (json.loads(line)["event"], json.loads(line)["frames"]) == ("done", 3)
    assert main.main([*arguments, "--start", "0.1", "--end", "0.3"]) == 3
    assert "expected as many frames as" in capsys.readouterr().err
    mask = tmp_path / "mask.png"
    PIL.Image.new("L", (48, 36), 255).save(mask)
    arguments = ["track", str(photos), "--mask", str(mask), "-o", str(tmp_path / "all")]
    assert main.main([*arguments, "--rate", "10", "--start", "0.1"]) == 0
    assert len(list((tmp_path / "all").iterdir())) == 2
