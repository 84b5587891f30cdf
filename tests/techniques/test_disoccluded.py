"""The style loss over disoccluded pixels alone, and which pixels are disoccluded."""

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
from vidstyle.techniques._disoccluded import _WEIGHT
from vidstyle.techniques._receptive_field import plane_weights, receptive_field
from vidstyle.vgg.crop import Window
from vidstyle.vgg.losses import over_layers

SIZE = (32, 48)
FRAME, STYLE = disc(*SIZE), stripes(40, 48)
RIGHT = np.zeros((*SIZE, 1), np.float32)
RIGHT[:, 24:] = 1
WHOLE = np.ones_like(RIGHT)
ENCODER = TinyEncoder()


def loss_and_gradient(
    name: str,
    disoccluded: np.ndarray | None,
    mask: np.ndarray = WHOLE,
    *,
    window: Window | None = None,
) -> tuple[float, np.ndarray]:
    """Return the style loss of a technique and its gradient, with disoccluded pixels."""
    guide = None if name == "basic" else Guide(mask, ("a",))
    style = StyleFeatures(ENCODER(tf.constant(STYLE)), STYLE.shape[:2], guide=Guide(
        np.ones((*STYLE.shape[:2], 1), np.float32), ("a",)
    ))  # fmt: skip
    frame_features = ENCODER(tf.constant(FRAME))
    frame = StyleFeatures(frame_features, SIZE, guide=guide, disoccluded=disoccluded, window=window)
    targets = TECHNIQUES[name]().targets([style], frame)
    pixels = tf.constant(FRAME)
    with tf.GradientTape() as tape:
        tape.watch(pixels)
        features = ENCODER(pixels)
        if window is not None:
            features = {layer: window.at(layer).cut(values) for layer, values in features.items()}
        loss = TECHNIQUES[name]().loss(features, targets)
    return float(loss), tape.gradient(loss, pixels).numpy()


def disoccluded_part(disoccluded: np.ndarray, mask: np.ndarray = WHOLE) -> tuple[float, np.ndarray]:
    """Return the disoccluded loss in a mask and its gradient by the definition, without _WEIGHT."""
    pixels, style = tf.constant(FRAME), ENCODER(tf.constant(STYLE))
    distances = {}
    with tf.GradientTape() as tape:
        tape.watch(pixels)
        for layer, values in ENCODER(pixels).items():
            height, width, channels = values.shape
            sigma = receptive_field(layer) / 8
            share = cv2.GaussianBlur(disoccluded, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
            weights = plane_weights(Guide(mask, ("a",)), layer, height, width)[..., 0]
            weights = weights * square_means(disoccluded[..., 0], height)
            weights = weights * square_means(share, height)
            flat, of_style = (tf.reshape(x, (-1, channels)) for x in (values, style[layer]))
            distance = plain_style(flat, weights.ravel(), of_style, np.ones(len(of_style)))
            distances[layer] = weights.mean() * distance
        loss = over_layers(distances)
    return float(loss), tape.gradient(loss, pixels).numpy()


def square_means(image: np.ndarray, height: int) -> np.ndarray:
    """Return the means over squares of an image [H, W], `height` squares in a column."""
    side = image.shape[0] // height
    return image.reshape(height, side, -1, side).mean(axis=(1, 3))


def assert_sum(whole: tuple[float, np.ndarray], *parts: tuple[float, np.ndarray]) -> None:
    assert whole[0] == pytest.approx(sum(loss for loss, _ in parts), rel=1e-4)
    gradient = sum(gradient for _, gradient in parts)
    np.testing.assert_allclose(whole[1], gradient, atol=1e-4 * np.abs(gradient).max())


def scaled(factor: float, part: tuple[float, np.ndarray]) -> tuple[float, np.ndarray]:
    return factor * part[0], factor * part[1]


@pytest.mark.parametrize("name", ["basic", "mask", "region"])
def test_features_are_weighted_by_the_disoccluded_part_of_their_receptive_field(name: str) -> None:
    usual = loss_and_gradient(name, None)
    assert_sum(loss_and_gradient(name, RIGHT), usual, scaled(_WEIGHT, disoccluded_part(RIGHT)))
    assert_sum(loss_and_gradient(name, WHOLE), scaled(1 + _WEIGHT, usual))


@pytest.mark.parametrize("name", ["basic", "mask", "region"])
def test_without_disoccluded_pixels_the_disoccluded_loss_is_0(name: str) -> None:
    assert_sum(loss_and_gradient(name, np.zeros_like(RIGHT)), loss_and_gradient(name, None))


def test_a_plane_counts_disoccluded_pixels_inside_its_mask_only() -> None:
    half = np.zeros_like(RIGHT)
    half[:16] = 1
    both, usual = loss_and_gradient("mask", RIGHT, half), loss_and_gradient("mask", None, half)
    assert_sum(both, usual, scaled(_WEIGHT, disoccluded_part(RIGHT, half)))


def test_a_disoccluded_sliver_has_little_weight_at_deep_layers() -> None:
    """Its few features there depend mostly on the static pixels around it."""
    sliver = np.zeros_like(RIGHT)
    sliver[:, 24:26] = 1
    frame = StyleFeatures(ENCODER(tf.constant(FRAME)), SIZE, disoccluded=sliver)
    parts = TECHNIQUES["basic"]().targets([frame], frame)["disoccluded"]
    shares = [float(parts[layer].shares[0]) / sliver.mean() for layer in LAYERS]
    assert shares[0] > 0.9
    assert shares[2] < 0.35


def test_the_disoccluded_loss_in_a_window_equals_that_of_the_whole_frame() -> None:
    mask = np.zeros_like(RIGHT)
    mask[8:24, 16:32] = 1
    disoccluded = np.zeros_like(RIGHT)
    disoccluded[8:16, 16:32] = 1
    assert_sum(
        loss_and_gradient("mask", disoccluded, mask, window=Window(0, 16, 32, 16)),
        loss_and_gradient("mask", disoccluded, mask),
    )


def test_disoccluded_pixels_are_stylised_although_the_rest_already_is() -> None:
    """Their moments get closer to the style's than with the loss of the whole frame alone."""
    settings = Settings(
        steps=60, steps_next=15, style_layers=LAYERS, content_layers=LAYERS[1:2],
        tv_weight=0, content_weight=0.05,
    )  # fmt: skip
    engine = Stylizer([Style(STYLE)], settings=settings, encoder=ENCODER)
    stylised = engine.stylize(FRAME).image
    strip = np.zeros_like(RIGHT)
    strip[:, -8:] = 1
    start = np.where(strip > 0, np.float32(0.5) * FRAME, stylised)
    distances = [
        distance(
            engine.stylize(
                FRAME, prior=TemporalPrior(start, 1 - strip, disoccluded=disoccluded)
            ).image,
            strip,
        )
        for disoccluded in (None, strip)
    ]
    assert distances[1] < 0.7 * distances[0]
    assert engine.traces == 1


def distance(image: np.ndarray, mask: np.ndarray) -> float:
    """Return the style distance from STYLE of the image inside a mask."""
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
