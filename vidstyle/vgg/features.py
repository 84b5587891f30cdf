"""Types of features: by layer, of a strip of rows, and sums over all strips."""

from typing import Any, NamedTuple

__all__ = ["Features", "Share", "Strip", "Sums"]

Features = dict[str, Any]  # layer name -> float32 tensor [h, w, C], after the ReLU


class Strip(NamedTuple):
    """A strip of a frame. size: (rows, columns) of the frame in pixels; number: from the top."""

    size: tuple[int, int]
    number: Any


class Share(NamedTuple):
    """A strip's share of a total over all strips.

    values: [E, …], added to the rows of the total from `first` on; of: the number of rows of the
    total, the same for all strips.
    """

    values: Any
    first: Any
    of: int


class Sums(NamedTuple):
    """The totals over the strips of a frame of `size` pixels: tensors [of, …] by layer."""

    size: tuple[int, int]
    sums: Features
