"""Technique: what every technique is. They differ only in where Gram matrices are taken."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from vidstyle.media import Image
from vidstyle.settings import check_options

__all__ = ["Encoded", "Features", "Style", "Targets", "Technique"]

Features = dict[str, Any]  # layer name -> float32 tensor [h, w, C]
Targets = dict[str, dict[str, Any]]  # term -> layer name -> what that term is drawn towards


@dataclass(frozen=True)
class Style:
    """A style picture (an Image of any size) and its share when several are blended."""

    image: Image
    weight: float = 1.0


@dataclass(frozen=True)
class Encoded:
    """A style's features at the style layers, and its share; the shares of a run add up to 1."""

    features: Features
    weight: float


@dataclass(frozen=True, kw_only=True)
class Technique(ABC):
    """A frozen dataclass whose option() fields are the technique's own options.

    summary: one line for --help. Never hears of time: priors are the engine's matter.
    """

    summary: ClassVar[str]

    def __post_init__(self) -> None:
        check_options(self)

    @abstractmethod
    def targets(self, styles: Sequence[Encoded], content: Features) -> Targets:
        """Return what a frame is drawn towards, from its features at the content layers.

        Called once a frame. A nested dict of tensors: it is an argument of the traced step.
        """

    @abstractmethod
    def losses(self, features: Features, targets: Targets) -> dict[str, Any]:
        """Return the scalar loss of each term, before weighting: a pure function."""
