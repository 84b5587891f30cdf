"""The server's application: the routes of the page, and what they share."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from vidstyle.errors import OutputError, UsageError, VidstyleError, explained
from vidstyle.studio.access import Access
from vidstyle.studio.declared import declared_settings, declared_techniques
from vidstyle.studio.drawings import Drawings
from vidstyle.studio.folders import Folders, samples_folder
from vidstyle.studio.queue import JobQueue
from vidstyle.studio.workers import Workers

__all__ = ["Studio", "body_of", "events", "json_of", "make_app", "route"]

STATIC = Path(__file__).parent / "static"
JSON_BYTES = 1 << 20
Answer = Callable[[Request, "Studio"], Awaitable[Any]]


@dataclass
class Studio:
    """What the routes share. opened: the clip named on the command line, as the page opens it.

    changed: set and replaced whenever a job of the queue changes. closing: set at the end.
    """

    folders: Folders
    queue: JobQueue
    opened: str | None = None
    workers: Workers = field(default_factory=Workers)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    upload_bytes: int = 8 << 30

    def __post_init__(self) -> None:
        self.drawings = Drawings(self.folders.work)

    def announce(self) -> None:
        """Wake everyone who waits for a change of a job; called in the server's thread."""
        self.changed.set()
        self.changed = asyncio.Event()


def make_app(studio: Studio, *, token: str, host: str, port: int) -> Any:
    """Return the ASGI application."""
    from vidstyle.studio import job_routes, source_routes

    routes = [
        route("/", _page),
        route("/api/state", _state),
        route("/api/project", _save_project, "PUT"),
        *source_routes.ROUTES,
        *job_routes.ROUTES,
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    app = Starlette(routes=routes, lifespan=_lifespan)
    app.state.studio = studio
    return Access(app, token=token, host=host, port=port)


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    studio: Studio = app.state.studio
    try:
        yield
    finally:
        studio.closing.set()
        studio.announce()
        studio.workers.stop()


def route(path: str, answer: Answer, method: str = "GET") -> Route:
    """Return a route whose errors become a sentence: {"error": …} with a status of 400 or 500."""

    async def endpoint(request: Request) -> Response:
        try:
            found = await answer(request, request.app.state.studio)
        except Exception as error:
            message, code = explained(error)
            status = 400 if isinstance(error, VidstyleError) else 500
            return JSONResponse({"error": message, "exit_code": code}, status)
        return found if isinstance(found, Response) else JSONResponse(found)

    return Route(path, endpoint, methods=[method])


async def body_of(request: Request, most: int) -> bytes:
    """Return the body of a request of at most `most` bytes."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise UsageError(f"expected at most {most:,} bytes, got more; choose a smaller file")
        parts.append(part)
    return b"".join(parts)


async def json_of(request: Request) -> dict[str, Any]:
    """Return the JSON object of a request."""
    try:
        values = json.loads(await body_of(request, JSON_BYTES))
    except ValueError as error:
        raise UsageError(f"expected JSON, got something else ({error})") from error
    if not isinstance(values, dict):
        raise UsageError(f"expected a JSON object, got {type(values).__name__}")
    return values


def events(source: AsyncIterator[dict[str, Any]]) -> StreamingResponse:
    """Return server-sent events, one for each value; an error becomes a last event."""

    async def lines() -> AsyncIterator[bytes]:
        try:
            async for one in source:
                yield b"data: " + json.dumps(one).encode() + b"\n\n"
        except Exception as error:
            message, code = explained(error)
            last = {"error": message, "exit_code": code}
            yield b"data: " + json.dumps(last).encode() + b"\n\n"

    return StreamingResponse(lines(), media_type="text/event-stream")


async def _page(request: Request, studio: Studio) -> Response:
    del request, studio
    return FileResponse(STATIC / "index.html")


async def _state(request: Request, studio: Studio) -> dict[str, Any]:
    """Return everything that the page needs at its start."""
    del request
    samples = samples_folder()
    project = studio.folders.work / "project.json"
    return {
        "start": str(studio.folders.start),
        "opened": studio.opened,
        "settings": declared_settings(),
        "techniques": declared_techniques(),
        "samples": _samples(samples) if samples else {},
        "project": json.loads(project.read_text("utf-8")) if project.is_file() else None,
    }


def _samples(folder: Path) -> dict[str, Any]:
    """Return the paths of the samples that are there."""
    return {
        "styles": [str(path) for path in sorted(folder.glob("style*.jpg"))],
        "sources": [str(folder / n) for n in ("clip.mp4", "photo.png") if (folder / n).is_file()],
        "gallery": {path.stem: str(path) for path in sorted((folder / "gallery").glob("*.jpg"))},
    }


async def _save_project(request: Request, studio: Studio) -> dict[str, Any]:
    """Keep what the page shows, so that it can be opened again."""
    values = await json_of(request)
    try:
        studio.folders.work.mkdir(exist_ok=True)
        draft = studio.folders.work / "project.tmp.json"
        draft.write_text(json.dumps(values), encoding="utf-8")
        draft.replace(studio.folders.work / "project.json")
    except OSError as error:
        raise OutputError(
            f"cannot write {studio.folders.work}: {error.strerror}; start the studio in a folder "
            "that you may write to"
        ) from error
    return {}
