"""Progress of a run in another process, from the JSON lines that it prints into a file."""

import json
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vidstyle.jobs.manifest import state_path

__all__ = ["LAUNCH", "EventFile", "Progress"]

LAUNCH = b'{"event": "launch"}\n'  # written before each start of the process
_RECENT = 8  # frames from which the remaining time is estimated
_KEPT = 500  # losses for a graph
_FINAL = ("done", "shard", "summary", "error")


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a run is.

    of, finished: frames, or sources of a batch; 0 until known. index, evaluation, loss: of the
    frame at work. losses: of the last finished frame, by term. frame_losses: the total loss of each
    finished frame, the last 500. seconds_left: an estimate. latest_frame: a 16-bit PNG, which is
    deleted when the run is done. output: once it is written.
    """

    of: int = 0
    finished: int = 0
    index: int | None = None
    evaluation: int | None = None
    loss: float | None = None
    losses: dict[str, float] = field(default_factory=dict)
    frame_losses: tuple[float, ...] = ()
    seconds_left: float | None = None
    latest_frame: Path | None = None
    warnings: tuple[str, ...] = ()
    output: Path | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the progress as a JSON object."""
        paths = {"latest_frame": self.latest_frame, "output": self.output}
        named = {key: None if path is None else str(path) for key, path in paths.items()}
        lists = {"frame_losses": list(self.frame_losses), "warnings": list(self.warnings)}
        return {**vars(self), **lists, **named}


class EventFile:
    """Follows the file of a run's JSON lines.

    output: of the run, whose state folder holds the finished frames. final: the last event of the
    process, which says how it ended; None while it runs, or if it was killed.
    """

    def __init__(self, path: Path, output: Path) -> None:
        self.final: dict[str, Any] | None = None
        self._path = path
        self._frames = state_path(output) / "frames"
        self._offset = 0
        self._facts: dict[str, Any] = {}
        self._losses: deque[float] = deque(maxlen=_KEPT)
        self._recent: deque[tuple[float, int]] = deque(maxlen=_RECENT)
        self._left = 0  # evaluations and frames
        self._last_frame: int | None = None
        self._first_step: tuple[int, int, float] | None = None  # index, evaluation, time

    def read_on(self) -> bool:
        """Read the lines written since the last call; tell whether there were any."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return False
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            try:
                event = json.loads(line)
                self._take(event["event"], event)
            except (ValueError, KeyError, TypeError, RecursionError):
                continue  # a line cut off by a crash, or printed by a library
        return bool(whole)

    @property
    def progress(self) -> Progress:
        """The progress so far."""
        return Progress(
            **self._facts,
            frame_losses=tuple(self._losses),
            seconds_left=self._seconds_left(),
            latest_frame=self._latest_frame(),
        )

    def _take(self, name: str, event: dict[str, Any]) -> None:
        if name == "launch":
            self.final, self._first_step = None, None
            self._facts = {"warnings": ()}
        elif name == "start":
            self._facts |= {"of": event["of"], "finished": event["finished"]}
            self._left = event["left"]
        elif name == "step":
            self._take_step(event)
        elif name == "frame":
            self._take_frame(event)
        elif name == "warning":
            self._facts["warnings"] = (*self._facts.get("warnings", ()), event["message"])
        elif name == "item":
            finished = self._facts.get("finished", 0) + 1
            self._facts |= {"of": event["of"], "finished": finished}
        elif name in _FINAL:
            self.final = event
            if name in ("done", "shard"):
                self._facts["output"] = Path(event["output"])
                self._facts |= {"of": event["frames"], "finished": event["frames"]}

    def _take_step(self, event: dict[str, Any]) -> None:
        index, evaluation = event["index"], event["evaluation"]
        self._facts |= {"index": index, "evaluation": evaluation, "loss": event["loss"]}
        if self._first_step is None or self._first_step[0] != index:
            self._first_step = (index, evaluation, time.monotonic())

    def _take_frame(self, event: dict[str, Any]) -> None:
        self._facts["finished"] = self._facts.get("finished", 0) + 1
        self._facts |= {"losses": event["losses"], "evaluation": None, "loss": None}
        self._facts["index"] = None
        self._losses.append(float(event["losses"].get("total", 0.0)))
        self._recent.append((event["seconds"], event["evaluations"] + 1))
        self._left, self._last_frame = event["left"], event["index"]
        self._first_step = None

    def _seconds_left(self) -> float | None:
        """Return the time for the remaining evaluations at the pace of the last frames."""
        if self.final is not None:
            return None
        done = self._facts.get("evaluation") or 0
        each = self._seconds_each()
        return None if each is None else round(max(0, self._left - done) * each, 1)

    def _seconds_each(self) -> float | None:
        """Return the seconds of an evaluation; None if unknown."""
        if self._recent:
            spent, count = (sum(values) for values in zip(*self._recent, strict=True))
            return float(spent / count)
        if self._first_step is None:
            return None
        _, first, began = self._first_step
        count, spent = self._facts["evaluation"] - first, time.monotonic() - began
        return spent / count if count > 0 and spent >= 1 else None  # lines read at once: no pace

    def _latest_frame(self) -> Path | None:
        if self._last_frame is not None:
            path = self._frames / f"{self._last_frame:06d}.png"
            return path if path.exists() else None
        found = self._frames.glob("[0-9]*.png") if self._facts.get("finished") else ()
        return max((path for path in found if path.stem.isdigit()), default=None)
