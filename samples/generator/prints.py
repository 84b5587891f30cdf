"""Two more styles: a woodcut in three colours, and a stained-glass window."""

from __future__ import annotations

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

PAPER, INK, RED, TEAL = rgb("efe2c4", "17203a", "c63a26", "5f9a97")


def hatch(phase: Array, tone: Array, wobble: Array) -> Array:
    """Hatching: ink 0..1, a line for each unit of phase, of width tone (0..1), with rough edges."""
    ridge = 2 * np.abs(np.mod(phase + 0.10 * wobble, 1) - 0.5)
    return smoothstep(-0.09, 0.09, tone + 0.07 * wobble - ridge)


def scallops(x: Array, y: Array, size: float) -> tuple[Array, Array]:
    """Overlapping fans (seigaiha waves): radius 0..1 within the fan, and its row."""
    radius, owner = np.full_like(x, 2), np.zeros_like(x)
    row = np.floor(y / (size * 0.5))
    for back in (2, 1, 0, -1):  # nearer rows cover farther ones
        k = row + back
        middle = (np.floor(x / (2 * size) - 0.5 * (k % 2)) + 0.5 + 0.5 * (k % 2)) * 2 * size
        far = np.hypot(x - middle, y - (k + 1) * size * 0.5) / size
        inside = (far < 1) & (radius > 1)
        radius, owner = np.where(inside, far, radius), np.where(inside, k, owner)
    return np.minimum(radius, 1), owner


def ridge(x: Array, peaks: tuple[tuple[float, float, float], ...], rough: Array) -> Array:
    """Height of a mountain range from peaks of x, height and slope."""
    return np.max([h - s * np.abs(x - at) ** 0.92 for at, h, s in peaks], axis=0) + 0.012 * rough


def woodcut(width: int, height: int) -> Array:
    """A snowy mountain, a red sun and a patterned sea, cut in bold lines."""
    x, y = grid(2 * width, 2 * height)
    wobble, broad = noise(x.shape, 1.2, "cut"), noise(x.shape, 2.0, "broad")
    rough = noise((1, x.shape[1]), 1.6, "ridge").repeat(x.shape[0], axis=0)
    big = 0.70 - ridge(x, ((0.52, 0.55, 0.85), (0.22, 0.28, 0.7), (1.0, 0.25, 0.6)), rough)
    near = 0.70 - ridge(x, ((-0.05, 0.19, 0.5), (1.36, 0.24, 0.45), (0.8, 0.03, 0.5)), -rough)
    picture, ink = woodcut_sky(x, y, wobble, broad)
    mountain = y > big
    side = x - 0.52 - 0.16 * (y - 0.15) + 0.022 * np.sin(45 * y + 3 * broad)
    fall = (x - 0.52) / (y - 0.08).clip(0.06)
    snow = (
        y
        < 0.35
        + 0.045 * np.sin(17 * fall + 0.6 * broad)
        + 0.025 * np.sin(41 * fall)
        + 0.006 * wobble
    )
    tone = np.where(side > 0, 0.62, 0.2) + 0.25 * (y - 0.4)
    tone = np.where(snow, np.where(side > 0, 0.22, -0.3), tone)
    slopes = hatch(fall * 26 + 0.5 * broad, tone, wobble)
    picture = np.where(mountain[..., None], np.where(snow[..., None], PAPER, TEAL), picture)
    ink = np.where(mountain, slopes, ink)
    ground = y > near
    picture = np.where(ground[..., None], RED * 0.92, picture)
    ink = np.where(ground, hatch(38 * (y - near) + 3 * x, 0.62 - 1.2 * (y - near), wobble), ink)
    ink = np.maximum(ink, keyline(y - big, mountain & ~ground, 0.006))
    ink = np.maximum(ink, keyline(y - near, ground, 0.006))
    picture, ink = woodcut_sea(x, y, wobble, (picture, ink))
    picture, ink = pine(x, y, wobble, (picture, ink))
    return print_on_paper(picture, ink)


def keyline(far: Array, mask: Array, thick: float) -> Array:
    """Ink 0..1 of an outline, `thick` wide, inside a mask; far: distance from its edge."""
    return smoothstep(thick, thick * 0.6, far) * mask


def woodcut_sky(x: Array, y: Array, wobble: Array, broad: Array) -> tuple[Array, Array]:
    """Paper with graded lines, clouds left blank, and a red sun with a ring of rays."""
    sun = np.hypot(x - 1.02, y - 0.24)
    clouds = smoothstep(
        0.15, 0.35, noise(x.shape, 1.9, "clouds") * 0.5 + np.sin(13 * y + 2 * broad) * 0.4
    )
    tone = 0.78 - 1.25 * y - 0.9 * clouds
    lines = hatch(44 * y + 0.9 * np.sin(4 * x + 5 * y) + 0.35 * broad, tone, wobble)
    rays = hatch(np.arctan2(y - 0.24, x - 1.02) * 52 / (2 * np.pi), 1.15 - 3.2 * sun, wobble)
    ink = np.where(sun < 0.34, rays * (sun > 0.185), lines)
    disc = smoothstep(0.163, 0.160, sun + 0.001 * wobble)
    stripes = hatch((y - 0.1) * 34, 1.5 - 3.4 * (y - 0.1), wobble)
    picture = mix(np.broadcast_to(PAPER, (*x.shape, 3)), RED, disc * stripes)
    return picture, ink * (1 - disc)


def woodcut_sea(
    x: Array, y: Array, wobble: Array, behind: tuple[Array, Array]
) -> tuple[Array, Array]:
    """Fans of waves that grow towards the viewer."""
    depth = (y - 0.70).clip(0)
    bend = 0.012 * np.sin(9 * x) + 0.004 * wobble
    radius, row = scallops(x / (1 + 1.6 * depth) + 0.02 * np.sin(7 * y), depth**0.85 + bend, 0.105)
    lines = hatch(radius * 4.0 + 0.5, 0.36 + 0.3 * radius, wobble * 0.8)
    rim = smoothstep(0.90, 0.95, radius)
    colour = mix(
        np.broadcast_to(PAPER, (*x.shape, 3)), TEAL, smoothstep(0.45, 0.5, np.mod(row * 0.5, 1))
    )
    sea = y > 0.70 + 0.006 * np.sin(9 * x)
    edge = keyline(y - 0.70, sea, 0.008)
    ink = np.maximum(np.maximum(lines, rim), edge)
    return np.where(sea[..., None], colour, behind[0]), np.where(sea, ink, behind[1])


def pine(x: Array, y: Array, wobble: Array, behind: tuple[Array, Array]) -> tuple[Array, Array]:
    """A pine that leans in from the left: a trunk, and pads of needles cut as fans."""
    picture, ink = behind
    lean = 0.07 + 0.10 * np.sin(3.4 * (1 - y)) + 0.015 * np.sin(17 * y)
    trunk = (np.abs(x - lean) < 0.022 * (0.4 + y)) & (y > 0.12)
    ink = np.where(
        trunk, np.maximum(hatch(70 * (x - lean) + 1.5 * np.sin(20 * y), 0.7, wobble), 0), ink
    )
    picture = np.where(trunk[..., None], RED * 0.8, picture)
    pads = (
        (0.20, 0.13, 0.17),
        (0.05, 0.22, 0.13),
        (0.31, 0.29, 0.15),
        (0.04, 0.40, 0.13),
        (0.29, 0.47, 0.11),
    )
    for px, py, size in pads:
        u, v = (x - px) / size, (y - py) / (0.42 * size)
        angle = np.arctan2(v, u)
        edge = np.hypot(u, v) - 0.92 - 0.08 * np.sin(angle * 11 + px * 40) - 0.02 * wobble
        needles = hatch(angle * 9 + 0.4 * wobble, 0.8 - 0.25 * (v < -0.2), wobble)
        pad = edge < 0
        picture = np.where(pad[..., None], TEAL * 0.85, picture)
        ink = np.where(pad, np.maximum(needles, smoothstep(-0.12, -0.06, edge)), ink)
    return picture, ink


def print_on_paper(picture: Array, ink: Array) -> Array:
    """Print the colours and uneven ink on fibrous paper, at half the size."""
    grain, fibre = noise(ink.shape, 0.5, "grain"), noise(ink.shape, 0.9, "fibre")
    cover = ink * (0.95 + 0.05 * grain).clip(0, 1)
    worn = mix(picture, PAPER, smoothstep(1.5, 2.6, fibre) * 0.5)
    return np.clip(shrink(mix(worn, INK, cover) * (1 + 0.022 * fibre[..., None]), 2), 0, 1)


def window_regions(x: Array, y: Array) -> tuple[Array, list[Array]]:
    """The region index of each pixel, and the palette of each region."""
    angle, far = np.arctan2(y - 0.34, x - 0.667), np.hypot(x - 0.667, y - 0.34)
    sector = np.mod(np.floor((angle / np.pi + 1) * 8 + 0.5 + 0.9 * far), 16).astype(int)
    regions, palettes = np.zeros(x.shape, np.int32), []

    def add_region(mask: Array, *colours: str) -> None:
        regions[mask] = len(palettes)
        palettes.append(rgb(*colours))

    for index in range(16):
        add_region(sector == index, *SKIES[index % 2])
    for index in range(16):
        add_region((sector == index) & (far < 0.30 - 0.07 * (index % 2)), *RAYS[index % 2])
    add_region(far < 0.135, "f9c830", "fde48a", "fff4c0")
    add_region(far < 0.065, "e2391c", "f2602a")
    tops = (
        0.60 + 0.05 * np.sin(5 * x + 1),
        0.68 + 0.06 * np.sin(4 * x + 3.4),
        0.80 + 0.05 * np.sin(6 * x),
    )
    for top, colours in zip(tops, GREENS, strict=True):
        add_region(y > top, *colours)
    bend = 0.667 + 0.17 * np.sin(7.5 * (y - 0.6)) * (y - 0.4)
    add_region(
        (np.abs(x - bend) < 0.015 + 0.34 * (y - 0.6).clip(0) ** 1.3) & (y > 0.64),
        "1e7fd0",
        "63c3ee",
        "d8f3f4",
    )
    for fx, fy, size, colours in FLOWERS:
        stem, petals, centre = flower(x, y, (fx, fy, size))
        add_region(stem, "0f5a2a", "2f8a2a")
        for petal in petals:
            add_region(petal, *colours)
        add_region(centre, "f0a818", "ffd84a")
    return regions, palettes


SKIES = (("0e2f8c", "2457c5", "1b84d8"), ("1b1f72", "4a2f9c", "7a3fb0"))
RAYS = (("f08a1c", "f7b52c", "fbd75a"), ("d8431f", "ec6a25", "f58a34"))
GREENS = (
    ("12705c", "1f9a74", "52bd8a"),
    ("2f8a2a", "6fb52e", "b5d23a"),
    ("0d4f32", "1f7a3a", "3f9a36"),
)
FLOWERS = (
    (0.20, 0.66, 0.125, ("b0123c", "e02b52", "f5738a")),
    (1.12, 0.70, 0.135, ("a51d8c", "d43fb0", "f08ad0")),
    (0.40, 0.84, 0.085, ("e8641c", "f9952c", "ffc861")),
    (0.95, 0.89, 0.075, ("f2f0ea", "ffe9f0", "ffd0dc")),
)


def flower(
    x: Array, y: Array, place: tuple[float, float, float]
) -> tuple[Array, list[Array], Array]:
    """Masks of a flower's stem, its eight petals and its centre."""
    px, py, size = place
    u, v = (x - px) / size, (y - py) / size
    stem = (np.abs(u - 0.25 * np.sin(2.2 * v)) < 0.09) & (v > 0)
    angle, far = np.arctan2(v, u), np.hypot(u, v)
    petals = np.floor((angle / np.pi + 1) * 4).astype(int)
    edge = 0.62 + 0.38 * np.abs(np.sin(4 * angle)) ** 0.6
    return stem, [(petals == index) & (far < edge) for index in range(8)], far < 0.3


def stained_glass(width: int, height: int) -> Array:
    """A sun over hills, a river and flowers, in add_lead panes of bright glass."""
    x, y = grid(2 * width, 2 * height)
    regions, palettes = window_regions(x, y)
    picture = np.zeros((*x.shape, 3), np.float32)
    thin = np.zeros(x.shape, np.uint8)
    rng = generator("window")
    for number, palette in enumerate(palettes):
        mask = regions == number
        if mask.any():
            panes, edges = shards(mask, palette, rng)
            picture[mask], thin[mask] = panes[mask], edges[mask]
    thick = cv2.morphologyEx(regions.astype(np.float32), cv2.MORPH_GRADIENT, np.ones((3, 3))) > 0
    return add_lead(add_glass_texture(picture, x, y), thick, thin > 0)


def shards(mask: Array, palette: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Divide a region into Voronoi panes: the colour of each pixel, and the edges."""
    rows, columns = np.nonzero(mask)
    count = max(1, len(rows) // 3600)
    picks = rng.integers(0, len(rows), (12, count))
    picks = spread_out(rows, columns, picks)
    seeds = np.ones(mask.shape, np.uint8)
    seeds[rows[picks], columns[picks]] = 0
    _, owner = cv2.distanceTransformWithLabels(
        seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    colours = jitter(ramp(rng.random(owner.max() + 1), palette), (6, 0.06, 0.06), rng)
    edges = cv2.morphologyEx(owner.astype(np.float32), cv2.MORPH_GRADIENT, np.ones((3, 3))) > 0
    return colours[owner], edges


def spread_out(rows: Array, columns: Array, picks: Array) -> Array:
    """Best-candidate sampling of pixel indices [draws, count]: the farthest of each `draws`."""
    chosen = [picks[0, 0]]
    for draw in picks.T[1:]:
        kept = np.array(chosen)
        gaps = np.hypot(rows[draw][:, None] - rows[kept], columns[draw][:, None] - columns[kept])
        chosen.append(draw[gaps.min(axis=1).argmax()])
    return np.array(chosen)


def add_glass_texture(picture: Array, x: Array, y: Array) -> Array:
    """Add streaks and ripples, and brighten the middle."""
    ripple, fine = noise(x.shape, 1.5, "ripple"), noise(x.shape, 0.7, "fine")
    light = 1.12 - 0.35 * np.hypot(x - 0.667, y - 0.34) ** 2 + 0.10 * ripple + 0.05 * fine
    return np.clip(picture * light[..., None] + 0.02 * ripple[..., None], 0, 1)


def add_lead(picture: Array, thick: Array, thin: Array) -> Array:
    """Draw shaded lead along the edges, at half the size."""
    far = np.minimum(edge_distance(thick) / 6.5, edge_distance(thin) / 3.6)
    glow = cv2.GaussianBlur(picture, (0, 0), 9)
    picture = picture * (0.72 + 0.28 * smoothstep(1, 3.5, far))[..., None] + 0.12 * glow**2
    height = np.sqrt((1 - far**2).clip(0, 1))
    slope = cv2.Sobel(height, -1, 1, 0) + cv2.Sobel(height, -1, 0, 1)
    lead = rgb("22201f") * (1 + 0.5 * slope.clip(-0.6, 1.2))[..., None] + 0.03 * height[..., None]
    return np.clip(shrink(mix(lead, picture, smoothstep(0.85, 1.1, far)), 2), 0, 1)


def edge_distance(edges: Array) -> Array:
    return cv2.distanceTransform((~edges).astype(np.uint8), cv2.DIST_L2, 5)
