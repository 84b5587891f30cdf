"""Window: the part of a frame that the network is run on, if only that part may change."""

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["ALIGNMENT", "Window", "cells", "stride", "window_around"]

ALIGNMENT = 16  # pixels: the stride of the deepest layers, to which windows are aligned
_MARGIN = 24  # pixels around the support, whose features it also influences
_STEPS = 48  # number of window lengths along a side; each window size is traced once
_MAX_SHARE = 0.75  # of the frame's area; no larger window is used


def stride(layer: str) -> int:
    """Return the stride in pixels of a layer of VGG-19 ("relu4_1": 8)."""
    return 1 << (int(layer[4]) - 1)


def cells(size: tuple[int, int], layer: str) -> tuple[int, int]:
    """Return the (rows, columns) of a layer's features of an image of this size in pixels."""
    rows, columns = (-(-length // stride(layer)) for length in size)
    return rows, columns


@dataclass(frozen=True)
class Window:
    """A rectangle of a frame, in pixels; top and left are multiples of ALIGNMENT."""

    top: int
    left: int
    rows: int
    columns: int

    def at(self, layer: str) -> "Window":
        """Return the same rectangle in the cells of a layer of VGG-19 ("relu4_1": 8 pixels)."""
        step = stride(layer)
        return Window(self.top // step, self.left // step, *cells((self.rows, self.columns), layer))

    def cut(self, values: Any) -> Any:
        """Return the part of values [H, W, …], an array or a tensor, that lies in the window."""
        below, right = self.top + self.rows, self.left + self.columns
        return values[self.top : below, self.left : right]


def window_around(support: np.ndarray[Any, Any]) -> Window | None:
    """Return the window around support [H, W, 1] > 0; None if it is most of the frame.

    A pure function of the frame's own support: a resumed run computes the same window.
    """
    height, width = support.shape[:2]
    covered = support[..., 0] > 0
    top, rows = _span(np.flatnonzero(covered.any(axis=1)), height)
    left, columns = _span(np.flatnonzero(covered.any(axis=0)), width)
    if rows * columns > _MAX_SHARE * height * width:
        return None
    return Window(top, left, rows, columns)


def _span(covered: np.ndarray[Any, Any], length: int) -> tuple[int, int]:
    """Return the window's first pixel and length along a side of `length`, around `covered` [n].

    covered: ascending indices of the rows or columns with support.
    """
    first = max(0, int(covered[0]) - _MARGIN) // ALIGNMENT * ALIGNMENT
    last = min(length, int(covered[-1]) + 1 + _MARGIN)
    step = ALIGNMENT * max(1, round(length / _STEPS / ALIGNMENT))
    size = -(-(last - first) // step) * step
    if first + size <= length:
        return first, size
    first = max(0, length - size) // ALIGNMENT * ALIGNMENT
    return first, length - first
