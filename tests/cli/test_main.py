import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pytest
from conftest import FRAMES, write_clip

from vidstyle import media
from vidstyle.cli import main, parser, progress
from vidstyle.cli.options import given_options
from vidstyle.settings import Settings, options
from vidstyle.techniques import TECHNIQUES
from vidstyle.vgg import weights

NO_STEPS = ["--steps", "0", "--steps-next", "0"]
Basic = Callable[..., int]


@pytest.fixture
def basic(clip: Path, style: Path, tmp_path: Path) -> Basic:
    """Run `vidstyle basic` with 0 steps; return the exit code."""

    def command(*more: str, output: str = "out.mp4") -> int:
        paths = [str(clip), "-o", str(tmp_path / output), "--style", str(style)]
        return main.main(["basic", *paths, *NO_STEPS, *more])

    return command


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the only line on stderr, without the program name."""
    (line,) = capsys.readouterr().err.splitlines()
    return line.removeprefix("vidstyle: ")


@pytest.mark.parametrize("name", TECHNIQUES)
def test_every_option_is_in_the_help_of_every_technique(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as leaving:
        main.main([name, "--help"])
    assert leaving.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for owner in (Settings, TECHNIQUES[name]):
        for option, (declared, spec) in options(owner).items():
            assert f"--{option.replace('_', '-')}" in text
            assert " ".join(spec.meaning.split()) in text
            if isinstance(declared.default, (int, float)) and declared.default is not False:
                assert f"(default: {declared.default})" in text


@pytest.mark.parametrize(
    ("given", "option", "value"),
    [
        (["--size", "source"], "size", "source"),
        (["--size", "256"], "size", 256),
        (["--tv-weight", "0.5"], "tv_weight", 0.5),
        (["--style-layers", "relu1_1, relu2_1"], "style_layers", ("relu1_1", "relu2_1")),
        (["--rate", "30000/1001"], "rate", pytest.approx(29.97, abs=1e-3)),
        (["--original-colors"], "original_colors", True),
        (["--start", "1.5"], "start", 1.5),
        (["--crf", "20"], "crf", 20),
    ],
)
def test_options_are_converted_to_their_types(given: list[str], option: str, value: object) -> None:
    arguments = parser.build_parser().parse_args(
        ["basic", "in", "-o", "out", "--style", "s", *given]
    )
    assert given_options(arguments, Settings) == {option: value}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--size", "big"], "--size: expected 'auto' or 'source' or a whole number, got 'big'"),
        (["--size", "0"], "--size: expected"),
        (["--steps", "1.5"], "--steps: expected a whole number, got '1.5'"),
        (["--style-weight", "nan"], "--style-weight: expected"),
        (["--rate", "1/0"], "--rate: expected a number or a fraction"),
        (["--style-layers", "relu9_9"], "--style-layers: expected names"),
        (["--end", "0"], "--end: expected a time after the start"),
        (["--colour"], "unrecognized arguments: --colour"),
        (["--tech", "x"], "unrecognized arguments: --tech x"),
    ],
)
def test_a_bad_option_is_one_line_and_exit_code_2(
    basic: Basic, capsys: pytest.CaptureFixture[str], given: list[str], message: str
) -> None:
    assert basic(*given) == 2
    assert error_line(capsys).startswith(message)


def test_missing_arguments_are_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main.main(["basic"]) == 2
    assert "the following arguments are required: -o/--output, --style" in error_line(capsys)
    assert main.main(["basic", "-o", "out", "--style", "a.jpg"]) == 2
    assert error_line(capsys).startswith("expected a SOURCE")
    assert main.main([]) == 2
    assert "COMMAND" in error_line(capsys)


def test_exit_codes_distinguish_usage_input_and_output(
    basic: Basic, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert basic(output="out.xyz") == 2
    assert main.main(["basic", "nowhere", "-o", "out.mp4", "--style", str(clip)]) == 3
    assert main.main(["basic", str(clip), "-o", str(clip), "--style", str(clip)]) == 2
    assert main.main(["basic", str(clip), "-o", str(tmp_path / "o.mp4"), "--style", str(clip)]) == 3
    Path(f"{tmp_path / 'out.mp4'}.vidstyle").touch()
    assert basic() == 4


def test_json_prints_one_object_a_line(basic: Basic, capsys: pytest.CaptureFixture[str]) -> None:
    assert basic("--json") == 0
    events = lines(capsys.readouterr().out)
    assert [event["event"] for event in events] == ["start", *["frame"] * FRAMES, "done"]
    for index, frame in enumerate(events[1:-1]):
        assert (frame["index"], frame["of"]) == (index, FRAMES)
        assert {"losses", "evaluations", "seconds"} <= frame.keys()


def test_json_includes_errors(basic: Basic, capsys: pytest.CaptureFixture[str]) -> None:
    assert basic("--json", "--size", "0") == 2
    captured = capsys.readouterr()
    (event,) = lines(captured.out)
    assert (event["event"], event["exit_code"]) == ("error", 2)
    assert captured.err == f"vidstyle: {event['message']}\n"


def test_a_finished_run_prints_its_output_unless_quiet(
    basic: Basic, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert basic() == 0
    assert f"{tmp_path / 'out.mp4'}: {FRAMES} frames" in capsys.readouterr().out
    assert basic("-q", output="other.mp4") == 0
    assert capsys.readouterr() == ("", "")


def test_kept_frames_are_reported(basic: Basic, capsys: pytest.CaptureFixture[str]) -> None:
    assert basic("--keep-frames") == 0
    assert "frames are kept in" in capsys.readouterr().out
    assert basic("--keep-frames") == 0
    assert "is done, from frames of an earlier run" in capsys.readouterr().out


def test_a_dry_run_prints_the_plan_and_writes_nothing(
    basic: Basic, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    before = sorted(tmp_path.iterdir())
    assert basic("--dry-run") == 0
    assert f"frames: {FRAMES} of 128 x 96 pixels" in capsys.readouterr().out
    assert basic("--dry-run", "--json") == 0
    (event,) = lines(capsys.readouterr().out)
    assert (event["event"], event["frames"]) == ("plan", FRAMES)
    assert sorted(tmp_path.iterdir()) == before


def test_warnings_go_to_stderr_or_into_the_json(
    basic: Basic, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = media.encode
    monkeypatch.setattr(media, "encode", lambda *a, **k: [*encode(*a, **k), "a stream was dropped"])
    assert basic("-q") == 0
    assert error_line(capsys) == "a stream was dropped"
    assert basic("--json", output="other.mp4") == 0
    assert {"event": "warning", "message": "a stream was dropped"} in lines(capsys.readouterr().out)


def test_stderr_of_libraries_is_discarded_only_while_the_stylizer_is_made(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def make(*_: object) -> None:
        os.write(2, b"I0000 port.cc: a message of TensorFlow")

    progress.without_stderr(make)()
    os.write(2, b"own message")
    assert capfd.readouterr().err == "own message"


def test_an_internal_error_is_one_line_with_a_traceback_on_demand(
    basic: Basic, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media, "encode", lambda *_, **__: 1 / 0)
    assert basic("-q") == 1
    assert error_line(capsys).startswith("internal error: ZeroDivisionError")
    assert basic("-q", "-v") == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_memory_error_is_one_line(
    basic: Basic, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_memory(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(media, "probe", out_of_memory)
    assert basic() == 1
    assert error_line(capsys) == "memory ran out; choose a smaller --size"


@pytest.mark.parametrize("restart", [False, True])
def test_an_interrupt_prints_how_to_resume(
    basic: Basic, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, restart: bool
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(media, "encode", stop)
    assert basic("-q", *["--restart"] * restart) == 130
    without = " without --restart" * restart
    assert (
        error_line(capsys)
        == f"stopped after 6 of 6 frames; run the same command{without} to continue"
    )


def test_probe_prints_json(clip: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["probe", str(clip)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["frames"], found["rate"]) == (FRAMES, "30000/1001")
    assert main.main(["probe", str(photos), "--rate", "12"]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "sequence"
    assert main.main(["probe", str(photos / "none.png")]) == 3


def test_weights_prints_their_path(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "vgg.npz"
    path.write_bytes(b"weights")

    def find(given: Path, *, progress: Callable[[int, int], None]) -> Path:
        progress(3, 7)
        progress(7, 7)
        return given

    monkeypatch.setattr(weights, "find", find)
    monkeypatch.setattr(weights, "load", lambda _: dict.fromkeys("abc"))
    assert main.main(["weights", "--weights", str(path)]) == 0
    assert capsys.readouterr().out.startswith(f"{path}: VGG-19, 3 layers, sha256 ")


def test_missing_weights_are_an_input_error(tmp_path: Path) -> None:
    assert main.main(["weights", "--weights", str(tmp_path / "none.npz")]) == 3


@pytest.mark.parametrize(
    ("arguments", "begins"), [("--version", "vidstyle "), ("--help", "usage: ")]
)
def test_version_and_help_import_no_heavy_module(arguments: str, begins: str) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "vidstyle", arguments]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0
    assert found.stdout.startswith(begins)
    loaded = {line.split("|")[-1].strip().split(".")[0] for line in found.stderr.splitlines()}
    assert {"vidstyle", "argparse"} < loaded
    assert not loaded & {"tensorflow", "keras", "cv2", "av", "scipy", "imageio", "dask", "h5py"}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM handler")
def test_a_terminated_run_stops_cleanly_and_continues(style: Path, tmp_path: Path) -> None:
    clip, output = write_clip(tmp_path / "long.mp4", 40), tmp_path / "out.mp4"
    arguments = ["basic", str(clip), "-o", str(output), "--style", str(style), *NO_STEPS, "--json"]
    command = [sys.executable, "-m", "vidstyle", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert b"start" in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
        message = process.stderr.read().decode()
    assert process.returncode == 130
    assert message.startswith("vidstyle: stopped after")
    assert not output.exists()
    assert main.main(arguments) == 0
    assert media.probe(output).frames == 40


def test_a_permission_error_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = PermissionError(13, "Permission denied", "closed/a.png")
    monkeypatch.setattr(media, "probe", Mock(side_effect=refused))
    assert main.main(["probe", str(tmp_path / "a.png")]) == 4
    assert "permission denied for closed/a.png" in capsys.readouterr().err
