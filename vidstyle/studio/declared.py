"""The settings and techniques as the page shows them, derived from their declarations."""

from dataclasses import Field
from fractions import Fraction
from typing import Any

from vidstyle.settings import Option, Settings, kinds_of, options
from vidstyle.techniques import TECHNIQUES

__all__ = ["declared_settings", "declared_techniques"]

_PART = ("start", "end", "rate")  # options that select frames of the source
_GROUPS = {"look": "Look", "output": "Result file", "run": "Run"}


def declared_settings() -> list[dict[str, Any]]:
    """Return each option of a run: name, kind, default, meaning, bounds and group."""
    return [
        _as_json(name, *declared, "Part of the clip" if name in _PART else "")
        for name, declared in options(Settings).items()
    ]


def declared_techniques() -> list[dict[str, Any]]:
    """Return each technique: name, summary, inputs ("optional", "required") and own options."""
    return [
        {
            "name": name,
            "summary": technique.summary,
            "inputs": dict(vars(technique.inputs)),
            "options": [_as_json(key, *item, name) for key, item in options(technique).items()],
        }
        for name, technique in TECHNIQUES.items()
    ]


def _as_json(name: str, declared: "Field[Any]", spec: Option, group: str) -> dict[str, Any]:
    kinds = kinds_of(declared)
    kind = "flag" if bool in kinds else "list" if spec.choices else "text"
    if kind == "text" and {int, float, Fraction} & {*kinds}:
        kind = "number"
    default = declared.default
    return {
        "name": name,
        "flag": f"--{name.replace('_', '-')}",
        "kind": kind,
        "whole": int in kinds and float not in kinds,
        "default": list(default) if isinstance(default, tuple) else default,
        "meaning": spec.meaning,
        "unit": spec.unit,
        "low": spec.low,
        "high": spec.high,
        "words": list(spec.words),
        "choices": list(spec.choices),
        "group": group or _GROUPS[spec.scope],
    }
