"""Start the studio: choose a port and a token, and serve until it is interrupted."""

import asyncio
import secrets
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidstyle.errors import UsageError

if TYPE_CHECKING:
    from vidstyle.studio.folders import Folders

__all__ = ["serve"]


def serve(
    clip: Path | None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    ready: Callable[[str, Path, bool], None] = lambda address, start, open_to_others: None,
) -> None:
    """Serve the studio until it is interrupted.

    clip: opened at the start; its folder, or the current one, is the start folder. port: 0 chooses
    a free one. ready(address, start folder, whether other machines can reach it) is called before
    the first request. Raises UsageError if the address cannot be used or the extra is missing.
    """
    try:
        import uvicorn  # noqa: F401 - whether the extra is installed

        from vidstyle.studio.access import is_loopback
    except ModuleNotFoundError as error:
        raise UsageError(
            f"studio: expected the extra 'studio', got no {error.name}; install it: "
            "pip install 'vidstyle[studio]'"
        ) from error
    from vidstyle.studio.folders import Folders

    if clip is not None and not clip.exists() and "%" not in clip.name:
        raise UsageError(f"{clip}: expected a clip, a picture or a folder, but there is none")
    start = Path() if clip is None else clip if clip.is_dir() else clip.absolute().parent
    folders = Folders(start)
    opened = str(folders.inside(str(clip.absolute()))) if clip and not _is_plain(clip) else None
    listener = _listen(host, port)
    token, number = secrets.token_urlsafe(24), listener.getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    # when KeyboardInterrupt comes, uvicorn has ended and raises the signal again
    with listener, suppress(KeyboardInterrupt):
        ready(f"http://{shown}:{number}/?token={token}", folders.start, not is_loopback(host))
        asyncio.run(_run(folders, opened, listener, token, host))


async def _run(
    folders: "Folders", opened: str | None, listener: socket.socket, token: str, host: str
) -> None:
    """Serve on a listening socket until a signal."""
    import uvicorn

    from vidstyle.studio.app import make_app
    from vidstyle.studio.queue import JobQueue
    from vidstyle.studio.serving import Studio

    loop = asyncio.get_running_loop()

    def changed(_: str) -> None:
        loop.call_soon_threadsafe(studio.announce)

    with JobQueue(on_change=changed) as queue:
        studio = Studio(folders=folders, queue=queue, opened=opened)
        app = make_app(studio, token=token, host=host, port=listener.getsockname()[1])
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False,
            timeout_graceful_shutdown=2, ws="none",
        )  # fmt: skip
        server = uvicorn.Server(config)
        watch = asyncio.create_task(_close_streams(server, studio))
        await server.serve(sockets=[listener])
        await watch


async def _close_streams(server: Any, studio: Any) -> None:
    """End the streams of events and the workers when the server is to end."""
    while not server.should_exit:
        await asyncio.sleep(0.2)
    studio.closing.set()
    studio.announce()
    studio.workers.close()


def _is_plain(clip: Path) -> bool:
    """Return whether a path is a folder without pictures: a place to start, not a source."""
    from vidstyle.media.pictures.files import PICTURES

    return clip.is_dir() and not any(
        file.suffix.lower() in PICTURES for file in clip.iterdir() if file.is_file()
    )


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens. Raises UsageError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()  # a browser that is faster than the server waits
    except (OSError, OverflowError) as error:
        listener.close()
        raise UsageError(
            f"studio: cannot listen on {host}, port {port}: {error}; choose another --port"
        ) from error
    return listener
