# ruff: noqa: F811 - arguments that are fixtures
"""The page in a real Chromium: clips, job files, previews and jobs."""

import io
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from conftest import scene
from studio_browser import QUICK, Server, browser, open_page, real, server, shared, wait_for  # noqa: F401 - fixtures

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
    assert again.faults == []


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
    page.click(f"{box} [data-action=pause]")
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
    # right of the divider is frame 4 inverted: its square is at 24..56 of 128, the divider at 64
    page.fill("#divider", "100")
    page.wait_for_timeout(300)
    shown = PIL.Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    for x in (30, 50):
        found = shown.getpixel(tuple(map(round, user.at(x, 46))))
        assert np.abs(np.subtract(found, (25, 165, 215))).max() < 40, (x, found)
    assert np.ptp(shown.getpixel(tuple(map(round, user.at(62, 46))))) < 40
    assert user.faults == []


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
    assert user.faults == []


def test_the_studio_ends_at_once_with_a_page_open(browser: Any, real: Server) -> None:
    server = real
    open_page(browser, server)
    began = time.monotonic()
    assert server.stop(signal.SIGINT) == 0
    assert time.monotonic() - began < 6
