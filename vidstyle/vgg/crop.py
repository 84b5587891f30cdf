"""Window: the part of a frame that the network is run on where only that part may change."""

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["ALIGNMENT", "Window", "cells", "stride", "window_around"]

ALIGNMENT = 16  # pixels: a window begins where the cells of the deepest layers do
_MARGIN = 24  # pixels around what may change in which its influence spreads, and comes back
_STEPS = 48  # of a side: sizes go in steps, since each is traced anew
_WORTH = 0.75  # of the frame's area: a larger window saves too little


def stride(layer: str) -> int:
    """Return how many pixels lie between the features of a layer of VGG-19 ("relu4_1": 8)."""
    return 1 << (int(layer[4]) - 1)


def cells(size: tuple[int, int], layer: str) -> tuple[int, int]:
    """Return the rows and columns of a layer's features of a picture of this size in pixels."""
    rows, columns = (-(-length // stride(layer)) for length in size)
    return rows, columns


@dataclass(frozen=True)
class Window:
    """A rectangle of a frame, in pixels: its corner is at multiples of ALIGNMENT."""

    top: int
    left: int
    rows: int
    columns: int

    def at(self, layer: str) -> "Window":
        """Return the same rectangle in the cells of a layer of VGG-19 ("relu4_1": 8 pixels)."""
        step = stride(layer)
        return Window(self.top // step, self.left // step, *cells((self.rows, self.columns), layer))

    def cut(self, values: Any) -> Any:
        """Return the window of values [H, W, …], an array or a tensor."""
        below, right = self.top + self.rows, self.left + self.columns
        return values[self.top : below, self.left : right]


def window_around(support: np.ndarray[Any, Any]) -> Window | None:
    """Return the window of what may change, support [H, W, 1] > 0; None if it is most of the frame.

    A pure function, so that a resumed run computes what an uninterrupted one does.
    """
    height, width = support.shape[:2]
    covered = support[..., 0] > 0
    top, rows = _span(np.flatnonzero(covered.any(axis=1)), height)
    left, columns = _span(np.flatnonzero(covered.any(axis=0)), width)
    if rows * columns > _WORTH * height * width:
        return None
    return Window(top, left, rows, columns)


def _span(places: np.ndarray[Any, Any], length: int) -> tuple[int, int]:
    """Return where along a side of this length the window of the places begins, and its length."""
    first = max(0, int(places[0]) - _MARGIN) // ALIGNMENT * ALIGNMENT
    last = min(length, int(places[-1]) + 1 + _MARGIN)
    step = ALIGNMENT * max(1, round(length / _STEPS / ALIGNMENT))
    size = -(-(last - first) // step) * step
    if first + size <= length:
        return first, size
    first = max(0, length - size) // ALIGNMENT * ALIGNMENT
    return first, length - first
