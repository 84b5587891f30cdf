"""Warm start: the temporal prior of a frame, computed from an earlier finished frame.

Where the motion predicts the frame, the earlier result is warped; disoccluded pixels are filled.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from vidstyle.coherence import dissolves
from vidstyle.coherence.deflicker import PreviousOutput
from vidstyle.coherence.disocclusion import (
    Areas,
    WarpedFrame,
    contour_strength,
    despeckled,
    exemplar_of,
    fill_disoccluded,
    with_contours,
)
from vidstyle.coherence.parameters import CoherenceParameters, WarmStartParameters
from vidstyle.coherence.prior import StylizedFrame, TemporalPrior, UnstylizedFrame
from vidstyle.coherence.quilting import Exemplar
from vidstyle.image import Image
from vidstyle.motion.bidirectional import Motion, motion
from vidstyle.motion.occlusion import inside, is_consistent, is_similar
from vidstyle.motion.warp import sample, warp

__all__ = ["prior", "prior_along", "static"]

_DEFAULTS = CoherenceParameters()


@dataclass(frozen=True)
class _Prediction:
    """How an earlier source frame, warped along the motion, predicts a frame; masks bool [H, W].

    warped: the warped source. planes_before, planes: float32 [H, W, K], of the earlier frame,
    warped, and of this one. predicted: the warped source equals the frame. consistent: the flows
    agree, though the light may have changed. uncovered: the earlier frame does not show the pixel.
    restyled: another style applies than before. outdated: see `dissolves`.
    """

    warped: Image
    planes_before: np.ndarray
    planes: np.ndarray
    predicted: np.ndarray
    consistent: np.ndarray
    uncovered: np.ndarray
    restyled: np.ndarray
    change: np.ndarray
    outdated: np.ndarray

    @property
    def usable(self) -> np.ndarray:
        """Where the earlier strokes still apply."""
        return np.asarray(~self.outdated & ~self.restyled)

    @property
    def reinitializes(self) -> bool:
        """Whether the whole frame should be optimised without a prior."""
        first_style = self.planes.any() and not self.planes_before.any()
        return bool(self.outdated.all() or first_style)


@dataclass(frozen=True)
class _Draft:
    """A prior before it is complete; see TemporalPrior. predicted, disoccluded: bool [H, W]."""

    image: Image
    confidence: np.ndarray
    change: np.ndarray
    predicted: np.ndarray
    disoccluded: np.ndarray


def prior(
    earlier_source: Image,
    source: Image,
    earlier_result: Image,
    initial_images: tuple[Image, Image] | None = None,
) -> TemporalPrior | None:
    """Return the prior that an earlier frame gives `source`, or None across a cut.

    All images have the same size. initial_images: of the earlier frame and of this one; None: their
    sources.
    """
    moved = motion(earlier_source, source)
    if moved is None:
        return None
    before, now = initial_images or (None, None)
    earlier = StylizedFrame(earlier_source, earlier_result, before)
    return prior_along(moved, earlier, UnstylizedFrame(source, now))


def prior_along(
    moved: Motion,
    earlier: StylizedFrame,
    frame: UnstylizedFrame,
    *,
    key_frame: tuple[Motion, StylizedFrame] | None = None,
    first: StylizedFrame | None = None,
    parameters: CoherenceParameters = _DEFAULTS,
) -> TemporalPrior:
    """Return the prior that an earlier frame gives a frame along a known motion.

    Where another style applies than in `earlier`, confidence is 0. key_frame: a key frame and the
    motion from it; it restores pixels that are occluded in `earlier`. first: the first frame of the
    shot, whose strokes fill disoccluded pixels; None: `earlier`. Long-term consistency as in Ruder
    et al. (2016), section 4.4. Differs: it applies to the initial image too, and blends both frames
    in moving pixels that both show.
    """
    moving = (moved.backward != 0).any(axis=2)
    prediction = _prediction(moved, earlier, frame, parameters)
    painted = earlier if first is None else first
    draft = _draft(prediction, moved, earlier, frame, painted, parameters)
    if key_frame is not None:
        draft = _with_key_frame(draft, *key_frame, frame.source, moving, parameters)
    return TemporalPrior(
        despeckled(draft.image, moving, parameters.disocclusion),
        draft.confidence,
        moved.backward,
        earlier.matches,
        change=draft.change,
        reinitialized=prediction.reinitializes,
        disoccluded=draft.disoccluded[..., None].astype(np.float32),
        previous_output=_previous_output(moved, earlier, prediction.usable, parameters),
        parameters=parameters,
    )


def _prediction(
    moved: Motion, earlier: StylizedFrame, frame: UnstylizedFrame, parameters: CoherenceParameters
) -> _Prediction:
    backward, own, source = moved.backward, parameters.warm_start, frame.source
    everywhere = np.ones((*source.shape[:2], 1), np.float32)
    planes = everywhere if frame.planes is None else frame.planes
    before = everywhere if earlier.planes is None else sample(earlier.planes, backward)
    warped = warp(earlier.source, backward)
    same = is_similar(warped, source, parameters.motion) & inside(backward)
    consistent = is_consistent(backward, moved.forward, parameters.motion)
    uncovered = (~same & ~consistent) | _stretched(backward, own)
    unsure = moved.confidence[..., 0] < own.edge_confidence
    predicted = same & ~(_dilated(uncovered, own.edge) & unsure)
    change = dissolves.accumulated(
        earlier.change, backward, source - warped, predicted, parameters.dissolves
    )
    return _Prediction(
        warped,
        before,
        planes,
        predicted,
        consistent,
        uncovered,
        _restyled(before, planes, own),
        change,
        dissolves.outdated(change, source, parameters.dissolves),
    )


def _draft(
    prediction: _Prediction,
    moved: Motion,
    earlier: StylizedFrame,
    frame: UnstylizedFrame,
    painted: StylizedFrame,
    parameters: CoherenceParameters,
) -> _Draft:
    """Return the prior that the earlier frame alone gives; painted: the shot's first frame."""
    backward, usable, outdated = moved.backward, prediction.usable, prediction.outdated
    before, planes = prediction.planes_before, prediction.planes
    source = prediction.warped
    if earlier.initial_image is not None:
        source = warp(earlier.initial_image, backward)
    warped = WarpedFrame(warp(earlier.optimised_image, backward), source, before)
    initial = frame.source if frame.initial_image is None else frame.initial_image
    moving = (backward != 0).any(axis=2)
    predicted, relit = prediction.predicted & usable, prediction.consistent & usable
    areas = Areas(predicted, relit, prediction.restyled, moving)
    ratio = _weight_ratio(before, planes, parameters.warm_start)
    at_rest = dissolves.at_rest(
        prediction.change, prediction.predicted & ~outdated, outdated, parameters.dissolves
    )
    exemplar, strength = _exemplar(painted, parameters)
    image = fill_disoccluded(warped, initial, planes, areas, exemplar, parameters)
    own = parameters.disocclusion
    return _Draft(
        with_contours(image, initial, planes, predicted & moving, strength, own),
        np.where(usable[..., None], moved.confidence * ratio, np.float32(0)),
        at_rest,
        predicted,
        # Outdated pixels are not disoccluded: titles must stay legible.
        (prediction.uncovered | prediction.restyled) & ~outdated,
    )


def _with_key_frame(
    draft: _Draft,
    moved: Motion,
    key_frame: StylizedFrame,
    source: Image,
    moving: np.ndarray,
    parameters: CoherenceParameters,
) -> _Draft:
    """Return the draft with pixels that only the key frame shows restored from it.

    Moving pixels that both frames show take a share of it; still pixels stay bit-identical.
    """
    own = parameters.warm_start
    difference = source - warp(key_frame.source, moved.backward)
    since = dissolves.accumulated(
        key_frame.change,
        moved.backward,
        difference,
        moved.confidence[..., 0] > 0,
        parameters.dissolves,
    )
    outdated = dissolves.outdated(since, source, parameters.dissolves)
    valid = moved.confidence * ~outdated[..., None]
    share = np.where(draft.predicted[..., None], 0, valid)
    blended = np.where(
        (draft.predicted & moving)[..., None], np.float32(own.keyframe_share) * valid, share
    )
    restored = share[..., 0] > own.keyframe_confidence
    image = draft.image + blended * (warp(key_frame.optimised_image, moved.backward) - draft.image)
    return replace(
        draft,
        image=image,
        confidence=np.maximum(draft.confidence, share),
        change=dissolves.where(restored, since, draft.change, parameters.dissolves),
        disoccluded=draft.disoccluded & ~restored,
    )


def _exemplar(
    painted: StylizedFrame, parameters: CoherenceParameters
) -> tuple[Exemplar, np.ndarray]:
    """Return the exemplar of a finished frame, and the strength of its contours, [K]."""
    source = painted.exemplar_source
    everywhere = np.ones((*source.shape[:2], 1), np.float32)
    planes = everywhere if painted.planes is None else painted.planes
    given = source, painted.optimised_image, planes, parameters.disocclusion
    return exemplar_of(*given), contour_strength(*given)


def _previous_output(
    moved: Motion, earlier: StylizedFrame, usable: np.ndarray, parameters: CoherenceParameters
) -> PreviousOutput:
    """Return the earlier output for deflickering, where bool [H, W] `usable` is True.

    Warped along the measured flow: flicker is visible relative to the actual motion between two
    frames. The drift-corrected flow is for long-term alignment.
    """
    back, ahead = moved.measured or (moved.backward, moved.forward)
    optimised, output = earlier.optimised_image, earlier.unblended_image
    valid = usable & is_consistent(back, ahead, parameters.motion)
    return PreviousOutput.warped(back, optimised if output is None else output, optimised, valid)


def static(
    found: TemporalPrior, first: Image, frame: Image, parameters: CoherenceParameters = _DEFAULTS
) -> np.ndarray:
    """Return bool [H, W, 1]: pixels without motion, unchanged since the first frame of the shot.

    Any change of the result there would be flicker. Changes are averaged over a box against sensor
    noise, and relative to the first frame, so that slow changes are detected too.
    """
    own = parameters.warm_start
    still = found.confidence[..., 0] == 1
    if found.flow is not None:
        still &= (found.flow == 0).all(axis=2)
    change = np.abs(cv2.blur(frame - first, (own.static_side, own.static_side))).max(axis=2)
    still &= (change < own.static_change) & is_similar(first, frame, parameters.motion)
    return np.asarray(still)[..., None]


def _stretched(backward: np.ndarray, parameters: WarmStartParameters) -> np.ndarray:
    """Return bool [H, W]: the flow stretches the ground by more than the parameter allows.

    Behind a moving object the flow is stretched over disoccluded ground; warping would smear the
    object's edge over it. The area is the Jacobian determinant of p + flow(p).
    """
    across, down = (cv2.Sobel(backward, -1, *order, ksize=1) / 2 for order in ((1, 0), (0, 1)))
    area = (1 + across[..., 0]) * (1 + down[..., 1]) - across[..., 1] * down[..., 0]
    return np.asarray(area < parameters.stretched)


def _dilated(places: np.ndarray, reach: int) -> np.ndarray:
    """Return bool [H, W], dilated by `reach` pixels."""
    square = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    return cv2.dilate(places.astype(np.uint8), square) > 0


def _restyled(
    before: np.ndarray, planes: np.ndarray, parameters: WarmStartParameters
) -> np.ndarray:
    """Return bool [H, W]: another style applies than before, there or beside a wide such area."""
    change = np.abs(planes - before) > parameters.restyled
    change |= (before == 0) & (planes > parameters.faint)
    places = change.any(axis=2)
    square = np.ones((parameters.restyled_width, parameters.restyled_width), np.uint8)
    wide = cv2.morphologyEx(places.astype(np.uint8), cv2.MORPH_OPEN, square)
    return np.asarray(places | _dilated(wide, parameters.restyled_edge))


def _weight_ratio(
    before: np.ndarray, planes: np.ndarray, parameters: WarmStartParameters
) -> np.ndarray:
    """Return float32 [H, W, 1], 0..1: the former plane weight as a share of the present one."""
    faint = parameters.faint
    ratio = np.where(planes - before < faint, 1, before / np.maximum(planes, faint))
    return np.asarray(ratio.min(axis=2, keepdims=True), np.float32)
