"""Masks of salient objects, over clips and photos: key frames, shots, stability, the same bytes."""

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
import segments

from vidstyle import media
from vidstyle.cli.main import main
from vidstyle.errors import GuideError
from vidstyle.guides.auto_masks import AutoMasks, KeyFrames
from vidstyle.jobs.job import Network, make_job
from vidstyle.jobs.pipeline import run, run_shard

HEIGHT, WIDTH = 64, 96


@pytest.fixture(autouse=True)
def networks(monkeypatch: pytest.MonkeyPatch) -> None:
    segments.install(monkeypatch)


def ground(seed: int) -> np.ndarray:
    """Grey-green texture, which does not stand out."""
    field = np.random.default_rng(seed).random((HEIGHT, WIDTH), np.float32)
    grey = 0.4 + 2 * (cv2.GaussianBlur(field, (0, 0), 2) - 0.5)
    return np.clip(np.dstack([grey, grey + 0.1, grey]), 0, 1).astype(np.float32)


def with_disc(picture: np.ndarray, x: int) -> np.ndarray:
    return cv2.circle(picture.copy(), (x, 32), 12, (0.9, 0.2, 0.2), cv2.FILLED)


def disc(x: int) -> np.ndarray:
    return cv2.circle(np.zeros((HEIGHT, WIDTH), np.uint8), (x, 32), 12, 1, cv2.FILLED) > 0


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / max(1, (one | other).sum()))


def save(folder: Path, frames: list[np.ndarray]) -> Path:
    folder.mkdir()
    for index, frame in enumerate(frames):
        pixels = np.rint(frame * 255).astype(np.uint8)
        PIL.Image.fromarray(pixels).save(folder / f"{index:06d}.png")
    return folder


def auto(folder: Path, warned: list[str] | None = None) -> AutoMasks:
    clip = media.probe(folder, rate=Fraction(25))
    warn = (warned if warned is not None else []).append
    return AutoMasks(clip, range(clip.frames), lambda _: (WIDTH, HEIGHT), warn)


MOVING = [with_disc(ground(0), 20 + 4 * index) for index in range(12)]


def test_the_mask_follows_the_salient_object(tmp_path: Path) -> None:
    masks = list(auto(save(tmp_path / "frames", MOVING)).masks())
    assert len(masks) == 12
    for index, mask in enumerate(masks):
        assert mask.dtype == np.float32
        assert overlap(mask > 0.5, disc(20 + 4 * index)) > 0.85


def test_key_frames_follow_change_and_begin_shots() -> None:
    still, other = [with_disc(ground(0), 40)] * 10, [with_disc(ground(1), 60)] * 10
    chosen = KeyFrames()
    found = [chosen.advance(frame) for frame in [*still, *other]]
    assert [index for index, (cut, _) in enumerate(found) if cut] == [0, 10]
    assert [index for index, (_, own) in enumerate(found) if own is not None] == [0, 10]
    chosen = KeyFrames()
    random = np.random.default_rng(2)
    moving = [with_disc(np.roll(ground(0), 9 * index, axis=1), 40) for index in range(10)]
    shaken = [np.clip(f + random.normal(0, 0.02, f.shape), 0, 1).astype("f4") for f in moving]
    assert sum(chosen.advance(frame)[1] is not None for frame in shaken) > 1


def test_a_frame_in_which_nothing_is_found_is_tracked_from_others(tmp_path: Path) -> None:
    """The first frame is of another colour, which the network does not see."""
    pale = [cv2.circle(MOVING[0].copy(), (20, 32), 12, (0.3, 0.6, 0.6), cv2.FILLED)]
    made = auto(save(tmp_path / "frames", [*pale * 2, *MOVING]))
    assert 0 not in made._keys
    assert len(list(made.masks())) == 14


def test_where_nothing_stands_out_there_is_one_sentence(tmp_path: Path) -> None:
    folder = save(tmp_path / "frames", [ground(0)] * 3)
    with pytest.raises(GuideError, match=f"^{folder}: expected a subject that stands out"):
        auto(folder).check()


def test_a_shot_in_which_nothing_stands_out_is_empty_with_a_warning(tmp_path: Path) -> None:
    warned: list[str] = []
    made = auto(save(tmp_path / "frames", [*MOVING[:4], *[ground(5)] * 4]), warned)
    made.check()
    masks = list(made.masks())
    assert len(warned) == 1
    assert "nothing stands out in frames 4 to 7" in warned[0]
    assert all(not mask.any() for mask in masks[4:])
    assert all(mask.any() for mask in masks[:4])


def test_a_clip_of_one_frame_has_a_mask(tmp_path: Path) -> None:
    (mask,) = auto(save(tmp_path / "frames", MOVING[:1])).masks()
    assert overlap(mask > 0.5, disc(20)) > 0.85


# Through the command line


def grey(path: Path) -> np.ndarray:
    return np.asarray(PIL.Image.open(path).convert("L"))


def test_track_writes_automatic_masks_and_their_background(tmp_path: Path) -> None:
    folder = save(tmp_path / "frames", MOVING[:4])
    for word, name in (("auto", "subject"), ("auto:background", "rest")):
        arguments = ["track", str(folder), "--rate", "25", "--mask", word, "-q"]
        assert (
            main([*arguments, "-o", str(tmp_path / name), "--preview", f"{tmp_path}/{name}.png"])
            == 0
        )
    files = sorted((tmp_path / "subject").iterdir())
    assert [file.name for file in files] == [f"{index:06d}.png" for index in range(4)]
    for index, file in enumerate(files):
        subject, rest = grey(file), grey(tmp_path / "rest" / file.name)
        assert overlap(subject > 127, disc(20 + 4 * index)) > 0.7
        assert abs(255 - subject.astype(int) - rest).max() <= 1
    sheet = np.asarray(PIL.Image.open(tmp_path / "subject.png"), np.float32)
    scale = 320 / WIDTH
    inside, outside = sheet[int(32 * scale), int(20 * scale)], sheet[int(5 * scale), 5]
    assert inside.mean() > 1.5 * outside.mean()


def test_photos_have_masks_of_their_own_and_are_turned_by_exif(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    turned = PIL.Image.Exif()
    turned[0x0112] = 6  # a quarter turn clockwise
    for name, exif in (("plain", PIL.Image.Exif()), ("turned", turned)):
        pixels = np.rint(MOVING[0] * 255).astype(np.uint8)
        PIL.Image.fromarray(pixels).save(folder / f"{name}.jpg", exif=exif, quality=95)
    assert main(["track", str(folder), "--mask", "auto", "-o", str(tmp_path / "m"), "-q"]) == 0
    plain, other = grey(tmp_path / "m" / "plain.png"), grey(tmp_path / "m" / "turned.png")
    assert overlap(plain > 127, disc(20)) > 0.85
    assert overlap(other > 127, np.rot90(disc(20), -1)) > 0.85


def test_a_photo_without_a_subject_is_named(tmp_path: Path, style: Path, capsys) -> None:
    folder = save(tmp_path / "photos", [MOVING[0], ground(3)])
    arguments = ["mask", str(folder), "--style", str(style), "--mask", "auto", "--steps", "0"]
    assert main([*arguments, "-o", str(tmp_path / "out")]) == 3
    said = capsys.readouterr().err
    assert "000001.png: expected a subject that stands out" in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_batch_goes_on_after_a_photo_without_a_subject(tmp_path: Path, style: Path) -> None:
    folder = save(tmp_path / "photos", [MOVING[0], ground(3)])
    arguments = ["mask", str(folder), "-r", "--style", str(style), "--mask", "auto", "--steps", "0"]
    assert main([*arguments, "-o", str(tmp_path / "out"), "-q"]) == 1
    assert [path.name for path in (tmp_path / "out").glob("*.png")] == ["000000.png"]


def test_an_unknown_word_after_auto_is_refused(clip: Path, style: Path, tmp_path: Path, capsys):
    arguments = ["mask", str(clip), "--style", str(style), "--mask", "auto:sky"]
    assert main([*arguments, "-o", str(tmp_path / "out.mp4")]) == 2
    assert "expected auto or auto:background, got auto:sky" in capsys.readouterr().err


# Saved state


class Marked:
    """A stylizer that draws the guide's planes, so that the state shows the masks."""

    def begin(self, *_: object) -> None:
        pass

    def stylize(self, frame, *, guide, prior=None, progress=None):
        from vidstyle.coherence.stylized import Stylized

        planes = np.repeat(guide.planes.mean(axis=2, keepdims=True), 3, axis=2)
        return Stylized(np.clip(planes.astype(np.float32), 0, 1))


def job(folder: Path, output: Path, style: Path, mask: object):
    options = {"steps": 1, "steps_next": 1, "technique": "mask", "keep_frames": True}
    return make_job(folder, output, style=style, mask=mask, rate=25, **options)


def state(output: Path) -> dict[str, bytes]:
    frames = Path(f"{output}.vidstyle") / "frames"
    return {path.name: path.read_bytes() for path in sorted(frames.glob("*.png"))}


def test_a_resumed_run_and_shards_end_with_the_same_bytes(tmp_path: Path, style: Path) -> None:
    second = [with_disc(ground(1), 70 - 4 * index) for index in range(6)]
    folder = save(tmp_path / "frames", [*MOVING[:6], *second])
    make = lambda *_: Marked()  # noqa: E731
    network = Network(digest="0")
    whole, sharded, stopped = (
        job(folder, tmp_path / name, style, ["auto", "auto:background"])
        for name in ("whole", "sharded", "stopped")
    )
    run(whole, make_stylizer=make, network=network)
    for shard in ((2, 2), (1, 2)):
        run_shard(sharded, shard, make_stylizer=make, network=network)
    run(sharded, make_stylizer=make, network=network)
    left = iter([False] * 14)
    with pytest.raises(Exception, match="cancel"):
        run(stopped, make_stylizer=make, network=network, cancel=lambda: next(left, True))
    run(stopped, make_stylizer=make, network=network)
    assert len(state(whole.output)) >= 12
    assert state(whole.output) == state(sharded.output) == state(stopped.output)


def test_the_manifest_names_the_network_of_an_automatic_mask(tmp_path: Path, style: Path) -> None:
    from vidstyle.segmentation.models import SALIENCY

    folder = save(tmp_path / "frames", MOVING[:2])
    found = job(folder, tmp_path / "out", style, "auto").manifest(media.probe(folder), None)
    assert found["guides"] == [{"made": "auto", "network": SALIENCY.sha256}]
