"""The result of stylising one frame."""

from dataclasses import dataclass, field

import numpy as np

from vidstyle.image import Image

__all__ = ["Stylized", "blended"]


@dataclass(frozen=True)
class Stylized:
    """The result of stylising one frame. Images are float32 [H, W, 3], RGB, within 0..1.

    output_image: the image that is shown and saved.
    losses: the total loss and each unweighted term by name, at the last accepted step.
    evaluations: the number of evaluations of the loss. frame_equivalents: the same in evaluations
        of the whole frame at its own size: evaluated pixels / pixels of the frame.
    matches: float32 [rows, columns, 5], the style block matched to each block (patch, doodle).
    optimised_image: the minimiser's result, from which the next frame's optimisation starts;
        default: `output_image`.
    unblended_image: the deflickered image before a soft guide blends it with the source; default:
        `output_image`.
    opacity: float32 [H, W, 1], 0..1, the share of the stylised image in the output image, the rest
        being the source; None: 1 everywhere.
    warnings: sentences for the user.
    """

    output_image: Image
    losses: dict[str, float] = field(default_factory=dict)
    evaluations: int = 0
    matches: np.ndarray | None = None
    optimised_image: Image = None  # type: ignore[assignment]  # set by __post_init__
    unblended_image: Image = None  # type: ignore[assignment]  # set by __post_init__
    frame_equivalents: float = 0.0
    opacity: np.ndarray | None = None
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("optimised_image", "unblended_image"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, self.output_image)

    @property
    def image(self) -> Image:
        """Short for `output_image`."""
        return self.output_image


def blended(image: Image, source: Image, opacity: np.ndarray | None) -> Image:
    """Return source + opacity · (image - source); bit-identical to `image` where opacity is 1."""
    if opacity is None:
        return image
    soft = np.clip(source + opacity * (image - source), 0, 1)
    return np.asarray(np.where(opacity == 1, image, soft))
