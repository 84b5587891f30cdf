"""The style loss of disoccluded pixels alone, and which pixels are disoccluded."""

import cv2
import numpy as np
import pytest
import tensorflow as tf
from tiny import LAYERS, TinyEncoder, disc, plain_style, stripes

from vidstyle.coherence.prior import TemporalPrior
from vidstyle.coherence.warm_start import prior
from vidstyle.guides.guide import Guide
from vidstyle.settings import Settings
from vidstyle.stylizer.stylizer import Style, Stylizer
from vidstyle.techniques import TECHNIQUES, StyleFeatures
from vidstyle.techniques._disoccluded import _PULL
from vidstyle.techniques._receptive_field import counted, receptive_field
from vidstyle.vgg.crop import Window
from vidstyle.vgg.losses import over_layers

SIZE = (32, 48)
FRAME, STYLE = disc(*SIZE), stripes(40, 48)
RIGHT = np.zeros((*SIZE, 1), np.float32)
RIGHT[:, 24:] = 1
WHOLE = np.ones_like(RIGHT)
ENCODER = TinyEncoder()


def found(
    name: str,
    disoccluded: np.ndarray | None,
    mask: np.ndarray = WHOLE,
    *,
    window: Window | None = None,
) -> tuple[float, np.ndarray]:
    """The style loss of a technique and its gradient, with disoccluded pixels."""
    guide = None if name == "basic" else Guide(mask, ("a",))
    style = StyleFeatures(ENCODER(tf.constant(STYLE)), STYLE.shape[:2], guide=Guide(
        np.ones((*STYLE.shape[:2], 1), np.float32), ("a",)
    ))  # fmt: skip
    seen = ENCODER(tf.constant(FRAME))
    frame = StyleFeatures(seen, SIZE, guide=guide, disoccluded=disoccluded, window=window)
    targets = TECHNIQUES[name]().targets([style], frame)
    pixels = tf.constant(FRAME)
    with tf.GradientTape() as tape:
        tape.watch(pixels)
        features = ENCODER(pixels)
        if window is not None:
            features = {layer: window.at(layer).cut(values) for layer, values in features.items()}
        loss = TECHNIQUES[name]().loss(features, targets)
    return float(loss), tape.gradient(loss, pixels).numpy()


def alone(disoccluded: np.ndarray, mask: np.ndarray = WHOLE) -> tuple[float, np.ndarray]:
    """The disoccluded loss in a mask and its gradient, by the definition, without _PULL."""
    pixels, style = tf.constant(FRAME), ENCODER(tf.constant(STYLE))
    apart = {}
    with tf.GradientTape() as tape:
        tape.watch(pixels)
        for layer, values in ENCODER(pixels).items():
            height, width, channels = values.shape
            sigma = receptive_field(layer) / 8
            sees = cv2.GaussianBlur(disoccluded, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
            weights = counted(Guide(mask, ("a",)), layer, height, width)[..., 0]
            weights = weights * shrunk(disoccluded[..., 0], height) * shrunk(sees, height)
            flat, of_style = (tf.reshape(x, (-1, channels)) for x in (values, style[layer]))
            missed = plain_style(flat, weights.ravel(), of_style, np.ones(len(of_style)))
            apart[layer] = weights.mean() * missed
        loss = over_layers(apart)
    return float(loss), tape.gradient(loss, pixels).numpy()


def shrunk(image: np.ndarray, height: int) -> np.ndarray:
    """The means of squares of an image [H, W], `height` of them in a column."""
    side = image.shape[0] // height
    return image.reshape(height, side, -1, side).mean(axis=(1, 3))


def assert_sum(whole: tuple[float, np.ndarray], *parts: tuple[float, np.ndarray]) -> None:
    assert whole[0] == pytest.approx(sum(loss for loss, _ in parts), rel=1e-4)
    gradient = sum(gradient for _, gradient in parts)
    np.testing.assert_allclose(whole[1], gradient, atol=1e-4 * np.abs(gradient).max())


def times(factor: float, part: tuple[float, np.ndarray]) -> tuple[float, np.ndarray]:
    return factor * part[0], factor * part[1]


@pytest.mark.parametrize("name", ["basic", "mask", "region"])
def test_features_are_weighted_by_the_disoccluded_part_of_their_receptive_field(name: str) -> None:
    usual = found(name, None)
    assert_sum(found(name, RIGHT), usual, times(_PULL, alone(RIGHT)))
    assert_sum(found(name, WHOLE), times(1 + _PULL, usual))


@pytest.mark.parametrize("name", ["basic", "mask", "region"])
def test_without_disoccluded_pixels_the_loss_is_0(name: str) -> None:
    assert_sum(found(name, np.zeros_like(RIGHT)), found(name, None))


def test_a_plane_counts_disoccluded_pixels_inside_its_mask_only() -> None:
    half = np.zeros_like(RIGHT)
    half[:16] = 1
    both, usual = found("mask", RIGHT, half), found("mask", None, half)
    assert_sum(both, usual, times(_PULL, alone(RIGHT, half)))


def test_a_disoccluded_sliver_hardly_counts_at_deep_layers() -> None:
    """Its few features there depend mostly on static pixels around it."""
    sliver = np.zeros_like(RIGHT)
    sliver[:, 24:26] = 1
    frame = StyleFeatures(ENCODER(tf.constant(FRAME)), SIZE, disoccluded=sliver)
    parts = TECHNIQUES["basic"]().targets([frame], frame)["disoccluded"]
    shares = [float(parts[layer].shares[0]) / sliver.mean() for layer in LAYERS]
    assert shares[0] > 0.9
    assert shares[2] < 0.35


def test_within_a_window_it_is_the_same() -> None:
    mask = np.zeros_like(RIGHT)
    mask[8:24, 16:32] = 1
    disoccluded = np.zeros_like(RIGHT)
    disoccluded[8:16, 16:32] = 1
    assert_sum(
        found("mask", disoccluded, mask, window=Window(0, 16, 32, 16)),
        found("mask", disoccluded, mask),
    )


def test_disoccluded_pixels_are_stylised_although_the_rest_already_is() -> None:
    """Their moments come nearer to the style's than with the loss of the whole frame alone."""
    settings = Settings(
        steps=60, steps_next=15, style_layers=LAYERS, content_layers=LAYERS[1:2],
        tv_weight=0, content_weight=0.05,
    )  # fmt: skip
    engine = Stylizer([Style(STYLE)], settings=settings, encoder=ENCODER)
    painted = engine.stylize(FRAME).image
    strip = np.zeros_like(RIGHT)
    strip[:, -8:] = 1
    begun = np.where(strip > 0, np.float32(0.5) * FRAME, painted)
    apart = [
        distance(
            engine.stylize(
                FRAME, prior=TemporalPrior(begun, 1 - strip, disoccluded=disoccluded)
            ).image,
            strip,
        )
        for disoccluded in (None, strip)
    ]
    assert apart[1] < 0.7 * apart[0]
    assert engine.traces == 1


def distance(image: np.ndarray, mask: np.ndarray) -> float:
    """Return how far the style of what the mask covers is from STYLE's."""
    technique = TECHNIQUES["mask"]()
    style = StyleFeatures(ENCODER(tf.constant(STYLE)), STYLE.shape[:2])
    frame = StyleFeatures(ENCODER(tf.constant(image)), SIZE, guide=Guide(mask, ("a",)))
    return float(technique.loss(frame.features, technique.targets([style], frame)))


def panned(shift: int) -> np.ndarray:
    noise = np.random.default_rng(1).random((96, 200, 3), np.float32)
    ground = np.clip(0.5 + 4 * (cv2.GaussianBlur(noise, (0, 0), 2) - 0.5), 0, 1)
    return np.ascontiguousarray(ground[:, shift : shift + 144])


def test_a_pan_disoccludes_the_entering_edge_only() -> None:
    found = prior(panned(0), panned(6), panned(0))
    assert found is not None
    assert found.disoccluded is not None
    assert found.disoccluded.shape == (96, 144, 1)
    assert found.disoccluded[:, -5:].mean() > 0.9
    assert found.disoccluded[8:-8, 8:-16].mean() < 0.01
    still = prior(panned(0), panned(0), panned(0))
    assert still is not None
    assert still.disoccluded is not None
    assert not still.disoccluded.any()
