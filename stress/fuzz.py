"""Fuzzing with mutated media files: each must give a result or a message of one sentence."""

import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import imageio_ffmpeg
import numpy as np
import PIL.Image
import pillow_heif

from stress import hostile
from stress.torture import Table
from stress.torture_rig import start
from vidstyle.media import write_picture

__all__ = ["HOSTILE", "KINDS", "Bench", "Mutant", "fuzz", "mutants", "prepare"]

SECONDS, MEMORY = 30.0, 2 * 2**30  # limits of a run; bytes
HEAVY = 4  # factor on SECONDS at the default size, for pictures of 300 million pixels
LARGEST = 400_000  # bytes; larger files of --more are skipped
HEAD = 512  # bytes at either end that get half of the mutations
FAULT = ("Traceback", "internal error", "memory ran out")
CODES = (0, 1, 2, 3, 4)

VIDEOS = {
    "h264.mp4": ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac"],
    "hevc.mp4": ["-c:v", "libx265", "-x265-params", "log-level=none", "-pix_fmt", "yuv420p10le"],
    "fragments.mp4": ["-c:v", "libx264", "-movflags", "frag_keyframe+empty_moov", "-g", "2"],
    "prores.mov": ["-c:v", "prores_ks", "-pix_fmt", "yuv422p10le", "-c:a", "pcm_s16le"],
    "vp9.webm": ["-c:v", "libvpx-vp9", "-pix_fmt", "yuva420p", "-c:a", "libopus"],
    "h264.mkv": ["-c:v", "libx264", "-pix_fmt", "yuv444p", "-c:a", "flac"],
    "mpeg4.avi": ["-c:v", "mpeg4", "-c:a", "mp3"],
    "mpeg2.ts": ["-c:v", "mpeg2video", "-c:a", "mp2"],
    "program.vob": ["-c:v", "mpeg2video", "-c:a", "mp2"],
    "adpcm.avi": ["-c:v", "mpeg4", "-ar", "22050", "-c:a", "adpcm_ms"],
    "eight_bits.avi": ["-c:v", "mpeg4", "-ar", "11025", "-c:a", "pcm_u8"],
    "wma.wmv": ["-c:v", "wmv2", "-c:a", "wmav2"],
    "side.mkv": ["-c:v", "mpeg4", "-af", "aformat=channel_layouts=5.1(side)", "-c:a", "ac3"],
    "custom.mov": [
        "-c:v", "mpeg4", "-c:a", "pcm_s16le",
        "-af", "aformat=channel_layouts=7.1,aformat=channel_layouts=FL+FR+FC+LFE+SL+SR+BL+BR",
    ],
    "unnamed.mkv": [
        "-c:v", "mpeg4", "-c:a", "pcm_s16le", "-af", "pan=9C|c0=c0|c1=c0|c2=c0|c3=c0|c8=c0",
    ],
    "moving.gif": ["-an"],
    "moving.webp": ["-c:v", "libwebp_anim", "-an"],
    "moving.png": ["-c:v", "apng", "-f", "apng", "-plays", "0", "-an"],
}  # fmt: skip
RESTARTING = ("mpeg2.ts", "program.vob", "h264.mkv")  # also concatenated: the timestamps restart
PICTURES: dict[str, tuple[str, dict[str, object]]] = {  # mode, options of save
    "rgb.png": ("RGB", {}),
    "rgba.png": ("RGBA", {}),
    "grey.png": ("L", {}),
    "grey16.png": ("I;16", {}),
    "palette.png": ("P", {}),
    "rgb.jpg": (
        "RGB",
        {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0"},
    ),
    "cmyk.jpg": ("CMYK", {}),
    "progressive.jpg": ("RGB", {"progressive": True}),
    "packed.tif": ("RGB", {"compression": "tiff_lzw"}),
    "plain.tif": ("RGBA", {}),
    "rgb.webp": ("RGB", {"lossless": True}),
    "palette.gif": ("P", {}),
    "rgb.bmp": ("RGB", {}),
    "photo.heic": ("RGB", {"quality": 80}),
}
DEEP = ("rgb16.png", "rgb16.tif")  # 16 bits a channel
KINDS = {  # kind -> roles of its files in a command
    "videos": ("source", "source", "source", "mask", "map", "probe"),
    "pictures": ("source", "style", "mask", "map", "style map", "probe"),
    "playlists": ("source", "probe", "style", "mask", "map", "style map"),
    "bombs": ("source", "probe", "style", "mask", "map", "style map"),
}
HOSTILE = ("playlists", "bombs")  # first used undamaged in each role


class Mutant(NamedTuple):
    """A mutated file: number, original file, role in the command, bytes."""

    number: int
    origin: Path
    role: str
    data: bytes

    def __str__(self) -> str:
        return f"{self.number}: {self.origin.name} as {self.role}"


@dataclass(frozen=True)
class Bench:
    """A working folder, with valid files for the roles other than the mutant's."""

    folder: Path
    size: str | None = "64"  # None: the default

    def is_video(self, mutant: Mutant) -> bool:
        """Return whether the source is a video: the mutant, or the source it is a guide of."""
        return mutant.origin.name in VIDEOS or mutant.origin.suffix in _VIDEO_SUFFIXES

    def output(self, mutant: Mutant) -> Path:
        """Return the output path."""
        return self.folder / "out" / f"out{'.mp4' if self.is_video(mutant) else '.png'}"

    def command(self, mutant: Mutant, path: Path) -> list[str]:
        """Return the command line that reads the mutant at `path`."""
        if mutant.role == "probe":
            return ["probe", str(path)]
        roles = dict.fromkeys(KINDS["pictures"], str(self.folder / "valid.png"))
        if self.is_video(mutant):
            roles["source"] = str(self.folder / "valid.mp4")
        roles[mutant.role] = str(path)
        output = self.output(mutant)
        words = [roles["source"], "-o", str(output), "--style", roles["style"]]
        words += ["--steps", "0", "--steps-next", "0", "-q"]
        words += [] if self.size is None else ["--size", self.size]
        words += ["--end", "0.4"] * self.is_video(mutant)
        if mutant.role == "mask":
            return ["mask", *words, "--mask", roles["mask"]]
        if mutant.role in ("map", "style map"):
            words += ["--map", roles["map"], "--style-map", roles["style map"]]
            return ["region", *words, "--unmatched", "keep"]
        return ["basic", *words]


_VIDEO_SUFFIXES = {Path(name).suffix for name in VIDEOS} - {".png", ".gif", ".webp"}


def prepare(folder: Path, kind: str, outside: Path | None = None) -> tuple[Bench, list[Path]]:
    """Write the valid files and the seeds; return them, with the small files of `outside`."""
    seeds = folder / "seeds"
    seeds.mkdir()
    picture = _picture()
    picture.save(valid := folder / "valid.png")
    _write_video(valid, folder / "valid.mp4", VIDEOS["h264.mp4"])
    if kind in HOSTILE:
        hostile.make_bombs(seeds) if kind == "bombs" else hostile.make_playlists(seeds, folder)
        return Bench(folder, None), sorted(seeds.iterdir())
    if kind == "videos":
        for name, words in VIDEOS.items():
            _write_video(valid, seeds / name, words)
        for name in RESTARTING:
            whole = (seeds / name).read_bytes()
            (seeds / f"joined_{name}").write_bytes(whole + whole[: len(whole) // 2] + whole)
    else:
        pillow_heif.register_heif_opener()
        for name, (mode, how) in PICTURES.items():
            deep = mode == "I;16"
            made = picture.convert("I").point(lambda v: v * 257) if deep else picture
            made.convert(mode).save(seeds / name, **how)  # type: ignore[arg-type]
        for name in DEEP:
            write_picture(seeds / name, np.asarray(picture, np.float32) / 255, depth=16)
    found = sorted(outside.rglob("*")) if outside else []
    suffixes = {Path(name).suffix for name in (VIDEOS if kind == "videos" else PICTURES)}
    own = [path for path in found if path.suffix.lower() in suffixes and _is_small(path)]
    return Bench(folder), sorted(seeds.iterdir()) + own


def _is_small(path: Path) -> bool:
    return path.is_file() and path.stat().st_size <= LARGEST


def _picture() -> PIL.Image.Image:
    """Return a picture of four colours, which is also a valid label map."""
    ramp = PIL.Image.linear_gradient("L").resize((64, 48))
    other = ramp.transpose(PIL.Image.Transpose.ROTATE_180)
    return PIL.Image.merge("RGB", (ramp, other, ramp)).quantize(4).convert("RGB")


def _write_video(picture: Path, path: Path, words: list[str]) -> None:
    """Write 8 frames of a scrolling picture, with sound unless the options have -an."""
    sound = [] if "-an" in words else ["-f", "lavfi", "-i", "sine=d=0.32"]
    drawn = ["-loop", "1", "-framerate", "25", "-t", "0.32", "-i", str(picture), *sound]
    program = imageio_ffmpeg.get_ffmpeg_exe()
    moving = ["-vf", "scroll=v=0.04", *words]
    command = [program, "-v", "error", "-nostdin", *drawn, *moving, str(path)]
    subprocess.run(command, check=True)


def mutants(seeds: list[Path], kind: str, numbers: range, seed: int) -> Iterator[Mutant]:
    """Yield the mutants of these numbers; each depends on seed and number only."""
    for number in numbers:
        chance = random.Random(f"{seed} {kind} {number}")
        origin = seeds[number % len(seeds)]
        data = bytearray(origin.read_bytes())
        if kind in HOSTILE and number < len(seeds) * len(KINDS[kind]):
            yield Mutant(number, origin, KINDS[kind][number // len(seeds)], bytes(data))
            continue
        for _ in range(chance.choice((1, 1, 2, 4))):
            chance.choice(_DAMAGES)(data, chance)
        yield Mutant(number, origin, chance.choice(KINDS[kind]), bytes(data))


def _position(data: bytearray, chance: random.Random) -> int:
    if chance.random() < 0.5:
        return chance.randrange(len(data) + 1)
    near = chance.randrange(min(HEAD, len(data)) + 1)
    return near if chance.random() < 0.8 else len(data) - near


def _length(data: bytearray, chance: random.Random) -> int:
    return min(len(data), 1 << chance.randrange(14))


def _flip(data: bytearray, chance: random.Random) -> None:
    for _ in range(1 << chance.randrange(6)):
        position = _position(data, chance)
        data[position : position + 1] = bytes(
            b ^ 1 << chance.randrange(8) for b in data[position:][:1]
        )


def _truncate(data: bytearray, chance: random.Random) -> None:
    del data[_position(data, chance) :]


def _zero(data: bytearray, chance: random.Random) -> None:
    position, length = _position(data, chance), _length(data, chance)
    data[position : position + length] = bytes(len(data[position : position + length]))


def _duplicate(data: bytearray, chance: random.Random) -> None:
    position = _position(data, chance)
    data[position:position] = data[position : position + _length(data, chance)]


def _insert(data: bytearray, chance: random.Random) -> None:
    position = _position(data, chance)
    data[position:position] = chance.randbytes(min(4096, max(1, _length(data, chance))))


_DAMAGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _flip, _truncate, _zero, _duplicate, _insert,
)  # fmt: skip


def fuzz(bench: Bench, chosen: Iterator[Mutant], table: Table, kept: Path | None = None) -> None:
    """Run vidstyle on each mutant and record the result. kept: folder for those that fail."""
    for mutant in chosen:
        path = bench.folder / f"mutant{mutant.origin.suffix}"
        path.write_bytes(mutant.data)
        error = _error_of(bench, mutant, path, table)
        if error:
            table.fail(mutant.role, f"{mutant}: {error}")
            if kept:
                kept.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, kept / f"{mutant.number}_{mutant.origin.name}")
        path.unlink()


def _error_of(bench: Bench, mutant: Mutant, path: Path, table: Table) -> str | None:
    """Run vidstyle once; return an error, or None."""
    output = bench.output(mutant)
    output.parent.mkdir()
    child = start(bench.command(mutant, path), bench.folder / "log")
    try:
        child.wait(SECONDS if bench.size else HEAVY * SECONDS)
    except TimeoutError as late:
        return str(late)
    finally:
        made = output.exists()
        shutil.rmtree(output.parent)
    lines = child.output_lines()
    table.add(mutant.role, mutants=1, finished=int(child.code == 0), refused=int(child.code != 0))
    table.note_peak(mutant.role, child.peak >> 20)
    if child.code not in CODES or any(sign in line for line in lines for sign in FAULT):
        return f"ended with {child.code}: {' '.join(lines[-2:])}"
    if child.peak > MEMORY:
        return f"{child.peak >> 20} MB"
    if mutant.role != "probe" and made != (child.code == 0):
        return f"ended with {child.code}, and {'a' if made else 'no'} file under the final name"
    if child.code and not (lines and lines[-1].startswith("vidstyle: ")):
        return f"ended with {child.code} without a message"
    return None
