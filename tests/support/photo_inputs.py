"""Photos as cameras and editors write them: 16 bits, ICC profiles, HEIC."""

import struct
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pillow_heif
import tifffile
from PIL import ImageCms

WIDTH, HEIGHT = 96, 24


def ramp() -> np.ndarray:
    """A gradient of uint16 [24, 96, 3] with more than 256 levels: red rises, blue falls."""
    levels = np.linspace(6000, 59000, WIDTH * HEIGHT).reshape(HEIGHT, WIDTH)
    return np.stack([levels, np.full_like(levels, 30000), 65535 - levels], axis=2).astype(np.uint16)


def write_png(path: Path, words: np.ndarray, extra: tuple[tuple[bytes, bytes], ...] = ()) -> Path:
    """Write uint16 [H, W, 1 to 4] as a PNG of 16 bits, chunk by chunk. extra: (kind, body)."""
    height, width, channels = words.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in words)
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)),
        *extra,
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks))
    return path


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def profile_chunk(profile: bytes) -> tuple[bytes, bytes]:
    return b"iCCP", b"icc\0\0" + zlib.compress(profile)


def exif(orientation: int = 1) -> PIL.Image.Exif:
    """Return EXIF with camera, date, position and orientation."""
    block = PIL.Image.Exif()
    block[0x010F], block[0x0112] = "Maker", orientation
    block.get_ifd(0x8769)[0x9003] = "2020:01:01 00:00:00"
    block.get_ifd(0x8825)[1] = "N"
    return block


def write_tiff(path: Path, words: np.ndarray, **options: object) -> Path:
    """Write uint16 [H, W] or [H, W, 3 or 4] as a TIFF of 16 bits."""
    kind = "rgb" if words.ndim == 3 else "minisblack"
    tifffile.imwrite(path, words, **{"photometric": kind, "metadata": None, **options})
    return path


def profile(
    *,
    curve: bytes | None = None,
    colorants: np.ndarray | None = None,
    name: str = "a profile",
) -> bytes:
    """Return the sRGB profile with another name, tone curve or colorants (columns, XYZ of D50)."""
    source = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    (count,) = struct.unpack(">I", source[128:132])
    tags = {}
    for index in range(count):
        tag, offset, size = struct.unpack(">4sII", source[132 + 12 * index : 144 + 12 * index])
        tags[tag] = source[offset : offset + size]
    text = name.encode("utf-16-be")
    tags[b"desc"] = b"mluc" + bytes(4) + struct.pack(">II", 1, 12) + b"enUS"
    tags[b"desc"] += struct.pack(">II", len(text), 28) + text
    for index, channel in enumerate((b"r", b"g", b"b")):
        if curve is not None:
            tags[channel + b"TRC"] = curve
        if colorants is not None:
            fixed = np.rint(colorants[:, index] * 65536).astype(int).tolist()
            tags[channel + b"XYZ"] = b"XYZ " + bytes(4) + struct.pack(">3i", *fixed)
    return _packed(source, tags)


def grey_profile(curve: bytes) -> bytes:
    """Return a grey profile with this tone curve."""
    source = bytearray(profile())
    source[12:16], source[16:20] = b"mntr", b"GRAY"
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    return _packed(bytes(source), {b"kTRC": curve, b"wtpt": white})


def gamma(value: float) -> bytes:
    """Return a gamma tone curve."""
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(value * 256))


LINEAR = b"curv" + bytes(8)  # identity


def _packed(source: bytes, tags: dict[bytes, bytes]) -> bytes:
    table, body, place = b"", b"", 132 + 12 * len(tags)
    for tag, data in tags.items():
        padded = data + bytes(-len(data) % 4)
        table += tag + struct.pack(">II", place + len(body), len(padded))
        body += padded
    whole = source[:84] + bytes(16) + source[100:128]
    whole += struct.pack(">I", len(tags)) + table + body
    return struct.pack(">I", len(whole)) + whole[4:]


def write_heic(path: Path, pixels: np.ndarray, *, orientation: int = 1) -> Path:
    """Write uint8 RGB as HEIC with the same rotation in container (irot, imir) and EXIF."""
    pillow_heif.register_heif_opener()
    picture = PIL.Image.fromarray(pixels)
    picture.save(path, exif=exif(orientation).tobytes(), quality=95, chroma=444)
    return path
