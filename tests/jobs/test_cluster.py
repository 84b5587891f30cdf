"""Batches on a local cluster: the same bytes even if workers or the client die."""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from conftest import write_clip
from test_batch import picture, results

from vidstyle.atomic import lock
from vidstyle.cli.main import main
from vidstyle.errors import CancelledError, UsageError, VidstyleError, WeightsError
from vidstyle.jobs import cluster
from vidstyle.jobs.batch import run_batch
from vidstyle.jobs.discovery import Batch, collect
from vidstyle.jobs.job import Network, make_job
from vidstyle.jobs.manifest import state_path
from vidstyle.stylizer.protocol import IdentityStylizer, Stylized

SETTINGS = {"steps": 0, "steps_next": 0}
NO_STEPS = ["--steps", "0", "--steps-next", "0"]
pytest.importorskip("distributed")


class SlowStylizer(IdentityStylizer):
    """A slow stylizer that logs the process of each frame."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._note("made")

    def _note(self, entry: str) -> None:
        with self._log.open("a") as file:
            file.write(f"{entry} {os.getpid()}\n")

    def stylize(self, content: Any, **given: Any) -> Stylized:
        time.sleep(0.05)
        self._note("frame")
        return super().stylize(content, **given)


def make_slow_stylizer(log: Path, *_: object) -> SlowStylizer:
    return SlowStylizer(log)


def notes(log: Path, entry: str) -> list[int]:
    """Return the process ids logged for `entry`, in order."""
    lines = [line.split() for line in log.read_text().splitlines()]
    return [int(process) for done, process in lines if done == entry]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A clip of twelve frames, five photos and a damaged file."""
    folder = tmp_path / "in"
    for index in range(5):
        picture(folder / "photos" / f"{index}.png", index)
    write_clip(folder / "a.mp4", 12)
    (folder / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    return folder


def whole(tree: Path, name: str) -> Batch:
    return collect([tree], tree.parent / name, recursive=True)


def command(tree: Path, style: Path, *more: str) -> list[str]:
    paths = [str(tree), "-r", "-o", str(tree.parent / "out"), "--style", str(style)]
    return ["basic", *paths, *NO_STEPS, *more]


def silent(_: Any) -> None:
    """Ignore the event."""


def test_a_killed_worker_is_replaced(tree: Path, style: Path, tmp_path: Path) -> None:
    make = partial(make_job, style=style, **SETTINGS)
    assert run_batch(whole(tree, "alone"), make, silent) == 1
    log, events, victims = tmp_path / "log", [], []

    def kill(event: Any) -> None:
        events.append(event)
        if event.name == "frame" and event.source.endswith("a.mp4") and event.index == 4:
            victims.append(event.process)
            os.kill(event.process, signal.SIGKILL)

    each = cluster.spread_over("local:2")
    batch = whole(tree, "out")
    assert (
        run_batch(batch, make, kill, make_stylizer=partial(make_slow_stylizer, log), each=each) == 1
    )
    assert len(victims) == 1
    assert results(batch.output) == results(tmp_path / "alone")
    assert not state_path(batch.output / "a.mp4").exists()
    assert (events[-1].name, events[-1].done) == ("summary", 6)
    assert [Path(one.source).name for one in events[-1].failed] == ["bad.png"]
    assert len(notes(log, "frame")) <= 12 + 5 + 2  # only interrupted frames are stylised twice
    assert len(notes(log, "made")) == len(set(notes(log, "made"))) <= 3  # one model per process
    items = [event for event in events if event.name == "item"]
    assert sorted(item.index for item in items) == list(range(7))


def test_a_cancelled_batch_on_a_cluster_continues(tree: Path, style: Path, tmp_path: Path) -> None:
    make, flag = partial(make_job, style=style, **SETTINGS), threading.Event()
    batch, each = whole(tree, "out"), cluster.spread_over("local:1")

    def stop(event: Any) -> None:
        if event.name == "item" and event.status == "done":
            flag.set()

    slow = partial(make_slow_stylizer, tmp_path / "log")
    with pytest.raises(CancelledError):
        run_batch(batch, make, stop, cancel=flag, make_stylizer=slow, each=each)
    assert 1 <= len(results(batch.output)) < 6
    assert run_batch(batch, make, silent) == 1
    assert len(results(batch.output)) == 6


@pytest.mark.parametrize("where", [[], ["--scheduler", "local:2"]], ids=["here", "cluster"])
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM], ids=["INT", "TERM"])
def test_an_interrupted_batch_continues(
    tree: Path, style: Path, where: list[str], sign: signal.Signals
) -> None:
    """A terminal sends SIGINT to the workers too; SIGTERM goes to the client only."""
    (tree / "bad.png").unlink()
    write_clip(tree / "a.mp4", 80)
    arguments = [sys.executable, "-m", "vidstyle", *command(tree, style)]
    process = subprocess.Popen(
        [*arguments, *where], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    journal = state_path(tree.parent / "out" / "a.mp4") / "journal.jsonl"
    while not journal.exists():
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, sign) if sign == signal.SIGINT else process.send_signal(sign)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert stderr.startswith("vidstyle: stopped after ")
    assert stderr.endswith(" of 6 sources; run the same command to continue\n")
    assert len(stderr.splitlines()) == 1
    finished = len(results(tree.parent / "out"))
    again = subprocess.run([*arguments, "--json"], capture_output=True, check=True, text=True)
    summary = json.loads(again.stdout.splitlines()[-1])
    assert summary["done"] + summary["skipped"] == 6
    assert finished - 2 <= summary["skipped"] <= finished < 6  # two may not have a record yet
    assert len(results(tree.parent / "out")) == 6


def test_a_worker_waits_for_a_source_locked_by_another_run(
    tree: Path, style: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[Any] = []
    make = partial(make_job, style=style, **SETTINGS)
    monkeypatch.chdir(tree)
    batch = collect([Path("a.mp4"), Path("photos/1.png")], tree.parent / "out")
    state = state_path(batch.output / "a.mp4")
    state.mkdir(parents=True)
    work = _work(batch, make)
    with lock(state / "lock"), monkeypatch.context() as patch:
        patch.setattr("time.sleep", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            work.do(0, events.append, patient=True)
    assert "another run holds" in events[-1].message
    assert work.do(0, silent, patient=True).status == "done"
    assert work.do(0, silent, patient=True).status == "skipped"  # the task runs a second time


def _work(batch: Batch, make: Callable[..., Any]) -> Any:
    from vidstyle.jobs.batch_item import BatchWork
    from vidstyle.jobs.stylizer_cache import StylizerCache

    return BatchWork(batch, make, StylizerCache(lambda *_: IdentityStylizer()), Network())


@pytest.mark.parametrize(
    ("address", "code"), [("local:0", 2), ("tcp://127.0.0.1:9", 1), ("nonsense://1", 1)]
)
def test_an_invalid_scheduler_is_reported_in_one_sentence(
    tree: Path, style: Path, capsys: pytest.CaptureFixture[str], address: str, code: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster, "_PATIENCE", 0.5)
        assert main(command(tree, style, "--scheduler", address)) == code
    stderr = capsys.readouterr().err
    wanted = (
        "expected local:N with N from 1" if code == 2 else "but none answers; check the address"
    )
    assert wanted in stderr
    assert len(stderr.splitlines()) == 1


def test_other_users_of_the_machine_cannot_reach_a_local_cluster() -> None:
    import psutil
    from distributed import Client

    with cluster.workers_at("local:1") as workers:
        address = workers.client.scheduler.address
        parts = [psutil.Process(), *psutil.Process().children(recursive=True)]
        listening = {
            (one.laddr.ip, one.laddr.port)
            for part in parts
            for one in part.net_connections("tcp")
            if one.status == psutil.CONN_LISTEN
        }
        assert address.startswith("tls://127.0.0.1:")
        assert {ip for ip, _ in listening} == {"127.0.0.1"}
        for other in (address, address.replace("tls:", "tcp:")):  # without the certificate
            with pytest.raises((OSError, TypeError)):
                Client(other, timeout=2, set_as_default=False)
        answers = [_http_status(port) for _, port in sorted(listening)]
    assert not [answer for answer in answers if answer == 200]


def _http_status(port: int) -> int | None:
    """Return the HTTP status of a dashboard page; None if the server does not speak HTTP."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/info/main/workers.html", timeout=5):
            return 200
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, http.client.HTTPException):
        return None


def test_a_scheduler_without_workers_is_reported_in_one_sentence() -> None:
    client = Mock()
    client.wait_for_workers.side_effect = TimeoutError
    with pytest.raises(VidstyleError, match="has no workers; start some with `dask worker tcp"):
        cluster._check_workers(client, "tcp://host:8786", cluster._WorkerEnvironment())


def test_workers_without_vidstyle_are_reported_in_one_sentence() -> None:
    client = Mock()
    client.run.side_effect = Exception("ModuleNotFoundError(\"No module named 'vidstyle'\")")
    with pytest.raises(UsageError, match=r"cannot use vidstyle .*; install it there too"):
        cluster._check_workers(client, "tcp://host:8786", cluster._WorkerEnvironment())


def test_the_missing_extra_is_named(
    tree: Path, style: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert main(command(tree, style, "--scheduler", "local:2")) == 2
    assert "pip install 'vidstyle[cluster]'" in capsys.readouterr().err


def test_a_worker_with_another_environment_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = cluster._WorkerEnvironment()
    environment.enter()
    with pytest.raises(UsageError, match="does not see the folder"):
        cluster._WorkerEnvironment(str(tmp_path / "nowhere")).enter()
    monkeypatch.setenv("OMP_NUM_THREADS", "1234")
    with pytest.raises(UsageError, match=r"OMP_NUM_THREADS was .*, is 1234; install the same"):
        environment.enter()


def test_other_weights_are_refused(
    tree: Path, style: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Network(tree / "a.mp4", "worker")
    monkeypatch.setattr(cluster, "find_network", lambda *_: found)
    work = _work(whole(tree, "out"), partial(make_job, style=style))
    with pytest.raises(WeightsError, match="expected the weights"):
        cluster._network(replace(work, network=Network(tree / "vgg.npz", "client")))
