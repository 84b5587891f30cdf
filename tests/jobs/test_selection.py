"""`vidstyle select` and `track --refine`: objects by clicks and boxes, tracked over a clip."""

from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
import segments

from vidstyle.cli.commands.select import objects_of
from vidstyle.cli.main import main
from vidstyle.guides.mending import Mender
from vidstyle.jobs.selection import Mark
from vidstyle.segmentation import sam

HEIGHT, WIDTH, FRAMES = 64, 96, 8
SURE = np.ones((HEIGHT, WIDTH), np.float32)  # confidence of a propagated mask


@pytest.fixture(autouse=True)
def decoder(monkeypatch: pytest.MonkeyPatch) -> segments.Decoder:
    return segments.install(monkeypatch)


def frame(index: int, seed: int = 0) -> np.ndarray:
    """A red disc that moves right and a blue square that stays, on grey texture: uint8."""
    field = np.random.default_rng(seed).random((HEIGHT, WIDTH), np.float32)
    grey = np.clip(110 + 200 * (cv2.GaussianBlur(field, (0, 0), 2) - 0.5), 0, 255)
    picture = np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
    picture[disc(index)] = (230, 40, 40)
    picture[square()] = (30, 40, 220)
    return picture


def disc(index: int) -> np.ndarray:
    centre = (24 + 2 * index, 24)
    return cv2.circle(np.zeros((HEIGHT, WIDTH), np.uint8), centre, 12, 1, cv2.FILLED) > 0


def square() -> np.ndarray:
    area = np.zeros((HEIGHT, WIDTH), bool)
    area[42:60, 70:90] = True
    return area


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "frames"
    folder.mkdir()
    for index in range(FRAMES):
        PIL.Image.fromarray(frame(index)).save(folder / f"{index:06d}.png")
    return folder


def overlap(path: Path, true: np.ndarray) -> float:
    found = np.asarray(PIL.Image.open(path).convert("L")) > 127
    return float((found & true).sum() / (found | true).sum())


def select(source: Path, output: Path, *given: str) -> int:
    return main(["select", str(source), "--rate", "25", "-o", str(output), "-q", *given])


def test_a_clicked_object_has_a_mask_on_every_frame(source: Path, tmp_path: Path) -> None:
    out, sheet = tmp_path / "subject", tmp_path / "sheet.png"
    given = ["--click", "24,24", "--exclude", "80,50", "--preview", str(sheet)]
    assert select(source, out, *given) == 0
    files = sorted(out.iterdir())
    assert [file.name for file in files] == [f"{index:06d}.png" for index in range(FRAMES)]
    for index, file in enumerate(files):
        assert overlap(file, disc(index)) > 0.8, index
    with PIL.Image.open(sheet) as picture:
        assert picture.size[0] == 4 * 320


def test_a_later_click_on_the_tracked_mask_corrects_it(
    source: Path, tmp_path: Path, decoder: segments.Decoder
) -> None:
    asked: list[bool] = []
    run = decoder.run

    def recorded(names: list[str], inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        places = inputs["point_coords"][0] * (WIDTH / 1024)
        if any(np.allclose(place, click) for place in places for click in ((33, 27), (79, 50))):
            asked.append(bool(inputs["has_mask_input"][0]) and 2 in inputs["point_labels"])
        return run(names, inputs)

    decoder.run = recorded  # type: ignore[method-assign]
    clicks = ["--click", "24,24", "--click", "33,27@0.17"]  # frame 4
    assert select(source, tmp_path / "out", *clicks) == 0
    assert asked == [True]
    asked.clear()
    beside = ["--click", "24,24", "--click", "79,50@0.17"]  # the square, not tracked
    assert select(source, tmp_path / "other", *beside) == 0
    assert asked == [False]


def test_a_click_at_a_time_is_a_key_frame_there_and_tracked_both_ways(
    source: Path, tmp_path: Path
) -> None:
    assert select(source, tmp_path / "out", "--click", "32,24@0.17") == 0  # frame 4
    assert overlap(tmp_path / "out" / "000004.png", disc(4)) > 0.9
    for index in (0, 7):
        assert overlap(tmp_path / "out" / f"{index:06d}.png", disc(index)) > 0.7


def test_objects_have_folders_of_their_own(source: Path, tmp_path: Path) -> None:
    given = ["--object", "disc", "--click", "24,24", "--object", "square", "--box", "70,42,90,60"]
    assert select(source, tmp_path / "out", *given) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["disc", "square"]
    for index in (0, FRAMES - 1):
        assert overlap(tmp_path / "out" / "disc" / f"{index:06d}.png", disc(index)) > 0.7
        assert overlap(tmp_path / "out" / "square" / f"{index:06d}.png", square()) > 0.7


def test_labels_give_a_map_of_regions(source: Path, tmp_path: Path) -> None:
    given = ["--click", "24,24", "--label", "#ff0000"]
    given += ["--object", "square", "--click", "80,50", "--label", "0000ff"]
    assert select(source, tmp_path / "map", *given) == 0
    drawn = np.asarray(PIL.Image.open(tmp_path / "map" / "000005.png").convert("RGB"))
    colors = {tuple(int(v) for v in color) for color in np.unique(drawn.reshape(-1, 3), axis=0)}
    assert colors == {(0, 0, 0), (255, 0, 0), (0, 0, 255)}


def test_a_photo_has_a_mask_of_its_name(tmp_path: Path) -> None:
    PIL.Image.fromarray(frame(0)).save(tmp_path / "cat.png")
    given = ["select", f"{tmp_path}/cat.png", "--grabcut", "--box", "8,8,40,40", "-q"]
    assert main([*given, "-o", str(tmp_path / "out")]) == 0
    assert overlap(tmp_path / "out" / "cat.png", disc(0)) > 0.9


def test_the_shot_without_a_click_is_black_with_a_warning(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for index in range(FRAMES, FRAMES + 4):
        pixels = frame(index, seed=9)[::-1, ::-1]
        PIL.Image.fromarray(np.ascontiguousarray(pixels)).save(source / f"{index:06d}.png")
    assert select(source, tmp_path / "out", "--click", "24,24") == 0
    assert "nothing is selected in the shot that begins at frame 8" in capsys.readouterr().err
    assert not np.asarray(PIL.Image.open(tmp_path / "out" / "000010.png")).any()


@pytest.mark.parametrize(
    ("given", "code", "message"),
    [
        ([], 2, "expected a --click X,Y or a --box"),
        (["--exclude", "4,4"], 2, "expected a click on the object or a box around it, got none"),
        (["--click", "4"], 2, "--click: expected X,Y[@TIME], got '4'"),
        (["--box", "1,2,3"], 2, "--box: expected X0,Y0,X1,Y1[@TIME]"),
        (["--click", "400,3"], 2, "--click 400,3: expected a place within the picture of 96 x 64"),
        (["--click=-4,3"], 2, "expected a place within"),
        (["--click", "24,24@9"], 2, "expected a time within the frames that are selected, got 9 s"),
        (["--box", "5,5,5,20"], 2, "got a box of no area"),
        (["--box", "5,5,9,20", "--box", "1,1,4,4"], 2, "expected one at a time for an object"),
        (["--object", "a/b", "--click", "1,1"], 2, "expected the name of a folder, got 'a/b'"),
        (["--object", "a", "--object", "b", "--click", "1,1"], 2, "--object a: expected a --click"),
        (["--label", "red", "--click", "1,1"], 3, "expected ('#0000ff'"),
    ],
)
def test_bad_input_is_one_sentence(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    given: list[str], code: int, message: str,
) -> None:  # fmt: skip
    assert select(source, tmp_path / "out", *given) == code
    said = capsys.readouterr().err
    assert message in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_without_the_extra_one_sentence_says_what_to_install(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    monkeypatch.setattr(sam, "has_click_model", lambda: False)
    assert select(source, tmp_path / "out", "--click", "24,24") == 2
    assert 'pip install "vidstyle[subject]"' in capsys.readouterr().err
    keys = tmp_path / "keys"
    keys.mkdir()
    PIL.Image.fromarray(disc(0).astype(np.uint8) * 255).save(keys / "000000.png")
    arguments = ["track", str(source), "--rate", "25", "--mask", str(keys), "--refine"]
    assert main([*arguments, "-o", str(tmp_path / "t")]) == 2
    assert 'pip install "vidstyle[subject]"' in capsys.readouterr().err
    assert select(source, tmp_path / "out", "--grabcut", "--box", "8,8,40,40") == 0


def test_marks_belong_to_the_object_before_them() -> None:
    given = [("click", "1,2@0.5"), ("object", "b"), ("box", "1,2,3,4"), ("exclude", "5,6")]
    first, second = objects_of(tuple(given))
    assert (first.name, first.marks) == (None, [Mark("click", (1, 2), 0.5)])
    assert second.name == "b"
    assert second.marks == [Mark("box", (1, 2, 3, 4)), Mark("exclude", (5, 6))]


# Mending


def test_a_carried_mask_is_mended_every_few_frames_if_the_model_agrees() -> None:
    mend = Mender()
    carried = np.roll(disc(5), 3, axis=1).astype(np.float32)[..., None]
    found = [mend(index, frame(5), carried, SURE) for index in range(1, 12)]
    mended = [index for index, planes in enumerate(found, 1) if planes is not None]
    assert mended == [5, 10]
    planes = found[4][..., 0] > 0.5
    assert (planes & disc(5)).sum() / (planes | disc(5)).sum() > 0.9
    far = np.zeros((HEIGHT, WIDTH, 1), np.float32)
    far[:48, :68] = 1  # the model's answer, a disc, is not like it
    assert all(mend(index, frame(5), far, SURE) is None for index in range(12, 24))


def test_an_object_that_was_lost_is_found_by_its_look() -> None:
    """The propagated mask is elsewhere, and not reliable: the key frame says what is meant."""
    lost = np.zeros((HEIGHT, WIDTH, 1), np.float32)
    lost[40:56, 6:22] = 1
    unsure = np.zeros((HEIGHT, WIDTH), np.float32)
    mend = Mender()
    mend.at_key(0, frame(0), disc(0).astype(np.float32)[..., None])
    planes = mend.at_last(2, frame(2), lost, unsure)
    assert planes is not None
    found = planes[..., 0] > 0.5
    assert (found & disc(2)).sum() / (found | disc(2)).sum() > 0.8
    assert mend.at_last(2, frame(2), lost, unsure) is None  # once a frame


def test_where_the_model_disagrees_the_expected_mask_is_taken(decoder, monkeypatch) -> None:
    mend = Mender()
    mend.at_key(0, frame(0), disc(0).astype(np.float32)[..., None])
    everything = np.full((1, 1, 256, 256), 8, np.float32)
    everything[..., :60, :128] = -8
    monkeypatch.setattr(decoder, "run", lambda names, inputs: [everything])
    lost = np.zeros((HEIGHT, WIDTH, 1), np.float32)
    planes = mend.at_last(2, frame(2), lost, np.zeros((HEIGHT, WIDTH), np.float32))
    assert planes is not None
    found = planes[..., 0] > 0.5
    assert (found & disc(2)).sum() / (found | disc(2)).sum() > 0.7


def test_a_carried_mask_that_has_not_drifted_stays() -> None:
    """The key frame's mask is smaller than the model's answer: by as much may it differ later."""
    small = cv2.erode(disc(5).astype(np.uint8), np.ones((5, 5), np.uint8))
    planes = small.astype(np.float32)[..., None]
    carried = np.roll(planes, 2, axis=1)
    for mend, mended in ((Mender(), True), (Mender(), False)):
        if not mended:
            mend.at_key(0, frame(5), planes)
        found = [mend(index, frame(5), carried, SURE) for index in range(1, 6)]
        assert (found[-1] is not None) == mended


def test_refined_tracks_keep_key_frames_as_they_are(source: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    for index in (0, 6):
        soft = cv2.GaussianBlur(disc(index).astype(np.uint8) * 255, (0, 0), 1.5)
        PIL.Image.fromarray(soft).save(keys / f"{index:06d}.png")
    arguments = ["track", str(source), "--rate", "25", "--mask", str(keys), "--refine", "-q"]
    assert main([*arguments, "-o", str(tmp_path / "out")]) == 0
    for index in (0, 6):
        key, out = (
            np.asarray(PIL.Image.open(at / f"{index:06d}.png").convert("L"))
            for at in (keys, tmp_path / "out")
        )
        assert np.array_equal(key, out)
    assert overlap(tmp_path / "out" / "000003.png", disc(3)) > 0.8


def test_refine_needs_key_frames_of_a_mask(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    PIL.Image.fromarray(disc(0).astype(np.uint8) * 255).save(tmp_path / "mask.png")
    arguments = ["track", str(source), "--rate", "25", "--refine", "-o", str(tmp_path / "out")]
    assert main([*arguments, "--mask", f"{tmp_path}/mask.png"]) == 2
    assert "--refine: expected key frames in" in capsys.readouterr().err
    assert main([*arguments, "--map", f"{tmp_path}/mask.png"]) == 2
    assert "--refine: expected --mask, got --map" in capsys.readouterr().err
