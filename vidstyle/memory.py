"""Memory: how much is free, how much a library may take, freed pages given back to the system."""

import ctypes
import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

__all__ = ["available", "bounded", "release_memory"]

_GROUP = Path("/sys/fs/cgroup")  # version 2; version 1 has its files in memory/
_LIMITS = (
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    (
        "memory/memory.limit_in_bytes",
        "memory/memory.usage_in_bytes",
        "memory/memory.stat",
        "total_inactive_file",
    ),
)
_ONE_BY_ONE = threading.RLock()  # the limit is the process's: threads take turns


def release_memory() -> None:
    """Have the C library return freed pages; glibc keeps hundreds of megabytes otherwise.

    What only cycles hold is freed first: graphs are such. Where the library knows no such thing,
    no more is done.
    """
    gc.collect()
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def available() -> int | None:
    """Return the bytes of memory that can be had: of the machine and of the control group.

    None where the system does not say.
    """
    known = [*_of_machine(), *_of_group()]
    return max(0, min(known)) if known else None


def _of_machine() -> Iterator[int]:
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                yield int(line.split()[1]) << 10
                return
    with suppress(AttributeError, OSError, ValueError):  # not Linux: all the memory there is
        yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _of_group() -> Iterator[int]:
    """Yield what the limits of this process's control group, as a container sees it, leave."""
    for limit, used, counters, cached in _LIMITS:
        with suppress(OSError, ValueError):  # no such version, or "max"
            most, now = (int((_GROUP / name).read_text(encoding="ascii")) for name in (limit, used))
            lines = (_GROUP / counters).read_text(encoding="ascii").splitlines()
            counts = dict(line.split() for line in lines)
            yield most - now + int(counts.get(cached, 0))


@contextmanager
def bounded(most: int) -> Iterator[None]:
    """Let this process allocate at most `most` bytes more, of address space, while inside.

    Allocations beyond that fail, which libraries in C report as an error. A lower limit that is
    already set stays. No limit where the system has none (macOS, Windows).
    """
    used = _address_space()
    if used is None or resource is None:
        yield
        return
    with _ONE_BY_ONE:
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        known = [value for value in (used + most, soft, hard) if value != resource.RLIM_INFINITY]
        resource.setrlimit(resource.RLIMIT_AS, (min(known), hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _address_space() -> int | None:
    """Return the bytes of address space in use; None where /proc does not say."""
    with suppress(OSError, ValueError, IndexError):
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        return pages * os.sysconf("SC_PAGE_SIZE")
    return None
