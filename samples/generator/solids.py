"""Solids for the ray marcher: rocks, hills, trees, a lighthouse, a boat and a balloon."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from samples.generator.drawing import Array, mix, ramp, rgb, smoothstep
from samples.generator.rendering import Solid, plane_noise, solid_noise

Place = tuple[float, float, float]


def box(p: Array, half: Place) -> Array:
    q = np.abs(p) - np.float32(half)
    return np.linalg.norm(np.maximum(q, 0), axis=1) + np.minimum(q.max(axis=1), 0)


def tapered(p: Array, height: float, low: float, high: float) -> Array:
    """Upright round tower from y 0 to height, with radius low at its foot and high at its top."""
    radius = low + (high - low) * (p[:, 1] / height).clip(0, 1)
    around = np.hypot(p[:, 0], p[:, 2]) - radius
    along = np.abs(p[:, 1] - height / 2) - height / 2
    outside = np.hypot(np.maximum(around, 0), np.maximum(along, 0))
    return outside + np.minimum(np.maximum(around, along), 0)


def polygon(x: Array, y: Array, corners: list[tuple[float, float]]) -> Array:
    """Signed distance to a polygon in a plane (after Inigo Quilez)."""
    p = np.stack([x, y], axis=1)
    best, sign = np.full(len(x), np.inf, np.float32), np.ones(len(x), np.float32)
    for (ax, ay), (bx, by) in zip(corners, corners[-1:] + corners[:-1], strict=True):
        edge, w = np.float32([bx - ax, by - ay]), p - np.float32([ax, ay])
        nearest = (w @ edge / (edge @ edge)).clip(0, 1)
        best = np.minimum(best, ((w - edge * nearest[:, None]) ** 2).sum(axis=1))
        above, below = y >= ay, y < by
        left = edge[0] * w[:, 1] > edge[1] * w[:, 0]
        flip = (above & below & left) | ~(above | below | left)
        sign = np.where(flip, -sign, sign)
    return sign * np.sqrt(best)


def extruded(p: Array, corners: list[tuple[float, float]], half: float) -> Array:
    """Polygon in x and y, 2 * half thick in z."""
    flat, deep = polygon(p[:, 0], p[:, 1], corners), np.abs(p[:, 2]) - half
    outside = np.hypot(np.maximum(flat, 0), np.maximum(deep, 0))
    return outside + np.minimum(np.maximum(flat, deep), 0)


def plain(code: str, texture: float = 5.0) -> Callable[[Array, Array], Array]:
    """Colour with a mild grain, texture cells a metre."""

    def colour(p: Array, _: Array) -> Array:
        grain = solid_noise(p * texture) + 0.5 * solid_noise(p * texture * 3.3)
        return rgb(code) * (1 + 0.09 * grain[:, None])

    return colour


def rocky(p: Array, normal: Array) -> Array:
    """Colour of layered ochre and grey stone, mossy on top and dark near the water."""
    layers = np.sin(p[:, 1] * 9 + 2.2 * solid_noise(p * 1.7)) * 0.2
    tone = 0.5 + layers + 0.16 * solid_noise(p * 4) + 0.12 * solid_noise(p * 13)
    stone = ramp(tone, rgb("2c2420", "5f4e40", "94795c", "b9a384"))
    moss = smoothstep(0.55, 0.9, normal[:, 1] + 0.12 * solid_noise(p * 5))
    stone = mix(stone, rgb("5d6b2e") * (1 + 0.2 * solid_noise(p * 14))[:, None], moss * 0.8)
    return stone * (0.45 + 0.55 * smoothstep(0.05, 0.5, p[:, 1]))[:, None]


def rock(at: Place, size: Place) -> Solid:
    """A rugged rock, about size in each half extent."""
    extent, centre, least = np.float32(size), np.float32(at), min(size)

    def distance(p: Array) -> Array:
        q = (p - centre) / extent
        smooth = (np.linalg.norm(q, axis=1) - 1) * least
        rough = 0.17 * solid_noise(p * 1.1 / least**0.5) + 0.055 * np.abs(solid_noise(p * 4.3))
        return (smooth - rough * least**0.5) * 0.6

    return Solid(distance, rocky, "land", at, max(size) * 1.35)


def grassy(p: Array, normal: Array) -> Array:
    """Colour of meadows and fields; stone on steep slopes."""
    x, z = p[:, 0], p[:, 2]
    detail = np.exp(-z.clip(0) / 45)
    tone = 0.42 + 0.2 * plane_noise(x * 0.12 + 9, z * 0.12) + 0.13 * plane_noise(x, z)
    tone += detail * (0.13 * plane_noise(x * 4, z * 4) + 0.1 * plane_noise(x * 15, z * 15))
    field = ramp(tone, rgb("14260d", "284014", "46571f", "6f6430"))
    return mix(rocky(p, normal), field, smoothstep(0.6, 0.8, normal[:, 1] + 0.1 * tone))


def terrain(height: Callable[[Array, Array], Array]) -> Solid:
    """Land; height: of x and z."""
    return Solid(lambda p: (p[:, 1] - height(p[:, 0], p[:, 2])) * 0.6, grassy, "land")


def mound(x: Array, z: Array, at: tuple[float, float], size: tuple[float, float]) -> Array:
    """A Gaussian hill of height 1."""
    return np.exp(-(((x - at[0]) / size[0]) ** 2) - ((z - at[1]) / size[1]) ** 2)


def leafy(p: Array, _: Array) -> Array:
    tone = 0.5 + 0.2 * solid_noise(p * 3) + 0.2 * solid_noise(p * 9)
    return ramp(tone, rgb("14260f", "2d4a18", "567428", "93943a"))


def tree(at: Place, size: float) -> list[Solid]:
    """A round tree, size metres tall."""
    foot = np.float32(at)
    offsets = np.float32([(0, 0.68, 0), (0.2, 0.55, 0.1), (-0.2, 0.56, -0.05), (0.02, 0.5, -0.2)])

    def crown(p: Array) -> Array:
        q = (p - foot) / size
        balls = [np.linalg.norm(q - o, axis=1) - r for o, r in zip(offsets, R, strict=True)]
        rough = 0.035 * solid_noise(p * 5 / size) + 0.035 * solid_noise(p * 17 / size)
        return (np.min(balls, axis=0) - rough) * size * 0.55

    R = (0.25, 0.2, 0.19, 0.2)
    centre = (at[0], at[1] + 0.55 * size, at[2])
    middle = (at[0], at[1] + 0.25 * size, at[2])
    return [
        Solid(crown, leafy, "land", centre, 0.6 * size),
        Solid(
            lambda p: tapered(p - foot, 0.5 * size, 0.05 * size, 0.03 * size),
            plain("4a3524"),
            "land",
            middle,
            0.4 * size,
        ),
    ]


def lighthouse(at: Place, size: float, subject: bool = False) -> list[Solid]:
    """A tower with red bands, a gallery, a lamp room and a dome; size metres tall."""
    foot, label = np.float32(at), "subject" if subject else "land"

    def tower(p: Array) -> Array:
        q = (p - foot) / size
        gallery = tapered(q - np.float32([0, 0.76, 0]), 0.025, 0.1, 0.1)
        return np.minimum(tapered(q, 0.77, 0.115, 0.07), gallery) * size

    def paint(p: Array, _: Array) -> Array:
        q = (p - foot) / size
        band = np.sin(q[:, 1] * 2 * np.pi / 0.31 + 0.6)
        colour = mix(rgb("ece4d2"), rgb("b3281e"), smoothstep(-0.03, 0.03, band))
        colour = mix(colour, rgb("26282c"), (q[:, 1] > 0.755).astype(np.float32))
        streaks = solid_noise(q * np.float32([40, 6, 40])) * 0.07 + solid_noise(q * 60) * 0.04
        return colour * (1 + streaks)[:, None]

    def lamp(p: Array) -> Array:
        return tapered((p - foot) / size - np.float32([0, 0.78, 0]), 0.11, 0.055, 0.055) * size

    def glass(p: Array, _: Array) -> Array:
        q = (p - foot) / size
        bars = np.sin(np.arctan2(q[:, 2], q[:, 0]) * 8) > 0.8
        return mix(rgb("f7d98a") * 1.3, rgb("2a2a2a"), bars.astype(np.float32))

    def dome(p: Array) -> Array:
        return tapered((p - foot) / size - np.float32([0, 0.89, 0]), 0.1, 0.072, 0.006) * size

    centre = (at[0], at[1] + size / 2, at[2])
    parts = ((tower, paint), (lamp, glass), (dome, plain("a3241c")))
    return [Solid(d, c, label, centre, 0.56 * size, subject) for d, c in parts]


def house(at: Place, size: float) -> list[Solid]:
    """A white cottage with a red roof, size metres wide."""
    foot = np.float32(at)
    gable = [(-0.56, 0.4), (0.0, 0.78), (0.56, 0.4)]

    def local(p: Array) -> Array:
        return ((p - foot) / size)[:, [2, 1, 0]]

    def walls(p: Array) -> Array:
        return box(local(p) - np.float32([0, 0.2, 0]), (0.45, 0.25, 0.7)) * size

    def painted(p: Array, normal: Array) -> Array:
        q = local(p)
        across = np.where(np.abs(normal[:, 0]) > 0.5, q[:, 0] * 1.5, q[:, 2])
        pane = (np.abs(np.mod(across + 0.2, 0.4) - 0.2) < 0.075) & (np.abs(q[:, 1] - 0.24) < 0.09)
        return mix(plain("e8dfcc")(p, normal), rgb("23303c"), pane.astype(np.float32))

    def tiles(p: Array, _: Array) -> Array:
        rows = 0.12 * np.sin(local(p)[:, 1] * 90) + 0.1 * solid_noise(p * 11)
        return rgb("9c4a2c") * (1 + rows)[:, None]

    def roof(p: Array) -> Array:
        return extruded(local(p), gable, 0.78) * size

    centre = (at[0], at[1] + 0.3 * size, at[2])
    return [Solid(d, c, "land", centre, 1.2 * size) for d, c in ((walls, painted), (roof, tiles))]


def sail(
    local: Callable[[Array], Array], corners: list[tuple[float, float]], code: str
) -> tuple[Callable[[Array], Array], Callable[[Array, Array], Array]]:
    """Distance and colour of a curved sail; local: converts points to the boat's coordinates."""

    def distance(p: Array) -> Array:
        q = local(p)
        q[:, 2] += 0.35 * np.sin(q[:, 0].clip(-2, 2.2) * 1.5) * (5 - q[:, 1]).clip(0, 4) / 4
        return extruded(q, corners, 0.03) * 0.75

    def colour(p: Array, normal: Array) -> Array:
        seams = np.abs(np.sin(local(p)[:, 1] * 5.2 + local(p)[:, 0]))
        return plain(code, 4)(p, normal) * (0.82 + 0.18 * smoothstep(0, 0.2, seams))[:, None]

    return distance, colour


def boat(at: Place, lean: float) -> list[Solid]:
    """A sailing boat about 4 m long that heads right and heels by lean (radians)."""
    middle = np.float32(at)
    side = [(-1.9, 0.62), (2.2, 0.78), (1.75, 0.1), (1.4, -0.3), (-1.6, -0.3)]
    parts = {
        "8c2f1f": [(0.1, 0.95), (0.1, 5.0), (-1.95, 1.0)],
        "efe3c4": [(0.3, 0.95), (0.3, 4.5), (2.15, 0.95)],
    }

    def local(p: Array) -> Array:
        q = p - middle
        c, s = np.cos(lean), np.sin(lean)
        return np.stack([q[:, 0] * c + q[:, 1] * s, q[:, 1] * c - q[:, 0] * s, q[:, 2]], axis=1)

    def hull(p: Array) -> Array:
        q = local(p)
        half = 0.75 * (1 - (q[:, 0] / 2.4) ** 2).clip(0.05) * (0.7 + 0.4 * q[:, 1])
        flat = polygon(q[:, 0], q[:, 1], side)
        return np.maximum(flat, np.abs(q[:, 2]) - half) * 0.8

    def planks(p: Array, _: Array) -> Array:
        y = local(p)[:, 1]
        grain = 0.1 * np.sin(y * 55) + 0.1 * solid_noise(local(p) * np.float32([4, 22, 9]))
        colour = mix(rgb("7a4a26"), rgb("f0e6cf"), (y > 0.48).astype(np.float32))
        return colour * (1 + grain)[:, None]

    def mast(p: Array) -> Array:
        return tapered(local(p) - np.float32([0.2, 0.5, 0]), 4.8, 0.06, 0.04)

    solids = [(hull, planks), (mast, plain("5a3a20"))]
    solids += [sail(local, corners, code) for code, corners in parts.items()]
    centre = (at[0], at[1] + 2.4, at[2])
    return [Solid(d, c, "subject", centre, 3.6, True) for d, c in solids]


def balloon(at: Place, size: float, turn: float) -> list[Solid]:
    """A striped hot-air balloon of radius size that has turned by turn (radians)."""
    middle = np.float32(at)

    def envelope(p: Array) -> Array:
        q = (p - middle) / size
        around, y = np.hypot(q[:, 0], q[:, 2]), q[:, 1] + 1.5
        slope = (1 - 0.2) / 1.5
        cosine = np.sqrt(1 - slope**2)
        along = slope * around + cosine * y
        side = around * cosine - y * slope - 0.2
        low, high = np.hypot(around, y) - 0.2, np.hypot(around, y - 1.5) - 1
        return np.where(along < 0, low, np.where(along > cosine * 1.5, high, side)) * size * 0.95

    def gores(p: Array, _: Array) -> Array:
        q = (p - middle) / size
        angle = np.arctan2(q[:, 2], q[:, 0]) + turn
        piece = np.floor(angle / (2 * np.pi) * 16).astype(np.int32) % 4
        colour = rgb("c8321f", "f2dfae", "1d4f7c", "e3a32b")[piece]
        band = np.abs(q[:, 1] - 0.05) < 0.13
        colour = mix(colour, rgb("f6ead0"), band.astype(np.float32))
        seam = np.abs(np.sin(angle * 16)) ** 0.4 * 0.2 + 0.8
        return colour * (seam * (1 + 0.05 * solid_noise(q * 14)))[:, None]

    def basket(p: Array) -> Array:
        q = (p - middle) / size - np.float32([0, -2.1, 0])
        return box(q, (0.15, 0.12, 0.15)) * size

    def ropes(p: Array) -> Array:
        q = (p - middle) / size
        spread = 0.14 + 0.05 * (q[:, 1] + 2)
        around = np.hypot(np.abs(q[:, 0]) - spread, np.abs(q[:, 2]) - spread) - 0.016
        return np.maximum(around, np.abs(q[:, 1] + 1.82) - 0.25) * size * 0.9

    centre = (at[0], at[1] - 0.5 * size, at[2])
    parts = ((envelope, gores), (basket, plain("7b5330", 9)), (ropes, plain("3a2a1c")))
    return [Solid(d, c, "subject", centre, 1.9 * size, True) for d, c in parts]
