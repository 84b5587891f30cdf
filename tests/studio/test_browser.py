"""The page in a real Chromium: Debian's, driven by playwright. Skipped where either is absent."""

import io
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from shutil import copy
from typing import Any

import numpy as np
import PIL.Image
import pytest

from vidstyle.jobs.job_file import read_job

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
pytest.importorskip("uvicorn", reason="needs the extra 'studio'")
CHROMIUM = Path("/usr/bin/chromium")
pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Debian's chromium")

FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
)  # fmt: skip
QUICK = {"size": 64, "steps": 3, "steps_next": 1}


class Server:
    """A studio in a separate process, in a folder with clip.mp4 and wave.png."""

    def __init__(self, folder: Path, state: Path) -> None:
        self.folder, self.state = folder, state
        self.process: Any = None

    def start(self, clip: str = "clip.mp4") -> str:
        """Start it; return the URL."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "vidstyle", "studio", str(self.folder / clip), "--no-browser"],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "XDG_STATE_HOME": str(self.state)},
        )
        return re.findall(r"http\S+", self.process.stdout.readline())[0]

    def stop(self, how: int = signal.SIGTERM) -> int:
        """End it; return the exit code."""
        self.process.send_signal(how)
        code = self.process.wait(20)
        self.process.stdout.close()
        return int(code)

    def painted(self) -> list[Path]:
        """The painted key frames of masks."""
        return sorted(self.folder.glob("vidstyle-studio/layers/mask-*/keys/*.png"))

    def mask(self, index: int = 0) -> np.ndarray:
        """The only mask of a frame, 0..255."""
        (path,) = (key for key in self.painted() if int(key.stem) == index)
        return np.asarray(PIL.Image.open(path).convert("L"))


@pytest.fixture
def server(tmp_path: Path, clip: Path, style: Path) -> Iterator[Server]:
    folder = tmp_path / "start"
    folder.mkdir()
    for file in (clip, style):
        copy(file, folder / file.name)
    made = Server(folder, tmp_path / "state")
    yield made
    if made.process is not None and made.process.poll() is None:
        made.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(FLAGS))
        yield made
        made.close()


class Page:
    """The opened page, and what a user does there."""

    def __init__(self, browser: Any, url: str, scale: float = 1) -> None:
        context = browser.new_context(
            viewport={"width": 1280, "height": 720}, device_scale_factor=scale
        )
        self.faults: list[str] = []
        self.page = context.new_page()
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
        for name, value in options.items():
            self.page.fill(f"#option-{name}", str(value))
            self.page.dispatch_event(f"#option-{name}", "change")

    def until(self, expression: str) -> None:
        """Wait until an expression is true. Not wait_for_function, which the page's policy bars."""
        wait_for(lambda: self.page.evaluate(expression), 120)

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


def open_page(browser: Any, server: Server, scale: float = 1) -> Page:
    return Page(browser, server.start(), scale)


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


def test_a_clip_opens_and_is_scrubbed_with_the_keyboard(browser: Any, server: Server) -> None:
    user = open_page(browser, server)
    page = user.page
    page.wait_for_selector("#view[data-index='0']")
    page.focus("#view")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#view[data-index='2']")
    page.fill("#scrub", "5")
    page.wait_for_selector("#view[data-index='5']")
    # the shown picture is frame 5: its square begins at 8 + 4 * 5
    shown = PIL.Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    inside = shown.getpixel(tuple(map(round, user.at(30, 46))))
    left_of_it = shown.getpixel(tuple(map(round, user.at(24, 46))))
    assert np.abs(np.subtract(inside, (230, 90, 40))).max() < 12
    assert np.ptp(left_of_it) < 12  # the grey ramp
    page.keyboard.press("?")
    assert page.is_visible("#keys")
    assert user.faults == []
    assert "token" not in page.url


@pytest.mark.parametrize(("scale", "zoom"), [(1, 0), (2, 0), (1, 3), (2, 2)])
def test_the_png_that_arrives_is_the_stroke(
    browser: Any, server: Server, scale: float, zoom: int
) -> None:
    user = open_page(browser, server, scale)
    user.use(server, "mask")
    user.paint_tab()
    user.brush(size=12, hardness=1)
    for _ in range(zoom):
        user.page.click("#zoom-in")
    user.page.wait_for_timeout(100)
    start, end = (44, 40), (84, 56)
    mask = user.drag(server, start, end)
    assert mask.shape == (96, 128)
    assert overlap(mask, disc_line(start, end, 6)) > 0.93
    assert mask.max() == 255
    assert user.faults == []


def test_undo_redo_eraser_invert_and_feather(browser: Any, server: Server) -> None:
    user = open_page(browser, server)
    user.use(server, "mask")
    user.paint_tab()
    user.brush(size=12, hardness=1)
    first = user.drag(server, (30, 30), (60, 30))
    both = user.drag(server, (30, 60), (60, 60))
    assert both.sum() > 1.5 * first.sum()
    undone = user.click_for_change(server, "[aria-label=Undo]")
    assert np.array_equal(undone, first)
    redone = user.click_for_change(server, "[aria-label=Redo]")
    assert np.array_equal(redone, both)
    user.page.click("[data-tool=eraser]")
    user.brush(size=30, hardness=1)
    erased = user.drag(server, (25, 60), (65, 60))
    assert np.array_equal(erased, first)
    inverted = user.click_for_change(server, "[aria-label='Invert the mask']")
    assert np.array_equal(inverted, 255 - first)
    soft = user.click_for_change(server, "[aria-label='Soften the edges by 6 pixels']")
    assert ((soft > 20) & (soft < 235)).mean() > 0.1
    for _ in range(5):  # invert and feather too, down to nothing
        last = user.click_for_change(server, "[aria-label=Undo]")
    assert last.max() == 0
    assert user.faults == []


def test_key_frames_are_tracked_to_all_frames(browser: Any, server: Server) -> None:
    user = open_page(browser, server)
    user.use(server, "mask")
    user.paint_tab()
    user.brush(size=32, hardness=1)
    user.drag(server, (24, 46), (24, 47))
    user.page.fill("#scrub", "4")
    user.until("document.getElementById('badge').textContent.includes('nearest')")
    user.page.click("#track")
    user.until("document.getElementById('badge').textContent === 'Tracked'")
    tracked = sorted(server.folder.glob("vidstyle-studio/layers/mask-*/tracked/*.png"))
    assert len(tracked) == 6
    centres = [
        np.argwhere(np.asarray(PIL.Image.open(p).convert("L")) > 127).mean(0)[1] for p in tracked
    ]
    assert 12 < centres[5] - centres[0] < 28  # the square moves by 20 pixels
    assert len(user.page.query_selector_all("#marks i")) == 1
    user.drag(server, (100, 20), (101, 20), index=4)  # a wrong frame becomes a key frame
    wait_for(lambda: len(user.page.query_selector_all("#marks i")) == 2)
    assert user.faults == []


def test_a_map_is_painted_beside_the_style_map(browser: Any, server: Server) -> None:
    user = open_page(browser, server)
    user.use(server, "region")
    user.paint_tab()
    user.page.wait_for_selector("#style-view:visible")
    user.page.click("[data-label='3']")
    user.brush(size=20)
    user.page.mouse.move(*user.at(60, 40))
    user.page.mouse.down()
    user.page.mouse.move(*user.at(64, 40), steps=3)
    user.page.mouse.up()
    box = user.page.locator("#style-view").bounding_box()
    user.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    wait_for(lambda: len(list(server.folder.glob("vidstyle-studio/layers/*/keys/*.png"))) == 2)
    for path in server.folder.glob("vidstyle-studio/layers/*/keys/*.png"):
        colors = {color for _, color in PIL.Image.open(path).convert("RGB").getcolors()}
        assert colors == {(0, 0, 255), (255, 0, 0)}  # labels have no soft edges
    user.until("document.getElementById('command').textContent.includes('--map')")
    assert "--style-map" in user.page.inner_text("#command")
    assert user.faults == []


def test_a_job_file_is_saved_and_loaded(browser: Any, server: Server, tmp_path: Path) -> None:
    user = open_page(browser, server)
    user.use(server, **QUICK)
    user.until("document.getElementById('command').textContent.includes('--size 64')")
    command = user.page.inner_text("#command")
    with user.page.expect_download() as found:
        user.page.click("#save-job")
    found.value.save_as(tmp_path / "job.toml")
    job = read_job(tmp_path / "job.toml")
    assert (job["technique"], job["size"], job["steps"]) == ("basic", 64, 3)
    user.page.fill("#option-size", "128")
    user.page.dispatch_event("#option-size", "change")
    user.until("document.getElementById('command').textContent.includes('--size 128')")
    with user.page.expect_file_chooser() as chooser:
        user.page.click("#load-job")
    chooser.value.set_files(str(tmp_path / "job.toml"))
    user.until("document.getElementById('command').textContent.includes('--size 64')")
    assert user.page.inner_text("#command") == command
    assert user.faults == []


@pytest.mark.vgg
def test_a_preview_is_live_and_compared_and_another_is_cancelled(
    browser: Any, server: Server
) -> None:
    user = open_page(browser, server)
    page = user.page
    page.set_default_timeout(240_000)
    user.use(server, steps=60)
    page.click("#tab-preview")
    page.select_option("#preview-size", "64")
    page.click("#preview")
    page.wait_for_selector("#view[data-live]")
    page.wait_for_selector(".shots figure")
    assert int(page.get_attribute("#view", "data-live")) >= 3  # pictures on the way, and the last
    assert page.is_visible("#divider")
    page.select_option("#preview-size", "512")
    page.click("#tab-settings")
    page.fill("#option-steps", "5000")
    page.dispatch_event("#option-steps", "change")
    page.click("#tab-preview")
    page.click("#preview")
    page.wait_for_selector("#cancel-preview:not([disabled])")
    page.wait_for_timeout(1500)
    began = time.monotonic()
    page.keyboard.press("Escape")
    page.wait_for_selector("#cancel-preview[disabled]")
    assert time.monotonic() - began < 5
    assert len(page.query_selector_all(".shots figure")) == 1
    assert user.faults == []


@pytest.mark.vgg
def test_a_job_survives_the_server_and_its_result_is_compared(browser: Any, server: Server) -> None:
    user = open_page(browser, server)
    user.page.set_default_timeout(240_000)
    user.use(server, **{**QUICK, "steps_next": 40})
    user.page.click("#tab-run")
    user.page.click("#run")
    user.page.wait_for_selector("[data-state=running]")
    wait_for(lambda: list(server.folder.glob("clip-basic.mp4.vidstyle/frames/*.png")), 240)
    server.stop(signal.SIGKILL)
    again = open_page(browser, server)
    page = again.page
    page.set_default_timeout(240_000)
    page.click("#tab-run")
    page.wait_for_selector("[data-state=done]")
    assert (server.folder / "clip-basic.mp4").is_file()
    page.click("[data-action=compare]")
    page.wait_for_selector("#divider:visible")
    with page.expect_download() as found:
        page.click("[data-action=download]")
    assert Path(found.value.path()).read_bytes() == (server.folder / "clip-basic.mp4").read_bytes()
    assert again.faults == []


@pytest.mark.vgg
def test_a_job_is_cancelled_and_says_so(browser: Any, server: Server) -> None:
    user = open_page(browser, server)
    user.page.set_default_timeout(240_000)
    user.use(server, size=64, steps=9000)
    user.page.click("#tab-run")
    user.page.click("#run")
    user.page.wait_for_selector("[data-state=running]")
    user.page.click("[data-action=cancel]")
    user.page.wait_for_selector("[data-state=cancelled]")
    assert not (server.folder / "clip-basic.mp4").exists()
    assert user.faults == []


def test_the_studio_ends_at_once_with_a_page_open(browser: Any, server: Server) -> None:
    open_page(browser, server)
    began = time.monotonic()
    assert server.stop(signal.SIGINT) == 0
    assert time.monotonic() - began < 6
