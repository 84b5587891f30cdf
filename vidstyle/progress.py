"""What is printed of a run: a bar with its place, time left and loss, or JSON lines."""

import json
import sys
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self

if TYPE_CHECKING:
    from tqdm import tqdm

    from vidstyle.job import Job
    from vidstyle.run import Event

__all__ = ["Reporter", "bytes_bar", "duration", "new_bar", "print_json"]


class Reporter:
    """Prints the events of a run: a bar on a terminal, or JSON lines."""

    def __init__(self, job: "Job", *, as_json: bool, quiet: bool) -> None:
        self._job = job
        self._json = as_json
        self._quiet = quiet
        self._bar: tqdm[NoReturn] | None = None
        self._finished = 0
        self._of = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        if isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt(self._how_to_go_on()) from error

    def __call__(self, event: "Event") -> None:
        """Print an event in the way that was asked for."""
        kind = event["event"]
        if kind == "start":
            self._finished, self._of = event["finished"], event["of"]
        elif kind == "frame":
            self._finished += 1
        if self._json:
            if kind not in ("step", "weights"):
                print_json(event)
        elif kind == "warning":
            self._say(f"vidstyle: {event['message']}", sys.stderr)
        elif not self._quiet:
            self._show(event)

    def _show(self, event: "Event") -> None:
        kind = event["event"]
        if kind == "done":
            self._end_bar()
            self._say(_outcome_in_words(event), sys.stdout)
        elif kind == "weights":
            self._bar = bytes_bar(self._bar, event)
        elif kind == "start":
            self._end_bar()
            self._bar = new_bar(total=event["left"], unit="evaluation", desc=self._place())
        elif self._bar is not None:
            self._advance(self._bar, event)

    def _advance(self, bar: "tqdm[NoReturn]", event: "Event") -> None:
        bar.update(1)
        if event["event"] == "frame":
            bar.total = bar.n + event["left"]
            bar.set_description(self._place())
        else:
            bar.set_postfix(loss=f"{event['loss']:.4g}")

    def _place(self) -> str:
        return f"frame {min(self._finished + 1, self._of)} of {self._of}"

    def _end_bar(self) -> None:
        if self._bar is not None:
            self._bar.close()
        self._bar = None

    def _say(self, text: str, stream: Any) -> None:
        if self._bar is None:
            print(text, file=stream)
        else:
            self._bar.write(text, file=stream)

    def _how_to_go_on(self) -> str:
        after = f" after {self._finished} of {self._of} frames" if self._of else ""
        without = " without --restart" if self._job.settings.restart else ""
        return f"stopped{after}; run the same command{without} to go on"


def new_bar(**facts: Any) -> "tqdm[NoReturn]":
    """Return a bar, which shows on a terminal only."""
    from tqdm import tqdm

    form = "{desc} {percentage:3.0f}% |{bar}| {elapsed}, {remaining} left{postfix}"
    return tqdm(bar_format=form, disable=None, leave=False, dynamic_ncols=True, **facts)


def bytes_bar(bar: "tqdm[NoReturn] | None", event: "Event") -> "tqdm[NoReturn]":
    """Return the bar of a download, made or moved on as the event says."""
    if bar is None:
        bar = new_bar(total=event["total"], desc="fetching the VGG-19 weights")
    bar.update(event["received"] - bar.n)
    return bar


def _outcome_in_words(event: "Event") -> str:
    kept = f"; its frames are kept in {event['kept']}" if event["kept"] else ""
    if not event["stylized"]:
        return f"{event['output']} is done, from frames of an earlier run{kept}"
    return f"{event['output']}: {event['frames']} frames, {duration(event['seconds'])}{kept}"


def duration(seconds: float) -> str:
    """Return seconds in words."""
    minutes, hours = seconds / 60, seconds / 3600
    if hours >= 1:
        return f"{hours:.1f} h"
    return f"{minutes:.0f} min" if minutes >= 2 else f"{seconds:.0f} s"


def print_json(event: "Event") -> None:
    """Print one JSON object as a line."""
    print(json.dumps(event), flush=True)
