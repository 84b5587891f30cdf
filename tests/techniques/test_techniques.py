"""Properties that all techniques share, and equalities between them; on a tiny fixed encoder."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tiny import LAYERS, TinyEncoder, disc, stripes

from vidstyle.coherence.prior import TemporalPrior
from vidstyle.guides.guide import Guide
from vidstyle.image import Image
from vidstyle.settings import Settings
from vidstyle.stylizer.stylizer import Style, Stylizer
from vidstyle.techniques import TECHNIQUES, StyleFeatures, Technique
from vidstyle.techniques._receptive_field import receptive_field

FRAME = disc(32, 48)
STYLE = stripes(40, 48)


def ramp(height: int = 32, width: int = 48) -> Image:
    """A mask that rises from left to right."""
    return np.tile(np.linspace(0, 1, width, dtype=np.float32), (height, 1))


def halves(height: int, width: int) -> np.ndarray:
    """Two hard regions, left and right: planes [H, W, 2]."""
    left = (np.arange(width) < width // 2).astype(np.float32)
    return np.tile(np.stack([left, 1 - left], axis=1), (height, 1, 1))


GUIDES = {
    "basic": (None, None),
    "mask": (Guide(ramp()[..., None], ("a",)), None),
    "region": (
        Guide(halves(32, 48), ("#ff0000", "#0000ff")),
        Guide(halves(40, 48), ("#ff0000", "#0000ff")),
    ),
}
GUIDES["patch"] = GUIDES["doodle"] = GUIDES["region"]


def loss_and_gradient(
    name: str, guide: Guide | None, *styles: Style, image: Image = FRAME, **options: Any
) -> tuple[float, np.ndarray]:
    """The style loss of a technique and its gradient, at `image` for the frame FRAME."""
    encoder, technique = TinyEncoder(), TECHNIQUES[name](**options)
    encoded = [
        StyleFeatures(
            encoder(tf.constant(s.image)), s.image.shape[:2], s.weight / len(styles), s.guide
        )
        for s in styles
    ]
    frame = StyleFeatures(encoder(tf.constant(FRAME)), FRAME.shape[:2], guide=guide)
    targets = technique.targets(encoded, frame)
    pixels = tf.constant(image)
    with tf.GradientTape() as tape:
        tape.watch(pixels)
        loss = technique.loss(encoder(pixels), targets)
    return float(loss), tape.gradient(loss, pixels).numpy()


def assert_equal(one: tuple[float, np.ndarray], other: tuple[float, np.ndarray]) -> None:
    assert one[0] == pytest.approx(other[0], rel=1e-5)
    np.testing.assert_allclose(one[1], other[1], atol=1e-5 * abs(other[1]).max())


def uniform_guide(count: int = 1, part: float = 1.0) -> Guide:
    planes = np.full((32, 48, count), part, np.float32)
    return Guide(planes, tuple(f"#0000{index:02x}" for index in range(count)))


def test_a_mask_of_ones_is_basic() -> None:
    basic = loss_and_gradient("basic", None, Style(STYLE))
    assert_equal(loss_and_gradient("mask", uniform_guide(), Style(STYLE)), basic)


def test_one_region_is_basic() -> None:
    whole = Guide(np.ones((40, 48, 1), np.float32), uniform_guide().names)
    basic = loss_and_gradient("basic", None, Style(STYLE))
    assert_equal(loss_and_gradient("region", uniform_guide(), Style(STYLE, guide=whole)), basic)


@pytest.mark.parametrize("name", ["patch", "doodle"])
def test_one_block_as_large_as_the_picture_is_basic(name: str) -> None:
    basic = loss_and_gradient("basic", None, Style(STYLE))
    assert_equal(loss_and_gradient(name, None, Style(STYLE), block=16384), basic)


@pytest.mark.parametrize(
    "area", [uniform_guide().planes, halves(32, 48)[..., :1]], ids=["all", "half"]
)
@pytest.mark.parametrize("count", [2, 5])
def test_equal_masks_are_one_mask(count: int, area: np.ndarray) -> None:
    one = loss_and_gradient("mask", Guide(area, ("a",)), Style(STYLE))
    equal = Guide(np.repeat(area / np.float32(count), count, axis=2), uniform_guide(count).names)
    assert_equal(loss_and_gradient("mask", equal, Style(STYLE)), one)


def first_mask_weights(planes: np.ndarray, layer: str) -> np.ndarray:
    """Return the weights [H, W] of the first mask at a layer as large as the frame."""
    frame = StyleFeatures({layer: tf.zeros((*planes.shape[:2], 2))}, planes.shape[:2])
    frame = replace(frame, guide=Guide(planes, tuple(map(str, range(planes.shape[2])))))
    style = StyleFeatures({layer: tf.zeros((4, 4, 2))}, (4, 4))
    sparse = TECHNIQUES["mask"]().targets([style], frame)["planes"][layer]
    first = sparse.starts[1]
    weights = np.zeros(planes.shape[:2], np.float32)
    weights.flat[sparse.positions[:first].numpy()] = sparse.weights[:first, 0].numpy()
    return weights


@pytest.mark.parametrize("layer", ["relu1_1", "relu2_1", "relu3_1"])
def test_at_a_mask_edge_weights_are_the_covered_share_of_the_receptive_field(layer: str) -> None:
    half = halves(64, 128)[..., :1] * np.float32(0.5)
    found = first_mask_weights(half, layer)
    offsets = np.arange(-40, 41)
    gaussian = np.exp(-0.5 * (offsets / (receptive_field(layer) / 8)) ** 2)
    seen = [gaussian[column + offsets < 64].sum() / gaussian.sum() for column in range(64)]
    np.testing.assert_allclose(found[:, :64] / found[0, 0], np.tile(seen, (64, 1)), atol=0.002)
    assert not found[:, 64:].any()
    assert found.sum() == pytest.approx(half.sum(), rel=1e-5)


def test_the_weights_of_a_mask_of_few_cells_are_reduced_at_any_opacity() -> None:
    small = np.zeros((64, 128, 1), np.float32)
    small[30:34, 60:64] = 1
    parts = [
        first_mask_weights(small * np.float32(part), "relu3_1").sum() / part for part in (1, 0.25)
    ]
    assert parts[0] < 0.5 * small.sum()
    assert parts[1] == pytest.approx(parts[0], rel=1e-4)
    assert first_mask_weights(small, "relu1_1").sum() == pytest.approx(small.sum(), rel=1e-4)


def test_receptive_fields_are_those_of_vgg_19() -> None:
    """1 + Σ (kernel − 1) × stride; Araujo et al., "Computing Receptive Fields" (2019)."""
    layers = [f"relu{block}_1" for block in range(1, 6)]
    assert [receptive_field(layer) for layer in layers] == [3, 10, 24, 68, 156]


def test_masks_that_together_cover_the_frame_have_no_edge_weights() -> None:
    hard = halves(64, 128)
    np.testing.assert_array_equal(first_mask_weights(hard, "relu3_1"), hard[..., 0])


def test_a_uniform_mask_of_one_half_has_the_same_target_and_half_the_loss() -> None:
    whole, half = (
        loss_and_gradient("mask", uniform_guide(1, part), Style(STYLE)) for part in (1, 0.5)
    )
    assert_equal((2 * half[0], 2 * half[1]), whole)


def test_a_region_is_a_mask_with_the_same_hard_planes() -> None:
    planes = halves(32, 48)
    whole = Guide(np.ones((40, 48, 2), np.float32), ("a", "b"))
    region = loss_and_gradient("region", Guide(planes, ("a", "b")), Style(STYLE, guide=whole))
    assert_equal(loss_and_gradient("mask", Guide(planes, ("a", "b")), Style(STYLE)), region)


def test_each_mask_has_its_own_style() -> None:
    other = np.ascontiguousarray(STYLE[::-1, ::-1] ** 2)
    guide = Guide(halves(32, 48), ("a", "b"))
    both = loss_and_gradient("mask", guide, Style(STYLE), Style(other))
    hardly = np.float32(1e-7)  # so that all of the frame may change, as with both
    parts = [
        loss_and_gradient("mask", Guide(plane[..., None] + hardly, ("a",)), Style(image))
        for plane, image in zip(np.moveaxis(guide.planes, 2, 0), (STYLE, other), strict=True)
    ]
    assert_equal((parts[0][0] + parts[1][0], parts[0][1] + parts[1][1]), both)


def test_each_region_takes_the_style_of_the_region_of_the_same_name() -> None:
    names = ("a", "b")
    style_planes = halves(40, 48)
    forth = loss_and_gradient(
        "region", Guide(halves(32, 48), names), Style(STYLE, guide=Guide(style_planes, names))
    )
    back = loss_and_gradient(
        "region",
        Guide(halves(32, 48)[..., ::-1], names[::-1]),
        Style(STYLE, guide=Guide(style_planes, names)),
    )
    crossed = loss_and_gradient(
        "region", Guide(halves(32, 48), names), Style(STYLE, guide=Guide(style_planes, names[::-1]))
    )
    assert_equal(back, forth)
    assert crossed[0] != pytest.approx(forth[0], rel=1e-3)


@pytest.mark.parametrize("name", TECHNIQUES)
def test_the_gradient_is_that_of_finite_differences(name: str) -> None:
    guide, style_guide = GUIDES[name]
    style = Style(STYLE, guide=style_guide)
    random = np.random.default_rng(1)
    # within 0.2 .. 0.8, and away from the source
    image = np.clip(FRAME + random.normal(0, 0.05, FRAME.shape), 0.2, 0.8).astype(np.float32)
    _, gradient = loss_and_gradient(name, guide, style, image=image)
    direction = gradient / abs(gradient).max()
    step = 2e-3
    ahead, behind = (
        loss_and_gradient(name, guide, style, image=image + sign * step * direction)[0]
        for sign in (1, -1)
    )
    assert (gradient * direction).sum() == pytest.approx((ahead - behind) / (2 * step), rel=0.02)


def stylizer_of(name: str, **options: Any) -> Stylizer:
    defaults = {"steps": 8, "steps_next": 4, "style_layers": LAYERS, "content_layers": LAYERS[1:2]}
    technique: Technique = TECHNIQUES[name]()
    return Stylizer(
        [Style(STYLE, guide=GUIDES[name][1])],
        technique=technique,
        settings=Settings(**{**defaults, **options}),
        encoder=TinyEncoder(),
    )


@pytest.mark.parametrize("name", TECHNIQUES)
def test_the_loss_falls(name: str) -> None:
    one, many = (stylizer_of(name, steps=n).stylize(FRAME, guide=GUIDES[name][0]) for n in (1, 25))
    assert many.losses["style"] < 0.7 * one.losses["style"]


@pytest.mark.parametrize("name", TECHNIQUES)
def test_three_frames_take_one_trace(name: str) -> None:
    engine, guide = stylizer_of(name), GUIDES[name][0]
    confidence, image = np.ones((32, 48, 1), np.float32), None
    for shift in (0, 3, 5):
        moved = guide and Guide(np.roll(guide.planes, shift, axis=1) * guide.planes, guide.names)
        prior = None if image is None else TemporalPrior(image, confidence)
        image = engine.stylize(disc(32, 48, x=0.5 + shift / 48), guide=moved, prior=prior).image
    assert engine.traces == 1


@pytest.mark.parametrize("name", [name for name, kind in TECHNIQUES.items() if kind.confined])
def test_outside_all_planes_the_output_is_the_source_bit_for_bit(name: str) -> None:
    guide, _ = GUIDES[name]
    assert guide is not None
    planes = guide.planes.copy()
    planes[:10] = 0
    engine = stylizer_of(name)
    empty = Guide(planes, guide.names)
    first = engine.stylize(FRAME, guide=empty).image
    assert np.array_equal(first[:10], FRAME[:10])
    assert (first[12:] != FRAME[12:]).mean() > 0.5
    carried = TemporalPrior(np.zeros_like(FRAME), np.ones((32, 48, 1), np.float32))
    second = engine.stylize(FRAME, guide=empty, prior=carried).image
    assert np.array_equal(second[:10], FRAME[:10])
    nothing = Guide(np.zeros_like(planes), guide.names)
    assert np.array_equal(engine.stylize(FRAME, guide=nothing).image, FRAME)


@pytest.mark.parametrize("name", TECHNIQUES)
def test_no_sum_of_gradients_depends_on_the_order_of_execution(name: str) -> None:
    """TensorFlow adds three or more gradients in the order in which they are ready: see summed."""
    engine = stylizer_of(name)
    disoccluded = np.zeros((32, 48, 1), np.float32)
    disoccluded[:, 40:] = 1
    prior = TemporalPrior(FRAME, 1 - disoccluded, disoccluded=disoccluded)
    engine.stylize(FRAME, guide=GUIDES[name][0], prior=prior)
    traced = list(engine.step_at(FRAME)._graphs.values())
    sums = [op for each in traced for op in each.graph.get_operations() if op.type == "AddN"]
    assert sums
    assert [list(op.inputs) for op in sums if len(op.inputs) > 2] == []
