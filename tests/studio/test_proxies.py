"""Proxies: any frame of a video with distant key frames is answered at once."""

import asyncio
import io
from pathlib import Path
from threading import Event
from typing import Any

import av
import numpy as np
import PIL.Image
import pytest
from starlette.requests import Request
from studio_client import client, folder  # noqa: F401 - fixtures

from vidstyle.errors import CancelledError
from vidstyle.media.decoding.seeking import VideoFrames
from vidstyle.studio import source_routes, tasks
from vidstyle.studio.proxies import Proxies, proxy_file
from vidstyle.studio.proxy_files import ProxyFiles
from vidstyle.studio.workers import Workers

FRAMES, SIZE = 60, (256, 192)


def square_at(index: int) -> tuple[int, int]:
    return 2 * index, 30 + index


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video with one key frame, whose square moves by two pixels a frame."""
    path = tmp_path_factory.mktemp("video") / "long.mp4"
    options = {"preset": "ultrafast", "g": "250", "sc_threshold": "0"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options=options)
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        for index in range(FRAMES):
            pixels = np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)
            x, y = square_at(index)
            pixels[y : y + 64, x : x + 64] = (230, 90, 40)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


def corner(jpeg: bytes) -> tuple[int, int]:
    """The first column and row of the square."""
    image = np.asarray(PIL.Image.open(io.BytesIO(jpeg)).convert("RGB")).astype(int)
    rows, columns = np.nonzero(image[..., 0] - image[..., 2] > 80)
    return int(columns.min()), int(rows.min())


def test_the_proxies_near_the_frame_that_was_read_come_first(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "10", "sc_threshold": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for value in range(40):
            pixels = np.full((48, 64, 3), 5 * value, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    files = ProxyFiles(path, tmp_path / "proxies" / "a")
    order = [files._next(files._group(25)) for _ in range(40)]
    assert order[0] == 20
    assert set(order[1:4]) == {0, 10, 30}  # the other key frames: a picture for every place
    assert order[4:13] == list(range(21, 30))
    assert sorted(order) == list(range(40))


def test_every_proxy_is_its_frame_and_they_are_made_once(video: Path, tmp_path: Path) -> None:
    target = tmp_path / "proxies" / "a"
    files = ProxyFiles(video, target)
    while files.write_some(0, Event()):
        pass
    for index in (0, 1, 37, FRAMES - 1):
        assert (
            np.abs(
                np.subtract(corner(proxy_file(target, index).read_bytes()), square_at(index))
            ).max()
            <= 1
        )
    assert len(list(target.iterdir())) == FRAMES
    assert ProxyFiles(video, target).left == 0


def test_the_space_is_bounded_and_the_oldest_videos_leave(video: Path, tmp_path: Path) -> None:
    old = tmp_path / "proxies" / "old"
    old.mkdir(parents=True)
    (old / "000000.jpg").write_bytes(bytes(15_000))
    target = tmp_path / "proxies" / "new"
    files = ProxyFiles(video, target, most=20_000)
    assert not old.exists()
    while files.write_some(0, Event()):
        pass
    found = [file.stat().st_size for file in target.iterdir()]
    assert 20_000 <= sum(found) < 20_000 + max(found)
    assert 0 < len(found) < FRAMES


def test_a_cancelled_worker_writes_no_more(video: Path, tmp_path: Path) -> None:
    cancelled = Event()
    cancelled.set()
    assert ProxyFiles(video, tmp_path / "a" / "b").write_some(0, cancelled) == FRAMES


def test_frames_for_display_equal_those_that_are_read(video: Path) -> None:
    with VideoFrames(video, 1920) as frames:
        shown, read = frames.read_shown(50, 1920), frames.read(50)
        assert np.abs(shown - 255 * read).max() < 0.01
        assert frames.read_shown(50, 128).shape == (96, 128, 3)
        assert frames.starts == [0]
        assert frames.work == FRAMES * SIZE[0] * SIZE[1]


def test_the_worker_fills_the_folder_and_a_damaged_or_changed_file_is_not_shown(
    video: Path, tmp_path: Path
) -> None:
    async def fill() -> Proxies:
        workers = Workers()
        proxies = Proxies(workers, tmp_path / "cache")
        try:
            assert proxies.read(str(video), 50) is None
            proxies.want(str(video), 50)
            assert proxies._filling is not None
            await asyncio.wait_for(proxies._filling, 60)
        finally:
            workers.close()
            await workers.wait()
        return proxies

    proxies = asyncio.run(fill())
    jpeg = proxies.read(str(video), 50)
    assert jpeg is not None
    assert np.abs(np.subtract(corner(jpeg), square_at(50))).max() <= 1
    (kept,) = (tmp_path / "cache").iterdir()
    assert len(list(kept.iterdir())) == FRAMES
    proxy_file(kept, 50).write_bytes(jpeg[:-9])  # the power failed
    assert proxies.read(str(video), 50) is None
    assert proxies.read(str(video), 49) is not None
    video.touch()
    assert proxies.read(str(video), 49) is None


def test_proxies_are_made_where_much_is_decoded_before_a_frame(
    video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distant = []
    for most in (FRAMES * SIZE[0] * SIZE[1], FRAMES * SIZE[0] * SIZE[1] - 1):
        monkeypatch.setattr(tasks, "_WORK", most)
        (head, _), *_ = tasks.read_frame(str(video), 0, Event())
        distant.append(head["distant"])
    assert distant == [False, True]


def test_the_page_gets_a_proxy_only_if_it_asks_for_one(
    client: Any,  # noqa: F811
    folder: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    proxies = client.studio.proxies = Proxies(client.studio.workers, tmp_path / "cache")
    wanted: list[tuple[str, int]] = []
    monkeypatch.setattr(proxies, "want", lambda *given: wanted.append(given))
    kept = proxies._folder(str(folder / "clip.mp4"))
    kept.mkdir(parents=True)
    proxy_file(kept, 3).write_bytes(b"\xff\xd8proxy\xff\xd9")
    query = {"path": "clip.mp4", "index": "3"}
    found = client("GET", "/api/frame", params={**query, "proxy": "1"})
    assert (found.content, found.headers["x-proxy"]) == (b"\xff\xd8proxy\xff\xd9", "1")
    assert wanted == [(str(folder / "clip.mp4"), 3)]
    for one in (query, {**query, "index": "2", "proxy": "1"}):
        found = client("GET", "/api/frame", params=one)
        assert "x-proxy" not in found.headers
        assert PIL.Image.open(io.BytesIO(found.content)).size == (128, 96)


def test_the_nearest_proxy_names_its_frame(
    client: Any,  # noqa: F811
    folder: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    proxies = client.studio.proxies = Proxies(client.studio.workers, tmp_path / "cache")
    query = {"path": "clip.mp4", "index": "4", "proxy": "near"}
    assert client("GET", "/api/frame", params=query).status_code == 204  # there is none
    kept = proxies._folder(str(folder / "clip.mp4"))
    kept.mkdir(parents=True)
    for index in (0, 3):
        proxy_file(kept, index).write_bytes(b"\xff\xd8%d\xff\xd9" % index)
    for index, near in ((4, 3), (3, 3), (1, 0)):
        found = client("GET", "/api/frame", params={**query, "index": str(index)})
        assert (found.content, found.headers["x-frame"]) == (
            b"\xff\xd8%d\xff\xd9" % near,
            f"{near}",
        )


def test_a_frame_that_is_no_longer_wanted_is_not_decoded(video: Path) -> None:
    cancelled = Event()
    list(tasks.read_frame(str(video), 0, cancelled))
    cancelled.set()
    with pytest.raises(CancelledError):
        list(tasks.read_frame(str(video), 50, cancelled))
    (_, jpeg), *_ = tasks.read_frame(str(video), 50, Event())
    assert np.abs(np.subtract(corner(jpeg), square_at(50))).max() <= 1


def test_a_request_whose_page_has_left_is_given_up() -> None:
    ended = []

    async def endless() -> tuple[dict[str, Any], bytes]:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)
        return {}, b""

    async def ask(kinds: list[str]) -> Any:
        messages = iter([{"type": kind} for kind in kinds])

        async def receive() -> dict[str, str]:
            return next(messages)

        request = Request({"type": "http"}, receive)
        found = await source_routes._until_left(request, endless())
        await asyncio.sleep(0)
        return found

    assert asyncio.run(ask(["http.request", "http.disconnect"])) is None
    assert ended == [True]


def test_a_call_that_is_left_frees_its_process_for_the_next(video: Path, tmp_path: Path) -> None:
    async def leave() -> tuple[int, int, int]:
        workers = Workers()
        worker = workers["proxies"]
        call = {"path": str(video), "index": 0, "folder": str(tmp_path / "a" / "b")}
        try:
            await collected(worker.stream("frame", path=str(video), index=0))
            assert worker._process is not None
            first = worker._process.pid
            left = asyncio.create_task(collected(worker.stream("proxies", **call)))
            await asyncio.sleep(0.02)
            left.cancel()
            found = await collected(worker.stream("frame", path=str(video), index=1))
            return first, worker._process.pid, len(found[0][1])
        finally:
            workers.close()
            await workers.wait()

    first, second, size = asyncio.run(leave())
    assert first == second
    assert size > 1000


async def collected(pieces: Any) -> list[Any]:
    return [piece async for piece in pieces]
