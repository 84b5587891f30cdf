"""What a finished frame says of the next: where its result goes along the motion, and what is left.

Where motion explains the frame, the result is carried along; elsewhere the frame is coloured and
stroked as the result is.
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

_NEAR = 0.75  # of a node's spacing: what stands farther from every node is matched anew
_DRAWN_OUT = 0.5  # of its area: what came from less is new
_CALM = 25  # pixels: the side of the square over which noise is averaged
_SLIGHTEST = 1 / 255  # of 1: what changes less, on average, has not changed
_OTHER = 0.5  # of 1: where a plane says so much more or less, a style has come or gone
_HELD = 0.2  # of the way back to how it looked further back: errors are not to add up
_FAINT = 0.02  # of 1: what a plane says of less is not seen


@dataclass(frozen=True)
class TemporalPrior:
    """What an earlier frame says of this one.

    image: the earlier result carried into this frame: warped where motion explains the frame,
    elsewhere the frame in the colours of the result. It is where a warm start begins.
    trust: [H, W, 1], where the warped result is to be kept.
    flow: float32 [H, W, 2], where the pixels of this frame are found in the earlier one, or None:
    nothing moved. matches: what the earlier frame's blocks were matched to, if they were. settled:
    bool [H, W, 1], what is left as it is, or None: nothing. change: how far the source has come
    from what the strokes were made for, see fading; renewed: everywhere so far that it is better
    begun anew. fresh: float32 [H, W, 1], 1 where nothing before shows what is there, so that it is
    painted from nothing; None: nowhere. looked: what the earlier frame looked like, or None: what
    is shown need not keep to it.
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
    """A finished frame. begun: what it begins with, None: its source.

    result: what the optimiser drew; shown: what was shown of it, see steadying, None: just that.
    planes: float32 [H, W, K], where which style was to go, None: one everywhere. change, matches:
    as in Prior, of this frame itself.
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
    """What the result of an earlier frame says of this one, or None: between them lies a cut.

    All are of one size. begun: what the earlier frame and this one begin with, if not themselves.
    """
    moved = motion(earlier_source, source)
    if moved is None:
        return None
    before, now = begun or (None, None)
    return prior_along(moved, StylizedFrame(earlier_source, earlier_result, before), source, now)


def prior_along(  # noqa: PLR0913 - a frame, and all that is known of it
    moved: Motion,
    earlier: StylizedFrame,
    source: Image,
    begun: Image | None = None,
    further: tuple[Motion, StylizedFrame] | None = None,
    planes: np.ndarray | None = None,
    *,
    first: StylizedFrame | None = None,
) -> TemporalPrior:
    """What an earlier frame says of this one, as `prior`, along a known motion.

    planes: as those of `earlier`, of this frame. Where another style is to go than went there, or
    one where none did, the earlier result says nothing. further: the motion from a frame further
    back, and that: what is known from there and not from the earlier frame, since it was hidden in
    it, looks again as it did. first: the first frame of the shot, whose strokes go to what no
    frame has shown; None: those of the earlier one. Ruder et al. (2016), section 4.4; differs in
    that it starts so too, and in that what moves and is known from both is a little of either.
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
    disoccluded = (uncovered | other) & ~new  # a title is to be read, not painted over
    known &= ~new
    change = dissolves.at_rest(change, known, new)
    known &= ~other
    certainty = np.where(
        (new | other)[..., None], np.float32(0), certainty * _grown(before, planes)
    )
    if further is not None:
        valid, since, previous_output = _said_by(*further, source)
        share = np.where(known[..., None], 0, valid)
        moving = known & (backward != 0).any(axis=2)  # what stands still stays to the bit
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
    """Return what the earlier frame looked like here; kept: bool [H, W], where that is to stay.

    Along the motion as it was measured from frame to frame: what is to stay in place for long goes
    by the flow that is held to the anchor, and what is not to tremble by what is seen to move.
    """
    back, forth = moved.measured or (moved.backward, moved.forward)
    shown = earlier.result if earlier.shown is None else earlier.shown
    seen = kept & is_consistent(back, forth)
    return PreviousOutput.along(back, shown, earlier.result, seen)


def _said_by(
    back: Motion, old: StylizedFrame, source: Image
) -> tuple[np.ndarray, np.ndarray, Image]:
    """Return how far a frame further back holds [H, W, 1], the change since, its result here."""
    apart = source - warp(old.source, back.backward)
    since = dissolves.added(old.change, back.backward, apart, back.confidence[..., 0] > 0)
    valid = back.confidence * ~dissolves.outdated(since, source)[..., None]
    return valid, since, warp(old.result, back.backward)


def static(found: TemporalPrior, first: Image, frame: Image) -> np.ndarray:
    """Return bool [H, W, 1]: what stands still and is as it was in the first frame of its shot.

    There the result is as good as it ever was, and any change of it would be flicker. As it was,
    but for noise, of which the mean over a square leaves little. The first frame, not the one
    before, so that nothing can change unnoticed by being slow.
    """
    still = found.confidence[..., 0] == 1
    if found.flow is not None:
        still &= (found.flow == 0).all(axis=2)
    change = np.abs(cv2.blur(frame - first, (_CALM, _CALM))).max(axis=2)
    return np.asarray(still & (change < _SLIGHTEST) & alike(first, frame))[..., None]


def _opening(backward: np.ndarray) -> np.ndarray:
    """Return bool [H, W]: what stands here came from less than half the place it takes.

    A flow is drawn out so behind what moves on. It hides that the ground is new there, and would
    smear the colours at the edge of what moved over all of it.
    """
    across, down = (cv2.Sobel(backward, -1, *order, ksize=1) / 2 for order in ((1, 0), (0, 1)))
    area = (1 + across[..., 0]) * (1 + down[..., 1]) - across[..., 1] * down[..., 0]
    return np.asarray(area < _DRAWN_OUT)


def _widened(places: np.ndarray) -> np.ndarray:
    """Return bool [H, W], 4 pixels wider: what moves leaves a rim of mixed pixels behind."""
    return cv2.dilate(places.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0


def _other(before: np.ndarray, planes: np.ndarray) -> np.ndarray:
    """Return bool [H, W]: another style goes here than before, or next to it.

    Next to it there was an edge, held smooth and to what lay beyond: it would be seen as a line.
    """
    apart = (np.abs(planes - before) > _OTHER) | ((before == 0) & (planes > _FAINT))
    places = apart.any(axis=2).astype(np.uint8)
    wide = cv2.morphologyEx(places, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    return np.asarray((places | cv2.dilate(wide, np.ones((5, 5), np.uint8))) > 0)


def _grown(before: np.ndarray, planes: np.ndarray) -> np.ndarray:
    """Return float32 [H, W, 1], 0..1: how much of the style that goes here went here before."""
    share = np.where(planes - before < _FAINT, 1, before / np.maximum(planes, _FAINT))
    return np.asarray(share.min(axis=2, keepdims=True), np.float32)


def carried(prior: TemporalPrior) -> np.ndarray | None:
    """Return the earlier frame's matches moved into this frame; NaN where nothing is trusted.

    Matches are [rows, columns, 5] on nodes spread evenly from border to border; the last two
    numbers are how far, in pixels down and right, what was matched stands from its node by now.
    Each node takes the match of what stands nearest to it, so motion below half a block adds up.
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
