"""Refused containers are found early; finished frames are used for another output."""

import errno
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av.error
import pytest
from conftest import FRAMES, write_clip
from media_inputs import ffmpeg
from media_inputs import write_clip as write_sounding

from vidstyle import media
from vidstyle.cli import main
from vidstyle.errors import ContainerError, SettingsError, StateError, UsageError
from vidstyle.jobs import pipeline
from vidstyle.jobs.checkpoint import Checkpoint
from vidstyle.jobs.job import make_job
from vidstyle.jobs.manifest import state_path
from vidstyle.jobs.takeover import command_for
from vidstyle.media.encoding import movie, stream_copy

_SETTINGS = {"steps": 0, "steps_next": 0, "size": 64}


def _run(clip: Path, style: Path, output: Path, **settings: Any) -> list[dict[str, Any]]:
    """Run without steps; return the events."""
    events: list[Any] = []
    pipeline.run(make_job(clip, output, style=style, **_SETTINGS | settings), events.append)
    return events


def _made(events: list[Any]) -> int:
    return sum(event.name == "frame" for event in events)


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Make outputs with this suffix fail when they are read back."""
    real = movie._verify

    def refuse(suffix: str) -> None:
        def verify(part: Path, *rest: Any) -> Any:
            if part.suffix == suffix:
                raise ContainerError(f"{part} is not whole")
            return real(part, *rest)

        monkeypatch.setattr(movie, "_verify", verify)

    return refuse


def test_frames_of_a_failed_output_are_used_for_another(
    clip: Path, style: Path, tmp_path: Path, refusing: Callable[[str], None]
) -> None:
    refusing(".mp4")
    with pytest.raises(ContainerError, match="--resume-from") as failed:
        _run(clip, style, tmp_path / "out.mp4")
    assert failed.value.instead == tmp_path / "out.mkv"
    events = _run(clip, style, tmp_path / "out.mkv", resume_from=str(tmp_path / "out.mp4"))
    assert _made(events) == 0
    assert media.probe(tmp_path / "out.mkv").frames == FRAMES
    assert not list(tmp_path.glob("*.vidstyle"))


def test_the_message_ends_with_the_command_that_continues(
    clip: Path,
    style: Path,
    tmp_path: Path,
    refusing: Callable[[str], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    refusing(".mp4")
    words = ["basic", str(clip), f"--output={tmp_path / 'o ut.mp4'}", "--style", str(style)]
    words += ["--steps", "0", "--steps-next", "0", "-q"]
    assert main.main(words) == ContainerError.exit_code
    (line,) = capsys.readouterr().err.splitlines()
    command = line.partition("as in: vidstyle ")[2]
    assert main.main(shlex.split(command)) == 0
    assert media.probe(tmp_path / "o ut.mkv").frames == FRAMES


def test_the_same_command_continues_after_the_frames_were_taken_over(
    clip: Path, style: Path, tmp_path: Path, refusing: Callable[[str], None]
) -> None:
    refusing(".mp4")
    with pytest.raises(ContainerError):
        _run(clip, style, tmp_path / "out.mp4")
    old = {"resume_from": str(tmp_path / "out.mp4")}
    refusing(".mkv")
    with pytest.raises(ContainerError):
        _run(clip, style, tmp_path / "out.mkv", **old)
    refusing(".none")
    assert _made(_run(clip, style, tmp_path / "out.mkv", **old)) == 0
    assert media.probe(tmp_path / "out.mkv").frames == FRAMES


def test_kept_frames_of_a_written_output_are_used_for_another(
    clip: Path, style: Path, tmp_path: Path
) -> None:
    _run(clip, style, tmp_path / "out.mp4", keep_frames=True)
    whole = (tmp_path / "out.mp4").read_bytes()
    events = _run(clip, style, tmp_path / "out.mkv", resume_from=str(tmp_path / "out.mp4"))
    assert _made(events) == 0
    assert media.probe(tmp_path / "out.mkv").frames == FRAMES
    assert (tmp_path / "out.mp4").read_bytes() == whole


def _unfinished(clip: Path, style: Path, output: Path, **settings: Any) -> Path:
    _run(clip, style, output, keep_frames=True, **settings)
    output.unlink()
    return state_path(output)


def _all_of(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_frames_of_another_request_are_refused_and_kept(
    clip: Path, style: Path, tmp_path: Path
) -> None:
    _unfinished(clip, style, tmp_path / "out.mp4", seed=1)
    before = _all_of(tmp_path)
    with pytest.raises(StateError, match="--seed was 1, is 0"):
        _run(clip, style, tmp_path / "out.mkv", resume_from=str(tmp_path / "out.mp4"))
    assert _all_of(tmp_path) == before


def test_a_missing_state_to_take_over_is_refused(clip: Path, style: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.mp4.vidstyle").mkdir()
    (tmp_path / "link.mp4.vidstyle").symlink_to(_unfinished(clip, style, tmp_path / "out.mp4"))
    for name in ("none.mp4", "empty.mp4", "link.mp4"):
        with pytest.raises(UsageError, match="got none there"):
            _run(clip, style, tmp_path / "out.mkv", resume_from=str(tmp_path / name))


def test_frames_of_two_outputs_are_not_mixed(clip: Path, style: Path, tmp_path: Path) -> None:
    _unfinished(clip, style, tmp_path / "out.mp4")
    _unfinished(clip, style, tmp_path / "out.mkv")
    before = _all_of(tmp_path)
    with pytest.raises(StateError, match="exists; delete it"):
        _run(clip, style, tmp_path / "out.mkv", resume_from=str(tmp_path / "out.mp4"))
    assert _all_of(tmp_path) == before


def test_frames_on_another_disk_are_refused(
    clip: Path, style: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = _unfinished(clip, style, tmp_path / "out.mp4")

    def rename(*_: Path) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", rename)
        with pytest.raises(UsageError, match="on one disk"):
            _run(clip, style, tmp_path / "out.mkv", resume_from=str(tmp_path / "out.mp4"))
    state.rename(state_path(tmp_path / "out.mkv"))
    assert _made(_run(clip, style, tmp_path / "out.mkv")) == 0


def test_frames_of_a_running_run_are_not_taken_over(
    clip: Path, style: Path, tmp_path: Path
) -> None:
    state = _unfinished(clip, style, tmp_path / "out.mp4")
    manifest = json.loads((state / "manifest.json").read_text())["job"]
    with Checkpoint(tmp_path / "out.mp4", manifest), pytest.raises(StateError, match="another run"):
        _run(clip, style, tmp_path / "out.mkv", resume_from=str(tmp_path / "out.mp4"))
    assert state.is_dir()


def test_unfinished_frames_of_another_size_are_refused(
    clip: Path, style: Path, tmp_path: Path
) -> None:
    """An odd size that one container accepts and another does not."""
    state = _unfinished(clip, style, tmp_path / "out.webm", size=101)
    lines = (state / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (state / "journal.jsonl").write_bytes(b"".join(lines[:2]))
    with pytest.raises(StateError, match="finish under the name of the earlier output"):
        _run(clip, style, tmp_path / "out.mp4", size=101, resume_from=str(tmp_path / "out.webm"))


def test_resume_from_excludes_restart_shards_and_batches(
    clip: Path, style: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SettingsError, match="without --restart"):
        make_job(clip, tmp_path / "a.mkv", style=style, restart=True, resume_from="a.mp4")
    words = ["-o", str(tmp_path / "a.mkv"), "--style", str(style), "--resume-from", "a.mp4"]
    words += ["--steps", "0", "--steps-next", "0"]
    assert main.main(["basic", str(clip), *words, "--shard", "1/2"]) == UsageError.exit_code
    assert "without --shard" in capsys.readouterr().err
    words[1] = str(tmp_path / "folder")
    assert main.main(["basic", str(clip), str(clip), *words]) == UsageError.exit_code
    assert "expected one source, got a batch" in capsys.readouterr().err


def test_the_command_keeps_all_arguments_but_the_output() -> None:
    given = ["basic", "a b.mp4", "-oout.mp4", "--restart", "--style", "s.png=1"]
    assert command_for(given, Path("out.mp4"), Path("out.mkv")) == (
        "vidstyle basic 'a b.mp4' --style s.png=1 -o out.mkv --resume-from out.mp4"
    )
    given = ["basic", "a", "--output", "b.mkv", "--resume-from", "c.mp4", "--style", "s"]
    assert command_for(given, Path("b.mkv"), Path("b.mp4")) == (
        "vidstyle basic a --style s -o b.mp4 --resume-from b.mkv"
    )


def test_a_codec_that_the_container_refuses_is_found_before_the_first_frame(
    clip: Path, style: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The muxer of a format without H.264."""
    real = movie._create
    monkeypatch.setattr(movie, "_create", lambda target, _, base: real(target, "webm", base))
    events: list[Any] = []
    job = make_job(clip, tmp_path / "out.mp4", style=style, **_SETTINGS)
    with pytest.raises(UsageError, match="choose another --size, --codec or output"):
        pipeline.run(job, events.append)
    assert _made(events) == 0
    assert not state_path(job.output).exists()


def test_a_stream_whose_packets_the_container_refuses_is_left_out_and_named(
    style: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = write_sounding(tmp_path / "a.mkv", list(range(20)), sound=True)
    real = stream_copy.StreamCopy.move

    def move(lane: Any, packet: Any, *rest: Any) -> None:
        if packet.stream.type == "audio" and packet.pts > 300:
            raise av.error.PermissionError(1, "not at this time")
        real(lane, packet, *rest)

    monkeypatch.setattr(stream_copy.StreamCopy, "move", move)
    events = _run(clip, style, tmp_path / "out.mkv")
    kinds = [event.name for event in events]
    warnings = [event.message for event in events if event.name == "warning"]
    assert len(warnings) == 1
    assert warnings[0].startswith("audio stream 1 (aac, fra): matroska cannot hold it")
    assert kinds.index("warning") < kinds.index("frame")  # before any work is done
    assert events[-1].warnings == tuple(warnings)
    assert [stream.kind for stream in media.probe(tmp_path / "out.mkv").streams] == ["video"]


def test_sound_whose_last_timestamps_decrease_is_kept(tmp_path: Path) -> None:
    """Two packets before the end go back by 90 ms; the transcoder reorders them."""
    clip = write_clip(tmp_path / "a.mp4", 20)
    path = tmp_path / "b.mkv"
    ffmpeg("-i", str(clip), "-f", "lavfi", "-i", "sine=d=0.6", "-map", "0", "-map", "1",
           "-c:v", "copy", "-c:a", "mp2", str(path))  # fmt: skip
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        found = [bytes(packet) for packet in container.demux(audio=0) if packet.size]
    for packet in found[-2:]:
        place = data.index(packet) - 3
        ticks = int.from_bytes(data[place : place + 2]) - 90
        data[place : place + 2] = ticks.to_bytes(2)
    path.write_bytes(data)
    clip = media.probe(path)
    part = tmp_path / "part.webm"
    warnings = media.encode(
        clip, range(20), media.read(clip, range(20)), tmp_path / "out.webm", part
    )
    assert [stream.codec for stream in media.probe(part).streams] == ["vp9", "opus"]
    assert [warning.split(" (mp2): ")[1] for warning in warnings] == [
        "it cannot be copied into webm, so it was re-encoded as Opus, at 48000 Hz instead of 44100"
    ]
