"""JPEG files that lack only their end marker, as some cameras and copies leave them."""

import io
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import PIL.Image

__all__ = ["lacks_end", "with_end_marker"]

_START, _END = b"\xff\xd8\xff", b"\xff\xd9"
_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
_WITHOUT_LENGTH = (0x00, 0x01, *range(0xD0, 0xD8))  # after 0xFF: byte stuffing and restarts
# A decoder skips bytes after complete data and decodes bytes after incomplete data. The two
# patterns differ in every bit, so that even one missing bit changes the pixels.
_PADS = (b"\x55" * 64, b"\xaa" * 64)
_RESTARTS = tuple(bytes((0xFF, 0xD0 + count)) for count in range(8))
_COEFFICIENTS = 64  # per block


def lacks_end(path: Path) -> bool:
    """Whether a JPEG has all of its pixels and lacks only the end marker."""
    with path.open("rb") as file:
        if file.read(3) != _START:
            return False
        status = os.fstat(file.fileno())
        file.seek(-min(2, status.st_size), os.SEEK_END)
        if file.read(2) == _END:
            return False
    return _lacks_end(path, status.st_mtime_ns, status.st_size)


def with_end_marker(path: Path) -> io.BytesIO:
    """Return the file's data with an end marker appended."""
    return io.BytesIO(path.read_bytes().rstrip(b"\xff") + _END)


@lru_cache(maxsize=4096)
def _lacks_end(path: Path, _changed: int, _size: int) -> bool:
    data = path.read_bytes().rstrip(b"\xff")
    segments = list(_segments(data))
    if any(kind == _EOI for kind, _ in segments) or not _has_all_scans(segments):
        return False
    restart = _next_restart(data)  # data may end just before a restart marker
    endings = (b"", *_PADS, *(restart + pad for pad in _PADS))
    plain, *padded = (_pixels(data + pad + _END) for pad in endings)
    return plain is not None and all(plain == other for other in padded)


def _next_restart(data: bytes) -> bytes:
    """Return the restart marker that would follow in the last scan; they cycle from 0 to 7."""
    scan = data[data.rfind(b"\xff\xda") :]
    return _RESTARTS[sum(scan.count(marker) for marker in _RESTARTS) % 8]


def _pixels(data: bytes) -> int | None:
    """Return a hash of the decoded pixels, None if they do not decode."""
    try:
        with PIL.Image.open(io.BytesIO(data), formats=["JPEG"]) as picture:
            return hash(picture.tobytes())
    except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError):
        return None


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (marker, body) of each segment; entropy-coded data is skipped."""
    offset = 2
    while (offset := data.find(b"\xff", offset)) >= 0 and offset + 1 < len(data):
        kind = data[offset + 1]
        if kind in _WITHOUT_LENGTH or kind == 0xFF:
            offset += 1 if kind == 0xFF else 2
            continue
        if kind == _EOI:
            yield kind, b""
            return
        size = int.from_bytes(data[offset + 2 : offset + 4])
        yield kind, data[offset + 4 : offset + 2 + size]
        offset += 2 + max(size, 2)


def _has_all_scans(segments: list[tuple[int, bytes]]) -> bool:
    """Whether the scans cover all bits of every coefficient of every component."""
    frames = [body for kind, body in segments if 0xC0 <= kind <= 0xC2 and len(body) > 5]
    if len(frames) != 1:
        return False
    components = frames[0][6::3][: frames[0][5]]
    bits: dict[tuple[int, int], int] = {}  # (component, coefficient) -> lowest bit coded
    for kind, body in segments:
        if kind != _SOS or not body or len(body) < 4 + 2 * body[0]:
            continue
        first, last, low = body[1 + 2 * body[0]], body[2 + 2 * body[0]], body[3 + 2 * body[0]] & 15
        for component in body[1 : 1 + 2 * body[0] : 2]:
            bits |= {(component, k): low for k in range(first, min(last, 63) + 1)}
    wanted = [(component, k) for component in components for k in range(_COEFFICIENTS)]
    return bool(wanted) and all(bits.get(one) == 0 for one in wanted)
