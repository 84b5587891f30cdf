"""ForwardPass: runs the network on frames of one size: whole, in strips, or in a window."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from vidstyle.vgg.crop import Window, window_around
from vidstyle.vgg.encoder import Encoder, Surroundings
from vidstyle.vgg.features import Features, Share, Strip, Sums
from vidstyle.vgg.tiling import EarlyFeatures, Strips

__all__ = ["ForwardPass", "FrameFeatures", "forward_pass_for"]


@dataclass(frozen=True)
class FrameFeatures:
    """The features of an image.

    window, around: the part that may change and its surroundings, if only a part may change.
    early: the first layers, if the image is computed in strips.
    """

    features: Features
    window: Window | None = None
    around: Surroundings | None = None
    early: EarlyFeatures | None = None


class ForwardPass:
    """Runs the network on frames of one size.

    encode: a function from an image tensor [H, W, 3] to features; strips: the same computed in
    strips; None: not available.
    """

    def __init__(self, encode: Callable[[Any], Features], strips: Strips | None) -> None:
        self._encode, self._strips = encode, strips
        self._whole = tf.function(encode if strips is None else strips.late, autograph=False)
        # A caller's own encoder has no windows: it is run on the whole frame.
        self._around = None
        if strips is None and isinstance(encode, Encoder):
            self._around = tf.function(encode.surroundings, autograph=False)

    @property
    def strip_rows(self) -> int | None:
        """The height of a strip in pixels; None: images are not computed in strips."""
        return None if self._strips is None else self._strips.rows

    def of(self, image: Any) -> FrameFeatures:
        """Return the features of an image of any size, float32 [H, W, 3], RGB, 0..1."""
        early = None if self._strips is None else EarlyFeatures(self._strips, image)
        return FrameFeatures(self._whole(image), early=early)

    def of_frame(self, frame: Any, support: np.ndarray[Any, Any]) -> FrameFeatures:
        """Return the features of a frame that may change where support [H, W, 1] is above 0."""
        window = window_around(support)
        if window is None or self._around is None:
            return self.of(frame)
        corner = tf.constant((window.top, window.left, 0))
        features, around = self._around(frame, corner, (window.rows, window.columns))
        return FrameFeatures(features, window, around)

    def recompute(
        self,
        image: Any,
        around: Surroundings | None,
        part: tuple[int, int] | None,
        sums: Callable[[Features, Strip], dict[str, Share]],
    ) -> tuple[Features, Sums | None]:
        """Return the features of a changed image, in the same window, and sums over its strips.

        around: as returned by `of_frame`. part: the window's (rows, columns), static in a trace;
        None: the whole image. sums: see tiling.StripShares.
        """
        encoder: Any = self._encode
        if part is not None:
            return encoder.within(image, around, part), None
        if self._strips is None:
            return encoder(image), None
        size = (image.shape[0], image.shape[1])
        features, found = self._strips(image, lambda own, at: sums(own, Strip(size, at)))
        return features, Sums(size, found)


def forward_pass_for(
    encode: Callable[[Any], Features],
    rows: int | None,
    needed: Sequence[str],
) -> ForwardPass:
    """Return the ForwardPass for frames of one size.

    rows: the height of a strip; None: no strips. needed: layers that the loss needs whole; if one
    of them is an early layer, strips are not used.
    """
    if rows is None or not isinstance(encode, Encoder):
        return ForwardPass(encode, None)
    if not encode.early_layers or set(needed) & set(encode.early_layers):
        return ForwardPass(encode, None)
    return ForwardPass(encode, Strips(encode, rows))
