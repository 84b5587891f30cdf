"""What the routes share: the studio's state, errors as sentences, bounded bodies, events."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from vidstyle.downloads.store import cache_folder
from vidstyle.errors import UsageError, VidstyleError, describe_error
from vidstyle.studio.drawings import Drawings
from vidstyle.studio.folders import Folders
from vidstyle.studio.proxies import Proxies
from vidstyle.studio.queue import JobQueue
from vidstyle.studio.workers import Workers

__all__ = ["JSON_BYTES", "Studio", "body_of", "events", "json_of", "route"]

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
        self.proxies = Proxies(self.workers, cache_folder() / "studio-proxies")

    def announce(self) -> None:
        """Wake all tasks that wait for a change of a job; called in the server's thread."""
        self.changed.set()
        self.changed = asyncio.Event()


def route(path: str, answer: Answer, method: str = "GET") -> Route:
    """Return a route whose errors become a sentence: {"error": …} with a status of 400 or 500."""

    async def endpoint(request: Request) -> Response:
        try:
            found = await answer(request, request.app.state.studio)
        except Exception as error:
            message, code = describe_error(error)
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
            message, code = describe_error(error)
            last = {"error": message, "exit_code": code}
            yield b"data: " + json.dumps(last).encode() + b"\n\n"

    return StreamingResponse(lines(), media_type="text/event-stream")
