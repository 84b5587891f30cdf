"""Clips with sound of known tones, and measurement of the sound in an output.

Channel i holds a tone of TONES[i] Hz from BEGIN to END, silence before and after. Outputs are
decoded by another build of FFmpeg than the one that wrote them.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from media_inputs import ffmpeg

from vidstyle import media

BEGIN, END, LENGTH = 0.24, 0.56, 0.8  # seconds
TONES = (320, 400, 480, 80, 560, 640, 720, 800, 880, 960, 1040, 1120, 1200, 1280, 1360, 1440)
LOUD = 0.1  # amplitude threshold between a tone (0.4) and codec noise


@dataclass(frozen=True)
class Sound:
    """Decoded sound: rate in Hz; samples [N, C] from time 0 on."""

    rate: int
    samples: np.ndarray

    @property
    def count(self) -> int:
        return self.samples.shape[1]

    @property
    def begin(self) -> float:
        return float(np.flatnonzero(np.abs(self.samples).max(1) > LOUD)[0] / self.rate)

    @property
    def end(self) -> float:
        return float(np.flatnonzero(np.abs(self.samples).max(1) > LOUD)[-1] / self.rate)

    @property
    def tones(self) -> list[int]:
        """Return the Hz of the loudest tone of each channel, 0 for a silent one."""
        return [self._tone(channel) for channel in self.samples.T]

    def _tone(self, channel: np.ndarray) -> int:
        if np.abs(channel).max() < LOUD / 4:
            return 0
        spectrum = np.abs(np.fft.rfft(channel, 2 * self.rate))
        return round(int(spectrum.argmax()) / 2)


def write_film(  # noqa: PLR0913 - one thing each test varies
    path: Path,
    codec: str,
    *more: str,
    rate: int = 48000,
    layout: str = "stereo",
    video: str = "libx264",
    begin: float = BEGIN,
    late: float = 0.0,
    length: float = LENGTH,
) -> Path:
    """Write a video of 0.8 s with sound. late: seconds by which the sound starts later.

    layout: FFmpeg name, channels in stored order.
    """
    count = layout.count("+") + 1 if "+" in layout else _COUNTS[layout]
    tones = [f"if(between(t,{begin},{END}),0.4*sin(2*PI*{tone}*t),0)" for tone in TONES[:count]]
    words = f"aevalsrc='{'|'.join(tones)}':s={rate}:d={length}:c={layout}"
    inputs = ["-f", "lavfi", "-i", f"testsrc=d={LENGTH}:s=64x48:r=25"]
    inputs += ["-itsoffset", str(late), "-f", "lavfi", "-i", words]
    size = ["-s", "176x144"] if video == "rv10" else []
    ffmpeg(*inputs, "-c:v", video, *size, "-c:a", codec, "-strict", "-2", *more, str(path))
    return path


def write_speex(path: Path) -> Path:
    """Write an FLV of 1 s with Speex, which FFmpeg does not encode: 50 packets of random sound."""
    film = path.with_name("silent.flv")
    ffmpeg("-f", "lavfi", "-i", "testsrc=d=1:s=64x48:r=25", "-c:v", "flv", str(film))
    data, place, tags = film.read_bytes(), 13, []
    while place < len(data):
        size = int.from_bytes(data[place + 1 : place + 4])
        time = int.from_bytes(data[place + 4 : place + 7])
        tags.append((time, data[place : place + 11 + size]))
        place += 15 + size
    chance = np.random.default_rng(2)
    for packet in range(50):
        low, high = ("".join(map(str, chance.integers(0, 2, count))) for count in (155, 32))
        bits = f"00011{low}1001{high}01111"  # mode 3, with the wide band in mode 1; the end
        bits += "0" * (-len(bits) % 8)
        body = b"\xb6" + int(bits, 2).to_bytes(len(bits) // 8)
        head = b"\x08" + len(body).to_bytes(3) + (20 * packet).to_bytes(3) + bytes(4)
        tags.append((20 * packet, head + body))
    made = b"".join(tag + len(tag).to_bytes(4) for _, tag in sorted(tags, key=lambda tag: tag[0]))
    path.write_bytes(data[:4] + b"\x05" + data[5:13] + made)  # 5: sound and pictures
    return path


_COUNTS = {
    "mono": 1, "stereo": 2, "2.1": 3, "quad": 4, "5.1": 6, "5.1(side)": 6, "6.1": 7,
    "7.1(wide)": 8, "5.1.4": 10, "hexadecagonal": 16,
}  # fmt: skip


def copy(
    source: Path, suffix: str, start: float | None = None, end: float | None = None
) -> tuple[Path, list[str]]:
    """Encode a source unchanged with vidstyle; return the file and the warnings."""
    clip = media.probe(source)
    indices = media.select(clip, start, end)
    part = source.with_name(f"part_{source.stem}{suffix}")
    output = source.with_name(f"out{suffix}")
    return part, media.encode(clip, indices, media.read(clip, indices), output, part)


def heard(path: Path, track: int = 0) -> Sound:
    """Decode a track from time 0 of the file on; RealMedia from its first packet on."""
    timed = ["-af", "aresample=async=1:first_pts=0:min_hard_comp=0.001"]
    words = ["-copyts", "-i", str(path), "-map", f"0:a:{track}"]
    words += [] if path.suffix == ".rm" else timed  # packets without distinct times
    data = ffmpeg(*words, "-c:a", "pcm_f32le", "-f", "wav", "-")
    count, rate = struct.unpack_from("<HI", data, data.find(b"fmt ") + 10)
    samples = np.frombuffer(data[data.find(b"data") + 8 :], np.float32)
    return Sound(rate, samples[: len(samples) // count * count].reshape(-1, count))
