"""Frames by index: the same as reading in order, of intact and of damaged videos."""

import os
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import write_clip

from vidstyle import media
from vidstyle.errors import CancelledError, MediaError
from vidstyle.media.decoding.seeking import VideoFrames

ODD = Path(os.environ.get("VIDSTYLE_FOOTAGE") or "absent") / "odd" / "fate_empty_edit_5s.mp4"
ORDER = (20, 3, 47, 21, 0, 46)


def noise_clip(path: Path, frames: int) -> Path:
    """Write a video of coarse noise, with a key frame at every twelfth frame."""
    random = np.random.default_rng(1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "12"})
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for _ in range(frames):
            blocks = random.integers(0, 256, (12, 16, 3), np.uint8).repeat(8, 0).repeat(8, 1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(blocks, format="rgb24")))
        container.mux(stream.encode())
    return path


def assert_equal_to_reading_in_order(path: Path, order: tuple[int, ...]) -> None:
    clip = media.probe(path)
    frames = list(media.read(clip, range(clip.frames)))
    with VideoFrames(path, 1920) as found:
        assert found.frames == clip.frames
        for index in order:
            np.testing.assert_array_equal(found.read(index), frames[index])


def test_frames_by_index_equal_those_read_in_order(tmp_path: Path) -> None:
    assert_equal_to_reading_in_order(write_clip(tmp_path / "clip.mp4", 48), ORDER)


def test_damaged_frames_by_index_equal_those_read_in_order(tmp_path: Path) -> None:
    path = noise_clip(tmp_path / "noise.mp4", 48)
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 4
    for place in range(start + len(data) // 4, data.index(b"moov") - 1000, 997):
        data[place : place + 2] = bytes(value ^ 0x55 for value in data[place : place + 2])
    path.write_bytes(data)
    clip = media.probe(path)
    assert any("damaged" in note for note in clip.notes)
    assert_equal_to_reading_in_order(path, tuple(i for i in ORDER if i < clip.frames))


@pytest.mark.skipif(not ODD.exists(), reason="needs VIDSTYLE_FOOTAGE")
def test_a_damaged_video_that_begins_late_is_read_exactly_by_index() -> None:
    assert_equal_to_reading_in_order(ODD, (20, 99, 5, 50, 51))


def test_a_frame_that_is_not_there_is_a_sentence(clip: Path) -> None:
    with VideoFrames(clip, 1920) as found, pytest.raises(MediaError, match="from 0 to 5, got 6"):
        found.read(6)


def test_a_frame_after_a_cancelled_one_is_exact(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", 48)
    frames = list(media.read(media.probe(path), range(48)))
    with VideoFrames(path, 1920) as found:
        packets = iter((False,) * 10 + (True,) + (False,) * 100)
        found.cancelled = lambda: next(packets)
        with pytest.raises(CancelledError, match="no longer wanted"):
            found.read(46)
        for index in (47, 3, 20):
            np.testing.assert_array_equal(found.read(index), frames[index])
