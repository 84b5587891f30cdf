"""`vidstyle weights`: find or download the VGG-19 weights and verify them."""

import argparse

from vidstyle.cli import options
from vidstyle.cli.progress import bytes_bar
from vidstyle.cli.terminal import printable
from vidstyle.jobs.events import WeightsEvent

SUMMARY = "find or download the VGG-19 weights and verify them"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_weights(parser)


def run(args: argparse.Namespace) -> None:
    from vidstyle.vgg.weights import digest, find, load

    bar = None

    def progress(received: int, total: int) -> None:
        nonlocal bar
        bar = bytes_bar(bar, WeightsEvent(received=received, total=total))

    path = find(args.weights, progress=progress)
    if bar is not None:
        bar.close()
    network = load(path)
    print(printable(f"{path}: VGG-19, {len(network)} layers, sha256 {digest(path)}"))
