"""`vidstyle studio`: the browser interface, on this machine."""

import argparse
import sys
import webbrowser
from pathlib import Path
from threading import Thread

from vidstyle.cli.terminal import printable
from vidstyle.errors import UsageError

SUMMARY = "open the studio in a browser: paint masks, preview, compare and run"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "clip", metavar="CLIP", nargs="?", type=Path,
        help="a clip, a picture or a folder to open; the page sees files below its folder only "
        "(default: the current folder)",
    )  # fmt: skip
    parser.add_argument(
        "--port", metavar="N", default="0", help="port to listen on (default: a free one)"
    )
    parser.add_argument(
        "--host", metavar="ADDRESS", default="127.0.0.1",
        help="address to listen on (default: %(default)s, this machine only)",
    )  # fmt: skip
    parser.add_argument(
        "--no-browser", action="store_true", help="print the address, and open no browser"
    )


def run(args: argparse.Namespace) -> None:
    from vidstyle.studio.server import serve

    if not args.port.isdecimal() or int(args.port) > 65535:
        raise UsageError(f"--port: expected a number from 0 to 65535, got {args.port!r}")

    def ready(address: str, start: Path, open_to_others: bool) -> None:
        print(f"The studio is open at {address}\nIt ends with Ctrl-C; jobs go on.", flush=True)
        if open_to_others:
            text = (
                "vidstyle: warning: whoever can reach this address and has the link can read and "
                f"write below {start}; the connection is not encrypted"
            )
            print(printable(text), file=sys.stderr, flush=True)
        if not args.no_browser:
            Thread(target=webbrowser.open, args=(address,), daemon=True).start()

    serve(args.clip, host=args.host, port=int(args.port), ready=ready)
