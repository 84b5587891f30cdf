"""Proxies: the frames of a video as small JPEG files, so that any of them is shown at once.

Where key frames are far apart, up to hundreds of frames are decoded before one is shown. So the
frames of such a video are decoded once, by a process of low priority, into a folder of the user's
cache. The page shows a frame's proxy first and the frame itself, decoded from the video, when the
slider rests. Until a frame has its proxy, that of the nearest frame that has one is shown, marked
as such. Previews, selections and jobs never read a proxy.
"""

import asyncio
import hashlib
from collections import OrderedDict
from pathlib import Path

from vidstyle.errors import VidstyleError
from vidstyle.studio.workers import Workers

__all__ = ["Proxies", "proxy_file"]


def proxy_file(folder: Path, index: int) -> Path:
    """Return the file of a frame."""
    return folder / f"{index:06d}.jpg"


class Proxies:
    """The proxies of the videos that the page shows.

    root: folder of all proxies. The video that was read last is filled first, around the frame
    that was read last.
    """

    def __init__(self, workers: Workers, root: Path) -> None:
        self._workers, self._root = workers, root
        self._read: OrderedDict[str, int] = OrderedDict()  # video → its frame that was read last
        self._filled: set[Path] = set()
        self._filling: asyncio.Task[None] | None = None

    def read(self, video: str, index: int) -> bytes | None:
        """Return the JPEG file of a frame; None if there is none yet."""
        try:
            jpeg = proxy_file(self._folder(video), index).read_bytes()
        except OSError:
            return None
        return jpeg if jpeg[:2] == b"\xff\xd8" and jpeg[-2:] == b"\xff\xd9" else None

    def nearest(self, video: str, index: int) -> tuple[int, bytes] | None:
        """Return the index and JPEG file of the nearest frame that has one; None without any."""
        try:
            files = list(self._folder(video).iterdir())
        except OSError:
            return None
        there = [int(file.stem) for file in files if file.suffix == ".jpg"]
        near = min(there, key=lambda one: abs(one - index), default=index)
        jpeg = self.read(video, near)
        return None if jpeg is None else (near, jpeg)

    def want(self, video: str, index: int) -> None:
        """Fill the proxies of a video, around a frame first; called in the server's thread."""
        self._read[video] = index
        self._read.move_to_end(video)
        if self._filling is None or self._filling.done():
            self._filling = asyncio.create_task(self._fill())

    def _folder(self, video: str) -> Path:
        """Return the folder of a file in its present state. Raises OSError if it is not there."""
        state = Path(video).stat()
        name = f"{video}\0{state.st_mtime_ns}\0{state.st_size}".encode("utf-8", "surrogateescape")
        return self._root / hashlib.sha256(name).hexdigest()[:24]

    async def _fill(self) -> None:
        """Let the worker make proxies, a second at a time, until those of all videos are made."""
        worker = self._workers["proxies"]
        while self._read:
            video, index = next(reversed(self._read.items()))
            left = 0
            try:
                folder = self._folder(video)
                if folder not in self._filled:
                    left = await self._some(video, folder, index)
                    self._filled |= set() if left else {folder}
            except (OSError, VidstyleError):  # frames are decoded as before
                worker.stop()
            if not left:
                self._read.pop(video, None)
        worker.stop()

    async def _some(self, video: str, folder: Path, index: int) -> int:
        """Make some proxies; return how many are left."""
        left = 0
        pieces = self._workers["proxies"].stream(
            "proxies", path=video, folder=str(folder), index=index
        )
        async for head, _ in pieces:
            left = head.get("left", left)
        return left
