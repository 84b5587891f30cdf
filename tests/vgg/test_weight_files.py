"""Weight files: every kind of file that holds VGG-19, and every fault of one."""

import io
import pickle
import struct
import time
import tracemalloc
import zipfile

import numpy as np
import pytest
from weight_writers import (
    KINDS,
    NAMES,
    WIDTHS,
    Call,
    Named,
    State,
    make_archive,
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


def test_the_format_is_recognised_by_content_not_by_name(tmp_path):
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


@pytest.mark.parametrize("write", [write_npz, write_torch, write_keras])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.999])
def test_a_truncated_file_is_refused(tmp_path, write, share):
    path = tmp_path / "vgg19.npz"
    write(path, make_network())
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(WeightsError, match="give another file"):
        load(path)


def test_a_flipped_bit_in_a_saved_npz_is_detected(tmp_path):
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


@pytest.mark.parametrize("write", [write_npz, write_torch, write_keras])
def test_a_wrong_shape_is_refused(tmp_path, write):
    network = make_network()
    kernel, bias = network["conv2_1"]
    write(tmp_path / "a.npz", network | {"conv2_1": (kernel[..., :-1], bias)})
    with pytest.raises(WeightsError, match="conv2_1 is"):
        load(tmp_path / "a.npz")


@pytest.mark.parametrize("write", [write_npz, write_torch, write_keras])
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
        (b"\x93NUMPY\x01\x00", "no longer read"),
        (b"\x1f\x8bxx", "expected VGG-19"),
        (b"PK\x03\x04xx", "not a zip file"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path, content, reason):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(WeightsError, match=reason):
        load(tmp_path / "a")


def test_a_pickled_npy_is_refused_with_alternatives(tmp_path):
    write_npy(tmp_path / "vgg19.npy", make_network())
    with pytest.raises(WeightsError, match=r"vgg19\.npz, .* no longer read .* give another file"):
        load(tmp_path / "vgg19.npy")
    assert "vgg19.npy" not in weight_files.NAMES


def test_a_zip_without_layers_is_refused(tmp_path):
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
def test_a_pickle_that_calls_anything_else_is_refused_and_runs_nothing(tmp_path, function):
    mark = tmp_path / "ran"
    touch = {"system": f"touch {mark}", "eval": f"open({str(mark)!r}, 'w')"}[function.name]
    tensors = {"0.weight": Call(function, touch)}
    (tmp_path / "a").write_bytes(torch_bytes(make_network(), tensors=tensors))
    with pytest.raises(WeightsError, match=f"it names {function.module}.{function.name}"):
        load(tmp_path / "a")
    assert not mark.exists()


def test_the_hostile_pickle_runs_code_with_the_standard_unpickler(tmp_path):
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


FLOATS = Named("torch", "FloatStorage")
REBUILD = Named("torch._utils", "_rebuild_tensor_v2")
STORE = ("storage", FLOATS, "1000", "cpu", 9, None)


@pytest.mark.parametrize(
    "value",
    [
        State(FLOATS, {"a": 1}),
        State(REBUILD, {"values_from": 1}),
        State(REBUILD, (None, {"__call__": 1})),
        Call(FLOATS, b"12345678"),
        Call(REBUILD, STORE, -4, (3,), (1,), False, None),
        Call(REBUILD, STORE, 0, (2**62, 4), (4, 1), False, None),
        Call(REBUILD, STORE, 0, (-1,), (1,), False, None),
        Call(REBUILD, STORE, 0, "3", (1,), False, None),
        Call(REBUILD, STORE, 0, (3.0,), (1,), False, None),
        Call(REBUILD, "store", 0, (3,), (1,), False, None),
        Call(REBUILD),
        Call(REBUILD, *[[]] * 6),
        5,
    ],
    ids=lambda value: type(value).__name__,
)
def test_names_in_a_pickle_become_inert_values(tmp_path, value):
    (tmp_path / "a").write_bytes(torch_bytes(make_network(), tensors={"0.weight": value}))
    with pytest.raises(WeightsError):
        load(tmp_path / "a")
    write_torch(tmp_path / "whole", make_network())  # nothing of the reader has been changed
    assert same(load(tmp_path / "whole"), make_network())


@pytest.mark.parametrize(
    ("operation", "reason"),
    [
        (b"r\xff\xff\xff\x7f", "memo of 2147483647 entries"),  # LONG_BINPUT: allocates 16 GB
        (b"2", "operation DUP"),
        (b"i__main__\nx\n", "operation INST"),
        (b"\x81", "operation NEWOBJ"),
    ],
)
def test_other_operations_of_a_pickle_are_refused(tmp_path, operation, reason):
    head = torch_bytes(make_network())[: len(pickled(0x1950A86A20F9469CFC6C))]
    (tmp_path / "a").write_bytes(head + b"\x80\x02K\x01" + operation + b".")
    with pytest.raises(WeightsError, match=reason):
        load(tmp_path / "a")


def zipped(path, content, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as file:
        for part in ("kernel", "bias"):
            with file.open(f"conv1_1/{part}.npy", "w") as entry:
                for piece in content:
                    entry.write(piece)


def header(shape):
    file = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "compression", "reason"),
    [
        ([header((3, 3, 3, 2)), *[bytes(1 << 20)] * 100], zipfile.ZIP_DEFLATED, "has 104857"),
        ([header((1 << 34,))], zipfile.ZIP_DEFLATED, r"claims the shape \(17179869184,\)"),
        ([header((3,)), bytes(12)], zipfile.ZIP_BZIP2, "unusual way"),
    ],
    ids=["zip", "header", "bzip2"],
)
def test_sizes_in_an_npz_are_checked_before_it_is_unpacked(tmp_path, content, compression, reason):
    zipped(tmp_path / "a.npz", content, compression)
    tracemalloc.start()
    with pytest.raises(WeightsError, match=reason):
        load(tmp_path / "a.npz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 << 20


def in_another_file(path, kind):
    """A Keras file whose first kernel stores its values in another file."""
    import h5py

    write_keras(path, make_network())
    kernel = make_network()["conv1_1"][0]
    (path.parent / "values").write_bytes(kernel.tobytes())
    with h5py.File(path.parent / "other.h5", "w") as other:
        other["kernel"] = kernel
    with h5py.File(path, "a") as file:
        group = file["block1_conv1"]
        name = next(name for name in group if "W" in name)
        del group[name]
        if kind == "storage":
            where = [(str(path.parent / "values"), 0, kernel.nbytes)]
            group.create_dataset(name, kernel.shape, "f4", external=where)
        elif kind == "virtual":
            layout = h5py.VirtualLayout(kernel.shape, "f4")
            layout[...] = h5py.VirtualSource(path.parent / "other.h5", "kernel", kernel.shape)
            group.create_virtual_dataset(name, layout)
        elif kind == "link":
            group[name] = h5py.ExternalLink("other.h5", "kernel")
        else:
            del file["block1_conv1"]
            file["block1_conv1"] = h5py.ExternalLink("other.h5", "/")


@pytest.mark.parametrize("kind", ["storage", "virtual", "link", "group"])
def test_a_keras_file_with_values_in_another_file_is_refused(tmp_path, kind):
    in_another_file(tmp_path / "a.h5", kind)
    with pytest.raises(WeightsError, match="cannot be read as such"):
        load(tmp_path / "a.h5")


def test_a_chunk_larger_than_any_array_is_refused(tmp_path):
    import h5py

    write_keras(tmp_path / "a.h5", make_network())
    with h5py.File(tmp_path / "a.h5", "a") as file:
        group = file["block1_conv1"]
        name = next(name for name in group if "b_1" in name)
        del group[name]
        group.create_dataset(
            name, (2,), "f4", maxshape=(None,), chunks=(1 << 28,), compression="gzip"
        )
    with pytest.raises(WeightsError, match="not an array of numbers of that size"):
        load(tmp_path / "a.h5")


def test_an_archive_that_unpacks_to_more_than_the_real_one_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(weight_files, "ARCHIVE_BYTES", 1 << 20)
    make_archive(tmp_path / "a", bytes(4 << 20), "large")
    with pytest.raises(WeightsError, match="unpacks to more"):
        load(tmp_path / "a")
