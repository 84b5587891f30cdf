"""Routes of requests: command line and job file, plan, preview, and the queue of jobs."""

import asyncio
import base64
import shlex
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from vidstyle.errors import UsageError
from vidstyle.jobs.job import parse_style
from vidstyle.jobs.job_file import check_request, dump_job, job_to_command, load_job, with_paths
from vidstyle.studio.serving import JSON_BYTES, Studio, body_of, events, json_of, route

__all__ = ["ROUTES"]

_REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'; sandbox"
)


def _checked(studio: Studio, values: dict[str, Any]) -> dict[str, Any]:
    """Return the request of the page, normalised; its paths lie in the opened folders.

    A layer's name in place of a mask or map means its folder of drawings.
    """
    values = dict(values)
    for name in ("mask", "style_map"):
        if values.get(name):
            values[name] = [_drawn(studio, one) for one in values[name]]
    if values.get("map"):
        values["map"] = _drawn(studio, values["map"])
    request = check_request(values, "the request")
    if set(request) & {"list", "scheduler", "shard"}:
        raise UsageError("expected one clip of the studio, got a batch; use the command line")
    return with_paths(
        request, lambda path: path if path.startswith("auto") else str(studio.folders.inside(path))
    )


def _drawn(studio: Studio, name: str) -> str:
    """Return the folder of drawings that "layer:NAME" names; "still:NAME": of one picture."""
    kind, _, layer = name.partition(":")
    if kind == "still":
        found = studio.drawings.at(layer, 0)
        if found is None:
            raise UsageError("expected a painted map of each style, got none; paint one")
        return str(found[0])
    if kind != "layer":
        return name
    frames = studio.drawings.frames(layer)
    if not frames["keys"]:
        raise UsageError("expected a mask or map for each layer, got an empty one; paint it first")
    tracked = studio.drawings.tracked(layer)
    return str(tracked if frames["tracked"] else studio.drawings.keys(layer))


async def _describe(request: Request, studio: Studio) -> Any:
    """Answer with the command line and the job file of a request."""
    values = _checked(studio, await json_of(request))
    command = shlex.join(["vidstyle", *job_to_command(values)])
    return {"command": command, "job": dump_job(values)}


async def _load(request: Request, studio: Studio) -> Any:
    """Answer with the request of a job file; its relative paths count from the start folder."""
    text = (await body_of(request, JSON_BYTES)).decode("utf-8", "replace")
    values = load_job(text, studio.folders.start, "the job file")
    return _checked(studio, values)


async def _plan(request: Request, studio: Studio) -> Any:
    values = _checked(studio, await json_of(request))
    return await _planned(studio, "plan", values)


async def _first(request: Request, studio: Studio) -> Any:
    """Answer with the index of the source's frame that is the first of a job's result."""
    values = dict(studio.queue.get(request.path_params["id"]).request)
    return await _planned(studio, "first", values)


async def _planned(studio: Studio, name: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return the only answer of the worker that plans."""
    found: dict[str, Any] = {}
    async for head, _ in studio.workers["plan"].stream(name, values=_plain(values)):
        found = found if head.get("end") else head
    return found


async def _warm(request: Request, studio: Studio) -> Any:
    """Prepare the process that previews: for any preview, or for one with the given values."""
    body = await json_of(request)
    call = _preview_call(studio, body) if "values" in body else {}
    async for _ in studio.workers["preview"].stream("warm", **call):
        pass
    return {}


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Return a request as JSON holds it."""
    return {
        key: list(value)
        if isinstance(value, tuple)
        else value
        if isinstance(value, (bool, int, float))
        else str(value)
        for key, value in values.items()
    }


async def _preview(request: Request, studio: Studio) -> Response:
    """Stylise one frame; the pictures come as events. Leaving cancels it."""
    call = _preview_call(studio, await json_of(request))
    return events(_preview_events(studio, call))


def _preview_call(studio: Studio, body: dict[str, Any]) -> dict[str, Any]:
    """Return what the worker needs to preview a frame: values, index and folder."""
    index = int(body["index"])
    values = dict(body["values"])
    for name in ("mask", "map"):
        if values.get(name):
            values[name] = _at_frame(studio, values[name], index)
    request_values = _checked(studio, values)
    source = request_values.pop("source")[0]
    for name in ("output", "start", "end", "rate", "codec", "crf", "pix_fmt", "restart"):
        request_values.pop(name, None)
    studio.folders.work.mkdir(exist_ok=True)
    values = {**_plain(request_values), "source": source}
    return {"values": values, "index": index, "folder": str(studio.folders.work)}


def _at_frame(studio: Studio, given: Any, index: int) -> Any:
    """Return the guides of one frame in place of "layer:NAME"."""
    if isinstance(given, list):
        return [_at_frame(studio, one, index) for one in given]
    kind, _, layer = given.partition(":")
    if kind != "layer":
        return given
    found = studio.drawings.at(layer, index)
    if found is None:
        raise UsageError("expected a mask or map for each layer, got an empty one; paint it first")
    return str(found[0])


async def _preview_events(studio: Studio, call: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """Yield the answers of the preview worker, pictures in base64."""
    worker = studio.workers["preview"]
    if worker.busy:
        worker.cancel()
    async with aclosing(worker.stream("preview", **call)) as pieces:
        async for head, body in pieces:
            picture = {"jpeg": base64.b64encode(body).decode()} if body else {}
            yield {**head, **picture}


async def _jobs(request: Request, studio: Studio) -> Any:
    del request
    return {"jobs": [job.to_json() for job in studio.queue.jobs()]}


async def _add(request: Request, studio: Studio) -> Any:
    values = _checked(studio, await json_of(request))
    name = await asyncio.to_thread(studio.queue.add, values, studio.folders.start)
    return {"id": name}


async def _act(request: Request, studio: Studio) -> Any:
    action, name = request.path_params["action"], request.path_params["id"]
    if action not in ("pause", "resume", "cancel", "remove"):
        raise UsageError(f"expected pause, resume, cancel or remove, got {action!r}")
    await asyncio.to_thread(getattr(studio.queue, action), name)
    return {}


async def _job_events(request: Request, studio: Studio) -> Response:
    del request
    return events(_changes(studio))


async def _changes(studio: Studio) -> AsyncIterator[dict[str, Any]]:
    """Yield the jobs whenever one changes, at most four times a second."""
    while not studio.closing.is_set():
        changed = studio.changed
        yield {"jobs": [job.to_json() for job in studio.queue.jobs()]}
        try:
            await asyncio.wait_for(changed.wait(), 2)
        except TimeoutError:
            continue
        await asyncio.sleep(0.25)


async def _latest(request: Request, studio: Studio) -> Response:
    """Answer with the last finished frame of a job."""
    job = studio.queue.get(request.path_params["id"])
    path = job.progress.latest_frame
    if path is None or not Path(path).is_file():
        return Response(status_code=204)
    jpeg = b""
    async for _, body in studio.workers["pictures"].stream("picture", path=str(path), side=640):
        jpeg = body or jpeg
    return Response(jpeg, media_type="image/jpeg")


async def _download(request: Request, studio: Studio) -> Response:
    output = studio.queue.get(request.path_params["id"]).output
    if not output.is_file():
        raise UsageError(f"expected one file to download, got {output}; open the folder itself")
    return FileResponse(output, filename=output.name)


async def _report(request: Request, studio: Studio) -> Response:
    """Measure a finished job with `vidstyle eval` and answer with its page."""
    job = studio.queue.get(request.path_params["id"])
    page = studio.folders.work / "reports" / f"{job.id}.html"
    if not (page.is_file() and page.stat().st_mtime > job.output.stat().st_mtime):
        page.parent.mkdir(parents=True, exist_ok=True)
        source = str(job.request["source"][0])
        style = str(parse_style(job.request["style"][0])[0])
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "vidstyle", "eval", str(job.output), "--source", source,
            "--style", style, "--html", str(page), "-q",
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            _, printed = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        if process.returncode:
            last = printed.decode("utf-8", "replace").strip().rpartition("\n")[2]
            raise UsageError(last.removeprefix("vidstyle: ") or "the report could not be made")
    return FileResponse(page, headers={"Content-Security-Policy": _REPORT_POLICY})


ROUTES = [
    route("/api/describe", _describe, "POST"),
    route("/api/load", _load, "POST"),
    route("/api/plan", _plan, "POST"),
    route("/api/preview", _preview, "POST"),
    route("/api/warm", _warm, "POST"),
    route("/api/jobs", _jobs),
    route("/api/jobs", _add, "POST"),
    route("/api/jobs/events", _job_events),
    route("/api/jobs/{id}/first", _first),
    route("/api/jobs/{id}/latest", _latest),
    route("/api/jobs/{id}/download", _download),
    route("/api/jobs/{id}/report", _report),
    route("/api/jobs/{id}/{action}", _act, "POST"),
]
