"""The job or the batch that a request (see job_file) asks for."""

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from vidstyle.errors import UsageError
from vidstyle.jobs.batch_item import MakeJob
from vidstyle.jobs.discovery import Batch, collect, parse_shard, read_list
from vidstyle.jobs.job import Job, make_job, parse_style
from vidstyle.jobs.manifest import state_path

__all__ = [
    "batch_of",
    "check_files",
    "check_job_file_apart",
    "input_paths",
    "is_batch",
    "job_maker",
    "single_job",
]

_GUIDES = ("mask", "map", "style_map")
_PLACES = ("source", "output", "recursive", "list", "shard", "scheduler")  # not settings of a job


def is_batch(request: Mapping[str, Any]) -> bool:
    """Tell whether the output is a folder of results.

    One clip that is divided among machines is no batch: it is divided by shots.
    """
    sources = request.get("source", ())
    if request.get("recursive") or request.get("list") or len(sources) != 1:
        return True
    divided = request.get("shard") or request.get("scheduler")
    return bool(divided) and os.path.isdir(sources[0]) and "rate" not in request  # noqa: PTH112


def job_maker(request: Mapping[str, Any]) -> MakeJob:
    """Return a function that makes a Job from a source and an output."""
    return partial(make_job, **{k: v for k, v in request.items() if k not in _PLACES})


def single_job(request: Mapping[str, Any]) -> Job:
    """Return the job of a request for one source. Raises VidstyleError."""
    return job_maker(request)(Path(request["source"][0]), Path(request["output"]))


def batch_of(request: Mapping[str, Any], base: Path = Path()) -> Batch:
    """Return the batch of a request. base: see `collect`; lines of a list count from it too.

    Raises VidstyleError.
    """
    output, listed = Path(request["output"]), request.get("list")
    guides = [request[name] for name in _GUIDES if name in request]
    return collect(
        [Path(path) for path in request.get("source", ())],
        output,
        listed=[base / line for line in read_list(listed, output)] if listed else (),
        recursive=bool(request.get("recursive")),
        sequences="rate" in request,
        shard=parse_shard(request.get("shard") or "1/1"),
        guides=guides,
        base=base,
    )


def check_files(request: Mapping[str, Any], base: Path = Path()) -> None:
    """Raise VidstyleError if files are missing, or options and paths do not fit each other.

    Reads no pixels, and writes nothing.
    """
    if is_batch(request):
        batch = batch_of(request, base)
        job_maker(request)(batch.source, batch.output)
    else:
        single_job(request)


def input_paths(request: Mapping[str, Any]) -> list[Path]:
    """Return the files and folders that a request names as inputs."""
    named = [*request.get("source", ()), *(str(parse_style(s)[0]) for s in request["style"])]
    for name in (*_GUIDES, "weights", "list"):
        value = request.get(name, ())
        named += [value] if isinstance(value, str) else value
    return [Path(path) for path in named if path != "-"]


def check_job_file_apart(path: Path, request: Mapping[str, Any]) -> None:
    """Raise UsageError if a job file is, or lies in, the output or the state folder of its run."""
    own, output = Path(os.path.realpath(path)), Path(request["output"])
    for place in (output, state_path(output)):
        inside = Path(os.path.realpath(place)) in (own, *own.parents)
        if inside or (own.exists() and place.exists() and own.samefile(place)):
            raise UsageError(
                f"expected a job file apart from the output, got {path} and {place}; choose "
                "another output, or move the job file"
            )
