"""Generated frame sequences, and runs of them with a tiny encoder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
from tiny import LAYERS, TinyEncoder

from vidstyle.image import Image
from vidstyle.jobs.job import Job, Network, make_job
from vidstyle.jobs.manifest import state_path
from vidstyle.jobs.pipeline import run
from vidstyle.stylizer.stylizer import Stylizer

HEIGHT, WIDTH, LENGTH = 48, 64, 4


def shot(seed: int, *, speed: int = 1, noise: float = 0.0, length: int = LENGTH) -> list[Image]:
    """Return frames of a textured background that pans `speed` pixels a frame, with noise."""
    random = np.random.default_rng(seed)
    field = random.random((HEIGHT, WIDTH + speed * length, 3), np.float32)
    ground = np.clip(0.5 + 3 * (cv2.GaussianBlur(field, (0, 0), 2) - 0.5), 0, 1)
    frames = [ground[:, speed * index : speed * index + WIDTH] for index in range(length)]
    return [
        np.clip(frame + noise * random.standard_normal(frame.shape, np.float32), 0, 1)
        for frame in frames
    ]


def save(folder: Path, frames: list[Image]) -> Path:
    folder.mkdir()
    for index, frame in enumerate(frames):
        pixels = np.rint(frame * 255).astype(np.uint8)
        PIL.Image.fromarray(pixels).save(folder / f"{index:06d}.png")
    return folder


class Film:
    """Runs frames as a sequence and returns the state of each frame."""

    def __init__(self, folder: Path, style: Path) -> None:
        self._folder, self._style = folder, style

    def job(self, name: str, frames: list[Image], **settings: Any) -> Job:
        return make_job(
            save(self._folder / name, frames),
            self._folder / f"{name}_out",
            style=self._style,
            rate=24,
            keep_frames=True,
            **{"steps": 8, "steps_next": 4, "content_layers": LAYERS[1:2], **settings},
            style_layers=LAYERS,
        )

    def run(
        self, job: Job, watch: Callable[[Any], None] = lambda event: None, **method: Any
    ) -> list[bytes]:
        """Return the bytes of the state of every frame. method: coherence or parameters of run."""

        def make(job: Job, styles: Any, network: Path | None) -> Stylizer:
            return Stylizer(
                styles, technique=job.technique, settings=job.settings, encoder=TinyEncoder()
            )

        run(job, watch, make_stylizer=make, network=Network(), **method)
        files = sorted((state_path(job.output) / "frames").glob("*.png"))
        return [file.read_bytes() for file in files]
