"""Timestamps that restart, jump or wrap inside a file, and frames before time 0."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition
from media_inputs import disc, ffmpeg

from vidstyle import media
from vidstyle.evaluation.evaluate import evaluate
from vidstyle.media.decoding.continuity import Clock, Continuity
from vidstyle.media.decoding.decode import open_video, packets

_FRAME = Fraction(1, 25)  # seconds
_CODECS = {
    "flv": ("flv1", "adpcm_swf"),
    "matroska": ("libx264", "libvorbis"),
    "mpegts": ("mpeg2video", "mp2"),
    "vob": ("mpeg2video", "mp2"),
    "webm": ("libvpx-vp9", "libopus"),
}


@dataclass(frozen=True)
class _Piece:
    """A file with video and sound. late: seconds by which the sound starts after the video.

    at: seconds at which the timestamps start.
    """

    seconds: float = 1
    sound: float = 1
    late: float = 0
    at: float = 0

    def write(self, path: Path, format_name: str) -> bytes:
        video, audio = _CODECS[format_name]
        ffmpeg(
            "-f", "lavfi", "-i", f"testsrc2=s=64x48:r=25:d={self.seconds}",
            "-itsoffset", str(self.late), "-f", "lavfi", "-i", f"sine=d={self.sound}",
            "-map", "0", "-map", "1", "-c:v", video, "-c:a", audio,
            "-output_ts_offset", str(self.at), "-f", format_name, str(path),
        )  # fmt: skip
        return path.read_bytes()


def _joined(tmp_path: Path, *pieces: _Piece, format_name: str = "mpegts") -> Path:
    path = tmp_path / "joined"
    path.write_bytes(b"".join(piece.write(tmp_path / "piece", format_name) for piece in pieces))
    return path


def _times(path: Path) -> dict[str, np.ndarray]:
    """Return start and end of each packet in seconds, [N, 2] sorted, by stream type."""
    found: dict[str, list[tuple[float, float]]] = {}
    with open_video(path) as container:
        for packet in packets(container, list(container.streams), []):
            if packet.size:
                begin = packet.pts * packet.time_base
                end = begin + (packet.duration or 0) * packet.time_base
                found.setdefault(packet.stream.type, []).append((float(begin), float(end)))
    return {kind: np.array(sorted(times)) for kind, times in found.items()}


def _gaps(times: np.ndarray) -> np.ndarray:
    return times[1:, 0] - times[:-1, 1]


def _encoded(path: Path, suffix: str, start: float | None = None, end: float | None = None):
    clip = media.probe(path)
    indices = media.select(clip, start, end)
    part = path.with_name(f"part{suffix}")
    warnings = media.encode(
        clip, indices, media.read(clip, indices), path.with_name(f"out{suffix}"), part
    )
    return part, warnings


@pytest.mark.parametrize("format_name", ["mpegts", "vob"])
def test_segments_of_a_joined_file_are_consecutive(tmp_path: Path, format_name: str) -> None:
    path = _joined(
        tmp_path, _Piece(), _Piece(seconds=0.6, sound=0.6), _Piece(), format_name=format_name
    )
    clip = media.probe(path)
    assert clip.frames == 65
    assert clip.duration == pytest.approx(2.6, abs=0.06)
    stamps = np.array(clip.timestamps) * float(clip.time_base)
    assert np.diff(stamps).min() > 0.9 * _FRAME
    assert np.diff(stamps).max() < 2 * _FRAME
    assert any("its timestamps jump 2 time(s)" in note for note in clip.notes)
    assert media.probe(path, count=False).duration == pytest.approx(clip.duration, abs=0.02)


@pytest.mark.parametrize("format_name", ["matroska", "webm"])
def test_a_restart_in_other_containers_is_joined_too(tmp_path: Path, format_name: str) -> None:
    clip = media.probe(_joined(tmp_path, _Piece(), _Piece(), format_name=format_name))
    assert clip.frames == 50
    assert clip.duration == pytest.approx(2, abs=0.02)


@pytest.mark.parametrize(("format_name", "count", "read"), [("flv", 2, 1), ("matroska", 3, 2)])
def test_an_appended_file_that_ffmpeg_does_not_read_is_noted(
    tmp_path: Path, format_name: str, count: int, read: int
) -> None:
    clip = media.probe(
        _joined(tmp_path, *count * [_Piece(seconds=0.4, sound=0.4)], format_name=format_name)
    )
    assert clip.frames == 10 * read
    assert sum("another file was appended to it at byte" in note for note in clip.notes) == 1
    alone = media.probe(_joined(tmp_path, _Piece(seconds=0.4, sound=0.4), format_name=format_name))
    assert alone.notes == ()


def test_segments_of_three_frames_are_found(tmp_path: Path) -> None:
    clip = media.probe(_joined(tmp_path, *3 * [_Piece(seconds=0.12, sound=0.12)]))
    assert clip.frames == 9
    assert clip.duration == pytest.approx(0.36, abs=0.06)


def test_picture_and_sound_keep_their_offset_in_each_segment(tmp_path: Path) -> None:
    """Each segment has one offset: sound that starts late or ends early in its piece still does."""
    lates = (0, 0.3, 0.12)
    pieces = [_Piece(late=late, sound=0.4, at=-9 * place) for place, late in enumerate(lates)]
    times = _times(_joined(tmp_path, *pieces))
    film, sound = times["video"], times["audio"]
    begins = [0, *(np.flatnonzero(_gaps(sound) > 0.05) + 1)]
    assert len(begins) == 3
    for place, (begin, late) in enumerate(zip(begins, lates, strict=True)):
        first = film[25 * place, 0]
        assert sound[begin, 0] - first == pytest.approx(late, abs=0.03)
    assert _gaps(film).min() > -1e-6
    assert _gaps(sound).min() > -1e-6


@pytest.mark.parametrize("at", [5000, 60000])
def test_timestamp_jumps_of_hours_in_either_direction_are_removed(
    tmp_path: Path, at: float
) -> None:
    for pieces in ((_Piece(), _Piece(at=at)), (_Piece(at=at), _Piece())):
        clip = media.probe(_joined(tmp_path, *pieces))
        assert clip.duration == pytest.approx(2, abs=0.05)
        assert clip.frames == 50
        assert not any("cut short" in note for note in clip.notes)


def test_a_gap_of_seconds_is_kept(tmp_path: Path) -> None:
    clip = media.probe(_joined(tmp_path, _Piece(), _Piece(at=30)))
    assert clip.duration == pytest.approx(31, abs=0.1)


def test_a_wrapped_clock_is_continued(tmp_path: Path) -> None:
    wrap = float(Fraction(2**33, 90000))
    clip = media.probe(_joined(tmp_path, _Piece(at=wrap - 2.5, seconds=3, sound=3)))
    assert clip.frames == 75
    assert clip.duration == pytest.approx(3, abs=0.01)
    assert clip.timestamps[0] == 0
    assert not clip.variable


def test_a_frame_shown_for_hours_while_the_sound_continues_is_not_a_jump(tmp_path: Path) -> None:
    path = tmp_path / "held.mkv"
    with av.open(str(path), "w") as out:
        film = out.add_stream("mjpeg", rate=1)
        film.width, film.height, film.pix_fmt = 64, 48, "yuvj420p"
        sound = out.add_stream("pcm_u8", rate=1000)
        sound.layout = "mono"
        pixels = (disc(0) * 255).astype(np.uint8)
        shot = bytes(film.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24"))[0])
        for second in range(0, 7300, 10):
            tone = av.AudioFrame.from_ndarray(np.zeros((1, 10000), np.uint8), "u8", "mono")
            tone.sample_rate, tone.pts, tone.time_base = 1000, second * 1000, Fraction(1, 1000)
            out.mux(sound.encode(tone))
            if second in (0, 10, 7210):
                packet = av.Packet(shot)
                packet.stream, packet.time_base = film, Fraction(1)
                packet.pts = packet.dts = second
                out.mux(packet)
    clip = media.probe(path)
    assert np.array(clip.timestamps) * clip.time_base == pytest.approx([0, 10, 7210])


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_an_output_has_video_and_sound_of_every_segment(tmp_path: Path, suffix: str) -> None:
    path = _joined(tmp_path, _Piece(), _Piece(late=0.2), _Piece(at=40000))
    part, warnings = _encoded(path, suffix)
    assert not any("damaged" in warning for warning in warnings)
    before, after = _times(path), _times(part)
    assert len(after["video"]) == 75
    np.testing.assert_allclose(after["video"][:, 0], before["video"][:, 0], atol=0.0011)
    sound = before["audio"]
    assert (after["audio"][-1, 1] - sound[-1, 1]) == pytest.approx(0, abs=0.04)
    if suffix == ".mkv":
        np.testing.assert_allclose(after["audio"][:, 0], sound[:, 0], atol=0.002)
    else:  # re-encoded: sound from start to end, gaps filled with silence
        assert after["audio"][0, 0] == pytest.approx(sound[0, 0], abs=0.03)
        lengths = [np.subtract(*times["audio"].T[::-1]).sum() for times in (before, after)]
        assert lengths[0] - 0.05 < lengths[1] < sound[-1, 1] - sound[0, 0] + 0.05


def test_an_interval_across_a_join_has_the_video_and_sound_of_its_time(tmp_path: Path) -> None:
    path = _joined(tmp_path, _Piece(), _Piece(), _Piece())
    whole = list(media.read(media.probe(path), range(75)))
    clip = media.probe(path)
    indices = media.select(clip, 1.5, 2.5)
    assert len(indices) == pytest.approx(25, abs=1)
    assert np.array_equal(next(media.read(clip, indices)), whole[indices.start])
    part, warnings = _encoded(path, ".mkv", 1.5, 2.5)
    assert warnings == []
    times = _times(part)
    assert times["video"][-1, 1] == pytest.approx(1, abs=0.06)
    assert times["audio"][0, 0] == pytest.approx(0, abs=0.04)
    assert times["audio"][-1, 1] == pytest.approx(1, abs=0.06)


def test_subtitles_follow_their_segment(tmp_path: Path) -> None:
    """Subtitles of a joined file stay with their frames (Matroska, as TS has no text subtitles)."""
    _Piece().write(tmp_path / "piece.mkv", "matroska")
    (tmp_path / "words.srt").write_text("1\n00:00:00,400 --> 00:00:00,600\nhere\n")
    words = ["-i", str(tmp_path / "piece.mkv"), "-i", str(tmp_path / "words.srt"), "-c", "copy"]
    ffmpeg(*words, str(tmp_path / "worded.mkv"))
    path = tmp_path / "joined.mkv"
    path.write_bytes(2 * (tmp_path / "worded.mkv").read_bytes())
    begins = _times(path)["subtitle"][:, 0]
    assert begins == pytest.approx([0.4, 1.4], abs=0.02)


def test_evaluation_reads_joined_files_on_both_sides(tmp_path: Path) -> None:
    path = _joined(tmp_path, _Piece(seconds=0.2), _Piece(seconds=0.2))
    part, _ = _encoded(path, ".mp4", 0.12, 0.32)
    warnings: list[str] = []
    found = evaluate(part, path, start=0.12, end=0.32, warn=warnings.append)
    assert found.frames == len(media.select(media.probe(path), 0.12, 0.32))
    assert any("its timestamps jump" in message for message in warnings)


@pytest.mark.parametrize("format_name", ["matroska", "mpegts"])
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_a_frame_before_time_0_shifts_all_streams_equally(
    tmp_path: Path, format_name: str, suffix: str
) -> None:
    source = tmp_path / f"early.{'mkv' if format_name == 'matroska' else 'ts'}"
    _write_early(source, format_name)
    clip = media.probe(source)
    assert clip.timestamps[0] == 0
    assert sum("starts 0.400 s before time 0" in note for note in clip.notes) == 1
    part, warnings = _encoded(source, suffix)
    assert not any("damaged" in warning for warning in warnings)
    times = _times(part)
    assert times["video"][0, 0] == pytest.approx(0, abs=0.001)
    assert times["audio"][0, 0] == pytest.approx(0.4, abs=0.035)  # less the encoder delays
    assert len(times["video"]) == 20


def _write_early(path: Path, format_name: str) -> None:
    """Write 20 frames from -0.4 s on, and sound from 0 s on."""
    with av.open(
        str(path), "w", format=format_name, options={"avoid_negative_ts": "disabled"}
    ) as out:
        film = out.add_stream("mpeg4", rate=25)
        film.width, film.height, film.pix_fmt = 64, 48, "yuv420p"
        sound = out.add_stream("mp2", rate=48000)
        sound.layout = "mono"
        shots = []
        for index in range(20):
            pixels = (disc(index) * 255).astype(np.uint8)
            shots += film.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24"))
        for index, packet in enumerate(shots + film.encode(None)):
            packet.pts = packet.dts = (index - 10) * 40
            packet.time_base = Fraction(1, 1000)
            out.mux(packet)
            if index >= 10:
                tone = av.AudioFrame.from_ndarray(np.zeros((1, 1920), np.int16), "s16", "mono")
                tone.sample_rate, tone.time_base = 48000, Fraction(1, 48000)
                tone.pts = (index - 10) * 1920
                out.mux(sound.encode(tone))
        out.mux(sound.encode(None))


def _packet(stream: int, ticks: int, length: int) -> Any:
    kind = ("video", "audio")[stream]
    return SimpleNamespace(
        stream=SimpleNamespace(index=stream, type=kind, disposition=Disposition(0)),
        stream_index=stream, time_base=Fraction(1, 1000), size=1, pos=None, is_discard=False,
        dts=ticks, pts=ticks, duration=length,
    )  # fmt: skip


def _moved(packets: list[Any]) -> list[int]:
    """Return the change of each packet's time."""
    found = Continuity("matroska,webm")
    for packet in packets:
        found.assign(found.read(packet))
    clock, before = Clock(found.timeline(0)), [packet.pts for packet in packets]
    for packet in packets:
        clock.set(packet)
    return [packet.pts - was for packet, was in zip(packets, before, strict=True)]


def test_one_stray_timestamp_shifts_no_other_packet() -> None:
    packets = [
        _packet(stream, time, length)
        for time in range(0, 2000, 20)
        for stream, length in ((0, 40), (1, 20))
        if time % length == 0
    ]
    place = next(n for n, p in enumerate(packets) if p.stream_index == 0 and p.pts == 1000)
    packets[place].pts = packets[place].dts = 5 * 3600 * 1000
    moved = _moved(packets)
    assert moved[place] == 1000 - 5 * 3600 * 1000
    assert not any(moved[:place] + moved[place + 1 :])


def test_small_backward_steps_are_kept() -> None:
    times = [0, 40, 80, 70, 120, 160, 150, 200]
    assert not any(_moved([_packet(0, time, 40) for time in times]))


def test_a_stream_without_a_jump_of_its_own_follows_the_others() -> None:
    """The sound of the second segment continues that of the first."""
    first = [_packet(0, time, 40) for time in range(0, 1000, 40)]
    first += [_packet(1, time, 20) for time in range(0, 400, 20)]
    second = [_packet(0, time, 40) for time in range(0, 480, 40)]
    late = [_packet(1, time, 20) for time in range(420, 600, 20)]
    moved = _moved(sorted(first, key=lambda p: p.dts) + second + late)
    assert moved == len(first) * [0] + (len(second) + len(late)) * [1000]


def test_a_clock_that_jumps_at_every_packet_keeps_their_order() -> None:
    """The work per packet does not grow with the number of segments in a malicious file."""
    jumping = [_packet(n % 2, (n // 2 % 2) * 5000, 40) for n in range(10_000)]
    assert len(_moved(jumping)) == len(jumping)
    times = [packet.pts for packet in jumping if packet.stream_index == 0]
    assert times == sorted(times)
