"""Outputs have the source's frames, times, colours and sound, and reproducible bytes."""

import subprocess
import sys
import tracemalloc
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import PIL.Image
import pytest
from media_inputs import disc, ffmpeg, write_clip, write_gif, write_rotated

from vidstyle import media
from vidstyle.errors import OutputError, UsageError


def _copy(source: Path, output: Path, start: float | None = None, end: float | None = None):
    """Encode a source's own frames; return (clip, indices, clip of the output, warnings)."""
    clip = media.probe(source)
    indices = media.select(clip, start, end)
    part = output.with_name(f"part{output.suffix}")
    media.check_output(clip, output)
    frames = media.read(clip, indices)
    warnings = media.encode(clip, indices, frames, output, part)
    assert not output.exists()
    return clip, indices, media.probe(part), warnings


def _seconds(clip: media.Clip, indices: range | None = None) -> np.ndarray:
    stamps = clip.timestamps if indices is None else clip.timestamps[indices.start : indices.stop]
    return np.array([float(stamp * clip.time_base) for stamp in stamps])


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
@pytest.mark.parametrize("offset", [0, 30])
def test_every_container_keeps_count_times_and_length(
    tmp_path: Path, suffix: str, offset: int
) -> None:
    path = write_clip(tmp_path / "a.mkv", [0, 1, 2, 5, 9, 10], offset=offset)
    clip, _, result, warnings = _copy(path, tmp_path / f"out{suffix}")
    np.testing.assert_allclose(_seconds(result), _seconds(clip), atol=0.001)
    assert result.duration == pytest.approx(clip.duration, abs=0.0011)
    assert (result.width, result.height, warnings) == (64, 48, [])


def test_an_ntsc_rate_stays_exact(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", list(range(9)), rate=Fraction(30000, 1001))
    clip, _, result, _ = _copy(path, tmp_path / "out.mp4")
    assert result.rate == clip.rate == Fraction(30000, 1001)
    assert result.duration == clip.duration


def _sound(path: Path) -> tuple[list[bytes], float, float, str | None]:
    """Return the packets, first and last second, and language of the sound."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        first, last = packets[0], packets[-1]
        end = float((last.pts + last.duration) * last.time_base)
        return [bytes(p) for p in packets], float(first.pts * first.time_base), end, stream.language


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_sound_is_copied_untouched_with_its_language(tmp_path: Path, suffix: str) -> None:
    path = write_clip(tmp_path / "a.mp4", list(range(20)), sound=True)
    _, _, _, warnings = _copy(path, tmp_path / f"out{suffix}")
    before, after = _sound(path), _sound(tmp_path / f"part{suffix}")
    unheard = before[1] < 0 and suffix == ".mkv"  # encoder delay, before time 0
    assert after[0] == before[0][unheard:]
    assert after[1] == pytest.approx(0 if unheard else before[1], abs=0.001)
    assert after[2] == pytest.approx(before[2], abs=0.001)
    assert after[3] == "fra"
    assert warnings == []


def test_sound_that_a_container_refuses_is_re_encoded_and_reported(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", list(range(20)), sound=True)
    _, _, result, warnings = _copy(path, tmp_path / "out.webm")
    assert [stream.codec for stream in result.streams] == ["vp9", "opus"]
    assert _sound(tmp_path / "part.webm")[2] == pytest.approx(_sound(path)[2], abs=0.03)
    assert len(warnings) == 1
    assert warnings[0].startswith("audio stream 1 (aac, fra): it cannot be copied into webm")


def test_a_part_begins_at_zero_with_its_own_sound(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", list(range(20)), sound=True)
    clip, indices, result, _ = _copy(path, tmp_path / "out.mp4", 0.2, 0.6)
    expected = _seconds(clip, indices)
    assert indices == range(5, 15)
    np.testing.assert_allclose(_seconds(result), expected - expected[0], atol=0.001)
    _, first, end, _ = _sound(tmp_path / "part.mp4")
    assert 0 <= first < 0.03
    assert end == pytest.approx(0.4, abs=0.03)


def test_a_beginning_has_no_sound_beyond_its_end(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", list(range(20)), sound=True)
    _copy(path, tmp_path / "out.mp4", None, 0.4)
    assert _sound(tmp_path / "part.mp4")[2] == pytest.approx(0.4, abs=0.03)


def test_the_result_of_a_rotated_clip_stands_upright_without_a_tag(tmp_path: Path) -> None:
    path = write_rotated(write_clip(tmp_path / "a.mp4", [0, 1]), tmp_path / "turned.mp4", 90)
    clip, _, result, _ = _copy(path, tmp_path / "out.mp4")
    assert (clip.rotation, result.rotation) == (90, 0)
    before, after = next(media.read(clip, range(1))), next(media.read(result, range(1)))
    assert after.shape == (64, 48, 3)
    assert np.abs(before - after).mean() < 0.02


def test_an_odd_size_is_padded_and_reported(tmp_path: Path) -> None:
    clip = media.probe(write_clip(tmp_path / "a.mp4", [0, 1]))
    frames = [disc(0, 33, 21), disc(1, 33, 21)]
    part = tmp_path / "part.mp4"
    warnings = media.encode(clip, range(2), frames, tmp_path / "out.mp4", part)
    result = media.probe(part)
    assert (result.width, result.height) == (34, 22)
    assert "33x21 was widened to 34x22" in warnings[0]


_PATCHES = np.array(
    [
        (0, 0, 0), (255, 255, 255), (128, 128, 128), (200, 30, 30), (30, 200, 30), (30, 30, 200),
        (200, 200, 30), (30, 200, 200), (200, 30, 200), (230, 180, 150), (90, 60, 30), (20, 60, 90),
    ]
)  # fmt: skip


@pytest.mark.parametrize(("width", "suffix"), [(64, ".mp4"), (64, ".webm"), (240, ".mkv")])
def test_colours_survive_for_another_decoder(tmp_path: Path, width: int, suffix: str) -> None:
    height = 720 if width == 240 else 48
    clip = media.probe(write_clip(tmp_path / "a.mp4", [0]))
    row = np.repeat(_PATCHES, width // 4, axis=0).astype(np.float32) / 255
    image = np.broadcast_to(row, (height, len(row), 3))
    part = tmp_path / f"part{suffix}"
    media.encode(
        clip, range(1), [image], tmp_path / f"out{suffix}", part, media.EncodingOptions(crf=4)
    )
    raw = ffmpeg("-i", str(part), "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
    shown = np.frombuffer(raw, np.uint8).reshape(image.shape).astype(int)
    step = width // 4
    centres = shown[height // 2, step // 2 :: step]
    assert np.abs(centres - _PATCHES).max() <= 3
    own = next(media.read(media.probe(part), range(1)))[height // 2, step // 2 :: step]
    assert np.abs(own * 255 - _PATCHES).max() <= 3
    with av.open(str(part)) as container:
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_range) == (1, 1)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".gif"])
def test_the_same_frames_give_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    path = write_clip(tmp_path / "a.mp4", list(range(6)), sound=True)
    _copy(path, tmp_path / f"out{suffix}")
    first = (tmp_path / f"part{suffix}").read_bytes()
    _copy(path, tmp_path / f"out{suffix}")
    assert (tmp_path / f"part{suffix}").read_bytes() == first


def test_a_gif_keeps_every_frame_its_duration_and_how_often_it_repeats(tmp_path: Path) -> None:
    path = write_gif(tmp_path / "a.gif", [50, 200, 70, 30])
    clip, _, result, warnings = _copy(path, tmp_path / "out.gif")
    assert (result.timestamps, result.end) == (clip.timestamps, clip.end)
    assert warnings == []
    with PIL.Image.open(tmp_path / "part.gif") as picture:
        assert picture.info["loop"] == 3
    before, after = list(media.read(clip, range(4))), list(media.read(result, range(4)))
    assert np.abs(np.array(before) - np.array(after)).mean() < 0.02


def test_identical_frames_of_a_gif_are_not_merged(tmp_path: Path) -> None:
    clip = media.probe(write_gif(tmp_path / "a.gif", [50, 200, 70]))
    part = tmp_path / "part.gif"
    media.encode(clip, range(3), [disc(0)] * 3, tmp_path / "out.gif", part)
    assert media.probe(part).timestamps == (0, 50, 250)


def test_an_animation_becomes_a_video_of_variable_rate_and_back(tmp_path: Path) -> None:
    path = write_gif(tmp_path / "a.gif", [50, 200, *[20] * 8, 40, *[20] * 6])
    clip, _, video, _ = _copy(path, tmp_path / "out.mp4")
    np.testing.assert_allclose(_seconds(video), _seconds(clip), atol=0.001)
    assert video.duration == clip.duration
    _, _, back, _ = _copy(tmp_path / "part.mp4", tmp_path / "out.gif")
    assert back.timestamps == clip.timestamps


def test_a_gif_of_a_fast_video_rounds_each_time_by_itself_and_warns(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", list(range(6)), rate=Fraction(60))
    clip, _, result, warnings = _copy(path, tmp_path / "out.gif")
    np.testing.assert_allclose(_seconds(result), _seconds(clip), atol=0.0051)
    assert "0.02 s" in warnings[0]


def test_a_png_stays_a_png_without_loss(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    PIL.Image.fromarray(pixels).save(tmp_path / "a.png")
    _copy(tmp_path / "a.png", tmp_path / "out.png")
    with PIL.Image.open(tmp_path / "part.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), pixels)


def test_photos_keep_their_names_and_their_kind_where_it_can_be_written(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.png", "b.jpg", "c.gif", "c.png", "d.ppm"):
        PIL.Image.fromarray((disc(0) * 255).astype(np.uint8)).save(folder / name)
    clip = media.probe(folder)
    part = tmp_path / "part"
    media.encode(clip, range(5), media.read(clip, range(5)), tmp_path / "out", part)
    names = sorted(file.name for file in part.iterdir())
    assert names == ["a.png", "b.jpg", "c.gif.png", "c.png.png", "d.png"]
    assert media.read_picture(part / "b.jpg").shape == (48, 64, 3)


def test_the_frames_of_a_video_become_numbered_pictures(tmp_path: Path) -> None:
    clip = media.probe(write_clip(tmp_path / "a.mp4", list(range(5))))
    frames, part = list(media.read(clip, range(2, 4))), tmp_path / "part"
    media.encode(clip, range(2, 4), frames, tmp_path / "out", part)
    assert sorted(file.name for file in part.iterdir()) == ["000002.png", "000003.png"]
    np.testing.assert_allclose(media.read_picture(part / "000002.png"), frames[0], atol=0.003)


def test_a_sequence_becomes_a_video_of_its_rate(tmp_path: Path) -> None:
    for step in range(4):
        PIL.Image.fromarray((disc(step) * 255).astype(np.uint8)).save(tmp_path / f"{step}.png")
    clip = media.probe(tmp_path, rate=Fraction(24000, 1001))
    part = tmp_path / "part.mp4"
    frames = media.read(clip, range(4))
    media.encode(clip, range(4), frames, tmp_path / "out.mp4", part)
    assert (media.probe(part).rate, media.probe(part).frames) == (Fraction(24000, 1001), 4)


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("name", ["out.mp4", "out.gif", "out"])
def test_a_wrong_number_of_frames_is_refused(tmp_path: Path, name: str, count: int) -> None:
    clip = media.probe(write_clip(tmp_path / "a.mp4", [0, 1, 2]))
    frames = [disc(0)] * count
    part = tmp_path / f"part{Path(name).suffix}"
    with pytest.raises(OutputError, match="expected 3 frames"):
        media.encode(clip, range(3), frames, tmp_path / name, part)


def _source(folder: Path, kind: str) -> media.Clip:
    if kind == "video":
        return media.probe(write_clip(folder / "a.mp4", [0, 1]))
    (folder / "in").mkdir()
    PIL.Image.new("RGB", (8, 8)).save(folder / "in" / "a.png")
    return media.probe(folder / "in" / ("a.png" if kind == "picture" else ""))


@pytest.mark.parametrize(
    ("kind", "output", "sentence"),
    [
        ("video", "out.xyz", "expected one of .mp4"),
        ("video", "out.png", "expected a video, an animation"),
        ("video", "a.mp4", "is also an input"),
        ("picture", "out.mp4", "expected a picture"),
        ("picture", "in", "contains the input"),
        ("photos", "out.mp4", "expected a folder for 1 photos"),
        ("photos", "out.png", "expected a folder for 1 photos"),
        ("photos", "in", "is also an input"),
        ("photos", "file", "expected a folder, got a file"),
    ],
)
def test_an_impossible_output_is_refused(
    tmp_path: Path, kind: str, output: str, sentence: str
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=sentence):
        media.check_output(_source(tmp_path, kind), tmp_path / output)


_FULL = """
import resource, sys
from pathlib import Path
from vidstyle import media
from vidstyle.errors import OutputError
import numpy as np
clip = media.probe(sys.argv[1])
output = Path(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
frames = (np.random.default_rng(i).random((48, 64, 3), np.float32) for i in range(clip.frames))
try:
    media.encode(clip, range(clip.frames), frames, output, output.with_stem("part"))
except OutputError as error:
    print(error)
"""


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.gif", "out"])
def test_a_full_disk_is_reported_in_one_sentence(tmp_path: Path, name: str) -> None:
    path = write_clip(tmp_path / "a.mp4", list(range(8)), sound=True)
    command = [sys.executable, "-c", _FULL, str(path), str(tmp_path / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("cannot write")
    assert done.stderr == ""


@pytest.mark.parametrize("name", ["out.mp4", "out.gif", "out"])
def test_memory_does_not_grow_with_the_number_of_frames(tmp_path: Path, name: str) -> None:
    clip = media.probe(write_clip(tmp_path / "a.mp4", list(range(120)), sound=True))
    part = tmp_path / f"part{Path(name).suffix}"

    def peak(count: int) -> int:
        tracemalloc.start()
        indices = range(count)
        media.encode(clip, indices, media.read(clip, indices), tmp_path / name, part)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(10)  # imports
    assert peak(120) < peak(30) + 5 * 64 * 48 * 12  # five more frames at most
