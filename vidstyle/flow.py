"""Optical flow between source frames, warping, trust and cuts: how a result serves the next frame.

A flow is float32 [H, W, 2], (dx, dy) in pixels: pixel p of the one frame is found at p + flow(p) in
the other. A trust is float32 [H, W, 1], 0..1: 1 where the flow holds, 0 where nothing is known.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from vidstyle.media import Image

__all__ = [
    "Motion",
    "Prior",
    "carried",
    "consistent",
    "is_cut",
    "motion",
    "optical_flow",
    "prior",
    "prior_along",
    "settled",
    "trust",
    "warp",
]

_LEAST = 32  # pixels: below 16, DIS of OpenCV 5.0 gives NaN or ends the process
_FINE = 1_000_000  # pixels: up to here flow is refined at full resolution
_FLAT = 0.04  # of 1: a contrast below which motion cannot be seen
_SLIGHT = 0.5  # pixels: what flow leaks from a moving ground into a logo that stands still
_NOISE = 0.01  # of 1: what differs less is unchanged
_GAIN = 0.3  # of what is left of a difference: a flow that takes away less explains nothing
_SAME = 1e-6  # of 1, squared: what differs less is rounding
_TEXTURE = 0.1  # of 1: a contrast that shows motion
_CUT = 0.2  # of 1: the mean trust, weighted by contrast, below which nothing carries over
_NEAR = 0.75  # of a node's spacing: what stands farther from every node is matched anew
_STROKE = 0.02  # of the long side: what is smaller in a result is its strokes
_GRAIN = 0.002  # of the long side: what is smaller still would pile up from frame to frame
_DRAWN_OUT = 0.5  # of its area: what came from less is new
_CALM = 25  # pixels: the side of the square over which noise is averaged
_SLIGHTEST = 1 / 255  # of 1: what changes less, on average, has not changed
_SQUARE = np.ones((5, 5), np.uint8)


@dataclass(frozen=True)
class Prior:
    """What an earlier frame says of this one.

    image: the earlier result carried into this frame: warped where motion explains the frame,
    elsewhere the frame in the colours of the result. It is where a warm start begins.
    trust: [H, W, 1], where the warped result is to be kept.
    flow: float32 [H, W, 2], where the pixels of this frame are found in the earlier one, or None:
    nothing moved. matches: what the earlier frame's blocks were matched to, if they were. settled:
    bool [H, W, 1], what is left as it is, or None: nothing.
    """

    image: Image
    trust: np.ndarray
    flow: np.ndarray | None = None
    matches: np.ndarray | None = None
    settled: np.ndarray | None = None


def optical_flow(a: Image, b: Image) -> np.ndarray:
    """Where the pixels of `a` are found in `b`: float32 [H, W, 2], in pixels.

    DIS (Kroeger et al., "Fast Optical Flow using Dense Inverse Search", 2016) as in OpenCV, with
    twice the variational refinement. Differs: where nothing moves, the flow is exactly 0, so
    that a still picture does not drift. The bits do not depend on the number of threads.
    """
    height, width = a.shape[:2]
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    dis.setFinestScale(0 if width * height <= _FINE else 1)
    dis.setVariationalRefinementIterations(10)
    flow = dis.calc(_grey(a), _grey(b), None)[:height, :width]
    return np.where(_still(a, b, flow)[..., None], np.float32(0), flow)


def _grey(image: Image) -> np.ndarray:
    """Return the uint8 [H, W] luma, continued at the right and below where it is tiny."""
    grey = np.rint(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) * 255).astype(np.uint8)
    down, right = (max(0, _LEAST - side) for side in grey.shape)
    return np.pad(grey, ((0, down), (0, right)), mode="edge")


def _still(a: Image, b: Image, flow: np.ndarray) -> np.ndarray:
    """Return bool [H, W]: here nothing moves, whatever the flow says.

    A whole row or column is unchanged (black bars: flow carries the motion into them). Or all
    around is the same to the bit and the flow is slight (a logo). Or the camera stands still, and
    neither here nor nearby does the flow explain `a` better than no motion does.
    """
    changed = _difference(a, b, 1) > _NOISE
    still = ~(changed.any(axis=0) & changed.any(axis=1, keepdims=True))
    same = cv2.erode(np.all(a == b, axis=2).astype(np.uint8), _SQUARE) > 0
    still |= same & (_square(flow) < _SLIGHT**2)
    moving = _explains(flow, a, b)
    textured = _contrast(a) > _TEXTURE
    if moving[textured].sum() <= textured.sum() / 2:
        side = max(a.shape[:2]) // 8 + 1
        still |= cv2.blur(moving.astype(np.float32), (side, side)) < 0.01
    return np.asarray(still)


def _explains(flow: np.ndarray, a: Image, b: Image) -> np.ndarray:
    """Return bool [H, W]: the flow takes away a part of what differs around here.

    Of two frames that differ by noise alone it takes a tenth at most (to 8/255 of noise, on real
    frames); of a motion of half a pixel, most. How much differs does not count: a slow pan moves
    a soft picture by less than the noise from frame to frame, and by its strokes in a second.
    """
    first, other = (cv2.GaussianBlur(image, (0, 0), 1) for image in (a, b))
    side = max(17, max(a.shape[:2]) // 16)
    without, within = (
        cv2.blur(np.square(first - seen).sum(axis=2), (side, side))
        for seen in (other, warp(other, flow))
    )
    return np.asarray(without - within > _GAIN * within + _SAME)


def _difference(a: Image, b: Image, side: int) -> np.ndarray:
    """Return float32 [H, W]: how far the frames differ, over a square of this side."""
    return np.asarray(cv2.blur(np.abs(a - b).max(axis=2), (side, side)))


def _contrast(image: Image) -> np.ndarray:
    """Return float32 [H, W]: brightest minus darkest of the 5 x 5 around."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.dilate(grey, _SQUARE) - cv2.erode(grey, _SQUARE))


def warp(image: Image, flow: np.ndarray) -> Image:
    """Sample `image` at p + flow(p), mirrored beyond its border; within 0..1.

    Lanczos: after twenty sub-pixel moves it keeps 0.8 to 0.9 of the fine detail and no halo, where
    bilinear keeps 0.1. Exact where the flow is a whole number. A border that is continued instead
    is seen as streaks in the strokes of what a pan brings in.
    """
    sampled = cv2.remap(
        image, *_positions(flow), cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REFLECT_101
    )
    return np.clip(sampled, 0, 1)


def _positions(flow: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y of p + flow(p), each float32 [H, W]."""
    rows, columns = np.indices(flow.shape[:2], np.float32)
    return columns + flow[..., 0], rows + flow[..., 1]


def trust(backward: np.ndarray, forward: np.ndarray, earlier: Image, frame: Image) -> np.ndarray:
    """How far `earlier`, warped by `backward`, stands for `frame`: float32 [H, W, 1], 0..1.

    backward: flow from frame to earlier; forward: from earlier to frame; both frames are sources.
    Exactly 0 where a check fails, rising to 1 within two pixels outside. The flow is to be
    consistent, as in Ruder et al., "Artistic Style Transfer for Videos" (2016), and what it names
    to look alike, which is ours.
    """
    holds = consistent(backward, forward) & _alike(warp(earlier, backward), frame)
    mask = holds.astype(np.uint8) * 255
    grown = cv2.GaussianBlur(cv2.erode(mask, np.ones((3, 3), np.uint8)), (5, 5), 0.8)
    return np.where(holds, grown, 0)[..., None].astype(np.float32) / 255


def consistent(backward: np.ndarray, forward: np.ndarray) -> np.ndarray:
    """Return bool [H, W]: the flow returns to where it began, at no boundary, within the frame.

    Ruder, Dosovitskiy & Brox (2016), section 4.3; leaving the frame is ours.
    """
    return np.asarray(_agree(backward, forward) & _smooth(backward) & _inside(backward))


def _agree(backward: np.ndarray, forward: np.ndarray) -> np.ndarray:
    """Return bool [H, W]: going there and back again returns to the same place."""
    there = cv2.remap(
        forward, *_positions(backward), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return _square(there + backward) < 0.01 * (_square(there) + _square(backward)) + 0.5


def _smooth(flow: np.ndarray) -> np.ndarray:
    """Return bool [H, W]: not at a motion boundary."""
    slope, one = np.array([-0.5, 0, 0.5], np.float32), np.ones(1, np.float32)
    across = cv2.sepFilter2D(flow, -1, slope, one, borderType=cv2.BORDER_REPLICATE)
    down = cv2.sepFilter2D(flow, -1, one, slope, borderType=cv2.BORDER_REPLICATE)
    return _square(across) + _square(down) <= 0.01 * _square(flow) + 0.002


def _inside(flow: np.ndarray) -> np.ndarray:
    """Return bool [H, W]: the place it comes from lies within the frame."""
    height, width = flow.shape[:2]
    x, y = _positions(flow)
    return (x > -1) & (x < width) & (y > -1) & (y < height)


def _alike(warped: Image, frame: Image) -> np.ndarray:
    """Return bool [H, W]: they differ by no more than a small misplacement explains."""
    contrast = np.minimum(_contrast(warped), _contrast(frame))
    return np.asarray(_difference(warped, frame, 3) < 0.05 + 0.3 * contrast)


def _square(flow: np.ndarray) -> np.ndarray:
    return np.asarray((flow * flow).sum(axis=2))


@dataclass(frozen=True)
class Motion:
    """From one source frame to the next within a shot: flows [H, W, 2], and trust [H, W, 1].

    backward: where this frame's pixels are found in the earlier one; forward: the other way.
    """

    backward: np.ndarray
    forward: np.ndarray
    trust: np.ndarray


def motion(earlier: Image, source: Image) -> Motion | None:
    """What moved from the earlier source frame to this one, or None: between them lies a cut."""
    backward = optical_flow(source, earlier)
    forward = optical_flow(earlier, source)
    backward, forward = (
        _settled(backward, forward, source, earlier),
        _settled(forward, backward, earlier, source),
    )
    believed = trust(backward, forward, earlier, source)
    return None if is_cut(believed, earlier, source) else Motion(backward, forward, believed)


def prior(
    earlier_source: Image,
    source: Image,
    earlier_result: Image,
    begun: tuple[Image, Image] | None = None,
) -> Prior | None:
    """What the result of an earlier frame says of this one, or None: between them lies a cut.

    All are of one size. begun: what the earlier frame and this one begin with, if not themselves.
    """
    moved = motion(earlier_source, source)
    if moved is None:
        return None
    return prior_along(moved, earlier_source, source, earlier_result, begun)


def prior_along(
    moved: Motion,
    earlier_source: Image,
    source: Image,
    earlier_result: Image,
    begun: tuple[Image, Image] | None = None,
) -> Prior:
    """What the result of an earlier frame says of this one, as `prior`, along a known motion."""
    backward, believed = moved.backward, moved.trust
    same = _alike(warp(earlier_source, backward), source) & _inside(backward)
    seen = consistent(backward, moved.forward)
    bare = (~same & ~seen) | _opening(backward)
    known = same & ~(_widened(bare) & (believed[..., 0] < 0.5))
    before, now = begun or (earlier_source, source)
    filled = _filled(warp(earlier_result, backward), warp(before, backward), now, known, seen)
    return Prior(filled, believed, backward)


def settled(found: Prior, first: Image, frame: Image) -> np.ndarray:
    """Return bool [H, W, 1]: what stands still and is as it was in the first frame of its shot.

    There the result is as good as it ever was, and any change of it would be flicker. As it was,
    but for noise, of which the mean over a square leaves little. The first frame, not the one
    before, so that nothing can change unnoticed by being slow.
    """
    still = found.trust[..., 0] == 1
    if found.flow is not None:
        still &= (found.flow == 0).all(axis=2)
    change = np.abs(cv2.blur(frame - first, (_CALM, _CALM))).max(axis=2)
    return np.asarray(still & (change < _SLIGHTEST) & _alike(first, frame))[..., None]


def is_cut(believed: np.ndarray, earlier: Image, frame: Image) -> bool:
    """Say whether what can be seen, the contrast, is mostly not believed (trust [H, W, 1]).

    Measured on 17 real sources at 512 pixels: 0.36 to 1 within a shot, up to 0.13 over a cut, with
    black bars or in the dark too; a histogram's distance overlaps where this does not.
    """
    contrast = np.maximum(_contrast(earlier), _contrast(frame)) + 1e-3
    return bool(np.average(believed[..., 0], weights=contrast) < _CUT)


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


def _settled(flow: np.ndarray, other: np.ndarray, a: Image, b: Image) -> np.ndarray:
    """Give flat ground, where the two flows disagree, the motion that most of the picture has.

    Nothing can be followed in a clear sky; what DIS finds there is its own noise, and would stir
    the strokes.
    """
    flat = cv2.blur(_contrast(a), (9, 9)) < _FLAT
    common = np.median(flow[~flat], axis=0) if (~flat).any() else np.zeros(2)
    steady = np.broadcast_to(common.astype(np.float32), flow.shape)
    loose = cv2.dilate((~_agree(flow, other)).astype(np.uint8), _SQUARE) > 0
    return np.where((loose & flat & _alike(warp(b, steady), a))[..., None], steady, flow)


def _filled(
    carried: Image, moved: Image, frame: Image, known: np.ndarray, seen: np.ndarray
) -> Image:
    """Replace what is not known (bool [H, W]) by the frame, coloured and stroked as the result.

    moved: the earlier source, warped as the earlier result was to `carried`. The style's change of
    colour, result minus source, is fitted to the known pixels as an affine map of the source's
    colour; so what motion uncovers neither flashes up in the source's colours nor takes on those
    of what covered it. Strokes are what is left of the result in detail once its source in these
    colours is taken away: bare ground would have to grow them anew, in fewer steps than it takes.
    """
    share = known.astype(np.float32)
    colours = np.dstack([frame, np.ones_like(share)])
    weighed = (colours * share[..., None]).reshape(-1, 4).astype(np.float64)
    change = (carried - frame).reshape(-1, 3).astype(np.float64)
    few = 1e-3 * share.size * np.eye(4)  # what so few pixels show is not believed
    fitted = np.linalg.solve(weighed.T @ weighed + few, weighed.T @ change).astype(np.float32)
    around = frame + cv2.GaussianBlur(colours @ fitted, (0, 0), 3)
    strokes = _detail(carried - moved - moved @ fitted[:3])
    usual = strokes[known].std() if known.any() else 0.0
    around += np.clip(strokes, -2 * usual, 2 * usual)
    change = frame - moved
    relit = carried + cv2.GaussianBlur(change + change @ fitted[:3], (0, 0), 3)
    image = _over(relit, around, seen)
    return np.clip(_over(carried, image, known), 0, 1)


def _over(image: Image, below: Image, places: np.ndarray) -> Image:
    """Return `image` at the places (bool [H, W]), softly at their rim, and `below` elsewhere."""
    share = places.astype(np.float32)
    soft = (cv2.GaussianBlur(share, (5, 5), 0.8) * share)[..., None]
    return np.asarray(image * soft + below * (1 - soft))


def _detail(image: Image) -> Image:
    """Return what is of a stroke's size: less than its length, more than its grain."""
    coarse, fine = (max(image.shape[:2]) * size for size in (_STROKE, _GRAIN))
    return np.asarray(
        cv2.GaussianBlur(image, (0, 0), fine) - cv2.GaussianBlur(image, (0, 0), coarse)
    )


def carried(prior: Prior) -> np.ndarray | None:
    """Return the earlier frame's matches moved into this frame; NaN where nothing is trusted.

    Matches are [rows, columns, 5] on nodes spread evenly from border to border; the last two
    numbers are how far, in pixels down and right, what was matched stands from its node by now.
    Each node takes the match of what stands nearest to it, so motion below half a block adds up.
    """
    if prior.matches is None:
        return None
    height, width = prior.trust.shape[:2]
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
    return np.where(prior.trust[at] > 0.5, best, np.nan).astype(np.float32)
