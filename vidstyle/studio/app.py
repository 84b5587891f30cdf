"""The server's application: its routes, and the page's state."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from vidstyle.errors import OutputError
from vidstyle.studio import job_routes, source_routes
from vidstyle.studio.access import Access
from vidstyle.studio.declared import declared_settings, declared_techniques
from vidstyle.studio.folders import samples_folder
from vidstyle.studio.serving import Studio, json_of, route

__all__ = ["make_app"]

STATIC = Path(__file__).parent / "static"


def make_app(studio: Studio, *, token: str, host: str, port: int) -> Any:
    """Return the ASGI application."""
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
        studio.workers.close()
        await studio.workers.wait()


async def _page(request: Request, studio: Studio) -> Response:
    del request, studio
    return FileResponse(STATIC / "index.html")


async def _state(request: Request, studio: Studio) -> dict[str, Any]:
    """Return everything that the page needs at its start."""
    del request
    samples = samples_folder()
    return {
        "start": str(studio.folders.start),
        "opened": studio.opened,
        "settings": declared_settings(),
        "techniques": declared_techniques(),
        "samples": _samples(samples) if samples else {},
        "project": _project(studio.folders.work / "project.json"),
    }


def _project(path: Path) -> dict[str, Any] | None:
    """Return what the page kept; None if there is none, or it is damaged."""
    try:
        kept = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return kept if isinstance(kept, dict) else None


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
