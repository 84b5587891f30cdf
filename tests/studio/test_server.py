"""Starting the studio: refusals, and the warning for other machines."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vidstyle.errors import UsageError
from vidstyle.studio.server import serve

pytest.importorskip("uvicorn", reason="needs the extra 'studio'")


def test_a_clip_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="but there is none"):
        serve(tmp_path / "no.mp4")


def test_an_address_that_is_not_this_machine_is_a_sentence() -> None:
    with pytest.raises(UsageError, match="cannot listen on 192\\.0\\.2\\.1"):
        serve(None, host="192.0.2.1")


def test_only_this_machine_is_let_in_by_a_random_token(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(asyncio, "run", lambda coroutine: coroutine.close())
    printed: list[tuple[str, bool]] = []

    def ready(address: str, start: Path, open_to_others: bool) -> None:
        assert start == tmp_path.resolve()
        printed.append((address, open_to_others))

    for options in ({}, {}, {"host": "0.0.0.0"}, {"host": "localhost"}):
        serve(None, ready=ready, **options)
    assert [flag for _, flag in printed] == [False, False, True, False]
    assert printed[0][0].startswith("http://127.0.0.1:")
    tokens = {address.partition("?token=")[2] for address, _ in printed}
    assert len(tokens) == 4
    assert min(map(len, tokens)) >= 32


@pytest.mark.parametrize("port", ["x", "-1", "70000"])
def test_a_wrong_port_is_a_sentence(port: str) -> None:
    found = subprocess.run(
        [sys.executable, "-m", "vidstyle", "studio", "--port", port],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.returncode == 2
    assert found.stderr.startswith("vidstyle: ")


def test_other_machines_are_let_in_with_a_warning_only(clip: Path, tmp_path: Path) -> None:
    options = ("--no-browser", "--host", "0.0.0.0")
    process = subprocess.Popen(
        [sys.executable, "-m", "vidstyle", "studio", str(clip), *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path)},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        assert "http://0.0.0.0:" in process.stdout.readline()
        assert "the connection is not encrypted" in process.stderr.readline()
    finally:
        process.terminate()
        process.communicate(timeout=30)
    assert process.returncode in (0, 130)  # 130: before the server began
