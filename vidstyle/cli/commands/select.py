"""`vidstyle select`: masks of objects that are clicked or framed, tracked over a clip."""

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidstyle.cli import options
from vidstyle.cli.progress import print_picture_count, progress_callbacks
from vidstyle.errors import UsageError
from vidstyle.settings import Settings

if TYPE_CHECKING:
    from vidstyle.jobs.selection import Selected

SUMMARY = "make masks of objects by clicks and boxes, tracked over every frame"

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)"
_FORMS = {"click": "X,Y[@TIME]", "exclude": "X,Y[@TIME]", "box": "X0,Y0,X1,Y1[@TIME]"}
_HELP = {
    "click": "a place on the object, in pixels from the top left of the picture; TIME: seconds "
    "from the first frame of the clip (default: the first frame that is selected)",
    "exclude": "a place that does not belong to the object",
    "box": "the left, top, right and bottom edge of the object",
    "object": "begin another object: the marks that follow are of it; its masks go to OUTPUT/NAME",
    "label": "write label maps for --map instead of masks: the object's colour, as '#ff0000'; one "
    "for each object",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="SOURCE", type=Path, help=options.SOURCE_HELP)
    for name, text in _HELP.items():
        parser.add_argument(
            f"--{name}", metavar=_FORMS.get(name, "COLOR" if name == "label" else "NAME"),
            action=_InOrder, default=argparse.SUPPRESS, help=text,
        )  # fmt: skip
    parser.add_argument(
        "--grabcut", action="store_true",
        help="find objects by their colours (OpenCV's GrabCut), which needs no extra and no "
        "download; give a box",
    )  # fmt: skip
    options.add_picture_series(parser)


def run(args: argparse.Namespace) -> None:
    from vidstyle.jobs.selection import write_selection

    objects = objects_of(getattr(args, "marks", ()))
    with progress_callbacks("selecting", as_json=args.json, quiet=args.quiet) as callbacks:
        count = write_selection(
            args.source, args.output, objects, grabcut=args.grabcut, preview=args.preview,
            notify=callbacks["notify"], warn=callbacks["warn"],
            **options.given_options(args, Settings),
        )  # fmt: skip
    print_picture_count(args.output, count, as_json=args.json, quiet=args.quiet)


def objects_of(given: "tuple[tuple[str, str], ...]") -> "list[Selected]":
    """Return the objects of (option, text) pairs, in the order of the command line.

    Raises UsageError for text that is not a position.
    """
    from vidstyle.jobs.selection import Selected

    objects = [Selected()]
    for name, text in given:
        if name == "object":
            if objects == [Selected()]:
                objects = []
            objects.append(Selected(name=text))
        elif name == "label":
            objects[-1].label = text if text.startswith("#") else f"#{text}"
        else:
            objects[-1].marks.append(_mark(name, text))
    for one in objects:
        if not one.marks and len(objects) > 1:
            raise UsageError(f"--object {one.name}: expected a --click or a --box, got none")
    return objects


def _mark(name: str, text: str) -> Any:
    from vidstyle.jobs.selection import Mark

    count = 4 if name == "box" else 2
    form = rf"({_NUMBER}(?:,{_NUMBER}){{{count - 1}}})(?:@({_NUMBER}))?"
    found = re.fullmatch(form, text.replace(" ", ""))
    if found is None or float(found[2] or 0) < 0:
        raise UsageError(f"--{name}: expected {_FORMS[name]}, got {text!r}; write 420,310@2.5")
    values = tuple(float(value) for value in found[1].split(","))
    return Mark(name, values, None if found[2] is None else float(found[2]))  # type: ignore[arg-type]


class _InOrder(argparse.Action):
    """Appends (option, text) to `marks`, one list of all such options in their order."""

    def __call__(self, _: Any, args: argparse.Namespace, text: Any, flag: Any = None) -> None:
        args.marks = (*getattr(args, "marks", ()), (self.dest, text))
