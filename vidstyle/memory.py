"""Memory: what was freed goes back to the system, since large frames need it whole."""

import ctypes
from contextlib import suppress

__all__ = ["give_back"]


def give_back() -> None:
    """Have the C library return freed pages; glibc keeps hundreds of megabytes otherwise.

    Where the library knows no such thing, nothing is done.
    """
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
