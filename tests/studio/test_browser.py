# ruff: noqa: F811 - arguments that are fixtures
"""The page in a real Chromium: clips, job files, previews and jobs."""

import io
import re
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from conftest import scene
from studio_browser import QUICK, Page, Server, browser, open_page, real, server, shared, wait_for  # noqa: F401 - fixtures

from vidstyle.jobs.job_file import read_job


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


def test_a_job_file_is_saved_and_loaded(browser: Any, server: Server, tmp_path: Path) -> None:
    user = open_page(browser, server)
    user.use(server, **QUICK)
    user.until("document.getElementById('command').textContent.includes('--steps-next 1')")
    user.page.wait_for_selector("#plan .plan")
    assert re.search(r"6\s*frames\s*64.48\s*pixels", user.page.inner_text("#plan"))
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
    browser: Any, real: Server
) -> None:
    server = real
    user = open_page(browser, server, warm=True)
    page = user.page
    page.set_default_timeout(240_000)
    user.use(server, steps=60)
    page.click("#tab-preview")
    page.select_option("#preview-size", "64")
    page.click("#preview")
    page.wait_for_selector("#view[data-live]")
    page.wait_for_selector(".shots figure")
    assert int(page.get_attribute("#view", "data-live")) >= 3  # pictures on the way, and the last
    split_at = {}
    for share in (0, 500, 1000):
        page.fill("#divider", str(share))
        shown = user.shown()
        split_at[share] = [shown(x, 46) for x in (20, 40, 88, 108)]
    assert not any(is_near(*pair) for pair in zip(split_at[0], split_at[1000], strict=True))
    assert split_at[500][:2] == split_at[1000][:2]  # the frame is left of the line
    assert split_at[500][2:] == split_at[0][2:]  # the preview is right of it
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
def test_a_job_survives_the_server_and_its_result_is_compared(browser: Any, real: Server) -> None:
    server = real
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
    page.click("[data-action=report]")
    page.wait_for_selector("[data-action=report]:disabled")
    page.wait_for_selector("#report[open]")
    report = page.frame_locator("#report iframe")
    report.locator("table >> nth=0").wait_for()
    assert "clip-basic.mp4" in report.locator("body").inner_text()
    assert again.faults == []


def test_the_page_says_that_the_studio_was_ended(browser: Any, real: Server) -> None:
    user = open_page(browser, real)
    assert real.stop(signal.SIGTERM) == 0
    user.page.click("#tab-open")
    assert "the studio does not answer; start it again" in user.message()
    assert user.faults == []


def test_a_job_is_paused_resumed_and_compared_at_its_offset(browser: Any, server: Server) -> None:
    user = open_page(browser, server)
    user.use(server, size=64, start=0.05)  # from frame 2
    page = user.page
    page.click("#tab-run")
    page.fill("#output", str(server.folder / "late.mp4"))
    page.dispatch_event("#output", "change")
    page.click("#run")
    box = "[data-job]:has-text('late.mp4')"
    wait_for(lambda: list(server.folder.glob("late.mp4.vidstyle/frames/*.png")), 120)
    pause = page.query_selector(f"{box} [data-action=pause]")
    finished = page.inner_text(f"{box} .facts")
    wait_for(lambda: page.inner_text(f"{box} .facts") != finished)
    pause.click()  # the same button: progress does not replace it
    page.wait_for_selector(f"{box}[data-state=paused]")
    assert not (server.folder / "late.mp4").exists()
    page.click(f"{box} [data-action=resume]")
    page.wait_for_selector(f"{box}[data-state=done]")
    page.reload()
    page.wait_for_selector("body[data-ready]")
    page.fill("#scrub", "4")
    page.wait_for_selector("#view[data-index='4']")
    page.click("#tab-run")
    page.click(f"{box} [data-action=compare]")
    page.wait_for_selector("#divider:visible")
    # right of the line is frame 4 inverted: its square is at 24..56 of 128
    page.fill("#divider", "100")
    shown = user.shown()
    for x in (30, 50):
        assert is_near(shown(x, 46), BLUE), x
    assert np.ptp(shown(62, 46)) < 40
    x, y = user.at(40, 46)
    box_of_view = page.locator("#view").bounding_box()
    page.mouse.move(box_of_view["x"] + 0.1 * box_of_view["width"], y)
    page.mouse.down()
    page.mouse.move(x, y, steps=4)
    page.mouse.up()
    shown = user.shown()
    assert is_near(shown(34, 46), ORANGE)
    assert is_near(shown(46, 46), BLUE)
    page.click("#beside")
    half = page.locator("#view").bounding_box()["width"] / 2
    assert is_near(shown_beside(user, 0), ORANGE)
    assert is_near(shown_beside(user, half), BLUE)
    frames = played(user)
    assert len({index for index, _ in frames}) >= 3
    for index, error in frames:
        assert error < 12, index  # frames 0 and 1 have no result
    assert user.faults == []


ORANGE, BLUE = (230, 90, 40), (25, 165, 215)  # the square, and inverted


def is_near(found: tuple[int, int, int], wanted: tuple[int, int, int]) -> bool:
    return bool(np.abs(np.subtract(found, wanted)).max() < 40)


def shown_beside(user: Page, moved: float) -> tuple[int, int, int]:
    """The colour of the middle of the square of frame 4, moved by some pixels of the page."""
    x, y = user.at(40, 46)
    image = PIL.Image.open(io.BytesIO(user.page.screenshot())).convert("RGB")
    found = image.getpixel((round(x + moved), round(y)))
    return (int(found[0]), int(found[1]), int(found[2]))


def played(user: Page) -> list[tuple[int, float]]:
    """Play; return some frames: (index, mean of |source + result - 255|; 0 without a result)."""
    user.page.click("#play")
    frames: list[tuple[int, float]] = user.page.evaluate("""async () => {
        const { stage } = await import("/static/stage.js");
        const bytes = (image) => {
            const canvas = new OffscreenCanvas(64, 48), context = canvas.getContext("2d");
            context.drawImage(image, 0, 0, 64, 48);
            return context.getImageData(0, 0, 64, 48).data;
        };
        const found = [];
        for (let n = 0; n < 40; n++) {
            const { source, result } = stage, index = Number(stage.canvas.dataset.index);
            const [a, b] = [source, result ?? source].map(bytes);
            const sum = a.reduce(
                (all, v, i) => all + (i % 4 === 3 ? 0 : Math.abs(v + b[i] - 255)), 0);
            found.push([index, result ? sum / (64 * 48 * 3) : 0]);
            await new Promise((resolve) => { setTimeout(resolve, 50); });
        }
        return found;
    }""")
    user.page.click("#play")
    return frames


def test_a_job_is_cancelled_and_says_so(browser: Any, server: Server) -> None:
    user = open_page(browser, server)
    user.use(server, size=64)
    page = user.page
    page.click("#tab-run")
    page.fill("#output", str(server.folder / "never.mp4"))
    page.dispatch_event("#output", "change")
    page.click("#run")
    box = "[data-job]:has-text('never.mp4')"
    page.wait_for_selector(f"{box}[data-state=running]")
    page.click(f"{box} [data-action=cancel]")
    page.wait_for_selector(f"{box}[data-state=cancelled]")
    assert not (server.folder / "never.mp4").exists()
    assert user.faults == []


def test_a_folder_of_photos_opens_by_the_chooser(browser: Any, server: Server) -> None:
    photos = server.folder / "photos"
    photos.mkdir(exist_ok=True)
    for index in range(3):
        PIL.Image.fromarray(scene(index)).save(photos / f"photo{index}.png")
    user = open_page(browser, server)
    page = user.page
    page.click("#tab-open")
    page.click(".files >> text=photos/")
    page.wait_for_selector("#open-folder:has-text('3 pictures')")
    page.click("#open-folder")
    user.until("document.getElementById('clip-name').textContent.endsWith('/photos')")
    page.wait_for_selector("#scrub[max='2']")
    page.click("#tab-open")
    page.fill("#path", "clip.mp4")
    page.press("#path", "Enter")
    page.wait_for_selector("#scrub[max='5']")
    assert user.faults == []


def test_the_studio_ends_at_once_with_a_page_open(browser: Any, real: Server) -> None:
    server = real
    open_page(browser, server)
    began = time.monotonic()
    assert server.stop(signal.SIGINT) == 0
    assert time.monotonic() - began < 6
