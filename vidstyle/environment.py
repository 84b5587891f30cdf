"""What a library changes in the process when it is imported, put back."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["preserved", "variable"]


@contextmanager
def preserved() -> Iterator[None]:
    """Put os.environ and the warnings filters back as they were: for imports, which are short.

    OpenCV extends LD_LIBRARY_PATH, TensorFlow sets variables that it reads no more afterwards, and
    several libraries add filters. NumPy is imported first, since its own filters are to stay.
    """
    import numpy as np  # noqa: F401

    before = dict(os.environ)
    with warnings.catch_warnings():
        try:
            yield
        finally:
            for name in set(os.environ) - set(before):
                del os.environ[name]
            os.environ.update({k: v for k, v in before.items() if os.environ.get(k) != v})


@contextmanager
def variable(name: str, value: str) -> Iterator[None]:
    """Set an environment variable meanwhile, unless it is set."""
    if name in os.environ:
        yield
        return
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]
