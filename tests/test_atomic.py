"""Crash-safe files: synced before they are renamed, never replacing another file."""

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_pipeline import Inverter

from vidstyle import atomic
from vidstyle.atomic import commit, delete, rename_new
from vidstyle.jobs.job import make_job
from vidstyle.jobs.pipeline import run


class Watch:
    """An audit hook that records files below a folder that are renamed without a sync."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = str(folder)
        self.renamed: list[str] = []
        self.unsynced: list[str] = []
        self._synced: set[tuple[int, int, int]] = set()
        fsync = os.fsync

        def recording(descriptor: int) -> None:
            fsync(descriptor)
            self._synced.add(_content(os.fstat(descriptor)))

        monkeypatch.setattr(os, "fsync", recording)
        sys.addaudithook(self)

    def __call__(self, event: str, details: tuple[Any, ...]) -> None:
        if event in ("os.rename", "os.link") and str(details[0]).startswith(self.folder):
            self.renamed.append(Path(details[1]).name)
            if _content(os.lstat(details[0])) not in self._synced:
                self.unsynced.append(str(details[0]))


def _content(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_size, status.st_mtime_ns


def test_every_file_is_synced_before_it_gets_its_name(
    clip: Path, photos: Path, style: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a crash of the machine, a renamed file that was not synced may be empty."""
    (tmp_path / "out").mkdir()
    watch = Watch(tmp_path / "out", monkeypatch)
    for source, name in ((clip, "out.mp4"), (photos, "folder")):
        job = make_job(source, tmp_path / "out" / name, style=style, steps=0, steps_next=0)
        run(job, make_stylizer=Inverter(), record=tmp_path / "out" / f"{name}.json")
    watch.folder = "never"
    wanted = {"out.mp4", "photo0.png", "000000.png", "manifest.json", "part.json", "out.mp4.json"}
    assert wanted <= set(watch.renamed)
    assert watch.unsynced == []


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_draft_is_synced_then_renamed_and_then_its_folder_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, overwrite: bool
) -> None:
    (tmp_path / "draft").write_text("new")
    done: list[tuple[int, bool]] = []
    fsync = os.fsync

    def recording(descriptor: int) -> None:
        fsync(descriptor)
        done.append((os.fstat(descriptor).st_ino, (tmp_path / "final").exists()))

    monkeypatch.setattr(os, "fsync", recording)
    own, above = (tmp_path / "draft").stat().st_ino, tmp_path.stat().st_ino
    commit(tmp_path / "draft", tmp_path / "final", overwrite=overwrite)
    assert done == [(own, False), (above, True)]
    assert [path.name for path in tmp_path.iterdir()] == ["final"]


def test_delete_removes_a_link_and_not_its_target(tmp_path: Path) -> None:
    folder, file = tmp_path / "folder", tmp_path / "file"
    folder.mkdir()
    (folder / "kept").touch()
    file.touch()
    for target in (folder, file, tmp_path / "nowhere"):
        (tmp_path / "link").symlink_to(target)
        delete(tmp_path / "link")
        assert not os.path.lexists(tmp_path / "link")
    assert (folder / "kept").exists()
    assert file.exists()
    with pytest.raises(OSError, match=r"directory|permitted"):
        delete(folder)
    assert (folder / "kept").exists()
    delete(tmp_path / "nowhere")


def _refusing(code: int) -> Callable[..., None]:
    def link(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return link


@pytest.fixture(params=["links", "exclusive rename", "neither"])
def _system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Platforms with hard links, with only an exclusive rename, and with neither."""
    if request.param != "links":
        monkeypatch.setattr(os, "link", _refusing(errno.EPERM))
    if request.param == "neither":
        monkeypatch.setattr(atomic, "_system_rename", lambda *_: errno.ENOSYS)


@pytest.mark.usefixtures("_system")
def test_an_exclusive_rename_replaces_nothing(tmp_path: Path) -> None:
    draft, final = tmp_path / "draft", tmp_path / "final"
    draft.write_text("new")
    for there in ("file", "link", "folder"):
        if there == "file":
            final.write_text("mine")
        elif there == "link":
            final.symlink_to("nowhere")
        else:
            final.mkdir()
        with pytest.raises(FileExistsError):
            rename_new(draft, final)
        assert draft.read_text() == "new"
        assert os.path.lexists(final)
        final.rmdir() if there == "folder" else final.unlink()
    rename_new(draft, final)
    assert (final.read_text(), draft.exists()) == ("new", False)


def test_the_exclusive_rename_is_atomic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that appears between the check and the rename is not replaced."""
    if sys.platform != "linux":
        pytest.skip("another exclusive rename")
    draft, final = tmp_path / "draft", tmp_path / "final"
    draft.write_text("new")
    final.write_text("mine")
    monkeypatch.setattr(os.path, "lexists", lambda _: False)
    monkeypatch.setattr(Path, "exists", lambda _: False)
    for link in (os.link, _refusing(errno.EPERM)):
        monkeypatch.setattr(os, "link", link)
        with pytest.raises(FileExistsError):
            rename_new(draft, final)
    assert final.read_text() == "mine"


def test_a_failing_disk_causes_no_fallback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "draft").touch()
    monkeypatch.setattr(os, "link", _refusing(errno.EIO))
    with pytest.raises(OSError, match="Input/output"):
        rename_new(tmp_path / "draft", tmp_path / "final")
    assert not (tmp_path / "final").exists()
