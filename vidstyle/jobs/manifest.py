"""Manifests: what a state was made of, where it stands, and what differs between two."""

import json
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from vidstyle.atomic import is_special
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

_GROUPS = ("options", "settings", "versions", "environment")  # of a job's values, by name
_DEEPEST = 12  # levels of nesting; a manifest has six


def state_path(output: Path) -> Path:
    """Return where the state of the run that makes `output` stands."""
    return Path(f"{output.absolute()}.vidstyle")


def state_of(output: Path) -> Manifest | None:
    """Return the manifest of the run that makes `output`; None if no state stands there."""
    return read_manifest(state_path(output) / MANIFEST)


def read_manifest(path: Path) -> Manifest | None:
    """Return the manifest at `path`; None if there is none. StateError if it is damaged."""
    damaged = f"{path} is damaged; add --restart to discard that state"
    if is_special(path):
        raise StateError(damaged)
    try:
        with reading(path), suppress(FileNotFoundError, NotADirectoryError):
            stored = json.loads(path.read_bytes())
            if not _is_manifest(stored):
                raise StateError(damaged)
            return {"job": stored["job"], "published": stored["published"]}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise StateError(damaged) from error
    return None


def _is_manifest(stored: Any) -> bool:
    """Tell whether what a file holds has the types of a manifest. Raises KeyError or TypeError."""
    job, published = stored["job"], stored["published"]
    if not (isinstance(job, dict) and isinstance(published, dict) and _is_shallow(stored)):
        return False
    groups = [job.get(name) for name in _GROUPS] + [published.get("form")]
    if not all(isinstance(group, dict | None) for group in groups):
        return False
    if not published:  # nothing was written yet
        return True
    files, frames = published["files"], published["frames"]
    named = isinstance(files, dict) and all(isinstance(digest, str) for digest in files.values())
    return named and type(frames) is int and isinstance(published["kept"], bool)


def _is_shallow(value: Any, levels: int = _DEEPEST) -> bool:
    """Tell whether values are nested no deeper: comparing and printing deeper ones may fail."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels > 0 and all(_is_shallow(part, levels - 1) for part in parts)


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
