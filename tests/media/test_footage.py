"""Real clips from the folder $VIDSTYLE_FOOTAGE, if set."""

import os
from pathlib import Path

import av
import numpy as np
import pytest

from vidstyle import media

FOOTAGE = Path(os.environ.get("VIDSTYLE_FOOTAGE") or "absent")
pytestmark = pytest.mark.skipif(not FOOTAGE.is_dir(), reason="VIDSTYLE_FOOTAGE names no folder")


def _sound_seconds(path: Path) -> list[float]:
    with av.open(str(path), metadata_errors="replace") as container:
        if not container.streams.audio:
            return []
        packets = [p for p in container.demux(container.streams.audio[0]) if p.size]
        return [float(packet.pts * packet.time_base) for packet in packets]


@pytest.mark.parametrize(
    ("name", "frames", "suffix", "end"),
    [
        ("clips/ffmpegpython_in1.mp4", 209, ".mp4", None),
        ("clips/imageio_newtonscradle.gif", 36, ".gif", None),
        ("clips/imageio_newtonscradle.gif", 36, ".mp4", None),
        ("odd/psd_issue-134-rotate.mp4", 24, ".mp4", 1.0),
        ("odd/moviepy_fire2.mp4", 25, ".mkv", None),
        ("odd/fate_empty_edit_5s.mp4", 100, ".mp4", None),
        ("odd/fate_mov_neg_first_pts_discard.mp4", 15, ".mp4", None),
    ],
)
def test_a_round_trip_keeps_frames_times_orientation_and_sound(
    tmp_path: Path, name: str, frames: int, suffix: str, end: float | None
) -> None:
    clip = media.probe(FOOTAGE / name)
    indices, part = media.select(clip, None, end), tmp_path / f"part{suffix}"
    pictures = media.read(clip, indices)
    warnings = media.encode(
        clip, indices, pictures, tmp_path / f"o{suffix}", part, media.EncodingOptions(crf=30)
    )
    result = media.probe(part)
    assert (warnings, result.frames, result.rotation) == ([], frames, 0)
    assert (result.width, result.height) == (clip.width, clip.height)
    wanted = np.array([float(clip.timestamps[index] * clip.time_base) for index in indices])
    found = np.array([float(stamp * result.time_base) for stamp in result.timestamps])
    np.testing.assert_allclose(found, wanted, atol=0.001)
    if end is None:
        assert result.duration == pytest.approx(clip.duration, abs=0.0011)
    if suffix != ".gif":
        kept = [t for t in _sound_seconds(FOOTAGE / name) if end is None or t < result.duration]
        np.testing.assert_allclose(_sound_seconds(part), kept, atol=0.001)


def test_photos_round_trip_by_name_and_size(tmp_path: Path) -> None:
    clip = media.probe(FOOTAGE / "photos")
    every = range(clip.frames)
    part = tmp_path / "part"
    media.encode(clip, every, media.read(clip, every), tmp_path / "out", part)
    result = media.probe(part)
    assert result.sizes == clip.sizes
    assert [file.stem for file in result.files] == [file.stem for file in clip.files]
