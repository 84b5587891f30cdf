"""Benchmarks. Times are ratios within one interleaved run: absolute ones depend on the machine.

scripts/bench evaluation             one loss and gradient at 512x288: Winograd, bfloat16, plain
scripts/bench memory                 peak memory of runs of 30 and 300 frames
scripts/bench overhead [CLIP]        share of a default run outside the optimisation
scripts/bench warm CLIP [CLIP …]     loss by number of evaluations, cold and warm
scripts/bench crash [CLIP]           kill a run ten times, compare the output bytes
scripts/bench masks                  time and memory of one evaluation with 1 and 16 masks
scripts/bench greys [FOLDER]         change of a photo by masks of five greys
scripts/bench window                 one evaluation of a crop of a quarter, against the frame
scripts/bench patch                  memory and matching time of a 1920x1080 frame of patch
scripts/bench coherence FOLDER …     warping errors of the default and of other methods
scripts/bench sheet CLIP [CLIP …]    contact sheets, and late frames beside frames made alone
scripts/bench tracking FOLDER        intersection over union of propagated masks
scripts/bench segmentation FOLDER    automatic, selected and mended masks against the true ones
scripts/bench sizes                  style distance at 256 pixels of results at 256 and 768
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.coherence import coherence
from benchmarks.looks import sheet
from benchmarks.masks import greys, masks, window
from benchmarks.patch import patch
from benchmarks.segmentation import segmentation
from benchmarks.tracking import tracking

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
SAMPLES = Path(__file__).parent.parent / "samples"
LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu4_2", "relu5_1")


def main() -> None:
    """Run the benchmark named on the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    measurements = (
        evaluation,
        memory,
        overhead,
        warm,
        crash,
        masks,
        greys,
        window,
        patch,
        tracking,
        segmentation,
        sizes,
    )
    named: dict[str, Callable[..., None]] = {measure.__name__: measure for measure in measurements}
    parser.add_argument("what", choices=[*named, "coherence", "sheet"])
    parser.add_argument("clips", nargs="*", type=Path)
    arguments, rest = parser.parse_known_args()
    if arguments.what == "coherence" and len(arguments.clips) == 1:
        coherence(arguments.clips[0], rest)
        return
    if arguments.what == "sheet" and arguments.clips:
        sheet(arguments.clips, rest)
        return
    if rest or arguments.what in ("coherence", "sheet"):
        parser.error(f"{arguments.what}: expected paths that exist, got {arguments.clips, rest}")
    if arguments.what == "warm" and not arguments.clips:
        parser.error("warm: name one or more clips")
    named[arguments.what](*arguments.clips)


def evaluation() -> None:
    """Print the time of one evaluation, by default and in bfloat16, relative to plain layers."""
    import tensorflow as tf

    from vidstyle.vgg import weights
    from vidstyle.vgg.encoder import Encoder

    network = weights.load(weights.find())
    image = tf.constant(np.random.default_rng(0).random((288, 512, 3), np.float32))
    steps = {
        "plain": _network_step(Encoder(network, LAYERS, plain=True)),
        "fast": _stylizer_step(Encoder(network, LAYERS, plain=False), image.numpy()),
        "bfloat16": _stylizer_step(Encoder(network, LAYERS, precision="bfloat16"), image.numpy()),
    }
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(10):
        for name, step in steps.items():
            began = time.perf_counter()
            step(image)
            if turn:  # the first call traces
                times[name].append(time.perf_counter() - began)
    for name, own in times.items():
        ratios = [one / plain for one, plain in zip(own, times["plain"], strict=True)]
        print(f"{name:8} {statistics.median(own):.3f} s, / plain: {statistics.median(ratios):.3f}")
    _features(network, image)


def _network_step(encoder: Any) -> Callable[[Any], Any]:
    """Return a function that runs the network forward and backward to its input."""
    import tensorflow as tf

    @tf.function
    def step(image: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(image)
            total = tf.add_n([tf.reduce_mean(values) for values in encoder(image).values()])
        return tape.gradient(total, image)

    return lambda image: step(image).numpy()


def _stylizer_step(encoder: Any, content: Any) -> Callable[[Any], Any]:
    """Return one evaluation of `basic`: all loss terms and the gradient."""
    from vidstyle import media
    from vidstyle.coherence.prior import TemporalPrior
    from vidstyle.settings import Settings
    from vidstyle.stylizer.stylizer import Stylizer

    style = media.read_picture(SAMPLES / "style.jpg")
    stylizer = Stylizer([_style(style)], encoder=encoder, settings=Settings(steps_next=1))
    with _recorded_calls(stylizer, content) as calls:
        stylizer.stylize(
            content, prior=TemporalPrior(content, np.zeros((*content.shape[:2], 1), "f4"))
        )
    (_, *inputs), _ = calls[0]
    size = stylizer.step_at(content)
    return lambda image: size.evaluate(image, *inputs)[1].numpy()


@contextmanager
def _recorded_calls(stylizer: Any, frame: Any) -> Iterator[list[tuple[Any, Any]]]:
    """Yield a list that collects the (arguments, result) of every evaluation."""
    calls: list[tuple[Any, Any]] = []
    kind = type(stylizer.step_at(frame))
    traced = kind.evaluate

    def recorded(size: Any, *arguments: Any) -> Any:
        found = traced(size, *arguments)
        calls.append((arguments, found))
        return found

    with mock.patch.object(kind, "evaluate", recorded):
        yield calls


def _style(image: Any) -> Any:
    from vidstyle.stylizer.stylizer import Style

    return Style(image)


def _features(network: Any, image: Any) -> None:
    """Print the largest error of the Winograd features by layer."""
    from vidstyle.vgg.encoder import Encoder

    plain, fast = (Encoder(network, LAYERS, plain=kind)(image) for kind in (True, False))
    for layer, values in plain.items():
        error = float(abs(fast[layer] - values).numpy().max() / values.numpy().max())
        print(f"{layer}: largest difference {error:.1e} of the layer's maximum")


def memory() -> None:
    """Print the peak memory of two runs that differ only in their number of frames."""
    peaks = {}
    with tempfile.TemporaryDirectory() as folder:
        for count in (30, 300):
            clip = Path(folder) / f"{count}.mp4"
            _moving(clip, count)
            command = _command(clip, clip.with_suffix(".out.mp4"), steps=2, following=1)
            child = os.spawnv(os.P_NOWAIT, sys.executable, command)
            _, status, usage = os.wait4(child, 0)
            if status:
                sys.exit(f"the run of {count} frames failed")
            peaks[count] = usage.ru_maxrss / 1024
            print(f"{count} frames: peak {peaks[count]:.0f} MB")
    print(f"300 frames / 30 frames: {peaks[300] / peaks[30]:.3f}")


def _command(
    clip: Path, output: Path, *, steps: int, following: int, size: str = "auto"
) -> list[str]:
    """Return a quiet command that stylises a clip with these steps per frame."""
    command = [sys.executable, "-m", "vidstyle", "basic", str(clip), "-o", str(output), "-q"]
    command += ["--style", str(SAMPLES / "style.jpg"), "--size", size]
    return [*command, "--steps", str(steps), "--steps-next", str(following)]


def crash(clip: Path = SAMPLES / "clip.mp4") -> None:
    """Kill runs ten times at random moments; finish each and compare the output bytes."""
    random = np.random.default_rng()
    with tempfile.TemporaryDirectory() as folder:
        whole, output = (Path(folder) / name for name in ("whole.mp4", "killed.mp4"))
        began = time.perf_counter()
        subprocess.run(_command(clip, whole, steps=6, following=2, size="128"), check=True)
        length = time.perf_counter() - began
        killed, different = 0, 0
        while killed < 10:
            run = subprocess.Popen(_command(clip, output, steps=6, following=2, size="128"))
            try:
                run.wait(timeout=random.uniform(0.1, length))
            except subprocess.TimeoutExpired:
                run.kill()
                run.wait()
                killed += 1
                frames = len(list(Path(f"{output}.vidstyle").glob("frames/*.png")))
                print(f"killed with {frames} frames finished", flush=True)
            if output.exists():
                different += not _same(whole, output)
        subprocess.run(_command(clip, output, steps=6, following=2, size="128"), check=True)
        different += not _same(whole, output)
    if different:
        sys.exit(f"{different} of the finished outputs differ")


def _same(whole: Path, output: Path) -> bool:
    """Return and print whether two files are equal; remove the second."""
    same = whole.read_bytes() == output.read_bytes()
    print(f"finished: {'identical bytes' if same else 'DIFFERENT BYTES'}", flush=True)
    output.unlink()
    return same


def _moving(path: Path, count: int) -> None:
    """Write a clip of `count` frames: a pan over a sample picture."""
    import av

    from vidstyle import media

    picture = (media.read_picture(SAMPLES / "photo.png") * 255).astype(np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        for index in range(count):
            x = round(60 + 50 * np.sin(index / 20))
            part = np.ascontiguousarray(picture[100:196, x : x + 160])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(part, format="rgb24")))
        container.mux(stream.encode())


def overhead(clip: Path = SAMPLES / "clip.mp4") -> None:
    """Print the share of a default run that is not spent optimising."""
    from vidstyle.jobs import pipeline as runs
    from vidstyle.jobs.job import make_job

    spent: list[float] = []
    began: list[float] = []

    class Timed:
        """A stylizer that records the time of each frame."""

        def __init__(self, inner: Any) -> None:
            self.inner = inner

        def begin(self, *arguments: Any) -> Any:
            return self.inner.begin(*arguments)

        def stylize(self, *arguments: Any, **options: Any) -> Any:
            start = time.perf_counter()
            result = self.inner.stylize(*arguments, **options)
            spent.append(time.perf_counter() - start)
            return result

    def make(*arguments: Any) -> Any:
        inner = runs.make_stylizer(*arguments)  # before the clock starts: loads the network
        began.append(time.perf_counter())
        return Timed(inner)

    with tempfile.TemporaryDirectory() as folder:
        job = make_job(clip, Path(folder) / "out.mp4", style=SAMPLES / "style.jpg")
        runs.run(job, make_stylizer=make)
        whole = time.perf_counter() - began[0]
    print(f"{len(spent)} frames, {whole:.1f} s, of which optimising {sum(spent):.1f} s")
    print(f"decode, flow, encode and state: {100 * (1 - sum(spent) / whole):.1f} %")


def warm(*clips: Path) -> None:
    """Print the loss by number of evaluations of a cold and a warm frame of each clip.

    cold: 150 evaluations over all pyramid levels. warm: 15 evaluations from the prior of the fourth
    frame of a shot. At the default size, without temporal loss.
    """
    from vidstyle import media
    from vidstyle.coherence import warm_start
    from vidstyle.jobs.job import target_size
    from vidstyle.settings import Settings
    from vidstyle.stylizer.stylizer import Stylizer

    style = _style(media.read_picture(SAMPLES / "style.jpg"))
    usual = Stylizer([style])
    marks = (1, 5, 10, 15, 25, 50, 100, 150)
    print(f"{'loss after':32}" + "".join(f"{mark:>9}" for mark in marks))
    for path in clips:
        clip = media.probe(path)
        size = target_size("auto", clip.width, clip.height)
        frames = [media.resize(frame, *size) for frame in media.read(clip, range(8, 12))]
        result, prior = usual.stylize(frames[0]).image, None
        for before, frame in pairwise(frames):
            prior = warm_start.prior(before, frame, result)
            if frame is not frames[-1]:
                result = usual.stylize(frame, prior=prior).image
        steps = 15000 // sum(_counts(100, size[::-1]))
        settings = Settings(steps=steps, steps_next=15, temporal_weight=0)
        compared = Stylizer([style], settings=settings)
        cold, warm = (_curve(compared, frames[-1], start) for start in (None, prior))
        for name, curve in (("cold", cold), ("warm", warm)):
            row = "".join(f"{curve[m - 1]:9.4f}" if m <= len(curve) else " " * 9 for m in marks)
            print(f"{path.name[:26]:26} {name:5}{row}")
        reached = next((i + 1 for i, loss in enumerate(warm) if loss <= cold[-1]), None)
        print(
            f"{'':26} the final cold loss is reached warm after {reached or 'more than 15'}",
            flush=True,
        )


def _curve(stylizer: Any, frame: Any, prior: Any) -> list[float]:
    """Return the lowest loss so far after each evaluation, without the temporal term."""
    settings = stylizer.settings
    with _recorded_calls(stylizer, frame) as calls:
        stylizer.stylize(frame, prior=prior)
    best = [
        sum(getattr(settings, f"{name}_weight") * float(value)
            for name, value in terms.items() if name != "temporal")
        for _, (_, _, terms) in calls
    ]  # fmt: skip
    first = 0
    counts = _counts(settings.steps, frame.shape[:2]) if prior is None else [settings.steps_next]
    for own in counts:  # each level has its own minimum
        best[first : first + own] = np.minimum.accumulate(best[first : first + own])
        first += own
    return best


def _counts(steps: int, size: Any) -> list[int]:
    """Return the evaluations of a first frame of `size` (rows, columns) at each of its levels."""
    from vidstyle.stylizer.pyramid import evaluations_at, levels

    return [evaluations_at(steps, finer=place > 0) for place in range(len(levels(*size)))]


def sizes() -> None:
    """Print the style distance, at 256 pixels, of the sample stylised at 256 and 768 pixels."""
    import tensorflow as tf

    from vidstyle import media
    from vidstyle.jobs.job import target_size
    from vidstyle.settings import Settings
    from vidstyle.stylizer.stylizer import Stylizer
    from vidstyle.vgg import losses
    from vidstyle.vgg.encoder import load_encoder

    photo = media.read_picture(SAMPLES / "photo.png")
    style = media.read_picture(SAMPLES / "style.jpg")
    settings = Settings()
    stylizer = Stylizer([_style(style)], settings=settings)
    encoder = load_encoder(None, settings.style_layers)
    small = target_size(256, photo.shape[1], photo.shape[0])
    scale = (small[0] * small[1] / (style.shape[0] * style.shape[1])) ** 0.5
    goal_image = media.resize(style, round(style.shape[1] * scale), round(style.shape[0] * scale))
    goals = {k: losses.gram(v) for k, v in encoder(tf.constant(goal_image)).items()}
    distances = []
    for side in (256, 768):
        frame = media.resize(photo, *target_size(side, photo.shape[1], photo.shape[0]))
        result = media.resize(stylizer.stylize(frame).image, *small)
        grams = {k: losses.gram(v) for k, v in encoder(tf.constant(result)).items()}
        distances.append(np.mean([float(losses.relative(grams[k], goals[k])) for k in goals]))
        print(f"made at {side}: style distance at 256 is {distances[-1]:.4f}", flush=True)
    print(f"they differ by {100 * abs(distances[1] / distances[0] - 1):.1f} %")


if __name__ == "__main__":
    main()
