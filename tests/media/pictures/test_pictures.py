"""Pictures of every mode become float32 images; other files are refused in one sentence."""

import time
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from media_inputs import disc, write_clip
from PIL import ImageCms

from vidstyle import media
from vidstyle.errors import MediaError, OutputError


def _bytes(step: int = 0) -> np.ndarray:
    return (disc(step) * 255).astype(np.uint8)


def test_an_exif_orientation_turns_the_picture_upright(tmp_path: Path) -> None:
    picture = PIL.Image.fromarray(_bytes())
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "a.png", exif=exif)
    image = media.read_picture(tmp_path / "a.png")
    np.testing.assert_allclose(image, np.rot90(_bytes(), -1) / 255, atol=1e-6)
    clip = media.probe(tmp_path / "a.png")
    assert (clip.kind, clip.width, clip.height, clip.rotation) == ("picture", 48, 64, 90)


def test_sixteen_bit_grey_keeps_its_tones(tmp_path: Path) -> None:
    grey = np.linspace(0, 65535, 64, dtype=np.uint16).reshape(8, 8)
    PIL.Image.fromarray(grey).save(tmp_path / "a.png")
    image = media.read_picture(tmp_path / "a.png")
    np.testing.assert_allclose(image[..., 1], grey / 65535, atol=1e-6)


def test_a_palette_with_transparency_lies_over_white(tmp_path: Path) -> None:
    picture = PIL.Image.new("P", (2, 1))
    picture.putpalette([255, 0, 0, 0, 0, 255])
    picture.putdata([0, 1])
    picture.save(tmp_path / "a.png", transparency=1)
    assert media.read_picture(tmp_path / "a.png").tolist() == [[[1, 0, 0], [1, 1, 1]]]


def test_half_transparent_pixels_are_half_white(tmp_path: Path) -> None:
    PIL.Image.new("RGBA", (2, 2), (0, 0, 0, 51)).save(tmp_path / "a.webp", lossless=True)
    np.testing.assert_allclose(media.read_picture(tmp_path / "a.webp"), 0.8, atol=1e-6)


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    PIL.Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a.jpg")
    red, green, blue = media.read_picture(tmp_path / "a.jpg")[4, 4]
    assert red > 0.9
    assert max(green, blue) < 0.2


def test_a_colour_profile_is_applied(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    PIL.Image.new("LAB", (4, 4), (128, 128, 128)).save(tmp_path / "a.tif", icc_profile=profile)
    image = media.read_picture(tmp_path / "a.tif")
    np.testing.assert_allclose(image[0, 0], 119 / 255, atol=0.02)  # L* 50 is sRGB 119


def test_an_invalid_profile_is_ignored(tmp_path: Path) -> None:
    PIL.Image.new("RGB", (4, 4), (200, 100, 50)).save(tmp_path / "a.png", icc_profile=b"nonsense")
    image = media.read_picture(tmp_path / "a.png")
    np.testing.assert_allclose(image[0, 0] * 255, (200, 100, 50), atol=1e-3)


def _bomb(path: Path) -> None:
    """Write a PNG header of 30000x30000 with hardly any data."""
    PIL.Image.new("RGB", (1, 1)).save(path)
    data = bytearray(path.read_bytes())
    data[16:24] = (30000).to_bytes(4) * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4)
    path.write_bytes(data)


def _no_picture(folder: Path, name: str) -> Path:
    path = folder / name
    if name == "video.mp4":
        write_clip(path, [0, 1])
    elif name == "cut.jpg":
        PIL.Image.fromarray(_bytes()).save(path)
        path.write_bytes(path.read_bytes()[:-200])
    elif name == "text.png":
        path.write_text("words")
    elif name == "empty.png":
        path.touch()
    elif name == "bomb.png":
        _bomb(path)
    elif name == "folder":
        path.mkdir()
    return path


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("missing.png", "no such file"),
        ("video.mp4", "got a video"),
        ("cut.jpg", "damaged or cut short"),
        ("text.png", "another kind"),
        ("empty.png", "empty file"),
        ("bomb.png", "at most 300 million pixels"),
        ("folder", "got a folder"),
    ],
)
def test_files_that_are_not_pictures_are_refused_in_one_sentence(
    tmp_path: Path, name: str, sentence: str
) -> None:
    path = _no_picture(tmp_path, name)
    begin = time.monotonic()
    with pytest.raises(MediaError, match=sentence):
        media.read_picture(path)
    assert time.monotonic() - begin < 1


def test_a_saved_frame_comes_back_to_sixteen_bits(tmp_path: Path) -> None:
    image = np.random.default_rng(0).random((13, 17, 3), np.float32)
    media.save_frame(tmp_path / "a.png", image)
    back = media.load_frame(tmp_path / "a.png")
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, image, atol=0.6 / 65535)
    media.save_frame(tmp_path / "b.png", back)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_a_damaged_saved_frame_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.png"
    media.save_frame(path, np.random.default_rng(0).random((16, 16, 3), np.float32))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    damaged = {"cut": path.read_bytes()[:-40], "flipped": bytes(data), "empty": b""}
    path.write_bytes(damaged[damage])
    with pytest.raises(MediaError, match="expected a"):
        media.load_frame(path)


def test_a_missing_saved_frame_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot read .*a\.png: No such file"):
        media.load_frame(tmp_path / "a.png")


def test_a_frame_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot write"):
        media.save_frame(tmp_path / "no" / "a.png", disc(0))


def test_shrinking_takes_means_and_enlarging_stays_in_bounds() -> None:
    checks = np.indices((8, 8)).sum(axis=0) % 2
    image = np.repeat(checks[..., None].astype(np.float32), 3, axis=2)
    np.testing.assert_allclose(media.resize(image, 4, 4), 0.5)
    large = media.resize(image, 20, 30)
    assert large.shape == (30, 20, 3)
    assert large.min() >= 0
    assert large.max() <= 1
