"""Protocols of the finished frames and of the stylizer that coherence reads."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np

from vidstyle.guides.guide import Guide
from vidstyle.image import Image

__all__ = ["FinishedFrame", "FinishedFrames", "StartImage"]


class StartImage(Protocol):
    """A stylizer's `begin`: the image that a frame's optimisation starts from without a prior."""

    def __call__(self, content: Image, guide: Guide | None = None) -> Image: ...


class FinishedFrame(Protocol):
    """The report on a finished frame: how it was reached from the frames before it."""

    @property
    def reinitialized(self) -> bool: ...
    @property
    def back(self) -> int | None: ...
    @property
    def follows(self) -> bool: ...


class FinishedFrames(Protocol):
    """The finished frames of a run, by position: jobs.checkpoint.Workdir, or a stand-in."""

    @property
    def path(self) -> Path: ...

    @property
    def finished(self) -> Mapping[int, FinishedFrame]: ...

    def has(self, index: int) -> bool:
        """Whether frame `index` is finished."""
        ...

    def load(self, index: int) -> Image:
        """Return finished frame `index`."""
        ...

    def load_notes(self, index: int) -> dict[str, np.ndarray]:
        """Return the notes on finished frame `index`, as they were saved."""
        ...
