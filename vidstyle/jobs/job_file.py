"""Job files: a request as TOML, whose keys are the options of the command line.

A request is a dict by option name: "technique", "source" (a tuple), "output", "style" (a tuple of
'PATH' or 'PATH=WEIGHT'), the guides, "weights", "recursive", "list", "shard", "scheduler", and the
options of `Settings` and of the technique. It holds the given options, not the defaults. Paths are
text. In a file, keys are spelt as on the command line ("style-weight"; "_" is accepted), and
relative paths count from the folder of the file.
"""

import difflib
import os
import tomllib
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from vidstyle.atomic import drafted, is_special
from vidstyle.errors import MediaError, SettingsError, UsageError, reading, writing
from vidstyle.inputs import is_automatic
from vidstyle.jobs.job import parse_style
from vidstyle.settings import Option, Settings, kinds_of, options
from vidstyle.techniques import TECHNIQUES

__all__ = [
    "Request",
    "check_request",
    "dump_job",
    "job_to_command",
    "load_job",
    "read_job",
    "with_paths",
    "write_job",
]

Request = dict[str, Any]

_Kind = Literal["text", "path", "paths", "flag"]
_KEYS: dict[str, _Kind] = {  # besides the options of Settings and of the techniques
    "technique": "text",
    "source": "paths",
    "output": "path",
    "style": "paths",
    "mask": "paths",
    "map": "path",
    "style_map": "paths",
    "weights": "path",
    "recursive": "flag",
    "list": "path",
    "shard": "text",
    "scheduler": "text",
}
_LONGEST = 1 << 20  # bytes of a job file
_HEADER = "# Run this job: vidstyle run FILE. Relative paths count from the folder of this file.\n"


def read_job(path: Path, *, whole: bool = True) -> Request:
    """Return the request of a job file, its relative paths joined to the file's folder.

    whole: see check_request. Raises MediaError if it cannot be read, UsageError or SettingsError
    for its content.
    """
    expected = f"{path}: expected a job file (see --save-job)"
    if is_special(path) or path.is_dir():
        raise MediaError(f"{expected}, got a pipe, a device or a folder; name a file")
    try:
        with path.open("rb") as file:
            data = file.read(_LONGEST + 1)
    except FileNotFoundError as error:
        raise MediaError(f"{expected}, but there is no such file; check the path") from error
    except PermissionError as error:
        raise MediaError(f"{expected}, but it may not be read; change its permissions") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MediaError(f"{expected}, got a file that is no text; {_ADVICE}") from error
    if len(data) > _LONGEST or "\0" in text:
        raise MediaError(f"{expected}, got a file that is none; {_ADVICE}")
    return load_job(text, path.parent, str(path), whole=whole)


_ADVICE = "to stylise a source without one, name a technique: vidstyle basic SOURCE ..."


def load_job(text: str, folder: Path, where: str, *, whole: bool = True) -> Request:
    """Return the request of a job file's text. where: what messages call the file.

    folder: what relative paths count from. whole: see check_request. Raises UsageError or
    SettingsError.
    """
    try:
        values = tomllib.loads(text.replace("\r\n", "\n"))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(
            f"{where}: expected a job file in TOML (size = 512), but {_lower(str(error))}; "
            "correct that place"
        ) from error
    request = check_request(values, where, whole=whole)
    return with_paths(request, lambda text: str(folder / text))


def write_job(path: Path, request: Mapping[str, Any]) -> None:
    """Write a job file whose relative paths, here relative to the current folder, still hold.

    Never replaces a file of another content. Raises UsageError or OutputError.
    """
    text = dump_job(request, path.parent)
    if not path.absolute().parent.is_dir():
        raise UsageError(f"--save-job: the folder {path.parent} does not exist; make it first")
    with writing(path):
        try:
            with drafted(path, overwrite=False) as draft:
                draft.write_text(text, encoding="utf-8")
        except FileExistsError:
            _check_same(path, text)


def _check_same(path: Path, text: str) -> None:
    """Raise UsageError unless the file already has this content."""
    if not is_special(path) and path.is_file():
        with reading(path), path.open("rb") as file:
            if file.read(len(text.encode()) + 1) == text.encode():
                return
    raise UsageError(
        f"--save-job: {path} exists and is left as it is; delete it first, or choose another name"
    )


def dump_job(request: Mapping[str, Any], folder: Path | None = None) -> str:
    """Return the text of a job file.

    folder: make relative paths, which count from the current folder, relative to this folder; None:
    leave paths as they are. Raises UsageError for paths that TOML cannot hold.
    """
    import tomli_w

    if folder is not None:
        _check_result_names(request, folder)
        request = with_paths(request, _relative_to(folder))
    values = {_spelt(key): _plain(key, request[key]) for key in _ordered(request)}
    try:
        return _HEADER + tomli_w.dumps(values).encode("utf-8").decode("utf-8")
    except UnicodeEncodeError as error:
        raise UsageError(
            "--save-job: expected paths in UTF-8, as TOML is, got one that is not: "
            f"{str(error.object)[:80]!a}; rename it"
        ) from error


def check_request(values: Mapping[str, Any], where: str, *, whole: bool = True) -> Request:
    """Return plain values, as of TOML or JSON, as a request: names with "_", tuples, fractions.

    where: what messages call the place of the values. whole: nothing that a run needs may be
    missing. Looks at no file. Raises UsageError or SettingsError, naming the key.
    """
    found: Request = {}
    for name, value in values.items():
        key = name.replace("-", "_")
        if key in found:
            raise UsageError(f"{where}: expected each key once, got {name!r} twice; remove one")
        if value is not None:  # as JSON has it
            found[key] = value
    technique = found.get("technique")
    if (whole or technique is not None) and technique not in [*TECHNIQUES]:
        raise UsageError(
            f"{where}: technique: expected one of {', '.join(TECHNIQUES)}, got {technique!r}"
        )
    for key in found:
        _check_key(where, key, technique)
    found = {key: _typed(where, key, value) for key, value in found.items()}
    _check_values(where, found)
    if whole:
        _check_complete(where, found)
    return found


def _check_key(where: str, key: str, technique: str | None) -> None:
    """Raise UsageError for a key that the technique does not have, with the most similar one."""
    known = [*_KEYS, *options(Settings)]
    for name, kind in TECHNIQUES.items():
        if technique in (None, name):
            known += options(kind)
    if key in known:
        return
    owners = [name for name, kind in TECHNIQUES.items() if key in options(kind)]
    if owners:
        raise UsageError(
            f"{where}: {_spelt(key)}: the technique {technique} has no such option; leave it "
            f"out, or choose {' or '.join(owners)}"
        )
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {_spelt(near[0])!r}?" if near else "vidstyle basic --help lists them"
    raise UsageError(f"{where}: expected the name of an option, got {_spelt(key)!r}; {hint}")


def _typed(where: str, key: str, value: Any) -> Any:
    """Return a value of a file in the type of its key. Raises SettingsError."""
    kind = _KEYS.get(key)
    if kind is None:
        return _option_value(key, value)
    if kind == "flag":
        expected, fits = "true or false", isinstance(value, bool)
    elif kind == "paths":
        value = (value,) if isinstance(value, str) else value
        fits = isinstance(value, list | tuple) and all(isinstance(one, str) for one in value)
        expected, value = "a path or a list of paths", tuple(value) if fits else value
    else:
        expected, fits = {"path": "a path"}.get(kind, "text"), isinstance(value, str)
    texts = value if isinstance(value, tuple) else (value,)
    if not fits or any(isinstance(one, str) and (not one or "\0" in one) for one in texts):
        raise SettingsError(f"{where}: {_spelt(key)}: expected {expected}, got {value!r:.80}")
    return value


def _option_value(key: str, value: Any) -> Any:
    """Return an option's value: lists as tuples, a fraction's text as a Fraction."""
    declared, _ = _declarations()[key]
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, str) and Fraction in kinds_of(declared):
        try:
            return Fraction(value)
        except (ValueError, ZeroDivisionError):
            return value
    return value


def _declarations() -> dict[str, tuple[Any, Option]]:
    """Return the options of Settings and of all techniques by name."""
    return {
        name: declared
        for owner in (*TECHNIQUES.values(), Settings)
        for name, declared in options(owner).items()
    }


def _check_values(where: str, request: Request) -> None:
    """Raise SettingsError, naming the key, if an option has a wrong type or value."""
    named = request.get("technique")
    owners = [Settings, *([TECHNIQUES[named]] if named else TECHNIQUES.values())]
    for owner in owners:
        given = {name: request[name] for name in options(owner) if name in request}
        try:
            owner(**given)
        except SettingsError as error:
            raise SettingsError(f"{where}: {str(error).removeprefix('--')}") from error


def _check_complete(where: str, request: Request) -> None:
    for key, example in (("output", "out.mp4"), ("style", "style.jpg"), ("source", "clip.mp4")):
        if not request.get(key) and not (key == "source" and request.get("list")):
            raise UsageError(
                f'{where}: expected the key {key!r}, got none; add {key} = "{example}"'
            )


def job_to_command(request: Mapping[str, Any]) -> list[str]:
    """Return the command line of a request, without the program: ["basic", "clip.mp4", ...]."""
    words = [request["technique"]]
    for path in request.get("source", ()):
        words.append(f".{os.sep}{path}" if path.startswith("-") else path)
    for key in _ordered(request):
        if key in ("technique", "source"):
            continue
        value = request[key]
        if isinstance(value, bool):
            words += [f"--{_spelt(key)}"] if value else []
        elif _KEYS.get(key) == "paths":
            for one in value:
                words += _with_flag(key, one)
        else:
            words += _with_flag(key, ",".join(value) if isinstance(value, tuple) else str(value))
    return words


def _with_flag(key: str, text: str) -> list[str]:
    flag = "-o" if key == "output" else f"--{_spelt(key)}"
    return [f"--{_spelt(key)}={text}"] if text.startswith("-") else [flag, text]


def with_paths(request: Mapping[str, Any], move: Callable[[str], str]) -> Request:
    """Return the request with `move` applied to every path in it; automatic masks have none."""
    moved = dict(request)
    paths = {key for key, kind in _KEYS.items() if kind in ("path", "paths")}
    paths |= {name for name, (_, spec) in _declarations().items() if spec.is_path}
    for key in paths & request.keys():
        value = request[key]
        if key == "style":
            moved[key] = tuple(_moved_style(one, move) for one in value)
        elif isinstance(value, tuple):
            moved[key] = tuple(one if is_automatic(Path(one)) else move(one) for one in value)
        elif value is not None and not (key == "list" and value == "-"):
            moved[key] = move(value)
    if request.get("regions"):
        moved["regions"] = _moved_regions(request, move)
    return moved


def _moved_style(text: str, move: Callable[[str], str]) -> str:
    if parse_style(text)[1] is None:
        return move(text)
    name, sign, weight = text.rpartition("=")
    return f"{move(name)}{sign}{weight}"


def _moved_regions(request: Mapping[str, Any], move: Callable[[str], str]) -> str:
    """Return the option `regions` with the styles that it names by path, not by file name."""
    from vidstyle.guides.palette import parse_regions

    styles = {str(parse_style(text)[0]) for text in request.get("style", ())}
    entries = []
    for region in parse_regions(request["regions"]):
        style = region.style
        if style in styles and os.path.dirname(style):  # noqa: PTH120 - a text, not yet a path
            style = move(style)
        entries.append(region.color if style is None else f"{region.color}={style}")
    return ",".join(entries)


def _relative_to(folder: Path) -> Callable[[str], str]:
    """Return a function that makes a path of the current folder relative to another folder."""

    def move(text: str) -> str:
        if os.path.isabs(text):  # noqa: PTH117
            return text
        found = os.path.relpath(text, folder)
        same = os.path.realpath(folder / found) == os.path.realpath(text)
        return found if same else os.path.abspath(text)  # noqa: PTH100 - beyond a linked folder

    return move


def _check_result_names(request: Mapping[str, Any], folder: Path) -> None:
    """Raise UsageError if another folder would change the names of a batch's results."""
    sources = request.get("source", ())
    listed = request.get("list")
    if not (listed or request.get("recursive") or len(sources) > 1):
        return
    if os.path.realpath(folder) == os.path.realpath("."):
        return
    named = [path for path in sources if not os.path.isabs(path) and not Path(path).is_dir()]  # noqa: PTH117
    if named or listed:
        raise UsageError(
            "--save-job: expected a name in the current folder for this batch, whose results are "
            f"named by the paths of {listed or named[0]} from here; save it here, or name the "
            "sources by absolute paths"
        )


def _ordered(request: Mapping[str, Any]) -> Iterator[str]:
    """Yield the keys in the order of declaration."""
    yield from (key for key in (*_KEYS, *_declarations()) if key in request)


def _plain(key: str, value: Any) -> Any:
    """Return a value as TOML has it; a list of one path is written as that path."""
    if isinstance(value, Fraction):
        return value.numerator if value.denominator == 1 else str(value)
    if isinstance(value, tuple):
        return value[0] if len(value) == 1 and key in _KEYS else list(value)
    return value


def _spelt(key: str) -> str:
    return key.replace("_", "-")


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
