"""The documentation site builds without warnings: links, anchors and API names exist."""

import ast
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import vidstyle
from vidstyle import errors
from vidstyle.cli.parser import parse

ROOT = Path(__file__).parent.parent


README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_has_at_most_900_words() -> None:
    assert len(README.split()) <= 900


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = [
    line
    for page in PAGES
    for block in re.findall(r"^```\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)
    for line in block.replace("\\\n", " ").splitlines()
    if line.startswith("vidstyle ")
]


def test_the_readme_has_one_block_of_five_commands_and_one_of_python() -> None:
    assert len(re.findall(r"^vidstyle .* -|^vidstyle studio", README, re.M)) == 5
    assert README.count("```python") == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_of_the_documentation_is_valid(command: str) -> None:
    assert callable(parse(shlex.split(command, comments=True)[1:]).run)


def test_the_python_examples_name_public_names() -> None:
    pages = "".join(page.read_text("utf-8") for page in PAGES)
    blocks = [
        ast.parse(block) for block in re.findall(r"^```python\n(.*?)^```", pages, re.M | re.S)
    ]
    names = {
        node.attr
        for node in (one for block in blocks for one in ast.walk(block))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "vidstyle"
    }
    assert names
    assert names <= set(vidstyle.__all__)


def test_decisions_have_at_most_200_words() -> None:
    page = (ROOT / "docs" / "decisions.md").read_text(encoding="utf-8")
    lengths = {record.partition("\n")[0]: len(record.split()) for record in page.split("\n### ")}
    assert {title: length for title, length in lengths.items() if length > 200} == {}


def test_the_python_reference_lists_every_public_name() -> None:
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"[.\[ ](\w+)(?=\n|\])", page)) | set(errors.__all__)
    assert set(vidstyle.__all__) <= listed


def test_the_documentation_site_builds_without_warnings(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings_handlers.python")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    page = (tmp_path / "api" / "index.html").read_text(encoding="utf-8")
    for name in (
        "pipeline.stylize",
        "preview.preview",
        "guide.Guide.from_arrays",
        "StepEvent",
        "stream.stylize_frames",
    ):
        assert f'{name}"' in page
