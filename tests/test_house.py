"""The house's own rules: imports go down, files are short, importing is light."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import vidstyle

ROOT = Path(vidstyle.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
ORDER = (  # a file imports only from lines below its own
    ("__main__",),
    ("cli",),
    ("progress",),
    ("report",),
    ("shots",),
    ("cluster",),
    ("batch",),
    ("run", "tracks", "evaluation"),
    ("following",),
    ("work",),
    ("guidance",),
    ("job", "engine", "workdir"),
    ("padded", "scene"),
    ("rehearsal",),
    ("views",),
    ("strips",),
    ("techniques",),
    ("distances",),
    ("planes",),
    ("losses", "optimizer", "encoder"),
    ("convolution",),
    ("weights",),
    ("weight_files",),
    ("guides",),
    ("palettes", "tracking"),
    ("metrics", "priors", "course", "lights"),
    ("fading", "filling", "steadying"),
    ("flow",),
    ("items",),
    ("media",),
    ("arguments", "manifests"),
    ("settings", "window"),
    ("durable",),
    ("errors", "memory", "device"),
)
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names}


def part_of(path: Path) -> str:
    """Return the part that a file belongs to: a module, or a package with all that is in it."""
    return path.relative_to(ROOT).with_suffix("").parts[0]


def imported(path: Path) -> Iterator[str]:
    """Yield each part of vidstyle that a file imports, lazily or at once."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "vidstyle":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vidstyle."):
            yield str(node.module).split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (a.name.split(".")[1] for a in node.names if a.name.startswith("vidstyle."))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down_only(path: Path) -> None:
    part = part_of(path)
    if part == "__init__":
        return
    for other in imported(path):
        lower = RANK[other] > RANK[part]
        same_package = other == part and (ROOT / part).is_dir()
        assert lower or same_package, f"{part} imports {other}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_are_under_400_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) < 400


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


def test_a_run_without_steps_never_imports_tensorflow() -> None:
    code = (
        "import sys, vidstyle.jobs.pipeline, vidstyle.vgg.weights, vidstyle.media, vidstyle.techniques\n"
        "print('tensorflow' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert found.stdout.strip() == "False"
