"""Damaged files of all kinds, and what vidstyle has to make of each: a result, or one sentence."""

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

import stress.hostile as _hostile
from stress.torture import Table
from stress.torture_rig import start
from vidstyle.media import write_picture

__all__ = ["HOSTILE", "KINDS", "Bench", "Mutant", "fuzz", "mutants", "prepare"]

SECONDS, MEMORY = 30.0, 2 * 2**30  # that a run may take; bytes that it may hold
HEAVY = 4  # times as long where every picture may have 300 million pixels to decode
LARGEST = 400_000  # bytes of a file from outside that is mutated
HEAD = 512  # bytes at either end, where half of the damage is done
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
RESTARTING = ("mpeg2.ts", "program.vob", "h264.mkv")  # also joined: their clock restarts
PICTURES: dict[str, tuple[str, dict[str, object]]] = {  # mode, and how it is saved
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
DEEP = ("rgb16.png", "rgb16.tif")  # pictures of 16 bits a channel
KINDS = {  # kind -> the roles that its files play: where a mutant stands in the command
    "videos": ("source", "source", "source", "mask", "map", "probe"),
    "pictures": ("source", "style", "mask", "map", "style map", "probe"),
    "playlists": ("source", "probe", "style", "mask", "map", "style map"),
    "bombs": ("source", "probe", "style", "mask", "map", "style map"),
}
HOSTILE = ("playlists", "bombs")  # harmful as they are: each goes undamaged through each role first


class Mutant(NamedTuple):
    """A damaged file: its number, the file that it comes from, the role it plays, its bytes."""

    number: int
    origin: Path
    role: str
    data: bytes

    def __str__(self) -> str:
        return f"{self.number}: {self.origin.name} as {self.role}"


@dataclass(frozen=True)
class Bench:
    """A folder to work in, with sound files for the roles that a mutant does not play."""

    folder: Path
    size: str | None = "64"  # None: the default

    def is_film(self, mutant: Mutant) -> bool:
        """Tell whether what is stylised is a film: the mutant, or what it is the mask or map of."""
        return mutant.origin.name in VIDEOS or mutant.origin.suffix in _FILMED

    def output(self, mutant: Mutant) -> Path:
        """Return where the result goes."""
        return self.folder / "out" / f"out{'.mp4' if self.is_film(mutant) else '.png'}"

    def command(self, mutant: Mutant, place: Path) -> list[str]:
        """Return the command line that reads the mutant, which lies at `place`."""
        if mutant.role == "probe":
            return ["probe", str(place)]
        roles = dict.fromkeys(KINDS["pictures"], str(self.folder / "sound.png"))
        if self.is_film(mutant):
            roles["source"] = str(self.folder / "sound.mp4")
        roles[mutant.role] = str(place)
        output = self.output(mutant)
        words = [roles["source"], "-o", str(output), "--style", roles["style"]]
        words += ["--steps", "0", "--steps-next", "0", "-q"]
        words += [] if self.size is None else ["--size", self.size]
        words += ["--end", "0.4"] * self.is_film(mutant)
        if mutant.role == "mask":
            return ["mask", *words, "--mask", roles["mask"]]
        if mutant.role in ("map", "style map"):
            words += ["--map", roles["map"], "--style-map", roles["style map"]]
            return ["region", *words, "--unmatched", "keep"]
        return ["basic", *words]


_FILMED = {Path(name).suffix for name in VIDEOS} - {".png", ".gif", ".webp"}


def prepare(folder: Path, kind: str, outside: Path | None = None) -> tuple[Bench, list[Path]]:
    """Make the sound files; return them with those to be mutated, also small ones from outside."""
    seeds = folder / "seeds"
    seeds.mkdir()
    picture = _picture()
    picture.save(sound := folder / "sound.png")
    _film(sound, folder / "sound.mp4", VIDEOS["h264.mp4"])
    if kind in HOSTILE:
        _hostile.make_bombs(seeds) if kind == "bombs" else _hostile.make_playlists(seeds, folder)
        return Bench(folder, None), sorted(seeds.iterdir())
    if kind == "videos":
        for name, words in VIDEOS.items():
            _film(sound, seeds / name, words)
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
    """Return a picture of four colours, so that it serves as a map too."""
    ramp = PIL.Image.linear_gradient("L").resize((64, 48))
    other = ramp.transpose(PIL.Image.Transpose.ROTATE_180)
    return PIL.Image.merge("RGB", (ramp, other, ramp)).quantize(4).convert("RGB")


def _film(picture: Path, path: Path, words: list[str]) -> None:
    """Make 8 frames in which a picture moves down, and sound where the form takes it."""
    sound = [] if "-an" in words else ["-f", "lavfi", "-i", "sine=d=0.32"]
    drawn = ["-loop", "1", "-framerate", "25", "-t", "0.32", "-i", str(picture), *sound]
    program = imageio_ffmpeg.get_ffmpeg_exe()
    moving = ["-vf", "scroll=v=0.04", *words]
    command = [program, "-v", "error", "-nostdin", *drawn, *moving, str(path)]
    subprocess.run(command, check=True)


def mutants(seeds: list[Path], kind: str, numbers: range, seed: int) -> Iterator[Mutant]:
    """Yield these mutants; each depends on the seed and its number alone."""
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


def _place(data: bytearray, chance: random.Random) -> int:
    if chance.random() < 0.5:
        return chance.randrange(len(data) + 1)
    near = chance.randrange(min(HEAD, len(data)) + 1)
    return near if chance.random() < 0.8 else len(data) - near


def _length(data: bytearray, chance: random.Random) -> int:
    return min(len(data), 1 << chance.randrange(14))


def _flip(data: bytearray, chance: random.Random) -> None:
    for _ in range(1 << chance.randrange(6)):
        place = _place(data, chance)
        data[place : place + 1] = bytes(b ^ 1 << chance.randrange(8) for b in data[place:][:1])


def _truncate(data: bytearray, chance: random.Random) -> None:
    del data[_place(data, chance) :]


def _zero(data: bytearray, chance: random.Random) -> None:
    place, length = _place(data, chance), _length(data, chance)
    data[place : place + length] = bytes(len(data[place : place + length]))


def _duplicate(data: bytearray, chance: random.Random) -> None:
    place = _place(data, chance)
    data[place:place] = data[place : place + _length(data, chance)]


def _insert(data: bytearray, chance: random.Random) -> None:
    place = _place(data, chance)
    data[place:place] = chance.randbytes(min(4096, max(1, _length(data, chance))))


_DAMAGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _flip, _truncate, _zero, _duplicate, _insert,
)  # fmt: skip


def fuzz(bench: Bench, chosen: Iterator[Mutant], table: Table, kept: Path | None = None) -> None:
    """Let vidstyle read each mutant; note what came of it. kept: for those that fail."""
    for mutant in chosen:
        place = bench.folder / f"mutant{mutant.origin.suffix}"
        place.write_bytes(mutant.data)
        wrong = _tried(bench, mutant, place, table)
        if wrong:
            table.fail(mutant.role, f"{mutant}: {wrong}")
            if kept:
                kept.mkdir(parents=True, exist_ok=True)
                shutil.copy(place, kept / f"{mutant.number}_{mutant.origin.name}")
        place.unlink()


def _tried(bench: Bench, mutant: Mutant, place: Path, table: Table) -> str | None:
    """Run vidstyle once; return what is wrong with how it ended."""
    output = bench.output(mutant)
    output.parent.mkdir()
    child = start(bench.command(mutant, place), bench.folder / "log")
    try:
        child.wait(SECONDS if bench.size else HEAVY * SECONDS)
    except TimeoutError as late:
        return str(late)
    finally:
        made = output.exists()
        shutil.rmtree(output.parent)
    said = child.said()
    table.add(mutant.role, mutants=1, finished=int(child.code == 0), refused=int(child.code != 0))
    table.note_peak(mutant.role, child.peak >> 20)
    if child.code not in CODES or any(sign in line for line in said for sign in FAULT):
        return f"ended with {child.code}: {' '.join(said[-2:])}"
    if child.peak > MEMORY:
        return f"{child.peak >> 20} MB"
    if mutant.role != "probe" and made != (child.code == 0):
        return f"ended with {child.code}, and {'a' if made else 'no'} file under the final name"
    if child.code and not (said and said[-1].startswith("vidstyle: ")):
        return f"ended with {child.code} and no sentence"
    return None
