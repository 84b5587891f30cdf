"""What lies in a folder: pictures in natural order, and the files that are left out, by name."""

import re
from collections.abc import Iterable
from pathlib import Path

from vidstyle.errors import MediaError
from vidstyle.inputs import NUMBER, pattern_of
from vidstyle.media.pictures import PICTURES
from vidstyle.media.raws import is_raw

__all__ = [
    "is_footage",
    "is_pattern",
    "is_system",
    "left_out_message",
    "listed",
    "missing_numbers",
    "natural",
]

_VIDEOS = frozenset(
    (
        ".3gp", ".apng", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg",
        ".mpg", ".mts", ".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv", ".y4m",
    )
)  # fmt: skip
# Folders and files that NAS devices, archives and operating systems keep beside a user's, in
# lower case. Those whose names begin with a dot are hidden and need no entry.
_SYSTEM = frozenset(
    (
        "@eadir", "@recently-snapshot", "@recycle", "@sharebin", "@tmp", "#recycle", "#snapshot",
        "__macosx", "$recycle.bin", "recycler", "system volume information", "lost+found",
        "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "picasa.ini",
        "network trash folder", "temporary items", "icon\r",
    )
)  # fmt: skip
_STATE = ".vidstyle"  # the suffix of a run's state
_MAX_NAMED = 20  # names of left-out files in one line; a folder may hold thousands


def is_footage(name: str) -> bool:
    """Tell whether a file of this name is taken for a picture, an animation or a video."""
    return Path(name).suffix.lower() in PICTURES | _VIDEOS and not name.startswith(".")


def is_system(name: str) -> bool:
    """Tell whether a file or folder of this name belongs to a NAS, an archive or a system."""
    return name.lower() in _SYSTEM


def is_pattern(path: Path) -> bool:
    """Tell whether a path is a numbered pattern (f/%05d.png)."""
    return bool(NUMBER.search(path.name)) and not path.exists()


def listed(path: Path, expected: str) -> tuple[list[Path], tuple[str, ...]]:
    """Return (pictures in natural order, a sentence each on what is left out or missing).

    path: a folder or a numbered pattern. expected: the beginning of error messages. Raises
    MediaError if there is no picture.
    """
    folder = path if path.is_dir() else path.parent
    try:
        present = sorted(folder.iterdir(), key=lambda file: natural(file.name))
    except OSError as error:
        raise MediaError(f"{path}: {expected}, but {error.strerror}: {folder}") from error
    if path.is_dir():
        files = [file for file in present if _looks_like_picture(file)]
        left_out = left_out_message(_names(set(present) - set(files)))
    else:
        pattern = pattern_of(path)
        files = [file for file in present if pattern.fullmatch(file.name) and file.is_file()]
        left_out = ""
    if not files:
        nothing = "no picture in it" if path.is_dir() else "no file that matches"
        told = f" ({left_out})" if left_out else ""
        raise MediaError(f"{path}: expected pictures (.png, .jpg and others), got {nothing}{told}")
    return files, tuple([left_out] if left_out else missing_numbers(path, files))


def _looks_like_picture(file: Path) -> bool:
    hidden = file.name.startswith(".") or is_system(file.name)
    return file.suffix.lower() in PICTURES and not hidden and file.is_file()


def _names(paths: Iterable[Path]) -> list[str]:
    """Return the names that are worth telling: neither hidden, of the system, nor a run's state."""
    names = [
        f"{path.name}/" if path.is_dir() else path.name
        for path in paths
        if not path.name.startswith(".")
        and not is_system(path.name)
        and not path.name.endswith(_STATE)
    ]
    return sorted(names, key=natural)


def left_out_message(names: list[str]) -> str:
    """Return one sentence that names the files and folders (name/) left out, "" for none."""
    if not names:
        return ""
    shown = ", ".join(names[:_MAX_NAMED])
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    advice = [
        ("camera raw has to be developed to TIFF first", any(map(is_raw, names))),
        ("-r takes in videos and folders", any(map(_is_for_batch, names))),
    ]
    told = "; ".join(sentence for sentence, applies in advice if applies)
    return f"left out: {shown}{more}" + (f" ({told})" if told else "")


def _is_for_batch(name: str) -> bool:
    return name.endswith("/") or (is_footage(name) and Path(name).suffix.lower() in _VIDEOS)


def natural(name: str) -> list[tuple[int, int, str]]:
    """Return a key that puts frame10 after frame9."""
    parts = re.split(r"(\d+)", name.lower())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts] + [
        (2, 0, name)
    ]


def missing_numbers(path: Path, files: list[Path]) -> tuple[str, ...]:
    """Return a sentence if numbers of a pattern are missing between the first and the last."""
    if path.is_dir():
        return ()
    pattern = pattern_of(path)
    numbers = [int(match[1]) for file in files if (match := pattern.fullmatch(file.name))]
    missing = numbers[-1] - numbers[0] + 1 - len(numbers)
    if missing <= 0:
        return ()
    return (f"{missing} of the numbers {numbers[0]} to {numbers[-1]} are missing: left out",)
