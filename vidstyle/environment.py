"""Restores process state that libraries change when they are imported."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["preserved", "variable"]


@contextmanager
def preserved() -> Iterator[None]:
    """Restore os.environ and the warning filters on exit; meant for imports.

    OpenCV extends LD_LIBRARY_PATH, TensorFlow sets variables that it does not read again, and
    several libraries add filters. NumPy is imported first, so that its own filters stay.
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
    """Set an environment variable within the block, unless it is set already."""
    if name in os.environ:
        yield
        return
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]
