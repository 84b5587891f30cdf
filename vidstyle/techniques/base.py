"""Technique: what every technique is. They differ only in where moments of features are taken."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from vidstyle.guides.style import Style
from vidstyle.image import Image
from vidstyle.settings import check_options
from vidstyle.vgg.features import Early, Features, Share, Strip, Sums

if TYPE_CHECKING:
    from vidstyle.guides.guide import Guide
    from vidstyle.vgg.crop import Window

__all__ = [
    "Early",
    "Features",
    "Share",
    "Strip",
    "Style",
    "StyleFeatures",
    "Sums",
    "Targets",
    "Technique",
]

Targets = dict[str, Any]  # a nested structure of tensors, Planes among them


@dataclass(frozen=True)
class StyleFeatures:
    """A picture of `size` (rows, columns): its features at the style layers, its guide or None.

    weight: the style's share; those of a run add up to 1. suggested: for a frame, what `targets`
    had under "matches" for an earlier one, carried into this one, NaN where that is not known.
    window: the part of the frame that the loss will see, in pixels; None: all of it. early: the
    layers that features lack of a large picture. fresh: float32 [H, W, 1] of a frame, 1 where no
    earlier one shows what is there, so that it is to be painted from nothing; None: nowhere.
    """

    features: Features
    size: tuple[int, int]
    weight: float = 1.0
    guide: "Guide | None" = None
    suggested: np.ndarray | None = None
    window: "Window | None" = None
    early: Early | None = None
    disoccluded: np.ndarray | None = None

    @property
    def early_layers(self) -> tuple[str, ...]:
        return () if self.early is None else self.early.layers


@dataclass(frozen=True, kw_only=True)
class Technique(ABC):
    """A frozen dataclass whose option() fields are the technique's own options.

    Never hears of time: priors are the engine's matter.
    """

    summary: ClassVar[str]  # one line for --help
    takes: ClassVar[frozenset[str]] = frozenset()  # of "mask", "map", "style_map"
    needs: ClassVar[frozenset[str]] = frozenset()  # of these, what it cannot do without
    has_content: ClassVar[bool] = True  # whether the result is held to the content of the frame
    confined: ClassVar[bool] = False  # whether pixels where every plane is 0 stay the source's

    def __post_init__(self) -> None:
        check_options(self)

    def start(self, frame: Image, guide: "Guide | None", styles: Sequence[Style]) -> Image:
        """Return the picture that a first frame begins with: the frame itself."""
        del guide, styles
        return frame

    @abstractmethod
    def targets(self, styles: Sequence[StyleFeatures], frame: StyleFeatures) -> Targets:
        """Return what a frame is drawn towards, from its features at the style layers.

        Called once a frame, with one guide or none for all frames of a run. The result is an
        argument of the traced step.
        """

    @abstractmethod
    def loss(self, features: Features, targets: Targets, early: Sums | None = None) -> Any:
        """Return the style distance, a scalar tensor: a pure function.

        early: of a frame seen in strips, what `sums` gave at the layers that features lack.
        """

    def strip_rows(self, size: tuple[int, int]) -> int | None:
        """Return how many rows of a frame of this size are to be seen at a time, a multiple of 4.

        None: all of them at once, which a technique without `sums` always needs.
        """
        del size
        return None

    def sums(self, features: Features, targets: Targets, strip: Strip) -> dict[str, Share]:
        """Return what the loss needs of a strip's features, by layer: a pure function."""
        raise NotImplementedError
