"""Manifests: what a state was made of, where it stands, and what differs between two."""

import json
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from vidstyle.errors import StateError, reading

__all__ = [
    "MANIFEST",
    "Manifest",
    "changes",
    "check_own",
    "differences",
    "is_own_manifest",
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


def is_own_manifest(data: bytes) -> bool:
    """Tell whether vidstyle wrote a manifest of this content, be it damaged or cut off."""
    start = b'{\n "job": '
    if data.startswith(start) or start.startswith(data):
        return True
    try:
        return "job" in dict(json.loads(data))
    except (ValueError, TypeError, RecursionError):
        return False


def check_own(path: Path) -> None:
    """Raise StateError if anything but a file that vidstyle wrote is at `path`, also a link."""
    with reading(path), suppress(FileNotFoundError, NotADirectoryError):
        regular = stat.S_ISREG(path.lstat().st_mode)
        if not (regular and is_own_manifest(path.read_bytes())):
            raise StateError(
                f"{path}: expected no file or one that vidstyle wrote, got another; move it away, "
                "or choose another output"
            )


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
