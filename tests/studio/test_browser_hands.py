# ruff: noqa: F811 - arguments that are fixtures
"""Touch, pen, keyboard and undo in a real Chromium."""

from typing import Any

import numpy as np
import pytest
from studio_browser import Server, browser, disc_line, open_page, overlap, server, shared, wait_for  # noqa: F401 - fixtures

BRUSH = "document.querySelector('[aria-label=\"Brush size\"]').value"


def test_a_finger_paints_and_two_fingers_zoom(browser: Any, server: Server) -> None:
    user = open_page(browser, server, 2, has_touch=True, viewport={"width": 1024, "height": 768})
    user.mask_to_paint(server, size=12)
    for x in range(44, 88, 4):
        user.touch(user.at(x, 40))
    user.touch()
    wait_for(server.painted)
    mask = server.mask()
    assert overlap(mask, disc_line((44, 40), (84, 40), 6)) > 0.93
    (key,) = server.painted()
    before, stamp = user.at(64, 48), key.stat().st_mtime_ns
    far = user.at(128, 0)[0] - user.at(0, 0)[0]
    x, y = before
    user.touch((x - 60, y))
    for reach in range(60, 130, 10):
        user.touch((x - reach, y), (x + reach, y))
    user.touch()
    user.page.wait_for_timeout(300)
    assert user.at(128, 0)[0] - user.at(0, 0)[0] > 1.8 * far  # the picture is larger
    assert np.hypot(*np.subtract(user.at(64, 48), before)) < 3  # about what lies between them
    assert key.stat().st_mtime_ns == stamp  # and nothing is painted
    for tool in ("fill", "click"):  # nor by the first finger with a tool that acts at once
        user.page.click(f"[data-tool={tool}]")
        user.touch((x - 60, y))
        user.touch((x - 60, y), (x + 60, y))
        user.touch()
        user.page.wait_for_timeout(300)
    assert key.stat().st_mtime_ns == stamp
    assert user.faults == []


def test_a_pen_paints_by_its_pressure_and_the_palm_does_not(browser: Any, server: Server) -> None:
    user = open_page(browser, server, has_touch=True)
    user.mask_to_paint(server, size=24)
    user.pen(1.0, (30, 30), (60, 30), (90, 30))
    wait_for(server.painted)
    user.pen(0.2, (30, 70), (60, 70), (90, 70))
    wait_for(lambda: server.mask()[60:].max() == 255)
    mask = server.mask()
    for y, radius in ((30, 12), (70, 12 * (0.25 + 0.75 * 0.2))):
        around = np.zeros_like(mask, bool)
        around[y - 16 : y + 16] = True
        wanted = disc_line((30, y), (90, y), radius)
        assert overlap(np.where(around, mask, 0), wanted) > 0.9, y
    for x in (100, 110):
        user.touch(user.at(x, 80))
    user.touch()
    user.page.wait_for_timeout(300)
    assert np.array_equal(server.mask(), mask)
    assert user.faults == []


def test_fifty_strokes_are_taken_back(browser: Any, server: Server) -> None:
    user = open_page(browser, server)
    user.mask_to_paint(server, size=3)
    spots = [(6 + 9 * (n % 13), 8 + 20 * (n // 13)) for n in range(52)]
    for spot in spots:
        user.page.mouse.click(*user.at(*spot))
    wait_for(lambda: server.painted() and all(server.mask()[y, x] for x, y in spots))
    for count in (25, 25, 3):  # the last three find nothing more
        for _ in range(count):
            user.page.keyboard.press("Control+z")
    wait_for(lambda: not server.mask()[8, 6 + 9 * 2])
    user.page.wait_for_timeout(300)
    left = [bool(server.mask()[y, x]) for x, y in spots]
    assert left == [True, True] + [False] * 50
    for _ in range(50):
        user.page.keyboard.press("Control+Shift+Z")
    wait_for(lambda: all(server.mask()[y, x] for x, y in spots))
    assert user.faults == []


def test_undo_shows_the_frame_of_the_stroke_and_outlives_the_panel(
    browser: Any, server: Server
) -> None:
    user = open_page(browser, server)
    user.mask_to_paint(server, size=20)
    user.drag(server, (30, 30), (50, 30))
    user.seek(4)
    user.until("document.getElementById('badge').textContent.includes('nearest')")
    first = user.drag(server, (90, 70), (100, 70), index=4)
    user.page.click("#tab-settings")
    user.page.click("#tab-where")
    user.page.wait_for_selector("#tools [data-tool=brush]")
    user.seek(1)
    user.page.keyboard.press("Control+z")
    user.page.wait_for_selector("#view[data-index='4']")
    assert user.page.input_value("#scrub") == "4"
    wait_for(lambda: not server.mask(4)[70, 95])
    assert first[70, 95]
    assert server.mask(4)[30, 40]  # the mask that was carried from frame 0
    user.page.keyboard.press("Control+z")
    user.page.wait_for_selector("#view[data-index='0']")
    wait_for(lambda: not server.mask(0).any())
    assert user.faults == []


def test_the_keyboard_plays_steps_and_sizes_the_brush(browser: Any, server: Server) -> None:
    user = open_page(browser, server)
    page = user.page
    user.mask_to_paint(server, size=40)
    page.focus("#view")
    page.keyboard.press("]")
    user.until(f"{BRUSH} === '50'")
    page.keyboard.press("[")
    page.keyboard.press("[")
    user.until(f"{BRUSH} === '32'")
    page.keyboard.press("Space")
    page.wait_for_selector("#play[aria-label=Stop]")
    user.until("document.getElementById('view').dataset.index > 1")
    page.keyboard.press("Space")
    page.wait_for_selector("#play[aria-label=Play]")
    page.wait_for_timeout(300)
    stopped = page.get_attribute("#view", "data-index")
    page.wait_for_timeout(300)
    assert page.get_attribute("#view", "data-index") == stopped
    user.seek(0)
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#view[data-index='1']")
    page.keyboard.press("Shift+ArrowRight")
    page.wait_for_selector("#view[data-index='5']")  # the last
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector("#view[data-index='4']")
    page.focus("[aria-label='Brush size']")  # arrows on a slider are the slider's
    page.keyboard.press("ArrowRight")
    assert page.evaluate(BRUSH) == "33"
    assert page.get_attribute("#view", "data-index") == "4"
    page.focus("#tab-where")
    page.keyboard.press("?")
    page.wait_for_selector("#keys[open]")
    page.keyboard.press("Escape")
    page.wait_for_selector("#keys:not([open])", state="attached")
    page.focus("#tab-settings")
    page.keyboard.press("Enter")
    page.wait_for_selector("#option-original_colors")
    assert page.evaluate("document.activeElement.id") == "tab-settings"  # it is not lost
    page.eval_on_selector_all("details", "all => all.forEach(one => { one.open = true; })")
    page.focus("#option-original_colors")
    page.keyboard.press("Space")  # and space there is the check box's
    user.until("document.getElementById('option-original_colors').checked")
    assert page.is_visible("#play[aria-label=Play]")
    assert user.faults == []


NAMELESS = """() => [...document.querySelectorAll('button, input, select, canvas, progress')]
    .filter((one) => one.offsetParent && !(one.textContent.trim() || one.ariaLabel ||
        one.labels?.length || one.closest('label')))
    .map((one) => one.outerHTML)"""
SMALL = """() => [...document.querySelectorAll('button, select')]
    .filter((one) => one.offsetParent && one.getBoundingClientRect().height < 34)
    .map((one) => one.outerHTML)"""
CUT = """() => document.documentElement.scrollWidth > innerWidth ||
    document.body.scrollHeight > innerHeight"""


@pytest.mark.parametrize("size", [(1280, 720), (1024, 768), (768, 1024)])
def test_everything_has_a_name_and_fits_on_the_page(
    browser: Any, server: Server, size: tuple[int, int]
) -> None:
    touch = size != (1280, 720)
    viewport = dict(zip(("width", "height"), size, strict=True))
    user = open_page(browser, server, 2 if touch else 1, has_touch=touch, viewport=viewport)
    user.use(server, "mask")
    for name in ("open", "style", "where", "settings", "preview", "run"):
        user.page.click(f"#tab-{name}")
        user.page.wait_for_selector("#panels h2")
        assert user.page.evaluate(NAMELESS) == [], name
        assert not user.page.evaluate(CUT), name
        assert not touch or user.page.evaluate(SMALL) == [], name
    assert user.faults == []
