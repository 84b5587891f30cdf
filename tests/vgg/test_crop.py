"""The window that the network is run on if only a part of the frame may change."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tiny import disc, narrow_encoder, stripes

from vidstyle.guides.guide import Guide
from vidstyle.settings import Settings
from vidstyle.stylizer.problem import FrameProblem
from vidstyle.stylizer.stylizer import Style, Stylizer
from vidstyle.techniques import TECHNIQUES
from vidstyle.vgg.crop import ALIGNMENT, Window, window_around
from vidstyle.vgg.encoder import Encoder

HEIGHT, WIDTH = 200, 248


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return narrow_encoder("relu1_1", "relu2_1", "relu3_1", "relu4_1")


def support(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    covered = np.zeros((HEIGHT, WIDTH, 1), np.float32)
    covered[top:bottom, left:right] = 1
    return covered


PLACES = {
    "within": (70, 90, 120, 160),
    "a corner": (0, 0, 60, 70),
    "the other corner": (150, 190, HEIGHT, WIDTH),
    "a whole side": (0, 60, HEIGHT, 100),
    "one pixel": (99, 99, 100, 100),
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_a_window_contains_the_support(place: tuple[int, int, int, int]) -> None:
    covered = support(*place)
    window = window_around(covered)
    assert window is not None
    assert window.cut(covered).sum() == covered.sum()
    assert window.top % ALIGNMENT == window.left % ALIGNMENT == 0
    assert window.cut(covered).shape == (window.rows, window.columns, 1)


def test_a_support_of_most_of_the_frame_has_no_window() -> None:
    assert window_around(support(0, 0, HEIGHT, WIDTH)) is None
    assert window_around(support(10, 10, HEIGHT - 10, WIDTH - 10)) is None


def test_a_region_that_moves_slightly_keeps_its_window_size() -> None:
    windows = [window_around(support(60 + i, 80, 110 + i, 140)) for i in range(12)]
    assert len({(w.rows, w.columns) for w in windows if w is not None}) <= 2


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_features_of_an_unchanged_window_equal_those_of_the_whole_frame(
    encoder: Encoder, place: tuple[int, int, int, int]
) -> None:
    window = window_around(support(*place))
    assert window is not None
    image = tf.constant(disc(HEIGHT, WIDTH))
    corner, size = tf.constant((window.top, window.left, 0)), (window.rows, window.columns)
    whole, around = encoder.surroundings(image, corner, size)
    for layer, part in encoder.within(image, around, size).items():
        expected = window.at(layer).cut(whole[layer]).numpy()
        np.testing.assert_allclose(part.numpy(), expected, atol=1e-5 * expected.max())


def test_the_edge_of_the_support_has_a_higher_tv_weight() -> None:
    scene = FrameProblem(disc(HEIGHT, WIDTH), Guide(support(70, 90, 120, 160), ("a",)), True)
    smoothness = scene.smoothness[..., 0]
    assert set(np.unique(smoothness)) == {1, smoothness.max()}
    assert (smoothness[69:71, 89:161] > 1).all()
    assert (smoothness[72:118, 92:158] == 1).all()
    assert (smoothness[:68] == 1).all()
    assert (FrameProblem(disc(HEIGHT, WIDTH), None, False).smoothness == 1).all()


def stylizer_of(name: str, encoder: Callable[[Any], Any]) -> Stylizer:
    layers = ("relu1_1", "relu2_1", "relu4_1")
    settings = Settings(steps_next=1, style_layers=layers, content_layers=("relu3_1",))
    style = Style(stripes(64, 80), guide=Guide(np.ones((64, 80, 1), np.float32), ("a",)))
    return Stylizer([style], technique=TECHNIQUES[name](), settings=settings, encoder=encoder)


@pytest.fixture(scope="module", params=["mask", "region"])
def technique(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def without_windows(encoder: Encoder, technique: str) -> Stylizer:
    """A stylizer whose encoder is a method, not an Encoder: it has no windows."""
    return stylizer_of(technique, encoder.__call__)


def gradient(stylizer: Stylizer, covered: np.ndarray) -> tuple[np.ndarray, dict[str, float]]:
    """Return the gradient at a noisy frame and the loss terms."""
    guide = Guide(covered, ("a",))
    frame = disc(HEIGHT, WIDTH)
    noise = np.random.default_rng(0).normal(0, 0.1, frame.shape)
    start = np.clip(frame + covered * noise, 0, 1).astype(np.float32)
    caught = []
    size = stylizer.step_at(frame)
    traced = size.evaluate
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(size, "evaluate", lambda *given: caught.append(traced(*given)) or caught[-1])
        size.improve(start, FrameProblem(frame, guide, True), 1, lambda *_: None)
    _, found, terms = caught[0]
    return found.numpy(), {k: float(v) for k, v in terms.items()}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_the_gradient_in_a_window_equals_that_of_the_whole_frame(
    encoder: Encoder,
    technique: str,
    without_windows: Stylizer,
    place: tuple[int, int, int, int],
) -> None:
    covered = support(*place)
    with_windows = stylizer_of(technique, encoder)
    found, terms = gradient(with_windows, covered)
    expected, whole_terms = gradient(without_windows, covered)
    assert np.linalg.norm(found - expected) < 0.01 * np.linalg.norm(expected)
    assert np.abs(expected).max() > 0
    assert not (found * (1 - covered)).any()
    assert terms == pytest.approx(whole_terms, rel=0.01)
    assert with_windows.traces == without_windows.traces == 1


def test_windows_of_one_size_share_a_trace(encoder: Encoder) -> None:
    settings = Settings(
        steps=1, steps_next=1, style_layers=("relu1_1",), content_layers=("relu1_1",)
    )
    stylizer = Stylizer(
        [Style(stripes(64, 80))],
        technique=TECHNIQUES["mask"](),
        settings=settings,
        encoder=encoder,
    )
    frame = disc(HEIGHT, WIDTH)
    for left in (64, 80, 96):
        guide = Guide(support(64, left, 112, left + 48), ("a",))
        found = stylizer.stylize(frame, guide=guide).image
        assert (found != frame).any(axis=2).sum() <= 48 * 48
        np.testing.assert_array_equal(
            found[guide.planes[..., 0] == 0], frame[guide.planes[..., 0] == 0]
        )
    assert stylizer.traces == 1


def test_a_window_in_a_layer_is_the_same_rectangle() -> None:
    assert Window(32, 48, 72, 64).at("relu4_1") == Window(4, 6, 9, 8)
    assert Window(32, 48, 72, 64).at("relu1_2") == Window(32, 48, 72, 64)
