"""Manifests: what a state was made of, where it stands, and what differs between two."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from vidstyle.errors import StateError, reading

__all__ = [
    "MANIFEST",
    "Manifest",
    "changes",
    "differences",
    "read_manifest",
    "state_of",
    "state_path",
]

MANIFEST = "manifest.json"  # in the state beside an output

Manifest = dict[str, Any]


def state_path(output: Path) -> Path:
    """Return where the state of the run that makes `output` stands."""
    return Path(f"{output.absolute()}.vidstyle")


def state_of(output: Path) -> Manifest | None:
    """Return the manifest of the run that makes `output`; None if no state stands there."""
    return read_manifest(state_path(output) / MANIFEST)


def read_manifest(path: Path) -> Manifest | None:
    """Return the manifest at `path`; None if there is none. StateError if it is damaged."""
    try:
        with reading(path), suppress(FileNotFoundError, NotADirectoryError):
            stored = json.loads(path.read_bytes())
            return {"job": stored["job"], "published": stored["published"]}
    except (ValueError, KeyError, TypeError) as error:
        raise StateError(f"{path} is damaged; add --restart to discard that state") from error
    return None


def differences(old: Manifest, new: Manifest) -> list[str]:
    """Return what differs between two manifests, in the words of the command line."""
    named = {"source": "source", "styles": "styles", "guides": "masks or maps"}
    found = [f"the {what} changed" for key, what in named.items() if old.get(key) != new.get(key)]
    if old.get("weights") != new.get("weights"):
        found.append("the VGG-19 weights changed")
    found += changes(
        "", {"the technique": old.get("technique")}, {"the technique": new.get("technique")}
    )
    for group, form in (
        ("options", "--"),
        ("settings", "--"),
        ("versions", ""),
        ("environment", ""),
    ):
        found += changes(form, old.get(group) or {}, new.get(group) or {})
    return found


def changes(form: str, old: Manifest, new: Manifest) -> Iterator[str]:
    """Yield one phrase for each value that changed; `form` stands before its name."""
    for name in {**old, **new}:
        was, now = old.get(name), new.get(name)
        if was != now:
            label = form + (name.replace("_", "-") if form == "--" else name)
            yield f"{label} was {_shown(was)}, is {_shown(now)}"


def _shown(value: Any) -> str:
    if value is None:
        return "unset"
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
