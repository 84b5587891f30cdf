"""Sound, subtitles, chapters, covers, attachments and tags: copied, converted or reported."""

from pathlib import Path

import av
import numpy as np
import PIL.Image
import pytest
from media_inputs import ffmpeg, write_clip

from vidstyle import media

_SRT = """1
00:00:00,100 --> 00:00:00,500
words <i>here</i>

2
00:00:01,000 --> 00:00:01,800
more
"""
_HEAD = """;FFMETADATA1
title=Night
odd_tag=x
[CHAPTER]
TIMEBASE=1/1000
START=0
END=400
title=One
[CHAPTER]
TIMEBASE=1/1000
START=400
END=2000
title=Two
"""


@pytest.fixture
def full(tmp_path: Path) -> Path:
    """A Matroska file with sound, subtitles, chapters, titles, a font and a cover."""
    clip = write_clip(tmp_path / "a.mkv", list(range(50)), sound=True)
    (tmp_path / "a.srt").write_text(_SRT)
    (tmp_path / "a.ffmeta").write_text(_HEAD)
    (tmp_path / "font.ttf").write_bytes(b"not a font")
    PIL.Image.new("RGB", (16, 16), "red").save(tmp_path / "cover.jpg")
    inputs = [word for name in (clip, "a.srt", "a.ffmeta") for word in ("-i", str(tmp_path / name))]
    maps = ["-map", "0", "-map", "1", "-map_metadata", "2", "-map_chapters", "2", "-c", "copy"]
    attached = [
        "-attach", str(tmp_path / "font.ttf"), "-metadata:s:t:0", "mimetype=font/ttf",
        "-attach", str(tmp_path / "cover.jpg"), "-metadata:s:t:1", "mimetype=image/jpeg",
        "-metadata:s:t:1", "filename=cover.jpg", "-metadata:s:s:0", "language=deu",
    ]  # fmt: skip
    ffmpeg(*inputs, *maps, *attached, str(tmp_path / "full.mkv"))
    return tmp_path / "full.mkv"


def _copy(source: Path, suffix: str, start: float | None = None) -> tuple[Path, list[str]]:
    clip = media.probe(source)
    indices = media.select(clip, start, None)
    part = source.with_name(f"part{suffix}")
    frames = media.read(clip, indices)
    return part, media.encode(clip, indices, frames, source.with_name(f"out{suffix}"), part)


def _kinds(path: Path) -> list[tuple[str, str]]:
    with av.open(str(path)) as container:
        return [
            (stream.type, stream.codec_context.name if stream.codec_context else stream.name)
            for stream in container.streams
            if stream.type != "data"  # the names of chapters
        ]


def _subtitles(path: Path) -> str:
    """Return the subtitles as the ffmpeg program reads them."""
    return ffmpeg("-i", str(path), "-map", "0:s:0", "-f", "srt", "-").decode()


_CONVERTED = "does not support it, so it was re-encoded"
_LOST = "cannot hold it, so it was left out"


@pytest.mark.parametrize(
    ("suffix", "kinds", "expected_warnings"),
    [
        (
            ".mkv",
            [("video", "h264"), ("audio", "aac"), ("subtitle", "srt"), ("attachment", "font.ttf"),
             ("video", "mjpeg")],
            [],
        ),
        (
            ".mp4",
            [("video", "h264"), ("audio", "aac"), ("subtitle", "mov_text"), ("video", "mjpeg")],
            [f"subtitle stream 2 (srt, deu): mp4 {_CONVERTED}", f"font.ttf): mp4 {_LOST}",
             "mp4 cannot hold these tags of the file: ODD_TAG"],
        ),
        (
            ".mov",
            [("video", "h264"), ("audio", "aac"), ("subtitle", "mov_text")],
            [f"subtitle stream 2 (srt, deu): mov {_CONVERTED}", f"font.ttf): mov {_LOST}",
             f"video stream 4 (mjpeg): mov {_LOST}", "mov cannot hold these tags"],
        ),
        (
            ".webm",
            [("video", "vp9"), ("audio", "opus"), ("subtitle", "webvtt")],
            ["audio stream 1 (aac, fra): it cannot be copied into webm, so it was re-encoded",
             f"subtitle stream 2 (srt, deu): webm {_CONVERTED}", f"font.ttf): webm {_LOST}",
             f"video stream 4 (mjpeg): webm {_LOST}"],
        ),
    ],
)  # fmt: skip
def test_every_stream_is_copied_converted_or_reported(
    full: Path, suffix: str, kinds: list[tuple[str, str]], expected_warnings: list[str]
) -> None:
    part, warnings = _copy(full, suffix)
    assert _kinds(part) == kinds
    assert len(warnings) == len(expected_warnings)
    for warning, words in zip(warnings, expected_warnings, strict=True):
        assert words in warning
    assert "00:00:00,100 --> 00:00:00,500\nwords" in _subtitles(part)
    assert "00:00:01,000 --> 00:00:01,800\nmore" in _subtitles(part)
    with av.open(str(part)) as container:
        assert container.metadata["title"] == "Night"
        ends = [float(chapter["end"] * chapter["time_base"]) for chapter in container.chapters()]
        assert ends == [0.4, 2.0]
        assert [chapter["metadata"]["title"] for chapter in container.chapters()] == ["One", "Two"]
        assert container.streams.subtitles[0].language == ("ger" if suffix == ".mov" else "deu")


def test_a_cover_keeps_its_picture(full: Path) -> None:
    for suffix in (".mkv", ".mp4"):
        part, _ = _copy(full, suffix)
        cover = ffmpeg("-i", str(part), "-map", "0:v:1", "-frames:v", "1", "-f", "rawvideo",
                       "-pix_fmt", "rgb24", "-")  # fmt: skip
        pixels = np.frombuffer(cover, np.uint8).reshape(16, 16, 3)
        assert np.abs(pixels[8, 8].astype(int) - (254, 0, 0)).max() < 6


def test_converted_subtitles_keep_italics(full: Path) -> None:
    part, _ = _copy(full, ".mp4")
    source = part.rename(part.with_name("again.mp4"))
    back, warnings = _copy(source, ".mkv")
    assert ("subtitle", "srt") in _kinds(back)
    assert "subtitle stream 2 (mov_text, deu): matroska does not support it" in warnings[0]
    assert "<i>here</i>" in _subtitles(back)


def test_a_part_has_the_subtitles_of_its_interval_at_their_times(full: Path) -> None:
    for suffix in (".mkv", ".mp4"):
        part, _ = _copy(full, suffix, start=0.8)
        assert _subtitles(part).strip() == "1\n00:00:00,200 --> 00:00:01,000\nmore"
        assert ("video", "mjpeg") in _kinds(part)


@pytest.mark.parametrize("suffix", [".mov", ".mp4", ".mkv"])
def test_a_timecode_is_copied_with_the_whole_clip_and_reported_with_an_interval(
    tmp_path: Path, suffix: str
) -> None:
    clip = write_clip(tmp_path / "a.mp4", list(range(30)))
    source = tmp_path / "camera.mov"
    ffmpeg("-i", str(clip), "-c", "copy", "-timecode", "01:00:00:00", str(source))
    part, warnings = _copy(source, suffix)
    assert warnings == []
    with av.open(str(part)) as container:
        tags = {name.lower(): tag for name, tag in container.streams.video[0].metadata.items()}
    assert tags["timecode"] == "01:00:00:00"
    _, warnings = _copy(source, suffix, start=0.4)
    assert warnings[0].startswith("data stream 1")
    assert (".mkv" in warnings[0]) == (suffix != ".mkv")  # does not advise the format in use
