"""Tone and gamut mapping of HDR and wide-gamut colours to sRGB / BT.709.

SDR white is 203 nits (ITU-R BT.2408). Up to 0.8 of it, brightness and colour are unchanged; from
there to 1000 nits, brightness is compressed into the remaining 0.2.
"""

from functools import cache
from typing import Any

import numpy as np

from vidstyle.image import Image

__all__ = ["HDR", "is_wide", "to_standard"]

Curve = np.ndarray[Any, Any]  # float32 [65536]

HDR = {16: "PQ", 18: "HLG"}  # HDR transfer characteristics (ITU-T H.273)

_WHITE, _PEAK = 203.0, 1000.0  # nits
_KNEE = 0.8  # share of white above which brightness is compressed
_TOP = 65535
# Linear RGB of other primaries to linear BT.709; all have white D65.
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
    """Whether these tags denote HDR or a gamut wider than BT.709."""
    return transfer in HDR or primaries in _PRIMARIES


def to_standard(pixels: np.ndarray[Any, Any], transfer: int, primaries: int) -> Image:
    """Convert uint16 RGB [H, W, 3], encoded as tagged, to an sRGB or BT.709 image."""
    light = _decoding_curve(transfer)[pixels]
    if HDR.get(transfer) == "HLG":  # OOTF: scene light to display light
        light *= (_PEAK / _WHITE) * np.power(np.maximum(light @ _LUMA_2020, 1e-6), 0.2)[..., None]
    untagged = _FROM_2020 if transfer in HDR else None
    matrix = _PRIMARIES.get(primaries, untagged)
    light = light if matrix is None else light @ matrix.T
    if transfer in HDR:
        light *= _compression(light.max(axis=2, keepdims=True))
    levels = np.rint(np.clip(light, 0, 1) * _TOP).astype(np.uint16)
    image: Image = _encoding_curve(transfer in HDR)[levels]
    return image


def _compression(bright: Image) -> Image:
    """Return the compression factor per pixel, [H, W, 1], from its largest channel."""
    excess = np.maximum(bright - _KNEE, 0) / (1 - _KNEE)
    peak = (_PEAK / _WHITE - _KNEE) / (1 - _KNEE)
    mapped = excess * (1 + excess / peak**2) / (1 + excess)  # Reinhard's curve: 1 at the peak
    return np.where(excess > 0, (_KNEE + (1 - _KNEE) * mapped) / np.maximum(bright, 1e-6), 1)


@cache
def _decoding_curve(transfer: int) -> Curve:
    """Return the linear light of each code; 1 is SDR white, or for HLG peak scene light."""
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
def _encoding_curve(hdr: bool) -> Curve:
    """Return the code of each linear light: sRGB for HDR, else gamma 1/2.4."""
    light = np.linspace(0, 1, _TOP + 1)
    if not hdr:
        return (light ** (1 / 2.4)).astype(np.float32)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055).astype(
        np.float32
    )
