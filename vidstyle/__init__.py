"""Stylise video clips and photo folders by optimisation, with temporal consistency.

    vidstyle.stylize("clip.mp4", "out.mp4", style="wave.jpg")

Modules that decode or compute are imported when one of their names is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vidstyle.errors import (
    CancelledError,
    GuideError,
    InputError,
    MediaError,
    OutputError,
    SettingsError,
    StateError,
    UsageError,
    VidstyleError,
    WeightsError,
)
from vidstyle.settings import Settings

if TYPE_CHECKING:
    from vidstyle.coherence.prior import TemporalPrior
    from vidstyle.coherence.stylized import Stylized
    from vidstyle.guides.guide import Guide
    from vidstyle.jobs.events import Outcome
    from vidstyle.jobs.pipeline import stylize
    from vidstyle.jobs.stream import stylize_frames
    from vidstyle.media import probe, read_picture
    from vidstyle.stylizer.stylizer import Stylizer
    from vidstyle.techniques.base import Style

__all__ = [
    "CancelledError",
    "Guide",
    "GuideError",
    "InputError",
    "MediaError",
    "Outcome",
    "OutputError",
    "Settings",
    "SettingsError",
    "StateError",
    "Style",
    "Stylized",
    "Stylizer",
    "TemporalPrior",
    "UsageError",
    "VidstyleError",
    "WeightsError",
    "probe",
    "read_picture",
    "stylize",
    "stylize_frames",
]

_LAZY = {
    "Guide": "vidstyle.guides.guide",
    "Outcome": "vidstyle.jobs.events",
    "TemporalPrior": "vidstyle.coherence.prior",
    "Style": "vidstyle.techniques.base",
    "Stylized": "vidstyle.coherence.stylized",
    "Stylizer": "vidstyle.stylizer.stylizer",
    "probe": "vidstyle.media",
    "read_picture": "vidstyle.media",
    "stylize": "vidstyle.jobs.pipeline",
    "stylize_frames": "vidstyle.jobs.stream",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'vidstyle' has no attribute {name!r}")
    from vidstyle.environment import preserved

    with preserved():
        return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
