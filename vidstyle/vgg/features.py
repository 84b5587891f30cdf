"""Types of features: by layer, of a strip of rows, and sums over all strips."""

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

__all__ = ["Early", "Features", "Share", "Strip", "Sums"]

Features = dict[str, Any]  # layer name -> float32 tensor [h, w, C]


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


class Early(Protocol):
    """The features of an image at the first layers, computed strip by strip when iterated.

    layers: their names; rows: the height of a strip in pixels (the last may be lower).
    """

    @property
    def layers(self) -> tuple[str, ...]: ...

    @property
    def rows(self) -> int: ...

    def __iter__(self) -> Iterator[Features]: ...
