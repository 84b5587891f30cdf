"""MotionParameters: the tuned constants of optical flow, its consistency and its confidence.

They are here and not in coherence/parameters.py, which holds them as its field `motion`, because
mask propagation (guides) and evaluation use the same flow, and both lie below coherence.
Technical limits that nobody tunes (the padding that DIS needs, rounding) stay in motion/flow.py.
"""

from dataclasses import dataclass

__all__ = ["MotionParameters"]


@dataclass(frozen=True, kw_only=True)
class MotionParameters:
    """Tuned constants of the motion between two source frames. A value "of 1" is one of 0..1."""

    # --- DIS optical flow (Kroeger et al. 2016), in OpenCV's medium preset ---
    # Iterations of variational refinement; the preset has 5. More were not tried.
    refinement_iterations: int = 10
    # Pixels of a frame; larger ones are refined at half resolution only, to save time.
    full_resolution: int = 1_000_000

    # --- which pixels are static ---
    # Of 1; a difference up to this is noise: a row or column without a larger one is a black bar.
    unchanged: float = 0.01
    # Pixels; DIS leaks up to this much motion from moving ground into a static logo.
    leaked_flow: float = 0.5
    # Of the remaining difference; a flow that removes less does not explain it. On real frames that
    # differ by noise alone (up to 8/255), warping removes at most 0.1; at half a pixel of motion,
    # most. An absolute threshold was tried: slow pans of soft pictures counted as static.
    least_gain: float = 0.3
    # Pixels; sigma of the blur of both frames before they are compared, against noise.
    gain_blur: float = 1.0
    # Of the long side, at least gain_side_least pixels; side of the box in which they are compared.
    gain_side: float = 1 / 16
    gain_side_least: int = 17
    # Of 1; contrast from which on motion is visible.
    textured: float = 0.1
    # Share of the textured pixels that must move for the camera to count as moving.
    moving_camera: float = 0.5
    # Of the long side; side of the box around a pixel with no explained motion, if the camera is
    # static; and the share of moving pixels in it below which it has none.
    static_side: float = 1 / 8
    static_share: float = 0.01

    # --- forward-backward consistency: Ruder et al. (2016), equations 5 and 6 ---
    # |w + w'|² < consistency_slope (|w|² + |w'|²) + consistency_offset, in pixels².
    consistency_slope: float = 0.01
    consistency_offset: float = 0.5
    # |∇u|² + |∇v|² > boundary_slope |w|² + boundary_offset: a motion boundary.
    boundary_slope: float = 0.01
    boundary_offset: float = 0.002

    # --- appearance, in which we differ from Ruder et al. ---
    # Of 1, plus a share of the local contrast: the difference that a small misplacement explains.
    appearance_offset: float = 0.05
    appearance_contrast: float = 0.3
    # Pixels; side of the box filter of the difference.
    appearance_side: int = 3

    # --- flat areas, where the flow is noise ---
    # Of 1; mean contrast in a box of flat_side pixels below which motion is not visible.
    flat: float = 0.04
    flat_side: int = 9

    # --- cuts ---
    # Of 1; contrast-weighted mean confidence below which two frames are of different shots.
    # Measured on 17 real sources at 512 pixels, also with black bars and in the dark: 0.36 to 1
    # within a shot, at most 0.13 across a cut. Histogram distances of the same pairs overlap.
    cut: float = 0.2
    # Of 1; added to the contrast as a weight, so that flat frames have a mean.
    cut_weight: float = 1e-3
