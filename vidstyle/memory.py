"""Memory: available bytes, limits on allocation, return of freed pages to the system."""

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

__all__ = ["available", "memory_limit", "release_memory"]

_GROUP = Path("/sys/fs/cgroup")  # cgroup version 2; version 1 uses memory/
_LIMITS = (
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    (
        "memory/memory.limit_in_bytes",
        "memory/memory.usage_in_bytes",
        "memory/memory.stat",
        "total_inactive_file",
    ),
)
_LIMIT_LOCK = threading.RLock()  # the limit applies to the whole process


def release_memory() -> None:
    """Collect garbage and make glibc return freed pages; it keeps hundreds of megabytes otherwise.

    TensorFlow graphs are reference cycles, hence the collection. Other C libraries: no effect.
    """
    gc.collect()
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def available() -> int | None:
    """Return the bytes available in the machine and the control group; None if unknown."""
    known = [*_available_in_machine(), *_available_in_group()]
    return max(0, min(known)) if known else None


def _available_in_machine() -> Iterator[int]:
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                yield int(line.split()[1]) << 10
                return
    with suppress(AttributeError, OSError, ValueError):  # not Linux: the total memory
        yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _available_in_group() -> Iterator[int]:
    """Yield the bytes still available under the limits of the control group of a container."""
    for limit, used, counters, cached in _LIMITS:
        with suppress(OSError, ValueError):  # another version, or no limit ("max")
            most, now = (int((_GROUP / name).read_text(encoding="ascii")) for name in (limit, used))
            lines = (_GROUP / counters).read_text(encoding="ascii").splitlines()
            counts = dict(line.split() for line in lines)
            yield most - now + int(counts.get(cached, 0))


@contextmanager
def memory_limit(most: int) -> Iterator[None]:
    """Limit further allocation of the process within the block to `most` bytes of address space.

    Allocations beyond it fail; C libraries report that as an error. A lower limit already set is
    kept. No effect where the system supports no such limit (macOS, Windows).
    """
    used = _address_space()
    if used is None or resource is None:
        yield
        return
    with _LIMIT_LOCK:
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        known = [value for value in (used + most, soft, hard) if value != resource.RLIM_INFINITY]
        resource.setrlimit(resource.RLIMIT_AS, (min(known), hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _address_space() -> int | None:
    """Return the bytes of address space in use; None without /proc."""
    with suppress(OSError, ValueError, IndexError):
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        return pages * os.sysconf("SC_PAGE_SIZE")
    return None
