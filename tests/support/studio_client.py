"""Fixtures for tests of the studio: a fresh folder, and a client without a browser."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from shutil import copy
from typing import Any

import pytest

pytest.importorskip("starlette", reason="needs the extra 'studio'")
httpx = pytest.importorskip("httpx", reason="needs httpx")

from vidstyle.studio.app import make_app  # noqa: E402
from vidstyle.studio.folders import Folders  # noqa: E402
from vidstyle.studio.queue import JobQueue  # noqa: E402
from vidstyle.studio.serving import Studio  # noqa: E402

__all__ = ["Client", "client", "folder"]

TOKEN, PORT = "the-token", 8000
HOME = f"http://127.0.0.1:{PORT}"


class Client:
    """Sends requests to a studio's application, in the event loop of a runner."""

    def __init__(self, app: Any, studio: Studio, runner: asyncio.Runner) -> None:
        self.app, self.studio, self._runner = app, studio, runner

    def __call__(self, method: str, path: str, **values: Any) -> Any:
        """Return the answer; headers: those of the page, changed by `headers` (None: left out)."""
        headers = {"Origin": HOME, "Cookie": f"vidstyle_studio_{PORT}={TOKEN}"}
        headers |= values.pop("headers", {})
        kept = {name: value for name, value in headers.items() if value is not None}

        async def ask() -> Any:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url=HOME, timeout=120) as client:
                return await client.request(method, path, headers=kept, **values)

        return self._runner.run(ask())


@pytest.fixture
def folder(tmp_path: Path, clip: Path, style: Path) -> Path:
    """A folder with clip.mp4 (6 frames, 128 x 96) and wave.png."""
    start = tmp_path / "start"
    start.mkdir()
    for file in (clip, style):
        copy(file, start / file.name)
    return start


@pytest.fixture
def client(folder: Path, tmp_path: Path) -> Iterator[Client]:
    with JobQueue(tmp_path / "queue") as queue, asyncio.Runner() as runner:
        studio = Studio(folders=Folders(folder), queue=queue, upload_bytes=100_000)
        app = make_app(studio, token=TOKEN, host="127.0.0.1", port=PORT)
        yield Client(app, studio, runner)
        studio.workers.close()
        runner.run(studio.workers.wait())
