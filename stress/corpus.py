"""Comparison of the outputs of identity runs with their sources, for a corpus of media files.

An identity run uses a stylizer that returns its input. Source and output are decoded with the
ffmpeg of imageio-ffmpeg, independent of vidstyle's decoders, and compared in frame count,
timestamps and pixels.
"""

import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np

from vidstyle import media
from vidstyle.coherence.cold import NoCoherence
from vidstyle.errors import MediaError
from vidstyle.jobs.discovery import collect
from vidstyle.jobs.job import make_job
from vidstyle.jobs.pipeline import run
from vidstyle.stylizer.protocol import Stylized

__all__ = ["Decoded", "Row", "decode", "examine", "sources"]

STYLE = Path(__file__).parent.parent / "samples" / "style.jpg"  # required, but without effect
MAX_DELAY = 0.001  # seconds; difference of timestamps
MAX_DIFFERENCE = 6 / 255  # mean difference of thumbnails; above that of any codec
THUMBNAIL = (32, 24)  # pixels; averages out compression noise


@dataclass(frozen=True, kw_only=True)
class Row:
    """The result for one file. bad: the reasons why it failed, or ""."""

    name: str
    source: str
    result: str
    verdict: str
    bad: str = ""


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """A file decoded by ffmpeg: seconds [N], pictures [N, H, W, 3], float32, 0..1, over white.

    size: stored (width, height), after rotation. form: for example "h264 yuv420p". damaged: whether
    ffmpeg reported damage; decoders conceal it differently.
    """

    seconds: np.ndarray[Any, Any]
    pictures: np.ndarray[Any, Any]
    size: tuple[int, int]
    form: str
    damaged: bool = False


class Identity:
    """A stylizer that returns the frame."""

    def begin(self, content: media.Image, guide: Any = None) -> media.Image:
        """Return the frame."""
        del guide
        return content

    def stylize(self, content: media.Image, **_: Any) -> Stylized:
        """Return the frame."""
        return Stylized(content, {})


def sources(folder: Path) -> list[Path]:
    """Return the pictures, animations and videos in a folder and in those right below it."""
    with tempfile.TemporaryDirectory() as elsewhere:
        batch = collect([folder], Path(elsewhere), recursive=True)
    found = [item.source for item in batch.items]
    return [path for path in found if len(path.relative_to(folder).parts) <= 2]


def examine(source: Path, name: str, folder: Path) -> Row:
    """Run one file through the identity stylizer into `folder`, and compare."""
    try:
        clip = media.probe(source)
        output = folder / f"{name.replace('/', '_')}{media.result_suffix(clip, source.suffix)}"
        warnings = _stylise(source, output)
        result = media.probe(output)
    except MediaError as error:
        return Row(name=name, source="-", result="-", verdict=f"refused: {error}")
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
        return Row(name=name, source="-", result="-", verdict=f"FAULT: {message}", bad=message)
    before, after = decode(source), decode(output)
    reported = any("damaged" in warning for warning in warnings)
    findings = list(_compare(clip, before, result, after, may_differ=before.damaged and reported))
    bad = ", ".join(found for found, wrong in findings if wrong)
    notes = "; ".join(warning.replace(f"{source}: ", "") for warning in warnings)
    return Row(
        name=name,
        source=f"{_description(clip)}, {before.form}, {len(before.seconds)} frames by ffmpeg",
        result=f"{after.form}, {', '.join(found for found, _ in findings)}",
        verdict=(f"BAD: {bad}" if bad else "same") + (f" ({notes})" if notes else ""),
        bad=bad,
    )


def _description(clip: media.Clip) -> str:
    """Return the properties of a source as probed by vidstyle."""
    words = [f"{clip.frames} frames {clip.width}x{clip.height}"]
    if clip.timestamps and clip.time_base and clip.rate:
        words.append(f"{float(clip.rate):.5g}/s{' varying' if clip.variable else ''}")
        words.append(f"from {float(clip.timestamps[0] * clip.time_base):.3g} s")
    words += [f"turned {clip.rotation}"] * (clip.rotation != 0)
    words += [f"pixels {clip.pixel_aspect}"] * (clip.pixel_aspect != 1)
    return ", ".join(words)


def _stylise(source: Path, output: Path) -> list[str]:
    """Run vidstyle; return its warnings. Skips the flow: the stylizer ignores the prior."""
    job = make_job(
        source, output, style=STYLE, size="source", steps=0, steps_next=0, overwrite=True
    )
    warnings: list[str] = []

    def notify(event: Any) -> None:
        if event.name == "warning":
            warnings.append(event.message)

    run(job, notify, make_stylizer=lambda *_: Identity(), coherence=NoCoherence)
    return warnings


def decode(path: Path) -> Decoded:
    """Decode a file with the bundled ffmpeg: rotated, with its timestamps."""
    decoder, form, before = _header(path)
    with tempfile.TemporaryDirectory() as folder:
        times = Path(folder) / "times"
        small = f"scale={_EXACT},format=rgba,scale={THUMBNAIL[0]}:{THUMBNAIL[1]}:{_EXACT}"
        graph = f"[0:v:0]split[t][p];[p]{before}{small}[s]"
        passing = ["-fps_mode", "passthrough", "-enc_time_base", "demux"]
        done = _ffmpeg(
            "-copyts", *decoder, "-i", str(path), "-filter_complex", graph,
            "-map", "[t]", *passing, "-f", "framecrc", str(times),
            "-map", "[s]", *passing, "-f", "rawvideo", "-pix_fmt", "rgba", "-",
        )  # fmt: skip
        lines = times.read_text() if times.exists() else ""
    size = re.search(r"^#dimensions 0: (\d+)x(\d+)", lines, re.MULTILINE)
    return Decoded(
        seconds=_seconds(lines),
        pictures=_over_white(
            np.frombuffer(done.stdout, np.uint8).reshape(-1, THUMBNAIL[1], THUMBNAIL[0], 4)
        ),
        size=(int(size[1]), int(size[2])) if size else (0, 0),
        form=form,
        damaged=re.search(_DAMAGE, done.stderr) is not None,
    )


def _ffmpeg(*arguments: str) -> "subprocess.CompletedProcess[bytes]":
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-nostdin", "-y", *arguments]
    return subprocess.run(command, capture_output=True, check=False)


def _header(path: Path) -> tuple[list[str], str, str]:
    """Return (decoder options, "h264 yuv420p", filters that convert the frames to SDR RGB)."""
    log = _ffmpeg("-i", str(path)).stderr.decode(errors="replace")
    found = re.search(r"Video: (\w+)[^\n]*?, (\w+)(?:\(([^)]*)\))?, \d+x(\d+)", log)
    if found is None:
        return [], "?", ""
    codec, form, tags, lines = found[1], found[2], found[3] or "", int(found[4])
    clear = codec in ("vp8", "vp9") and re.search(r"alpha_mode *: *1", log, re.IGNORECASE)
    decoder = ["-c:v", {"vp8": "libvpx", "vp9": "libvpx-vp9"}[codec]] if clear else []
    if "smpte2084" in tags or "arib-std-b67" in tags:
        return decoder, f"{codec} {form} HDR", _SDR
    unspecified = not re.search("bt709|bt470|smpte170|bt2020|gbr", tags)
    vp8 = codec == "vp8"  # always BT.601
    guess = unspecified and lines >= 720 and "yuv" in form and not vp8
    return decoder, f"{codec} {form}", f"scale=in_color_matrix=bt709:{_EXACT}," * guess


_DAMAGE = b"corrupt decoded frame|concealing|error while decoding|Error submitting packet"
_EXACT = "flags=area+accurate_rnd+full_chroma_int+full_chroma_inp"
# Diffuse white (203 nits) becomes white; highlights are clipped.
_SDR = (
    "zscale=t=linear:npl=203,format=gbrpf32le,zscale=p=bt709,zscale=t=iec61966-2-1,format=gbrp16le,"
)


def _seconds(lines: str) -> np.ndarray[Any, Any]:
    """Return the timestamps of a framecrc listing, in seconds."""
    base = re.search(r"^#tb 0: (\d+)/(\d+)", lines, re.MULTILINE)
    tick = Fraction(int(base[1]), int(base[2])) if base else Fraction(1)
    stamps = re.findall(r"^0, *-?\d+, *(-?\d+)", lines, re.MULTILINE)
    return np.array([float(int(stamp) * tick) for stamp in stamps])


def _over_white(pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    alpha = pixels[..., 3:].astype(np.float32) / 255
    return pixels[..., :3] / np.float32(255) * alpha + 1 - alpha


def _compare(
    clip: media.Clip, before: Decoded, result: media.Clip, after: Decoded, *, may_differ: bool
) -> Iterator[tuple[str, bool]]:
    """Yield (finding, whether it is bad)."""
    counts = {len(before.seconds), clip.frames, result.frames, len(after.seconds)}
    yield (f"{len(after.seconds)} frames", len(counts) > 1)
    if len(counts) > 1:
        return
    if clip.kind == "video":
        delay = float(np.abs(before.seconds - after.seconds).max())
        yield f"{delay * 1000:.2f} ms off", delay > MAX_DELAY
    wide, high = (clip.width + clip.width % 2, clip.height + clip.height % 2)
    size = after.size
    yield f"{size[0]}x{size[1]}", size not in ((wide, high), (clip.width, clip.height))
    difference = np.abs(before.pictures - after.pictures).mean(axis=(1, 2, 3))
    yield (
        f"pictures {difference.mean() * 255:.1f}, at most {difference.max() * 255:.1f} of 255 off",
        bool(difference.max() > MAX_DIFFERENCE) and not may_differ,
    )
