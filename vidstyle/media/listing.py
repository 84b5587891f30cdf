"""Folder listings: pictures in natural order, and notes on the files left out."""

import re
from collections.abc import Iterable
from pathlib import Path

from vidstyle.errors import MediaError, name_list
from vidstyle.inputs import NUMBER, pattern_of
from vidstyle.media.pictures.files import PICTURES
from vidstyle.media.pictures.raws import is_raw

__all__ = [
    "is_footage",
    "is_pattern",
    "is_system",
    "left_out_message",
    "list_pictures",
    "missing_numbers",
    "natural",
]

_VIDEOS = frozenset(
    (
        ".3gp", ".apng", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg",
        ".mpg", ".mts", ".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv", ".y4m",
    )
)  # fmt: skip
# Lower-case names of folders and files that NAS devices, archives and operating systems create.
# Hidden files (with a leading dot) are skipped anyway.
_SYSTEM = frozenset(
    (
        "@eadir", "@recently-snapshot", "@recycle", "@sharebin", "@tmp", "#recycle", "#snapshot",
        "__macosx", "$recycle.bin", "recycler", "system volume information", "lost+found",
        "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "picasa.ini",
        "network trash folder", "temporary items", "icon\r",
    )
)  # fmt: skip
_STATE = ".vidstyle"  # suffix of a run's state folder
_MAX_NAMED = 20  # file names in one message; a folder may hold thousands


def is_footage(name: str) -> bool:
    """Whether a file name has the suffix of a picture, animation or video."""
    return Path(name).suffix.lower() in PICTURES | _VIDEOS and not name.startswith(".")


def is_system(name: str) -> bool:
    """Whether a file or folder name belongs to a NAS, an archive or an operating system."""
    return name.lower() in _SYSTEM


def is_pattern(path: Path) -> bool:
    """Whether a path is a numbered pattern (f/%05d.png)."""
    return bool(NUMBER.search(path.name)) and not path.exists()


def list_pictures(path: Path, expected: str) -> tuple[list[Path], tuple[str, ...]]:
    """Return (pictures in natural order, notes on files left out or numbers missing).

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
        detail = f" ({left_out})" if left_out else ""
        raise MediaError(f"{path}: expected pictures (.png, .jpg, …), got {nothing}{detail}")
    return files, tuple([left_out] if left_out else missing_numbers(path, files))


def _looks_like_picture(file: Path) -> bool:
    hidden = file.name.startswith(".") or is_system(file.name)
    return file.suffix.lower() in PICTURES and not hidden and file.is_file()


def _names(paths: Iterable[Path]) -> list[str]:
    """Return the names without hidden files, system files and state folders, in natural order."""
    names = [
        f"{path.name}/" if path.is_dir() else path.name
        for path in paths
        if not path.name.startswith(".")
        and not is_system(path.name)
        and not path.name.endswith(_STATE)
    ]
    return sorted(names, key=natural)


def left_out_message(names: list[str]) -> str:
    """Return a message that names the files and folders (name/) left out, "" for none."""
    if not names:
        return ""
    advice = [
        ("camera raw must be developed to TIFF first", any(map(is_raw, names))),
        ("-r includes videos and folders", any(map(_is_for_batch, names))),
    ]
    detail = "; ".join(sentence for sentence, applies in advice if applies)
    return f"left out: {name_list(names, _MAX_NAMED)}" + (f" ({detail})" if detail else "")


def _is_for_batch(name: str) -> bool:
    return name.endswith("/") or (is_footage(name) and Path(name).suffix.lower() in _VIDEOS)


def natural(name: str) -> list[tuple[int, int, str]]:
    """Return a sort key that puts frame10 after frame9."""
    parts = re.split(r"(\d+)", name.lower())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts] + [
        (2, 0, name)
    ]


def missing_numbers(path: Path, files: list[Path]) -> tuple[str, ...]:
    """Return a note if a pattern's numbers have gaps between the first and the last."""
    if path.is_dir():
        return ()
    pattern = pattern_of(path)
    numbers = [int(match[1]) for file in files if (match := pattern.fullmatch(file.name))]
    missing = numbers[-1] - numbers[0] + 1 - len(numbers)
    if missing <= 0:
        return ()
    return (f"{missing} of the numbers {numbers[0]} to {numbers[-1]} are missing: left out",)
