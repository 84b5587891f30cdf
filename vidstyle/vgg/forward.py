"""Views: how the network is run on frames of one size: on all of it, in strips, or in a window."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from vidstyle.vgg.crop import Window, window_around
from vidstyle.vgg.encoder import Encoder, Features, Surroundings
from vidstyle.vgg.features import Share, Strip, Sums
from vidstyle.vgg.tiling import Early, Strips

__all__ = ["ForwardPass", "FrameFeatures", "forward_pass_for"]


@dataclass(frozen=True)
class FrameFeatures:
    """A picture's features; window, around: the part that may change, if only a part may.

    early: what gives the features at the first layers, where the picture is seen in strips.
    """

    features: Features
    window: Window | None = None
    around: Surroundings | None = None
    early: Early | None = None


class ForwardPass:
    """encode: from an image tensor to its features; strips: of the same encoder, or None."""

    def __init__(self, encode: Callable[[Any], Features], strips: Strips | None) -> None:
        self._encode, self._strips = encode, strips
        self._whole = tf.function(encode if strips is None else strips.late)
        # An encoder of the caller's own knows no windows: it is run on the whole frame.
        self._around = None
        if strips is None and isinstance(encode, Encoder):
            self._around = tf.function(encode.surroundings)

    def of(self, image: Any) -> FrameFeatures:
        """Return the features of a picture of any size, float32 [H, W, 3], RGB, 0..1."""
        early = None if self._strips is None else Early(self._strips, image)
        return FrameFeatures(self._whole(image), early=early)

    def of_frame(self, frame: Any, support: np.ndarray[Any, Any]) -> FrameFeatures:
        """Return the same of a frame of which only what support [H, W, 1] covers may change."""
        window = window_around(support)
        if window is None or self._around is None:
            return self.of(frame)
        corner = tf.constant((window.top, window.left, 0))
        features, around = self._around(frame, corner, (window.rows, window.columns))
        return FrameFeatures(features, window, around)

    def again(
        self,
        image: Any,
        around: Surroundings | None,
        part: tuple[int, int] | None,
        sums: Callable[[Features, Strip], dict[str, Share]],
    ) -> tuple[Features, Sums | None]:
        """Return the features of a changed image, seen as the frame was, and sums over strips.

        part: the window's rows and columns, which are the same for all that is traced once.
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
    """Return the views of frames of a size; rows: of a strip, if they are to be seen in strips.

    needed: layers whose features the loss cannot do without, which strips have not at the first.
    """
    if rows is None or not isinstance(encode, Encoder):
        return ForwardPass(encode, None)
    if not encode.early_layers or set(needed) & set(encode.early_layers):
        return ForwardPass(encode, None)
    return ForwardPass(encode, Strips(encode, rows))
