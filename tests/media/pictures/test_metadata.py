"""Metadata and alpha of a photo are copied to the output."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from media_inputs import disc
from PIL.PngImagePlugin import PngInfo

from vidstyle import media

_EXIF, _GPS = 0x8769, 0x8825


def _photo(path: Path) -> Path:
    """Write a photo with orientation and camera metadata."""
    picture = PIL.Image.fromarray((disc(0) * 255).astype(np.uint8))
    exif = picture.getexif()
    exif[0x010F], exif[0x0112] = "Maker", 6
    exif.get_ifd(_EXIF)[0x9003] = "2020:01:01 00:00:00"
    exif.get_ifd(_GPS)[1] = "N"
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><y tiff:Orientation="6"/></x:xmpmeta>'
    picture.save(path, exif=exif.tobytes(), dpi=(300, 300), comment="a note", xmp=xmp)
    return path


def _convert(source: Path, suffix: str) -> tuple[Path, list[str]]:
    clip = media.probe(source)
    part = source.with_name(f"part{suffix}")
    every = range(1)
    return part, media.encode(
        clip, every, media.read(clip, every), source.with_name(f"out{suffix}"), part
    )


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_metadata_is_copied_without_the_orientation(tmp_path: Path, suffix: str) -> None:
    part, warnings = _convert(_photo(tmp_path / "a.jpg"), suffix)
    assert warnings == []
    with PIL.Image.open(part) as picture:
        assert picture.size == (48, 64)
        exif = picture.getexif()
        assert (exif[0x010F], exif.get(0x0112)) == ("Maker", None)
        assert exif.get_ifd(_EXIF)[0x9003] == "2020:01:01 00:00:00"
        assert exif.get_ifd(_GPS)[1] == "N"
        assert b"xmpmeta" in picture.info["xmp"]
        assert b"Orientation" not in picture.info["xmp"]
        if suffix != ".webp":
            assert picture.info["dpi"] == pytest.approx((300, 300), abs=0.01)
    assert (tmp_path / f"part{suffix}").suffix == suffix


def test_metadata_that_a_format_cannot_hold_is_reported(tmp_path: Path) -> None:
    _, warnings = _convert(_photo(tmp_path / "a.jpg"), ".bmp")
    assert ".bmp cannot hold its metadata" in warnings[0]


@pytest.mark.parametrize("words", [{"xmp": b"x" * 70_000}, {"exif": b"Exif\0\0II*\0broken"}])
def test_oversized_metadata_does_not_prevent_writing(tmp_path: Path, words: dict) -> None:
    PIL.Image.new("RGB", (32, 32), "red").save(tmp_path / "a.webp", lossless=True, **words)
    part, warnings = _convert(tmp_path / "a.webp", ".jpg")
    assert media.read_picture(part)[0, 0, 0] > 0.98
    assert len(warnings) == ("xmp" in words)


def test_png_texts_are_copied(tmp_path: Path) -> None:
    info = PngInfo()
    info.add_text("Author", "Jörg")
    PIL.Image.new("RGB", (32, 32)).save(tmp_path / "a.png", pnginfo=info)
    part, _ = _convert(tmp_path / "a.png", ".png")
    with PIL.Image.open(part) as picture:
        picture.load()
        assert picture.text["Author"] == "Jörg"


def _clear(path: Path, mode: str = "RGBA") -> np.ndarray:
    pixels = np.zeros((32, 32, 4), np.uint8)
    pixels[..., 0], pixels[..., 3] = 200, np.linspace(0, 255, 32)
    picture = PIL.Image.fromarray(pixels)
    picture.convert(mode).save(path)
    return pixels


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_a_photo_keeps_its_alpha_and_the_colours_below_it(tmp_path: Path, suffix: str) -> None:
    pixels = _clear(tmp_path / "a.png")
    part, warnings = _convert(tmp_path / "a.png", suffix)
    assert warnings == []
    with PIL.Image.open(part) as picture:
        found = np.asarray(picture)
    np.testing.assert_array_equal(found[..., 3], pixels[..., 3])
    seen = pixels[..., 3] > 20
    assert np.abs(found[..., :3].astype(int) - pixels[..., :3])[seen].max() <= 1


def test_lost_alpha_is_reported(tmp_path: Path) -> None:
    _clear(tmp_path / "a.png")
    part, warnings = _convert(tmp_path / "a.png", ".jpg")
    assert "partly transparent, which .jpg" in warnings[0]
    assert media.read_picture(part)[5, 0].min() > 0.97


def test_each_photo_of_a_folder_keeps_its_alpha_and_metadata(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    _photo(folder / "a.jpg")
    _clear(folder / "b.png")
    PIL.Image.new("RGB", (16, 16)).save(folder / "c.png")
    clip, part = media.probe(folder), tmp_path / "part"
    every = range(3)
    assert media.encode(clip, every, media.read(clip, every), tmp_path / "out", part) == []
    with PIL.Image.open(part / "a.jpg") as a, PIL.Image.open(part / "b.png") as b:
        assert a.getexif()[0x010F] == "Maker"
        assert b.mode == "RGBA"
    with PIL.Image.open(part / "c.png") as c:
        assert c.mode == "RGB"
    warnings = media.encode(
        clip,
        every,
        media.read(clip, every),
        tmp_path / "out",
        part,
        media.EncodingOptions(codec="jpg"),
    )
    assert len(warnings) == 1
    assert "partly transparent" in warnings[0]
