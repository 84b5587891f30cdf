"""Benchmark of the studio, by the requests that its page sends."""

import io
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.cookiejar import CookieJar
from pathlib import Path
from shutil import copy
from typing import Any
from urllib.parse import urlencode, urlsplit

import numpy as np
import PIL.Image

SAMPLES = Path(__file__).parent.parent / "samples"
PLACES = 40  # frames that are asked for in each clip
SIZE = 256  # pixels of the preview
FILLING = 1800  # seconds after which proxies are no longer waited for


class Studio:
    """A studio of a separate process. seconds: until it answered with its page.

    cache: its cache folder, without proxies; None: that of the user.
    """

    def __init__(self, clip: Path, state: Path, cache: Path | None = None) -> None:
        began = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "vidstyle", "studio", str(clip.absolute()), "--no-browser"],
            stdout=subprocess.PIPE, text=True,
            env={
                **os.environ,
                **({"XDG_CACHE_HOME": str(cache)} if cache else {}),
                "XDG_STATE_HOME": str(state),
                "PYTHONPATH": str(SAMPLES.parent),
            },
        )  # fmt: skip
        assert self.process.stdout is not None
        url = re.findall(r"http\S+", self.process.stdout.readline())[0]
        self.home = "{0.scheme}://{0.netloc}".format(urlsplit(url))
        self._opener = urllib.request.build_opener(
            urllib.request.HTTPCookieProcessor(CookieJar()), urllib.request.ProxyHandler({})
        )
        self._opener.open(url).read()
        self.seconds = time.perf_counter() - began

    def stream(self, method: str, route: str, body: bytes | None = None, **query: Any) -> Any:
        """Return the answer, open."""
        url = f"{self.home}{route}?{urlencode(query)}"
        request = urllib.request.Request(url, body, {"Origin": self.home}, method=method)
        return self._opener.open(request)

    def ask(self, method: str, route: str, values: Any = None, **query: Any) -> bytes:
        """Return the answer to a request whose body is JSON."""
        body = None if values is None else json.dumps(values).encode()
        return bytes(self.stream(method, route, body, **query).read())

    def memory(self) -> float:
        """Return the resident MiB of the server and its workers."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        status = [Path(f"/proc/{one}/status").read_text() for one in (pid, *children)]
        return sum(int(re.findall(r"VmRSS:\s*(\d+)", text)[0]) for text in status) / 1024


@contextmanager
def started(clip: Path, cache: Path | None = None) -> Iterator[Studio]:
    with tempfile.TemporaryDirectory() as folder:
        studio = Studio(clip, Path(folder), cache)
        try:
            yield studio
        finally:
            studio.process.terminate()
            studio.process.communicate(timeout=30)


def studio(*clips: Path) -> None:
    """Print the times of opening, scrubbing and the first masked preview, and the memory."""
    print(f"one-minute load of the machine: {os.getloadavg()[0]:.1f}")
    for clip in clips or (SAMPLES / "clip.mp4",):
        scrub(clip)
    preview()


def scrub(clip: Path) -> None:
    """Open a clip and ask for frames at random places, before and after it has proxies."""
    with tempfile.TemporaryDirectory() as cache, started(clip, Path(cache)) as made:
        began = time.perf_counter()
        found = json.loads(made.ask("POST", "/api/open", {"path": str(clip.absolute())}))
        made.ask("GET", "/api/frame", path=clip.absolute(), index=0)
        shown = time.perf_counter() - began
        print(
            f"{clip.name}, {found['width']}x{found['height']}, {found['frames']} frames: "
            f"the studio answers after {made.seconds:.2f} s, the first frame {shown:.2f} s later"
        )
        scrub_places(made, clip, found["frames"], "at once")
        wait_for_proxies(Path(cache), found["frames"])
        scrub_places(made, clip, found["frames"], "afterwards")
        scrub_places(made, clip, found["frames"], "decoded for the page", proxies_too=False)


def wait_for_proxies(cache: Path, frames: int) -> None:
    """Wait until every frame of the only clip of a cache has a proxy; print their number."""
    began, made = time.perf_counter(), [0, 0]
    while made[-1] < frames and time.perf_counter() - began < FILLING:
        time.sleep(2)
        made.append(sum(1 for _ in cache.rglob("studio-proxies/*/*.jpg")))
        if made[-1] == made[-2] == 0:  # key frames are near each other: none are made
            break
    size = sum(file.stat().st_size for file in cache.rglob("studio-proxies/*/*.jpg"))
    print(
        f"  {made[-1]} proxies, {size / 1e6:.0f} MB, {time.perf_counter() - began:.0f} s later; "
        f"one-minute load of the machine: {os.getloadavg()[0]:.1f}"
    )


def scrub_places(
    made: Studio, clip: Path, frames: int, when: str, *, proxies_too: bool = True
) -> None:
    """Ask for frames at random places, as the page does; print their times and the memory.

    proxies_too: whether a proxy is accepted.
    """
    memory, times, proxies = [], [], 0
    places = random.Random(0)
    query = {"path": clip.absolute(), **({"proxy": 1} if proxies_too else {})}
    for _ in range(PLACES):
        index = places.randrange(frames)
        began = time.perf_counter()
        found = made.stream("GET", "/api/frame", index=index, **query)
        found.read()
        times.append(time.perf_counter() - began)
        proxies += "X-Proxy" in found.headers
        memory.append(made.memory())
    print(
        f"  {PLACES} other frames {when}, {proxies} of them proxies: median "
        f"{1000 * statistics.median(times):.0f} ms, worst {1000 * max(times):.0f} ms; memory after "
        f"a quarter of them {memory[PLACES // 4]:.0f} MiB, after all {memory[-1]:.0f} MiB"
    )


def copied(folder: Path) -> Path:
    """Copy the sample clip into a folder, which the studio writes to."""
    return Path(copy(SAMPLES / "clip.mp4", folder))


def preview() -> None:
    """Print the time from the start of the studio to a masked preview of the sample clip."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, started(copied(Path(folder))) as made:
        clip = Path(folder) / "clip.mp4"
        found = json.loads(made.ask("POST", "/api/open", {"path": str(clip)}))
        half = np.zeros((found["height"], found["width"]), np.uint8)
        half[:, : found["width"] // 2] = 255
        file = io.BytesIO()
        PIL.Image.fromarray(half).save(file, "PNG")
        made.stream("PUT", "/api/layers/bench/0", file.getvalue()).read()
        values = {"technique": "mask", "source": [str(clip)], "output": "bench.mp4", "size": SIZE,
                  "style": [str(SAMPLES / "style.jpg")], "mask": ["layer:bench"]}  # fmt: skip
        body = json.dumps({"index": 0, "values": values}).encode()
        times = []
        for line in made.stream("POST", "/api/preview", body):
            event = json.loads(line.removeprefix(b"data: ")) if line.startswith(b"data: ") else {}
            if "error" in event:
                raise SystemExit(event["error"])
            if "jpeg" in event:
                times.append(time.perf_counter() - began)
    print(
        f"a masked preview of {clip.name} at {SIZE} pixels, from the start of the studio: first "
        f"picture after {times[0]:.1f} s, finished after {times[-1]:.1f} s, {len(times)} pictures"
    )
