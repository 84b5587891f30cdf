"""Downloads one pinned package of the registry that npm is configured for, by `npm pack`.

`npm pack NAME@VERSION` writes the archive of a published package; with --ignore-scripts nothing of
it is run. The file is checked against its size and sha256.
"""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from vidstyle.downloads.package_index import FetchError, Pinned, verified

__all__ = ["pack"]

_PATIENCE = 900  # seconds for the whole download
_SHOWN = 200  # characters of npm's last words


def pack(file: Pinned, folder: Path, progress: Callable[[int, int], None] | None) -> Path:
    """Fetch the archive of `file.project` ("name@version") into `folder` and return its path.

    progress(bytes received, bytes in all) is called at the end. Raises FetchError.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise FetchError("npm, which fetches it, is not installed")
    command = [npm, "pack", file.project, "--ignore-scripts", "--pack-destination", str(folder)]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            check=False,
            timeout=_PATIENCE,
            stdin=subprocess.DEVNULL,
            cwd=folder,  # without a package.json, whose scripts and settings npm would read
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise FetchError(f"npm cannot be run ({error})") from error
    path = folder / file.name
    if done.returncode != 0 or not path.is_file():
        said = " ".join(done.stderr.decode("utf-8", "replace").split())
        raise FetchError(f"npm says '{said[:_SHOWN]}'")
    verified(path, file)
    if progress is not None:
        progress(file.size, file.size)
    return path
