"""Memory: what was freed goes back to the system, since large frames need it whole."""

import ctypes
import gc
from contextlib import suppress

__all__ = ["give_back"]


def give_back() -> None:
    """Have the C library return freed pages; glibc keeps hundreds of megabytes otherwise.

    What only cycles hold is freed first: graphs are such. Where the library knows no such thing,
    no more is done.
    """
    gc.collect()
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
