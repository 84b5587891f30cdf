"""Technique: what every technique is. They differ only in where moments of features are taken."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from vidstyle.guides.style import Style
from vidstyle.media import Image
from vidstyle.settings import check_options
from vidstyle.vgg.features import Early, Features, Share, Strip, Sums

if TYPE_CHECKING:
    from vidstyle.guides.guide import Guide
    from vidstyle.vgg.crop import Window

__all__ = [
    "Early",
    "Features",
    "Inputs",
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


Input = Literal["not accepted", "optional", "required"]


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The guides that a technique reads beside the source and the styles.

    mask: one or more soft masks of the frame. map: a label map of the frame. style_map: a label
    map of each style.
    """

    mask: Input = "not accepted"
    map: Input = "not accepted"
    style_map: Input = "not accepted"

    @property
    def accepted(self) -> tuple[str, ...]:
        """The names of the guides that may be given."""
        return tuple(name for name, use in vars(self).items() if use != "not accepted")

    @property
    def required(self) -> tuple[str, ...]:
        """The names of the guides that must be given."""
        return tuple(name for name, use in vars(self).items() if use == "required")

    @property
    def frame_guide_required(self) -> bool:
        """Whether every frame must have a guide."""
        return "required" in (self.mask, self.map)


@dataclass(frozen=True, kw_only=True)
class Technique(ABC):
    """A frozen dataclass whose option() fields are the technique's own options.

    Never hears of time: priors are the engine's matter.
    """

    name: ClassVar[str]  # its command, and its name in the manifest
    summary: ClassVar[str]  # one line for --help
    inputs: ClassVar[Inputs] = Inputs()
    has_content: ClassVar[bool] = True  # whether the loss has a content term
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
