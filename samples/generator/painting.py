"""A painting in brush strokes: a great wave and a red sail under a whirling evening sky.

Thousands of bristle strokes follow the flow of the composition, broad ones first.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from samples.generator.drawing import (
    Array,
    generator,
    grid,
    jitter,
    mix,
    ramp,
    rgb,
    shrink,
    smoothstep,
)
from samples.generator.drawing import spectral_noise as noise
from samples.generator.rendering import LABELS

HORIZON = 0.615
SUN = (0.90, 0.25)
WHIRLS = ((0.60, 0.20, 0.15), (1.18, 0.14, 0.13), (1.16, 0.42, 0.10), (0.17, 0.10, 0.12))
CREST = (
    (-0.10, 0.52), (0.00, 0.42), (0.12, 0.30), (0.27, 0.235), (0.41, 0.265), (0.49, 0.36),
    (0.475, 0.455), (0.425, 0.40), (0.345, 0.395), (0.285, 0.46), (0.285, 0.56), (0.36, 0.66),
    (0.50, 0.725), (0.68, 0.735), (0.86, 0.71), (1.03, 0.735), (1.20, 0.80), (1.40, 0.79),
)  # fmt: skip
HEADLAND = ((1.45, 0.50), (1.30, 0.49), (1.20, 0.53), (1.12, 0.56), (1.02, 0.60), (0.93, 0.618))
MOUNTAIN = ((0.46, 0.62), (0.56, 0.55), (0.65, 0.50), (0.70, 0.515), (0.80, 0.58), (0.90, 0.62))
LAYERS = ((40, 130, 20), (22, 90, 12), (12, 56, 8), (7, 34, 6))  # width, length, spacing


@dataclass(frozen=True)
class Composition:
    """A composition: colours, label and unit stroke direction of each pixel."""

    colours: Array
    labels: Array
    flow: Array


def curve(points: tuple[tuple[float, float], ...], steps: int = 16) -> Array:
    """Smooth line through points (Catmull-Rom): float [N, 2]."""
    p = np.float64([points[0], *points, points[-1]])
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    pieces = [
        0.5
        * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * (b - c) + d - a) * t**3)
        for a, b, c, d in zip(p, p[1:], p[2:], p[3:], strict=False)
    ]
    return np.concatenate([*pieces, p[-1:]])


def filled(shape: tuple[int, int], outline: Array) -> Array:
    """Bool mask of the inside of an outline given in picture heights."""
    mask = np.zeros(shape, np.uint8)
    cv2.fillPoly(mask, [np.round(outline * shape[0] * 16).astype(np.int32)], 1, cv2.LINE_8, 4)
    return mask > 0


def depth(mask: Array) -> Array:
    """Distance of every pixel of a mask to its edge, in picture heights."""
    inner = np.pad(mask, 1, mode="edge").astype(np.uint8)
    return cv2.distanceTransform(inner, cv2.DIST_L2, 5)[1:-1, 1:-1] / mask.shape[0]


def sails(shape: tuple[int, int]) -> tuple[Array, Array]:
    """Masks of the boat's sails and of its hull."""
    main = np.array([(0.795, 0.66), (0.795, 0.40), (0.76, 0.50), (0.70, 0.655)])
    fore = np.array([(0.81, 0.66), (0.81, 0.42), (0.85, 0.54), (0.885, 0.655)])
    hull = np.array([(0.675, 0.668), (0.91, 0.668), (0.87, 0.72), (0.72, 0.72)])
    return filled(shape, main) | filled(shape, fore), filled(shape, hull)


def sky(x: Array, y: Array, streaks: Array) -> Array:
    """Sky: blue spirals, warmer towards the sun, which has rings of ochre and cream."""
    blues = ramp(
        (0.30 + 0.5 * y + 0.22 * streaks).clip(0, 1),
        rgb("0d1b4c", "16357f", "2460a8", "4a93bd", "9cc7bd", "efdfae"),
    )
    for cx, cy, radius in WHIRLS:
        far = np.hypot(x - cx, y - cy) / radius
        arms = 0.5 + 0.5 * np.cos(9 * far - 2 * np.arctan2(y - cy, x - cx))
        pale = arms * np.exp(-(far**2)) * 0.85
        blues = mix(blues, rgb("e8e2c0"), pale)
    far = np.hypot(x - SUN[0], y - SUN[1])
    rings = ramp(
        (far / 0.27 + 0.05 * streaks).clip(0, 1),
        rgb("fff3c4", "fbd65a", "f2a92c", "e8c46a", "d9802c", "efd79a", "7fb0b0"),
    )
    return mix(blues, rings, smoothstep(0.30, 0.19, far + 0.015 * streaks))


def water(x: Array, y: Array, streaks: Array) -> Array:
    """Colours of the far sea: bands of teal and blue with the reflection of the sun."""
    bands = np.sin(46 * (y - 0.012 * np.sin(14 * x) - 0.02 * np.sin(6 * x + 7 * y)))
    tone = (0.42 + 0.22 * bands + 0.2 * streaks).clip(0, 1)
    colours = ramp(tone, rgb("0a2a50", "125a78", "2b8f94", "7cc0ae", "e6e3c0"))
    path = np.exp(-(((x - SUN[0]) / 0.1) ** 2)) * smoothstep(-0.3, 0.6, bands + streaks)
    return mix(colours, rgb("f6c95c"), 0.8 * path)


def wave(mask: Array, streaks: Array) -> Array:
    """Colours of the great wave: dark inside, teal stripes, and foam along its crest."""
    deep = depth(mask)
    ribs = np.sin(deep * 115 + 2.2 * streaks)
    tone = (0.62 - 1.5 * deep + 0.24 * ribs + 0.12 * streaks).clip(0, 1)
    body = ramp(tone, rgb("06142f", "0c2f5c", "14597f", "2a8f98", "93cdbd"))
    rough = noise(mask.shape, 1.5, "foam")
    foam = smoothstep(0.034, 0.012, deep + 0.012 * rough)
    spots = smoothstep(0.9, 1.3, rough + 0.3 * streaks) * smoothstep(0.16, 0.05, deep)
    cream = ramp((0.6 + 0.3 * rough).clip(0, 1), rgb("a9cfc8", "f4ecd2", "fffaf0"))
    return body + (cream - body) * np.maximum(foam, spots)[..., None]


def flow_noise(flow: Array, name: str) -> Array:
    """Noise smeared along the flow (line integral convolution), mean 0, deviation 1."""
    height, width = flow.shape[:2]
    columns, rows = np.meshgrid(
        np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
    )
    streaks = noise((height, width), 1.1, name)
    for reach in (4, 8, 16, 32):
        ends = [
            cv2.remap(streaks, columns + way * flow[..., 0], rows + way * flow[..., 1],
                      cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
            for way in (-reach, reach)
        ]  # fmt: skip
        streaks = (streaks + ends[0] + ends[1]) / 3
    return (streaks - streaks.mean()) / streaks.std()


def directions(x: Array, y: Array, edges: Array) -> Array:
    """Unit flow: around the whirls and the sun, along the swell, and along the edges of shapes."""
    u, v = np.ones_like(x), 0.35 * np.sin(4.5 * x + 3 * y)
    for cx, cy, radius in (*WHIRLS, (*SUN, 0.2), (0.40, 0.46, 0.12)):
        near = 3.5 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / radius**2)
        angle = np.arctan2(y - cy, x - cx)
        u, v = u - near * np.sin(angle), v + near * np.cos(angle)
    swell = smoothstep(HORIZON - 0.02, HORIZON + 0.06, y)
    v = v * (1 - swell) + swell * 0.4 * np.sin(11 * x + 5 * y)
    flow = np.stack([u, v], axis=-1)
    soft = cv2.GaussianBlur(edges, (0, 0), x.shape[0] / 32)
    tangent = np.stack([-cv2.Sobel(soft, -1, 0, 1), cv2.Sobel(soft, -1, 1, 0)], axis=-1)
    tangent *= np.where((tangent * flow).sum(axis=-1, keepdims=True) < 0, -1, 1)
    flow = flow + tangent * 700 / x.shape[0] ** 0.5
    return (flow / (np.linalg.norm(flow, axis=-1, keepdims=True) + 1e-6)).astype(np.float32)


def composition(width: int, height: int) -> Composition:
    """Return the composition of wave, sail, headland and sky."""
    x, y = grid(width, height)
    shape = (height, width)
    crest = filled(shape, np.concatenate([curve(CREST), [(1.5, 1.2), (-0.2, 1.2)]]))
    far = y > HORIZON
    land = filled(shape, np.concatenate([curve(HEADLAND), [(1.45, 0.63)]])) & ~crest
    peak = filled(shape, curve(MOUNTAIN)) & ~crest & ~far
    cloth, hull = (part & ~crest for part in sails(shape))
    flow = directions(x, y, (crest + 0.6 * cloth + 0.5 * land + 0.5 * peak).astype(np.float32))
    flow[cloth] = np.float32([-0.35, 0.94])
    flow[hull] = np.float32([1, 0])
    streaks = flow_noise(flow, "streaks")
    picture = np.where(far[..., None], water(x, y, streaks), sky(x, y, streaks))
    slope = (0.5 + 0.3 * streaks + 1.6 * (x - 0.68)).clip(0, 1)
    picture[peak] = ramp(slope, rgb("35406f", "5d6a96", "c98f6a"))[peak]
    tone = (0.45 + 0.35 * streaks).clip(0, 1)
    picture[land] = ramp(tone, rgb("3a2a1e", "7a4a22", "c07c2a", "6c7a34"))[land]
    picture[crest] = wave(crest, streaks)[crest]
    picture[cloth] = ramp(tone, rgb("8f1d16", "d23a22", "f0703a"))[cloth]
    picture[hull] = ramp(tone, rgb("1a0f10", "5c2c1c"))[hull]
    kinds = (far | crest, land | peak, cloth | hull)
    labels = np.zeros(shape, np.int32)
    for name, mask in zip(("sea", "land", "subject"), kinds, strict=True):
        labels[mask] = LABELS.index(name)
    return Composition(picture.astype(np.float32), labels, flow)


def paint(plan: Composition, name: str) -> Array:
    """Paint a composition, at half its size."""
    height, width = plan.labels.shape
    rng = generator(name)
    canvas = np.full((height, width, 4), (70, 44, 30, 0), np.uint8)  # red, green, blue, thickness
    canvas[..., :3] = rng.normal((52, 60, 84), 6, (height, width, 3)).clip(0, 255)
    for size, length, spacing in LAYERS:
        soft = cv2.GaussianBlur(plan.colours, (0, 0), size / 5)
        missing = np.abs(canvas[..., :3] / np.float32(255) - soft).sum(axis=2)
        at = jittered_grid(height, width, spacing, rng)
        if size < 24:
            wanted = missing[at[:, 1].astype(int), at[:, 0].astype(int)] + rng.uniform(
                0, 0.12, len(at)
            )
            at = at[wanted > 0.22]
        strokes(canvas, soft, paths(plan.flow, at, length), size, rng)
    return light_relief(canvas)


def jittered_grid(height: int, width: int, spacing: int, rng: np.random.Generator) -> Array:
    """One random point in every square of side spacing, shuffled: float [N, 2] of x, y."""
    rows, columns = np.mgrid[0:height:spacing, 0:width:spacing].reshape(2, -1)
    at = np.stack([columns, rows], axis=1) + rng.uniform(0, spacing, (rows.size, 2))
    rng.shuffle(at)
    return np.minimum(at, (width - 1, height - 1))


def paths(flow: Array, at: Array, length: int, step: int = 5) -> Array:
    """Follow the flow in both directions from each point: float [N, points, 2]."""
    height, width = flow.shape[:2]
    halves = []
    for way in (-step, step):
        line = [at]
        for _ in range(max(2, length // (2 * step))):
            column = line[-1][:, 0].clip(0, width - 1).astype(int)
            row = line[-1][:, 1].clip(0, height - 1).astype(int)
            line.append(line[-1] + way * flow[row, column])
        halves.append(line)
    return np.stack(halves[0][:0:-1] + halves[1], axis=1)


def strokes(canvas: Array, soft: Array, lines: Array, size: int, rng: np.random.Generator) -> None:
    """Draw a stroke along each line, in the jittered colour of its middle."""
    middle = lines[:, lines.shape[1] // 2].astype(int)
    colours = jitter(soft[middle[:, 1], middle[:, 0]], (9, 0.09, 0.06), rng)
    odd = rng.random(len(colours)) < 0.06  # few strokes have a neighbouring hue
    colours[odd] = jitter(colours[odd], (28, 0.1, 0.1), rng)
    for line, colour in zip(lines, colours, strict=True):
        stroke(canvas, line, colour, size * rng.uniform(0.75, 1.2), rng)


def stroke(
    canvas: Array, line: Array, colour: Array, size: float, rng: np.random.Generator
) -> None:
    """Draw one stroke as bristles side by side, thick in the middle and ragged at the ends."""
    along = np.gradient(line, axis=0)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    across /= np.linalg.norm(across, axis=1, keepdims=True) + 1e-6
    taper = np.sin(np.linspace(0.12, 0.95, len(line)) * np.pi)[:, None] ** 0.35
    count = max(3, int(size / 2.6))
    tones = rng.normal(1, 0.085, count) + np.linspace(0.06, -0.06, count)
    ragged = rng.integers(0, 1 + len(line) // 5, (count, 2))
    for i in rng.permutation(count):
        offset = (i / (count - 1) - 0.5) * size
        bristle = (line + across * taper * offset)[ragged[i, 0] : len(line) - ragged[i, 1]]
        thick = 90 + 120 * tones[i] * (1 - abs(offset) / size) - 40 * (i in (0, count - 1))
        paint = [*(colour * tones[i] * 255).clip(0, 255).tolist(), float(np.clip(thick, 0, 255))]
        points = np.round(bristle * 16).astype(np.int32)[:, None]
        cv2.polylines(
            canvas, [points], False, paint, max(2, round(size / count) + 1), cv2.LINE_AA, 4
        )


def light_relief(canvas: Array) -> Array:
    """Shade the thickness of the paint, lit from the upper left, at half the canvas's size."""
    colours = shrink(canvas[..., :3].astype(np.float32) / 255, 2)
    relief = shrink(cv2.GaussianBlur(canvas[..., 3].astype(np.float32) / 255, (0, 0), 1.0), 2)
    slope = cv2.Sobel(relief, -1, 1, 0) + cv2.Sobel(relief, -1, 0, 1)
    return np.clip(colours * (1 + 0.16 * slope.clip(-1.5, 1.5)[..., None]), 0, 1)


def wave_painting(width: int, height: int) -> tuple[Array, Array]:
    """The painting, and the label of each of its pixels."""
    plan = composition(2 * width, 2 * height)
    return paint(plan, "strokes"), plan.labels[::2, ::2]
