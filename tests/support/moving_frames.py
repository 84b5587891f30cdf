"""Frames and flows with known motion, for tests of motion and of the prior."""

import cv2
import numpy as np

from vidstyle.image import Image

HEIGHT, WIDTH = 96, 144
INNER = np.s_[16:-16, 16:-16]


def clouds(seed: int, height: int = HEIGHT, width: int = WIDTH) -> Image:
    """Return a picture with detail of every size from three pixels on."""
    noise = np.random.default_rng(seed).random((height, width, 3)).astype(np.float32)
    layers = [cv2.GaussianBlur(noise, (0, 0), size) for size in (1.5, 4, 10)]
    picture = sum((layer - layer.mean()) / layer.std() for layer in layers)
    return np.clip(0.5 + 0.1 * picture, 0, 1).astype(np.float32)


def constant(dx: float, dy: float) -> np.ndarray:
    return np.full((HEIGHT, WIDTH, 2), (dx, dy), np.float32)


def with_disc(picture: Image, x: int) -> tuple[Image, np.ndarray]:
    """Return the picture behind a textured disc at this x, and where the disc is."""
    disc = np.hypot(*(np.indices((HEIGHT, WIDTH)).T - (48, x)).T) < 16
    return np.where(disc[..., None], 1 - np.roll(clouds(9), x, axis=1), picture), disc
