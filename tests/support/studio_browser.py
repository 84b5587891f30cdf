"""Fixtures for tests of the page in Chromium: servers, a browser, and what a user does there.

It is Debian's Chromium, driven by playwright; tests are skipped where either is absent.
"""

import io
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
import PIL.Image
import pytest
from conftest import scene, write_clip
from slow_jobs import slow_python

import vidstyle

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
pytest.importorskip("uvicorn", reason="needs the extra 'studio'")
__all__ = [
    "QUICK",
    "Page",
    "Server",
    "browser",
    "disc_line",
    "open_page",
    "overlap",
    "real",
    "server",
    "shared",
    "wait_for",
]

CHROMIUM = Path("/usr/bin/chromium")

FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
)  # fmt: skip
WITH_PYTHON = """
import sys
from vidstyle.studio import process
process.PYTHON = {python!r}
from vidstyle.cli import main
sys.exit(main.main(sys.argv[1:]))
"""
QUICK = {"size": 64, "steps": 3, "steps_next": 1}


class Server:
    """A studio in a separate process, in a folder with clip.mp4 and wave.png.

    slow: seconds that its jobs take for each frame, which they invert; None: real jobs.
    """

    def __init__(self, folder: Path, state: Path, slow: float | None = None) -> None:
        self.folder, self.state, self.slow = folder, state, slow
        self.process: Any = None
        self.url = ""

    def start(self, clip: str = "clip.mp4") -> str:
        """Start it, unless it runs; return the URL."""
        if self.process is not None and self.process.poll() is None:
            return self.url
        program = ["-m", "vidstyle"]
        if self.slow is not None:
            python = slow_python(self.state.parent, self.slow)
            program = ["-c", WITH_PYTHON.format(python=str(python))]
        self.process = subprocess.Popen(
            [sys.executable, *program, "studio", str(self.folder / clip), "--no-browser"],
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "XDG_STATE_HOME": str(self.state),
                "PYTHONPATH": str(Path(vidstyle.__file__).parents[1]),
            },
        )
        self.url = re.findall(r"http\S+", self.process.stdout.readline())[0]
        return self.url

    def stop(self, how: int = signal.SIGTERM) -> int:
        """End it; return the exit code."""
        self.process.send_signal(how)
        code = self.process.wait(20)
        self.process.stdout.close()
        return int(code)

    def painted(self) -> list[Path]:
        """The painted key frames of masks."""
        return sorted(self.folder.glob("vidstyle-studio/layers/mask-*/keys/[0-9]*.png"))

    def mask(self, index: int = 0) -> np.ndarray:
        """The only mask of a frame, 0..255."""
        (path,) = (key for key in self.painted() if int(key.stem) == index)
        return np.asarray(PIL.Image.open(path).convert("L"))


def start_folder(parent: Path) -> Path:
    """Return a new folder with clip.mp4 and wave.png."""
    folder = parent / "start"
    folder.mkdir()
    write_clip(folder / "clip.mp4")
    dark = scene(3)[::-1, :, [2, 0, 1]] // 3  # other colours than the clip
    PIL.Image.fromarray(dark).save(folder / "wave.png")
    return folder


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    parent = tmp_path_factory.mktemp("studio")
    made = Server(start_folder(parent), parent / "state", slow=0.4)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def server(browser: Any, shared: Server) -> Iterator[Server]:
    """The server that tests share, without what earlier ones painted."""
    yield shared
    for context in browser.contexts:
        context.close()
    rmtree(shared.folder / "vidstyle-studio", ignore_errors=True)


@pytest.fixture
def real(tmp_path: Path, browser: Any) -> Iterator[Server]:
    """A server of one test, whose jobs are real."""
    made = Server(start_folder(tmp_path), tmp_path / "state")
    yield made
    for context in browser.contexts:
        context.close()
    if made.process is not None and made.process.poll() is None:
        made.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if not CHROMIUM.exists():
        pytest.skip("needs Debian's chromium")
    with sync_api.sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(FLAGS))
        yield made
        made.close()


class Page:
    """The opened page, and what a user does there.

    warm: load the network at the start, as without a test. values: of the browser's context.
    """

    def __init__(
        self, browser: Any, url: str, scale: float = 1, *, warm: bool = False, **values: Any
    ) -> None:
        given = {"viewport": {"width": 1280, "height": 720}, "device_scale_factor": scale, **values}
        context = browser.new_context(**given)
        if not warm:
            context.route("**/api/warm", lambda route: route.fulfill(json={}))
        self.faults: list[str] = []
        self.page = context.new_page()
        self.protocol = context.new_cdp_session(self.page)
        self.page.set_default_timeout(60_000)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.goto(url)
        self.page.wait_for_selector("body[data-ready]")

    def use(self, server: Server, technique: str = "basic", **options: Any) -> None:
        """Choose wave.png as the style, a technique and options."""
        self.page.set_input_files("#file", [])
        self.page.click("#tab-style")
        with self.page.expect_file_chooser() as chooser:
            self.page.click("text=Add a picture…")
        chooser.value.set_files(str(server.folder / "wave.png"))
        self.page.wait_for_selector(".item")
        self.page.click(f"[data-technique={technique}]")
        self.page.click("#tab-settings")
        self.page.eval_on_selector_all("details", "all => all.forEach(one => { one.open = true; })")
        for name, value in options.items():
            self.page.fill(f"#option-{name}", str(value))
            self.page.dispatch_event(f"#option-{name}", "change")

    def until(self, expression: str) -> None:
        """Wait until an expression is true. Not wait_for_function, which the page's policy bars."""
        wait_for(lambda: self.page.evaluate(expression), 120)

    def mask_to_paint(self, server: Server, **brush: float) -> None:
        """Choose a style and the technique mask, and a hard brush."""
        self.use(server, "mask")
        self.paint_tab()
        self.brush(**{"hardness": 1, **brush})

    def paint_tab(self) -> None:
        self.page.click("#tab-where")
        self.page.wait_for_selector("#tools [data-tool=brush]")
        self.until("document.getElementById('badge').textContent !== ''")

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return where a pixel of the 128 x 96 frame is on the page, by the stage's own place."""
        return tuple(
            self.page.evaluate(
                """async ([x, y]) => {
            const { stage } = await import("/static/stage.js");
            const box = stage.canvas.getBoundingClientRect(), { scale, left, top } = stage.place;
            return [box.left + left + x * scale, box.top + top + y * scale];
        }""",
                [x, y],
            )
        )

    def seek(self, index: int) -> None:
        """Go to a frame by the timeline."""
        self.page.fill("#scrub", str(index))
        self.page.wait_for_selector(f"#view[data-index='{index}']")

    def drop(self, selector: str, *paths: Path) -> None:
        """Drag files or folders from the desktop over an element and drop them there."""
        box = self.page.locator(selector).bounding_box()
        place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.protocol.send("Input.dispatchDragEvent", {"type": kind, **place, "data": data})

    def touch(self, *points: tuple[float, float]) -> None:
        """Let fingers lie on places of the page: moved, put down or lifted; none: all lifted."""
        held = getattr(self, "held", 0)
        kind = "touchMove" if len(points) == held else "touchStart" if points else "touchEnd"
        self.held = len(points)
        places = [dict(zip("xy", point, strict=True)) for point in points]
        values = {"type": kind, "touchPoints": places}
        self.protocol.send("Input.dispatchTouchEvent", values)

    def pen(self, pressure: float, *points: tuple[float, float]) -> None:
        """Draw a stroke with a pen."""
        for place, point in enumerate((*points, points[-1])):
            x, y = self.at(*point)
            kind = ("mousePressed", "mouseMoved")[place > 0]
            kind = "mouseReleased" if place == len(points) else kind
            self.protocol.send(
                "Input.dispatchMouseEvent",
                {"type": kind, "x": x, "y": y, "button": "left", "buttons": 1, "clickCount": 1,
                 "force": pressure, "pointerType": "pen"},
            )  # fmt: skip

    def shown(self) -> Callable[[float, float], tuple[int, int, int]]:
        """Return a function of (x, y), in pixels of the frame: the colour that the page shows."""
        self.page.wait_for_timeout(200)
        image = PIL.Image.open(io.BytesIO(self.page.screenshot())).convert("RGB")
        return lambda x, y: image.getpixel(tuple(map(round, self.at(x, y))))

    def message(self) -> str:
        """Wait for a message and close it."""
        text = str(self.page.inner_text("#toasts div"))
        self.page.click("#toasts div")
        return text

    def drag(self, server: Server, *points: tuple[float, float], index: int = 0) -> np.ndarray:
        """Draw a stroke through points of the frame; return the mask that arrived."""
        before = [(key, key.stat().st_mtime_ns) for key in server.painted()]
        self.page.mouse.move(*self.at(*points[0]))
        self.page.mouse.down()
        for point in points[1:]:
            self.page.mouse.move(*self.at(*point), steps=4)
        self.page.mouse.up()
        wait_for(lambda: [(key, key.stat().st_mtime_ns) for key in server.painted()] != before)
        return server.mask(index)

    def brush(self, **values: float) -> None:
        for name, value in values.items():
            self.page.fill(f"[aria-label='Brush {name}']", str(value))

    def click_for_change(self, server: Server, selector: str) -> np.ndarray:
        (key,) = server.painted()
        before = key.stat().st_mtime_ns
        self.page.click(selector)
        wait_for(lambda: key.stat().st_mtime_ns != before)
        return server.mask()


def wait_for(condition: Any, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def open_page(browser: Any, server: Server, scale: float = 1, **values: Any) -> Page:
    return Page(browser, server.start(), scale, **values)


def disc_line(a: tuple[float, float], b: tuple[float, float], radius: float) -> np.ndarray:
    """The pixels of a round brush drawn from a to b: bool [96, 128]."""
    rows, columns = np.mgrid[:96, :128] + 0.5
    along = np.array(b) - a
    t = ((columns - a[0]) * along[0] + (rows - a[1]) * along[1]) / max(1e-9, (along**2).sum())
    t = np.clip(t, 0, 1)
    return np.hypot(columns - a[0] - t * along[0], rows - a[1] - t * along[1]) <= radius


def overlap(mask: np.ndarray, wanted: np.ndarray) -> float:
    painted = mask > 127
    return float((painted & wanted).sum() / (painted | wanted).sum())
