"""Palettes of clean and lossy maps, labels, and matching of colours."""

import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from vidstyle.errors import GuideError, SettingsError, UsageError
from vidstyle.guides.files import RgbaPicture, read_rgba
from vidstyle.guides.palette import (
    CLEAR,
    UNKNOWN,
    Match,
    Palette,
    Region,
    fill_unknown,
    label_pixels,
    match_palettes,
    palette_of,
    parse_regions,
)

SEED = Path(os.environ.get("VIDSTYLE_FOOTAGE") or "absent").parent / "seed"
RED, BLUE, GREY, BLACK = (255, 0, 0), (0, 0, 255), (128, 128, 128), (0, 0, 0)


def drawing(pixels: np.ndarray) -> RgbaPicture:
    """Return uint8 [H, W, 3 or 4] as a RgbaPicture."""
    values = pixels.astype(np.float32) / np.float32(255)
    alpha = np.ones((*values.shape[:2], 1), np.float32)
    return values if values.shape[2] == 4 else np.concatenate([values, alpha], axis=2)


def fields(*colors: tuple[int, int, int], side: int = 20) -> np.ndarray:
    """Return uint8 [side, side · K, 3]: a square of each colour, side by side."""
    return np.concatenate([np.full((side, side, 3), c, np.uint8) for c in colors], axis=1)


def smooth(side: int = 96) -> np.ndarray:
    """A red disc on blue beside a black corner, drawn with smooth edges."""
    large = np.full((4 * side, 4 * side, 3), BLUE, np.uint8)
    y, x = np.mgrid[: 4 * side, : 4 * side] / (4 * side)
    large[(x - 0.4) ** 2 + (y - 0.4) ** 2 < 0.1] = RED
    large[x + y > 1.5] = BLACK
    return np.asarray(PIL.Image.fromarray(large).resize((side, side), PIL.Image.BOX))


def enlarged(pixels: np.ndarray) -> np.ndarray:
    """Return the pixels at 1.5 times the size, blurred as resizing blurs them."""
    size = (pixels.shape[1] * 3 // 2, pixels.shape[0] * 3 // 2)
    return np.asarray(PIL.Image.fromarray(pixels).resize(size, PIL.Image.BICUBIC))


def jpeg(pixels: np.ndarray, quality: int = 60) -> np.ndarray:
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, format="JPEG", quality=quality)
    return np.asarray(PIL.Image.open(file))


def palette(pixels: np.ndarray, origin: str = "map.png") -> Palette:
    return palette_of([(origin, drawing(pixels))], origin)


def named(origin: str, *names: str) -> Palette:
    return Palette(origin=origin, names=names, shares=(1 / len(names),) * len(names))


def test_a_clean_map_keeps_near_and_small_colours() -> None:
    pixels = fields(BLACK, (1, 1, 1), (2, 2, 2), (255, 255, 255))
    pixels[3:6, 3:6] = (200, 0, 100)
    found = palette(pixels)
    assert set(found.names) == {"#000000", "#010101", "#020202", "#ffffff", "#c80064"}
    assert sum(found.shares) == pytest.approx(1)
    labels, unassigned = label_pixels(drawing(pixels), found)
    assert unassigned == 0
    np.testing.assert_array_equal(np.rint(found.colors[labels] * 255), pixels)


def test_two_colours_with_smooth_edges_are_two_colours() -> None:
    y, x = np.mgrid[:120, :120]
    steps = np.clip((x - y / 2) * 2, -1, 1) / 2 + 0.5  # three blends: clean, and yet not labels
    found = palette(np.rint(steps[..., None] * np.array([255, 255, 255])).astype(np.uint8))
    assert set(found.names) == {"#000000", "#ffffff"}


def test_thin_areas_that_are_no_blends_are_labels() -> None:
    pixels = fields(RED, BLUE)
    pixels[10] = (0, 255, 0)
    assert set(palette(pixels).names) == {"#ff0000", "#0000ff", "#00ff00"}


def test_single_pixels_of_a_clean_map_are_ignored() -> None:
    pixels = fields(RED, BLUE)
    pixels[4, 4] = (0, 255, 0)
    assert set(palette(pixels).names) == {"#ff0000", "#0000ff"}
    chequered = np.array([[RED, BLUE], [BLUE, GREY]], np.uint8)
    assert set(palette(chequered).names) == {"#ff0000", "#0000ff", "#808080"}


@pytest.mark.parametrize("spoiled", [np.asarray, enlarged, jpeg])
def test_a_smooth_or_lossy_map_is_snapped_to_its_true_colours(
    spoiled: Callable[[np.ndarray], np.ndarray],
) -> None:
    pixels = spoiled(smooth())
    several = len(np.unique(pixels.reshape(-1, 3), axis=0))
    assert several < 32 if spoiled is np.asarray else several > 32
    found = palette(pixels)
    wanted = np.array([BLUE, RED, BLACK]) / 255
    assert found.colors.shape == (3, 3)
    np.testing.assert_allclose(found.colors, wanted, atol=0.02)
    assert found.shares[0] > found.shares[1] > found.shares[2] > 0.05
    labels, unassigned = label_pixels(drawing(pixels), found)
    assert 0 < unassigned < 0.12
    assert (labels == UNKNOWN).mean() == pytest.approx(unassigned)


def test_a_series_has_the_colours_of_all_its_maps() -> None:
    pictures = [("0.png", drawing(fields(RED, BLUE))), ("1.png", drawing(fields(RED, GREY)))]
    found = palette_of(pictures, "maps/")
    assert found.names == ("#ff0000", "#0000ff", "#808080")
    assert found.shares == (0.5, 0.25, 0.25)
    lossy = [(str(q), drawing(jpeg(smooth(), q))) for q in (40, 60, 80)]
    assert len(palette_of(lossy, "maps/").names) == 3


def test_16_bits_and_8_bits_are_the_same_label() -> None:
    deep = drawing(fields(RED, GREY)) + np.float32(1e-4)
    assert palette_of([("m", deep)], "m").names == palette(fields(RED, GREY)).names


def test_transparent_pixels_are_in_no_region() -> None:
    pixels = np.dstack([fields(RED, BLUE), np.full((20, 40), 255, np.uint8)])
    pixels[:, 20:, 3] = 100
    found = palette(pixels)
    assert (found.names, found.shares) == (("#ff0000",), (0.5,))
    labels, unassigned = label_pixels(drawing(pixels), found)
    assert unassigned == 0
    np.testing.assert_array_equal(labels[:, 20:], CLEAR)
    np.testing.assert_array_equal(fill_unknown(labels), labels)


def test_more_than_32_colours_are_refused() -> None:
    hue = np.tile(np.arange(256, dtype=np.uint8), (64, 4))
    hsv = np.dstack([hue, np.full_like(hue, 255), np.full_like(hue, 255)])
    wheel = np.asarray(PIL.Image.fromarray(hsv, "HSV").convert("RGB"))
    wheel = np.concatenate([wheel, wheel // 2], axis=0)
    with pytest.raises(GuideError, match=r"wheel\.png: .* at most 32 colours, got \d+; .* anti-al"):
        palette(wheel, "wheel.png")


def test_a_series_of_too_many_clean_colours_in_all_is_refused() -> None:
    levels = [(r, g, b) for r in (0, 85, 170, 255) for g in (0, 128, 255) for b in (0, 128, 255)]
    pictures = [(str(i), drawing(fields(c, RED))) for i, c in enumerate(levels)]
    with pytest.raises(GuideError, match=r"maps/: .* got 36"):
        palette_of(pictures, "maps/")


def test_slightly_different_colours_of_a_series_are_merged() -> None:
    pictures = [(str(i), drawing(fields((255 - i, i // 2, 0), BLUE))) for i in range(40)]
    assert len(palette_of(pictures[:20], "maps/").names) == 21
    merged = palette_of(pictures, "maps/")
    assert (len(merged.names), merged.names[0]) == (3, "#0000ff")


def test_noise_and_an_empty_picture_are_refused() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3)).astype(np.uint8)
    for pixels in (noise, np.zeros((8, 8, 4), np.uint8)):
        with pytest.raises(GuideError, match=r"map\.png: expected .* a flat colour .* got none"):
            palette(pixels)


def test_a_pixel_is_in_the_nearest_region_only() -> None:
    near = named("m", "#000000", "#202020", "#ff0000")
    pixels = np.array([[[15, 15, 15], [17, 17, 17], [16, 16, 16], [90, 90, 90], [250, 0, 9]]])
    labels, unassigned = label_pixels(drawing(pixels), near)
    assert labels.dtype == np.int16
    assert labels.tolist() == [[0, 1, 0, UNKNOWN, 2]]
    assert unassigned == 0.2
    assert label_pixels(drawing(pixels), near, tolerance=0.5)[1] == 0


def test_black_white_and_grey_are_labels() -> None:
    found = palette(fields(BLACK, GREY, (255, 255, 255)))
    assert set(found.names) == {"#000000", "#808080", "#ffffff"}
    assert label_pixels(drawing(fields(GREY)), found)[0].max() == found.names.index("#808080")


def test_unassigned_pixels_take_the_nearest_label() -> None:
    labels = np.full((5, 9), UNKNOWN, np.int16)
    labels[:, 0], labels[:, 8] = 1, 0
    assert fill_unknown(labels)[2].tolist()[:4] == [1, 1, 1, 1]
    assert fill_unknown(labels)[2].tolist()[5:] == [0, 0, 0, 0]
    nothing = np.full((3, 3), UNKNOWN, np.int16)
    np.testing.assert_array_equal(fill_unknown(nothing), nothing)


def test_regions_are_parsed_with_and_without_a_style() -> None:
    assert parse_regions("#0000FF=a.jpg,#ff0000=b/c, d=1.jpg") == (
        Region("#0000ff", "a.jpg"),
        Region("#ff0000", "b/c, d=1.jpg"),
    )
    assert parse_regions("0000ff, #ff0000,0000ff") == (Region("#0000ff"), Region("#ff0000"))


@pytest.mark.parametrize("text", ["", "blue", "#00f", "#0000ff=", "#0000ff,,#ff0000", "#0000gg=a"])
def test_an_error_quotes_an_invalid_region(text: str) -> None:
    with pytest.raises(SettingsError, match=r"--regions: expected colours .* got '"):
        parse_regions(text)


def test_common_colours_match_and_styles_with_the_same_colour_blend() -> None:
    content = named("m.png", "#ff0000", "#0000ff")
    styles = [named("a", "#0000fe", "#f00000"), named("b", "#00ff00", "#ff0000")]
    assert match_palettes(content, styles) == (
        Match(0, "#ff0000", ((0, 1), (1, 1))),
        Match(1, "#0000ff", ((0, 0),)),
    )


def test_an_error_names_an_unmatched_colour_and_its_share() -> None:
    content = Palette("m.png", ("#ff0000", "#0000ff"), (0.875, 0.125))
    sentence = r"m\.png: .*\(a\.png: #ff0000\), got #0000ff \(12\.50% of it\); draw .* --unmatched"
    with pytest.raises(GuideError, match=sentence):
        match_palettes(content, [named("a.png", "#ff0000")])
    kept = match_palettes(content, [named("a.png", "#ff0000")], untouched=True)
    assert [match.name for match in kept] == ["#ff0000"]
    assert match_palettes(content, [named("a.png", "#ff0000")], regions=[Region("#ff0000")]) == kept
    with pytest.raises(GuideError, match="got #ff0000"):
        match_palettes(content, [named("a.png", "#00ff00")], untouched=True)


def test_regions_assign_styles_by_path_or_name() -> None:
    content = named("m", "#ff0000", "#0000ff", "#00ff00")
    styles = [named("a", *content.names), named("b", *content.names)]
    regions = parse_regions("#0000fa=b.jpg,#ff0000=x/a.jpg,#00ff00")
    assert match_palettes(content, styles, names=["x/a.jpg", Path("y/b.jpg")], regions=regions) == (
        Match(0, "#ff0000", ((0, 0),)),
        Match(1, "#0000ff", ((1, 1),)),
        Match(2, "#00ff00", ((0, 2), (1, 2))),
    )


@pytest.mark.parametrize(
    ("regions", "error", "sentence"),
    [
        ("#00ff00", GuideError, r"expected colours of m\.png \(#ff0000, #0000ff\), got #00ff00"),
        (
            "#ff0000=c.jpg",
            UsageError,
            r"one of the styles x/a\.jpg, y/a\.jpg, b\.jpg, got 'c\.jpg'",
        ),
        ("#ff0000=a.jpg", UsageError, "the name of several; write the whole path"),
        ("#0000ff=b.jpg", GuideError, r"\(b\.png: #ff0000\), got #0000ff"),
    ],
)
def test_unknown_regions_are_refused(regions: str, error: type[Exception], sentence: str) -> None:
    content = named("m.png", "#ff0000", "#0000ff")
    maps = [content, content, named("b.png", "#ff0000")]
    names = ["x/a.jpg", "y/a.jpg", "b.jpg"]
    with pytest.raises(error, match=sentence):
        match_palettes(content, maps, names=names, regions=parse_regions(regions), untouched=True)


@pytest.mark.skipif(not SEED.is_dir(), reason="no seed folder beside $VIDSTYLE_FOOTAGE")
@pytest.mark.parametrize(
    ("content", "style", "count"), [("Seth", "Gogh", 6), ("Coastline", "Monet", 5)]
)
def test_the_maps_of_the_original_have_few_colours_and_match(
    content: str, style: str, count: int
) -> None:
    found = []
    for name in (content, style):
        picture = read_rgba(SEED / f"{name}_sem.png")
        found.append(palette_of([(name, picture)], name))
        labels, unassigned = label_pixels(picture, found[-1])
        assert 0 < unassigned < 0.015
        assert (fill_unknown(labels) >= 0).all()
    assert [len(one.names) for one in found] == [count, count]
    assert len(match_palettes(found[0], found[1:])) == count
