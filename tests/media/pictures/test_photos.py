"""Photos from phones, NAS devices and memory cards, some damaged."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pillow_heif
import pytest
from photo_inputs import ramp, write_heic, write_png

from vidstyle import media
from vidstyle.cli.main import main
from vidstyle.errors import MediaError

NO_STEPS = ("--steps", "0", "--steps-next", "0")


def pixels(seed: int = 0) -> np.ndarray:
    """A colour gradient with a white corner, which shows the orientation: uint8 [48, 64, 3]."""
    y, x = np.mgrid[:48, :64]
    image = np.stack([x * 4, y * 5, np.full_like(x, 60 + seed)], axis=2).astype(np.uint8)
    image[:12, :12] = 255
    return image


def jpeg(**options: Any) -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray(pixels()).save(file, "JPEG", quality=95, **options)
    return file.getvalue()


def cut_of(folder: Path, data: bytes) -> Path:
    (folder / "a.jpg").write_bytes(data)
    return folder / "a.jpg"


def command(source: Path, style: Path, *more: str) -> list[str]:
    out = source.parent / "out"
    return ["basic", str(source), "-o", str(out), "--style", str(style), *NO_STEPS, *more]


def shoot(folder: Path, *names: str) -> Path:
    """Make a folder of photos with these names; other files hold a few bytes."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if name.lower().endswith((".jpg", ".jpeg")):
            (folder / name).write_bytes(jpeg())
        elif name.endswith((".png", ".tif")):
            PIL.Image.fromarray(pixels()).save(folder / name)
        else:
            (folder / name).write_bytes(b"no photo")
    return folder


# HEIC


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_heic_rotated_by_container_and_exif_is_rotated_once(
    tmp_path: Path, orientation: int
) -> None:
    path = write_heic(tmp_path / "IMG_1.HEIC", pixels(), orientation=orientation)
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    PIL.Image.fromarray(pixels()).save(tmp_path / "a.png", exif=exif)
    expected, found = (media.read_picture(file) for file in (tmp_path / "a.png", path))
    assert expected.shape == found.shape
    assert np.abs(expected - found).mean() < 0.01
    clip = media.probe(path)
    assert (clip.kind, clip.height, clip.width) == ("picture", *expected.shape[:2])


@pytest.mark.parametrize("orientation", [1, 3, 6, 7])
def test_an_avif_is_rotated_once(tmp_path: Path, orientation: int) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    for name in ("a.png", "a.avif"):
        PIL.Image.fromarray(pixels()).save(tmp_path / name, exif=exif)
    expected, found = (media.read_picture(tmp_path / name) for name in ("a.png", "a.avif"))
    assert expected.shape == found.shape
    assert np.abs(expected - found).mean() < 0.03


def test_metadata_of_a_heic_is_copied_without_the_orientation(tmp_path: Path) -> None:
    source, part = write_heic(tmp_path / "a.heic", pixels(), orientation=6), tmp_path / "part.jpg"
    clip = media.probe(source)
    frames = media.read(clip, range(1))
    assert media.encode(clip, range(1), frames, tmp_path / "out.jpg", part) == []
    with PIL.Image.open(part) as picture:
        assert picture.size == (48, 64)
        exif = picture.getexif()
        assert (exif[0x010F], exif.get(0x0112)) == ("Maker", None)
        assert exif.get_ifd(0x8769)[0x9003] == "2020:01:01 00:00:00"
        assert exif.get_ifd(0x8825)[1] == "N"


def test_exif_orientation_of_a_heic_is_ignored(tmp_path: Path) -> None:
    path = write_heic(tmp_path / "a.heic", pixels(), orientation=6)
    data = path.read_bytes()
    assert data.count(b"irot") == 1
    path.write_bytes(data.replace(b"irot", b"free"))
    assert media.read_picture(path).shape == (48, 64, 3)


def test_a_heic_of_brand_mif1_is_recognised(tmp_path: Path) -> None:
    path = write_heic(tmp_path / "a.heif", pixels())
    data = bytearray(path.read_bytes())
    data[8:12] = b"mif1"
    path.write_bytes(data)
    assert media.probe(path).kind == "picture"
    assert np.abs(media.read_picture(path) - pixels() / 255).mean() < 0.01


def test_a_heic_of_ten_bits_keeps_them(tmp_path: Path) -> None:
    words = np.ascontiguousarray(ramp())
    picture = pillow_heif.from_bytes("RGB;16", (96, 24), words.tobytes())
    picture.save(tmp_path / "a.heic", quality=-1, chroma=444, matrix_coefficients=0)
    clip = media.probe(tmp_path / "a.heic")
    assert clip.depth == 10
    image = media.read_picture(tmp_path / "a.heic")
    np.testing.assert_allclose(image, words / 65535, atol=2 / 1023)
    assert len(np.unique(image[..., 0])) > 700


def test_an_hdr_heic_is_converted_to_srgb(tmp_path: Path) -> None:
    white = round(0.5807 * 65535)  # PQ code of 203 nits, the white of a standard picture
    words = np.full((24, 96, 3), white, np.uint16)
    picture = pillow_heif.from_bytes("RGB;16", (96, 24), words.tobytes())
    picture.save(
        tmp_path / "a.hif", format="HEIF", quality=-1, chroma=444, color_primaries=9,
        transfer_characteristics=16, matrix_coefficients=9, full_range_flag=1,
    )  # fmt: skip
    assert media.read_picture(tmp_path / "a.hif").mean() > 0.85


@pytest.mark.parametrize("cut", [24, 100, 300, -300, -60, -1])
def test_a_damaged_heic_is_reported_as_damaged(tmp_path: Path, cut: int) -> None:
    path = write_heic(tmp_path / "a.heic", pixels())
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(MediaError, match=r"^[^\n]*a\.heic: [^\n]*damaged or cut short[^\n]*$"):
        media.probe(path)


def test_a_heic_with_an_offset_beyond_its_end_is_refused_in_one_line(tmp_path: Path) -> None:
    path = write_heic(tmp_path / "a.heic", pixels())
    data = bytearray(path.read_bytes())
    data[data.index(b"iloc") + 16] ^= 0x40  # the highest byte of the offset of the picture's data
    path.write_bytes(data)
    with pytest.raises(MediaError, match="damaged or cut short") as caught:
        media.probe(path)
    assert "\n" not in str(caught.value)


def test_all_photos_of_a_phone_folder_are_stylised(
    tmp_path: Path, style: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shoot(tmp_path / "phone", "IMG_1.JPG")
    write_heic(folder / "IMG_2.HEIC", pixels(9))
    assert main(command(folder, style)) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"IMG_1.JPG", "IMG_2.png"}
    assert "left out" not in capsys.readouterr().err


# Camera raw and other files left out


@pytest.mark.parametrize("more", [(), ("-r",)])
def test_files_left_out_of_a_folder_are_named_in_one_line(
    tmp_path: Path, style: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...]
) -> None:
    names = ("1.jpg", "2.CR2", "3.nef", "4.dng", "5.RAF", "6.orf", "7.rw2", "8.cr3", "notes.txt")
    folder = shoot(tmp_path / "in", *names, ".hidden", "Thumbs.db", "@eaDir/1.jpg")
    assert main(command(folder, style, *more)) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "left out: 2" in line]
    assert all(name in line for name in names[1:])
    assert "developed" in line
    assert not any(name in line for name in ("1.jpg", "hidden", "Thumbs", "eaDir"))


def test_a_dry_run_of_a_batch_names_left_out_files(
    tmp_path: Path, style: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shoot(tmp_path / "in", "1.jpg", "2.CR2")
    assert main(command(folder, style, "-r", "--dry-run")) == 0
    assert "left out: 2.CR2" in capsys.readouterr().err


def test_a_long_list_of_left_out_files_is_shortened_and_counted(tmp_path: Path) -> None:
    shoot(tmp_path / "in", "a.jpg", *(f"{index}.arw" for index in range(1000)))
    (note,) = media.probe(tmp_path / "in").notes
    assert "0.arw, 1.arw, 2.arw" in note
    assert "and 980 more" in note
    assert len(note) < 400


def test_an_error_for_a_folder_of_raw_files_names_them(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"no picture in it \(left out: a\.cr2 .*developed"):
        media.probe(shoot(tmp_path / "in", "a.cr2"))


@pytest.mark.parametrize("name", ["a.NEF", "a.cr3", "a.raf"])
def test_a_raw_file_is_refused_and_its_thumbnail_not_used(tmp_path: Path, name: str) -> None:
    PIL.Image.fromarray(pixels()).save(tmp_path / name, format="TIFF")
    for read in (media.probe, media.read_picture):
        with pytest.raises(MediaError, match="camera raw data; develop it"):
            read(tmp_path / name)


@pytest.mark.parametrize("tags", [{50706: b"\1\4\0\0"}, {254: 1, 330: 8}])
def test_a_renamed_raw_file_is_recognised_by_its_tags(tmp_path: Path, tags: dict[int, Any]) -> None:
    PIL.Image.fromarray(pixels()).save(tmp_path / "a.tif", tiffinfo=tags)
    with pytest.raises(MediaError, match="camera raw data"):
        media.probe(tmp_path / "a.tif")


# JPEG without an end marker


@pytest.mark.parametrize(
    "options",
    [{}, {"progressive": True}, {"restart_marker_blocks": 2}, {"optimize": True}],
    ids=str,
)
def test_a_jpeg_without_end_marker_is_read_and_noted(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    whole = media.read_picture(cut_of(tmp_path, jpeg(**options)))
    assert media.probe(tmp_path / "a.jpg").notes == ()
    for cut in (1, 2):
        path = cut_of(tmp_path, jpeg(**options)[:-cut])
        assert media.probe(path).notes == (
            "a.jpg: the end marker is missing but all pixels are there: read as whole",
        )
        np.testing.assert_array_equal(media.read_picture(path), whole)


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"restart_marker_blocks": 2}], ids=str
)
def test_a_jpeg_with_missing_pixels_is_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    data = jpeg(**options)
    for cut in (*range(3, 40), len(data) // 2):
        with pytest.raises(MediaError, match="damaged or cut short"):
            media.probe(cut_of(tmp_path, data[:-cut]))


def test_a_jpeg_cut_between_scans_or_restarts_is_refused(tmp_path: Path) -> None:
    scans = jpeg(progressive=True)
    (tmp_path / "a.jpg").write_bytes(scans[: scans.rindex(b"\xff\xda")])
    with pytest.raises(MediaError, match="damaged or cut short"):
        media.probe(tmp_path / "a.jpg")
    restarts = jpeg(restart_marker_blocks=2)
    (tmp_path / "a.jpg").write_bytes(restarts[: restarts.rindex(b"\xff\xd3")])
    with pytest.raises(MediaError, match="damaged or cut short"):
        media.probe(tmp_path / "a.jpg")


# Damaged photos among others


def test_all_bad_photos_are_named_with_a_remedy_before_any_work(
    tmp_path: Path, style: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shoot(tmp_path / "roll", "1.jpg", "5.jpg")
    (folder / "2.jpg").write_bytes(jpeg()[:-2])
    (folder / "3.jpg").write_bytes(jpeg()[:200])
    (folder / "4.jpg").write_bytes(jpeg()[:-300])
    (folder / "6.png").write_text("words")
    assert main(command(folder, style)) == 3
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "expected 6 whole pictures, got 3 that cannot be used: 3.jpg (" in line
    assert all(name in line for name in ("3.jpg", "4.jpg", "6.png (a file of another kind)"))
    assert not any(name in line for name in ("1.jpg", "2.jpg", "5.jpg"))
    assert line.endswith("add -r to go on without them")
    assert not (tmp_path / "out").exists()
    assert main(command(folder, style, "-r")) == 1
    assert {path.name for path in (tmp_path / "out").glob("*.*")} >= {"1.jpg", "2.jpg", "5.jpg"}
    assert "2.jpg: the end marker is missing" in capsys.readouterr().err


def test_bad_frames_of_a_sequence_are_named_without_r(
    tmp_path: Path, style: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shoot(tmp_path / "in", "1.jpg", "2.jpg")
    (folder / "3.jpg").write_bytes(jpeg()[:200])
    arguments = command(folder, style, "--rate", "5")
    assert main(arguments) == 3
    line = capsys.readouterr().err.strip()
    assert "3.jpg" in line
    assert "-r " not in line


# Picture codecs in a batch


@pytest.mark.parametrize(
    ("codec", "kind", "suffix"),
    [
        ("jpg", "JPEG", ".jpg"),
        ("png", "PNG", ".png"),
        ("tiff", "TIFF", ".tiff"),
        ("webp", "WEBP", ".webp"),
    ],
)
def test_a_codec_for_stills_works_in_a_batch_as_in_a_folder(
    tmp_path: Path,
    style: Path,
    capsys: pytest.CaptureFixture[str],
    codec: str,
    kind: str,
    suffix: str,
) -> None:
    folder = shoot(tmp_path / "in", "a.png", "b.jpg", "c.JPEG", "sub/d.tif")
    assert main(command(folder, style, "-r", "--codec", codec)) == 0
    made = [
        path
        for path in (tmp_path / "out").rglob("*.*")
        if path.is_file() and ".vidstyle" not in path.parts
    ]
    assert len(made) == 4
    for path in made:
        with PIL.Image.open(path) as picture:
            assert picture.format == kind
        assert path.suffix.lower() in (suffix, {".jpg": ".jpeg", ".tiff": ".tif"}.get(suffix))
    assert "was not used" not in capsys.readouterr().err
    assert main(command(folder, style, "-r", "--codec", codec, "--json")) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (summary["done"], summary["skipped"]) == (0, 4)


def test_a_codec_for_stills_is_not_used_for_videos_of_a_batch_with_a_warning(
    tmp_path: Path, style: Path, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shoot(tmp_path / "in", "a.png")
    clip.rename(folder / "clip.mp4")
    assert main(command(folder, style, "-r", "--codec", "jpg")) == 0
    assert media.probe(tmp_path / "out" / "clip.mp4").kind == "video"
    assert media.probe(tmp_path / "out" / "a.png.jpg").kind == "picture"
    assert "clip.mp4: --codec jpg is for stills" in capsys.readouterr().err


def test_a_codec_that_is_the_outputs_own_is_used(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", ramp())
    clip, part = media.probe(tmp_path / "a.png"), tmp_path / "part.tif"
    frames = media.read(clip, range(1))
    encoding = media.EncodingOptions(codec="tiff")
    assert media.encode(clip, range(1), frames, tmp_path / "out.tif", part, encoding) == []
