"""Warm start: the temporal prior of a frame, computed from an earlier finished frame.

Where the motion predicts the frame, the earlier result is warped; disoccluded pixels are filled.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from vidstyle.coherence import dissolves
from vidstyle.coherence.deflicker import PreviousOutput
from vidstyle.coherence.disocclusion import WarpedFrame, despeckled, exemplar_of, fill_disoccluded
from vidstyle.coherence.quilting import Exemplar
from vidstyle.image import Image
from vidstyle.motion.bidirectional import Motion, motion
from vidstyle.motion.occlusion import alike, inside, is_consistent
from vidstyle.motion.warp import sample, warp

__all__ = ["StylizedFrame", "TemporalPrior", "carried", "prior", "prior_along", "static"]

_NEAR = 0.75  # node spacings; a node with no moved match within this distance is matched anew
_DRAWN_OUT = 0.5  # ratio of areas; ground stretched to more than twice its area is disoccluded
_CALM = 25  # pixels; side of the box filter that averages sensor noise
_SLIGHTEST = 1 / 255  # of 1; a smaller mean change of the source counts as none
_OTHER = 0.5  # plane weight; a larger change means that another style applies
_HELD = 0.2  # share of the key frame's result in moving pixels, against accumulated error
_FAINT = 0.02  # plane weight; smaller weights and changes are invisible


@dataclass(frozen=True)
class TemporalPrior:
    """The temporal prior of a frame: its initial image, with per-pixel confidence.

    image: the earlier result, warped where the motion predicts the frame and filled elsewhere.
    confidence: float32 [H, W, 1], 0..1, the weight of the temporal loss.
    flow: float32 [H, W, 2], in pixels, to the earlier frame; None: no motion.
    matches: the earlier frame's block matches, see `carried`; None: the technique has none.
    static: bool [H, W, 1], pixels that keep the earlier result bit for bit; None: none.
    change: the accumulated change of the source since its strokes were painted, see `dissolves`.
    reinitialized: whether the frame should be initialised without this prior.
    disoccluded: float32 [H, W, 1], 1 where no earlier frame shows the pixel; None: nowhere.
    previous_output: for `deflicker`; None: the output is not deflickered.
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


@dataclass(frozen=True)
class StylizedFrame:
    """A finished frame.

    result: the optimised image. begun: the initial image without a prior; None: the source.
    planes: float32 [H, W, K], of the guide; None: one style everywhere. shown: the deflickered
    image; None: same as result. change, matches: of this frame, as in TemporalPrior.
    """

    source: Image
    result: Image
    begun: Image | None = None
    change: np.ndarray | None = None
    matches: np.ndarray | None = None
    planes: np.ndarray | None = None
    shown: Image | None = None


def prior(
    earlier_source: Image,
    source: Image,
    earlier_result: Image,
    begun: tuple[Image, Image] | None = None,
) -> TemporalPrior | None:
    """Return the prior that an earlier frame gives `source`, or None across a cut.

    All images have the same size. begun: the initial images of the earlier frame and of this one;
    None: their sources.
    """
    moved = motion(earlier_source, source)
    if moved is None:
        return None
    before, now = begun or (None, None)
    return prior_along(moved, StylizedFrame(earlier_source, earlier_result, before), source, now)


def prior_along(  # noqa: PLR0913 - two frames, their motion and their guides
    moved: Motion,
    earlier: StylizedFrame,
    source: Image,
    begun: Image | None = None,
    further: tuple[Motion, StylizedFrame] | None = None,
    planes: np.ndarray | None = None,
    *,
    first: StylizedFrame | None = None,
) -> TemporalPrior:
    """Return the prior that an earlier frame gives `source` along a known motion.

    begun: the initial image of this frame; None: `source`. planes: float32 [H, W, K], of this
    frame; where another style applies than in `earlier`, confidence is 0. further: a key frame and
    the motion from it; it restores pixels that are occluded in `earlier`. first: the first frame of
    the shot, whose strokes fill disoccluded pixels; None: `earlier`. Long-term consistency as in
    Ruder et al. (2016), section 4.4. Differs: it applies to the initial image too, and blends both
    frames in moving pixels that both show.
    """
    backward, certainty = moved.backward, moved.confidence
    carried = warp(earlier.source, backward)
    same = alike(carried, source) & inside(backward)
    seen = is_consistent(backward, moved.forward)
    uncovered = (~same & ~seen) | _opening(backward)
    known = same & ~(_widened(uncovered) & (certainty[..., 0] < 0.5))
    change = dissolves.added(earlier.change, backward, source - carried, known)
    new = dissolves.outdated(change, source)
    if earlier.begun is not None:
        carried = warp(earlier.begun, backward)
    now = source if begun is None else begun
    everywhere = np.ones((*uncovered.shape, 1), np.float32)
    planes = everywhere if planes is None else planes
    before = everywhere if earlier.planes is None else sample(earlier.planes, backward)
    other = _other(before, planes)
    image = fill_disoccluded(
        WarpedFrame(warp(earlier.result, backward), carried, before),
        now,
        planes,
        known & ~new & ~other,
        seen & ~new & ~other,
        other,
        moving=(backward != 0).any(axis=2),
        exemplar=_exemplar(earlier if first is None else first),
    )
    disoccluded = (uncovered | other) & ~new  # not `new`: titles must stay legible
    known &= ~new
    change = dissolves.at_rest(change, known, new)
    known &= ~other
    certainty = np.where(
        (new | other)[..., None], np.float32(0), certainty * _grown(before, planes)
    )
    if further is not None:
        valid, since, previous_output = _said_by(*further, source)
        share = np.where(known[..., None], 0, valid)
        moving = known & (backward != 0).any(axis=2)  # still pixels stay bit-identical
        image += np.where(moving[..., None], _HELD * valid, share) * (previous_output - image)
        certainty = np.maximum(certainty, share)
        change = dissolves.where(share[..., 0] > 0.5, since, change)
        disoccluded &= share[..., 0] <= 0.5
    return TemporalPrior(
        despeckled(image, (backward != 0).any(axis=2)),
        certainty,
        backward,
        earlier.matches,
        change=change,
        reinitialized=bool(new.all() or (planes.any() and not before.any())),
        disoccluded=disoccluded[..., None].astype(np.float32),
        previous_output=_previous_output(moved, earlier, ~(new | other)),
    )


def _exemplar(painted: StylizedFrame) -> Exemplar:
    source = painted.source if painted.begun is None else painted.begun
    everywhere = np.ones((*source.shape[:2], 1), np.float32)
    planes = everywhere if painted.planes is None else painted.planes
    return exemplar_of(source, painted.result, planes)


def _previous_output(moved: Motion, earlier: StylizedFrame, kept: np.ndarray) -> PreviousOutput:
    """Return the earlier output for deflickering, where bool [H, W] `kept` is True.

    Warped along the measured flow: flicker is visible relative to the actual motion between two
    frames. The drift-corrected flow is for long-term alignment.
    """
    back, forth = moved.measured or (moved.backward, moved.forward)
    shown = earlier.result if earlier.shown is None else earlier.shown
    seen = kept & is_consistent(back, forth)
    return PreviousOutput.along(back, shown, earlier.result, seen)


def _said_by(
    back: Motion, old: StylizedFrame, source: Image
) -> tuple[np.ndarray, np.ndarray, Image]:
    """Return a key frame's confidence [H, W, 1], the change since, and its warped result."""
    apart = source - warp(old.source, back.backward)
    since = dissolves.added(old.change, back.backward, apart, back.confidence[..., 0] > 0)
    valid = back.confidence * ~dissolves.outdated(since, source)[..., None]
    return valid, since, warp(old.result, back.backward)


def static(found: TemporalPrior, first: Image, frame: Image) -> np.ndarray:
    """Return bool [H, W, 1]: pixels without motion, unchanged since the first frame of the shot.

    Any change of the result there would be flicker. Changes are averaged over a box against sensor
    noise, and relative to the first frame, so that slow changes are detected too.
    """
    still = found.confidence[..., 0] == 1
    if found.flow is not None:
        still &= (found.flow == 0).all(axis=2)
    change = np.abs(cv2.blur(frame - first, (_CALM, _CALM))).max(axis=2)
    return np.asarray(still & (change < _SLIGHTEST) & alike(first, frame))[..., None]


def _opening(backward: np.ndarray) -> np.ndarray:
    """Return bool [H, W]: the flow stretches the ground to more than twice its area.

    Behind a moving object the flow is stretched over disoccluded ground; warping would smear the
    object's edge over it. The area is the Jacobian determinant of p + flow(p).
    """
    across, down = (cv2.Sobel(backward, -1, *order, ksize=1) / 2 for order in ((1, 0), (0, 1)))
    area = (1 + across[..., 0]) * (1 + down[..., 1]) - across[..., 1] * down[..., 0]
    return np.asarray(area < _DRAWN_OUT)


def _widened(places: np.ndarray) -> np.ndarray:
    """Return bool [H, W], dilated by 4 pixels, to cover mixed pixels at the edge of an object."""
    return cv2.dilate(places.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0


def _other(before: np.ndarray, planes: np.ndarray) -> np.ndarray:
    """Return bool [H, W]: another style applies than before, there or (if 3 wide) 2 pixels away.

    The neighbours lay at the plane's former edge, which would remain visible as a line.
    """
    apart = (np.abs(planes - before) > _OTHER) | ((before == 0) & (planes > _FAINT))
    places = apart.any(axis=2).astype(np.uint8)
    wide = cv2.morphologyEx(places, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    return np.asarray((places | cv2.dilate(wide, np.ones((5, 5), np.uint8))) > 0)


def _grown(before: np.ndarray, planes: np.ndarray) -> np.ndarray:
    """Return float32 [H, W, 1], 0..1: the former plane weight as a share of the present one."""
    share = np.where(planes - before < _FAINT, 1, before / np.maximum(planes, _FAINT))
    return np.asarray(share.min(axis=2, keepdims=True), np.float32)


def carried(prior: TemporalPrior) -> np.ndarray | None:
    """Return the earlier frame's block matches moved along the flow; NaN to match a block anew.

    Matches are float32 [rows, columns, 5], on nodes spread evenly from border to border. The last
    two numbers are the offset of the matched content from its node, in pixels down and right. Each
    node takes the match nearest to it; offsets accumulate motion smaller than a block. NaN where
    confidence is at most 0.5 or no match is near.
    """
    if prior.matches is None:
        return None
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
        nearer = (away < least) & (away <= _NEAR)
        least = np.where(nearer, away, least)
        moved = np.concatenate([prior.matches[row, column][..., :3], offset], axis=2)
        best = np.where(nearer[..., None], moved, best)
    return np.where(prior.confidence[at] > 0.5, best, np.nan).astype(np.float32)
