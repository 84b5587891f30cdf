"""High dynamic range and wide gamuts brought to what a standard picture holds: sRGB, BT.709.

White of a standard picture is 203 nits (ITU-R BT.2408). What is darker than four fifths of it
keeps its brightness and colour; what is brighter, up to 1000 nits, is pressed into the last fifth.
"""

from functools import cache
from typing import Any

import numpy as np

from vidstyle.image import Image

__all__ = ["HDR", "is_wide", "to_standard"]

Curve = np.ndarray[Any, Any]  # float32 [65536]

HDR = {16: "PQ", 18: "HLG"}  # transfer tags of high dynamic range

_WHITE, _PEAK = 203.0, 1000.0  # nits
_KNEE = 0.8  # of white: where what is bright begins to be pressed
_TOP = 65535
# Linear light of other primaries to BT.709's. Both have the white of BT.709, D65.
_FROM_2020 = np.array(
    [[1.660491, -0.587641, -0.072850], [-0.124550, 1.132900, -0.008349],
     [-0.018151, -0.100579, 1.118730]], np.float32,
)  # fmt: skip
_FROM_P3 = np.array(
    [[1.224940, -0.224940, 0.0], [-0.042057, 1.042057, 0.0], [-0.019638, -0.078636, 1.098274]],
    np.float32,
)
_PRIMARIES = {9: _FROM_2020, 12: _FROM_P3}
_LUMA_2020 = np.array([0.2627, 0.6780, 0.0593], np.float32)


def is_wide(transfer: int, primaries: int) -> bool:
    """Tell whether these tags are of more than a standard picture holds."""
    return transfer in HDR or primaries in _PRIMARIES


def to_standard(pixels: np.ndarray[Any, Any], transfer: int, primaries: int) -> Image:
    """Return uint16 RGB [H, W, 3], coded as the tags say, as a standard Image."""
    light = _linear(transfer)[pixels]
    if HDR.get(transfer) == "HLG":  # from the light of the scene to that of a screen
        light *= (_PEAK / _WHITE) * np.power(np.maximum(light @ _LUMA_2020, 1e-6), 0.2)[..., None]
    untold = _FROM_2020 if transfer in HDR else None
    matrix = _PRIMARIES.get(primaries, untold)
    light = light if matrix is None else light @ matrix.T
    if transfer in HDR:
        light *= _pressed(light.max(axis=2, keepdims=True))
    levels = np.rint(np.clip(light, 0, 1) * _TOP).astype(np.uint16)
    image: Image = _coded(transfer in HDR)[levels]
    return image


def _pressed(bright: Image) -> Image:
    """Return the factor for each pixel, by the largest of its channels, [H, W, 1]."""
    over = np.maximum(bright - _KNEE, 0) / (1 - _KNEE)
    most = (_PEAK / _WHITE - _KNEE) / (1 - _KNEE)
    held = over * (1 + over / most**2) / (1 + over)  # Reinhard's curve: 1 at the peak
    return np.where(over > 0, (_KNEE + (1 - _KNEE) * held) / np.maximum(bright, 1e-6), 1)


@cache
def _linear(transfer: int) -> Curve:
    """Return the light of each code; 1 is a standard picture's white, or of HLG the scene's."""
    code = np.linspace(0, 1, _TOP + 1)
    if HDR.get(transfer) == "PQ":  # SMPTE ST 2084
        power = code ** (1 / 78.84375)
        nits = 1e4 * (np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)) ** (
            1 / 0.1593017578125
        )
        return (nits / _WHITE).astype(np.float32)
    if HDR.get(transfer) == "HLG":  # ITU-R BT.2100
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        light = np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12)
        return light.astype(np.float32)
    return (code**2.4).astype(np.float32)


@cache
def _coded(hdr: bool) -> Curve:
    """Return the code of each light: sRGB, or where none is pressed the inverse of `_linear`."""
    light = np.linspace(0, 1, _TOP + 1)
    if not hdr:
        return (light ** (1 / 2.4)).astype(np.float32)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055).astype(
        np.float32
    )
