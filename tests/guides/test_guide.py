"""Guides from masks and label maps, and from arrays; resizing and validation."""

import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from vidstyle import media
from vidstyle.errors import GuideError
from vidstyle.guides.files import GuideFile, open_guide, read_rgba
from vidstyle.guides.guide import (
    Guide,
    check_covers,
    check_sizes,
    hard_labels,
    hard_planes,
    map_guide,
    map_labels,
    mask_plane,
    resize_labels,
    resize_to_frame,
)
from vidstyle.guides.palette import CLEAR, Match, Palette, label_pixels, match_palettes, palette_of
from vidstyle.image import is_opaque
from vidstyle.media import Clip

FOOTAGE = Path(os.environ.get("VIDSTYLE_FOOTAGE") or "absent")


def saved(path: Path, pixels: np.ndarray, mode: str | None = None) -> np.ndarray:
    """Save pixels as a mask, by Pillow, and read them back."""
    picture = PIL.Image.fromarray(pixels)
    (picture.convert(mode) if mode else picture).save(path)
    return read_rgba(path)


def ramp(top: int = 255) -> np.ndarray:
    return np.linspace(0, top, 24).round().astype(np.uint8).reshape(4, 6)


def opened(path: Path, frames: int = 3) -> GuideFile:
    clip = Clip(path=Path("c.mp4"), kind="video", width=6, height=4, frames=frames, counted=True)
    return open_guide(path, clip, range(frames))


def test_a_grey_mask_has_exactly_its_grey_values_as_weights(tmp_path: Path) -> None:
    plane = mask_plane(saved(tmp_path / "m.png", ramp()))
    assert plane.dtype == np.float32
    np.testing.assert_array_equal(plane, ramp().astype(np.float32) / np.float32(255))


def test_a_16_bit_mask_has_more_than_256_weights(tmp_path: Path) -> None:
    deep = np.arange(0, 65536, 64, dtype=np.uint16).reshape(32, 32)
    plane = mask_plane(saved(tmp_path / "m.png", deep))
    np.testing.assert_allclose(plane, deep / 65535, atol=1e-6)
    assert len(np.unique(plane)) == 1024


def test_one_bit_and_palette_masks_are_expanded(tmp_path: Path) -> None:
    hard = np.where(ramp() > 100, 255, 0).astype(np.uint8)
    for name, mode in (("bit", "1"), ("palette", "P")):
        plane = mask_plane(saved(tmp_path / f"{name}.png", hard, mode))
        np.testing.assert_array_equal(plane, hard / 255)


def test_a_colour_mask_is_its_luminance(tmp_path: Path) -> None:
    pixels = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]], np.uint8)
    plane = mask_plane(saved(tmp_path / "m.png", pixels))
    np.testing.assert_allclose(plane, [[0.2126, 0.7152, 0.0722, 1]], atol=1e-6)


def test_an_alpha_is_the_weight_unless_it_is_1_everywhere(tmp_path: Path) -> None:
    black, full = np.zeros((4, 6, 3), np.uint8), np.full((4, 6), 255, np.uint8)
    clear = mask_plane(saved(tmp_path / "a.png", np.dstack([black, ramp()])))
    np.testing.assert_allclose(clear, ramp() / 255, atol=1e-6)
    grey = np.repeat(ramp()[..., None], 3, axis=2)
    solid = mask_plane(saved(tmp_path / "b.png", np.dstack([grey, full])))
    np.testing.assert_allclose(solid, ramp() / 255, atol=1e-6)


@pytest.mark.parametrize("source", [(854, 480), (1920, 1080), (640, 481), (333, 250)])
@pytest.mark.parametrize("side", [96, 160, 480, 1000])
@pytest.mark.parametrize("by_alpha", [False, True])
def test_a_resized_mask_is_still_exactly_0_and_1_off_its_edge(
    source: tuple[int, int], side: int, by_alpha: bool
) -> None:
    """Resizing turns some alphas of 1 into 1 - 6e-8: they are still opaque."""
    picture = np.ones((source[1], source[0], 4), np.float32)
    picture[:, : source[0] // 2, :3] = 0
    if by_alpha:
        picture = picture[..., [3, 3, 3, 0]]
    plane = mask_plane(resize_to_frame(picture, side, round(side * source[1] / source[0]), "m.png"))
    assert not plane[:, : side // 2 - 4].any()
    np.testing.assert_allclose(plane[:, side // 2 + 4 :], 1, atol=1e-6)


def test_one_16_bit_step_below_1_is_not_opaque() -> None:
    opaque = np.ones((4, 6), np.float32)
    assert is_opaque(opaque)
    assert is_opaque(opaque - np.float32(2e-7))
    for steps in (255, 65535):
        clear = opaque.copy()
        clear[1, 2] -= np.float32(1 / steps)
        assert not is_opaque(clear)


def test_an_inverted_mask_is_its_complement(tmp_path: Path) -> None:
    picture = saved(tmp_path / "m.png", ramp())
    np.testing.assert_allclose(mask_plane(picture, invert=True), 1 - mask_plane(picture))


def test_feather_blurs_an_edge_with_half_of_it_as_sigma() -> None:
    picture = np.zeros((9, 81, 4), np.float32)
    picture[..., 3] = 1
    picture[:, 40:, :3] = 1
    plane = mask_plane(picture, feather=8)
    np.testing.assert_array_equal(plane[:, :24], 0)
    np.testing.assert_allclose(plane[:, 56:], 1, atol=1e-6)
    steps = np.diff(plane[4])
    relative_paths = np.arange(80) - (steps * np.arange(80)).sum()
    assert np.sqrt((steps * relative_paths**2).sum()) == pytest.approx(4, rel=0.02)
    np.testing.assert_allclose(plane, plane[::-1])  # the border is continued: no dark rim
    np.testing.assert_allclose(plane.min(axis=0), plane.max(axis=0), atol=1e-6)
    np.testing.assert_array_equal(mask_plane(picture, feather=0), picture[..., 0])


def test_a_guide_is_made_of_mask_arrays() -> None:
    planes = [np.full((4, 6), part, np.float32) for part in (0.25, 0.75)]
    guide = Guide.from_arrays(planes, ["sky", "ground"])
    assert (guide.planes.shape, guide.names) == ((4, 6, 2), ("sky", "ground"))
    assert guide.planes[0, 0].tolist() == [0.25, 0.75]
    assert Guide.from_arrays(planes).names == ("mask 1", "mask 2")
    with pytest.raises(GuideError, match="expected float32"):
        Guide(planes=guide.planes, names=("sky",))


@pytest.mark.parametrize("of", [np.uint8, np.uint16, np.float16, np.float64, bool])
def test_mask_arrays_of_all_types_have_the_same_weights(of: type) -> None:
    full = np.iinfo(of).max if np.issubdtype(of, np.integer) else 1
    mask = np.zeros((4, 6), of)
    mask[:, 3:] = full
    planes = Guide.from_arrays([mask]).planes
    assert planes.dtype == np.float32
    np.testing.assert_array_equal(planes[..., 0], np.arange(6) >= np.full((4, 1), 3))


def test_a_uint8_mask_array_means_the_same_as_its_file(tmp_path: Path) -> None:
    plane = Guide.from_arrays([ramp()]).planes[..., 0]
    np.testing.assert_array_equal(plane, mask_plane(saved(tmp_path / "m.png", ramp())))


@pytest.mark.parametrize(
    ("masks", "names", "sentence"),
    [
        (ramp(), None, "masks: expected a list of arrays, got ndarray"),
        ([], None, "masks: expected a list of arrays"),
        ([ramp(), ramp()], ["a"], "names: expected one for each of 2 masks, got 1"),
        ([[0.0]], None, "mask 1: expected an array, got list"),
        (
            [ramp().astype(np.int64)],
            None,
            "mask 1: expected bool, uint8, uint16 or float, got int6",
        ),
        ([ramp().astype(np.float32)], None, "mask 1: expected float .* got values from 0 to 255"),
        (
            [np.full((4, 6), np.nan)],
            None,
            "mask 1: expected float values in 0..1, got values from na",
        ),
        (
            [np.zeros((4, 6, 3), np.uint8)],
            ["sky"],
            r"sky: expected a mask \[H, W\], got \[4, 6, 3\]",
        ),
        ([np.zeros((0, 6), np.uint8)], None, r"expected pixels, got shape \[0, 6\]"),
        ([ramp(), ramp().T], ["a", "b"], r"b: expected the shape of .* \[4, 6\], got \[6, 4\]"),
        ([(ramp() > 100).astype(np.uint8)], None, "expected uint8 weights up to 255, got labels"),
    ],
)
def test_mask_arrays_that_are_no_masks_are_refused(
    masks: object, names: list[str] | None, sentence: str
) -> None:
    with pytest.raises(GuideError, match=sentence):
        Guide.from_arrays(masks, names)


def label_map(*, alpha: bool = False) -> np.ndarray:
    """Return a map of three columns, red, green and black: uint8 [8, 12, 3 or 4]."""
    colours = np.array([[255, 0, 0, 255], [0, 255, 0, 255], [0, 0, 0, 0]], np.uint8)
    return np.repeat(np.tile(colours, (8, 1, 1)), 4, axis=1)[..., : 4 if alpha else 3]


@pytest.mark.parametrize("divisor", [None, np.float32(255)])
def test_a_guide_is_made_of_a_label_map_array(divisor: np.float32 | None) -> None:
    pixels = label_map() if divisor is None else label_map() / divisor
    guide = Guide.from_label_map(pixels, ["#00FF00", "#0000ff", "#ff0000"])
    assert guide.names == ("#00ff00", "#0000ff", "#ff0000")
    expected = np.zeros((8, 12, 3), np.float32)
    expected[:, 4:8, 0] = expected[:, :4, 2] = 1  # no blue; black is in no plane
    np.testing.assert_array_equal(guide.planes, expected)


def test_a_label_map_array_without_colours_has_a_plane_for_each_of_its_own() -> None:
    guide = Guide.from_label_map(label_map())
    assert set(guide.names) == {"#ff0000", "#00ff00", "#000000"}
    np.testing.assert_array_equal(guide.planes.sum(axis=2), 1)
    assert set(Guide.from_label_map(label_map(alpha=True)).names) == {"#ff0000", "#00ff00"}


def test_each_colour_of_a_label_map_array_is_in_one_plane() -> None:
    """#a00000 is within the tolerance of #800000, which the map lacks."""
    pixels = label_map()
    pixels[:, :4, 0] = 160
    guide = Guide.from_label_map(pixels, ["#800000", "#a00000"])
    assert guide.planes[:, :4].mean(axis=(0, 1)).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("pixels", "colors", "sentence"),
    [
        (ramp(), ["#ff0000"], r"label map: expected \[H, W, 3 or 4\], got \[4, 6\]"),
        (label_map().astype(np.float32), None, "label map: expected float values in 0..1"),
        (label_map(), ["red"], "colors: expected .'#0000ff', '#ff0000', ....*'red'"),
        (label_map(), [], "colors: expected"),
        (label_map(), ["#ff0000", "#FF0000"], "colors: expected each colour once"),
        (np.random.default_rng(0).random((64, 64, 3)), None, "expected a map with a flat colour"),
    ],
)
def test_arrays_that_are_no_label_maps_are_refused(
    pixels: np.ndarray, colors: list[str] | None, sentence: str
) -> None:
    with pytest.raises(GuideError, match=sentence):
        Guide.from_label_map(pixels, colors)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_mask_that_covers_nothing_is_refused(tmp_path: Path, level: int) -> None:
    PIL.Image.new("L", (6, 4), level).save(tmp_path / "black.png")
    drawn = opened(tmp_path / "black.png")
    hint = "as 0 and 255" if level else "redraw it, or invert it with --invert-mask"
    with pytest.raises(GuideError, match=rf"black\.png: .* at most 0\.00\d of 1; .*{hint}"):
        check_covers(drawn)
    check_covers(drawn, invert=True)


def test_a_white_mask_covers_everything_and_inverted_nothing(tmp_path: Path) -> None:
    PIL.Image.new("L", (6, 4), 255).save(tmp_path / "white.png")
    drawn = opened(tmp_path / "white.png")
    check_covers(drawn)
    assert mask_plane(drawn.at(0)).min() == 1
    with pytest.raises(GuideError, match="after --invert-mask; leave --invert-mask out"):
        check_covers(drawn, invert=True)


def test_a_series_may_be_black_in_some_frames_but_not_in_all(tmp_path: Path) -> None:
    for frame, level in enumerate((0, 0, 200)):
        PIL.Image.new("L", (6, 4), level).save(tmp_path / f"{frame}.png")
    check_covers(opened(tmp_path))
    PIL.Image.new("L", (6, 4), 0).save(tmp_path / "2.png")
    with pytest.raises(GuideError, match="expected a mask that is white"):
        check_covers(opened(tmp_path))


def test_a_soft_picture_is_resized_by_area_and_keeps_its_mean() -> None:
    plane = np.random.default_rng(0).random((40, 60)).astype(np.float32)
    small = resize_to_frame(plane, 15, 10, "m.png")
    np.testing.assert_allclose(small, plane.reshape(10, 4, 15, 4).mean(axis=(1, 3)), atol=1e-5)
    large = resize_to_frame(plane, 120, 80, "m.png")
    assert large.shape == (80, 120)
    assert plane.min() <= large.min() <= large.max() <= plane.max()
    assert resize_to_frame(np.zeros((40, 60, 4), np.float32), 30, 20, "m.png").shape == (20, 30, 4)


def test_labels_are_not_interpolated() -> None:
    labels = np.zeros((40, 60), np.int16)
    labels[:, 20:], labels[:, 40:] = 5, 9
    for width, height in ((31, 21), (97, 65), (120, 80)):
        resized = resize_labels(labels, width, height, "m.png")
        assert resized.shape == (height, width)
        assert set(np.unique(resized)) == {0, 5, 9}
        assert (np.diff(resized[0]) >= 0).all()
        assert (resized == 5).mean() == pytest.approx(1 / 3, abs=0.03)


def test_a_resized_label_is_the_one_with_most_area() -> None:
    labels = np.array([[3, 3, 7, CLEAR], [3, 7, 7, CLEAR]], np.int16)
    assert resize_labels(labels, 2, 1, "m.png").tolist() == [[3, CLEAR]]


@pytest.mark.parametrize(
    ("own", "frame", "fits"),
    [
        ((854, 480), (512, 288), True),
        ((854, 480), (64, 36), True),  # rounded to even sides
        ((1000, 500), (500, 252), True),
        ((1000, 500), (500, 257), False),
        ((640, 480), (512, 288), False),
        ((480, 854), (512, 288), False),
        ((64, 50), (64, 48), False),
    ],
)
def test_proportions_agree_within_1_percent_or_both_sizes_are_named(
    own: tuple[int, int], frame: tuple[int, int], fits: bool
) -> None:
    soft, hard = np.zeros(own[::-1], np.float32), np.zeros(own[::-1], np.int16)
    if fits:
        assert resize_to_frame(soft, *frame, "m.png").shape == frame[::-1]
        assert resize_labels(hard, *frame, "m.png").shape == frame[::-1]
        return
    sentence = rf"m\.png: .*{frame[0]}x{frame[1]}, got {own[0]}x{own[1]}"
    for call in (
        lambda: resize_to_frame(soft, *frame, "m.png"),
        lambda: resize_labels(hard, *frame, "m.png"),
    ):
        with pytest.raises(GuideError, match=sentence):
            call()


def test_aspect_ratios_of_a_series_are_checked_by_its_headers(tmp_path: Path) -> None:
    for frame, size in enumerate([(60, 40), (120, 80), (60, 50)]):
        PIL.Image.new("L", size).save(tmp_path / f"{frame}.png")
    drawn = opened(tmp_path)
    check_sizes(drawn, range(2), lambda _: (30, 20))
    with pytest.raises(GuideError, match=r"2\.png: .*30x20, got 60x50"):
        check_sizes(drawn, range(3), lambda _: (30, 20))
    check_sizes(drawn, range(3), lambda frame: (60, 50) if frame == 2 else (30, 20))


def test_smooth_edges_of_a_map_get_the_nearest_label_and_are_counted() -> None:
    picture = np.ones((8, 21, 4), np.float32)
    picture[:, :10, :3], picture[:, 10, :3], picture[:, 11:, :3] = 0, 0.5, 1
    palette = Palette("m.png", ("#000000", "#ffffff"), (0.5, 0.5))
    labels, unassigned = map_labels(picture, palette, 21, 8, origin="m.png")
    assert unassigned == pytest.approx(1 / 21)
    assert set(np.unique(labels)) == {0, 1}
    assert (labels[:, :10] == 0).all()
    assert (labels[:, 11:] == 1).all()


def test_a_map_of_other_colours_than_its_series_is_refused() -> None:
    picture = np.ones((8, 8, 4), np.float32)
    palette = Palette("maps/", ("#000000",), (1.0,))
    with pytest.raises(GuideError, match=r"7\.png: expected the colours #000000, got none"):
        map_labels(picture, palette, 8, 8, origin="7.png")


def test_a_guide_has_a_plane_for_each_matched_colour() -> None:
    labels = np.array([[0, 1, 2, CLEAR]], np.int16)
    matches = (Match(2, "#0000ff", ((0, 0),)), Match(0, "#ff0000", ((0, 1),)))
    guide = map_guide(labels, matches)
    assert guide.names == ("#0000ff", "#ff0000")
    assert guide.planes[..., 0].tolist() == [[0, 0, 1, 0]]
    assert guide.planes[..., 1].tolist() == [[1, 0, 0, 0]]


def test_one_hot_planes_and_labels_are_inverse() -> None:
    labels = np.array([[0, 1, 2, CLEAR], [2, 2, 0, 0]], np.int16)
    planes = hard_planes(labels, 3)
    assert (planes.shape, planes.dtype) == ((2, 4, 4), np.float32)
    np.testing.assert_array_equal(planes.sum(axis=2), 1)
    np.testing.assert_array_equal(hard_labels(planes), labels)


@pytest.mark.skipif(not FOOTAGE.is_dir(), reason="VIDSTYLE_FOOTAGE names no folder")
def test_key_masks_of_several_objects_are_read_by_number() -> None:
    source = media.probe(FOOTAGE / "cutie_judo/frames", rate=Fraction(25))
    drawn = open_guide(FOOTAGE / "cutie_judo/masks", source, range(source.frames))
    assert drawn.keys == (0, 5, 8, 13)
    check_sizes(drawn, range(source.frames), lambda _: (512, 288))
    palette = palette_of(drawn.pictures(), "masks")
    assert len(palette.names) == 5
    matches = match_palettes(palette, [palette])
    for frame, picture in drawn.read(range(source.frames)):
        assert label_pixels(picture, palette)[1] == 0
        labels, _ = map_labels(picture, palette, 512, 288, origin=drawn.name(frame))
        guide = map_guide(labels, matches)
        assert guide.planes.shape == (288, 512, 5)
        np.testing.assert_array_equal(guide.planes.sum(axis=2), 1)
