"""Reading masks and maps: values, alpha, 16 bits; assignment to frames."""

from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import PIL.Image
import PIL.ImageCms
import PIL.ImageOps
import pytest

from vidstyle.errors import GuideError, MediaError
from vidstyle.guides.files import GuideFile, open_guide, read_rgba
from vidstyle.media import Clip

GREYS = np.array([[0, 51, 255], [102, 153, 204]], np.uint8)
COLOURS = np.stack([GREYS, 255 - GREYS, GREYS // 3], axis=2)
ALPHA = np.array([[0, 255, 128], [255, 255, 7]], np.uint8)


def source(frames: int, kind: str = "video", numbers: list[int] | None = None) -> Clip:
    """Return a source clip: only the count and the names of its pictures matter."""
    files = tuple(Path(f"shot_{number:04d}.jpg") for number in numbers or ())
    return Clip(
        path=Path("clip.mp4"),
        kind=kind,
        width=3,
        height=2,
        frames=frames,
        counted=True,
        files=files,
    )


def write(folder: Path, names: list[str]) -> Path:
    """Write a grey picture for each name: 0, 10, 20, ..."""
    folder.mkdir(exist_ok=True)
    for place, name in enumerate(names):
        PIL.Image.new("L", (3, 2), 10 * place).save(folder / name)
    return folder


def write_movie(
    path: Path, pixels: list[np.ndarray[Any, Any]], codec: str, form: str, kept: str = ""
) -> Path:
    """Write a lossless video. form: pixel format of the input; kept: of the file, if different."""
    with av.open(str(path), "w") as out:
        video: Any = out.add_stream(codec, rate=25)
        video.height, video.width, video.pix_fmt = *pixels[0].shape[:2], kept or form
        for frame in pixels:
            out.mux(video.encode(av.VideoFrame.from_ndarray(frame, format=form)))
        out.mux(video.encode(None))
    return path


def shades(drawn: GuideFile, indices: range) -> dict[int, int]:
    """Return the grey of each frame's picture, in 255ths."""
    return {frame: round(255 * float(d[0, 0, 0])) for frame, d in drawn.read(indices)}


def test_grey_palette_and_one_bit_are_opaque_colours(tmp_path: Path) -> None:
    grey = PIL.Image.fromarray(GREYS)
    grey.save(tmp_path / "grey.png")
    (grey.point(lambda v: 255 * (v > 100))).convert("1").save(tmp_path / "bit.png")
    PIL.Image.fromarray(COLOURS).quantize(6).save(tmp_path / "palette.png")
    for name, wanted in [
        ("grey", np.repeat(GREYS[..., None], 3, axis=2)),
        ("bit", np.repeat(255 * (GREYS > 100)[..., None], 3, axis=2)),
        ("palette", COLOURS),
    ]:
        drawing = read_rgba(tmp_path / f"{name}.png")
        assert (drawing.shape, drawing.dtype) == ((2, 3, 4), np.float32)
        np.testing.assert_allclose(drawing[..., :3], wanted / 255, atol=1e-6)
        assert drawing[..., 3].min() == 1


def test_colour_under_a_transparent_pixel_is_kept(tmp_path: Path) -> None:
    PIL.Image.fromarray(np.dstack([COLOURS, ALPHA])).save(tmp_path / "a.png")
    PIL.Image.fromarray(np.dstack([GREYS, ALPHA])).save(tmp_path / "la.png")
    drawing, grey = read_rgba(tmp_path / "a.png"), read_rgba(tmp_path / "la.png")
    np.testing.assert_allclose(drawing, np.dstack([COLOURS, ALPHA]) / 255, atol=1e-6)
    np.testing.assert_allclose(grey[..., 2:], np.dstack([GREYS, ALPHA]) / 255, atol=1e-6)


def test_a_transparent_palette_entry_is_alpha_0(tmp_path: Path) -> None:
    picture = PIL.Image.fromarray(COLOURS).quantize(6)
    hidden = picture.getpixel((0, 0))
    picture.save(tmp_path / "a.png", transparency=hidden)
    alpha = read_rgba(tmp_path / "a.png")[..., 3]
    assert alpha[0, 0] == 0
    assert alpha.sum() == 5


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bits_are_kept(tmp_path: Path, suffix: str, channels: int) -> None:
    deep = np.arange(4 * 5 * channels).reshape(4, 5, channels).astype(np.uint16) * 257 + 3
    swapped = deep[..., [2, 1, 0, 3][:channels]] if channels > 1 else deep
    path = tmp_path / f"a{suffix}"
    assert cv2.imwrite(str(path), swapped)
    drawing = read_rgba(path)
    wanted = np.broadcast_to(deep, (4, 5, 3)) if channels == 1 else deep
    np.testing.assert_allclose(drawing[..., : max(3, channels)], wanted / 65535, atol=1e-7)
    assert channels == 4 or drawing[..., 3].min() == 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("deep", [False, True])
def test_a_picture_is_upright(tmp_path: Path, orientation: int, deep: bool) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    plain = PIL.Image.fromarray(COLOURS)
    plain.save(tmp_path / "a.png", exif=exif)
    wanted = PIL.ImageOps.exif_transpose(PIL.Image.open(tmp_path / "a.png"))
    if deep:
        chunk = _exif_chunk((tmp_path / "a.png").read_bytes())
        cv2.imwrite(str(tmp_path / "a.png"), COLOURS[..., ::-1].astype(np.uint16) * 257)
        data = (tmp_path / "a.png").read_bytes()
        (tmp_path / "a.png").write_bytes(data[:33] + chunk + data[33:])
    drawing = read_rgba(tmp_path / "a.png")
    np.testing.assert_allclose(drawing[..., :3], np.asarray(wanted) / 255, atol=1e-6)


def _exif_chunk(data: bytes) -> bytes:
    place = data.index(b"eXIf")
    size = int.from_bytes(data[place - 4 : place])
    return data[place - 4 : place + 8 + size]


def test_a_colour_profile_is_ignored(tmp_path: Path) -> None:
    profile = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("LAB")).tobytes()
    PIL.Image.fromarray(COLOURS).save(tmp_path / "a.png", icc_profile=profile)
    drawing = read_rgba(tmp_path / "a.png")
    np.testing.assert_allclose(drawing[..., :3], COLOURS / 255, atol=1e-6)


def test_an_error_names_a_damaged_map(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 65535, (20, 20, 3)).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), noise)
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(MediaError, match=r"a\.png.*damaged or cut short"):
        read_rgba(tmp_path / "a.png")


def test_one_picture_is_for_all_frames(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", ["x.png", "000007.png"])
    drawn = open_guide(folder / "000007.png", source(30), range(30))
    assert (drawn.still, drawn.keys) == (True, None)
    assert shades(drawn, range(28, 30)) == {28: 10, 29: 10}
    first, second = (drawing for _, drawing in drawn.read(range(2)))
    assert first is second
    assert not first.flags.writeable
    assert drawn.name(12).endswith("000007.png")


def test_as_many_pictures_as_frames_are_in_natural_order(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", ["p2.png", "p10.png", "p1.png"])
    for path in (folder, folder / "p%d.png"):
        drawn = open_guide(path, source(3), range(1, 3))
        assert (drawn.keys, drawn.still, drawn.frames(range(1, 3))) == (None, False, (1, 2))
        assert shades(drawn, range(3)) == {0: 20, 1: 0, 2: 10}
        assert shades(drawn, range(1, 3)) == {1: 0, 2: 10}
        assert drawn.name(2).endswith("p10.png")
        np.testing.assert_array_equal(drawn.at(2)[..., 0], np.float32(10 / 255))


def test_fewer_numbered_pictures_are_key_frames_counted_from_0(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", ["k2_024.png", "k9_000.png", "000008.png"])
    drawn = open_guide(folder, source(25), range(25))
    assert drawn.keys == (0, 8, 24)
    assert shades(drawn, range(25)) == {0: 10, 8: 20, 24: 0}
    assert shades(drawn, range(1, 24)) == {8: 20}
    assert shades(drawn, range(9, 12)) == {}
    with pytest.raises(KeyError):
        drawn.at(9)


def test_key_frame_numbers_count_from_the_start_of_the_source(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", ["3.png", "9.png"])
    assert open_guide(folder, source(20), range(5, 15)).keys == (3, 9)
    assert open_guide(folder, source(20), range(5, 7)).keys == (3, 9)  # as many, but with gaps


def test_one_numbered_picture_in_a_folder_is_the_first_mask_of_a_clip(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", ["000000.png"])
    assert open_guide(folder, source(20), range(20)).keys == (0,)
    assert open_guide(folder, source(20, "photos"), range(20)).still
    assert open_guide(write(tmp_path / "n", ["x.png"]), source(20), range(20)).still


def test_photos_are_matched_with_pictures_by_name(tmp_path: Path) -> None:
    photos = source(3, "photos", [3, 1, 2])  # shot_0003.jpg, ...
    folder = write(tmp_path / "m", ["shot_0001.png", "shot_0002.png", "shot_0003.png", "more.png"])
    assert shades(open_guide(folder, photos, range(3)), range(3)) == {0: 20, 1: 0, 2: 10}
    write(folder, ["shot_0003.png", "shot_0003.jpg"])  # the whole name goes first
    drawn = open_guide(folder, photos, range(3))
    assert [drawn.name(frame)[-8:] for frame in range(3)] == ["0003.jpg", "0001.png", "0002.png"]
    assert drawn.size(1) == (3, 2)
    (folder / "shot_0001.png").unlink()
    with pytest.raises(GuideError, match=r"shot_0001\.jpg: expected its mask or map in .*m, named"):
        open_guide(folder, photos, range(3))
    assert shades(open_guide(folder, photos, range(2, 3)), range(2, 3)) == {2: 10}
    unlike = write(tmp_path / "n", ["a.png", "b.png", "c.png"])
    assert shades(open_guide(unlike, photos, range(3)), range(3)) == {0: 0, 1: 10, 2: 20}


def test_a_series_with_a_missing_picture_is_key_frames(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", [f"{n}.png" for n in range(6) if n != 3])
    assert open_guide(folder, source(6), range(6)).keys == (0, 1, 2, 4, 5)


def test_key_frames_of_a_numbered_sequence_have_its_numbers(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", ["0102.png", "0104.png"])
    numbered = source(5, "sequence", [101, 102, 103, 104, 105])
    assert open_guide(folder, numbered, range(5)).keys == (1, 3)
    others = write(tmp_path / "n", ["0.png", "4.png"])
    assert open_guide(others, numbered, range(5)).keys == (0, 4)


def test_as_many_pictures_as_frames_of_the_part_start_with_the_part(tmp_path: Path) -> None:
    for folder in (
        write(tmp_path / "n", ["0.png", "1.png", "2.png"]),
        write(tmp_path / "w", ["a.png", "b.png", "c.png"]),
    ):
        drawn = open_guide(folder, source(20), range(5, 8))
        assert (drawn.first, drawn.keys) == (5, None)
        assert shades(drawn, range(5, 8)) == {5: 0, 6: 10, 7: 20}
        assert shades(drawn, range(7, 8)) == {7: 20}


@pytest.mark.parametrize(
    ("names", "kind", "sentence"),
    [
        (["a.png", "b.png"], "video", r"each of the 5 frames of clip\.mp4, got 2; name key frames"),
        (["a.png", "b.png"], "photos", "got 2; give one picture for all, or one for each"),
        (["1.png", "2.png"], "photos", "got 2; give one picture for all, or one for each"),
        (["1.png", "5.png"], "video", r"5\.png: .* from 0 to 4, got 5; name key frames"),
        (["1.png", "01.png"], "video", r"got 01\.png and 1\.png, both with the number 1"),
        ([f"{n}.png" for n in range(6)], "video", "got 6; remove the extra ones"),
    ],
)
def test_wrong_counts_and_numbers_are_refused(
    tmp_path: Path, names: list[str], kind: str, sentence: str
) -> None:
    folder = write(tmp_path / "m", names)
    with pytest.raises(GuideError, match=sentence) as caught:
        open_guide(folder, source(5, kind), range(5))
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_error_names_both_expected_counts_of_a_part(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", ["a.png", "b.png"])
    with pytest.raises(
        GuideError, match=r"each of the 5 frames of .*, or 3 for the part to stylise"
    ):
        open_guide(folder, source(5), range(1, 4))


def greys(count: int) -> list[np.ndarray[Any, Any]]:
    return [np.full((32, 48, 3), 40 * i, np.uint8) for i in range(count)]


def test_a_video_has_a_picture_for_each_frame_of_the_source_or_of_the_part(tmp_path: Path) -> None:
    path = write_movie(tmp_path / "m.mkv", [grey[..., 0] for grey in greys(4)], "ffv1", "gray")
    whole = open_guide(path, source(4), range(1, 3))
    assert shades(whole, range(1, 4)) == {1: 40, 2: 80, 3: 120}
    assert [name for name, _ in whole.pictures()] == [f"{path}, picture {i}" for i in range(4)]
    part = open_guide(path, source(9), range(3, 7))
    assert shades(part, range(4, 6)) == {4: 40, 5: 80}
    with pytest.raises(GuideError, match=r"m\.mkv: .* the 9 frames .* or 5 for .*, got 4; make it"):
        open_guide(path, source(9), range(5))


def test_the_alpha_of_a_video_is_kept(tmp_path: Path) -> None:
    frames = [np.dstack([grey, np.full((32, 48), 200, np.uint8)]) for grey in greys(3)]
    frames[1][:16, :, 3] = 255
    drawn = open_guide(write_movie(tmp_path / "m.mkv", frames, "ffv1", "bgra"), source(3), range(3))
    assert drawn.at(1)[:16, :, 3].min() == 1
    for frame, drawing in drawn.read(range(1, 3)):
        np.testing.assert_allclose(drawing[..., :3], 40 * frame / 255, atol=1e-6)
        np.testing.assert_allclose(drawing[16:, :, 3], 200 / 255, atol=1e-6)


def test_a_video_of_more_than_8_bits_keeps_them_with_its_alpha(tmp_path: Path) -> None:
    deep = np.full((32, 48, 4), 65535, np.uint16)
    deep[..., 3] = np.linspace(0, 65535, 48).astype(np.uint16)
    path = write_movie(tmp_path / "m.mkv", [deep] * 2, "ffv1", "rgba64le", "gbrap12le")
    drawing = open_guide(path, source(2), range(2)).at(1)
    assert drawing.max() > 0.999
    np.testing.assert_allclose(drawing[0, :, 3], np.linspace(0, 1, 48), atol=1 / 3000)


def test_an_animation_is_a_series_and_keeps_its_transparency(tmp_path: Path) -> None:
    frames = []
    for step in range(3):
        pixels = np.zeros((8, 12, 4), np.uint8)
        pixels[2 : 4 + step, 3:9] = (255, 0, 0, 255)
        frames.append(PIL.Image.fromarray(pixels))
    frames[0].save(
        tmp_path / "m.gif", save_all=True, append_images=frames[1:], duration=40, disposal=2
    )
    drawn = open_guide(tmp_path / "m.gif", source(3), range(3))
    assert [int(d[..., 3].sum()) for _, d in drawn.read(range(3))] == [12, 18, 24]
    with pytest.raises(GuideError, match="got 3"):
        open_guide(tmp_path / "m.gif", source(4), range(4))


def test_sizes_are_of_each_picture_upright(tmp_path: Path) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    PIL.Image.new("L", (30, 20)).save(tmp_path / "1.png")
    PIL.Image.new("L", (30, 20)).save(tmp_path / "3.png", exif=exif)
    drawn = open_guide(tmp_path, source(4), range(4))
    assert [drawn.size(key) for key in drawn.keys or ()] == [(30, 20), (20, 30)]


def test_an_error_names_a_file_that_is_not_a_picture(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("only words")
    with pytest.raises(MediaError, match=r"a\.txt"):
        open_guide(tmp_path / "a.txt", source(4), range(4))
    with pytest.raises(MediaError, match="no such file"):
        open_guide(tmp_path / "missing.png", source(4), range(4))
