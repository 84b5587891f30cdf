"""The loop of a batch with a fake or tiny stylizer: one model, failures, kills."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import PIL.Image
import pytest
from conftest import scene, write_clip
from test_pipeline import Inverter
from tiny import LAYERS, TinyEncoder

from vidstyle import media
from vidstyle.cli import main
from vidstyle.errors import OutputError, WeightsError
from vidstyle.guides.guide import Guide
from vidstyle.jobs import batch as batches
from vidstyle.jobs.batch import plan_batch, run_batch
from vidstyle.jobs.discovery import Batch, collect
from vidstyle.jobs.job import Job, Network, make_job
from vidstyle.jobs.stylizer_cache import StylizerCache
from vidstyle.stylizer.protocol import IdentityStylizer
from vidstyle.stylizer.stylizer import Stylizer
from vidstyle.techniques.base import Style

NO_STEPS = ["--steps", "0", "--steps-next", "0"]
Make = Callable[[Path, Path], Job]


def save(path: Path, index: int = 0, size: tuple[int, int] = (48, 36)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(scene(index)).resize(size).save(path)
    return path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Four pictures of four sizes."""
    for index, name in enumerate(("a.png", "b.jpg", "img2.png", "sub/a.png")):
        save(tmp_path / "in" / name, index, (40 + 8 * index, 36))
    return tmp_path / "in"


@pytest.fixture
def make(style: Path) -> Make:
    def job(source: Path, output: Path) -> Job:
        small = {"style_layers": LAYERS, "content_layers": LAYERS[1:2]}
        return make_job(source, output, style=style, steps=2, steps_next=1, **small)

    return job


@pytest.fixture(autouse=True)
def _without_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "find_network", lambda *_: Network())


@pytest.fixture
def command(tree: Path, style: Path, tmp_path: Path) -> Callable[..., int]:
    """Run a batch of the tree without steps on the command line; return the exit code."""

    def run_without_steps(*more: str) -> int:
        paths = [str(tree), "-r", "-o", str(tmp_path / "out"), "--style", str(style)]
        return main.main(["basic", *paths, *NO_STEPS, *more])

    return run_without_steps


def whole(tree: Path, output: Path) -> Batch:
    return collect([tree], output, recursive=True)


def tiny(job: Job, styles: Any, _: Any) -> Stylizer:
    return Stylizer(styles, technique=job.technique, settings=job.settings, encoder=TinyEncoder())


def silent(_: Any) -> None:
    """Ignore the event."""


def results(folder: Path) -> dict[str, bytes]:
    """Return the bytes of the files in a result folder, without records."""
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    return {
        name: path.read_bytes()
        for name, path in paths.items()
        if path.is_file() and not name.startswith(".vidstyle/")
    }


class Counting:
    """Makes stylizers and keeps them."""

    def __init__(self, make: Callable[..., Any]) -> None:
        self.made: list[Any] = []
        self._make = make

    def __call__(self, *given: Any) -> Any:
        self.made.append(self._make(*given))
        return self.made[-1]


def test_the_model_is_made_once_and_results_equal_single_runs(
    tree: Path, tmp_path: Path, make: Make
) -> None:
    for index in range(7):  # seven sizes, all padded to 40 x 48, the size of another source
        save(tree / "many" / f"{index}.png", index, (48, 34 + index))
    batch, counting = whole(tree, tmp_path / "out"), Counting(tiny)
    assert run_batch(batch, make, silent, make_stylizer=counting) == 0
    (stylizer,) = counting.made
    assert stylizer.traces == 4
    for item in batch.items:
        alone = collect([item.source, tree / "missing.png"], tmp_path / "alone")
        assert run_batch(alone, make, silent, make_stylizer=tiny) == 1
        (data,) = results(tmp_path / "alone").values()
        assert data == (tmp_path / "out" / item.relative_path).read_bytes()
        shutil.rmtree(tmp_path / "alone")


def test_styles_with_different_maps_have_separate_stylizers(style: Path) -> None:
    image = media.read_picture(style)
    planes = np.ones((*image.shape[:2], 1), np.float32)
    guides = [None, Guide(planes, ("red",)), Guide(planes, ("blue",)), Guide(0 * planes, ("red",))]
    counting = Counting(lambda *_: object())
    kept = StylizerCache(counting)
    for guide in guides:
        for _ in range(2):
            kept(Mock(), [Style(image=image.copy(), weight=1.0, guide=guide)], None)
    assert len(counting.made) == 4


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("odd"), "internal error: RuntimeError: odd"),
        (MemoryError(), "memory ran out at 56 x 36 pixels"),
    ],
    ids=["fault", "memory"],
)
def test_an_error_of_the_stylizer_fails_one_source(
    tree: Path, tmp_path: Path, make: Make, error: Exception, words: str
) -> None:
    events: list[Any] = []

    class Once(Inverter):
        def stylize(self, content: Any, *given: Any, **named: Any) -> Any:
            fails = self._fails_at == len(self.priors)
            try:
                return super().stylize(content, *given, **named)
            finally:
                if fails:
                    self._fails_at = None

    batch = whole(tree, tmp_path / "out")
    assert run_batch(batch, make, events.append, make_stylizer=Once(2, error)) == 1
    assert events[-1].done == 3
    assert events[-1].failed[0].message.startswith(words)


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), WeightsError("gone")], ids=["disk", "weights"]
)
def test_an_error_common_to_all_sources_stops_the_batch(
    tree: Path, tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    batch, inverter = whole(tree, tmp_path / "out"), Inverter()
    with monkeypatch.context() as patch:
        patch.setattr(media, "encode", Mock(side_effect=error))
        with pytest.raises((OutputError, WeightsError)):
            run_batch(batch, make, silent, make_stylizer=inverter)
    assert len(inverter.priors) == 1
    assert run_batch(batch, make, silent, make_stylizer=inverter) == 0
    assert len(inverter.priors) == 4  # the finished frame is not stylised again


def test_foreign_files_are_kept_and_other_requests_are_refused_by_name(
    command: Callable[..., int], tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = save(tmp_path / "out" / "a.png", 5).read_bytes()
    assert command() == 1
    assert (tmp_path / "out" / "a.png").read_bytes() == mine
    assert command("--overwrite") == 0
    save(tree / "b.jpg", 5)
    capsys.readouterr()
    assert command("--size", "32", "--json") == 1
    failed = json.loads(capsys.readouterr().out.splitlines()[-1])["failed"]
    assert len(failed) == 4
    assert "was made by another request: --size was auto, is 32; add" in failed[0]["message"]
    assert "the source changed" in failed[1]["message"]
    assert command("--overwrite", "--json") == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (summary["done"], summary["skipped"]) == (1, 3)


def test_a_traceback_is_printed_with_verbose(
    command: Callable[..., int], tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tree / "bad.png").touch()
    assert command("-v") == 1
    assert "Traceback" in capsys.readouterr().err


class Watcher(IdentityStylizer):
    """Records the area of each mask, in 40ths of the picture."""

    def __init__(self) -> None:
        self.covered: list[int] = []

    def stylize(self, content: Any, *, guide: Any = None, **given: Any) -> Any:
        self.covered.append(round(40 * float(guide.planes.mean())))
        return super().stylize(content, **given)


def test_masks_are_found_in_a_folder_that_mirrors_the_sources(
    tree: Path, style: Path, tmp_path: Path
) -> None:
    """One mask is a series, one has the full file name, one is missing and named."""
    write_clip(tree / "sub" / "move.mp4", 2)
    covers = {"a.png": 0.25, "b.jpg": 0.5, "b.png": 1.0, "img2.png": 0.75, "sub/move/0.png": 1.0}
    masks, sizes = tmp_path / "masks", {"a.png": 40, "b.jpg": 48, "b.png": 48, "img2.png": 56}
    for name, part in covers.items():
        width, height = (sizes[name], 36) if name in sizes else (128, 96)
        values = np.zeros((height, width), np.uint8)
        values[: round(part * height)] = 255
        (masks / name).parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(values).save(masks / name)

    def make(source: Path, output: Path) -> Job:
        given = {"technique": "mask", "mask": [masks], "feather": 0, "steps": 0, "steps_next": 0}
        return make_job(source, output, style=style, **given)

    watcher, events = Watcher(), []
    batch = whole(tree, tmp_path / "out")
    assert run_batch(batch, make, events.append, make_stylizer=lambda *_: watcher) == 1
    assert watcher.covered == [9, 18, 27, 40, 40]  # photos of 36 rows are stylised with 4 more
    (failed,) = events[-1].failed
    assert f"sub/a.png: expected its mask or map in {masks}/sub, named a.png" in failed.message
    assert failed.exit_code == 3
    shutil.copy(masks / "img2.png", masks / "sub" / "a.jpg")
    save(tree / "sub" / "a.png", 1, (56, 36))
    assert run_batch(batch, make, events.append, make_stylizer=lambda *_: watcher) == 0
    assert watcher.covered[5:] == watcher.covered[2:3]
    shutil.rmtree(masks / "sub" / "move")
    assert plan_batch(batch, make, events.append) == 1  # a clip without its own mask


def test_a_folder_without_matching_names_is_a_series_for_every_clip(
    tmp_path: Path, style: Path
) -> None:
    for name in ("x.mp4", "y.mp4"):
        write_clip(tmp_path / name, 2)
    for number in (0, 1):
        save(tmp_path / "masks" / f"{number}.png", 0, (128, 96))

    def make(source: Path, output: Path) -> Job:
        masks = tmp_path / "masks"
        given = {"technique": "mask", "mask": masks, "steps": 0, "steps_next": 0}
        return make_job(source, output, style=style, **given)

    sources = collect([tmp_path / "x.mp4", tmp_path / "y.mp4"], tmp_path / "out")
    assert run_batch(sources, make, silent, make_stylizer=lambda *_: Watcher()) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="names are text elsewhere")
def test_file_names_that_are_not_utf8_are_accepted(tree: Path, style: Path, tmp_path: Path) -> None:
    names = [os.fsdecode(name) for name in (b"caf\xe9.png", b"\xff.mp4", b"\xfe.jpg")]
    save(tree / "plain.png").rename(tree / names[0])
    write_clip(tree / "plain.mp4", 2).rename(tree / names[1])
    (tree / names[2]).touch()
    command = [sys.executable, "-m", "vidstyle", "basic", str(tree), "-r", *NO_STEPS]
    command += ["-o", str(tmp_path / "out"), "--style", str(style)]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    found = subprocess.run(command, capture_output=True, check=False, env=environment)
    assert found.returncode == 1
    assert b"caf\\udce9.png: " in found.stdout
    assert b"6 done, 0 skipped, 1 failed" in found.stdout
    assert found.stderr.count(b"vidstyle: ") == 1
    assert all((tmp_path / "out" / name).exists() for name in names[:2])


class KilledError(BaseException):
    """Simulates a kill."""


def test_a_batch_killed_at_any_rename_continues(
    tree: Path, tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stop after each rename in turn; at the end all is done and no state is left."""
    monkeypatch.chdir(tree)
    sources = [Path("a.png"), Path("b.jpg")]
    run_batch(collect(sources, tmp_path / "all"), make, silent, make_stylizer=Inverter())
    moment, fell = 0, True
    while fell:
        moment, fell = moment + 1, False
        batch = collect(sources, tmp_path / f"out{moment}")
        with monkeypatch.context() as patch:
            _fail_from_rename(patch, moment)
            try:
                run_batch(batch, make, silent, make_stylizer=Inverter())
            except KilledError:
                fell = True
        assert run_batch(batch, make, silent, make_stylizer=Inverter()) == 0, moment
        assert results(batch.output) == results(tmp_path / "all")
        assert {path.name for path in batch.output.iterdir()} == {".vidstyle", "a.png", "b.jpg"}
    assert moment > 30


def _fail_from_rename(patch: pytest.MonkeyPatch, moment: int) -> None:
    """Make the rename number `moment` and all later ones fail, as after a kill."""
    count = 0

    def counted(change: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*given: Any, **named: Any) -> Any:
            nonlocal count
            count += 1
            if count >= moment:
                raise KilledError
            return change(*given, **named)

        return counting

    for name in ("replace", "unlink", "rmdir", "mkdir"):
        patch.setattr(Path, name, counted(getattr(Path, name)))
