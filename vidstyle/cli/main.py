"""The command line: arguments to a Job, progress to the terminal, errors to exit codes.

Options come from Settings and from each technique, with their defaults, bounds and help.
Nothing heavy is imported before it is needed: help, version and refusals answer at once.
"""

import argparse
import json
import logging
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from vidstyle.cli.options import add_options, add_printing, values
from vidstyle.cli.progress import (
    BatchReporter,
    Reporter,
    bytes_bar,
    how_to_go_on,
    plan_in_words,
    print_json,
    silently,
    told,
)
from vidstyle.cli.standard_streams import lost_output, prepare_streams, stop_signals
from vidstyle.cli.terminal import printable
from vidstyle.errors import ContainerError, UsageError, VidstyleError, explained
from vidstyle.settings import Settings
from vidstyle.techniques import TECHNIQUES

if TYPE_CHECKING:
    from vidstyle.jobs.batch import MakeJob
    from vidstyle.techniques import Technique

__all__ = ["main"]

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; return the exit code."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow talks of itself otherwise
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # and of each size traced anew
    given = list(sys.argv[1:] if arguments is None else arguments)
    prepare_streams()
    try:
        with stop_signals():
            return _act(given)
    except KeyboardInterrupt as stop:
        return _fail(given, str(stop) or f"stopped; {how_to_go_on()}", INTERRUPTED)
    except ContainerError as error:
        from vidstyle.jobs.takeover import told_with_command

        return _fail(given, told_with_command(error, given), error.exit_code)
    except Exception as error:
        lost = lost_output() if isinstance(error, OSError) else None
        return _fail(given, *(lost or explained(error)))


def _act(given: list[str]) -> int:
    """Do what is asked; return the exit code. Raises OSError if stdout cannot be written."""
    try:
        asked = _read(given)
        return asked.act(asked) or 0
    finally:  # --help and --version leave by SystemExit
        sys.stdout.flush()


def _fail(given: list[str], message: str, code: int) -> int:
    if "-v" in given or "--verbose" in given:
        print(printable(traceback.format_exc(), keep="\n"), file=sys.stderr, end="")
    with suppress(OSError):
        if "--json" in given:
            print_json({"event": "error", "message": message, "exit_code": code})
    lost_output()
    print(printable(f"vidstyle: {message}"), file=sys.stderr)
    return code


def _read(given: list[str]) -> argparse.Namespace:
    """Read the command line; sources may stand after options too."""
    parser = _parser()
    asked, rest = parser.parse_known_args(given)
    if any(word.startswith("-") for word in rest) or not hasattr(asked, "sources"):
        rest and parser.error(f"unrecognized arguments: {' '.join(rest)}")
    else:
        asked.sources += map(Path, rest)
    return asked


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
    track = _command(commands, "track", "carry the key frames of a map or mask to all", _track)
    track.add_argument("source", metavar="SOURCE", help=_SOURCE)
    track.add_argument("-o", "--output", metavar="FOLDER", required=True, type=Path,
                       help="where the pictures go, one a frame")  # fmt: skip
    for name in ("map", "mask"):
        track.add_argument(f"--{name}", metavar="PATH", type=Path, help=_GUIDES[name] + _SERIES)
    add_options(track, Settings, only=(*_PART, "overwrite"))
    add_printing(track)
    measure = _command(commands, "eval", "measure a stylised video against its source", _evaluate)
    measure.add_argument("output", metavar="OUTPUT", help="the stylised video, anyone's")
    measure.add_argument("--source", metavar="CLIP", required=True, help="what it was made of")
    for name, meaning in (
        ("style", "the style picture: the distance from it is measured too"),
        ("mask", _GUIDES["mask"].partition(";")[0] + ": only there" + _SERIES),
        ("cold", "the same frames stylised one by one: their sharpness is compared"),
    ):
        measure.add_argument(f"--{name}", metavar="PATH", type=Path, help=meaning)
    add_options(measure, Settings, only=_PART)
    _add_weights(measure)
    for name, meaning in (
        ("html", "write a page with pictures too"),
        ("log", "what the run printed with --json: the page shows its losses and times"),
    ):
        measure.add_argument(f"--{name}", metavar="FILE", type=Path, help=meaning)
    add_options(measure, Settings, only=("overwrite",))
    add_printing(measure, "; the last has every frame's figures", "; the figures too")
    probe = _command(commands, "probe", "say what is known of a source, as JSON", _probe)
    probe.add_argument("source", metavar="SOURCE", help=_SOURCE)
    add_options(probe, Settings, only=("rate",))
    weights = _command(commands, "weights", "find or fetch the VGG-19 weights, verify", _weights)
    _add_weights(weights)
    return parser


_SOURCE = "a video, an animation, a picture, a folder of pictures or a pattern (frames/%%05d.png)"


def _command(
    commands: Any, name: str, summary: str, act: Callable[[argparse.Namespace], int | None]
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
        from vidstyle.jobs.job import version_of

        print(f"vidstyle {version_of('vidstyle') or '(not installed)'}")
        sys.exit(0)


def _add_technique(parser: argparse.ArgumentParser, name: str, kind: "type[Technique]") -> None:
    parser.set_defaults(technique=name)
    parser.add_argument(
        "sources", metavar="SOURCE", nargs="*", type=Path,
        help=f"{_SOURCE}; several are a batch, and OUTPUT is the folder of their results: as they "
        "lie in a folder, or under the path of a file as written (an absolute one: from the root)",
    )  # fmt: skip
    parser.add_argument(
        "-o", "--output", metavar="OUTPUT", required=True, type=Path,
        help="a video, a GIF, a picture, a folder",
    )  # fmt: skip
    _add_batch(parser)
    parser.add_argument(
        "--style", metavar="PICTURE[=WEIGHT]", required=True, action="append",
        help="the style; several blend, in equal parts or by weight (a.jpg=0.7)",
    )  # fmt: skip
    for guide in kind.inputs.accepted:
        _add_guide(parser, guide, several=guide != "map", required=guide in kind.inputs.required)
    add_options(parser, kind)
    add_options(parser, Settings)
    _add_weights(parser)
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and leave")
    add_printing(parser)


_PART = ("start", "end", "rate")  # options for which frames of a source are meant


def _add_batch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-r", "--recursive", action="store_true",
        help="every video, animation and picture in a folder and below, into the same tree",
    )  # fmt: skip
    parser.add_argument(
        "--list",
        metavar="FILE",
        help="more sources, one a line, each result under the path of its line; - is the standard "
        "input",
    )
    parser.add_argument(
        "--shard", metavar="I/N",
        help="only every N-th source from the I-th on, or of one video every N-th shot: N machines "
        "that share a disk do all; of a video, the same command without --shard then ends it",
    )  # fmt: skip
    parser.add_argument(
        "--scheduler", metavar="ADDRESS",
        help="share the sources, or the shots of one video, out among the workers of a dask "
        "scheduler that see the same files, or local:N to start N here; needs the extra 'cluster'",
    )  # fmt: skip


_GUIDES = {
    "mask": "where the style goes: white or opaque; several go with several styles, in their order",
    "map": "the regions of the frame, by colour",
    "style_map": "the regions of the style picture, by colour; one for each --style",
}
_SERIES = ": a picture for all frames, or a folder, pattern or video for each or for key frames"


def _add_guide(
    parser: argparse.ArgumentParser, name: str, *, several: bool, required: bool
) -> None:
    mirrored = "; of a batch, a folder that mirrors the tree of its sources by name"
    series = "" if name == "style_map" else _SERIES + mirrored
    parser.add_argument(
        f"--{name.replace('_', '-')}",
        metavar="PATH" if series else "PICTURE",
        action="append" if several else "store",
        default=argparse.SUPPRESS,
        required=required,
        help=_GUIDES[name] + series,
    )


def _add_weights(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--weights", metavar="FILE", type=Path,
        help="VGG-19: .npz, .pth or Keras' notop .h5 (default: found or fetched)",
    )  # fmt: skip


def _guides(asked: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(asked, name) for name in _GUIDES if hasattr(asked, name)}


def _job_maker(asked: argparse.Namespace) -> "MakeJob":
    """Return what makes a job of a source and an output."""
    from vidstyle.jobs.job import make_job

    return partial(
        make_job,
        style=asked.style,
        technique=asked.technique,
        weights=asked.weights,
        **_guides(asked),
        **values(asked, TECHNIQUES[asked.technique]),
        **values(asked, Settings),
    )


def _stylize(asked: argparse.Namespace) -> int:
    from vidstyle.jobs.discovery import parse_shard
    from vidstyle.jobs.pipeline import make_stylizer, plan, run, run_shard
    from vidstyle.jobs.shards import run_shots

    if _is_batch(asked):
        return _stylize_batch(asked)
    job = _job_maker(asked)(asked.sources[0], asked.output)
    if asked.shard and asked.scheduler:
        raise UsageError("--shard: expected it without --scheduler, which shares out all")
    if asked.dry_run:
        found = plan(job)
        if asked.json:
            print_json({"event": "plan", **found})
        else:
            print(plan_in_words(found))
        return 0
    make = make_stylizer if asked.verbose else silently(make_stylizer)
    restart = job.settings.restart
    with Reporter(as_json=asked.json, quiet=asked.quiet, restart=restart) as reporter:
        if asked.shard:
            run_shard(job, parse_shard(asked.shard), reporter, make_stylizer=make)
            return 0
        if asked.scheduler:
            run_shots(job, asked.scheduler, reporter, make_stylizer=make, verbose=asked.verbose)
        else:
            run(job, reporter, make_stylizer=make)
    return 0


def _is_batch(asked: argparse.Namespace) -> bool:
    """Tell whether OUTPUT is a folder of results; a single clip is shared out by shots."""
    if asked.recursive or asked.list or len(asked.sources) != 1:
        return True
    (source,) = asked.sources
    return bool(asked.shard or asked.scheduler) and source.is_dir() and not hasattr(asked, "rate")


def _stylize_batch(asked: argparse.Namespace) -> int:
    from vidstyle.jobs.batch import plan_batch, run_batch
    from vidstyle.jobs.cluster import spread_over
    from vidstyle.jobs.discovery import collect, parse_shard, read_list
    from vidstyle.jobs.pipeline import make_stylizer

    given = values(asked, Settings)
    batch = collect(
        asked.sources,
        asked.output,
        listed=read_list(asked.list, asked.output) if asked.list else (),
        recursive=asked.recursive,
        sequences="rate" in given,
        shard=parse_shard(asked.shard or "1/1"),
        guides=_guides(asked).values(),
    )
    make = make_stylizer if asked.verbose else silently(make_stylizer)
    with BatchReporter(
        as_json=asked.json, quiet=asked.quiet, verbose=asked.verbose, restart="restart" in given
    ) as reporter:
        if asked.dry_run:
            failed = plan_batch(batch, _job_maker(asked), reporter)
        else:
            each = spread_over(asked.scheduler, verbose=asked.verbose) if asked.scheduler else None
            failed = run_batch(batch, _job_maker(asked), reporter, make_stylizer=make, each=each)
    return VidstyleError.exit_code if failed else 0


def _track(asked: argparse.Namespace) -> None:
    from vidstyle.jobs.propagate import write_tracks

    with told("tracking", as_json=asked.json, quiet=asked.quiet) as callbacks:
        count = write_tracks(
            Path(asked.source), asked.output, map=asked.map, mask=asked.mask,
            **values(asked, Settings), **callbacks,
        )  # fmt: skip
    if asked.json:
        print_json({"event": "done", "output": str(asked.output), "pictures": count})
    elif not asked.quiet:
        print(printable(f"{asked.output}: {count} pictures"))


def _evaluate(asked: argparse.Namespace) -> None:
    from vidstyle.evaluation.evaluate import as_json, evaluate, in_words, make_distances
    from vidstyle.evaluation.report import Album, check_page, read_log, write_report

    given = values(asked, Settings)
    overwrite = given.pop("overwrite", False)
    inputs = (asked.output, asked.source, asked.style, asked.mask, asked.cold, asked.weights)
    check_page(asked.html, asked.log, inputs=filter(None, inputs), overwrite=overwrite)
    album = Album()
    with told("measuring", as_json=asked.json, quiet=asked.quiet) as callbacks:
        found = evaluate(
            asked.output, asked.source, style=asked.style, mask=asked.mask, cold=asked.cold,
            weights=asked.weights, see=None if asked.html is None else album,
            make_distances=make_distances if asked.verbose else silently(make_distances),
            **given, **callbacks,
        )  # fmt: skip
    if asked.html is not None:
        log = None if asked.log is None else read_log(asked.log, found.frames)
        title = f"{asked.output} beside {asked.source}"
        write_report(asked.html, title, found, album, log, overwrite=overwrite)
    if asked.json:
        print_json({"event": "done", **as_json(found)})
    else:
        print(in_words(found))


def _probe(asked: argparse.Namespace) -> None:
    from vidstyle.media import as_json, probe

    clip = probe(asked.source, **values(asked, Settings))
    print(json.dumps(as_json(clip), indent=2))


def _weights(asked: argparse.Namespace) -> None:
    from vidstyle.vgg.weights import digest, find, load

    bar = None

    def progress(received: int, total: int) -> None:
        nonlocal bar
        bar = bytes_bar(bar, {"received": received, "total": total})

    path = find(asked.weights, progress=progress)
    if bar is not None:
        bar.close()
    network = load(path)
    print(printable(f"{path}: VGG-19, {len(network)} layers, sha256 {digest(path)}"))
