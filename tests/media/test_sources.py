"""Probing: sizes, times, counts; unusable sources are refused in one sentence."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from media_inputs import disc, write_clip, write_gif, write_rotated

from vidstyle import media
from vidstyle.errors import MediaError, UsageError


def test_a_constant_rate_is_an_exact_fraction_and_every_frame_is_counted(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", list(range(8)), rate=Fraction(30000, 1001))
    clip = media.probe(path)
    assert (clip.kind, clip.width, clip.height, clip.frames) == ("video", 64, 48, 8)
    assert (clip.rate, clip.variable, clip.counted) == (Fraction(30000, 1001), False, True)
    assert clip.duration == pytest.approx(8 * 1001 / 30000)


def test_declared_and_decoded_counts_agree_for_an_intact_file(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", [0, 1, 2, 5, 9])
    quick, exact = media.probe(path, count=False), media.probe(path)
    assert (quick.frames, quick.duration) == (exact.frames, exact.duration)
    assert quick.timestamps is None


def test_uneven_gaps_are_a_variable_rate(tmp_path: Path) -> None:
    clip = media.probe(write_clip(tmp_path / "a.mkv", [0, 1, 2, 5, 9]))
    assert clip.variable
    assert clip.timestamps == (0, 40, 80, 200, 360)


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_rotated_clip_is_read_upright(tmp_path: Path, turn: int) -> None:
    path = write_rotated(write_clip(tmp_path / "a.mp4", [0, 1]), tmp_path / "turned.mp4", turn)
    clip = media.probe(path)
    plain = next(media.read(media.probe(tmp_path / "a.mp4"), range(1)))
    upright = next(media.read(clip, range(1)))
    assert clip.rotation == turn
    assert upright.shape == (clip.height, clip.width, 3)
    np.testing.assert_array_equal(upright, np.rot90(plain, -turn // 90))


def test_a_pixel_aspect_widens_the_frame(tmp_path: Path) -> None:
    clip = media.probe(write_clip(tmp_path / "a.mp4", [0, 1], aspect=Fraction(16, 11)))
    assert (clip.width, clip.height, clip.pixel_aspect) == (94, 48, Fraction(16, 11))
    assert next(media.read(clip, range(1))).shape == (48, 94, 3)


def test_reading_a_range_gives_exactly_those_frames(tmp_path: Path) -> None:
    clip = media.probe(write_clip(tmp_path / "a.mp4", list(range(10))))
    everything = list(media.read(clip, range(10)))
    some = list(media.read(clip, range(3, 6)))
    np.testing.assert_array_equal(some, everything[3:6])


def test_a_range_in_seconds_selects_frames_by_their_time(tmp_path: Path) -> None:
    clip = media.probe(write_clip(tmp_path / "a.mkv", [0, 1, 2, 5, 9]))
    assert media.select(clip, None, None) == range(5)
    assert media.select(clip, 0.04, 0.2) == range(1, 3)
    with pytest.raises(MediaError, match="expected frames from 5 s"):
        media.select(clip, 5, 6)


def test_a_truncated_file_is_noted(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mkv", list(range(60)), noisy=True)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    clip = media.probe(path)
    assert 0 < clip.frames < 60
    assert any("cut short" in note for note in clip.notes)


def test_a_gif_has_exact_durations_and_0_is_read_as_a_tenth_of_a_second(tmp_path: Path) -> None:
    clip = media.probe(write_gif(tmp_path / "a.gif", [50, 200, 0, 70]))
    assert (clip.kind, clip.frames, clip.variable) == ("animation", 4, True)
    assert (clip.timestamps, clip.end) == ((0, 50, 250, 350), 420)
    assert len(list(media.read(clip, range(1, 4)))) == 3


def test_a_folder_is_photos_in_natural_order_and_a_sequence_with_a_rate(tmp_path: Path) -> None:
    for number in (10, 9, 1):
        PIL.Image.new("RGB", (8 + number, 6)).save(tmp_path / f"p{number}.png")
    (tmp_path / "notes.txt").write_text("no picture")
    photos = media.probe(tmp_path)
    assert [file.name for file in photos.files] == ["p1.png", "p9.png", "p10.png"]
    assert (photos.kind, photos.sizes) == ("photos", ((9, 6), (17, 6), (18, 6)))
    sequence = media.probe(tmp_path, rate=Fraction(24000, 1001))
    assert (sequence.kind, sequence.time_base) == ("sequence", Fraction(1001, 24000))
    assert {image.shape for image in media.read(sequence, range(3))} == {(6, 9, 3)}
    assert {image.shape[1] for image in media.read(photos, range(3))} == {9, 17, 18}


def test_a_pattern_lists_its_pictures_and_notes_missing_numbers(tmp_path: Path) -> None:
    for number in (1, 2, 4):
        PIL.Image.new("RGB", (8, 6)).save(tmp_path / f"{number:05d}.png")
    clip = media.probe(tmp_path / "%05d.png", rate=Fraction(25))
    assert (clip.kind, clip.frames) == ("sequence", 3)
    assert clip.notes == ("1 of the numbers 1 to 4 are missing: left out",)


def test_photos_have_no_time_to_select(tmp_path: Path) -> None:
    PIL.Image.new("RGB", (8, 6)).save(tmp_path / "a.png")
    with pytest.raises(UsageError, match="expected a source that has time, got photos"):
        media.select(media.probe(tmp_path), 0, 1)


def test_a_probe_is_plain_json(tmp_path: Path) -> None:
    clip = media.probe(write_clip(tmp_path / "a.mp4", [0, 1], rate=Fraction(30000, 1001)))
    plain = json.loads(json.dumps(media.as_json(clip)))
    assert (plain["rate"], plain["frames"], plain["start"]) == ("30000/1001", 2, 0.0)


def _no_source(folder: Path, name: str) -> Path:
    path = folder / name
    if name == "empty.mp4":
        path.touch()
    elif name in ("text.mp4", "text.png", "text.txt"):
        path.write_text("#EXTM3U but in truth only words\n" * 20)
    elif name == "sound.mp4":
        write_clip(path, [], sound=True)
    elif name == "hollow.png":
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 50)
    elif name == "folder":
        path.mkdir()
    return path


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("missing.mp4", "no such file"),
        ("missing/%03d.png", "No such file"),
        ("%03d.png", "no file that matches"),
        ("folder", "no picture in it"),
        ("empty.mp4", "empty file"),
        ("text.mp4", "neither"),
        ("text.txt", "expected a picture or a video"),
        ("text.png", "neither"),
        ("sound.mp4", "without a video stream"),
        ("hollow.png", "damaged or cut short|expected a picture"),
    ],
)
def test_unusable_sources_are_refused_in_one_sentence(
    tmp_path: Path, name: str, sentence: str
) -> None:
    with pytest.raises(MediaError, match=sentence) as caught:
        media.probe(_no_source(tmp_path, name))
    assert "\n" not in str(caught.value)


def test_a_damaged_photo_is_found_before_any_work(tmp_path: Path) -> None:
    PIL.Image.fromarray((disc(0) * 255).astype(np.uint8)).save(tmp_path / "a.jpg")
    data = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "b.jpg").write_bytes(data[: len(data) // 2])
    with pytest.raises(MediaError, match=r"b\.jpg.*damaged or cut short"):
        media.probe(tmp_path)


def test_a_rate_for_a_single_file_is_refused(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", [0, 1])
    with pytest.raises(UsageError, match="--rate"):
        media.probe(path, rate=Fraction(24))


def test_an_unknown_codec_is_refused_in_one_sentence(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", [0, 1])
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zz11"))
    with pytest.raises(MediaError, match="in an unsupported codec"):
        media.probe(path)


def test_a_gif_truncated_within_a_header_is_refused_in_one_sentence(tmp_path: Path) -> None:
    path = write_gif(tmp_path / "a.gif", [50])
    path.write_bytes(path.read_bytes()[:-1] + b",\0")
    with pytest.raises(MediaError, match="damaged or cut short"):
        media.probe(path)
