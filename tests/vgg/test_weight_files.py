"""Weight files: every kind of file that holds VGG-19, and every fault of one."""

import pickle
import struct
import time
import zipfile

import numpy as np
import pytest
from making_weights import (
    KINDS,
    NAMES,
    WIDTHS,
    Call,
    Named,
    make_network,
    pickled,
    same,
    torch_bytes,
    write_keras,
    write_npy,
    write_npz,
    write_torch,
)

from vidstyle.errors import WeightsError
from vidstyle.vgg import weight_files
from vidstyle.vgg.weight_files import load, save
from vidstyle.vgg.weights import digest


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Layers of few channels."""
    monkeypatch.setattr(weight_files, "_WIDTHS", WIDTHS)


@pytest.mark.parametrize(("name", "write"), KINDS.items(), ids=KINDS)
def test_every_kind_of_file_gives_the_same_network(tmp_path, name, write):
    write(tmp_path / name, make_network())
    assert same(load(tmp_path / name), make_network())


def test_the_kind_is_told_by_content_not_by_name(tmp_path):
    write_torch(tmp_path / "weights.bin", make_network())
    assert same(load(tmp_path / "weights.bin"), make_network())


def test_a_network_is_float32_and_contiguous(tmp_path):
    write_torch(tmp_path / "a", make_network())
    for kernel, bias in load(tmp_path / "a").values():
        assert kernel.dtype == bias.dtype == np.float32
        assert kernel.flags.c_contiguous


def test_the_shapes_are_those_of_vgg19(monkeypatch):
    monkeypatch.undo()
    shapes = dict(weight_files._shapes())
    assert list(shapes) == NAMES
    assert shapes["conv1_1"] == (3, 3, 3, 64)
    assert shapes["conv3_1"] == (3, 3, 128, 256)
    assert shapes["conv5_4"] == (3, 3, 512, 512)
    assert sum(np.prod(s) + s[3] for s in shapes.values()) == 20_024_384


def test_the_same_network_is_saved_as_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        save(make_network(), tmp_path / name)
        time.sleep(0.01)
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    assert same(load(tmp_path / "a"), make_network())


@pytest.mark.parametrize("write", [write_npz, write_torch, write_npy, write_keras])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.999])
def test_a_truncated_file_is_refused(tmp_path, write, share):
    path = tmp_path / "vgg19.npz"
    write(path, make_network())
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(WeightsError, match="give another file"):
        load(path)


def test_one_flipped_bit_in_our_own_file_is_noticed(tmp_path):
    path = tmp_path / "vgg19.npz"
    save(make_network(), path)
    value = make_network()["conv3_2"][0].tobytes()[:64]
    content = bytearray(path.read_bytes())
    content[content.index(value)] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="CRC"):
        load(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_a_value_that_is_not_finite_is_refused(tmp_path, value):
    network = make_network()
    bias = network["conv2_1"][1].astype(np.float64)
    bias[0] = value
    write_npz(tmp_path / "a.npz", network | {"conv2_1": (network["conv2_1"][0], bias)})
    with pytest.raises(WeightsError, match="conv2_1 has values that are not finite"):
        load(tmp_path / "a.npz")


@pytest.mark.parametrize("write", [write_npz, write_torch, write_npy, write_keras])
def test_a_wrong_shape_is_refused(tmp_path, write):
    network = make_network()
    kernel, bias = network["conv2_1"]
    write(tmp_path / "a.npz", network | {"conv2_1": (kernel[..., :-1], bias)})
    with pytest.raises(WeightsError, match="conv2_1 is"):
        load(tmp_path / "a.npz")


@pytest.mark.parametrize("write", [write_npz, write_torch, write_npy, write_keras])
def test_a_missing_layer_is_refused(tmp_path, write):
    network = make_network()
    del network["conv5_4"]
    write(tmp_path / "a.npz", network)
    with pytest.raises(WeightsError, match=r"conv5_4|block5_conv4"):
        load(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"<!doctype html>", "3c 21 64"),
        (b"\x93NUMPY\x01\x00", "expected VGG-19"),
        (b"\x1f\x8bxx", "expected VGG-19"),
        (b"PK\x03\x04xx", "not a zip file"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path, content, reason):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(WeightsError, match=reason):
        load(tmp_path / "a")


def test_an_array_of_numbers_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3))
    with pytest.raises(WeightsError, match="array of numbers"):
        load(tmp_path / "a.npy")


def test_a_zip_of_something_else_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as file:
        file.writestr("archive/data.pkl", "x")
    with pytest.raises(WeightsError, match="conv1_1 is missing"):
        load(tmp_path / "a.pth")


def test_a_torch_file_with_another_preprocessing_is_refused(tmp_path):
    for change in ({"mix": 255 * np.eye(3)}, {"shift": (-124, -117, -104)}):
        (tmp_path / "a.pth").write_bytes(torch_bytes(make_network(), **change))
        with pytest.raises(WeightsError, match="its first layer does not"):
            load(tmp_path / "a.pth")


def test_a_missing_file_is_a_weights_error(tmp_path):
    for read in (load, digest):
        with pytest.raises(WeightsError, match="No such file"):
            read(tmp_path / "none")


# Hostile files


@pytest.mark.parametrize("function", [Named("posix", "system"), Named("builtins", "eval")])
@pytest.mark.parametrize("kind", ["torch", "npy"])
def test_a_pickle_that_calls_anything_else_is_refused_and_runs_nothing(tmp_path, kind, function):
    mark = tmp_path / "ran"
    touch = {"system": f"touch {mark}", "eval": f"open({str(mark)!r}, 'w')"}[function.name]
    payload = Call(function, touch)
    if kind == "torch":
        content = torch_bytes(make_network(), tensors={"0.weight": payload})
    else:
        np.save(tmp_path / "head.npy", np.array({}), allow_pickle=True)
        content = (tmp_path / "head.npy").read_bytes()[:128] + pickled(payload)
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(WeightsError, match=f"it asks for {function.module}.{function.name}"):
        load(tmp_path / "a")
    assert not mark.exists()


def test_the_hostile_pickle_would_run_if_it_were_let(tmp_path):
    mark = tmp_path / "ran"
    pickle.loads(pickled(Call(Named("os", "system"), f"touch {mark}")))
    assert mark.exists()


def test_a_pickle_inside_an_npz_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", **{"conv1_1/kernel": np.array({}), "conv1_1/bias": np.zeros(1)})
    with pytest.raises(WeightsError, match="allow_pickle"):
        load(tmp_path / "a.npz")


def test_a_tensor_that_claims_to_be_enormous_is_refused(tmp_path):
    content = torch_bytes(make_network())
    last = make_network()["conv5_4"][1]
    count = struct.pack("<q", last.size)
    at = content.rindex(count + last.tobytes())
    (tmp_path / "a").write_bytes(content[:at] + struct.pack("<q", 2**60) + content[at + 8 :])
    with pytest.raises(WeightsError, match="a tensor has 1152921504606846976 values"):
        load(tmp_path / "a")
