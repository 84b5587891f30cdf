"""The command line: arguments to a Job, progress to the terminal, errors to exit codes.

Options come from Settings and from each technique, with their defaults, bounds and help.
Nothing heavy is imported before it is needed: help, version and refusals answer at once.
"""

import argparse
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self

from vidstyle.arguments import add_options, values
from vidstyle.errors import OutputError, UsageError, VidstyleError
from vidstyle.settings import Settings
from vidstyle.techniques import TECHNIQUES

if TYPE_CHECKING:
    from tqdm import tqdm

    from vidstyle.job import Job
    from vidstyle.rehearsal import Stylizes
    from vidstyle.run import Event, MakeStylizer

__all__ = ["main"]

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; return the exit code."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow talks of itself otherwise
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        asked = _parser().parse_args(given)
        asked.act(asked)
    except VidstyleError as error:
        return _fail(given, str(error), error.exit_code)
    except KeyboardInterrupt as stop:
        return _fail(given, str(stop) or "stopped", INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _fail(given, "nobody reads the output any more", VidstyleError.exit_code)
    except Exception as error:
        return _fail(given, *_unforeseen(error))
    return 0


def _unforeseen(error: Exception) -> tuple[str, int]:
    """Return one sentence, and the exit code, for what nobody has told in words of its own."""
    if isinstance(error, PermissionError):
        place = error.filename or "a file"
        message = f"permission is denied for {place}; see to its rights, or name another"
        return message, OutputError.exit_code
    if isinstance(error, MemoryError):
        return "memory ran out; choose a smaller --size", VidstyleError.exit_code
    message = f"a fault of vidstyle itself: {type(error).__name__}: {error}"
    return f"{' '.join(message.split())}; run with -v and report the trace", VidstyleError.exit_code


def _fail(given: list[str], message: str, code: int) -> int:
    if "-v" in given or "--verbose" in given:
        traceback.print_exc()
    if "--json" in given:
        _print_json({"event": "error", "message": message, "exit_code": code})
    print(f"vidstyle: {message}", file=sys.stderr)
    return code


class _Parser(argparse.ArgumentParser):
    """A parser that raises UsageError, one sentence, in place of printing and leaving."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see {self.prog} --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="vidstyle",
        description="Stylise video clips and photo folders, steady from frame to frame.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and leave")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, kind in TECHNIQUES.items():
        _add_technique(_command(commands, name, kind.summary, _stylize), name, kind)
    probe = _command(commands, "probe", "say what is known of a source, as JSON", _probe)
    probe.add_argument("source", metavar="SOURCE", help=_SOURCE)
    add_options(probe, Settings, only=("rate",))
    weights = _command(commands, "weights", "find or fetch the VGG-19 weights, verify", _weights)
    _add_weights(weights)
    return parser


_SOURCE = "a video, an animation, a picture, a folder of pictures or a pattern (frames/%%05d.png)"


def _command(
    commands: Any, name: str, summary: str, act: Callable[[argparse.Namespace], None]
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=summary[:1].upper() + summary[1:] + ".", allow_abbrev=False
    )
    parser.set_defaults(act=act)
    parser.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        help="show the trace of an error, and TensorFlow's own words",
    )
    return parser


class _Version(argparse.Action):
    def __call__(self, *_: object) -> NoReturn:
        from vidstyle.job import version_of

        print(f"vidstyle {version_of('vidstyle') or '(not installed)'}")
        sys.exit(0)


def _add_technique(parser: argparse.ArgumentParser, name: str, kind: type) -> None:
    parser.set_defaults(technique=name)
    parser.add_argument("source", metavar="SOURCE", help=_SOURCE)
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUTPUT",
        required=True,
        help="a video, a GIF, a picture, a folder",
    )
    parser.add_argument(
        "--style", metavar="PICTURE[=WEIGHT]", required=True, action="append",
        help="the style; several blend, in equal parts or by weight (a.jpg=0.7)",
    )  # fmt: skip
    add_options(parser, kind)
    add_options(parser, Settings)
    _add_weights(parser)
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and leave")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    parser.add_argument("-q", "--quiet", action="store_true", help="print errors and warnings only")


def _add_weights(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--weights", metavar="FILE", type=Path,
        help="VGG-19: .npz, .pth, vgg19.npy or Keras' notop .h5 (default: found or fetched)",
    )  # fmt: skip


def _stylize(asked: argparse.Namespace) -> None:
    from vidstyle.job import make_job
    from vidstyle.run import make_stylizer, plan, run

    job = make_job(
        asked.source,
        asked.output,
        style=asked.style,
        technique=asked.technique,
        weights=asked.weights,
        **values(asked, TECHNIQUES[asked.technique]),
        **values(asked, Settings),
    )
    if asked.dry_run:
        found = plan(job)
        if asked.json:
            _print_json({"event": "plan", **found})
        else:
            print(_in_words(found))
        return
    signal.signal(signal.SIGTERM, _interrupt)
    make = make_stylizer if asked.verbose else _silently(make_stylizer)
    with _Reporter(job, as_json=asked.json, quiet=asked.quiet) as reporter:
        run(job, reporter, make_stylizer=make)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _silently(make: "MakeStylizer") -> "MakeStylizer":
    """Return `make` with stderr shut: TensorFlow 2.21 talks there whatever its log level is."""

    def make_silently(*given: Any) -> "Stylizes":
        with _shut(sys.__stderr__):
            return make(*given)

    return make_silently


@contextmanager
def _shut(stream: Any) -> Iterator[None]:
    """Lose what is written to the file behind `stream`, also by libraries that are not Python."""
    stream.flush()
    kept, nowhere = os.dup(stream.fileno()), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    try:
        yield
    finally:
        os.dup2(kept, stream.fileno())
        os.close(kept)
        os.close(nowhere)


class _Reporter:
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
                _print_json(event)
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
            self._bar = _bytes_bar(self._bar, event)
        elif kind == "start":
            self._end_bar()
            self._bar = _bar(total=event["left"], unit="evaluation", desc=self._place())
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


def _bar(**facts: Any) -> "tqdm[NoReturn]":
    from tqdm import tqdm

    form = "{desc} {percentage:3.0f}% |{bar}| {elapsed}, {remaining} left{postfix}"
    return tqdm(bar_format=form, disable=None, leave=False, dynamic_ncols=True, **facts)


def _bytes_bar(bar: "tqdm[NoReturn] | None", event: "Event") -> "tqdm[NoReturn]":
    if bar is None:
        bar = _bar(total=event["total"], desc="fetching the VGG-19 weights")
    bar.update(event["received"] - bar.n)
    return bar


def _outcome_in_words(event: "Event") -> str:
    kept = f"; its frames are kept in {event['kept']}" if event["kept"] else ""
    if not event["stylized"]:
        return f"{event['output']} is done, from frames of an earlier run{kept}"
    return f"{event['output']}: {event['frames']} frames, {_duration(event['seconds'])}{kept}"


def _in_words(found: dict[str, Any]) -> str:
    return (
        f"{found['source']} ({found['kind']}) -> {found['output']}\n"
        f"frames: {found['frames']} of {found['width']} x {found['height']} pixels\n"
        f"steps: {found['steps']} for a first frame, {found['steps_next']} for one that follows; "
        f"{found['evaluations']} evaluations\n"
        f"time: about {_duration(found['seconds'])} (8 microseconds a pixel and evaluation, as "
        "measured on two CPU cores; a GPU takes less)\n"
        f"disk: up to {found['bytes'] / 1e6:,.0f} MB while it is made, "
        f"{found['bytes_free'] / 1e6:,.0f} MB are free"
    )


def _duration(seconds: float) -> str:
    minutes, hours = seconds / 60, seconds / 3600
    if hours >= 1:
        return f"{hours:.1f} h"
    return f"{minutes:.0f} min" if minutes >= 2 else f"{seconds:.0f} s"


def _probe(asked: argparse.Namespace) -> None:
    from vidstyle.media import as_json, probe

    clip = probe(asked.source, **values(asked, Settings))
    print(json.dumps(as_json(clip), indent=2))


def _weights(asked: argparse.Namespace) -> None:
    from vidstyle.weights import digest, find, load

    bar = None

    def progress(received: int, total: int) -> None:
        nonlocal bar
        bar = _bytes_bar(bar, {"received": received, "total": total})

    path = find(asked.weights, progress=progress)
    if bar is not None:
        bar.close()
    network = load(path)
    print(f"{path}: VGG-19, {len(network)} layers, sha256 {digest(path)}")


def _print_json(event: "Event") -> None:
    print(json.dumps(event), flush=True)
