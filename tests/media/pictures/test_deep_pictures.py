"""Pictures with 16 bits per channel are read and written at full depth, with metadata."""

import tracemalloc
import zlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import tifffile
from photo_inputs import exif, ramp, write_png, write_tiff
from PIL.PngImagePlugin import PngInfo

from vidstyle import media
from vidstyle.errors import MediaError
from vidstyle.jobs.job import make_job
from vidstyle.jobs.pipeline import run
from vidstyle.media import large
from vidstyle.media.pictures.files import read_pixels
from vidstyle.stylizer.protocol import IdentityStylizer, Stylized


class Inverter(IdentityStylizer):
    """A stylizer that inverts a picture in float32, and fails at a given photo."""

    def __init__(self, fails_at: int | None = None) -> None:
        self._left = fails_at

    def stylize(self, content: Any, **_: Any) -> Stylized:
        if self._left == 0:
            raise RuntimeError("expected failure")
        self._left = None if self._left is None else self._left - 1
        return Stylized(1 - content, {"total": np.float32(0.5)}, evaluations=1)

    def __call__(self, *_: object) -> "Inverter":
        return self


def convert(source: Path, suffix: str) -> tuple[Path, list[str]]:
    clip, part = media.probe(source), source.with_name(f"part{suffix}")
    frames = media.read(clip, range(1))
    return part, media.encode(clip, range(1), frames, source.with_name(f"out{suffix}"), part)


def write(path: Path, words: np.ndarray) -> Path:
    return write_png(path, words) if path.suffix == ".png" else write_tiff(path, words)


def stored(path: Path) -> np.ndarray:
    """Return the samples of a written file, read by other code than that under test."""
    if path.suffix == ".png":
        import cv2

        found = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        return found[..., [2, 1, 0, 3][: found.shape[2]]]
    return tifffile.imread(path)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff"])
def test_a_smooth_gradient_shows_no_banding(tmp_path: Path, name: str, suffix: str) -> None:
    source = write(tmp_path / name, ramp())
    assert media.probe(source).depth == 16
    part, warnings = convert(source, suffix)
    assert warnings == []
    assert len(np.unique(media.read_picture(source)[..., 0])) == 24 * 96
    np.testing.assert_array_equal(stored(part), ramp())


def test_a_picture_reduced_while_reading_keeps_its_depth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large, "LARGE", 1000)
    path = write_png(tmp_path / "a.png", ramp())
    reduced = read_pixels(path, large.area_factor)
    assert reduced.shape == (12, 48, 3)
    assert len(np.unique(np.rint(reduced[..., 0] * 65535))) > 256


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_stylised_16_bit_photo_keeps_its_depth(tmp_path: Path, style: Path, suffix: str) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("1", "2"):
        write(folder / f"{name}{suffix}", ramp())
    job = make_job(folder, tmp_path / "out", style=style, size="source", steps=0, steps_next=0)
    with pytest.raises(RuntimeError, match="expected failure"):
        run(job, make_stylizer=Inverter(fails_at=1))
    assert run(job, make_stylizer=Inverter()).stylized == 1  # the other one came from the state
    for name in ("1", "2"):
        found = stored(tmp_path / "out" / f"{name}{suffix}")
        assert found.dtype == np.uint16
        np.testing.assert_allclose(found.astype(int), 65535 - ramp().astype(int), atol=1)
        assert len(np.unique(found[..., 0])) == 24 * 96


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".bmp"])
def test_other_formats_stay_eight_bits(tmp_path: Path, suffix: str) -> None:
    part, _ = convert(write_png(tmp_path / "a.png", ramp()), suffix)
    assert media.probe(part).depth == 8
    assert np.abs(media.read_picture(part) - ramp() / 65535).max() < 0.05


def test_a_photo_of_eight_bits_stays_one(tmp_path: Path) -> None:
    PIL.Image.fromarray((ramp() // 257).astype(np.uint8)).save(tmp_path / "a.png")
    for suffix in (".png", ".tif"):
        part, _ = convert(tmp_path / "a.png", suffix)
        assert media.probe(part).depth == 8


def test_each_photo_of_a_folder_keeps_its_own_depth(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    write_png(folder / "a.png", ramp())
    PIL.Image.fromarray((ramp() // 257).astype(np.uint8)).save(folder / "b.png")
    clip = media.probe(folder)
    part = tmp_path / "part"
    media.encode(clip, range(2), media.read(clip, range(2)), tmp_path / "out", part)
    assert [media.probe(part / name).depth for name in ("a.png", "b.png")] == [16, 8]
    assert clip.depth == 16


def test_frames_of_sixteen_bits_become_a_video_of_ten_and_come_back(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("1.png", "2.png"):
        write_png(folder / name, ramp())
    clip, part = media.probe(folder, rate=Fraction(5)), tmp_path / "part.mp4"
    media.encode(clip, range(2), media.read(clip, range(2)), tmp_path / "out.mp4", part)
    video = media.probe(part)
    assert video.depth == 10
    pictures = tmp_path / "pictures"
    media.encode(video, range(2), media.read(video, range(2)), tmp_path / "out", pictures)
    assert [media.probe(path).depth for path in sorted(pictures.iterdir())] == [16, 16]


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_alpha_is_kept_at_sixteen_bits(tmp_path: Path, suffix: str) -> None:
    alpha = np.linspace(65535, 20000, 24 * 96).reshape(24, 96, 1).astype(np.uint16)
    words = np.concatenate([ramp(), alpha], axis=2)
    source = tmp_path / f"a{suffix}"
    if suffix == ".png":
        write_png(source, words)
    else:
        write_tiff(source, words, extrasamples=["unassalpha"])
    assert media.probe(source).alpha
    part, warnings = convert(source, suffix)
    assert warnings == []
    np.testing.assert_array_equal(stored(part)[..., 3], words[..., 3])
    difference = stored(part)[..., :3].astype(int) - words[..., :3]
    assert np.abs(difference).max() <= 2  # over white and back


def test_an_opaque_alpha_channel_counts_as_none(tmp_path: Path) -> None:
    words = np.concatenate([ramp(), np.full((24, 96, 1), 65535, np.uint16)], axis=2)
    assert not media.probe(write_png(tmp_path / "a.png", words)).alpha


def test_premultiplied_alpha_is_divided_out(tmp_path: Path) -> None:
    alpha = np.full((24, 96, 1), 32768, np.uint16)
    stored_words = np.concatenate([ramp() // 2, alpha], axis=2)
    path = write_tiff(tmp_path / "a.tif", stored_words, extrasamples=["assocalpha"])
    clip = media.probe(path)
    over_white = next(iter(media.read(clip, range(1))))
    expected = (ramp() / 65535) * 0.5 + 0.5
    np.testing.assert_allclose(over_white, expected, atol=1e-4)


@pytest.mark.parametrize("channels", [1, 2])
def test_grey_keeps_its_levels_and_its_alpha(tmp_path: Path, channels: int) -> None:
    words = ramp()[..., :channels]
    image = media.read_picture(write_png(tmp_path / "a.png", words))
    clip = media.probe(tmp_path / "a.png")
    assert (clip.depth, clip.alpha) == (16, channels == 2)
    assert len(np.unique(image[..., 0])) > 2000
    np.testing.assert_array_equal(image[..., 0], image[..., 2])


def test_grey_whose_white_is_zero_is_inverted(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", ramp()[..., 0], photometric="miniswhite")
    np.testing.assert_allclose(
        media.read_picture(path)[..., 0], 1 - ramp()[..., 0] / 65535, atol=1e-6
    )


def test_a_transparent_colour_is_transparent(tmp_path: Path) -> None:
    key = ramp()[3, 5].astype(">u2").tobytes()
    path = write_png(tmp_path / "a.png", ramp(), ((b"tRNS", key),))
    assert media.probe(path).alpha
    image = media.read_picture(path)
    assert image[3, 5].tolist() == [1, 1, 1]
    np.testing.assert_allclose(image[3, 6], ramp()[3, 6] / 65535, atol=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "zlib"},
        {"compression": "zlib", "predictor": True},
        {"tile": (16, 16)},
        {"rowsperstrip": 5},
        {"byteorder": ">"},
        {"planarconfig": "separate"},
        {"planarconfig": "separate", "compression": "zlib", "predictor": True},
        {"bigtiff": True},
    ],
    ids=str,
)
def test_every_layout_of_tiff_is_read(tmp_path: Path, options: dict[str, Any]) -> None:
    planes = "planarconfig" in options
    words = np.ascontiguousarray(np.moveaxis(ramp(), 2, 0)) if planes else ramp()
    path = write_tiff(tmp_path / "a.tif", words, **options)
    np.testing.assert_allclose(media.read_picture(path) * 65535, ramp(), atol=0.01)


def test_a_tiff_packed_as_lzw_is_read(tmp_path: Path) -> None:
    import cv2

    cv2.imwrite(str(tmp_path / "a.tif"), ramp()[..., ::-1], [cv2.IMWRITE_TIFF_COMPRESSION, 5])
    with PIL.Image.open(tmp_path / "a.tif") as picture:
        assert picture.info["compression"] == "tiff_lzw"
    np.testing.assert_allclose(media.read_picture(tmp_path / "a.tif") * 65535, ramp(), atol=0.01)


def test_reduced_depth_is_noted(tmp_path: Path) -> None:
    words = np.full((24, 96, 4), 20000, np.uint16)
    path = write_tiff(tmp_path / "a.tif", words, photometric="separated")
    clip = media.probe(path)
    assert clip.depth == 8
    assert clip.notes == (
        "a.tif: 16 bits per channel are read as 8 for this kind or size of picture",
    )


def test_the_first_of_several_pages_is_the_photo(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(ramp(), photometric="rgb", metadata=None)
        file.write(65535 - ramp(), photometric="rgb", metadata=None)
    np.testing.assert_allclose(media.read_picture(tmp_path / "a.tif") * 65535, ramp(), atol=0.01)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_as_for_8_bits(tmp_path: Path, orientation: int) -> None:
    block = exif(orientation).tobytes()
    write_png(tmp_path / "deep.png", ramp(), ((b"eXIf", block.removeprefix(b"Exif\0\0")),))
    eight = PIL.Image.fromarray((ramp() >> 8).astype(np.uint8))
    eight.save(tmp_path / "eight.png", exif=block)
    deep, flat = (media.read_picture(tmp_path / f"{name}.png") for name in ("deep", "eight"))
    assert deep.shape == flat.shape
    np.testing.assert_allclose(deep, flat, atol=1 / 255)
    clip = media.probe(tmp_path / "deep.png")
    assert (clip.height, clip.width) == deep.shape[:2]


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_metadata_is_copied_at_16_bits(tmp_path: Path, suffix: str) -> None:
    info = PngInfo()
    info.add_text("Author", "Jörg")
    info.add_itxt("XML:com.adobe.xmp", '<x:xmpmeta xmlns:x="adobe:ns:meta/"><y/></x:xmpmeta>')
    small = tmp_path / "small.png"
    PIL.Image.new("RGB", (1, 1)).save(small, exif=exif(6), dpi=(300, 300), pnginfo=info)
    source = write_png(tmp_path / "a.png", ramp(), _chunks(small))
    part, warnings = convert(source, suffix)
    assert warnings == []
    with PIL.Image.open(part) as picture:
        picture.load()
        assert picture.size == (24, 96)
        found = picture.getexif()
        assert (found[0x010F], found.get(0x0112)) == ("Maker", None)
        assert found.get_ifd(0x8769)[0x9003] == "2020:01:01 00:00:00"
        assert found.get_ifd(0x8825)[1] == "N"
        assert picture.info["dpi"] == pytest.approx((300, 300), abs=0.01)
        assert b"xmpmeta" in picture.info["xmp"]
        if suffix == ".png":
            assert picture.text["Author"] == "Jörg"
    assert stored(part).dtype == np.uint16
    np.testing.assert_allclose(media.read_picture(part) * 65535, np.rot90(ramp(), -1), atol=0.01)


def _chunks(path: Path) -> tuple[tuple[bytes, bytes], ...]:
    data, place, found = path.read_bytes(), 8, []
    while place < len(data):
        size, kind = int.from_bytes(data[place : place + 4]), data[place + 4 : place + 8]
        if kind not in (b"IHDR", b"IDAT", b"IEND"):
            found.append((kind, data[place + 8 : place + 8 + size]))
        place += 12 + size
    return tuple(found)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "z.tif"])
@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_a_damaged_photo_is_refused(
    tmp_path: Path, name: str, part: float, capfd: pytest.CaptureFixture[str]
) -> None:
    noise = np.random.default_rng(0).integers(0, 65536, (24, 96, 3), np.uint16)
    path = tmp_path / name
    if name == "z.tif":
        write_tiff(path, noise, compression="zlib")
    else:
        write(path, noise)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(MediaError, match="damaged or cut short"):
        media.probe(path)
    with pytest.raises(MediaError, match="damaged or cut short"):
        media.read_picture(path)
    assert capfd.readouterr().err == ""


def test_a_strip_that_inflates_beyond_the_picture_is_refused(tmp_path: Path) -> None:
    bomb = zlib.compress(bytes(50_000_000))
    path = tmp_path / "a.tif"
    planes = np.ascontiguousarray(np.moveaxis(ramp(), 2, 0))
    write_tiff(path, planes, planarconfig="separate", compression="zlib")
    with tifffile.TiffFile(path, mode="r+") as file:
        tags = file.pages[0].tags
        tags["StripOffsets"].overwrite([path.stat().st_size] * 3)
        tags["StripByteCounts"].overwrite([len(bomb)] * 3)
    size = path.stat().st_size
    path.write_bytes(path.read_bytes() + bomb)
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].tags["StripOffsets"].overwrite([size] * 3)
    tracemalloc.start()
    with pytest.raises(MediaError, match="a strip has more bytes than the picture"):
        media.read_picture(path)
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_the_same_photo_gives_the_same_bytes(tmp_path: Path) -> None:
    source = write_png(tmp_path / "a.png", ramp())
    for suffix in (".png", ".tif"):
        first = convert(source, suffix)[0].read_bytes()
        assert convert(source, suffix)[0].read_bytes() == first
