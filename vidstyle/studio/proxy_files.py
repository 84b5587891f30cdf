"""Writing proxies, in a worker of low priority: see `proxies`."""

import os
from bisect import bisect_right
from functools import lru_cache
from pathlib import Path
from shutil import disk_usage, rmtree
from threading import Event
from time import monotonic

from vidstyle.errors import MediaError
from vidstyle.media.decoding.seeking import VideoFrames
from vidstyle.studio.jpegs import to_jpeg
from vidstyle.studio.proxies import proxy_file

__all__ = ["ProxyFiles", "proxy_files"]

SIDE = 960  # pixels of the long side of a proxy: about as large as the page shows a frame
_QUALITY = 88
_BYTES = 2 << 30  # of all proxies at most: about 20,000 frames
_EACH = 120_000  # bytes of one proxy, as expected when older ones are deleted
_FREE = 2 << 30  # bytes of the disk that stay free
_SPREAD = 60  # groups of pictures at most whose first frames are made before all others
_SECONDS = 1.0  # that are spent before the next frame that the page read is asked for


class ProxyFiles:
    """The proxies of one video in a folder; those that are there are kept.

    most: bytes of all folders beside it; the ones that were used least recently are deleted.
    """

    def __init__(self, path: Path, folder: Path, most: int = _BYTES) -> None:
        self._frames = VideoFrames(path, SIDE, kept=0)
        self._frames.scan()
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.utime(folder)
        expected = min(most, _EACH * self._frames.frames)
        self._most = most - _delete_oldest(folder, expected, most)
        self._bytes = sum(file.stat().st_size for file in folder.iterdir())
        there = {file.name for file in folder.iterdir()}
        self._starts = self._frames.starts
        self._missing: list[list[int]] = [[] for _ in self._starts]  # by group of pictures
        for index in reversed(range(self._frames.frames)):
            if proxy_file(folder, index).name not in there:
                self._missing[self._group(index)].append(index)

    @property
    def left(self) -> int:
        """How many frames have no proxy yet."""
        return sum(map(len, self._missing))

    def _group(self, index: int) -> int:
        return max(0, bisect_right(self._starts, index) - 1)

    def write_some(self, index: int, cancelled: Event) -> int:
        """Write proxies for a second, nearest to a frame first; return how many are left.

        None is left when the space is used up.
        """
        end = monotonic() + _SECONDS
        while self.left and monotonic() < end and not cancelled.is_set():
            if not self._has_room():
                return 0
            self._write(self._next(self._group(index)))
        return self.left

    def _next(self, group: int) -> int:
        """Return the first missing frame of the group of pictures nearest to a group.

        Before all others some first frames of groups are made, spread over the video.
        """
        some = [one for one, missing in enumerate(self._missing) if missing]
        step = -(-len(self._missing) // _SPREAD)
        spread = [one for one in some if not one % step and self._is_untouched(one)]
        return self._missing[min(spread or some, key=lambda one: abs(one - group))].pop()

    def _is_untouched(self, group: int) -> bool:
        """Return whether the first frame of a group of pictures has no proxy yet."""
        return self._missing[group][-1] == self._starts[group]

    def _write(self, index: int) -> None:
        try:
            jpeg = to_jpeg(self._frames.read_shown(index, SIDE), _QUALITY)
        except MediaError:  # declared, but it does not decode
            return
        final = proxy_file(self._folder, index)
        draft = final.with_suffix(f".{os.getpid()}")
        draft.write_bytes(jpeg)
        draft.replace(final)
        self._bytes += len(jpeg)

    def _has_room(self) -> bool:
        return self._bytes < self._most and disk_usage(self._folder).free > _FREE


def _delete_oldest(folder: Path, expected: int, most: int) -> int:
    """Delete the folders beside `folder` used least recently, until `expected` bytes fit in `most`.

    Returns the bytes of those that are left.
    """
    others = sorted(
        (one for one in folder.parent.iterdir() if one.is_dir() and one != folder),
        key=lambda one: one.stat().st_mtime,
    )
    sizes = [sum(file.stat().st_size for file in one.iterdir()) for one in others]
    while others and sum(sizes) + expected > most:
        rmtree(others.pop(0), ignore_errors=True)
        sizes.pop(0)
    return sum(sizes)


@lru_cache(maxsize=1)
def proxy_files(path: str, folder: str) -> ProxyFiles:
    """Lower the priority of this process and return the proxies of a video, which stays open."""
    if hasattr(os, "nice"):
        os.nice(19)
    return ProxyFiles(Path(path), Path(folder))
