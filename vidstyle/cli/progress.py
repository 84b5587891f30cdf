"""Progress of a run on the terminal: a bar with frame, time left and loss, or JSON lines."""

import json
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self

from vidstyle.cli.terminal import printable
from vidstyle.errors import name_list
from vidstyle.jobs.events import (
    BatchEvent,
    BatchPlanEvent,
    ClusterEvent,
    DoneEvent,
    Event,
    FrameEvent,
    GuidesEvent,
    ItemEvent,
    NextEvent,
    PlanEvent,
    PlannedItemEvent,
    ShardEvent,
    SourceWarning,
    StartEvent,
    StepEvent,
    SummaryEvent,
    TraceEvent,
    WarningEvent,
    WeightsEvent,
)

if TYPE_CHECKING:
    from tqdm import tqdm

__all__ = [
    "BatchReporter",
    "Reporter",
    "bytes_bar",
    "duration",
    "new_bar",
    "plan_in_words",
    "print_json",
    "progress_callbacks",
    "resume_hint",
    "without_stderr",
]


class _Stoppable(ABC):
    """A context that adds to a KeyboardInterrupt the finished frames and how to resume.

    restart: the command was given --restart.
    """

    _unit: ClassVar[str]  # of `_finished` and `_of`, the number of all

    def __init__(self, *, as_json: bool, quiet: bool, restart: bool) -> None:
        self._json, self._quiet, self._restart = as_json, quiet, restart
        self._finished = self._of = 0

    @abstractmethod
    def close(self) -> None:
        """Remove the bars."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self.close()
        if isinstance(error, KeyboardInterrupt):
            after = f" after {self._finished} of {self._of} {self._unit}" if self._of else ""
            raise KeyboardInterrupt(f"stopped{after}; {resume_hint(self._restart)}") from error


class Reporter(_Stoppable):
    """Prints the events of a run as a bar on a terminal, or as JSON lines.

    of: the name of the source in a batch.
    """

    _unit = "frames"

    def __init__(self, *, as_json: bool, quiet: bool, restart: bool = False, of: str = "") -> None:
        super().__init__(as_json=as_json, quiet=quiet, restart=restart)
        self._prefix = of and f"{printable(of)}, "
        self._bar: tqdm[NoReturn] | None = None

    def __call__(self, event: Event) -> None:
        """Print an event."""
        if isinstance(event, StartEvent):
            self._finished, self._of = event.finished, event.of
        elif isinstance(event, FrameEvent):
            self._finished += 1
        if self._json:
            if not isinstance(event, StepEvent | WeightsEvent):
                print_json(event.to_json())
        elif isinstance(event, WarningEvent):
            self._print(f"vidstyle: {event.message}", sys.stderr)
        elif not self._quiet:
            self._print_event(event)

    def _print_event(self, event: Event) -> None:
        if isinstance(event, DoneEvent):
            self.close()
            self._print(_format_outcome(event), sys.stdout)
        elif isinstance(event, ShardEvent):
            self.close()
            self._print(_format_shard(event), sys.stdout)
        elif isinstance(event, WeightsEvent):
            self._bar = bytes_bar(self._bar, event)
        elif isinstance(event, GuidesEvent):
            if not self._prefix or event.taken == "keys":  # else one line per source of a batch
                self._print(event.message, sys.stdout)
        elif isinstance(event, StartEvent):
            self.close()
            self._bar = new_bar(total=event.left, unit="evaluation", desc=self._position())
        elif self._bar is not None and isinstance(event, FrameEvent | StepEvent):
            self._advance(self._bar, event)

    def _advance(self, bar: "tqdm[NoReturn]", event: FrameEvent | StepEvent) -> None:
        bar.update(1)
        if isinstance(event, FrameEvent):
            bar.total = bar.n + event.left
            bar.set_description(self._position())
        else:
            bar.set_postfix(loss=f"{event.loss:.4g}")

    def _position(self) -> str:
        return f"{self._prefix}frame {min(self._finished + 1, self._of)} of {self._of}"

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()
        self._bar = None

    def _print(self, text: str, stream: Any) -> None:
        if self._bar is None:
            print(printable(text), file=stream)
        else:
            self._bar.write(printable(text), file=stream)


class BatchReporter(_Stoppable):
    """Prints the events of a batch as a bar per source and a summary, or as JSON lines."""

    _unit = "sources"

    def __init__(self, *, as_json: bool, quiet: bool, verbose: bool, restart: bool) -> None:
        super().__init__(as_json=as_json, quiet=quiet, restart=restart)
        self._verbose = verbose
        self._source = self._time_left = ""
        self._total_bar: tqdm[NoReturn] | None = (
            None  # of a cluster, which runs sources in parallel
        )
        self._current = self._new_reporter()

    def __call__(self, event: Event) -> None:
        """Print an event."""
        if isinstance(event, BatchEvent):
            self._of = event.of
        elif isinstance(event, NextEvent):
            self._start_item(event)
        elif isinstance(event, ItemEvent | PlannedItemEvent):
            self._finished += 1
            self._print_item(event)
        elif isinstance(event, SummaryEvent | BatchPlanEvent):
            self._print_summary(event)
        elif isinstance(event, WarningEvent):
            self._current(replace(event, source=event.source or self._source))
        elif isinstance(event, TraceEvent):
            if self._verbose:
                print(printable(event.text, keep="\n"), file=sys.stderr)
        elif isinstance(event, ClusterEvent):
            self._start_all(event)
        elif self._total_bar is None and not isinstance(event, DoneEvent) and not self._json:
            self._current(event)

    def _start_item(self, event: NextEvent) -> None:
        self._source = event.source
        self._current.close()
        position = f"{event.index + 1} of {self._of}{self._time_left}"
        self._current = self._new_reporter(f"{position}: {self._source}")

    def _start_all(self, event: ClusterEvent) -> None:
        """Show one bar that counts sources, since a cluster runs several at once."""
        if not (self._json or self._quiet):
            desc = f"{self._of} sources, {event.workers} workers"
            self._total_bar = new_bar(total=self._of, unit="source", desc=desc)

    def close(self) -> None:
        """Remove the bars."""
        self._current.close()
        if self._total_bar is not None:
            self._total_bar.close()

    def _new_reporter(self, of: str = "") -> Reporter:
        return Reporter(as_json=self._json, quiet=self._quiet, of=of)

    def _print_item(self, event: ItemEvent | PlannedItemEvent) -> None:
        """Print the result of one source and keep the estimate for the rest."""
        self._current.close()
        left = event.left if isinstance(event, ItemEvent) else None
        self._time_left = f", {duration(left)} left for all" if left else ""
        if self._total_bar is not None:
            self._total_bar.update(1)
            self._total_bar.clear()
        if self._json:
            print_json(event.to_json())
        elif event.message is not None:
            print(printable(f"vidstyle: {_failure(event.source, event.message)}"), file=sys.stderr)
        elif event.status == "planned":
            print(printable(f"{event.source} -> {event.output}"))
        elif isinstance(event, ItemEvent) and event.status == "done" and not self._quiet:
            print(printable(f"{event.output}: {duration(event.seconds)}"))

    def _print_summary(self, event: SummaryEvent | BatchPlanEvent) -> None:
        self.close()
        if self._json:
            print_json(event.to_json())
        elif not self._quiet:
            print(_format_summary(event))


def resume_hint(restart: bool = False) -> str:
    """Return how to resume after a stop; restart: the run was started with --restart."""
    without = " without --restart" if restart else ""
    return f"run the same command{without} to continue"


def new_bar(*, quiet: bool = False, **options: Any) -> "tqdm[NoReturn]":
    """Return a progress bar; it is shown on a terminal only, and not if quiet."""
    from tqdm import tqdm

    layout = "{desc} {percentage:3.0f}% |{bar}| {elapsed}, {remaining} left{postfix}"
    return tqdm(
        bar_format=layout, disable=quiet or None, leave=False, dynamic_ncols=True, **options
    )


def bytes_bar(bar: "tqdm[NoReturn] | None", event: WeightsEvent) -> "tqdm[NoReturn]":
    """Return the bar of a download, created if None, advanced to the event's byte count."""
    if bar is None:
        bar = new_bar(total=event.total, desc="downloading the VGG-19 weights")
    bar.update(event.received - bar.n)
    return bar


@contextmanager
def progress_callbacks(title: str, *, as_json: bool, quiet: bool) -> Iterator[dict[str, Any]]:
    """Yield the callbacks `notify`, `warn` and `note`, which advance a bar and print above it.

    as_json: print JSON lines instead. quiet: print warnings only.
    """
    with new_bar(total=0, desc=title, quiet=as_json or quiet) as bar:

        def notify(done: int, of: int) -> None:
            bar.total = of
            bar.update(done - bar.n)

        def warn(message: str) -> None:
            if as_json:
                print_json(WarningEvent(message=message).to_json())
            else:
                bar.write(f"vidstyle: {message}", file=sys.stderr)

        def note(event: dict[str, Any]) -> None:
            if as_json:
                print_json(GuidesEvent(**event).to_json())
            elif not quiet:
                bar.write(event["message"], file=sys.stdout)

        yield {"notify": notify, "warn": warn, "note": note}


def without_stderr(make: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap `make` to discard stderr: TensorFlow 2.21 logs there regardless of its log level."""

    def wrapped(*given: Any) -> Any:
        with _discarded(sys.__stderr__):
            return make(*given)

    return wrapped


@contextmanager
def _discarded(stream: Any) -> Iterator[None]:
    """Discard writes to the descriptor of `stream`, including those of C libraries."""
    stream.flush()
    saved, null = os.dup(stream.fileno()), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    try:
        yield
    finally:
        os.dup2(saved, stream.fileno())
        os.close(saved)
        os.close(null)


def plan_in_words(found: PlanEvent) -> str:
    """Return the plan of a run (see jobs.plan) as text."""
    return (
        f"{printable(found.source)} ({found.kind}) -> {printable(str(found.output))}\n"
        f"frames: {found.frames} of {found.width} x {found.height} pixels\n"
        f"steps: {found.steps} for the first frame of a shot, {found.steps_next} afterwards; "
        f"{found.evaluations} evaluations\n"
        f"time: about {duration(found.seconds)} (8 microseconds per pixel and evaluation on "
        "two CPU cores; less on a GPU)\n"
        f"disk: up to {found.bytes / 1e6:,.0f} MB during the run, "
        f"{(found.bytes_free or 0) / 1e6:,.0f} MB free"
    )


def _format_outcome(event: DoneEvent) -> str:
    kept = f"; its frames are kept in {event.kept}" if event.kept else ""
    if not event.stylized:
        return f"{event.output} is done, from frames of an earlier run{kept}"
    return f"{event.output}: {event.frames} frames, {duration(event.seconds)}{kept}"


def _format_shard(event: ShardEvent) -> str:
    """Return the result of a shard and the next command to run."""
    text = f"shard {event.shard}/{event.of}: {event.stylized} frames"
    shots = event.shots
    if shots is not None and shots < event.shard:
        text += f" (nothing to do: {shots} shot{'s' * (shots != 1)} in all)"
    whole = event.finished == event.frames
    so_far = f"{event.finished} of {event.frames} frames are finished"
    then = "run the same command without --shard" + ("" if whole else " after the other shards")
    return f"{text}; {so_far}; {then} to write {event.output}"


def _format_summary(event: SummaryEvent | BatchPlanEvent) -> str:
    """Return the summary of a batch: counts, warnings, failures."""
    lost: list[str] = []
    rest = f"{event.skipped} skipped, {len(event.failed)} failed"
    if isinstance(event, BatchPlanEvent):
        text = f"{event.planned} planned, {rest}\n{event.frames} frames, "
        text += f"{event.evaluations} evaluations, about {duration(event.seconds)} on two CPU cores"
    else:
        text, lost = f"{event.done} done, {rest}", _format_warnings(event.warnings)
    left = [f"{count} {kind}" for kind, count in event.left_out.items() if count]
    text += f"; left out: {', '.join(left)}" if left else ""
    failed = [f"failed: {_failure(one.source, one.message)}" for one in event.failed]
    return "\n".join([text, *lost, *map(printable, failed)])


_MAX_SOURCES = 5  # named per warning; --json lists all


def _format_warnings(warnings: Sequence[SourceWarning]) -> list[str]:
    """Return one line per distinct warning, with its sources."""
    sources: dict[str, list[str]] = {}
    for one in warnings:
        sources.setdefault(one.message, []).append(one.source)
    lines = []
    for message, names in sources.items():
        lines.append(printable(f"warning: {message} (in {name_list(names, _MAX_SOURCES)})"))
    return lines


def _failure(source: str, message: str) -> str:
    """Return the error message of a source, with the source's name."""
    return message if source in message else f"{source}: {message}"


def duration(seconds: float) -> str:
    """Return a duration as text in hours, minutes or seconds."""
    minutes, hours = seconds / 60, seconds / 3600
    if hours >= 1:
        return f"{hours:.1f} h"
    return f"{minutes:.0f} min" if minutes >= 2 else f"{seconds:.0f} s"


def print_json(values: dict[str, Any]) -> None:
    """Print a dict as one line of JSON."""
    print(json.dumps(values), flush=True)


def print_picture_count(output: Path, count: int, *, as_json: bool, quiet: bool) -> None:
    """Print the result of a command that writes a mask or map of each frame."""
    if as_json:
        print_json({"event": "done", "output": str(output), "pictures": count})
    elif not quiet:
        print(printable(f"{output}: {count} pictures"))
