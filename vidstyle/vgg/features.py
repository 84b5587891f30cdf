"""Types of features: by layer, of a strip of rows, and summed over all strips."""

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

__all__ = ["Early", "Features", "Share", "Strip", "Sums"]

Features = dict[str, Any]  # layer name -> float32 tensor [h, w, C]


class Strip(NamedTuple):
    """A strip of a frame of `size` (rows, columns) pixels: its number from the top, a tensor."""

    size: tuple[int, int]
    number: Any


class Share(NamedTuple):
    """What a strip adds to a sum over all strips: values [E, …], to its rows from `first` on.

    of: how many rows the sum has, the same for all strips.
    """

    values: Any
    first: Any
    of: int


class Sums(NamedTuple):
    """What the strips of a frame of `size` pixels add up to, tensors [of, …] by layer."""

    size: tuple[int, int]
    sums: Features


class Early(Protocol):
    """The features of a picture at the first layers, a strip of rows at a time, when asked.

    layers: those that are not among the others; rows: of pixels in a strip but the last.
    """

    @property
    def layers(self) -> tuple[str, ...]: ...

    @property
    def rows(self) -> int: ...

    def __iter__(self) -> Iterator[Features]: ...
