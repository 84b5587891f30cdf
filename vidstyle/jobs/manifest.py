"""Manifests: everything that the pixels of an output depend on; reading and comparison."""

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

MANIFEST = "manifest.json"  # in the state folder of an output

Manifest = dict[str, Any]

_GROUPS = ("options", "settings", "versions", "environment")  # of a job: dicts of values by name
_DEEPEST = 12  # levels of nesting; a manifest has six


def state_path(output: Path) -> Path:
    """Return the path of the state folder of `output`."""
    return Path(f"{output.absolute()}.vidstyle")


def state_of(output: Path) -> Manifest | None:
    """Return the manifest in the state folder of `output`; None if there is none."""
    return read_manifest(state_path(output) / MANIFEST)


def read_manifest(path: Path) -> Manifest | None:
    """Return the manifest at `path`; None if there is none. Raises StateError if damaged."""
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
    """Return whether a JSON value has the types of a manifest. Raises KeyError or TypeError."""
    job, published = stored["job"], stored["published"]
    if not (isinstance(job, dict) and isinstance(published, dict) and _is_shallow(stored)):
        return False
    groups = [job.get(name) for name in _GROUPS] + [published.get("form")]
    if not all(isinstance(group, dict | None) for group in groups):
        return False
    if not published:  # the output is not written yet
        return True
    files, frames = published["files"], published["frames"]
    named = isinstance(files, dict) and all(isinstance(digest, str) for digest in files.values())
    return named and type(frames) is int and isinstance(published["kept"], bool)


def _is_shallow(value: Any, levels: int = _DEEPEST) -> bool:
    """Return whether values are nested at most so deep; deeper ones could exceed the stack."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels > 0 and all(_is_shallow(part, levels - 1) for part in parts)


def is_own_manifest(data: bytes) -> bool:
    """Return whether vidstyle wrote this manifest, possibly damaged or cut off."""
    start = b'{\n "job": '
    if data.startswith(start) or start.startswith(data):
        return True
    try:
        return "job" in dict(json.loads(data))
    except (ValueError, TypeError, RecursionError):
        return False


def check_own(path: Path) -> None:
    """Raise StateError if `path` is a link or a file that vidstyle did not write."""
    with reading(path), suppress(FileNotFoundError, NotADirectoryError):
        regular = stat.S_ISREG(path.lstat().st_mode)
        if not (regular and is_own_manifest(path.read_bytes())):
            raise StateError(
                f"{path}: expected no file or one that vidstyle wrote, got another; move it away, "
                "or choose another output"
            )


def differences(old: Manifest, new: Manifest) -> list[str]:
    """Return a phrase for each difference of two manifests, with the names of the options."""
    named = {"source": "source", "styles": "styles", "guides": "masks or maps"}
    found = [f"the {what} changed" for key, what in named.items() if old.get(key) != new.get(key)]
    if old.get("weights") != new.get("weights"):
        found.append("the VGG-19 weights changed")
    found += changes(
        "", {"the technique": old.get("technique")}, {"the technique": new.get("technique")}
    )
    for group, prefix in (
        ("options", "--"),
        ("settings", "--"),
        ("versions", ""),
        ("environment", ""),
    ):
        found += changes(prefix, old.get(group) or {}, new.get(group) or {})
    return found


def changes(prefix: str, old: Manifest, new: Manifest) -> Iterator[str]:
    """Yield a phrase for each changed value; prefix: of its name, "--" for options."""
    for name in {**old, **new}:
        was, now = old.get(name), new.get(name)
        if was != now:
            label = prefix + (name.replace("_", "-") if prefix == "--" else name)
            yield f"{label} was {_text_of(was)}, is {_text_of(now)}"


def _text_of(value: Any) -> str:
    if value is None:
        return "unset"
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
