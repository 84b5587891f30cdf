"""Thresholds: each test fails if the constant that it covers is changed."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from films import shot

from vidstyle.coherence import dissolves
from vidstyle.coherence.fades import fades, thumbnail
from vidstyle.evaluation import metrics
from vidstyle.evaluation.evaluate import Evaluation
from vidstyle.evaluation.report import Album, write_report
from vidstyle.image import Image
from vidstyle.media.decoding.timestamps import is_variable
from vidstyle.vgg import losses

BLACK = np.zeros_like(shot(1, length=1)[0])


def test_a_title_that_looks_like_html_is_text(tmp_path: Path) -> None:
    album, picture = Album(), np.zeros((4, 6, 3), np.float32)
    album(0, 1, picture, picture, np.ones((4, 6), bool))
    write_report(tmp_path / "a.html", '<script>x</script>&"', Evaluation(1, (), {}, {}), album)
    text = (tmp_path / "a.html").read_text("utf-8")
    assert "<script" not in text
    assert text.count("&lt;script&gt;x&lt;/script&gt;&amp;&quot;") == 2  # the title and the heading


def test_a_title_with_a_name_that_is_not_utf_8_is_written_with_escapes(tmp_path: Path) -> None:
    album, picture = Album(), np.zeros((4, 6, 3), np.float32)
    album(0, 1, picture, picture, np.ones((4, 6), bool))
    write_report(tmp_path / "a.html", "caf\udce9.mp4", Evaluation(1, (), {}, {}), album)
    assert "caf\\udce9.mp4" in (tmp_path / "a.html").read_text("utf-8")


@pytest.mark.parametrize(("speed", "static"), [(0.05, True), (0.3, False), (0.9, False)])
def test_flow_above_a_tenth_of_a_pixel_is_not_static(speed: float, static: bool) -> None:
    flow = np.full((8, 8, 2), (speed, 0), np.float32)
    before, after = np.zeros((8, 8, 3), np.float32), np.full((8, 8, 3), 0.2, np.float32)
    flicker = metrics.flicker(after, before, flow)
    assert flicker == pytest.approx(0.2) if static else np.isnan(flicker)


def test_the_content_loss_is_relative_to_the_energy_of_the_target() -> None:
    random = np.random.default_rng(3)
    features, target = random.random((2, 5, 6, 4), np.float32)
    expected = np.square(features - target).sum() / np.square(target).sum()
    found = losses.content(tf.constant(features), tf.constant(target), losses.energy(target))
    assert float(found) == pytest.approx(float(expected), rel=1e-5)
    assert float(losses.content(0 * target, target, losses.energy(target))) == pytest.approx(1)


@pytest.mark.parametrize(
    ("stamps", "base", "variable"),
    [
        ([0, 33, 67, 100, 133, 167], Fraction(1, 1000), False),  # 30 frames a second, in ms
        ([0, 3003, 6006, 9009, 12011], Fraction(1, 90000), False),
        ([0, 3003, 6000, 9009, 12011], Fraction(1, 90000), False),  # jitter of 0.1 ms
        ([0, 33, 67, 140, 173], Fraction(1, 1000), True),
        ([0, 3003, 7000, 9009], Fraction(1, 90000), True),
    ],
)
def test_rounded_timestamps_count_as_a_constant_rate(
    stamps: list[int], base: Fraction, variable: bool
) -> None:
    assert is_variable(stamps, base) is variable


@pytest.mark.parametrize(("last", "is_fade"), [(0.85, False), (0.75, False), (0.6, True)])
def test_a_nearly_undimmed_frame_before_black_is_a_cut(last: float, is_fade: bool) -> None:
    pan = shot(1, length=6)
    film = [*pan[:4], pan[4] * np.float32(last), BLACK, BLACK, BLACK]
    found = fades(map(thumbnail, film))
    assert sorted(found) == ([4, 5, 6, 7] if is_fade else [5, 6, 7])


def lit(change: float) -> np.ndarray:
    """Return the outdated area, bool [H, W], after the light on a wall's left quarter changed."""
    wall: Image = np.full((64, 96, 3), 0.4, np.float32)
    fade = np.clip(np.linspace(2, -4, 96), 0, 1).astype(np.float32)[None, :, None]
    now = wall + np.float32(change) * fade
    known = np.ones((64, 96), bool)
    moved = dissolves.accumulated(None, np.zeros((64, 96, 2), np.float32), now - wall, known)
    return dissolves.outdated(moved, now)


@pytest.mark.parametrize(("change", "outdated"), [(0.05, False), (0.16, True), (-0.16, True)])
def test_a_light_change_of_a_sixth_outdates_the_strokes(change: float, outdated: bool) -> None:
    found = lit(change)
    assert found[:, :12].all() == found[:, :12].any() == outdated
    assert not found[:, 48:].any()
