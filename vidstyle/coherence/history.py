"""Protocols of the finished frames and of the stylizer, as coherence uses them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np

from vidstyle.guides.guide import Guide
from vidstyle.image import Image

__all__ = ["FinishedFrame", "FinishedFrames", "StartImage"]


class StartImage(Protocol):
    """A stylizer's `begin`: returns a frame's initial image when there is no prior."""

    def __call__(self, content: Image, guide: Guide | None = None) -> Image: ...


class FinishedFrame(Protocol):
    """The relation of a finished frame to earlier frames: jobs.checkpoint.Finished."""

    @property
    def reinitialized(self) -> bool: ...
    @property
    def back(self) -> int | None: ...
    @property
    def follows(self) -> bool: ...


class FinishedFrames(Protocol):
    """The finished frames of a run, by position: jobs.checkpoint.Checkpoint, or in memory."""

    @property
    def path(self) -> Path: ...

    @property
    def finished(self) -> Mapping[int, FinishedFrame]: ...

    def has(self, index: int) -> bool:
        """Return whether frame `index` is finished."""
        ...

    def load(self, index: int) -> Image:
        """Return finished frame `index`."""
        ...

    def load_notes(self, index: int) -> dict[str, np.ndarray]:
        """Return the notes saved with finished frame `index`: arrays by name, see `notes`."""
        ...
