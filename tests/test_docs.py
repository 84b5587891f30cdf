"""The documentation site builds without warnings: links, anchors and API names exist."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_the_documentation_site_builds_without_warnings(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings_handlers.python")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    page = (tmp_path / "api" / "index.html").read_text(encoding="utf-8")
    for name in ("pipeline.stylize", "preview.preview", "guide.Guide.from_arrays", "StepEvent"):
        assert f'{name}"' in page
