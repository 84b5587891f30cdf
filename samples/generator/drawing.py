"""Noise, colours and file writing, shared by the sample generators."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

Array = np.ndarray  # float32 unless noted; pictures are [H, W, 3], RGB, 0..1


def generator(name: str) -> np.random.Generator:
    """Return the random generator of a picture, seeded with its name."""
    return np.random.default_rng(list(name.encode()))


def spectral_noise(shape: tuple[int, ...], exponent: float, name: str) -> Array:
    """Periodic 1/f^exponent noise, mean 0, deviation 1."""
    spectrum = np.fft.fftn(generator(name).standard_normal(shape))
    frequencies = np.meshgrid(*(np.fft.fftfreq(n, 1 / n) for n in shape), indexing="ij")
    radius = np.sqrt(sum(f**2 for f in frequencies))
    radius.flat[0] = np.inf
    field = np.fft.ifftn(spectrum / radius**exponent).real
    return (field / field.std()).astype(np.float32)


def grid(width: int, height: int) -> tuple[Array, Array]:
    """X to the right and y downwards of every pixel, in picture heights from the top left."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    return (x + 0.5) / height, (y + 0.5) / height


def smoothstep(low: float, high: float, value: Array) -> Array:
    """0 at and below low, 1 at and above high, smooth between; low may exceed high."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def mix(a: Array, b: Array, share: Array) -> Array:
    """Colours between a (share 0) and b (share 1); share has no channel axis."""
    return a + (b - a) * np.asarray(share, np.float32)[..., None]


def rgb(*codes: str) -> Array:
    """Colours from codes such as "1f3a5f": [3] for one, [N, 3] for several."""
    colours = np.array([list(bytes.fromhex(code)) for code in codes], np.float32) / 255
    return colours[0] if len(codes) == 1 else colours


def ramp(value: Array, colours: Array) -> Array:
    """Colour of value 0..1 on an even gradient through colours [N, 3]."""
    stops = np.linspace(0, 1, len(colours))
    channels = [np.interp(value, stops, colours[:, c]) for c in range(3)]
    return np.stack(channels, axis=-1).astype(np.float32)


def jitter(colours: Array, amounts: tuple[float, float, float], rng: np.random.Generator) -> Array:
    """Colours [N, 3] moved at random in hue (degrees), saturation and value (0..1)."""
    hsv = cv2.cvtColor(colours[None].astype(np.float32), cv2.COLOR_RGB2HSV)[0]
    hsv += rng.normal(0, 1, hsv.shape).astype(np.float32) * np.float32(amounts)
    hsv[:, 0] %= 360
    hsv[:, 1:] = hsv[:, 1:].clip(0, 1)
    return cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0]


def shrink(image: Array, factor: int) -> Array:
    """Mean of every factor x factor block."""
    height, width = image.shape[0] // factor, image.shape[1] // factor
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def bytes_of(image: Array) -> Array:
    """Picture as uint8."""
    return (image.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def save(path: Path, image: Array, quality: int = 90) -> None:
    """Write a colour or grey picture; the suffix decides between PNG and JPEG."""
    pixels = bytes_of(image)
    if pixels.ndim == 3:
        pixels = pixels[..., ::-1]
    path.parent.mkdir(parents=True, exist_ok=True)
    jpeg = path.suffix == ".jpg"
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if jpeg else [cv2.IMWRITE_PNG_COMPRESSION, 9]
    if not cv2.imwrite(str(path), pixels, options):
        raise OSError(f"could not write {path}")
