"""A small ray marcher: solids on a sea under a cloudy sky, with shadows and reflections.

Points and directions are [N, 3], y upwards; distances are in metres.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from samples.generator.drawing import Array, mix, rgb, shrink, smoothstep, spectral_noise

FAR = 260.0
VOLUME = spectral_noise((64, 64, 64), 1.3, "volume")
PLANE = spectral_noise((512, 512), 0.9, "plane")


@dataclass(frozen=True)
class Solid:
    """A solid: signed distance and colour at points, label, and enclosing sphere."""

    distance: Callable[[Array], Array]
    colour: Callable[[Array, Array], Array]
    label: str
    centre: tuple[float, float, float] = (0, 0, 0)
    radius: float = np.inf
    subject: bool = False


@dataclass(frozen=True)
class Scene:
    """Things in a light, seen by a camera at eye that looks at target."""

    solids: list[Solid]
    eye: tuple[float, float, float]
    target: tuple[float, float, float]
    zoom: float = 1.6
    sun: tuple[float, float, float] = (-0.6, 0.5, -0.4)
    sunlight: Array = field(default_factory=lambda: np.float32([1.9, 1.6, 1.2]))
    zenith: Array = field(default_factory=lambda: rgb("2f6bb5"))
    horizon: Array = field(default_factory=lambda: rgb("d8d9d2"))
    haze: float = 260.0
    time: float = 0.0
    drift: float = 0.0


@dataclass(frozen=True)
class View:
    """A rendered scene: picture, soft mask of the subject, and the index of each pixel's label."""

    image: Array
    mask: Array
    labels: Array


LABELS = ("sky", "sea", "land", "subject")


def unit(vectors: Array) -> Array:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def plane_noise(x: Array, z: Array) -> Array:
    """PLANE sampled at texels x, z, smooth and periodic."""
    x0, z0 = np.floor(x), np.floor(z)
    u, v = x - x0, z - z0
    u, v = u * u * (3 - 2 * u), v * v * (3 - 2 * v)
    i, j = x0.astype(np.int32) & 511, z0.astype(np.int32) & 511
    k, m = (i + 1) & 511, (j + 1) & 511
    low = PLANE[i, j] * (1 - u) + PLANE[k, j] * u
    return low * (1 - v) + (PLANE[i, m] * (1 - u) + PLANE[k, m] * u) * v


def solid_noise(points: Array) -> Array:
    """VOLUME sampled at points, in cells, smooth and periodic."""
    base = np.floor(points)
    f = points - base
    f = f * f * (3 - 2 * f)
    cell = base.astype(np.int32)
    total = np.zeros(len(points), np.float32)
    for corner in np.ndindex(2, 2, 2):
        index = (cell + np.array(corner)) & 63
        weight = np.where(corner, f, 1 - f).prod(axis=1)
        total += VOLUME[index[:, 0], index[:, 1], index[:, 2]] * weight
    return total


def distance_to(solid: Solid, points: Array) -> Array:
    """Distance of points to a solid; far outside its enclosing sphere, the distance to that."""
    if np.isinf(solid.radius):
        return solid.distance(points)
    result = np.linalg.norm(points - np.float32(solid.centre), axis=1) - solid.radius
    near = result < 0.7 * solid.radius + 0.3
    if near.any():
        result[near] = solid.distance(points[near])
    return result


def nearest(scene: Scene, points: Array) -> tuple[Array, Array]:
    """Distance to the nearest solid, and its index."""
    best = np.full(len(points), FAR, np.float32)
    index = np.zeros(len(points), np.int32)
    for i, solid in enumerate(scene.solids):
        distance = distance_to(solid, points)
        closer = distance < best
        best[closer], index[closer] = distance[closer], i
    return best, index


def march(scene: Scene, origin: Array, direction: Array, steps: int = 110) -> Array:
    """Sphere tracing: distance along each ray to a solid; FAR where it hits none."""
    travelled = np.full(len(origin), 0.02, np.float32)
    active = np.arange(len(origin))
    for _ in range(steps):
        t = travelled[active]
        distance, _ = nearest(scene, origin[active] + direction[active] * t[:, None])
        travelled[active] = t + distance * 0.75
        active = active[(distance > 0.0008 * t + 0.0004) & (t < FAR)]
        if not active.size:
            break
    return np.minimum(travelled, FAR)


def light_reaching(scene: Scene, points: Array) -> Array:
    """Share 0..1 of the sun that solids let through, with soft edges."""
    sun = unit(np.float32(scene.sun))
    share = np.ones(len(points), np.float32)
    travelled = np.full(len(points), 0.06, np.float32)
    for _ in range(28):
        distance, _ = nearest(scene, points + sun * travelled[:, None])
        share = np.minimum(share, 12 * distance / travelled)
        travelled += np.clip(distance, 0.04, 3.0)
    return share.clip(0, 1)


def normals(scene: Scene, points: Array, reach: Array) -> Array:
    """Unit normals; reach [N] is the detail, in metres, that a pixel can show."""
    total = np.zeros_like(points)
    for corner in ((1, -1, -1), (-1, -1, 1), (-1, 1, -1), (1, 1, 1)):
        offset = np.float32(corner)
        distance, _ = nearest(scene, points + offset * reach[:, None])
        total += offset * distance[:, None]
    return unit(total + 1e-9)


def sky(scene: Scene, direction: Array) -> Array:
    """Colour of the sky in each direction: a gradient, clouds and the sun's glow."""
    up = direction[:, 1].clip(0, 1)
    colour = mix(scene.horizon, scene.zenith, smoothstep(0.0, 0.55, up) ** 0.7)
    towards = (direction @ unit(np.float32(scene.sun))).clip(0, 1)
    glow = 0.5 * towards**6 + 1.2 * towards**90
    colour = colour + glow[:, None] * scene.sunlight * 0.35
    return mix(colour, clouds_colour(scene, towards), clouds(scene, direction))


def clouds(scene: Scene, direction: Array) -> Array:
    """Cover 0..1 of clouds on a flat layer overhead that drifts with time."""
    height = direction[:, 1] + 0.09
    x = direction[:, 0] / height * 1.1 + scene.drift + scene.time * 0.1
    z = direction[:, 2] / height * 1.1
    octaves = ((1, 0.7), (2.1, 0.5), (4.3, 0.32), (9.1, 0.2), (19, 0.12))
    density = sum(share * plane_noise(x * f, z * f + 31 * f) for f, share in octaves)
    return smoothstep(-0.05, 1.1, density) * smoothstep(-0.02, 0.1, direction[:, 1]) * 0.95


def clouds_colour(scene: Scene, towards: Array) -> Array:
    return mix(scene.horizon * 0.98 + 0.04, scene.sunlight * 0.62 + 0.12, towards * 0.6 + 0.2)


def shade(scene: Scene, points: Array, direction: Array, travelled: Array) -> Array:
    """Colour of the solids hit at points, with haze."""
    normal = normals(scene, points, 0.0012 * travelled + 0.002)
    _, index = nearest(scene, points)
    colour = np.zeros_like(points)
    for i in np.unique(index):
        part = index == i
        colour[part] = scene.solids[i].colour(points[part], normal[part])
    sun = unit(np.float32(scene.sun))
    direct = (normal @ sun).clip(0, 1)
    lit = direct > 0
    direct[lit] *= light_reaching(scene, points[lit] + normal[lit] * 0.02)
    ambient = (0.6 + 0.4 * normal[:, 1]) * openness(scene, points, normal)
    skylight = (scene.zenith * 0.55 + scene.horizon * 0.35) * ambient[:, None]
    colour = colour * (direct[:, None] * scene.sunlight + skylight)
    return add_haze(scene, colour, direction, travelled)


def openness(scene: Scene, points: Array, normal: Array) -> Array:
    """Share 0..1 of the sky that reaches points, less in creases."""
    total = np.zeros(len(points), np.float32)
    for reach in (0.1, 0.35, 0.9):
        distance, _ = nearest(scene, points + normal * reach)
        total += (1 - distance / reach).clip(0, 1)
    return (1 - 0.3 * total).clip(0.15, 1)


def add_haze(scene: Scene, colour: Array, direction: Array, travelled: Array) -> Array:
    towards = (direction @ unit(np.float32(scene.sun))).clip(0, 1)
    air = mix(scene.horizon, scene.sunlight * 0.55, 0.4 * towards**3)
    return mix(colour, air, 1 - np.exp(-((travelled / scene.haze) ** 1.3)))


def waves(scene: Scene, points: Array, travelled: Array) -> Array:
    """Unit normals of the sea, which moves with time and is flatter at a distance."""
    x, z, t = points[:, 0], points[:, 2], scene.time
    slope = np.zeros((len(points), 2), np.float32)
    for scale, speed, height in ((1.3, 0.7, 0.11), (3.7, 1.1, 0.09), (9.1, 1.6, 0.05)):
        u, v = x * scale + t * speed, z * scale * 1.8 + t * speed * 0.6
        here = plane_noise(u, v)
        calm = height * np.exp(-travelled * scale / 55)
        slope[:, 0] += calm * (plane_noise(u + 0.3, v) - here) / 0.3
        slope[:, 1] += calm * (plane_noise(u, v + 0.3) - here) / 0.3
    return unit(np.stack([-slope[:, 0], np.ones(len(points)), -slope[:, 1]], 1)).astype(np.float32)


def sea(scene: Scene, points: Array, direction: Array, travelled: Array) -> Array:
    """Colour of the sea at points: reflections over a deep teal, and foam along the shores."""
    normal = waves(scene, points, travelled)
    facing = -(direction * normal).sum(1, keepdims=True)
    mirrored = unit(direction + 2 * facing * normal)
    mirrored[:, 1] = np.abs(mirrored[:, 1]) + 0.01
    share = 0.04 + 0.8 * (1 - facing[:, 0].clip(0, 1)) ** 4
    deep = mix(rgb("0b3a4e"), rgb("1f6f78"), 0.5 + 0.22 * plane_noise(points[:, 0], points[:, 2]))
    colour = mix(deep * 0.75, reflected(scene, points, unit(mirrored)), share.clip(0, 1))
    sparkle = (mirrored @ unit(np.float32(scene.sun))).clip(0, 1) ** 160
    colour = colour + sparkle[:, None] * scene.sunlight
    colour = mix(colour, rgb("eef0e6"), foam(scene, points))
    return add_haze(scene, colour, direction, travelled)


def foam(scene: Scene, points: Array) -> Array:
    distance, _ = nearest(scene, points)
    x, z = points[:, 0] * 4 + scene.time, points[:, 2] * 6
    ragged = plane_noise(x, z) + 0.6 * plane_noise(x * 3, z * 3)
    return smoothstep(0.22, 0.0, distance + 0.1 * ragged) * 0.8


def reflected(scene: Scene, points: Array, direction: Array) -> Array:
    origin = points + np.float32([0, 0.02, 0])
    travelled = march(scene, origin, direction, 45)
    colour = sky(scene, direction)
    hit = travelled < FAR
    if hit.any():
        at = origin[hit] + direction[hit] * travelled[hit, None]
        colour[hit] = shade(scene, at, direction[hit], travelled[hit] + 5)
    return colour


def rays(scene: Scene, width: int, height: int) -> Array:
    """Unit direction of every pixel's ray, [height * width, 3]."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    x, y = (2 * x + 1 - width) / height, (height - 2 * y - 1) / height
    forward = unit(np.float32(scene.target) - np.float32(scene.eye))
    right = unit(np.cross(np.float32([0, 1, 0]), forward))
    up = np.cross(forward, right)
    stacked = forward * scene.zoom + x[..., None] * right + y[..., None] * up
    return unit(stacked.reshape(-1, 3)).astype(np.float32)


def trace(scene: Scene, direction: Array) -> tuple[Array, Array, Array]:
    """Colour, label and subject (0 or 1) of each ray from the eye."""
    origin = np.broadcast_to(np.float32(scene.eye), direction.shape)
    travelled = march(scene, origin, direction)
    down = np.minimum(direction[:, 1], -1e-6)
    to_sea = np.where(direction[:, 1] < 0, -scene.eye[1] / down, 4 * FAR).astype(np.float32)
    water = (to_sea < travelled + 1e-3) & (to_sea < 4 * FAR)
    hit = (travelled < FAR) & ~water
    colour, labels = sky(scene, direction), np.zeros(len(direction), np.int32)
    subject = np.zeros(len(direction), np.float32)
    at = origin[hit] + direction[hit] * travelled[hit, None]
    colour[hit] = shade(scene, at, direction[hit], travelled[hit])
    owners = nearest(scene, at)[1]
    labels[hit] = np.array([LABELS.index(solid.label) for solid in scene.solids])[owners]
    subject[hit] = np.array([solid.subject for solid in scene.solids])[owners]
    at = origin[water] + direction[water] * to_sea[water, None]
    colour[water] = sea(scene, at, direction[water], to_sea[water])
    labels[water] = LABELS.index("sea")
    return colour, labels, subject


def tone_map(colour: Array) -> Array:
    """Linear light to display values: exponential exposure, gamma and an S-curve."""
    exposed = 1 - np.exp(-1.25 * colour.clip(0, None))
    printed = (exposed * 1.04).clip(0, 1) ** (1 / 1.7)
    return printed * printed * (3 - 2 * printed)


def render(scene: Scene, width: int, height: int, samples: int = 2) -> View:
    """Render with samples x samples rays a pixel."""
    shape = (height * samples, width * samples)
    direction = rays(scene, shape[1], shape[0])
    colour, labels, subject = trace(scene, direction)
    image = shrink(tone_map(colour).reshape(*shape, 3).astype(np.float32), samples)
    mask = shrink(subject.reshape(shape), samples)
    return View(image, mask, labels.reshape(shape)[::samples, ::samples])
