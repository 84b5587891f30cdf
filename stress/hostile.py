"""Hostile files: playlists that refer to other files, decompression bombs."""

import os
import struct
import subprocess
import zlib
from pathlib import Path

import imageio_ffmpeg

__all__ = ["BESIDE", "make_bombs", "make_playlists"]

BESIDE = "beside.mp4"  # a pipe without writer: opening it blocks forever
PLAYLISTS = {  # {0}: the file itself, {1}: BESIDE
    "list.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{1}\n#EXT-X-ENDLIST\n",
    "self.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{0}\n#EXT-X-ENDLIST\n",
    "hls.mp4": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{1}\n",
    "concat.mp4": "ffconcat version 1.0\nfile {1}\n",
    "concat.png": "ffconcat version 1.0\nfile '{1}'\nduration 1\n",
    "dash.mpd": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT1S"><Period><AdaptationSet mimeType="video/mp4"><Representation '
    'id="0" bandwidth="1"><BaseURL>{1}</BaseURL></Representation></AdaptationSet></Period></MPD>',
    "sdp.mov": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
    "m=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
}
_SIDE = 17_000  # pixels; within the limits of Pillow and FFmpeg, 3.5 GB as float32


def make_playlists(folder: Path, beside: Path) -> None:
    """Write playlists that refer to themselves or to BESIDE, a pipe in the folder `beside`."""
    os.mkfifo(beside / BESIDE)
    for name, text in PLAYLISTS.items():  # read from `beside` as mutant.SUFFIX
        own = f"mutant{Path(name).suffix}"
        (folder / name).write_text(text.format(own, BESIDE), encoding="ascii")


def make_bombs(folder: Path) -> None:
    """Write small files whose pictures have hundreds of millions of pixels."""
    _png(folder / "grey.png", 1, 0)
    _png(folder / "rgb.png", 8, 2)
    _gif(folder / "moving.gif", 4)
    drawn = ["-f", "lavfi", "-i", "color=s=8000x8000:r=25:d=0.08", "-c:v", "png"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", *drawn]
    subprocess.run([*command, str(folder / "png.mov")], check=True)


def _png(path: Path, depth: int, colour: int) -> None:
    line = bytes((_SIDE * depth * {0: 1, 2: 3}[colour] + 7) // 8 + 1)
    packer = zlib.compressobj(9)
    packed = b"".join([*(packer.compress(line) for _ in range(_SIDE)), packer.flush()])
    head = struct.pack(">IIBBBBB", _SIDE, _SIDE, depth, colour, 0, 0, 0)
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for kind, body in ((b"IHDR", head), (b"IDAT", packed), (b"IEND", b"")):
            file.write(struct.pack(">I", len(body)) + kind + body)
            file.write(struct.pack(">I", zlib.crc32(kind + body)))


def _gif(path: Path, frames: int) -> None:
    data = b"GIF89a" + struct.pack("<HHBBB", _SIDE, _SIDE, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    for _ in range(frames):
        data += b"\x21\xf9\x04\x09\x0a\0\0\0" + b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0)
        data += b"\x02\x02\x44\x01\x00"
    path.write_bytes(data + b";")
