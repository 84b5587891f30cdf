"""TECHNIQUES: the registry. A new technique is one file here, one import and one entry below."""

from vidstyle.techniques.base import (
    Features,
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
    "Share",
    "Strip",
    "Style",
    "StyleFeatures",
    "Sums",
    "Targets",
    "Technique",
]

TECHNIQUES: dict[str, type[Technique]] = {
    "basic": Basic,
    "mask": Mask,
    "region": Region,
    "patch": Patch,
    "doodle": Doodle,
}
