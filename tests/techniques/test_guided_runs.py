"""Runs with masks and maps: reading, tracking, refusals; all techniques on all kinds of source."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from conftest import FRAMES, HEIGHT, WIDTH
from tiny import LAYERS, TinyEncoder

from vidstyle import media
from vidstyle.cli import main
from vidstyle.errors import GuideError, UsageError, VidstyleError
from vidstyle.guides.guide import Guide
from vidstyle.jobs import pipeline as runs
from vidstyle.jobs.job import Job, Network, make_job
from vidstyle.jobs.pipeline import run
from vidstyle.stylizer.protocol import IdentityStylizer, Stylized
from vidstyle.stylizer.stylizer import Stylizer
from vidstyle.techniques import TECHNIQUES

RED, BLUE, GREEN = (255, 0, 0), (0, 0, 255), (0, 255, 0)


class RecordingStylizer(IdentityStylizer):
    """A stylizer that returns the content and records the guides it is given."""

    def __init__(self) -> None:
        self.guides: list[Guide] = []
        self.styles: Any = ()

    def stylize(self, content: Any, *, guide: Any, prior: Any, progress: Any) -> Any:
        self.guides.append(guide)
        return Stylized(content, {})

    def __call__(self, job: Job, styles: Any, network: Any) -> "RecordingStylizer":
        self.styles = styles
        return self


def square(index: int) -> np.ndarray:
    """Return the area of the bright square of conftest's scene, bool [H, W]."""
    inside = np.zeros((HEIGHT, WIDTH), bool)
    inside[30:62, 8 + 4 * index : 40 + 4 * index] = True
    return inside


def save_mask(path: Path, index: int) -> Path:
    PIL.Image.fromarray(square(index).astype(np.uint8) * 255).save(path)
    return path


def save_map(path: Path, inside: np.ndarray, colours: Any = (RED, BLUE)) -> Path:
    picture = np.where(inside[..., None], np.uint8(colours[0]), np.uint8(colours[1]))
    PIL.Image.fromarray(picture.astype(np.uint8)).save(path)
    return path


def folder_of(path: Path, save: Callable[[Path, int], Path], frames: range | list[int]) -> Path:
    path.mkdir()
    for index in frames:
        save(path / f"{index:06d}.png", index)
    return path


@pytest.fixture
def make(tmp_path: Path, clip: Path, style: Path) -> Callable[..., Job]:
    def build(technique: str, source: Path = clip, output: str = "out.mp4", **values: Any) -> Job:
        given = {"steps": 0, "steps_next": 0, "style": style, **values}
        return make_job(source, tmp_path / output, technique=technique, **given)

    return build


@pytest.fixture
def maps(tmp_path: Path) -> dict[str, Path]:
    """A map of the first frame and one of the style, both red on blue."""
    lower = np.tile(np.arange(HEIGHT)[:, None] > 50, (1, WIDTH))
    return {
        "map": save_map(tmp_path / "map.png", square(0)),
        "style_map": save_map(tmp_path / "style_map.png", lower),
    }


def guides_of_run(job: Job) -> list[Guide]:
    recorder = RecordingStylizer()
    run(job, make_stylizer=recorder)
    return recorder.guides


def test_a_single_mask_is_used_for_every_frame(make: Callable[..., Job], tmp_path: Path) -> None:
    found = guides_of_run(make("mask", mask=save_mask(tmp_path / "m.png", 2)))
    assert len(found) == FRAMES
    for guide in found:
        assert np.array_equal(guide.planes[..., 0], square(2))


def test_each_frame_has_its_own_mask(make: Callable[..., Job], tmp_path: Path) -> None:
    masks = folder_of(tmp_path / "masks", save_mask, range(FRAMES))
    for index, guide in enumerate(guides_of_run(make("mask", mask=masks))):
        assert np.array_equal(guide.planes[..., 0], square(index))


def test_masks_are_those_of_the_selected_frames(make: Callable[..., Job], tmp_path: Path) -> None:
    masks = folder_of(tmp_path / "masks", save_mask, range(FRAMES))
    found = guides_of_run(make("mask", mask=masks, start=0.1))
    assert len(found) == 3
    for index, guide in enumerate(found, start=3):
        assert np.array_equal(guide.planes[..., 0], square(index))


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


def test_key_frames_are_propagated_to_the_frames_between(
    make: Callable[..., Job], tmp_path: Path
) -> None:
    keys = folder_of(tmp_path / "keys", save_mask, [0, FRAMES - 1])
    for index, guide in enumerate(guides_of_run(make("mask", mask=keys))):
        assert overlap(guide.planes[..., 0] > 0.5, square(index)) > 0.85


def test_a_part_is_tracked_from_the_key_frame_before_it(
    make: Callable[..., Job], tmp_path: Path, maps: dict[str, Path]
) -> None:
    keys = folder_of(tmp_path / "keys", lambda path, i: save_map(path, square(i)), [0])
    found = guides_of_run(make("region", map=keys, style_map=maps["style_map"], start=0.1))
    for index, guide in enumerate(found, start=3):
        red = guide.planes[..., guide.names.index("#ff0000")] > 0.5
        assert overlap(red, square(index)) > 0.85


def test_regions_of_frame_and_style_correspond_by_colour(
    make: Callable[..., Job], maps: dict[str, Path]
) -> None:
    recorder = RecordingStylizer()
    run(make("region", **maps), make_stylizer=recorder)
    guide, style_guide = recorder.guides[0], recorder.styles[0].guide
    assert sorted(guide.names) == sorted(style_guide.names) == ["#0000ff", "#ff0000"]
    assert np.array_equal(guide.planes[..., guide.names.index("#ff0000")], square(0))
    assert style_guide.planes[60:, :, style_guide.names.index("#ff0000")].all()
    assert not style_guide.planes[:50, :, style_guide.names.index("#ff0000")].any()


def test_regions_restricts_the_labels_of_the_map(
    make: Callable[..., Job], maps: dict[str, Path]
) -> None:
    found = guides_of_run(make("region", regions="#ff0000", **maps))
    assert found[0].names == ("#ff0000",)


def test_the_source_of_a_doodle_is_its_map(
    make: Callable[..., Job], tmp_path: Path, maps: dict[str, Path]
) -> None:
    doodles = folder_of(
        tmp_path / "doodles", lambda path, i: save_map(path, square(i)), range(FRAMES)
    )
    found = guides_of_run(make("doodle", doodles, rate=12, style_map=maps["style_map"]))
    for index, guide in enumerate(found):
        assert np.array_equal(guide.planes[..., guide.names.index("#ff0000")], square(index))


def refusals(folder: Path) -> dict[str, tuple[dict[str, Any], type[VidstyleError], str]]:
    """Return invalid requests by name: the job's values, the error and a part of its message."""
    tall = PIL.Image.new("L", (96, 128), 255)
    tall.save(folder / "tall.png")
    PIL.Image.new("L", (WIDTH, HEIGHT), 0).save(folder / "black.png")
    mask = save_mask(folder / "fine.png", 0)
    green = save_map(folder / "green.png", square(0), (GREEN, BLUE))
    red = save_map(folder / "red.png", square(0))
    many = folder_of(folder / "many", save_mask, range(9))
    late = folder_of(folder / "late", save_mask, [0, 99])
    noise = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    PIL.Image.fromarray(noise).save(folder / "noise.png")
    mapped = {"style_map": red}
    return {
        "no mask": ({"technique": "mask"}, UsageError, "--mask"),
        "mask for basic": ({"technique": "basic", "mask": mask}, UsageError, "takes none"),
        "other proportions": (
            {"technique": "mask", "mask": folder / "tall.png"}, GuideError, "96x"
        ),
        "black mask": ({"technique": "mask", "mask": folder / "black.png"}, GuideError, "white"),
        "too many masks": ({"technique": "mask", "mask": many}, GuideError, "got 9"),
        "key beyond the end": ({"technique": "mask", "mask": late}, GuideError, "got 99"),
        "no map": ({"technique": "region", **mapped}, UsageError, "--map"),
        "no style map": ({"technique": "region", "map": red}, UsageError, "--style-map"),
        "half of the maps": ({"technique": "patch", "map": red}, UsageError, "--style-map"),
        "a colour no style has": (
            {"technique": "region", "map": green, **mapped}, GuideError, "#00ff00"
        ),
        "many colours": (
            {"technique": "region", "map": folder / "noise.png", **mapped}, GuideError, "map"
        ),
        "an unknown region": (
            {"technique": "region", "map": red, "regions": "#123456", **mapped},
            GuideError,
            "#123456",
        ),
        "two maps for one style": ({"technique": "region", "map": red, "style_map": [red, red]},
                                 UsageError, "for each --style"),
    }  # fmt: skip


NAMES = (
    "no mask", "mask for basic", "other proportions", "black mask", "too many masks",
    "key beyond the end", "no map", "no style map", "half of the maps", "a colour no style has",
    "many colours", "an unknown region", "two maps for one style",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_an_invalid_guide_is_refused_in_one_sentence(
    make: Callable[..., Job], tmp_path: Path, name: str
) -> None:
    values, error, words = refusals(tmp_path)[name]
    with pytest.raises(error) as caught:
        run(make(**values), make_stylizer=RecordingStylizer())
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unmatched_keep_leaves_a_colour_that_no_style_has_unchanged(
    make: Callable[..., Job], tmp_path: Path, maps: dict[str, Path]
) -> None:
    green = save_map(tmp_path / "green.png", square(0), (GREEN, BLUE))
    found = guides_of_run(make("region", map=green, style_map=maps["style_map"], unmatched="keep"))
    assert found[0].names == ("#0000ff",)
    assert not found[0].planes[square(0)].any()


def guides_of(technique: str, folder: Path, maps: dict[str, Path]) -> dict[str, Any]:
    """Return the guides that a technique accepts."""
    accepted = TECHNIQUES[technique].inputs.accepted
    mask = {"mask": save_mask(folder / "mask.png", 0)} if "mask" in accepted else {}
    return {**mask, **{name: path for name, path in maps.items() if name in accepted}}


SMALL = {"style_layers": LAYERS, "content_layers": LAYERS[1:2], "steps": 3, "steps_next": 2}


def tiny(job: Job, styles: Any, _: Any) -> Stylizer:
    return Stylizer(styles, technique=job.technique, settings=job.settings, encoder=TinyEncoder())


@pytest.fixture
def without_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "find_network", lambda *_: Network())


@pytest.mark.usefixtures("without_weights")
@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("kind", ["picture", "photos", "clip"])
def test_every_technique_runs_on_a_still_on_photos_and_on_a_clip(
    make: Callable[..., Job],
    tmp_path: Path,
    maps: dict[str, Path],
    technique: str,
    kind: str,
) -> None:
    drawn = save_map(tmp_path / "drawn.png", square(1))
    folder = folder_of(tmp_path / "two", lambda path, i: save_map(path, square(i)), range(2))
    drawings = folder_of(tmp_path / "six", lambda path, i: save_map(path, square(i)), range(FRAMES))
    sources = {"picture": (drawn, "out.png"), "photos": (folder, "out")}
    sources["clip"] = (drawings, "out.mp4")
    source, output = sources[kind]
    rate = {"rate": 24} if kind == "clip" else {}
    values = {**SMALL, **rate, **guides_of(technique, tmp_path, maps)}
    outcome = run(make(technique, source, output, **values), make_stylizer=tiny)
    assert outcome.stylized == {"picture": 1, "photos": 2, "clip": FRAMES}[kind]
    assert media.probe(tmp_path / output).frames == outcome.frames


@pytest.mark.usefixtures("without_weights")
@pytest.mark.parametrize("technique", ["mask", "patch"])
def test_a_resumed_run_gives_the_bytes_of_an_uninterrupted_one(
    make: Callable[..., Job], tmp_path: Path, maps: dict[str, Path], technique: str
) -> None:
    values = {**SMALL, **guides_of(technique, tmp_path, maps)}
    whole, broken = (make(technique, output=name, **values) for name in ("a.mp4", "b.mp4"))
    run(whole, make_stylizer=tiny)

    class BreakError(Exception):
        """An exception that ends a run early."""

    def stop(event: Any) -> None:
        if event.name == "frame" and event.index == 2:
            raise BreakError

    with pytest.raises(BreakError):
        run(broken, stop, make_stylizer=tiny)
    assert run(broken, make_stylizer=tiny).stylized == FRAMES - 3
    assert broken.output.read_bytes() == whole.output.read_bytes()


def test_a_changed_mask_is_refused_on_resume(make: Callable[..., Job], tmp_path: Path) -> None:
    mask = save_mask(tmp_path / "m.png", 0)

    def stop(event: Any) -> None:
        if event.name == "frame":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(make("mask", mask=mask), stop, make_stylizer=RecordingStylizer())
    save_mask(mask, 3)
    with pytest.raises(VidstyleError, match="mask"):
        run(make("mask", mask=mask), make_stylizer=RecordingStylizer())


def test_options_of_a_technique_appear_under_its_command_only(
    clip: Path, style: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mask = save_mask(tmp_path / "m.png", 0)
    given = [str(clip), "-o", str(tmp_path / "o.mp4"), "--style", str(style), "--dry-run"]
    assert main.main(["mask", *given, "--mask", str(mask), "--invert-mask", "--feather", "3"]) == 0
    assert main.main(["basic", *given, "--invert-mask"]) == 2
    assert "--invert-mask" in capsys.readouterr().err


def test_tracked_masks_are_written_one_per_frame(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = folder_of(tmp_path / "keys", save_mask, [0])
    assert main.main(["track", str(clip), "--mask", str(keys), "-o", str(tmp_path / "all")]) == 0
    assert "6 pictures" in capsys.readouterr().out
    written = sorted((tmp_path / "all").iterdir())
    assert [path.name for path in written] == [f"{i:06d}.png" for i in range(FRAMES)]
    last = media.read_picture(written[-1])[..., 0] > 0.5
    assert overlap(last, square(FRAMES - 1)) > 0.75
    assert main.main(["track", str(clip), "--mask", str(keys), "-o", str(tmp_path / "all")]) == 2


def test_tracked_maps_keep_their_colours(clip: Path, tmp_path: Path) -> None:
    keys = folder_of(tmp_path / "keys", lambda path, i: save_map(path, square(i)), [0, 5])
    assert main.main(["track", str(clip), "--map", str(keys), "-o", str(tmp_path / "all")]) == 0
    middle = np.asarray(PIL.Image.open(tmp_path / "all" / "000003.png"))
    assert {tuple(colour) for colour in middle.reshape(-1, 3).tolist()} == {RED, BLUE}
