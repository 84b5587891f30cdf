"""CoherenceParameters: every tuned constant of temporal coherence, by subject.

They are passed down as arguments and are never global; a benchmark varies one by
`dataclasses.replace`, for example

    replace(parameters, deflicker=replace(parameters.deflicker, most=0.9))

A value "of 1" is in the units of an Image, 0..1. "pixels" are those of the output frame. Where no
alternative is named, none is on record; docs/decisions.md has the measurements.
"""

from dataclasses import dataclass, field

from vidstyle.motion.parameters import MotionParameters

__all__ = [
    "CoherenceParameters",
    "DeflickerParameters",
    "DisocclusionParameters",
    "DissolveParameters",
    "FadeParameters",
    "KeyframeParameters",
    "QuiltingParameters",
    "ShotParameters",
    "StoppingParameters",
    "TvWeights",
    "WarmStartParameters",
]


@dataclass(frozen=True, kw_only=True)
class ShotParameters:
    """Where shots begin, end and resume (`shots`). Cuts: MotionParameters.cut."""

    # Frames; a shot interrupted for at most this long (flash, short insert) is resumed.
    longest_interruption: int = 6
    # Fade gain; a darker first frame has amplified noise and is replaced when it gets lighter.
    clear_gain: float = 0.25


@dataclass(frozen=True, kw_only=True)
class KeyframeParameters:
    """Drift correction against a key frame (`keyframe`)."""

    # Frames from one key frame to the next.
    span: int = 10
    # Share of the drift corrected per frame. Tried: 1 (strokes shake); a direct flow to the key
    # frame (short warping error 10 to 50 times).
    corrected_share: float = 0.5
    # Pixels; drift above it is treated as a false match and ignored.
    largest_drift: float = 1.5
    # Pixels; side of the box filter of the residual by which two flows are compared.
    residual_side: int = 9
    # Plane weight; planes that differ by less are equal.
    equal_planes: float = 0.02
    # Pixels; sigma of the Gaussian filter of the drift.
    drift_sigma: float = 3.0


@dataclass(frozen=True, kw_only=True)
class WarmStartParameters:
    """The temporal prior from an earlier frame (`warm_start`)."""

    # Ratio of areas; ground that the flow stretches to more than 1 / this of its area is
    # disoccluded.
    stretched: float = 0.5
    # Pixels; disoccluded areas are dilated by this, for mixed pixels at the edge of an object.
    edge: int = 4
    # Confidence; within that margin, a pixel below it is not predicted.
    edge_confidence: float = 0.5
    # Share of the key frame's result in moving pixels, against accumulated error. Measured over
    # ten frames: sam2_bedroom 34.2 to 23.6, breakdance 41.8 to 33.0; short error at most +6 %.
    keyframe_share: float = 0.2
    # Confidence of the key frame from which on it replaces the change and the disocclusion.
    keyframe_confidence: float = 0.5
    # Pixels; side of the box filter that averages sensor noise where pixels may be static.
    static_side: int = 25
    # Of 1; a smaller mean change of the source since the shot's first frame counts as none.
    static_change: float = 1 / 255
    # Plane weight; a larger change means that another style applies.
    restyled: float = 0.5
    # Pixels; a restyled area at least restyled_width wide is dilated by restyled_edge: the former
    # edge of the plane would remain visible as a line.
    restyled_width: int = 3
    restyled_edge: int = 2
    # Plane weight; smaller weights and changes are invisible.
    faint: float = 0.02
    # Node spacings; a node with no block match moved to within this distance gets a new one.
    match_distance: float = 0.75
    # Confidence; block matches at pixels with at most this are replaced.
    match_confidence: float = 0.5


@dataclass(frozen=True, kw_only=True)
class DisocclusionParameters:
    """The initial image where no earlier frame shows a pixel (`disocclusion`)."""

    # Of the long side; sigma below which the detail of a result counts as strokes.
    stroke: float = 0.02
    # Of the long side; sigma; finer detail would accumulate from frame to frame.
    grain: float = 0.002
    # Variance of a colour (0..1 squared); ridge term of the colour map's fit. Drawn towards the
    # identity instead of grey, disoccluded areas showed the source's own reds and greens.
    ridge: float = 3e-4
    # Standard deviations of the strokes, at which they are clipped.
    stroke_limit: float = 2.0
    # Pixels; sigma of the recoloured luma and of a change of light: contours keep their contrast.
    light_sigma: float = 3.0
    # Pixels; sigma of the source's change in moving pixels; finer change is resampling loss.
    contour_sigma: float = 0.6
    # Share of the missing contours that is restored per frame. Tried: moving the stroke band by 0.1
    # or 0.15 towards the source's, lost or not: legible 1.02 and 1.03 of a frame alone, but with
    # --steps-next auto frames fade to the source.
    contour_share: float = 0.5
    # Of the long side; sigma of the local energy of contours.
    contour_reach: float = 0.01
    # Pixels; long side of the image in which contours are found. In a 1920x1080 frame itself it
    # takes 1.9 s of CPU time.
    contour_side: int = 512
    # Pixels; sigma and window of the soft edge between two areas.
    seam_sigma: float = 0.8
    seam_window: int = 5
    # Of 1; a pixel farther than this from the median in Cb or Cr is a speck.
    speck: float = 12 / 255
    # Pixels; side of that median.
    speck_side: int = 3
    # Most passes. Specks in 10,000 pixels of breakdance's output: with 1 pass 4.6, 3 passes 1.2,
    # 5 passes 0.5; with medians of 5x5 pixels 6.2, and in 3 passes 1.4.
    speck_passes: int = 5


@dataclass(frozen=True, kw_only=True)
class QuiltingParameters:
    """Strokes copied into disoccluded pixels (`quilting`)."""

    # Of the long side; a tile's side, a few strokes. Tried: 0.12 and 0.2 look the same.
    tile: float = 0.15
    # Cells per tile side by which tiles are compared; a tile's side is a multiple of it.
    cells: int = 6
    # Candidate positions per tile side.
    stride: int = 12
    # Weight of the overlapping strokes relative to the source. Tried: 2 looks the same.
    continued: float = 0.5
    # Share of a cell's pixels that must have strokes for it to be compared.
    least_share: float = 0.5
    # Weight of a plane (0..1); high, so that another style's tiles are not chosen.
    plane_weight: float = 4.0


@dataclass(frozen=True, kw_only=True)
class DissolveParameters:
    """When strokes are outdated by slow changes of the source (`dissolves`).

    Measured at 160 and 256 pixels on 9 clips of 36 to 120 frames: means of 0.05 to 0.27 of the
    tolerance, and 0 to 0.2 % of the pixels outdated; a dissolve over 8 or 24 frames exceeds
    `whole_frame` at least three times.
    """

    # Pixels; side of the square over which a change is averaged.
    shrink: int = 4
    # Of 1, and of the contrast; the tolerance is their sum: the effect of flow errors.
    tolerance: float = 0.06
    tolerance_contrast: float = 0.2
    # Of 1, instead of `tolerance` for uniform changes: slow light must not outdate strokes.
    light_tolerance: float = 0.1
    # Of 1; contrast of a change above which it is structure, not light.
    structure: float = 0.08
    # Squares; side of the box filter of the change.
    change_side: int = 3
    # Of the tolerance; lower threshold (hysteresis) within hysteresis_reach squares of an outdated
    # one.
    hysteresis: float = 0.4
    hysteresis_reach: int = 2
    # Of the tolerance, mean over the frame; above it the whole frame is outdated.
    whole_frame: float = 0.35
    # Decay of a change per frame, so that random errors do not accumulate.
    decay: float = 0.95


@dataclass(frozen=True, kw_only=True)
class FadeParameters:
    """Fades and flashes of the source (`fades`)."""

    # Of 1; a thumbnail with a smaller range of values is flat.
    flat: float = 0.02
    # Least ratio of the contrasts of two neighbouring frames of a fade.
    least_step: float = 1.005
    # Least cosine between two neighbouring frames of a fade; over a cut it is less.
    least_cosine: float = 0.95
    # Gain of the frame next to a flat one; above it there is a cut and no fade.
    cut_gain: float = 0.7
    # Gain; a frame above it is in full light.
    full_light: float = 0.98
    # Gain; a frame below it is faded out and not stylised.
    faded_out: float = 0.05
    # Frames; longest flash.
    longest_flash: int = 6
    # Gains; a flash falls below the first and ends above the second.
    flash_gain: float = 0.85
    flash_end: float = 0.95
    # Least cosine between a frame of a flash and the frame before the flash.
    flash_cosine: float = 0.85
    # Of 1; how far the colour of a flash may lie beyond 0..1.
    flash_color_margin: float = 0.05


@dataclass(frozen=True, kw_only=True)
class DeflickerParameters:
    """The recursive temporal filter of the output image (`deflicker`).

    Measured on the optimised images of car-shadow and bmx-trees (256 pixels, 24 frames): short
    warping error with Lanczos sampling 3.2 to 2.1 and 5.1 to 3.4 (1e-4), sharpness 1.00 of frames
    made alone, style distance 1.01 and 1.11. Tried: bilinear sampling, with a least detail added in
    moving areas (errors 2.0 and 3.4, but style 1.13 and 1.35, and a mesh); filtering in the
    optimisation loop (0.92 of the sharpness), a fixed share, a clamp on the error, shares per
    pixel, the previous output clamped to the range of 3x3 pixels (style 1.05 and 1.19).
    """

    # Of 1, squared: mean squared difference at which the share is half of `most`. Tried: 4.2e-4
    # (warping error 8 % larger), 2.1e-4 (8 % smaller, but sensor noise is filtered too).
    flicker: float = 3e-4
    # Largest share of the previous output.
    most: float = 0.95
    # Share of the filter's effect kept per frame where motion has stopped.
    resting: float = 0.8
    # Of the long side; side of the box filter of the squared difference.
    box: float = 0.3
    # Share of the lost stroke contrast that is restored.
    restored: float = 0.7
    # Pixels; sigmas of the band in which stroke contrast is measured.
    stroke_band: tuple[float, float] = (0.5, 1.5)
    # Pixels; sigmas of the band that is added; finer detail flickers. Tried: the source's detail
    # (it was visible in the output).
    detail_band: tuple[float, float] = (0.65, 1.4)


@dataclass(frozen=True, kw_only=True)
class TvWeights:
    """Weights of the total variation loss in a frame with a prior, relative to a first frame.

    Without any in a later frame, specks of colour grew from frame to frame. The weight is
    interpolated by the prior's confidence.
    """

    # Where the temporal loss already constrains the pixel: confidence 1.
    constrained: float = 0.1
    # Where it does not: confidence 0.
    unconstrained: float = 0.6
    # In disoccluded pixels: their strong style loss left colour specks.
    disoccluded: float = 3.0
    # At the edge of a confined area, also in a first frame; the source is on one side of it. Of 570
    # such pixels 25 turned white or black without it, 5 with it. Tried: 30 (a visible seam).
    edge: float = 8.0


@dataclass(frozen=True, kw_only=True)
class StoppingParameters:
    """When the optimisation of a frame with a prior ends (`stylizer.stopping`).

    Measured on five clips: 4.5 evaluations per frame of moving clips, 2.9 of a slow pan.
    """

    # Of the loss; a first step that lowers it by less shows a start near the minimum.
    first_step: float = 0.04
    # The same for two steps. Tried: 0.07 (7 evaluations, equal quality), 0.10, and 0.14 (worse in
    # disoccluded areas).
    two_steps: float = 0.12


@dataclass(frozen=True, kw_only=True)
class CoherenceParameters:
    """The tuned constants of temporal coherence."""

    motion: MotionParameters = field(default_factory=MotionParameters)
    shots: ShotParameters = field(default_factory=ShotParameters)
    keyframe: KeyframeParameters = field(default_factory=KeyframeParameters)
    warm_start: WarmStartParameters = field(default_factory=WarmStartParameters)
    disocclusion: DisocclusionParameters = field(default_factory=DisocclusionParameters)
    quilting: QuiltingParameters = field(default_factory=QuiltingParameters)
    dissolves: DissolveParameters = field(default_factory=DissolveParameters)
    fades: FadeParameters = field(default_factory=FadeParameters)
    deflicker: DeflickerParameters = field(default_factory=DeflickerParameters)
    tv: TvWeights = field(default_factory=TvWeights)
    stopping: StoppingParameters = field(default_factory=StoppingParameters)
