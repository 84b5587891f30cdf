"""Networks with VGG-19's layers but few channels, written in each supported file format."""

import io
import itertools
import pickle
import struct
import tarfile
from collections import OrderedDict

import numpy as np

from vidstyle.vgg import weight_files

NAMES = [f"conv{b}_{i}" for b, n in enumerate((2, 2, 4, 4, 4), 1) for i in range(1, n + 1)]
WIDTHS = {1: (2, 3), 2: (4, 2), 3: (3, 4, 2, 3), 4: (2, 3, 4, 2), 5: (3, 2, 4, 3)}


def make_network(seed=0):
    random = np.random.default_rng(seed)
    outputs = list(itertools.chain(*WIDTHS.values()))
    return {
        name: (
            random.normal(size=(3, 3, i, o)).astype(np.float32),
            random.normal(size=o).astype(np.float32),
        )
        for name, i, o in zip(NAMES, [3, *outputs], outputs, strict=False)
    }


def same(a, b):
    return list(a) == list(b) and all(
        np.array_equal(x, y) for name in a for x, y in zip(a[name], b[name], strict=True)
    )


PARTS = ("kernel", "bias")


def write_npz(path, network):
    np.savez(
        path,
        **{
            f"{n}/{part}": a
            for n, pair in network.items()
            for part, a in zip(PARTS, pair, strict=True)
        },
    )


class Storage:
    """A tensor storage: torch's legacy pickles refer to it by a persistent id."""

    def __init__(self, key, array):
        self.id = ("storage", Named("torch", "FloatStorage"), key, "cpu", array.size, None)


class Named:
    """Is pickled as the global `module`.`name`, which need not exist."""

    def __init__(self, module, name):
        self.module, self.name = module, name


class Call:
    """Is pickled as a call of `function`."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments


class State:
    """Is pickled as `made`, then given `state`."""

    def __init__(self, made, state):
        self.made, self.state = made, state


class Pickler(pickle._Pickler):
    """Pickles missing globals, torch's persistent ids and, with python2, str as Python 2 did."""

    python2 = False
    dispatch = pickle._Pickler.dispatch.copy()

    def persistent_id(self, obj):
        return obj.id if isinstance(obj, Storage) else None

    def save_named(self, obj):
        self.write(f"c{obj.module}\n{obj.name}\n".encode())

    def save_call(self, obj):
        self.save(obj.function)
        self.save(obj.arguments)
        self.write(pickle.REDUCE)

    def save_state(self, obj):
        self.save(obj.made)
        self.save(obj.state)
        self.write(pickle.BUILD)

    def save_text(self, obj):
        if self.python2:
            self.write(pickle.BINSTRING + struct.pack("<i", len(obj)) + obj)
        else:
            super().save_bytes(obj)

    dispatch |= {Named: save_named, Call: save_call, State: save_state, bytes: save_text}


def pickled(value, *, python2=False):
    file = io.BytesIO()
    pickler = Pickler(file, 2)
    pickler.python2 = python2
    pickler.dump(value)
    return file.getvalue()


def torch_bytes(network, *, mix=None, shift=(-103.939, -116.779, -123.68), tensors=None):
    """Gatys' vgg_normalized as torch's save() wrote it before version 1.6."""
    mix = 255 * np.eye(3)[::-1] if mix is None else mix
    arrays = OrderedDict({"0.weight": mix.reshape(3, 3, 1, 1), "0.bias": np.array(shift)})
    for number, (kernel, bias) in enumerate(network.values(), start=1):
        arrays |= {f"{3 * number}.weight": kernel.transpose(3, 2, 0, 1), f"{3 * number}.bias": bias}
    keys = {name: str(1000 + i) for i, name in enumerate(arrays)}
    rebuild = Named("torch._utils", "_rebuild_tensor_v2")
    made = OrderedDict()
    for name, array in arrays.items():
        strides = tuple(int(np.prod(array.shape[axis + 1 :])) for axis in range(array.ndim))
        arguments = (Storage(keys[name], array), 0, array.shape, strides, False, None)
        made[name] = Call(rebuild, *arguments)
    head = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, tensors or made)
    content = b"".join(map(pickled, (*head, sorted(keys.values()))))
    for name in sorted(keys, key=keys.get):
        content += struct.pack("<q", arrays[name].size) + arrays[name].astype("<f4").tobytes()
    return content


def write_torch(path, network):
    path.write_bytes(torch_bytes(network))


def write_npy(path, network):
    """As the original's vgg19.npy: a pickled dict of arrays."""
    with path.open("wb") as file:
        layers = {name: list(pair) for name, pair in network.items()}
        np.save(file, np.array(layers), allow_pickle=True)


def write_keras(path, network, kernel="{0}_W_1:0", bias="{0}_b_1:0"):
    import h5py

    with h5py.File(path, "w") as file:
        for name, pair in network.items():
            layer = f"block{name[4]}_conv{name[6]}"
            for template, array in zip((kernel, bias), pair, strict=True):
                file[f"{layer}/{template.format(layer)}"] = array


def write_new_keras(path, network):
    write_keras(path, network, "{0}/kernel:0", "{0}/bias:0")


KINDS = {
    "vgg19.npz": write_npz,
    "vgg_normalized.pth": write_torch,
    "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5": write_keras,
    "keras2.h5": write_new_keras,
}


def make_archive(path, content, name=weight_files._MEMBER):
    with tarfile.open(path, "w:gz") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return path
