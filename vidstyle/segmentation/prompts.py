"""Prompt: the clicks and the box that say which object of an image is meant."""

from collections.abc import Sequence
from dataclasses import dataclass

from vidstyle.errors import UsageError

__all__ = ["Box", "Point", "Prompt"]

Point = tuple[float, float]  # (x, y) in pixels, from the top left
Box = tuple[float, float, float, float]  # (x0, y0, x1, y1): two opposite corners


@dataclass(frozen=True)
class Prompt:
    """Clicks on an object, clicks beside it, a box around it; at least a click on it or a box.

    Raises UsageError for none, and for a box of no area.
    """

    inside: tuple[Point, ...] = ()
    outside: tuple[Point, ...] = ()
    box: Box | None = None

    def __post_init__(self) -> None:
        if not self.inside and self.box is None:
            raise UsageError(
                "expected a click on the object or a box around it, got none; add --click X,Y"
            )
        if self.box is not None:
            x0, y0, x1, y1 = self.box
            if x0 == x1 or y0 == y1:
                raise UsageError(
                    f"--box {_text(self.box)}: expected two opposite corners, got a box of no "
                    "area; name the left, top, right and bottom edge"
                )
            ordered = (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
            object.__setattr__(self, "box", ordered)

    @classmethod
    def of(cls, points: Sequence[Point], labels: Sequence[int], box: Box | None) -> "Prompt":
        """Return the prompt of points with labels: 1 on the object, 0 beside it."""
        if len(points) != len(labels) or not set(labels) <= {0, 1}:
            raise UsageError(
                f"expected a label 0 or 1 for each of {len(points)} points, got {list(labels)}"
            )
        by_label: tuple[list[Point], list[Point]] = ([], [])
        for point, label in zip(points, labels, strict=True):
            by_label[label].append((float(point[0]), float(point[1])))
        return cls(tuple(by_label[1]), tuple(by_label[0]), box)

    def check_within(self, width: int, height: int) -> None:
        """Raise UsageError for a click outside the image, and for a box that does not touch it."""
        for flag, points in (("--click", self.inside), ("--exclude", self.outside)):
            for x, y in points:
                if not (0 <= x < width and 0 <= y < height):
                    raise UsageError(
                        f"{flag} {_text((x, y))}: expected a place within the picture of "
                        f"{width} x {height} pixels, got one outside; count from its top left"
                    )
        if self.box is not None:
            x0, y0, x1, y1 = self.box
            if x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height:
                raise UsageError(
                    f"--box {_text(self.box)}: expected a box that touches the picture of {width} "
                    f"x {height} pixels, got one outside; count from its top left"
                )


def _text(numbers: Sequence[float]) -> str:
    return ",".join(f"{number:g}" for number in numbers)
