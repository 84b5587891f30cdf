"""Child processes for scripts/torture: vidstyle's command line with injected faults.

A child is forked from a process that has imported everything but started no threads. It reports its
progress as single letters in a pipe (see MARKS).
"""

import errno
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import cv2  # noqa: F401 - imported before any fork
import numpy as np
import PIL.Image
from av.video.frame import VideoFrame

from vidstyle import media
from vidstyle.cli import main
from vidstyle.jobs import pipeline
from vidstyle.jobs.checkpoint import Checkpoint
from vidstyle.stylizer.protocol import IdentityStylizer, Stylized

MARKS = {"decode": "d", "stylise": "s", "encode": "e", "rename": "r"}
STARTED, CREATION, OPERATION, FAILED = "m", "c", "o", "!"  # ENOSPC affects creations only
_CREATES = ("os.rename", "os.mkdir", "os.link", "os.fsync")
_OTHERS = ("os.remove", "os.rmdir", "os.truncate", "os.scandir", "os.listdir")
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT

_report: Callable[[str], None] = lambda letter: None  # noqa: E731 - replaced in each child


class Engine(IdentityStylizer):
    """Inverts the frame, uses the prior and returns matches: fills every part of a state."""

    def __init__(self, pause: float) -> None:
        self._pause = pause

    def stylize(self, content: Any, *, prior: Any = None, **_: Any) -> Stylized:
        """Return the inverse of the frame, blended with the prior."""
        _report(MARKS["stylise"])
        time.sleep(self._pause)
        image = 1 - content
        matches = np.full((4, 4, 5), int(content.sum()) % 4096, np.float32)
        if prior is not None:
            image = (image + prior.confidence * prior.image) / (1 + prior.confidence)
            matches += prior.matches
        return Stylized(image, {"total": float(image.mean())}, 1, matches)


@dataclass
class Fault:
    """A fault injected at the `moment`-th file operation in `folder`.

    kind: "kill", or the name of an errno, raised once. moment: 0 for never.
    """

    folder: Path
    kind: str = "kill"
    moment: int = 0
    count: int = field(default=0, init=False)

    def install(self) -> None:
        """Install the fault in this process, permanently."""
        synced = os.fsync

        def fsync(descriptor: int) -> None:
            self("os.fsync", (str(Path(f"/proc/self/fd/{descriptor}").readlink()), descriptor))
            synced(descriptor)

        os.fsync = fsync  # type: ignore[assignment]
        sys.addaudithook(self)

    def __call__(self, event: str, details: tuple[Any, ...]) -> None:
        """Count a file operation and inject the fault; an audit hook."""
        if event not in ("open", *_CREATES, *_OTHERS) or not self._is_below(details[0]):
            return
        creates = bool((details[2] or 0) & _WRITES) if event == "open" else event in _CREATES
        _report(CREATION if creates else OPERATION)
        if self.kind == "ENOSPC" and not creates:
            return
        self.count += 1
        if self.count == self.moment:
            _report(FAILED)
            if self.kind == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            code = getattr(errno, self.kind)
            raise OSError(code, os.strerror(code), os.fsdecode(details[0]))

    def _is_below(self, path: Any) -> bool:
        if not isinstance(path, (str, bytes, os.PathLike)):
            return False
        name = os.fsdecode(path)  # relative paths are in a folder that is being deleted
        return not name.startswith("/") or name.startswith(str(self.folder))


@dataclass
class Child:
    """A run of the command line in a child process."""

    pid: int
    marks: int
    log: Path
    code: int | None = None
    peak: int = 0  # bytes, including memory shared with the parent

    def letters(self) -> Iterator[str]:
        """Yield each mark as it arrives, until the child ends."""
        while data := os.read(self.marks, 1):
            yield data.decode()

    def wait(self, seconds: float = 60.0) -> str:
        """Wait for the child; return the unread marks. Raises TimeoutError."""
        seen, deadline = "", time.monotonic() + seconds
        while select.select([self.marks], [], [], max(0, deadline - time.monotonic()))[0]:
            data = os.read(self.marks, 4096)
            if not data:
                break
            seen += data.decode()
        else:
            os.kill(self.pid, signal.SIGKILL)
            self.reap()
            raise TimeoutError(f"no end after {seconds:g} s")
        self.reap()
        return seen

    def reap(self) -> None:
        """Set the exit code; negative for a signal."""
        _, status, usage = os.wait4(self.pid, 0)
        self.code, self.peak = os.waitstatus_to_exitcode(status), usage.ru_maxrss * 1024
        os.close(self.marks)

    def output_lines(self) -> list[str]:
        """Return the lines that the child printed."""
        return self.log.read_text(encoding="utf-8", errors="replace").splitlines()


def start(
    arguments: list[str],
    log: Path,
    *,
    fault: Fault | None = None,
    pause: float = 0.0,
    largest: int | None = None,
    watch: Callable[[Callable[[str], None]], None] | None = None,
) -> Child:
    """Start a run of the command line.

    largest: maximum file size in bytes, beyond it EFBIG. watch: called first in the child.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return Child(pid, reading, log)
    os.close(reading)
    code = 70
    try:
        _redirect(log)
        os.chdir("/")
        _instrument(writing, pause)
        if largest is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
        if watch:
            watch(_report)
        if fault:
            fault.install()
        _report(STARTED)
        code = main.main(arguments)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _redirect(log: Path) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for number in (1, 2):
        os.dup2(descriptor, number)
    sys.stdout = sys.__stdout__ = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


def _instrument(descriptor: int, pause: float) -> None:
    """Patch the run to report its progress, and to use Engine as stylizer."""
    global _report  # noqa: PLW0603 - this process only
    _report = lambda letter: os.write(descriptor, letter.encode()) and None  # noqa: E731
    read, encode, publish = media.read, media.encode, Checkpoint.publish

    def reading(*given: Any) -> Iterator[Any]:
        _report(MARKS["decode"])
        for image in read(*given):
            yield image
            _report(MARKS["decode"])

    def encoding(clip: Any, indices: Any, frames: Any, *given: Any) -> list[str]:
        def counted() -> Iterator[Any]:
            for frame in frames:
                _report(MARKS["encode"])
                yield frame

        found = encode(clip, indices, counted(), *given)
        _report(MARKS["rename"])
        return found

    def publishing(self: Checkpoint, *given: Any, **named: Any) -> None:
        publish(self, *given, **named)
        _report(MARKS["rename"])

    media.read, media.encode = reading, encoding
    Checkpoint.publish = publishing  # type: ignore[method-assign]
    pipeline.make_stylizer = lambda *_: Engine(pause)


def write_inputs(folder: Path, frames: int = 3, size: tuple[int, int] = (48, 32)) -> None:
    """Write a clip, three photos, an animation and a style picture."""
    (folder / "photos").mkdir(parents=True)
    images = [PIL.Image.fromarray(_scene(index, *size)) for index in range(3)]
    for index, image in enumerate(images):
        image.save(folder / "photos" / f"{index}.png")
    images[0].save(folder / "moving.gif", save_all=True, append_images=images[1:], duration=80)
    images[1].save(folder / "style.png")
    write_clip(folder / "clip.mp4", frames, size)


def write_clip(path: Path, frames: int, size: tuple[int, int]) -> None:
    """Write a video of a moving square."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for index in range(frames):
            frame = VideoFrame.from_ndarray(_scene(index, *size), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _scene(index: int, width: int, height: int) -> "np.ndarray[Any, Any]":
    ramp = np.linspace(40, 160, width).astype(np.uint8)
    image = np.repeat(np.tile(ramp, (height, 1))[..., None], 3, axis=2)
    left = 2 * index % (width // 2)
    image[height // 4 : height // 2, left : left + width // 4] = (230, 90, 40)
    return image
