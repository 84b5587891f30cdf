# ruff: noqa: F811 - arguments that are fixtures
"""Scrubbing in a real Chromium: a proxy while the slider moves, then the frame itself."""

import io
import re
from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
import PIL.Image
import pytest
from conftest import FRAMES
from studio_browser import Server, browser, open_page, server, shared  # noqa: F401 - fixtures

from vidstyle.downloads.store import cache_folder
from vidstyle.studio.proxies import Proxies, proxy_file
from vidstyle.studio.workers import Workers

GREEN, ORANGE = (30, 160, 60), (230, 90, 40)
WATCH = """async () => {
    const { stage } = await import("/static/stage.js");
    window.seen = [];
    setInterval(() => {
        const { index, near, whole } = stage.canvas.dataset;
        const now = JSON.stringify([index, near ?? "", whole ?? "", stage.source.width]);
        if (window.seen.at(-1) !== now) window.seen.push(now);
    }, 5);
}"""


@pytest.fixture
def proxies(server: Server) -> Iterator[Path]:
    """The folder of the clip's proxies, which a test fills."""
    clip = server.folder / "clip.mp4"
    folder = Proxies(Workers(), cache_folder() / "studio-proxies")._folder(str(clip))
    folder.mkdir(parents=True)
    yield folder
    rmtree(folder, ignore_errors=True)


def write_proxy(folder: Path, index: int) -> None:
    """Write a proxy that is green, other than its frame, and half as large."""
    file = io.BytesIO()
    PIL.Image.new("RGB", (64, 48), GREEN).save(file, "JPEG")
    proxy_file(folder, index).write_bytes(file.getvalue())


def is_near(found: tuple[int, int, int], wanted: tuple[int, int, int]) -> bool:
    return bool(np.abs(np.subtract(found, wanted)).max() < 20)


def test_the_nearest_frame_is_shown_marked_until_the_wanted_one_is_decoded(
    browser: Any, server: Server, proxies: Path
) -> None:
    write_proxy(proxies, 5)  # the only one: none is read, so the others are not made
    user = open_page(browser, server)
    page = user.page
    user.mask_to_paint(server, size=20)
    decoding = re.compile(r"/api/frame\?.*index=3&.*proxy=1")
    page.route(decoding, lambda _: None)  # it takes long
    page.fill("#scrub", "3")
    page.wait_for_selector("#view[data-near='5']")
    page.wait_for_selector("#badge >> text=Frame 5, until frame 3 is decoded")
    assert is_near(user.shown()(40, 46), GREEN)
    page.mouse.click(*user.at(40, 46))  # it would be painted on another frame
    page.click("[aria-label='Clear the frame']")
    assert "the frame is being decoded" in user.message()
    assert server.painted() == []
    page.fill("#scrub", "2")  # the wanted frame is given up for another one
    page.wait_for_selector("#view[data-index='2']:not([data-near])")
    assert is_near(user.shown()(30, 46), ORANGE)
    user.until("import('/static/stage.js').then(({ stage }) => Boolean(stage.painter))")
    user.drag(server, (40, 40), (60, 40), index=2)
    assert user.faults == []


def test_a_proxy_is_shown_while_the_slider_moves_and_the_frame_when_it_rests(
    browser: Any, server: Server, proxies: Path
) -> None:
    for index in range(1, FRAMES):
        write_proxy(proxies, index)
    user = open_page(browser, server)
    page = user.page
    page.wait_for_selector("#view[data-index='0']")
    page.evaluate(WATCH)
    box = page.locator("#scrub").bounding_box()
    places = [box["x"] + 8 + (box["width"] - 16) * n / (FRAMES - 1) for n in range(FRAMES)]
    page.mouse.move(places[0], box["y"] + box["height"] / 2)
    page.mouse.down()
    for index in range(1, 5):
        page.mouse.move(places[index], box["y"] + box["height"] / 2)
        page.wait_for_selector(f"#view[data-index='{index}']")
    page.mouse.up()
    page.wait_for_selector("#view[data-whole='4']")
    seen = page.evaluate("window.seen.map(JSON.parse)")
    first = {}
    for index, _, _, width in seen:
        first.setdefault(index, width)
    assert [first[str(index)] for index in range(1, 5)] == [64] * 4
    assert seen[-1] == ["4", "", "4", 128]
    assert is_near(user.shown()(40, 46), ORANGE)  # frame 4: its square is at 24..56
    assert user.faults == []
