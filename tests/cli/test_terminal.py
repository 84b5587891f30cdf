"""Control sequences in file names and tags are escaped on the terminal."""

import json
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from vidstyle import media
from vidstyle.cli.main import main
from vidstyle.cli.progress import BatchReporter, Reporter, plan_in_words
from vidstyle.cli.terminal import printable
from vidstyle.jobs.events import (
    BatchEvent,
    DoneEvent,
    Event,
    FailedSource,
    ItemEvent,
    NextEvent,
    PlanEvent,
    PlannedItemEvent,
    SummaryEvent,
    TraceEvent,
    WarningEvent,
)

HOSTILE = "\x1b]0;owned\x07\r\n\u202etxt\u2066\x9b31m\x7f\u2028"
SHOWN = r"\x1b]0;owned\x07\r\n\u202etxt\u2066\x9b31m\x7f\u2028"


def is_clean(text: str) -> bool:
    return not any(char in text.replace("\n", "") for char in HOSTILE if not char.isprintable())


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (HOSTILE, SHOWN),
        ("a\udcffb", r"a\udcffb"),
        ("naïve 日本 \U0001f468\u200d\U0001f469 \u0645\u06cc\u200c\u062e a\\b", None),
        ("a\u061c\u200f\ufeff\U000e0041", r"a\u061c\u200f\ufeff\U000e0041"),
    ],
)
def test_control_characters_are_escaped_and_letters_kept(text: str, shown: str | None) -> None:
    assert printable(text) == (text if shown is None else shown)


def test_a_trace_keeps_its_lines() -> None:
    assert printable("a\n\x1bb\n", keep="\n") == "a\n\\x1bb\n"


def test_an_error_names_the_file_without_acting_on_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = str(tmp_path / f"no{HOSTILE}such.png")
    for words in (["probe", name], ["track", name, "-o", name], ["basic", name, "--no\x1b[2J"]):
        main(words)
        captured = capsys.readouterr()
        assert is_clean(captured.err + captured.out)
        assert captured.err.count("\n") == 1
    assert main(["eval", name, "--source", name, "--json"]) == 3
    captured = capsys.readouterr()
    assert name in json.loads(captured.out.splitlines()[0])["message"]


def test_every_line_of_a_run_and_a_batch_is_clean(capsys: pytest.CaptureFixture[str]) -> None:
    failed = FailedSource(HOSTILE, f"broken {HOSTILE}", 1)
    place: dict[str, Any] = {"index": 0, "of": 2, "source": HOSTILE}
    named: dict[str, Any] = {"output": Path(HOSTILE), "seconds": 1.0}
    words = {"message": failed.message, "exit_code": 1}
    events: list[Event] = [
        BatchEvent(of=2, left_out={}),
        NextEvent(**place),
        WarningEvent(message=f"lost: {HOSTILE}"),
        TraceEvent(text=f"Traceback\n{HOSTILE}"),
        ItemEvent(**place, **words, status="failed", output=None, seconds=0.0),
        ItemEvent(**place, **named, status="done"),
        PlannedItemEvent(**place, output=Path(HOSTILE), status="planned"),
        SummaryEvent(
            of=2, done=1, skipped=0, failed=(failed,), warnings=(), left_out={}, seconds=1.0
        ),
    ]
    with BatchReporter(as_json=False, quiet=False, verbose=True, restart=False) as batch:
        for event in events:
            batch(event)
    with Reporter(as_json=False, quiet=False) as run:
        run(WarningEvent(message=HOSTILE))
        run(DoneEvent(**named, kept=Path(HOSTILE), stylized=1, frames=1, warnings=()))
    fields = dict.fromkeys(("frames", "width", "height", "steps", "steps_next", "evaluations"), 1)
    fields |= {"seconds": 1, "bytes": 1, "bytes_free": 1}
    print(plan_in_words(PlanEvent(source=HOSTILE, output=Path(HOSTILE), kind="photo", **fields)))
    captured = capsys.readouterr()
    assert is_clean(captured.out + captured.err)
    assert captured.err.count(SHOWN) == 3  # two warnings and a failure; the trace keeps its lines
    assert captured.out.count(SHOWN) == 8


def test_tags_of_a_file_are_escaped_and_json_is_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"a{HOSTILE}.png"
    PIL.Image.new("RGB", (64, 48)).save(path)
    assert main(["probe", str(path)]) == 0
    assert json.loads(capsys.readouterr().out)["source"] == str(path)
    assert media.probe(path).frames == 1
