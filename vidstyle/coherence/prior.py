"""TemporalPrior: the prediction of a frame from an earlier one; and the two frames."""

from dataclasses import dataclass, field

import numpy as np

from vidstyle.coherence.deflicker import PreviousOutput
from vidstyle.coherence.parameters import CoherenceParameters
from vidstyle.image import Image

__all__ = ["StylizedFrame", "TemporalPrior", "UnstylizedFrame", "moved_matches"]


@dataclass(frozen=True)
class TemporalPrior:
    """The temporal prior of a frame: its initial image, with per-pixel confidence.

    image: the earlier result, warped where the motion predicts the frame and filled elsewhere.
    confidence: float32 [H, W, 1], 0..1, the weight of the temporal loss.
    flow: float32 [H, W, 2], in pixels, to the earlier frame; None: no motion.
    matches: the earlier frame's block matches, see `moved_matches`; None: the technique has none.
    static: bool [H, W, 1], pixels that keep the earlier result bit for bit; None: none.
    change: the accumulated change of the source since its strokes were painted, see `dissolves`.
    reinitialized: whether the frame should be initialised without this prior.
    disoccluded: float32 [H, W, 1], 1 where no earlier frame shows the pixel; None: nowhere.
    previous_output: for `deflicker`; None: the output is not deflickered.
    parameters: how the optimisation uses the prior: its fields `tv`, `stopping` and `warm_start`.
    """

    image: Image
    confidence: np.ndarray
    flow: np.ndarray | None = None
    matches: np.ndarray | None = None
    static: np.ndarray | None = None
    change: np.ndarray | None = None
    reinitialized: bool = False
    disoccluded: np.ndarray | None = None
    previous_output: PreviousOutput | None = None
    parameters: CoherenceParameters = field(default_factory=CoherenceParameters)


@dataclass(frozen=True)
class StylizedFrame:
    """A finished frame.

    initial_image: the initial image of a frame without a prior; None: the source. planes: float32
    [H, W, K], of the guide; None: one style everywhere. optimised_image, unblended_image: as in
    Stylized; None: same as optimised_image. change, matches: of this frame, as in TemporalPrior.
    """

    source: Image
    optimised_image: Image
    initial_image: Image | None = None
    change: np.ndarray | None = None
    matches: np.ndarray | None = None
    planes: np.ndarray | None = None
    unblended_image: Image | None = None

    @property
    def exemplar_source(self) -> Image:
        """The image that its strokes were painted on."""
        return self.source if self.initial_image is None else self.initial_image


@dataclass(frozen=True)
class UnstylizedFrame:
    """A frame to stylise.

    initial_image: of a frame without a prior; None: the source. planes: float32 [H, W, K], of the
    guide; None: one style everywhere.
    """

    source: Image
    initial_image: Image | None = None
    planes: np.ndarray | None = None


def moved_matches(prior: TemporalPrior) -> np.ndarray | None:
    """Return the earlier frame's block matches moved along the flow; NaN for a block without.

    Matches are float32 [rows, columns, 5], on nodes spread evenly from border to border. The last
    two numbers are the offset of the matched content from its node, in pixels down and right. Each
    node takes the match nearest to it; offsets accumulate motion smaller than a block. NaN where
    confidence is low or no match is near.
    """
    if prior.matches is None:
        return None
    own = prior.parameters.warm_start
    height, width = prior.confidence.shape[:2]
    rows, columns = prior.matches.shape[:2]
    last = (rows - 1, columns - 1)
    spacing = np.maximum((height - 1, width - 1), 1) / np.maximum(last, 1)
    node = np.stack(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"), axis=2)
    here = node * spacing
    at = tuple(np.rint(here).astype(int).transpose(2, 0, 1))
    motion = 0 if prior.flow is None else prior.flow[at][..., ::-1]
    there = here + motion
    anchors = here + prior.matches[..., 3:]
    near = np.clip(np.rint(there / spacing), 0, last).astype(int)
    best, least = np.full(prior.matches.shape, np.nan, np.float32), np.full((rows, columns), np.inf)
    for step in np.ndindex(3, 3):
        row, column = np.clip(near + step - 1, 0, last).transpose(2, 0, 1)
        offset = anchors[row, column] - there
        away = np.hypot(*(offset / spacing).transpose(2, 0, 1))
        nearer = (away < least) & (away <= own.match_distance)
        least = np.where(nearer, away, least)
        moved = np.concatenate([prior.matches[row, column][..., :3], offset], axis=2)
        best = np.where(nearer[..., None], moved, best)
    return np.where(prior.confidence[at] > own.match_confidence, best, np.nan).astype(np.float32)
