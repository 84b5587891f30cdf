# ruff: noqa: F811 - arguments that are fixtures
"""Files dropped on the page, from the desktop, in a real Chromium."""

from pathlib import Path
from typing import Any

import PIL.Image
from conftest import scene
from studio_browser import Server, browser, open_page, server, shared, wait_for  # noqa: F401 - fixtures


def photos(folder: Path, count: int) -> list[Path]:
    folder.mkdir()
    files = [folder / f"photo{number}.png" for number in range(count)]
    for number, file in enumerate(files):
        PIL.Image.fromarray(scene(number)).save(file)
    return files


def opened(page: Any) -> str:
    return str(page.inner_text("#clip-name"))


def test_a_clip_is_dropped_on_the_picture(browser: Any, server: Server, tmp_path: Path) -> None:
    (tmp_path / "other.mp4").write_bytes((server.folder / "clip.mp4").read_bytes())
    user = open_page(browser, server)
    user.seek(3)
    user.drop("#view", tmp_path / "other.mp4")
    copy = server.folder / "vidstyle-studio" / "dropped" / "other.mp4"
    wait_for(lambda: opened(user.page) == str(copy))
    assert copy.read_bytes() == (tmp_path / "other.mp4").read_bytes()
    user.page.wait_for_selector("#view[data-index='0']")
    assert user.faults == []


def test_a_folder_of_photos_is_dropped_and_what_is_no_picture_left_out(
    browser: Any, server: Server, tmp_path: Path
) -> None:
    photos(tmp_path / "beach", 3)
    (tmp_path / "beach" / "notes.txt").write_text("no picture")
    (tmp_path / "beach" / ".hidden.png").write_bytes(b"")
    user = open_page(browser, server)
    user.drop("#view", tmp_path / "beach")
    user.page.wait_for_selector("#scrub[max='2']")
    dropped = server.folder / "vidstyle-studio" / "dropped"
    (copied,) = dropped.glob("beach-*")
    assert opened(user.page) == str(copied)
    assert sorted(file.name for file in copied.iterdir()) == [
        "photo0.png", "photo1.png", "photo2.png",
    ]  # fmt: skip
    assert user.message().startswith("1 of 4 files were left out; the first: expected a video")
    user.drop("#view", *photos(tmp_path / "loose", 2))
    user.page.wait_for_selector("#scrub[max='1']")
    assert len(list(dropped.glob("photos-*/*.png"))) == 2
    assert user.faults == []


def test_styles_are_dropped_beside_the_picture_and_weighted(
    browser: Any, server: Server, tmp_path: Path
) -> None:
    first, second = photos(tmp_path / "styles", 2)
    user = open_page(browser, server)
    page = user.page
    clip = opened(page)
    page.click("#tab-style")
    user.drop("#panels", first, second)
    wait_for(lambda: len(page.query_selector_all(".item")) == 2)
    page.fill("[aria-label='Weight of photo1.png']", "0.25")
    user.until("document.getElementById('command').textContent.includes('photo1.png=0.25')")
    assert "photo0.png=1" in page.inner_text("#command")
    user.drop("#panels", server.folder / "clip.mp4")
    assert "clip.mp4" in user.message()
    assert len(page.query_selector_all(".item")) == 2
    assert opened(page) == clip
    assert user.faults == []


def test_what_is_no_media_is_a_sentence(browser: Any, server: Server, tmp_path: Path) -> None:
    (tmp_path / "run.sh").write_text("#!/bin/sh")
    (tmp_path / "empty").mkdir()
    user = open_page(browser, server)
    user.drop("#view", tmp_path / "run.sh")
    assert "expected a video, an animation or a picture, got run.sh" in user.message()
    user.drop("#view", tmp_path / "empty")
    assert "expected pictures in the folder empty, got none" in user.message()
    assert opened(user.page) == str(server.folder / "clip.mp4")
    assert user.faults == []


def test_numbered_frames_open_as_a_video(browser: Any, server: Server) -> None:
    photos(server.folder / "frames", 4)
    user = open_page(browser, server)
    page = user.page
    page.click("#tab-open")
    page.click(".files >> text=frames/")
    page.click("#open-frames")
    page.wait_for_selector("#scrub[max='3']")
    user.seek(2)
    assert "0.08 s" in page.inner_text("#time")
    page.click("#tab-style")
    page.click(".thumbs button >> nth=0")
    user.until("document.getElementById('command').textContent.includes('--rate 25')")
    assert "frames-basic.mp4" in page.inner_text("#command")
    page.click("#tab-open")
    page.click(".files >> text=clip.mp4")
    user.until("!document.getElementById('command').textContent.includes('--rate')")
    assert user.faults == []
