"""Identity runs of unusual sources, generated and from $VIDSTYLE_FOOTAGE: see stress/corpus.py."""

import os
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from media_inputs import (
    disc,
    ffmpeg,
    write_clip,
    write_cropped,
    write_gif,
    write_raw,
    write_rotated,
)

from stress import corpus
from vidstyle import media

FOOTAGE = Path(os.environ.get("VIDSTYLE_FOOTAGE") or "absent")
STEPS = [0, 1, 2, 3, 4, 5]


def _frames(width: int = 64, height: int = 48) -> np.ndarray:
    return np.array([(disc(step, width, height) * 255).astype(np.uint8) for step in STEPS])


def _raw(name: str, *options: str, size: tuple[int, int] = (64, 48)) -> Callable[[Path], Path]:
    return lambda folder: write_raw(folder / name, _frames(*size), *options)


def _turned(clockwise: int) -> Callable[[Path], Path]:
    return lambda folder: write_rotated(
        write_clip(folder / "a.mp4", STEPS), folder / "turned.mp4", clockwise
    )


def _cropped(suffix: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = write_cropped(
            write_clip(folder / "a.mp4", STEPS), folder / "b.mp4", width=40, height=30
        )
        ffmpeg("-i", str(path), "-c", "copy", str(folder / f"cropped{suffix}"))
        return folder / f"cropped{suffix}"

    return make


def _cut_in(folder: Path) -> Path:
    """Copy from between two key frames: an edit list hides the frames that decoding needs."""
    path = write_clip(folder / "a.mp4", list(range(20)))
    ffmpeg("-ss", "0.4", "-i", str(path), "-c", "copy", str(folder / "cut.mp4"))
    return folder / "cut.mp4"


def _resized_midway(folder: Path) -> Path:
    for name, size in (("a.h264", (64, 48)), ("b.h264", (96, 80))):
        _raw(name, "-c:v", "libx264", "-bf", "0", size=size)(folder)
    path = folder / "both.h264"
    path.write_bytes((folder / "a.h264").read_bytes() + (folder / "b.h264").read_bytes())
    return path


def _truncated(folder: Path) -> Path:
    path = write_clip(folder / "a.mkv", list(range(60)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def _damaged(folder: Path) -> Path:
    path = write_clip(folder / "a.mkv", list(range(40)), noisy=True)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 2000] = bytes(2000)
    path.write_bytes(data)
    return path


def _photo(folder: Path) -> Path:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    PIL.Image.fromarray(_frames()[0]).save(folder / "photo.jpg", exif=exif.tobytes(), quality=95)
    return folder / "photo.jpg"


_H265 = ("-c:v", "libx265", "-x265-params", "log-level=none", "-pix_fmt")
_PQ = (
    "colorlevels=romax=0.56:gomax=0.56:bomax=0.56,scale=out_color_matrix=bt2020nc,format=yuv420p10le,setparams=color_primaries=bt2020:"
    "color_trc=smpte2084:colorspace=bt2020nc"
)
KINDS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "constant rate": (lambda folder: write_clip(folder / "a.mp4", STEPS, sound=True), ""),
    "varying rate": (lambda folder: write_clip(folder / "a.mkv", [0, 1, 2, 5, 9, 10]), ""),
    "late start": (lambda folder: write_clip(folder / "a.mkv", STEPS, offset=30), ""),
    "edit list": (_cut_in, ""),
    "turned 90": (_turned(90), ""),
    "turned 180": (_turned(180), ""),
    "turned 270": (_turned(270), ""),
    "wide pixels": (
        lambda folder: write_clip(folder / "a.mp4", STEPS, aspect=Fraction(16, 11)),
        "",
    ),
    "cropped by MOV": (_cropped(".mov"), ""),
    "cropped by Matroska": (_cropped(".mkv"), ""),
    "odd size": (_raw("a.webm", "-c:v", "libvpx-vp9", size=(65, 47)), ""),
    "odd size, even codec": (_raw("a.avi", "-c:v", "ffv1", size=(65, 47)), "widened to 66x48"),
    "interlaced": (
        _raw("a.ts", "-c:v", "libx264", "-flags", "+ildct+ilme", "-x264opts", "tff=1"),
        "interlaced",
    ),
    "10 bits": (_raw("a.mp4", *_H265, "yuv420p10le"), ""),
    "12 bits, 4:4:4": (_raw("a.mp4", *_H265, "yuv444p12le"), ""),
    "4:2:2": (_raw("a.mp4", "-c:v", "libx264", "-pix_fmt", "yuv422p"), ""),
    "full range": (_raw("a.mp4", "-c:v", "libx264", "-pix_fmt", "yuvj420p"), ""),
    "HDR": (_raw("a.mp4", "-vf", _PQ, *_H265, "yuv420p10le"), "(PQ) is tone-mapped"),
    "size changes": (_resized_midway, "the frame size changes"),
    "cut short": (_truncated, "cut short"),
    "damaged": (_damaged, "damaged"),
    "GIF": (lambda folder: write_gif(folder / "a.gif", [50, 200, 70, 30]), ""),
    "APNG": (_raw("a.apng", "-plays", "0"), ""),
    "photo on its side": (_photo, ""),
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_unusual_source_gives_the_same_frames_at_the_same_times(
    tmp_path: Path, kind: str
) -> None:
    make, warning = KINDS[kind]
    (tmp_path / "out").mkdir()
    row = corpus.examine(make(tmp_path), kind, tmp_path / "out")
    assert row.bad == "", row
    assert row.verdict.startswith("same")
    assert (warning in row.verdict) if warning else (row.verdict == "same")


def test_a_changed_picture_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def mirrored(self, content, **_):
        return corpus.Stylized(content[:, ::-1].copy(), {})

    monkeypatch.setattr(corpus.Identity, "stylize", mirrored)
    row = corpus.examine(write_clip(tmp_path / "a.mp4", STEPS), "b", tmp_path)
    assert "pictures" in row.bad


@pytest.mark.parametrize("wrong", ["count", "time", "size", "picture"])
def test_each_difference_is_bad(tmp_path: Path, wrong: str) -> None:
    path = write_clip(tmp_path / "a.mp4", STEPS)
    clip, seen = media.probe(path), corpus.decode(path)
    other = {
        "count": replace(seen, seconds=seen.seconds[:-1]),
        "time": replace(seen, seconds=seen.seconds + 0.002),
        "size": replace(seen, size=(64, 44)),
        "picture": replace(seen, pictures=seen.pictures[::-1]),
    }[wrong]
    found = list(corpus._compare(clip, seen, clip, other, may_differ=False))
    assert [bad for _, bad in found].count(True) == 1
    assert not any(bad for _, bad in corpus._compare(clip, seen, clip, seen, may_differ=False))


def test_a_refusal_is_a_verdict_and_a_fault_is_bad(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_clip(tmp_path / "a.mp4", STEPS)
    assert "also an input" in corpus.examine(path, "a", tmp_path).bad
    path.write_bytes(b"no video")
    row = corpus.examine(tmp_path / "a.mp4", "a", tmp_path)
    assert (row.verdict[:8], row.bad) == ("refused:", "")
    monkeypatch.setattr(media, "probe", lambda path: 1 / 0)
    assert "ZeroDivisionError" in corpus.examine(tmp_path / "a.mp4", "a", tmp_path).bad


_REAL = [
    path
    for folder in ("clips", "odd", "photos")
    for path in sorted((FOOTAGE / folder).glob("*"))
    if media.is_footage(path.name)
]


@pytest.mark.skipif(not FOOTAGE.is_dir(), reason="VIDSTYLE_FOOTAGE names no folder")
@pytest.mark.parametrize("path", _REAL, ids=lambda path: path.name)
def test_real_footage_gives_the_same_frames_at_the_same_times(tmp_path: Path, path: Path) -> None:
    row = corpus.examine(path, path.name, tmp_path)
    assert row.bad == "", row
    assert row.verdict.startswith("refused: ") == ("dovi-p5" in path.name)
