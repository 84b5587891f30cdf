"""Technique: the base class. Techniques differ in where moments of features are taken."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from vidstyle.guides.style import Style
from vidstyle.image import Image
from vidstyle.settings import check_options
from vidstyle.vgg.features import Features, Share, Strip, Sums

if TYPE_CHECKING:
    from vidstyle.guides.guide import Guide
    from vidstyle.vgg.crop import Window
    from vidstyle.vgg.tiling import EarlyFeatures

__all__ = [
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
    """The features of a style or a frame at the style layers, and related data.

    size: (rows, columns) of the image in pixels.
    weight: of a style, its share of the blend; the shares of a run add up to 1.
    suggested: of a frame, the matches of an earlier frame ("matches" of `targets`), carried along
        the motion; NaN where unknown.
    window: the part of the frame, in pixels, whose features the loss is given; None: all of it.
    early: of a large image, the layers that are computed in strips and missing in `features`.
    disoccluded: of a frame, float32 [H, W, 1], 1 where no earlier frame shows the pixel's content;
        None: nowhere.
    """

    features: Features
    size: tuple[int, int]
    weight: float = 1.0
    guide: "Guide | None" = None
    suggested: np.ndarray | None = None
    window: "Window | None" = None
    early: "EarlyFeatures | None" = None
    disoccluded: np.ndarray | None = None

    @property
    def early_layers(self) -> tuple[str, ...]:
        """The layers that are computed in strips."""
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

    A technique sees single frames: everything temporal is left to the stylizer.
    """

    name: ClassVar[str]  # its command, and its name in the manifest
    summary: ClassVar[str]  # one line for --help
    inputs: ClassVar[Inputs] = Inputs()
    has_content: ClassVar[bool] = True  # whether the loss has a content term
    confined: ClassVar[bool] = False  # whether pixels where every plane is 0 stay the source's

    def __post_init__(self) -> None:
        check_options(self)

    def start(self, frame: Image, guide: "Guide | None", styles: Sequence[Style]) -> Image:
        """Return the start image of a frame without a prior: by default the frame itself."""
        del guide, styles
        return frame

    @abstractmethod
    def targets(self, styles: Sequence[StyleFeatures], frame: StyleFeatures) -> Targets:
        """Return the targets of the style loss, from the features of the styles and the frame.

        Called once a frame. The result is an argument of the traced step, so its structure and
        static shapes are the same for all frames of a size.
        """

    @abstractmethod
    def loss(self, features: Features, targets: Targets, early: Sums | None = None) -> Any:
        """Return the style loss, a scalar tensor: a pure function.

        early: of a frame computed in strips, the totals of `sums` at the layers that are missing
        in `features`.
        """

    def strip_rows(self, size: tuple[int, int], shortages: int = 0) -> int | None:
        """Return the height in pixels of the strips of a frame of this size, a multiple of 4.

        None: the frame is computed whole, as a technique without `sums` requires. shortages: how
        often memory has run out at this size; strips may be lower each time.
        """
        del size, shortages
        return None

    def sums(self, features: Features, targets: Targets, strip: Strip) -> dict[str, Share]:
        """Return a strip's share of the totals that `loss` needs, by layer: a pure function."""
        raise NotImplementedError
