"""The photographed scenes: a lighthouse on a cape, a boat that passes a rock, a balloon."""

from __future__ import annotations

import numpy as np

from samples.generator.drawing import Array, rgb
from samples.generator.rendering import Scene, plane_noise
from samples.generator.solids import balloon, boat, house, lighthouse, mound, rock, terrain, tree

WARM = np.float32([2.2, 1.65, 1.05])


def cape(x: Array, z: Array) -> Array:
    """Height of the lighthouse's cape and of the hills behind it."""
    hill = 3.4 * mound(x, z, (3.2, 15), (5.5, 4.0)) + 3.0 * mound(x, z, (11, 17), (6, 5))
    hill += 13 * mound(x, z, (-34, 95), (26, 14)) + 17 * mound(x, z, (28, 120), (40, 16))
    near = np.exp(-z.clip(0) / 50)
    rough = 0.3 * plane_noise(x * 0.12, z * 0.12) + 0.25 * near * plane_noise(x * 0.6, z * 0.6)
    rough += 0.1 * near * plane_noise(x * 2.3, z * 2.3)
    return hill * (1 + 0.35 * rough) + rough * near - 1.2


def at_cape(x: float, z: float, sunk: float = 0.3) -> tuple[float, float, float]:
    """The place on the cape's ground at x, z, a little below its surface."""
    height = cape(np.float32([x]), np.float32([z]))[0]
    return x, float(height) - sunk, z


def photo() -> Scene:
    """A lighthouse, a cottage and trees on a cape in the evening sun."""
    solids = [
        terrain(cape),
        rock((-2.6, 0, 11.0), (1.1, 0.9, 0.9)),
        rock((-4.6, -0.1, 13), (0.8, 0.6, 0.7)),
    ]
    solids += lighthouse(at_cape(1.2, 14.2), 7.2, subject=True)
    solids += house(at_cape(4.3, 14.0), 1.9)
    for x, z, size in ((6.6, 14.6, 2.9), (8.2, 15.5, 3.4), (7.7, 13.4, 2.4), (10.2, 15.2, 3.0)):
        solids += tree(at_cape(x, z), size)
    return Scene(
        solids, (0.6, 2.5, 0.0), (1.6, 4.4, 14.0), 1.75, (-0.75, 0.42, -0.5), WARM, drift=37.0
    )


def coast(x: Array, z: Array) -> Array:
    """Height of the islands behind the boat."""
    hill = 8 * mound(x, z, (14, 52), (12, 8)) + 5 * mound(x, z, (-9, 60), (13, 7))
    hill += 20 * mound(x, z, (-38, 140), (40, 18)) + 24 * mound(x, z, (50, 150), (45, 20))
    rough = plane_noise(x * 0.1, z * 0.1) + 0.4 * plane_noise(x * 0.33, z * 0.33)
    return hill * (1 + 0.2 * rough) + 0.3 * rough - 2.2


def sailing(time: float) -> Scene:
    """A boat sails behind a rock before islands; the camera glides to the right."""
    solids = [
        terrain(coast),
        rock((0.75, 0.4, 9.5), (0.75, 2.2, 0.8)),
        rock((1.8, -0.1, 9.2), (0.9, 0.7, 0.7)),
    ]
    solids += [rock((-4.6, -0.2, 8.0), (1.2, 0.7, 0.9))]
    solids += lighthouse((13, 5.8, 49), 7.5)
    sway = 0.05 * np.sin(time * 3.0)
    solids += boat((-3.0 + 5.6 * time, 0.05 * np.sin(time * 4), 15.0), -0.06 + sway)
    x = -0.5 + 1.0 * time
    return Scene(
        solids, (x, 2.0, 0.0), (x * 0.9 + 0.2, 2.9, 15.0), 1.75, (-0.7, 0.5, -0.55), time=time
    )


def meadows(x: Array, z: Array) -> Array:
    """Height of the rolling land under the balloon."""
    hill = 3.0 * plane_noise(x * 0.05 + 200, z * 0.07 + 90) + 0.5 * plane_noise(x * 0.3, z * 0.3)
    hill += 26 * mound(x, z, (30, 130), (34, 22)) + 20 * mound(x, z, (-45, 120), (30, 20))
    return hill + 0.06 * plane_noise(x * 2, z * 2) + 4.0


def flying(time: float) -> Scene:
    """A balloon rises over fields at sunset; the camera glides to the left."""
    solids = [terrain(meadows)]
    for x, z, size in ((-4.2, 11, 4.2), (5.4, 14, 4.0), (-9, 24, 5), (2.5, 27, 4.4), (12, 30, 5.5)):
        height = meadows(np.float32([x]), np.float32([z]))[0]
        solids += tree((x, float(height) - 0.1, z), size)
    solids += balloon((2.6 - 1.6 * time, 12.3 + 1.5 * time, 20.0), 2.5, 0.5 * time)
    x = 0.7 - 1.5 * time
    return Scene(
        solids,
        (x, 8.6, -1.0),
        (x * 0.8, 10.2, 20.0),
        1.5,
        (0.8, 0.32, -0.35),
        WARM,
        rgb("4a6aa8"),
        rgb("e9c8a2"),
        120.0,
        time,
        120.0,
    )
