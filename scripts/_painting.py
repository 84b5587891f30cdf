"""Paintings made of brush strokes: a swirling night over the sea, a woodcut, a mosaic."""

from __future__ import annotations

import cv2
import numpy as np
from _drawing import Array, generator, grid, jitter, mix, ramp, rgb, smoothstep, spectral_noise

NIGHT = rgb("0a1a4a", "123a80", "2a6ab0", "6fb0c8", "dfe6c0")
WATER = rgb("071c3c", "0d4258", "1c7a84", "74b8a8", "f0ead0")
WHIRLS = ((0.34, 0.24, 0.19), (0.78, 0.33, 0.15), (1.12, 0.16, 0.13))  # x, y, radius in heights
LIGHTS = ((1.13, 0.15, 0.085), (0.10, 0.12, 0.032), (0.56, 0.10, 0.03), (0.95, 0.34, 0.026),
          (0.18, 0.40, 0.026), (0.60, 0.40, 0.022))  # fmt: skip
HORIZON = 0.62


def swirl(x: Array, y: Array) -> tuple[Array, Array]:
    """Direction (unit x, y) in which strokes run: around the whirls, along the waves below."""
    u, v = np.ones_like(x), 0.25 * np.sin(5 * x) + 0.3 * spectral_noise(x.shape, 2.2, "swirl")
    for cx, cy, radius in WHIRLS:
        near = 3.2 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / radius**2)
        angle = np.arctan2(y - cy, x - cx)
        u, v = u - near * np.sin(angle), v + near * np.cos(angle)
    below = smoothstep(HORIZON - 0.02, HORIZON + 0.04, y)
    v = v * (1 - below) + below * 0.9 * np.cos(9 * x + 6 * y + np.sin(4 * x))
    length = np.hypot(u, v) + 1e-6
    return u / length, v / length


def night_over_sea(width: int, height: int) -> Array:
    """The composition that the strokes of `swirls` follow: whirling sky, moon, cypress, sea."""
    x, y = grid(width, height)
    bands = 0.35 + 0.16 * spectral_noise(x.shape, 2.0, "bands")
    for cx, cy, radius in WHIRLS:
        far = np.hypot(x - cx, y - cy) / radius
        bands = bands + 0.3 * np.exp(-((far - 0.9) ** 2) * 2) * (1 + np.cos(far * 11)) / 2
    sky = ramp(bands.clip(0, 1), NIGHT)
    for cx, cy, radius in LIGHTS:
        glow = np.exp(-((np.hypot(x - cx, y - cy) / (1.9 * radius)) ** 2))
        sky = mix(sky, rgb("f6d873"), (1.5 * glow).clip(0, 1))
        sky = mix(
            sky, rgb("fdf4c8"), smoothstep(radius * 0.8, radius * 0.4, np.hypot(x - cx, y - cy))
        )
    crest = np.sin(38 * (y - 0.02 * np.sin(9 * x) - 0.03 * np.sin(5 * x + 8 * y)) * (1.5 - y))
    light = 0.28 + 0.30 * crest + 0.12 * spectral_noise(x.shape, 1.8, "sea")
    light = light + 0.55 * np.exp(-(((x - 1.13) / 0.13) ** 2)) * (crest > 0)
    picture = mix(
        sky, ramp(light.clip(0, 1), WATER), smoothstep(HORIZON - 0.004, HORIZON + 0.004, y)
    )
    shore = HORIZON + 0.21 + 0.06 * np.sin(3 * x + 1) + 0.01 * spectral_noise(x.shape, 1.5, "shore")
    sand = ramp((0.5 + 0.3 * spectral_noise(x.shape, 1.4, "sand")).clip(0, 1),
                rgb("5a3b1c", "b5772a", "e2b45a", "f3dc9a"))  # fmt: skip
    picture = mix(picture, sand, smoothstep(shore + 0.05, shore + 0.11, y))
    sway = 0.012 * np.sin(26 * y) + 0.008 * np.sin(61 * y)
    half = 0.075 * ((y - 0.12) / 0.75).clip(0, 1) ** 0.8 * (0.8 + 0.2 * np.sin(40 * y))
    tree = smoothstep(half + 0.006, half - 0.006, np.abs(x - 0.10 - sway)) * (y > 0.12)
    leaves = ramp((0.4 + 0.3 * spectral_noise(x.shape, 1.2, "tree")).clip(0, 1),
                  rgb("0b1512", "1c3a22", "48602a"))  # fmt: skip
    return mix(picture, leaves, tree)


def painted(composition: Array, name: str) -> Array:
    """Repaint a composition with curved bristle strokes, broad ones first."""
    height, width = composition.shape[:2]
    x, y = grid(width, height)
    field = np.stack(swirl(x, y), axis=-1)
    rng = generator(name)
    canvas = np.ascontiguousarray(np.broadcast_to(rgb("2c4a6a"), composition.shape)).copy()
    for size, length, spacing in ((26, 90, 14), (13, 60, 8), (7, 38, 5), (4, 20, 4)):
        soft = cv2.GaussianBlur(composition, (0, 0), size / 3)
        error = np.abs(canvas - soft).sum(axis=2)
        for row, column in _places(height, width, spacing, rng):
            if size > 14 or error[row, column] > 0.12 or rng.random() < 0.25:
                _stroke(
                    canvas, soft[row, column], _path(field, row, column, length, rng), size, rng
                )
    return _lit(canvas)


def _places(height: int, width: int, spacing: int, rng: np.random.Generator) -> Array:
    """Every `spacing` pixels one place, moved at random, in random order: int [N, 2]."""
    rows, columns = np.mgrid[0:height:spacing, 0:width:spacing].reshape(2, -1)
    places = np.stack([rows, columns], 1) + rng.integers(0, spacing, (rows.size, 2))
    rng.shuffle(places)
    return np.minimum(places, (height - 1, width - 1))


def _path(field: Array, row: int, column: int, length: int, rng: np.random.Generator) -> Array:
    """Follow the field from a place: float [N, 2] of x, y, 3 pixels apart."""
    points, at = [], np.array([column, row], float)
    for _ in range(max(3, int(length * rng.uniform(0.6, 1.1) / 3))):
        points.append(at.copy())
        c, r = int(at[0]), int(at[1])
        if not (0 <= r < field.shape[0] and 0 <= c < field.shape[1]):
            break
        at += 3 * field[r, c]
    return np.array(points)


def _stroke(canvas: Array, colour: Array, path: Array, size: int, rng: np.random.Generator) -> None:
    """Draw one stroke as bristles side by side, each of a slightly different colour."""
    if len(path) < 2:
        return
    along = np.gradient(path, axis=0)
    normal = np.stack([-along[:, 1], along[:, 0]], 1) / (
        np.linalg.norm(along, axis=1)[:, None] + 1e-6
    )
    body = jitter(colour[None], (5, 0.07, 0.05), rng)[0]
    count = max(2, size // 2)
    for offset in rng.permutation(np.linspace(-0.5, 0.5, count)):
        shade = body * (1 + rng.normal(0, 0.09)) + 0.05 * offset
        begin = rng.integers(0, max(1, len(path) // 4))
        end = len(path) - rng.integers(0, max(1, len(path) // 4))
        line = path[begin:end] + normal[begin:end] * offset * size
        if len(line) > 1:
            points = np.round(line * 16).astype(np.int32)[:, None]
            tone = [float(v) for v in shade.clip(0, 1)]
            cv2.polylines(canvas, [points], False, tone, max(1, size // 5), cv2.LINE_AA, 4)


def _lit(canvas: Array) -> Array:
    """Light the ridges of the paint from the upper left."""
    relief = cv2.GaussianBlur(canvas.mean(axis=2), (0, 0), 0.8)
    slope = cv2.Sobel(relief, -1, 1, 0) + cv2.Sobel(relief, -1, 0, 1)
    return np.clip(canvas + 0.05 * slope.clip(-1, 1)[..., None], 0, 1)


def swirls(width: int, height: int) -> Array:
    """A night over the sea in thick, swirling strokes."""
    return painted(night_over_sea(width, height), "swirls")


def woodcut(width: int, height: int) -> Array:
    """A rough sea under a red sun as a woodcut: bold lines in ink, vermilion and paper."""
    x, y = grid(width, height)
    paper, ink, red = rgb("efe3c6", "1b2333", "c8402c")
    waves = y - 0.55 - 0.10 * np.sin(7 * x) - 0.05 * np.sin(17 * x + 9 * y) - 0.03 * np.sin(31 * x)
    sun = np.hypot(x - 0.95, y - 0.30)
    tone = np.where(waves > 0, 0.35 + 0.5 * np.sin(24 * waves), 0.12 + 0.4 * y)
    line = np.sin(150 * (waves + 0.03 * spectral_noise(x.shape, 1.8, "grain")))
    rays = np.sin(110 * (y - 0.25 * x) + 6 * spectral_noise(x.shape, 2.0, "rays"))
    cut = smoothstep(-0.1, 0.1, np.where(waves > 0, line, rays) + 2 * tone - 1.1)
    ground = mix(np.broadcast_to(paper, (*x.shape, 3)), red, smoothstep(0.205, 0.2, sun))
    inked = mix(ground, ink, cut * np.where((sun < 0.2) & (waves < 0), 0.25, 1.0))
    crest = smoothstep(0.012, 0.006, np.abs(waves))
    fibre = 1 + 0.03 * spectral_noise(x.shape, 0.6, "fibre")[..., None]
    return np.clip(mix(inked, ink, crest) * fibre, 0, 1)


def mosaic(width: int, height: int) -> Array:
    """The night in warm glass tiles with dark joints."""
    rng = generator("mosaic")
    x, y = grid(width, height)
    picture = night_over_sea(width, height)[..., ::-1] ** 0.8
    seeds = _places(height, width, 15, rng)
    index = np.zeros((height, width), np.uint8) + 255
    index[seeds[:, 0], seeds[:, 1]] = 0
    far, labels = cv2.distanceTransformWithLabels(
        index, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    order = labels[seeds[:, 0], seeds[:, 1]]
    colours = np.zeros((labels.max() + 1, 3), np.float32)
    colours[order] = jitter(picture[seeds[:, 0], seeds[:, 1]], (8, 0.1, 0.08), rng)
    tiles = colours[labels]
    edges = cv2.morphologyEx(labels.astype(np.float32), cv2.MORPH_GRADIENT, np.ones((3, 3))) > 0
    sheen = 1.08 - 0.022 * far[..., None] + 0.04 * np.sin(40 * (x + y))[..., None]
    joints = cv2.GaussianBlur(edges.astype(np.float32), (0, 0), 0.7)
    return np.clip(mix(tiles * sheen, rgb("1a1410"), joints.clip(0, 1)), 0, 1)
