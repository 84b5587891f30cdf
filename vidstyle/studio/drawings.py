"""The masks and maps that were painted: key frames and tracked frames of each layer, as PNG files.

WORK/layers/LAYER/keys/000012.png       painted or imported, by the index of the frame
WORK/layers/LAYER/tracked/000000.png    every frame, as `vidstyle track` wrote them
"""

import re
import struct
from pathlib import Path
from shutil import rmtree
from typing import Any

from vidstyle.atomic import drafted
from vidstyle.errors import UsageError

__all__ = ["Drawings", "png_size"]

_SIDE = 8192  # pixels of a painted picture at most


class Drawings:
    """The painted pictures below a folder, by layer and frame."""

    def __init__(self, work: Path) -> None:
        self._folder = work / "layers"

    def keys(self, layer: str) -> Path:
        """Return the folder of a layer's key frames."""
        return self._of(layer) / "keys"

    def tracked(self, layer: str) -> Path:
        """Return the folder of a layer's tracked frames."""
        return self._of(layer) / "tracked"

    def _of(self, layer: str) -> Path:
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,40}", layer):
            raise UsageError(f"expected the name of a layer, got {layer[:50]!r}")
        return self._folder / layer

    def frames(self, layer: str) -> dict[str, Any]:
        """Return the indices of the key frames, and the number of tracked frames."""
        tracked = self.tracked(layer)
        count = sum(1 for _ in tracked.glob("*.png")) if tracked.is_dir() else 0
        return {"keys": self._indices(layer), "tracked": count}

    def _indices(self, layer: str) -> list[int]:
        folder = self.keys(layer)
        return (
            sorted(int(file.stem) for file in folder.glob("[0-9]*.png")) if folder.is_dir() else []
        )

    def save(self, layer: str, index: int, png: bytes) -> None:
        """Store a key frame. A layer whose key frames change is no longer tracked."""
        width, height = png_size(png)
        if max(width, height) > _SIDE:
            raise UsageError(f"expected at most {_SIDE} pixels a side, got {width} x {height}")
        folder = self.keys(layer)
        folder.mkdir(parents=True, exist_ok=True)
        final = folder / f"{index:06d}.png"
        with drafted(final, overwrite=True) as draft:
            draft.write_bytes(png)
        self.forget_tracked(layer)

    def delete(self, layer: str, index: int) -> None:
        """Delete a key frame."""
        (self.keys(layer) / f"{index:06d}.png").unlink(missing_ok=True)
        self.forget_tracked(layer)

    def forget_tracked(self, layer: str) -> None:
        """Delete the tracked frames of a layer."""
        rmtree(self.tracked(layer), ignore_errors=True)

    def at(self, layer: str, index: int) -> tuple[Path, str] | None:
        """Return the picture of a frame and how it came: "key", "tracked" or "nearest" (key)."""
        key, tracked = (
            folder / f"{index:06d}.png" for folder in (self.keys(layer), self.tracked(layer))
        )
        if key.is_file():
            return key, "key"
        if tracked.is_file():
            return tracked, "tracked"
        keys = self._indices(layer)
        if not keys:
            return None
        nearest = min(keys, key=lambda frame: abs(frame - index))
        return self.keys(layer) / f"{nearest:06d}.png", "nearest"


def png_size(png: bytes) -> tuple[int, int]:
    """Return the (width, height) of a PNG file. Raises UsageError if it is none."""
    if len(png) < 33 or png[:8] != b"\x89PNG\r\n\x1a\n" or png[12:16] != b"IHDR":
        raise UsageError("expected a PNG picture, got something else; export it as PNG")
    width, height = struct.unpack(">II", png[16:24])
    return int(width), int(height)
