"""ICC profiles (ICC.1:2022) evaluated in floating point: matrix/TRC profiles and grey TRC profiles.

Pillow's LittleCMS binding converts only 8 bits per channel. This module covers the profiles that
cameras and raw converters embed (sRGB, Adobe RGB, Display P3, ProPhoto, Rec. 2020, grey gamma).
"""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Shaper", "parse", "shaped"]

Array = np.ndarray[Any, Any]

_LEVELS = 65536  # 16-bit codes
_HEADER = 128  # bytes before the tag table
_MOST_TAGS = 200  # a longer tag table is treated as damage
_COLORANTS = (b"rXYZ", b"gXYZ", b"bXYZ")
_CURVES = (b"rTRC", b"gTRC", b"bTRC")
# Parameters of each type of parametric curve, in file order.
_PARAMETERS = {0: "g", 1: "gab", 2: "gabc", 3: "gabcd", 4: "gabcdef"}


@dataclass(frozen=True)
class Shaper:
    """A profile of tone curves and a matrix.

    curves: linear light of each 16-bit code, float32 [65536], one per channel: 3, or 1 for grey.
    matrix: linear RGB to XYZ of D50, float64 [3, 3]; None for grey.
    """

    curves: tuple[Array, ...]
    matrix: Array | None


def parse(profile: bytes) -> Shaper | None:
    """Return the curves and matrix of a profile; None for other types (lookup tables, CMYK).

    Raises ValueError or struct.error for a damaged profile.
    """
    space, connection = profile[16:20], profile[20:24]
    tags = _tags(profile)
    if connection != b"XYZ " or b"A2B0" in tags:
        return None
    if space == b"GRAY" and b"kTRC" in tags:
        return Shaper((_curve(tags[b"kTRC"]),), None)
    if space != b"RGB " or not set(_COLORANTS + _CURVES) <= set(tags):
        return None
    matrix = np.stack([_xyz(tags[name]) for name in _COLORANTS], axis=1)
    return Shaper(tuple(_curve(tags[name]) for name in _CURVES), matrix)


def shaped(codes: Array, source: Shaper, target: Shaper) -> Array:
    """Convert uint16 [H, W, 3], or [H, W, 1] with a grey profile, to sRGB float32 [H, W, 3].

    target: the sRGB shaper, of which the matrix is used; the sRGB curve is computed exactly.
    """
    light = np.dstack([curve[codes[..., i]] for i, curve in enumerate(source.curves)])
    if source.matrix is None or target.matrix is None:
        return np.repeat(_encoded(light), 3, axis=2)
    matrix = np.linalg.inv(target.matrix) @ source.matrix
    return _encoded(light @ matrix.T.astype(np.float32))


def _encoded(light: Array) -> Array:
    """Encode linear light as sRGB in 0..1 (IEC 61966-2-1)."""
    light = np.clip(light, 0, 1)
    low = 12.92 * light
    return np.where(light <= 0.0031308, low, 1.055 * light ** (1 / 2.4) - 0.055).astype(np.float32)


def _tags(profile: bytes) -> dict[bytes, bytes]:
    """Return the data of each tag. Raises ValueError if one lies outside the profile."""
    (count,) = struct.unpack(">I", profile[_HEADER : _HEADER + 4])
    if count > _MOST_TAGS:
        raise ValueError(f"a profile of {count} tags")
    tags = {}
    for index in range(count):
        entry = _HEADER + 4 + 12 * index
        name, offset, size = struct.unpack(">4sII", profile[entry : entry + 12])
        if offset + size > len(profile):
            raise ValueError("a tag outside the profile")
        tags[name] = profile[offset : offset + size]
    return tags


def _xyz(tag: bytes) -> Array:
    if tag[:4] != b"XYZ ":
        raise ValueError("a colorant that is not XYZ")
    return np.array(struct.unpack(">3i", tag[8:20]), np.float64) / 65536


def _curve(tag: bytes) -> Array:
    """Return the linear light of each 16-bit code, float32 [65536]."""
    codes = np.linspace(0, 1, _LEVELS)
    if tag[:4] == b"para":
        light = _parametric(tag, codes)
    elif tag[:4] == b"curv":
        light = _sampled(tag, codes)
    else:
        raise ValueError("a tone curve of an unknown type")
    if not np.isfinite(light).all():
        raise ValueError("a tone curve without finite values")
    return np.clip(light, 0, 1).astype(np.float32)


def _sampled(tag: bytes, codes: Array) -> Array:
    """Evaluate a 'curv' tag: identity, one gamma (u8Fixed8), or a table."""
    (count,) = struct.unpack(">I", tag[8:12])
    values = np.frombuffer(tag[12 : 12 + 2 * count], ">u2")
    if len(values) != count:
        raise ValueError("a tone curve that is cut short")
    if count == 0:
        return codes
    if count == 1:
        return codes ** (float(values[0]) / 256)
    return np.interp(codes, np.linspace(0, 1, count), values / 65535)


def _parametric(tag: bytes, codes: Array) -> Array:
    """Evaluate a 'para' tag: a power function with a linear segment, types 0 to 4."""
    (kind,) = struct.unpack(">H", tag[8:10])
    if kind not in _PARAMETERS:
        raise ValueError("a parametric curve of an unknown type")
    names = _PARAMETERS[kind]
    numbers = struct.unpack(f">{len(names)}i", tag[12 : 12 + 4 * len(names)])
    p = dict.fromkeys("abcdef", 0.0) | {"a": 1.0}
    p |= {name: number / 65536 for name, number in zip(names, numbers, strict=True)}
    if kind in (1, 2):  # start where the base of the power is 0; type 2 adds c everywhere
        p |= {"d": -p["b"] / p["a"] if p["a"] else 0.0, "e": p["c"], "f": p["c"], "c": 0.0}
    power = np.maximum(p["a"] * codes + p["b"], 0) ** p["g"] + p["e"]
    return np.where(codes >= p["d"], power, p["c"] * codes + p["f"])
