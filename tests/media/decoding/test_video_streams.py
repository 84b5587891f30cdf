"""Choice of the main video stream; handling of the others; unknown side data."""

import io
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import av
import numpy as np
import PIL.Image
import pytest
from av.sidedata.sidedata import Type
from av.stream import Disposition
from media_inputs import disc, ffmpeg, write_clip, write_cropped

from vidstyle import media
from vidstyle.errors import MediaError
from vidstyle.media.decoding.streams import candidates, has_side_data

_NONE, _DEFAULT = Disposition(0), Disposition.default

_COPIED = "video stream 0 (h264): not the main video stream, so it was copied unchanged"


class _Track(NamedTuple):
    """A video stream: (width, height), number of frames, disposition."""

    size: tuple[int, int]
    frames: int
    disposition: Disposition = _NONE


def _write(path: Path, *tracks: _Track) -> Path:
    with av.open(str(path), "w") as out:
        streams = []
        for track in tracks:
            stream = out.add_stream("libx264", rate=25)
            stream.width, stream.height = track.size
            stream.pix_fmt, stream.disposition = "yuv420p", track.disposition
            streams.append(stream)
        for stream, track in zip(streams, tracks, strict=True):
            for index in range(track.frames):
                pixels = (disc(index, *track.size) * 255).astype(np.uint8)
                out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            out.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("tracks", "film"),
    [
        (
            (_Track((320, 180), 1, _DEFAULT), _Track((64, 48), 9)),
            1,
        ),  # never a still
        ((_Track((64, 48), 1), _Track((96, 48), 9)), 1),
        ((_Track((96, 48), 9), _Track((64, 48), 9, _DEFAULT)), 1),  # the default
        ((_Track((96, 48), 5, _DEFAULT), _Track((64, 48), 9, _DEFAULT)), 1),  # the longest
        ((_Track((64, 48), 20), _Track((96, 48), 19)), 1),  # about as long: the largest
        ((_Track((64, 48), 9), _Track((64, 48), 9)), 0),  # of equals the first
        ((_Track((96, 48), 1),), 0),  # a still by itself
    ],
)
def test_the_main_stream_is_the_default_else_the_longest_and_largest(
    tmp_path: Path, tracks: tuple[_Track, ...], film: int
) -> None:
    clip = media.probe(_write(tmp_path / "a.nut", *tracks))
    assert (clip.width, clip.height) == tracks[film].size
    assert clip.frames == tracks[film].frames
    assert next(media.read(clip, range(1))).shape == (*tracks[film].size[::-1], 3)
    assert sum(f"stream {film} (h264, " in note for note in clip.notes) == (len(tracks) > 1)


@pytest.mark.parametrize("source", [".mkv", ".mp4"])
@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov", ".webm"])
def test_other_video_streams_are_copied_or_reported(
    tmp_path: Path, source: str, suffix: str
) -> None:
    path = _write(
        tmp_path / f"a{source}",
        _Track((320, 180), 1, _DEFAULT if source == ".mkv" else _NONE),
        _Track((64, 48), 9, _DEFAULT),
    )
    clip = media.probe(path)
    part = tmp_path / f"part{suffix}"
    frames = (frame[:32] for frame in media.read(clip, range(9)))
    warnings = media.encode(clip, range(9), frames, tmp_path / f"out{suffix}", part)
    if suffix == ".webm":
        assert "video stream 0 (h264): webm cannot hold it, so it was left out" in warnings[0]
    else:
        assert warnings == [
            "video stream 0 (h264): not the main video stream, so it was copied unchanged"
        ]
    result = media.probe(part)
    assert (result.width, result.height, result.frames) == (64, 32, 9)
    assert len(result.streams) == (1 if suffix == ".webm" else 2)


def test_a_cover_is_not_the_main_stream(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", list(range(5)))
    PIL.Image.new("RGB", (640, 480), "red").save(tmp_path / "cover.jpg")
    ffmpeg("-i", str(tmp_path / "cover.jpg"), "-i", str(clip), "-map", "0", "-map", "1", "-c",
           "copy", "-disposition:v:0", "attached_pic", str(tmp_path / "b.mp4"))  # fmt: skip
    found = media.probe(tmp_path / "b.mp4")
    assert (found.width, found.frames, found.notes) == (64, 5, ())


def test_the_crop_of_another_track_is_not_applied(tmp_path: Path) -> None:
    write_cropped(
        write_clip(tmp_path / "a.mp4", list(range(5))), tmp_path / "b.mp4", width=40, height=30
    )
    _write(tmp_path / "c.mp4", _Track((320, 180), 9))
    inputs = ["-i", str(tmp_path / "b.mp4"), "-i", str(tmp_path / "c.mp4")]
    for film, size in ((0, (40, 30)), (1, (320, 180))):
        chosen = [f"-disposition:v:{film}", "default", f"-disposition:v:{1 - film}", "0"]
        joined = tmp_path / f"{film}.mov"
        ffmpeg(*inputs, "-map", "0", "-map", "1", "-c", "copy", *chosen, str(joined))
        clip = media.probe(joined)
        assert (clip.width, clip.height) == size


@pytest.mark.parametrize("kind", [Disposition.still_image, Disposition.timed_thumbnails])
def test_stills_and_thumbnails_are_not_candidates(kind: Disposition) -> None:
    beside = SimpleNamespace(disposition=kind | Disposition.default, time_base=Fraction(1, 25))
    film = SimpleNamespace(disposition=Disposition(0), time_base=Fraction(1, 25))

    def within(*streams: SimpleNamespace) -> Any:
        return SimpleNamespace(streams=SimpleNamespace(video=streams))

    assert candidates(within(beside, film)) == [film]
    assert candidates(within(beside)) == [beside]


def test_an_unknown_main_codec_is_refused_and_no_preview_used_instead(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.mp4", _Track((64, 48), 1), _Track((96, 48), 9, Disposition.default))
    data = path.read_bytes()
    place = data.rindex(b"avc1")  # of the second track: a sample entry of an unknown kind
    path.write_bytes(data[:place] + b"zzzz" + data[place + 4 :])
    with pytest.raises(MediaError, match="an unsupported codec"):
        media.probe(path)


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov"])
@pytest.mark.parametrize("start", [None, 0.2])
def test_the_other_stream_keeps_every_frame_and_its_time(
    tmp_path: Path, suffix: str, start: float | None
) -> None:
    """Matroska stores no decoding times; those of reordered frames are recomputed."""
    path = _write(
        tmp_path / "a.mkv", _Track((96, 48), 60), _Track((64, 48), 60, Disposition.default)
    )
    clip = media.probe(path)
    indices = media.select(clip, start, None)
    part = tmp_path / f"part{suffix}"
    warnings = media.encode(
        clip, indices, media.read(clip, indices), tmp_path / f"out{suffix}", part
    )
    assert (
        warnings[0]
        == "video stream 0 (h264): not the main video stream, so it was copied unchanged"
    )
    shown = _shown(part, 1)
    if start is None:
        assert shown == pytest.approx([0.04 * index for index in range(60)], abs=0.001)
        assert len(warnings) == 1
    else:  # the only key frame is the first frame
        assert shown == []
        assert "55 frame(s) before its first key frame in this part were left out" in warnings[1]


def _shown(path: Path, stream: int) -> list[float]:
    with av.open(str(path)) as container:
        if stream >= len(container.streams.video):
            return []
        return [frame.time for frame in container.decode(video=stream)]


def _mjpeg(path: Path, orientation: int = 1) -> Path:
    exif = PIL.Image.Exif()
    exif[0x010F], exif[0x0112] = "Camera", orientation
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for index in range(4):
            data = io.BytesIO()
            pixels = (disc(index) * 255).astype(np.uint8)
            PIL.Image.fromarray(pixels).save(data, "JPEG", exif=exif)
            packet = av.Packet(data.getvalue())
            packet.stream, packet.time_base = stream, Fraction(1, 10)
            packet.pts = packet.dts = index
            packet.is_keyframe = True
            out.mux(packet)
    return path


@pytest.mark.parametrize("suffix", [".avi", ".mov", ".mkv"])
def test_unknown_side_data_is_ignored(tmp_path: Path, suffix: str) -> None:
    clip = media.probe(_mjpeg(tmp_path / f"a{suffix}"))
    assert clip.frames == 4
    assert len(list(media.read(clip, range(4)))) == 4
    with av.open(str(clip.path)) as container:
        frame = next(container.decode(video=0))
        with pytest.raises(ValueError, match="is not a valid Type"):
            _ = frame.side_data  # else this test checks nothing
        assert not has_side_data(frame, Type.DOVI_METADATA)


def test_known_side_data_is_found_beside_unknown(tmp_path: Path) -> None:
    """FFmpeg converts an EXIF orientation to a display matrix beside it."""
    with av.open(str(_mjpeg(tmp_path / "a.avi", orientation=6))) as container:
        frame = next(container.decode(video=0))
        assert has_side_data(frame, Type.DISPLAYMATRIX)
        assert not has_side_data(frame, Type.DOVI_METADATA)
