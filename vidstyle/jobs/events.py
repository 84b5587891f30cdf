"""Events that a run, a batch or a cluster reports: one frozen dataclass for each kind.

`on_event` of `stylize`, `run`, `preview` and `run_batch` receives them; the command line prints
them as a progress bar, or with --json as the lines of `Event.to_json`.

Positions (`index`) count from 0 within the range of frames that is stylised. `left` is the number
of evaluations plus the number of frames that are still expected.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    from vidstyle.image import Image

__all__ = [
    "BatchEvent",
    "BatchPlanEvent",
    "ClusterEvent",
    "DoneEvent",
    "ErrorEvent",
    "Event",
    "FailedSource",
    "FrameEvent",
    "GuidesEvent",
    "ItemEvent",
    "NextEvent",
    "OnEvent",
    "Outcome",
    "PlanEvent",
    "PlannedItemEvent",
    "ShardEvent",
    "SourceWarning",
    "StartEvent",
    "StepEvent",
    "SummaryEvent",
    "TraceEvent",
    "WarningEvent",
    "WeightsEvent",
    "each_warning_once",
    "ignore",
]

_OPTIONAL = {"optional": True}  # left out of the JSON object where the value is None


@dataclass(frozen=True, kw_only=True)
class Event:
    """Base of all events.

    name: the kind, as "event" in JSON. source: the source concerned, where several are at work.
    process: the process id of the worker that reports it, on a cluster.
    """

    name: ClassVar[str]
    source: str | None = field(default=None, metadata=_OPTIONAL)
    process: int | None = field(default=None, metadata=_OPTIONAL)

    def to_json(self) -> dict[str, Any]:
        """Return the event as a JSON object: "event", then the fields. Images are left out."""
        values: dict[str, Any] = {"event": self.name}
        for one in fields(self):
            value = getattr(self, one.name)
            if one.name != "image" and not (value is None and one.metadata.get("optional")):
                values[one.name] = _plain(value)
        return values


OnEvent = Callable[[Event], None]


@dataclass(frozen=True, kw_only=True)
class WeightsEvent(Event):
    """Bytes of the VGG-19 file received so far, while it is downloaded."""

    name = "weights"
    received: int
    total: int


@dataclass(frozen=True, kw_only=True)
class StartEvent(Event):
    """A run starts: `finished` of its `of` frames are already done. width, height: in pixels."""

    name = "start"
    of: int
    finished: int
    width: int
    height: int
    left: int


@dataclass(frozen=True, kw_only=True)
class StepEvent(Event):
    """One evaluation of a frame is done.

    image: returns a copy of the image that was evaluated, float32 [H, W, 3], RGB, 0..1; it costs
    nothing unless it is called. A first frame has the size of the present pyramid level: its long
    side is 256 pixels at first, then 512 and so on, and the frame's own at last. Not deflickered,
    blended with the source or recoloured. None in an event that another process has sent.
    """

    name = "step"
    index: int
    evaluation: int
    loss: float
    image: "Callable[[], Image] | None" = field(default=None, compare=False, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        """Return the fields without the image, for pickle."""
        return {**vars(self), "image": None}


@dataclass(frozen=True, kw_only=True)
class FrameEvent(Event):
    """A frame is finished.

    losses: the last value of each loss term. frame_equivalents: evaluations in units of the whole
    frame (see Stylized). cut: a shot begins with this frame. reinitialized:
    optimised without a prior although no shot begins here, since a dissolve has replaced the whole
    picture. back: the earlier frame that the prior was taken from if not the previous one (after a
    flash), else None.
    """

    name = "frame"
    index: int
    of: int
    losses: Mapping[str, float]
    evaluations: int
    frame_equivalents: float
    seconds: float
    cut: bool
    reinitialized: bool
    back: int | None
    left: int


@dataclass(frozen=True, kw_only=True)
class WarningEvent(Event):
    """Something was lost or changed, or may not be meant; the run continues."""

    name = "warning"
    message: str


@dataclass(frozen=True, kw_only=True)
class GuidesEvent(Event):
    """How the pictures of a mask or map apply: one for all frames, one each, or key frames."""

    name = "guides"
    path: str
    taken: Literal["still", "each", "keys"]
    message: str


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of a run. stylized: frames made by this run. kept: the state folder, if kept."""

    output: Path
    frames: int
    stylized: int
    seconds: float
    kept: Path | None
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class DoneEvent(Outcome, Event):
    """The output is written."""

    name = "done"


@dataclass(frozen=True, kw_only=True)
class ShardEvent(Event):
    """A shard is done, in place of `DoneEvent`.

    shard, of: its number, from 1, and the number of shards. shots: of the whole clip; None if all
    frames were finished already. stylized: frames that this shard made. finished, frames: in all.
    """

    name = "shard"
    output: Path
    shard: int
    of: int
    shots: int | None
    stylized: int
    finished: int
    frames: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class BatchEvent(Event):
    """A batch starts. left_out: the number of files not taken from the folders, by reason."""

    name = "batch"
    of: int
    left_out: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class NextEvent(Event):
    """Source `index` of a batch is started. Not reported by a cluster."""

    name = "next"
    index: int
    of: int
    source: str


@dataclass(frozen=True, kw_only=True)
class ItemEvent(Event):
    """A source of a batch is done, was done before ("skipped"), or failed.

    index: within this shard. message, exit_code: of a failure. warnings: of a source that is done.
    left: estimated seconds for the rest of the batch; None until one source is done.
    """

    name = "item"
    index: int
    of: int
    source: str
    output: Path | None
    status: Literal["done", "skipped", "failed"]
    message: str | None = field(default=None, metadata=_OPTIONAL)
    exit_code: int | None = field(default=None, metadata=_OPTIONAL)
    warnings: tuple[str, ...] | None = field(default=None, metadata=_OPTIONAL)
    seconds: float
    left: float | None = None


@dataclass(frozen=True, kw_only=True)
class PlannedItemEvent(Event):
    """What a batch would do with a source. output: None if the output could not be determined."""

    name = "item"
    index: int
    of: int
    source: str
    output: Path | None = field(default=None, metadata=_OPTIONAL)
    status: Literal["planned", "skipped", "failed"]
    message: str | None = field(default=None, metadata=_OPTIONAL)
    exit_code: int | None = field(default=None, metadata=_OPTIONAL)


@dataclass(frozen=True)
class FailedSource:
    """A source that failed, with the message and the exit code of its error."""

    source: str
    message: str
    exit_code: int


@dataclass(frozen=True)
class SourceWarning:
    """A warning of one source."""

    source: str
    message: str


@dataclass(frozen=True, kw_only=True)
class SummaryEvent(Event):
    """A batch is done. done, skipped: numbers of sources. left_out: as in `BatchEvent`."""

    name = "summary"
    of: int
    done: int
    skipped: int
    failed: tuple[FailedSource, ...]
    warnings: tuple[SourceWarning, ...]
    left_out: Mapping[str, int]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class PlanEvent(Event):
    """What a run would do, from the headers of its source.

    kind: of the source, as in media.Clip. seconds: an estimate for two CPU cores. bytes: disk space
    needed while the output is made. bytes_free: free disk space, if it was looked up.
    """

    name = "plan"
    source: str
    kind: str
    output: Path
    frames: int
    width: int
    height: int
    steps: int
    steps_next: int | str
    evaluations: int
    seconds: float
    bytes: int
    bytes_free: int | None = field(default=None, metadata=_OPTIONAL)


@dataclass(frozen=True, kw_only=True)
class BatchPlanEvent(Event):
    """What a batch would do: numbers of sources, and the sums of `PlanEvent` over the planned."""

    name = "plan"
    of: int
    planned: int
    skipped: int
    failed: tuple[FailedSource, ...]
    left_out: Mapping[str, int]
    frames: int
    evaluations: int
    seconds: float
    bytes: int


@dataclass(frozen=True, kw_only=True)
class TraceEvent(Event):
    """The traceback of a source that failed."""

    name = "trace"
    text: str


@dataclass(frozen=True, kw_only=True)
class ClusterEvent(Event):
    """A batch is distributed over this number of workers."""

    name = "cluster"
    workers: int


@dataclass(frozen=True, kw_only=True)
class ErrorEvent(Event):
    """The command failed, with this exit code."""

    name = "error"
    message: str
    exit_code: int


def ignore(event: Event) -> None:
    """Do nothing: the default of `on_event`."""


def each_warning_once(notify: OnEvent) -> OnEvent:
    """Return a callback that passes events on to `notify`, but repeated warnings only once."""
    given: set[str] = set()

    def once(event: Event) -> None:
        if isinstance(event, WarningEvent):
            if event.message in given:
                return
            given.add(event.message)
        notify(event)

    return once


def _plain(value: Any) -> Any:
    """Return a field's value as JSON has it."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return dict(value) if isinstance(value, Mapping) else value
