"""What a worker process does: open, decode, plan, select and preview.

Each task yields (values, bytes) once or several times; the last one counts for most.
"""

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from fractions import Fraction
from functools import cache, lru_cache
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np

from vidstyle import media
from vidstyle.errors import UsageError
from vidstyle.image import Image, over_white, resize, to_bytes
from vidstyle.media.clip import Clip
from vidstyle.media.decoding.conversion import fitted_bytes
from vidstyle.media.decoding.seeking import VideoFrames
from vidstyle.studio.jpegs import to_jpeg
from vidstyle.studio.proxy_files import proxy_files

__all__ = ["TASKS"]

Answers = Iterator[tuple[dict[str, Any], bytes]]

_SIDE = 1920  # pixels of the long side that is shown at most
_WORK = 60_000_000  # pixels that are decoded before a frame, from which on proxies are made


def open_source(path: str, cancelled: Event, *, as_frames: bool = False) -> Answers:
    """Yield what the page needs to know of a source, from its headers.

    as_frames: the pictures of a folder are frames of a video, 25 a second until the user says else.
    """
    del cancelled
    source = _source(path, _stamp(path))
    if as_frames:
        source = media.probe(path, rate=Fraction(25), count=False)
    kind = "video" if isinstance(source, VideoFrames) else source.kind
    width, height = (
        source.size if isinstance(source, VideoFrames) else (source.width, source.height)
    )
    yield (
        {
            "path": path,
            "name": Path(path).name,
            "kind": kind,
            "width": width,
            "height": height,
            "frames": source.frames,
            "counted": source.counted,
            "rate": float(source.rate or 0) or None,
            "names": []
            if isinstance(source, VideoFrames)
            else [file.name for file in source.files],
        },
        b"",
    )


def scan_source(path: str, cancelled: Event) -> Answers:
    """Yield the exact number of frames of a video without a complete index."""
    del cancelled
    source = _source(path, _stamp(path))
    if isinstance(source, VideoFrames):
        source.scan()
    yield {"frames": source.frames, "counted": True}, b""


def read_frame(path: str, index: int, cancelled: Event, side: int = _SIDE) -> Answers:
    """Yield a frame as JPEG, its long side at most `side`, and whether proxies would help."""
    source = _source(path, _stamp(path))
    if isinstance(source, VideoFrames):
        source.cancelled = cancelled.is_set
        pixels = source.read_shown(index, side)
        yield {"distant": source.counted and source.work > _WORK}, to_jpeg(pixels)
    else:
        yield {"distant": False}, to_jpeg(fitted_bytes(_frame(path, index), side))


def make_proxies(path: str, index: int, folder: str, cancelled: Event) -> Answers:
    """Write proxies of a video for a second, near a frame first; yield how many are left."""
    yield {"left": proxy_files(path, folder).write_some(index, cancelled)}, b""


def read_picture(path: str, cancelled: Event, side: int = 256) -> Answers:
    """Yield a picture, a style or a finished frame, as JPEG."""
    del cancelled
    yield {}, to_jpeg(fitted_bytes(media.read_picture(Path(path)), side))


def select_area(  # noqa: PLR0913 - the kinds of hints
    path: str,
    index: int,
    size: list[int],
    cancelled: Event,
    *,
    points: list[list[float]] | None = None,
    labels: list[int] | None = None,
    strokes: str | None = None,
    subject: bool = False,
) -> Answers:
    """Yield a mask as PNG, of `size` (width, height): the subject, or what clicks or strokes hint.

    points: in pixels of `size`. strokes: a PNG file, white where the object was painted.
    """
    import cv2

    from vidstyle import segmentation

    del cancelled
    image = resize(_frame(path, index), *size)
    if subject:
        mask = segmentation.saliency(image)
    elif strokes is not None:
        painted = cv2.imread(strokes, cv2.IMREAD_GRAYSCALE)
        if painted is None or painted.shape != image.shape[:2]:
            raise UsageError("expected strokes of the frame's size; paint again")
        mask = _grown(image, painted)
    elif segmentation.has_click_model():
        mask = segmentation.select(image, [(p[0], p[1]) for p in points or ()], labels or ())
    else:
        mask = segmentation.grab_cut(image, [(p[0], p[1]) for p in points or ()], labels or ())
    yield {}, _png(to_bytes(mask))


def _grown(image: Image, painted: np.ndarray) -> np.ndarray:
    """Return the object under the strokes by GrabCut, never less than the strokes."""
    from vidstyle import segmentation

    strokes = (painted > 127).astype(np.uint8)
    if not strokes.any():
        raise UsageError("expected a stroke over the subject, got none; paint over it first")
    return np.maximum(segmentation.grab_cut(image, strokes=strokes), painted / np.float32(255))


def plan_job(values: dict[str, Any], cancelled: Event) -> Answers:
    """Yield the plan of a request: frames, size, time and disk space."""
    from vidstyle.jobs.job_file import check_request
    from vidstyle.jobs.pipeline import plan
    from vidstyle.jobs.request import single_job

    del cancelled
    yield plan(single_job(check_request(values, "the request"))).to_json(), b""


def first_frame(values: dict[str, Any], cancelled: Event) -> Answers:
    """Yield the index of the first frame of the source that a request stylises."""
    from vidstyle.jobs.job_file import check_request
    from vidstyle.jobs.request import single_job

    del cancelled
    job = single_job(check_request(values, "the request"))
    clip = media.probe(job.source, rate=job.settings.rate, count=False)
    yield {"first": media.select(clip, job.settings.start, job.settings.end).start}, b""


def warm_up(
    cancelled: Event, values: dict[str, Any] | None = None, index: int = 0, folder: str = ""
) -> Answers:
    """Do what a preview would wait for: load TensorFlow and the network, and trace its step.

    values, index, folder: of the preview (see preview_frame), which ends at its first picture;
    None: there is none yet.
    """
    from vidstyle.studio.live import load_network

    if load_network() and values is not None:
        with closing(preview_frame(values, index, folder, cancelled)) as pictures:
            any(picture for _, picture in pictures)
    yield {}, b""


def preview_frame(
    values: dict[str, Any], index: int, folder: str, cancelled: Event
) -> Generator[tuple[dict[str, Any], bytes], None, None]:
    """Yield pictures (JPEG) of a frame while it is optimised, with evaluation and loss.

    values: a request for one picture, without source and output. folder: where the frame is put.
    """
    from vidstyle.jobs.job_file import check_request
    from vidstyle.jobs.request import single_job
    from vidstyle.studio.live import live_pictures

    frame = Path(folder) / f"frame-{os.getpid()}.png"
    media.write_picture(frame, _frame(values.pop("source"), index))
    try:
        request = {**values, "source": str(frame), "output": str(Path(folder) / "none.png")}
        job = single_job(check_request(request, "the preview"))
        with closing(live_pictures(job, cancelled)) as pictures:
            for progress, image in pictures:
                yield progress, b"" if image is None else to_jpeg(to_bytes(image))
    finally:
        frame.unlink(missing_ok=True)


TASKS: dict[str, Callable[..., Answers]] = {
    "open": open_source,
    "scan": scan_source,
    "frame": read_frame,
    "proxies": make_proxies,
    "picture": read_picture,
    "select": select_area,
    "plan": plan_job,
    "first": first_frame,
    "warm": warm_up,
    "preview": preview_frame,
}


def _stamp(path: str) -> float:
    """Return when a file was changed: part of the key of its cached frames."""
    try:
        return os.stat(path).st_mtime  # noqa: PTH116
    except OSError:
        return 0.0


@lru_cache(maxsize=2)
def _source(path: str, changed: float) -> "VideoFrames | Clip":
    """Return an open video, or the clip of pictures. changed: see _stamp."""
    del changed
    clip = None if _is_video(path) else media.probe(path, count=False)
    return VideoFrames(Path(path), _SIDE) if clip is None or clip.kind == "video" else clip


@cache
def _is_video(path: str) -> bool:
    from vidstyle.media.pictures.files import is_picture

    return Path(path).is_file() and not is_picture(Path(path))


def _frame(path: str, index: int) -> Image:
    """Return a frame, RGB, at the size that is shown or up to twice it."""
    source = _source(path, _stamp(path))
    if isinstance(source, VideoFrames):
        return over_white(source.read(index))
    if not 0 <= index < source.frames:
        raise UsageError(f"expected a frame from 0 to {source.frames - 1}, got {index}")
    return next(iter(media.read(source, range(index, index + 1), _SIDE)))


def _png(pixels: np.ndarray) -> bytes:
    import cv2

    return bytes(cv2.imencode(".png", pixels)[1])
