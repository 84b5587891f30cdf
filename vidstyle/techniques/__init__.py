"""TECHNIQUES: the registry. A new technique is one file, one import and one entry here."""

from vidstyle.techniques.base import (
    Features,
    Inputs,
    Share,
    Strip,
    Style,
    StyleFeatures,
    Sums,
    Targets,
    Technique,
)
from vidstyle.techniques.basic import Basic
from vidstyle.techniques.doodle import Doodle
from vidstyle.techniques.mask import Mask
from vidstyle.techniques.patch import Patch
from vidstyle.techniques.region import Region

__all__ = [
    "TECHNIQUES",
    "Features",
    "Inputs",
    "Share",
    "Strip",
    "Style",
    "StyleFeatures",
    "Sums",
    "Targets",
    "Technique",
]

TECHNIQUES: dict[str, type[Technique]] = {
    technique.name: technique for technique in (Basic, Mask, Region, Patch, Doodle)
}
