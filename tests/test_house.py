"""Architecture rules: imports go to lower floors, files are short, importing is light."""

import ast
import graphlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import vidstyle

ROOT = Path(vidstyle.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
FLOORS = (  # a file imports from its own package or from packages on lower floors
    ("cli",),
    ("studio",),
    ("jobs",),
    ("evaluation", "stylizer"),
    ("techniques",),
    ("vgg", "coherence"),
    ("guides",),
    ("motion", "segmentation"),
    ("media", "downloads"),
    ("atomic", "environment", "errors", "image", "inputs", "memory", "settings", "validation"),
)
RANK = {name: rank for rank, names in enumerate(FLOORS) for name in names}
MEDIA_FLOORS = (  # the same of the packages within vidstyle.media
    ("write",),
    ("sources",),
    ("animations", "listing"),
    ("encoding",),
    ("pictures", "sound"),
    ("decoding",),
    ("codecs",),
    ("clip", "containers", "large", "tonemap"),
)


def part_of(path: Path) -> str:
    """Return the top-level module or package of a file."""
    return path.relative_to(ROOT).with_suffix("").parts[0]


def imported(path: Path) -> Iterator[str]:
    """Yield the top-level modules of vidstyle that a file imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "vidstyle":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vidstyle."):
            yield str(node.module).split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (a.name.split(".")[1] for a in node.names if a.name.startswith("vidstyle."))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_to_lower_floors_only(path: Path) -> None:
    part = part_of(path)
    if part in ("__init__", "__main__"):  # the public names and the entry: no floor of their own
        return
    for other in imported(path):
        same_floor_of_files = RANK[other] == RANK[part] == len(FLOORS) - 1
        assert other == part or RANK[other] > RANK[part] or same_floor_of_files, (
            f"{part} imports {other}"
        )


def test_imports_within_media_go_to_lower_floors_only() -> None:
    rank = {name: rank for rank, names in enumerate(MEDIA_FLOORS) for name in names}
    upwards = set()
    for path in (ROOT / "media").rglob("*.py"):
        part = path.relative_to(ROOT / "media").with_suffix("").parts[0]
        modules = [name.split(".") for name in imported_modules(path)]
        others = {names[2] for names in modules if names[1:2] == ["media"] and len(names) > 2}
        if part != "__init__":
            upwards |= {
                f"{part} imports {one}" for one in others - {part} if rank[one] <= rank[part]
            }
    assert upwards == set()


def module_name(path: Path) -> str:
    """Return a file's dotted module name; a package's is that of its `__init__`."""
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


MODULES = {module_name(path): path for path in FILES}


def imported_modules(path: Path) -> Iterator[str]:
    """Yield each module of vidstyle that a file names in an import, lazily or at once."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            full = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (name if name in MODULES else str(node.module) for name in full)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_module_imports_have_no_cycle() -> None:
    graph = {name: MODULES.keys() & imported_modules(path) for name, path in MODULES.items()}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the cycle


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_are_under_400_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) < 400


MAX_LINES = 40  # of a function, from `def` to its end


def test_functions_have_at_most_40_lines() -> None:
    long = {
        f"{path.relative_to(ROOT).as_posix()} {node.name}"
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno >= MAX_LINES
    }
    assert long == set()


def test_the_architecture_page_lists_every_package_and_what_it_imports() -> None:
    page = (ROOT.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| .* \| ([\w, ]*) ?\|$", page, flags=re.MULTILINE)
    listed = {name: set(filter(None, others.strip().split(", "))) for name, others in rows}
    found: dict[str, set[str]] = {path.parent.name: set() for path in ROOT.glob("*/__init__.py")}
    for path in FILES:
        if (part := part_of(path)) in found:
            found[part] |= {name for name in imported(path) if name in found and name != part}
    assert listed == found


def test_the_architecture_page_names_existing_modules() -> None:
    page = (ROOT.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    files = set(re.findall(r"`([\w/]+\.py)`", page))
    dotted = re.findall(r"`([a-z_]+\.(?!py`)[a-z_.]*[a-z_])", page)
    files |= {f"{name.replace('.', '/')}.py" for name in dotted}
    missing = {name for name in files if not (ROOT / name).is_file()}
    assert len(files) > len(dotted) > 0
    assert {name for name in missing if not (ROOT.parent / name).is_file()} == set()


def test_contributing_prints_the_floors() -> None:
    line = " → ".join(", ".join(names) for names in FLOORS)
    assert line in (ROOT.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_the_public_names_are_sorted_and_all_there() -> None:
    assert vidstyle.__all__ == sorted(vidstyle.__all__)
    assert set(vidstyle.__all__) <= set(dir(vidstyle))
    for name in set(vidstyle.__all__) - {"Stylized", "Stylizer"}:  # those import TensorFlow
        assert getattr(vidstyle, name) is not None
    with pytest.raises(AttributeError):
        _ = vidstyle.nothing


def test_the_command_line_imports_nothing_heavy() -> None:
    heavy = ("tensorflow", "cv2", "av", "scipy")
    code = (
        f"import sys, vidstyle.cli.main; print([name for name in {heavy} if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert found.stdout.strip() == "[]"


def test_a_run_without_steps_does_not_import_tensorflow() -> None:
    code = (
        "import sys, vidstyle.jobs.pipeline, vidstyle.vgg.weights\n"
        "import vidstyle.media, vidstyle.techniques\n"
        "print('tensorflow' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert found.stdout.strip() == "False"
