"""Routes of sources and drawings: folders, frames, uploads, masks and maps, tracking."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from vidstyle.errors import UsageError, VidstyleError
from vidstyle.media.listing import is_footage
from vidstyle.studio.folders import stored_name
from vidstyle.studio.serving import Studio, body_of, events, json_of, route

__all__ = ["ROUTES"]

Found = tuple[dict[str, Any], bytes]
_PNG_BYTES = 64 << 20
_SIDES = range(16, 4097)


async def _files(request: Request, studio: Studio) -> Any:
    path = request.query_params.get("path") or str(studio.folders.start)
    return await asyncio.to_thread(studio.folders.listing, path)


async def _open(request: Request, studio: Studio) -> Any:
    values = await json_of(request)
    path = studio.folders.inside(_text(values, "path"))
    as_frames = bool(values.get("as_frames"))
    return (await _last(studio, "frames", "open", path=str(path), as_frames=as_frames))[0]


async def _scan(request: Request, studio: Studio) -> Any:
    path = studio.folders.inside(request.query_params.get("path", ""))
    return (await _last(studio, "scan", "scan", path=str(path)))[0]


async def _frame(request: Request, studio: Studio) -> Response:
    """Answer with a frame, or with its proxy if the query allows that and there is one.

    proxy=near: with the proxy of the nearest frame that has one, whose index the header X-Frame
    tells, or with nothing. Decoding ends when the page no longer waits for the answer.
    """
    query = request.query_params
    path = studio.folders.inside(query.get("path", ""))
    side = _number(query.get("side", "1920"), _SIDES)
    index = _number(query.get("index", "0"), range(1 << 31))
    use = "result frames" if query.get("of") == "result" else "frames"
    if query.get("proxy") == "near":
        near = await asyncio.to_thread(studio.proxies.nearest, str(path), index)
        return _jpeg(near[1], near[0]) if near else Response(status_code=204)
    if query.get("proxy"):
        jpeg = await asyncio.to_thread(studio.proxies.read, str(path), index)
        if jpeg is not None:
            studio.proxies.want(str(path), index)
            return _jpeg(jpeg, index)
    decoding = _last(studio, use, "frame", path=str(path), index=index, side=side)
    found = await _until_left(request, decoding)
    if found is None:
        return Response(status_code=204)
    if found[0].get("distant"):
        studio.proxies.want(str(path), index)
    return _jpeg(found[1])


def _jpeg(jpeg: bytes, proxy_of: int | None = None) -> Response:
    headers = {} if proxy_of is None else {"X-Proxy": "1", "X-Frame": str(proxy_of)}
    return Response(jpeg, media_type="image/jpeg", headers=headers)


async def _until_left(request: Request, work: Coroutine[Any, Any, Found]) -> Found | None:
    """Return what a coroutine returns; cancel it and return None if the page leaves before."""
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        working.cancel()
        leaving.cancel()


async def _left(request: Request) -> None:
    """Return when the page does not wait for the answer any more."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _picture(request: Request, studio: Studio) -> Response:
    path = studio.folders.inside(request.query_params.get("path", ""))
    side = _number(request.query_params.get("side", "256"), _SIDES)
    _, jpeg = await _last(studio, "pictures", "picture", path=str(path), side=side)
    return Response(jpeg, media_type="image/jpeg")


async def _last(studio: Studio, use: str, name: str, **values: Any) -> Found:
    """Return the answer of a worker before its end mark."""
    answer: Found = ({}, b"")
    async for found in studio.workers[use].stream(name, **values):
        answer = answer if found[0].get("end") else found
    return answer


async def _upload(request: Request, studio: Studio) -> Any:
    """Store a dropped file; with `set`, among others in a folder of that name."""
    name = stored_name(request.query_params.get("name", ""))
    group = request.query_params.get("set")
    if not is_footage(name) and not name.endswith(".toml"):
        raise UsageError(f"expected a video, an animation or a picture, got {name}; choose another")
    folder = studio.folders.work / "dropped"
    folder = folder / stored_name(group) if group else folder
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name if group else _free(folder / name)
    draft = path.with_name(f".{path.name}.part")
    size = 0
    try:
        with draft.open("wb") as file:
            async for part in request.stream():
                size += len(part)
                if size > studio.upload_bytes:
                    raise UsageError(
                        f"expected at most {studio.upload_bytes:,} bytes, got more; copy the file "
                        f"below {studio.folders.start} and open it there"
                    )
                await asyncio.to_thread(file.write, part)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return {"path": str(folder if group else path)}


def _free(path: Path) -> Path:
    """Return the path, or one with a number if it exists."""
    numbered = (path.with_stem(f"{path.stem}-{n}") for n in range(2, 10_000))
    return next((one for one in (path, *numbered) if not one.exists()), path)


async def _layer(request: Request, studio: Studio) -> Any:
    return studio.drawings.frames(request.path_params["layer"])


async def _drawing(request: Request, studio: Studio) -> Response:
    """Answer with a frame's picture; the header X-Drawing says how it came."""
    layer, index = request.path_params["layer"], request.path_params["index"]
    found = studio.drawings.at(layer, index)
    if found is None:
        return Response(status_code=204)
    return FileResponse(found[0], headers={"X-Drawing": found[1]})


async def _save_drawing(request: Request, studio: Studio) -> Any:
    layer, index = request.path_params["layer"], request.path_params["index"]
    png = await body_of(request, _PNG_BYTES)
    await asyncio.to_thread(studio.drawings.save, layer, index, png)
    return studio.drawings.frames(layer)


async def _delete_drawing(request: Request, studio: Studio) -> Any:
    layer, index = request.path_params["layer"], request.path_params["index"]
    studio.drawings.delete(layer, index)
    return studio.drawings.frames(layer)


async def _select(request: Request, studio: Studio) -> Response:
    """Answer with a mask: the subject, or what clicks or a smart stroke select."""
    values = await json_of(request)
    path = studio.folders.inside(_text(values, "path"))
    known = {
        key: values[key]
        for key in ("index", "size", "points", "labels", "subject", "strokes")
        if key in values
    }
    if known.pop("strokes", None):
        found = studio.drawings.at("strokes", int(values["index"]))
        known["strokes"] = str(found[0]) if found else ""
    _, png = await _last(studio, "select", "select", path=str(path), **known)
    return Response(png, media_type="image/png")


async def _track(request: Request, studio: Studio) -> Response:
    """Run `vidstyle track` for a layer; its lines are the events. Leaving ends it."""
    values = request.query_params
    path, layer = studio.folders.inside(values.get("path", "")), request.path_params["layer"]
    kind = "--map" if values.get("kind") == "map" else "--mask"
    keys, output = studio.drawings.keys(layer), studio.drawings.tracked(layer)
    studio.drawings.forget_tracked(layer)
    arguments = ["track", str(path), kind, str(keys), "-o", str(output), "--json"]
    return events(_lines_of(studio, arguments))


async def _lines_of(studio: Studio, arguments: list[str]) -> AsyncIterator[dict[str, Any]]:
    """Run a command of vidstyle and yield its lines of JSON; it ends with the reader."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "vidstyle", *arguments,
        stdout=asyncio.subprocess.PIPE, stdin=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        while not studio.closing.is_set() and (line := await process.stdout.readline()):
            one = json.loads(line)
            yield {"error": one["message"]} if one.get("event") == "error" else one
        code = await process.wait()
        if code:
            raise VidstyleError(f"vidstyle {arguments[0]} ended with code {code}; try again")
    finally:
        if process.returncode is None:
            process.kill()


def _text(values: dict[str, Any], name: str) -> str:
    value = values.get(name)
    if not isinstance(value, str):
        raise UsageError(f"{name}: expected text, got {value!r:.60}")
    return value


def _number(text: str, allowed: range) -> int:
    if not text.isdecimal() or int(text) not in allowed:
        raise UsageError(f"expected a number from {allowed[0]} to {allowed[-1]}, got {text[:20]!r}")
    return int(text)


_DRAWING = "/api/layers/{layer}/{index:int}"
ROUTES = [
    route("/api/files", _files),
    route("/api/open", _open, "POST"),
    route("/api/scan", _scan),
    route("/api/frame", _frame),
    route("/api/picture", _picture),
    route("/api/upload", _upload, "POST"),
    route("/api/select", _select, "POST"),
    route("/api/layers/{layer}", _layer),
    route("/api/layers/{layer}/track", _track),
    route(_DRAWING, _drawing),
    route(_DRAWING, _save_drawing, "PUT"),
    route(_DRAWING, _delete_drawing, "DELETE"),
]
