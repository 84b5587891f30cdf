"""Quilted strokes of disoccluded pixels, and the fill of a warm start's initial image."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from vidstyle.coherence.disocclusion import (
    Areas,
    WarpedFrame,
    contour_strength,
    despeckled,
    exemplar_of,
    fill_disoccluded,
    with_contours,
)
from vidstyle.coherence.parameters import DisocclusionParameters
from vidstyle.coherence.quilting import Exemplar, quilted
from vidstyle.evaluation.metrics import specks
from vidstyle.image import Image

HEIGHT, WIDTH = 60, 120
EVERYWHERE = np.ones((HEIGHT, WIDTH), bool)
ONE = np.ones((HEIGHT, WIDTH, 1), np.float32)


def lines(vertical: bool, period: int = 10) -> np.ndarray:
    """Return parallel strokes: float32 [H, W, 3], -0.1 and 0.1."""
    at = np.indices((HEIGHT, WIDTH))[int(vertical)]
    return np.repeat(np.where(at // (period // 2) % 2, 0.1, -0.1)[..., None], 3, 2).astype(
        np.float32
    )


def halves(left: float, right: float) -> Image:
    image = np.full((HEIGHT, WIDTH, 3), left, np.float32)
    image[:, WIDTH // 2 :] = right
    return image


def similarity(strokes: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(strokes.ravel(), other.ravel())[0, 1])


def test_strokes_are_copied_from_similar_source_tiles() -> None:
    """Dark ground has horizontal strokes, light ground vertical; the frame swaps the halves."""
    source = halves(0.3, 0.7)
    strokes = np.where(source < 0.5, lines(vertical=False), lines(vertical=True))
    exemplar = Exemplar(source, strokes, ONE)
    found = quilted(halves(0.7, 0.3), ONE, np.zeros_like(source), ~EVERYWHERE, exemplar)
    left, right = found[:, 8 : WIDTH // 2 - 16], found[:, WIDTH // 2 + 16 : -8]
    assert left.std(axis=0).mean() < 0.3 * left.std(axis=1).mean()
    assert right.std(axis=1).mean() < 0.3 * right.std(axis=0).mean()
    assert left.std() > 0.05


def test_strokes_are_copied_from_the_same_plane() -> None:
    """The source is uniform: only the planes distinguish the two styles."""
    source = halves(0.5, 0.5)
    before = np.dstack([halves(1, 0)[..., :1], halves(0, 1)[..., :1]])
    strokes = np.where(before[..., :1] > 0, lines(vertical=False), lines(vertical=True))
    exemplar = Exemplar(source, strokes, before)
    found = quilted(source, before[:, ::-1], np.zeros_like(source), ~EVERYWHERE, exemplar)
    upright = found[:, 8 : WIDTH // 2 - 16]
    assert upright.std(axis=0).mean() < 0.3 * upright.std(axis=1).mean()


def test_known_strokes_are_continued() -> None:
    source, strokes = halves(0.5, 0.5), lines(vertical=True)
    exemplar = Exemplar(source, strokes, ONE)
    shifted = np.roll(strokes, 4, axis=1)
    known = EVERYWHERE.copy()
    known[:, 60:] = False
    found = quilted(source, ONE, shifted, known, exemplar)
    assert similarity(found[8:-8, 60:80], shifted[8:-8, 60:80]) > 0.8
    assert similarity(strokes[8:-8, 60:80], shifted[8:-8, 60:80]) < 0.4


def test_known_or_tiny_frames_get_no_strokes() -> None:
    source, strokes = halves(0.5, 0.5), lines(vertical=True)
    exemplar = Exemplar(source, strokes, ONE)
    assert not quilted(source, ONE, source, EVERYWHERE, exemplar).any()
    small = Exemplar(*(part[:4, :4] for part in exemplar))
    assert not quilted(
        source[:4, :4], ONE[:4, :4], source[:4, :4], ~EVERYWHERE[:4, :4], small
    ).any()


def test_an_exemplars_strokes_are_the_residual_of_the_colour_map() -> None:
    source = np.random.default_rng(2).random((HEIGHT, WIDTH, 3), np.float32)
    exemplar = exemplar_of(source, 0.2 + 0.5 * source, ONE)
    assert np.abs(exemplar.strokes).max() < 0.03
    exemplar = exemplar_of(source, 0.2 + 0.5 * source + lines(vertical=True), ONE)
    assert similarity(exemplar.strokes, lines(vertical=True)) > 0.95


def test_contours_stay_in_place_despite_flow_errors() -> None:
    """The flow is wrong by two pixels; the result is the source at half its contrast."""
    moved = cv2.GaussianBlur(halves(0.2, 0.8), (0, 0), 2)
    frame = np.roll(moved, 2, axis=1)
    result = 0.25 + 0.5 * moved
    nowhere = ~EVERYWHERE
    warped = WarpedFrame(result, moved, ONE)
    areas = Areas(EVERYWHERE, nowhere, nowhere, moving=EVERYWHERE)
    followed = fill_disoccluded(warped, frame, ONE, areas)
    inside = np.s_[8:-8, 40:80]
    np.testing.assert_allclose(followed[inside], (0.25 + 0.5 * frame)[inside], atol=0.02)
    still = fill_disoccluded(warped, frame, ONE, replace(areas, moving=nowhere))
    np.testing.assert_array_equal(still, result)


def test_following_the_source_does_not_accumulate_errors() -> None:
    """After forty frames shifted by up to a pixel, the result matches the last frame."""
    random = np.random.default_rng(4)
    ground = cv2.GaussianBlur(random.random((HEIGHT, WIDTH, 3), np.float32), (0, 0), 2)
    frame, result = ground, 0.25 + 0.5 * ground + lines(vertical=False)
    nowhere = ~EVERYWHERE
    for shift in random.integers(-1, 2, 40):
        now = np.roll(ground, shift, axis=1)
        result = fill_disoccluded(
            WarpedFrame(result, frame, ONE),
            now,
            ONE,
            Areas(EVERYWHERE, nowhere, nowhere, moving=EVERYWHERE),
        )
        frame = now
    assert similarity(result - lines(vertical=False), frame) == pytest.approx(1, abs=0.04)


def test_lost_contours_return_to_their_strength_in_the_first_frame() -> None:
    """The result is the source at 0.6 of its contrast, with strokes; then its contours fade."""
    source = halves(0.3, 0.7)
    source[:, :30] += lines(vertical=True)[:, :30]
    painted = 0.2 + 0.6 * source + 0.2 * lines(vertical=False)
    strength = contour_strength(source, painted, ONE)
    np.testing.assert_allclose(strength, 0.6, atol=0.02)
    faded = 0.2 + 0.2 * source + 0.2 * lines(vertical=False)
    once = with_contours(faded, source, ONE, EVERYWHERE, strength)
    again = once
    for _ in range(300):
        again = with_contours(again, source, ONE, EVERYWHERE, strength)
    before, first, last = (contour_strength(source, one, ONE)[0] for one in (faded, once, again))
    assert before < 0.25
    assert first > before + 0.1
    assert last == pytest.approx(0.6, abs=0.03)
    flat = np.s_[8:-8, 80:]
    np.testing.assert_allclose(again[flat], faded[flat], atol=1e-3)


def test_contours_that_are_not_lost_and_places_outside_stay() -> None:
    source = halves(0.3, 0.7)
    painted = 0.2 + 0.6 * source
    strength = contour_strength(source, painted, ONE)
    same = with_contours(painted, source, ONE, EVERYWHERE, strength)
    np.testing.assert_allclose(same, painted, atol=1e-4)
    faded = 0.4 + 0.2 * source
    left = EVERYWHERE.copy()
    left[:, WIDTH // 2 :] = False
    half = with_contours(faded, source, ONE, left, strength)
    assert np.abs(half - faded)[:, : WIDTH // 2].max() > 0.01
    np.testing.assert_array_equal(half[:, WIDTH // 2 :], faded[:, WIDTH // 2 :])


def test_each_plane_has_its_own_strength_and_none_without_a_plane() -> None:
    source = halves(0.3, 0.7)
    upper = np.indices((HEIGHT, WIDTH))[0] < HEIGHT // 2
    planes = np.dstack([upper, ~upper, ~EVERYWHERE]).astype(np.float32)
    painted = np.where(upper[..., None], 0.4 + 0.2 * source, 0.1 + 0.8 * source)
    strength = contour_strength(source, painted, planes)
    np.testing.assert_allclose(strength, (0.2, 0.8, 0), atol=0.02)
    grey = np.full_like(source, 0.5)
    found = with_contours(grey, source, planes, EVERYWHERE, strength)
    below, above = (np.ptp(found[row]) for row in (HEIGHT - 8, 8))
    assert below > 3 * above > 0
    none = with_contours(grey, source, 0 * planes, EVERYWHERE, strength)
    np.testing.assert_array_equal(none, grey)


@pytest.mark.parametrize("height", [3, 300])
def test_contours_of_a_large_frame_are_found_in_a_smaller_one(height: int) -> None:
    source = np.full((height, 2000, 3), 0.3, np.float32)
    source[:, 1000:] = 0.7
    planes, everywhere = np.ones((height, 2000, 1), np.float32), np.ones((height, 2000), bool)
    strength = contour_strength(source, 0.2 + 0.6 * source, planes)
    np.testing.assert_allclose(strength, 0.6, atol=1e-3)
    faded = 0.4 + 0.2 * source
    found = with_contours(faded, source, planes, everywhere, strength)
    assert found.shape == source.shape
    before, after = (contour_strength(source, one, planes)[0] for one in (faded, found))
    assert before + 0.05 < after < 0.6


def test_disoccluded_rare_colours_are_not_kept() -> None:
    """Grey ground is stylised blue: a disoccluded red sign is not filled with red."""
    random = np.random.default_rng(6)
    ground = np.repeat(0.5 + 0.2 * random.standard_normal((HEIGHT, WIDTH, 1)), 3, axis=2)
    ground = np.clip(ground, 0, 1).astype(np.float32)
    blue = np.array([0.6, 0.8, 1.0], np.float32)
    result = ground * blue
    frame, known = ground.copy(), EVERYWHERE.copy()
    frame[20:40, 70:90] = (0.9, 0.1, 0.1)
    known[:, 60:] = False
    image = fill_disoccluded(
        WarpedFrame(result, ground, ONE), frame, ONE, Areas(known, ~EVERYWHERE, ~EVERYWHERE)
    )
    sign = image[20:40, 70:90]
    assert (sign[..., 2] > sign[..., 0]).all()
    usual = (ground * blue)[44:, 70:].mean(axis=(0, 1))
    np.testing.assert_allclose(image[44:, 70:].mean(axis=(0, 1)), usual, atol=0.02)


def test_colour_specks_are_removed_and_colour_edges_kept() -> None:
    image = halves(0.3, 0.3)
    image[:, WIDTH // 2 :] = (0.8, 0.2, 0.2)
    speckled = image.copy()
    speckled[10:50:8, 10:100:8] = (0.1, 0.2, 0.9)
    moving = EVERYWHERE.copy()
    moving[30:] = False
    found = despeckled(speckled, moving)
    assert specks(found[:28]) == 0 < specks(speckled[:28])
    np.testing.assert_array_equal(found[30:], speckled[30:])
    np.testing.assert_array_equal(despeckled(image, EVERYWHERE), image)


def test_specks_side_by_side_are_removed_in_several_passes() -> None:
    image = np.random.default_rng(0).random((HEIGHT, WIDTH, 3), np.float32)
    image = np.float32(0.4) + np.float32(0.4) * (image > 0.8)
    once = despeckled(image, EVERYWHERE, DisocclusionParameters(speck_passes=1))
    assert specks(despeckled(image, EVERYWHERE)) < 0.5 * specks(once)
