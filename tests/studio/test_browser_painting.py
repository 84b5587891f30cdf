# ruff: noqa: F811 - arguments that are fixtures
"""Painting in a real Chromium: masks, maps, key frames and selections."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from studio_browser import Server, browser, disc_line, open_page, overlap, server, shared, wait_for  # noqa: F401 - fixtures

from vidstyle.downloads.members import find
from vidstyle.errors import WeightsError
from vidstyle.segmentation.models import SALIENCY


@pytest.mark.parametrize(("scale", "zoom"), [(1, 0), (2, 0), (1, 3), (2, 2)])
def test_the_png_that_arrives_is_the_stroke(
    browser: Any, server: Server, scale: float, zoom: int
) -> None:
    user = open_page(browser, server, scale)
    user.mask_to_paint(server, size=12)
    for _ in range(zoom):
        user.page.click("#zoom-in")
    if zoom:  # and the picture is moved
        before = user.at(64, 48)
        user.page.mouse.move(*before)
        user.page.mouse.down(button="middle")
        user.page.mouse.move(before[0] + 30, before[1] - 20, steps=2)
        user.page.mouse.up(button="middle")
        assert np.allclose(user.at(64, 48), np.add(before, (30, -20)), atol=1)
    user.page.wait_for_timeout(100)
    start, end = (44, 40), (84, 56)
    mask = user.drag(server, start, end)
    assert mask.shape == (96, 128)
    assert overlap(mask, disc_line(start, end, 6)) > 0.93
    assert mask.max() == 255
    assert user.faults == []


def test_undo_redo_eraser_invert_and_feather(browser: Any, server: Server) -> None:
    user = open_page(browser, server)
    user.mask_to_paint(server, size=12)
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
    user.page.click("[data-tool=fill]")
    full = user.click_for_change(server, "#view")
    assert full.min() == 255
    user.page.keyboard.down("Alt")
    assert user.click_for_change(server, "#view").max() == 0
    user.page.keyboard.up("Alt")
    assert user.faults == []


def test_key_frames_are_tracked_to_all_frames(browser: Any, server: Server) -> None:
    user = open_page(browser, server)
    user.mask_to_paint(server, size=32)
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


def test_a_map_is_painted_beside_the_style_map_and_passed_on(
    browser: Any, server: Server, tmp_path: Path
) -> None:
    user = open_page(browser, server)
    user.use(server, "region")
    user.paint_tab()
    user.page.wait_for_selector("#style-view:visible")
    user.page.wait_for_timeout(200)
    empty = PIL.Image.open(io.BytesIO(user.page.screenshot())).convert("RGB")
    assert np.ptp(empty.getpixel(tuple(map(round, user.at(100, 80))))) < 12  # nothing over it
    user.page.click("[data-label='3']")
    user.brush(size=20)
    user.page.mouse.move(*user.at(60, 40))
    user.page.mouse.down()
    user.page.mouse.move(*user.at(64, 40), steps=3)
    user.page.mouse.up()
    box = user.page.locator("#style-view").bounding_box()
    user.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    wait_for(lambda: len(list(server.folder.glob("vidstyle-studio/layers/*/keys/[0-9]*.png"))) == 2)
    for path in server.folder.glob("vidstyle-studio/layers/*/keys/[0-9]*.png"):
        colors = {color for _, color in PIL.Image.open(path).convert("RGB").getcolors()}
        assert colors == {(0, 0, 255), (255, 0, 0)}  # labels have no soft edges
    user.until("document.getElementById('command').textContent.includes('--map')")
    assert "--style-map" in user.page.inner_text("#command")
    other = np.zeros((96, 128, 3), np.uint8)
    other[:, 64:] = (250, 5, 0)  # nearly the red label
    PIL.Image.fromarray(other).save(tmp_path / "map.png")
    with user.page.expect_file_chooser() as chooser:
        user.page.click("[aria-label='Import… the map of the frame']")
    chooser.value.set_files(str(tmp_path / "map.png"))
    with user.page.expect_download() as found:
        user.page.wait_for_timeout(300)
        user.page.click("[aria-label='Export the map of the frame']")
    exported = np.asarray(PIL.Image.open(found.value.path()).convert("RGB"))
    assert (exported[:, 64:] == (255, 0, 0)).all()
    assert (exported[:, :64] == (0, 0, 255)).all()  # black is nearest to the first label
    with user.page.expect_download() as found:
        user.page.click("[aria-label='Export the map of the style picture']")
    style = PIL.Image.open(found.value.path()).convert("RGB")
    assert {color for _, color in style.getcolors()} == {(0, 0, 255), (255, 0, 0)}
    assert user.faults == []


def test_masks_come_back_with_their_clip(browser: Any, server: Server) -> None:
    (server.folder / "second.mp4").write_bytes((server.folder / "clip.mp4").read_bytes())
    user = open_page(browser, server)
    user.mask_to_paint(server, size=30)
    user.drag(server, (40, 40), (60, 40))
    for clip, words in (("second", "not painted"), ("clip", "1 key frame")):
        user.page.click("#tab-open")
        user.page.click(f".files >> text={clip}.mp4")
        user.until(f"document.getElementById('clip-name').textContent.endsWith('/{clip}.mp4')")
        user.page.click("#tab-where")
        user.page.wait_for_selector(f".item >> text={words}")
    (server.folder / "second.mp4").unlink()
    assert user.faults == []


def test_a_mask_is_exported_and_imported(browser: Any, server: Server, tmp_path: Path) -> None:
    user = open_page(browser, server)
    user.mask_to_paint(server, size=20, hardness=0.5)
    mask = user.drag(server, (40, 40), (60, 40))
    with user.page.expect_download() as found:
        user.page.click("text=Export")
    found.value.save_as(tmp_path / "mask.png")
    exported = np.asarray(PIL.Image.open(tmp_path / "mask.png").convert("L"))
    assert np.array_equal(exported, mask)
    other = np.zeros_like(mask)
    other[10:50, 70:100] = 255
    PIL.Image.fromarray(other).save(tmp_path / "other.png")
    (key,) = server.painted()
    before = key.stat().st_mtime_ns
    with user.page.expect_file_chooser() as chooser:
        user.page.click("text=Import…")
    chooser.value.set_files(str(tmp_path / "other.png"))
    wait_for(lambda: key.stat().st_mtime_ns != before)
    assert np.array_equal(server.mask(), other)
    assert np.array_equal(user.click_for_change(server, "[aria-label=Undo]"), mask)
    assert user.faults == []


SQUARE = np.zeros((96, 128), bool)
SQUARE[30:62, 8:40] = True  # of frame 0


@pytest.mark.parametrize("tool", ["click", "smart"])
def test_the_object_under_a_click_or_a_rough_stroke_is_selected(
    browser: Any, server: Server, tool: str
) -> None:
    user = open_page(browser, server)
    user.mask_to_paint(server)
    user.page.click(f"[data-tool={tool}]")
    if tool == "click":
        user.page.mouse.click(*user.at(24, 46))
        wait_for(server.painted, 60)
        mask = server.mask()
    else:
        user.brush(size=10)
        mask = user.drag(server, (18, 40), (30, 52))
    assert overlap(mask, SQUARE) > 0.8
    assert user.faults == []


def test_the_subject_is_selected(browser: Any, server: Server) -> None:
    try:
        find(SALIENCY)
    except WeightsError:
        pytest.skip("needs U²-Net-p, which cannot be fetched here")
    user = open_page(browser, server)
    user.mask_to_paint(server)
    user.page.click("#subject")
    wait_for(server.painted, 120)
    assert overlap(server.mask(), SQUARE) > 0.8
    assert user.faults == []
