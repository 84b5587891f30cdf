"""Small media files generated for tests."""

import struct
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import PIL.Image

from vidstyle import media
from vidstyle.image import Image


def disc(step: int, width: int = 64, height: int = 48, *, noisy: bool = False) -> Image:
    """Return a bright disc that moves right over a gradient; the corners show the orientation."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    image = np.stack([x / width, y / height, np.full_like(x, 0.25)], axis=2)
    image[(x - 8 - 3 * step) ** 2 + (y - 20) ** 2 < 60] = 1
    if noisy:
        image = np.random.default_rng(step).random(image.shape, np.float32)
    return image.astype(np.float32)


def write_clip(  # noqa: PLR0913 - one thing each test varies
    path: Path,
    steps: list[int],
    *,
    rate: Fraction = Fraction(25),
    aspect: Fraction = Fraction(1),
    sound: bool = False,
    noisy: bool = False,
    offset: int = 0,
) -> Path:
    """Write a frame at each of `steps` (in frame durations), and optionally 1 s of sound."""
    with av.open(str(path), "w") as out:
        video: Any = None
        if steps:
            video = out.add_stream("libx264", rate=rate, options={"crf": "10"})
            video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
            video.codec_context.time_base = 1 / rate
            video.codec_context.sample_aspect_ratio = aspect
        audio = _add_sound(out) if sound else None
        for step in steps:
            pixels = (disc(step, noisy=noisy) * 255).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = step + offset, 1 / rate
            out.mux(video.encode(frame))
        if video:
            out.mux(video.encode(None))
        if audio:
            _write_sound(out, audio)
    return path


def _add_sound(out: Any) -> Any:
    stream = out.add_stream("aac", rate=48000)
    stream.layout = "mono"
    stream.metadata["language"] = "fra"
    return stream


def _write_sound(out: Any, stream: Any) -> None:
    for block in range(47):
        time = (np.arange(1024) + block * 1024) / 48000
        wave = (0.3 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)[None]
        frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, block * 1024, Fraction(1, 48000)
        out.mux(stream.encode(frame))
    out.mux(stream.encode(None))


def write_rotated(source: Path, target: Path, clockwise: int) -> Path:
    """Copy a clip, adding a display matrix that rotates it, as phones write."""
    ffmpeg("-display_rotation", str(-clockwise), "-i", str(source), "-c", "copy", str(target))
    return target


def ffmpeg(*arguments: str, feed: bytes | None = None) -> bytes:
    """Run the ffmpeg of imageio-ffmpeg, another build than PyAV's. feed: its standard input."""
    import imageio_ffmpeg

    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-v", "error", *arguments]
    return subprocess.run(command, check=True, capture_output=True, input=feed).stdout


def write_raw(path: Path, frames: np.ndarray, *options: str) -> Path:
    """Write RGB or RGBA frames of 8 or 16 bits, [N, H, W, C], with the options of an encoder."""
    deep = frames.dtype == np.uint16
    form = {3: "rgb48le" if deep else "rgb24", 4: "rgba64le" if deep else "rgba"}[frames.shape[3]]
    size = f"{frames.shape[2]}x{frames.shape[1]}"
    words = ["-f", "rawvideo", "-pix_fmt", form, "-s", size, "-r", "25", "-i", "-"]
    ffmpeg(*words, *options, str(path), feed=frames.tobytes())
    return path


def decoded(path: Path, form: str = "rgb24", *before: str) -> np.ndarray:
    """Return the frames of a video decoded by that ffmpeg, as stored: [N, H, W, C]."""
    words, channels = {
        "rgb24": (np.uint8, 3), "rgba": (np.uint8, 4), "rgb48le": (np.uint16, 3),
    }[form]  # fmt: skip
    size = media.probe(path)
    scale = "scale=flags=accurate_rnd+full_chroma_int+full_chroma_inp"
    raw = ffmpeg(*before, "-i", str(path), "-vf", f"{scale},format={form}",
                 "-fps_mode", "passthrough", "-f", "rawvideo", "-")  # fmt: skip
    return np.frombuffer(raw, words).reshape(-1, size.height, size.width, channels)


def write_cropped(source: Path, target: Path, *, width: int, height: int) -> Path:
    """Copy an H.264 MP4 with a clean aperture of this size, 4 px right of and 3 above centre."""
    data = bytearray(source.read_bytes())
    aperture = struct.pack(">I4s4IiIiI", 40, b"clap", width, 1, height, 1, 4, 1, -3, 1)
    place, boxes = 0, []
    for kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1"):
        place = data.index(kind, place) - 4
        boxes.append(place)
    end = place + struct.unpack_from(">I", data, place)[0]
    data[end:end] = aperture
    for box in boxes:
        struct.pack_into(">I", data, box, struct.unpack_from(">I", data, box)[0] + len(aperture))
    target.write_bytes(data)
    return target


def write_gif(path: Path, durations: list[int]) -> Path:
    """Write a GIF with these frame durations in milliseconds."""
    frames = [
        PIL.Image.fromarray((disc(2 * step) * 255).astype(np.uint8))
        for step in range(len(durations))
    ]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=durations, loop=3)
    return path
