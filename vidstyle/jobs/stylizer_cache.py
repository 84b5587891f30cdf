"""A stylizer that is made once and shared by several jobs with the same styles and settings."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vidstyle.jobs.job import Job
from vidstyle.jobs.pipeline import MakeStylizer

if TYPE_CHECKING:
    from vidstyle.guides.guide import Guide
    from vidstyle.stylizer.protocol import Stylizes
    from vidstyle.techniques.base import Style

__all__ = ["StylizerCache"]


class StylizerCache:
    """Makes a stylizer on the first call, and again when styles, maps or settings differ."""

    def __init__(self, make: MakeStylizer) -> None:
        self._make = make
        self._styles: Sequence[Style] = ()
        self._settings: Any = None
        self._stylizer: Stylizes | None = None

    def __call__(self, job: Job, styles: "Sequence[Style]", network: Path | None) -> "Stylizes":
        """Return the stylizer for a job."""
        settings = job.optimises, job.technique, job.settings.of_scope("look", "run")
        if (
            self._stylizer is None
            or settings != self._settings
            or not _same_styles(self._styles, styles)
        ):
            self._stylizer = self._make(job, styles, network)
            self._styles, self._settings = styles, settings
        return self._stylizer


def _same_styles(these: "Sequence[Style]", those: "Sequence[Style]") -> bool:
    return len(these) == len(those) and all(
        a.weight == b.weight and np.array_equal(a.image, b.image) and _same_guide(a.guide, b.guide)
        for a, b in zip(these, those, strict=True)
    )


def _same_guide(this: "Guide | None", that: "Guide | None") -> bool:
    if this is None or that is None:
        return this is that
    return this.names == that.names and np.array_equal(this.planes, that.planes)
