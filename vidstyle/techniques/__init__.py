"""TECHNIQUES: the registry. A new technique is one file here, one import and one entry below."""

from vidstyle.techniques.base import Encoded, Features, Style, Targets, Technique
from vidstyle.techniques.basic import Basic

__all__ = ["TECHNIQUES", "Basic", "Encoded", "Features", "Style", "Targets", "Technique"]

TECHNIQUES: dict[str, type[Technique]] = {
    "basic": Basic,
}
