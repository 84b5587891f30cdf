"""Checkpoint: the state of a run, as files beside the output, from which it can be continued.

    OUTPUT.vidstyle/
        manifest.json       everything that the pixels depend on; later also the output's files
        frames/000000.png   a finished frame, lossless
        frames/000000.npz   arrays that the next frame needs: see Checkpoint.save
        journal.jsonl       append-only, a line for each finished frame: its sha256 and report
        journal.1-of-2.jsonl    the same for the frames of the first of two shards
        part.mp4, part/     the output while it is written
        part.json           the names of the files to be written into part/
        lock                held by a running run; released by the system if it dies
        lock.1-of-2         held by the first of two running shards, which holds `lock` at its start

Each file is written under a temporary name, synced and renamed, so that it is always complete or
absent. A frame is finished when its file has the sha256 of its line in the journal. Only files of
these exact names are deleted, see state_folder.py.
"""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from zipfile import BadZipFile

import numpy as np

from vidstyle.atomic import commit, defer_signals, delete, lock, sha256_of, sync, sync_folder
from vidstyle.errors import (
    HeldError,
    MediaError,
    StateError,
    UsageError,
    name_list,
    reading,
    writing,
)
from vidstyle.jobs.manifest import MANIFEST, Manifest, check_own, differences, read_manifest
from vidstyle.jobs.state_folder import StateFolder
from vidstyle.jobs.targets import agrees, is_whole
from vidstyle.media import load_frame, save_frame

if TYPE_CHECKING:
    from vidstyle.image import Image

__all__ = ["Checkpoint"]

Report = dict[str, Any]

_PATIENCE = 60.0  # seconds to wait for another shard that reads the state


class Finished(NamedTuple):
    """A finished frame. cut, reinitialized, back: see FrameEvent. noted: notes were saved."""

    cut: bool
    reinitialized: bool
    back: int | None
    noted: bool

    @property
    def follows(self) -> bool:
        """Whether it continues the previous frame: not after a cut, nor from an earlier frame."""
        return not self.cut and self.back is None


class Checkpoint:
    """The state of one run; a context manager that locks it.

    Raises StateError if another run holds it or it belongs to another request, and OutputError
    if it cannot be written. On exit without a finished frame the state folder is deleted.

    shard: (i, n), one of n runs that share the state. The state remains for the run without a
    shard, which raises StateError while a shard is running.
    finished: the finished frames by index.
    published: of the output once it is complete, else empty: the sha256 of each file ("files"), the
    number of frames ("frames"), and the encoding options and keep_frames of the request ("form",
    "kept").
    """

    def __init__(
        self,
        output: Path,
        manifest: Manifest,
        *,
        restart: bool = False,
        shard: tuple[int, int] | None = None,
    ) -> None:
        self.output = output
        self._folder = StateFolder(output)
        self.path = self._folder.path
        self.finished: dict[int, Finished] = {}
        self.published: Manifest = {}
        self._manifest = manifest
        self._restart = restart
        self._shard_suffix = "" if shard is None else ".{}-of-{}".format(*shard)
        self._is_own = False
        self._locks = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as undo, writing(self.path):
            self._folder.check(restart=self._restart)
            self.path.mkdir(exist_ok=True)
            if self._shard_suffix:
                with lock(self.path / "lock", patience=_PATIENCE):
                    undo.enter_context(lock(self.path / f"lock{self._shard_suffix}"))
                    self._open()
            else:
                for path in dict.fromkeys((self.path / "lock", *self._folder.locks())):
                    undo.enter_context(lock(path))
                undo.callback(self._remove_if_unused)
                self._open()
            self._locks = undo.pop_all()
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        with self._locks:
            if error is not None and self._shard_suffix:
                self._remove_after_failed_shard()

    def has(self, index: int) -> bool:
        """Whether frame `index` is finished."""
        return index in self.finished

    def load(self, index: int) -> "Image":
        """Return finished frame `index`."""
        return load_frame(self._frame(index))

    def load_notes(self, index: int) -> dict[str, np.ndarray]:
        """Return the arrays saved with finished frame `index`. Raises MediaError if damaged."""
        if not self.finished[index].noted:
            return {}
        path = self._notes(index)
        try:
            with reading(path), np.load(path) as notes:
                return dict(notes)
        except (ValueError, TypeError, KeyError, EOFError, AttributeError, BadZipFile) as error:
            raise MediaError(
                f"{path}: expected the arrays that a frame was saved with, got a damaged file; "
                "delete it and run the same command again"
            ) from error

    def save(
        self,
        index: int,
        image: "Image",
        report: Report,
        notes: dict[str, np.ndarray | None] | None = None,
    ) -> None:
        """Save `image` as finished frame `index`, with `report`, any JSON object, in the journal.

        notes: arrays by name that the next frame needs; None values are left out.
        """
        final = self._frame(index)
        draft = final.with_suffix(f"{self._shard_suffix}.tmp.png")
        with writing(final):
            save_frame(draft, image)
            line = {"index": index, "sha256": sha256_of(draft), **report}
            if known := {name: array for name, array in (notes or {}).items() if array is not None}:
                line["notes"] = self._save_notes(index, known)
            commit(draft, final)
            with self._journal.open("ab") as file:
                file.write(json.dumps(line).encode() + b"\n")
            sync(self._journal)
        self.finished[index] = _finished(line)

    def _save_notes(self, index: int, notes: dict[str, np.ndarray]) -> str:
        """Save the arrays of a frame; return the sha256 of the file."""
        final = self._notes(index)
        draft = final.with_suffix(f"{self._shard_suffix}.tmp.npz")
        with draft.open("wb") as file, defer_signals():
            np.savez_compressed(file, allow_pickle=False, **notes)
        sync(draft)
        digest = sha256_of(draft)
        commit(draft, final)
        return digest

    def part(self, *, folder: bool, names: Iterable[str] = ()) -> Path:
        """Return the path to write the output to; nothing exists there.

        names: of the files, if the output is a folder; no others are deleted from it later.
        """
        path = self.path / ("part" if folder else f"part{self.output.suffix}")
        with writing(path):
            self._folder.clear_part()
            if folder:
                self._folder.note_parts(names)
        return path

    def publish(
        self, part: Path, *, output_options: Manifest, kept: bool, overwrite: bool = False
    ) -> None:
        """Move the complete `part` to the output's path, file by file.

        output_options, kept: see `published`. overwrite: replace any existing file; without it
        only files that an earlier run of this request wrote are replaced. Raises UsageError if
        another file has appeared during the run.
        """
        with writing(self.output):
            pairs = {self.output: part}
            if part.is_dir():
                pairs = {self.output / name: part / name for name in sorted(self._folder.parts())}
            names = {target.name: sha256_of(file) for target, file in pairs.items()}
            same = self.published.get("form") == output_options
            before = self.published.get("files", {}) if same else {}
            count = len(self.finished)
            published = {"files": names, "frames": count, "form": output_options, "kept": kept}
            own = {target for target in pairs if agrees(target, before.get(target.name))}
            free = set(pairs) if overwrite else own
            for target in set(pairs) - free:
                with self._without_replacing(target):
                    if os.path.lexists(target):
                        raise FileExistsError(target)
            self._write_manifest(published)
            if part.is_dir():
                with self._without_replacing(self.output):
                    self.output.mkdir(exist_ok=True)
            for target, file in pairs.items():
                with self._without_replacing(target):
                    commit(file, target, overwrite=target in free)
            sync_folder(self.output.absolute().parent)

    @contextmanager
    def _without_replacing(self, target: Path) -> Iterator[None]:
        """Convert a FileExistsError to a UsageError: `target` has appeared during the run."""
        try:
            yield
        except FileExistsError as error:
            raise UsageError(
                f"{target} appeared during the run, and was not replaced; move it away, or add "
                "--overwrite to replace it, and run the same command again, or choose another "
                f"output: the finished frames are kept in {self.path}"
            ) from error

    def is_published(self, *, output_options: Manifest) -> bool:
        """Return whether the output exists, intact, as an earlier run of this request wrote it."""
        if not self.published or self.published.get("form") != output_options:
            return False
        return is_whole(self.output, self.published)

    def record(self, path: Path) -> None:
        """Write the manifest to `path`, to be kept when the state folder is deleted."""
        check_own(path)
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_name(f"{path.name}.tmp")
            delete(draft)
            draft.write_text(self._stored(self.published), encoding="utf-8")
            commit(draft, path)

    def remove(self) -> str:
        """Delete the state; name the files that vidstyle did not write, which remain; "" if none.

        The manifest is deleted last, so that an interrupted deletion can be continued.
        """
        with writing(self.path):
            return name_list(self._folder.remove())

    @property
    def _frames(self) -> Path:
        return self.path / "frames"

    @property
    def _journal(self) -> Path:
        return self.path / f"journal{self._shard_suffix}.jsonl"

    def _frame(self, index: int) -> Path:
        return self._frames / f"{index:06d}.png"

    def _notes(self, index: int) -> Path:
        return self._frames / f"{index:06d}.npz"

    def _open(self) -> None:
        self._folder.check(restart=self._restart)
        stored = None if self._restart else read_manifest(self.path / MANIFEST)
        if stored is None:
            self._is_own = True
            self._folder.clear()
            self._write_manifest({})
        elif found := differences(stored["job"], self._manifest):
            raise StateError(
                f"{self.path} holds frames of another request: {'; '.join(found)}; repeat the "
                "earlier request to continue it, or add --restart to discard those frames"
            )
        else:
            self.published = stored["published"]
            self._folder.sweep(self._shard_suffix)
            self._read_journal()
            self._is_own = True
        self._frames.mkdir(exist_ok=True)

    def _remove_if_unused(self) -> None:
        if self._is_own and not self.finished and not self.published:
            self.remove()

    def _remove_after_failed_shard(self) -> None:
        """Delete the state if this shard failed and no shard has finished a frame."""
        others = [path for path in self._folder.locks() if path.name != f"lock{self._shard_suffix}"]
        with suppress(HeldError), ExitStack() as locks:
            for path in others:
                locks.enter_context(lock(path))
            self._read_journal()
            self._remove_if_unused()

    def _write_manifest(self, published: Manifest) -> None:
        draft = self.path / "manifest.tmp.json"
        draft.write_text(self._stored(published), encoding="utf-8")
        commit(draft, self.path / MANIFEST)
        self.published = published

    def _stored(self, published: Manifest) -> str:
        return json.dumps({"job": self._manifest, "published": published}, indent=1)

    def _read_journal(self) -> None:
        """Read the finished frames; truncate an incomplete last line of this run's journal."""
        reports: dict[int, Report] = {}
        for journal in self._folder.journals():
            lines, complete = journal.read_bytes(), 0
            for line, report in _records(lines):
                complete += len(line)
                reports[report["index"]] = report
            if complete < len(lines) and journal == self._journal:
                os.truncate(journal, complete)
        self.finished = {
            index: _finished(report)
            for index, report in reports.items()
            if agrees(self._frame(index), report["sha256"])
            and ("notes" not in report or agrees(self._notes(index), report["notes"]))
        }


def _finished(report: Report) -> Finished:
    cut, reinitialized = (bool(report.get(name)) for name in ("cut", "reinitialized"))
    return Finished(cut, reinitialized, report.get("back"), "notes" in report)


def _records(lines: bytes) -> Iterator[tuple[bytes, Report]]:
    """Yield (line, report) of a journal up to the first incomplete or invalid line."""
    for line in lines.splitlines(keepends=True):
        try:
            report = json.loads(line)
            complete = line.endswith(b"\n") and type(report["index"]) is int and report["sha256"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return
        if not complete:
            return
        yield line, report
