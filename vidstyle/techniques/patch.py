"""patch: each block of the frame takes the style of the matching block of the style picture."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from vidstyle.errors import UsageError
from vidstyle.settings import option
from vidstyle.techniques import _patch_match
from vidstyle.techniques.base import (
    Features,
    Inputs,
    Share,
    Strip,
    StyleFeatures,
    Sums,
    Targets,
)
from vidstyle.techniques.guided import MappedTechnique
from vidstyle.vgg.crop import cells, stride

if TYPE_CHECKING:
    from vidstyle.techniques._patch_gram import Span, Windows
    from vidstyle.techniques._patch_gram_tiled import StripGrams

__all__ = ["Patch"]

_REFERENCE = 512  # pixels: the long side of a frame for which `block` is given
_LARGE = 400_000  # pixels; in larger frames, strips take less time and memory than windows
_UNIT = 16  # pixels: a block's side is a multiple of it
_MATCHED = ("relu3_1", "relu4_1")  # layers whose features are matched
_FEATURE_WEIGHT = 0.25  # of features relative to labels, where both are matched


@dataclass(frozen=True, kw_only=True)
class Patch(MappedTechnique):
    """Moments of each block of the frame, compared with those of the matching style block.

    Blocks overlap (see _patch_gram); all layers use one correspondence, by labels as in
    Champandard, "Semantic Style Transfer" (2016), by features as in Li & Wand, "Combining Markov
    Random Fields and Convolutional Neural Networks" (2016), or by both. Differs in that blocks are
    compared by their moments, so that strokes may lie anywhere within a block.
    """

    name: ClassVar[str] = "patch"
    summary: ClassVar[str] = "each block of the frame takes the style of a similar block"
    inputs: ClassVar[Inputs] = Inputs(map="optional", style_map="optional")

    block: int = option(
        32, "side of a block, where the frame's long side is 512", unit="pixels", low=16, high=16384
    )
    match: str | None = option(
        None,
        "what blocks are matched by: the labels of maps, features, or both (default: both with "
        "maps, else features)",
        words=("map", "features", "both"),
    )

    def targets(self, styles: Sequence[StyleFeatures], frame: StyleFeatures) -> Targets:
        """Return {"matches": [rows, columns, 5], "windows", "goals", "early"}, the rest by layer.

        Layers computed in strips have moments under "early", and no windows or goals.
        """
        import tensorflow as tf

        from vidstyle.techniques import _patch_gram

        if len(styles) != 1:
            raise UsageError(
                f"expected one style, since blocks match one picture, got {len(styles)}; "
                "name one --style"
            )
        style, side = styles[0], self._side(frame.size)
        height, width = (_patch_gram.node_count(length, side) for length in frame.size)
        nodes = (height, width)
        matches = self._matches(frame, style, side, nodes)
        goals, windows = {}, {}
        for layer, features in style.features.items():
            half = _half_block(layer, side, nodes)
            if half:
                spans = _style_spans(style, matches, layer, side)
                goals[layer] = _patch_gram.goals(
                    features, _patch_gram.crossed(features.shape[:2], *spans)
                )
                frame_windows = _patch_gram.windows(cells(frame.size, layer), nodes, half)
                windows[layer] = _patch_gram.Windows(
                    tf.constant(frame_windows.positions), tf.constant(frame_windows.weights)
                )
        early = _early_goals(style, matches, side)
        return {"goals": goals, "windows": windows, "matches": tf.constant(matches), "early": early}

    def loss(self, features: Features, targets: Targets, early: Sums | None = None) -> Any:
        """Return the weighted mean over layers of the style distance of the blocks."""
        import tensorflow as tf

        from vidstyle.techniques import _patch_gram
        from vidstyle.vgg import losses

        nodes = tuple(targets["matches"].shape[:2])
        windows: dict[str, Windows] = targets["windows"]
        distances: dict[str, Any] = {}
        for layer, layer_goals in targets["goals"].items():
            with tf.control_dependencies(
                [*distances.values()][-1:]
            ):  # layers are computed in turn, since each takes much memory
                distances[layer] = _patch_gram.distance(
                    features[layer], windows[layer], nodes, layer_goals
                )
        size, sums = early or Sums((0, 0), {})
        for layer, totals in sums.items():
            strip_grams = self._strip_grams(size)
            with tf.control_dependencies([*distances.values()][-1:]):
                distances[layer] = strip_grams.distance(
                    totals, targets["early"][layer], stride(layer)
                )
        return losses.over_layers(distances)

    def strip_rows(self, size: tuple[int, int], shortages: int = 0) -> int | None:
        """Return the height of a strip in pixels, a fraction of the distance of two node rows."""
        del shortages  # the height is fixed by the node rows
        return self._strip_grams(size).rows if math.prod(size) >= _LARGE else None

    def sums(self, features: Features, targets: Targets, strip: Strip) -> dict[str, Share]:
        """Return a strip's share of the sums of the blocks it overlaps, [E, n, C + 1, C]."""
        del targets
        strip_grams = self._strip_grams(strip.size)
        rows = (strip_grams.first(strip.number), strip_grams.nodes[0])
        return {
            layer: Share(strip_grams.sums(values, strip.number, stride(layer)), *rows)
            for layer, values in features.items()
        }

    def _strip_grams(self, size: tuple[int, int]) -> "StripGrams":
        from vidstyle.techniques._patch_gram_tiled import StripGrams

        return StripGrams(size, self._side(size))

    def _side(self, size: tuple[int, int]) -> int:
        """Return the side of a block in pixels for a frame of this size."""
        return _UNIT * max(1, round(self.block * max(size) / _REFERENCE / _UNIT))

    def _matches(
        self, frame: StyleFeatures, style: StyleFeatures, side: int, nodes: tuple[int, int]
    ) -> np.ndarray:
        frame_blocks, style_blocks = (self._descriptors(one, frame, side) for one in (frame, style))
        return _patch_match.match(frame_blocks, style_blocks, nodes, frame.suggested)

    def _descriptors(
        self, image: StyleFeatures, frame: StyleFeatures, side: int
    ) -> _patch_match.BlockDescriptors:
        """Return descriptors of an image's labels, features or both, on cells of 1/4 block."""
        cell = side // _patch_match.CELLS
        cells = tuple(max(1, round(length / cell)) for length in image.size)
        kind = self.match or "both"
        parts = []
        if image.guide is not None and frame.guide is not None and kind != "features":
            order = [image.guide.names.index(name) for name in frame.guide.names]
            parts.append((1.0, image.guide.planes[..., order]))
        if kind != "map" or not parts:
            weight = _FEATURE_WEIGHT if parts else 1.0
            parts.extend(
                (weight, _normalized(image.features[layer]))
                for layer in _matched_layers(image.features)
            )
        return _patch_match.describe_blocks(parts, (cells[0], cells[1]))


def _half_block(layer: str, side: int, nodes: tuple[int, int]) -> int | None:
    """Return the number of a layer's cells in half a block; None if it is not a whole number."""
    step = 2 * stride(layer)
    return side // step if nodes == (1, 1) or side % step == 0 else None


def _style_spans(
    style: StyleFeatures, matches: np.ndarray, layer: str, side: int
) -> tuple["Span", "Span"]:
    """Return the vertical and horizontal spans of the matched blocks on a layer of the style."""
    from vidstyle.techniques import _patch_gram

    half = side // (2 * stride(layer))
    corners = matches.reshape(-1, 5)[:, :2] * (side / _patch_match.CELLS / stride(layer))
    grid, nodes = cells(style.size, layer), matches.shape[:2]
    return _patch_gram.spans_at(grid, np.rint(corners).astype(int), nodes, half)


def _early_goals(style: StyleFeatures, matches: np.ndarray, side: int) -> dict[str, Any]:
    """Return the moments [M, C + 1, C] of the matched style blocks, by layer in strips."""
    import tensorflow as tf

    from vidstyle.techniques._patch_gram_tiled import WindowMoments

    window_moments = {
        layer: WindowMoments(*_style_spans(style, matches, layer, side))
        for layer in style.early_layers
    }
    for features in style.early or ():
        for layer, values in features.items():
            window_moments[layer].add(values)
    return {layer: tf.constant(moments.moments) for layer, moments in window_moments.items()}


def _matched_layers(features: Features) -> list[str]:
    """Return the layers to match by: _MATCHED, or the deepest layer if they are missing."""
    return [layer for layer in _MATCHED if layer in features] or [list(features)[-1]]


def _normalized(features: Any) -> np.ndarray:
    """Return features [h, w, C] normalised to mean 0 and deviation 1 in each channel.

    This makes a photo and a painting comparable (Huang & Belongie, "Arbitrary Style Transfer in
    Real-time with Adaptive Instance Normalization", 2017).
    """
    values = np.asarray(features)
    mean, deviation = values.mean(axis=(0, 1)), values.std(axis=(0, 1))
    return np.asarray((values - mean) / (deviation + 1e-6))
