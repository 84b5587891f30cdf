"""bfloat16 activations, and convolutions whose gradient is a forward convolution."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tiny import TinyEncoder, disc, narrow_encoder, stripes

from vidstyle.coherence.prior import TemporalPrior
from vidstyle.errors import SettingsError, UsageError
from vidstyle.settings import Settings
from vidstyle.stylizer.protocol import Stylized
from vidstyle.stylizer.stylizer import Style, Stylizer
from vidstyle.vgg import device, losses
from vidstyle.vgg.crop import Window
from vidstyle.vgg.encoder import Encoder, load_encoder
from vidstyle.vgg.layers import Convolution, Halo, conv2d, conv2d_flipped
from vidstyle.vgg.tiling import Strips

RANDOM = np.random.default_rng(7)
LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
IMAGE = tf.constant(disc(48, 64))


def value_and_gradient(function: Any, x: Any) -> tuple[np.ndarray, np.ndarray]:
    """A function's value at x, and the gradient of the sum of its squares."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = function(x)
        loss = tf.reduce_sum(tf.square(value))
    return value.numpy(), tape.gradient(loss, x).numpy()


def assert_equal_up_to(tolerance: float, ours: Any, expected: Any) -> None:
    for one, other in zip(ours, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=tolerance * np.abs(other).max())


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("bordered", [False, True])
@pytest.mark.parametrize("size", [(8, 8), (9, 13), (4, 3), (17, 6)])
def test_the_gradient_is_a_forward_convolution_with_the_flipped_kernel(
    size: tuple[int, int], bordered: bool, padded: bool
) -> None:
    x = tf.constant(RANDOM.random((*size, 16)), tf.float32)
    kernel = RANDOM.normal(0, 0.1, (3, 3, 16, 12)).astype(np.float32)

    def both(convolution: Convolution) -> tuple[np.ndarray, np.ndarray]:
        return value_and_gradient(lambda x: convolution(x, padded=padded), x)

    own = both(conv2d_flipped(kernel, bordered=bordered))
    assert_equal_up_to(1e-5, own, both(conv2d(kernel, bordered=bordered)))


@pytest.mark.parametrize("bordered", [False, True])
def test_a_halo_has_no_gradient(bordered: bool) -> None:
    x = tf.constant(RANDOM.random((6, 7, 4)), tf.float32)
    kernel = RANDOM.normal(0, 0.1, (3, 3, 4, 5)).astype(np.float32)
    halo = Halo(
        tf.constant([[0, 0], [0, 3], [7, 8]]), tf.constant(RANDOM.random((3, 4)), "float32")
    )

    def both(convolution: Convolution) -> tuple[np.ndarray, np.ndarray]:
        return value_and_gradient(lambda x: convolution(x, halo), x)

    own = both(conv2d_flipped(kernel, bordered=bordered))
    assert_equal_up_to(1e-5, own, both(conv2d(kernel, bordered=bordered)))


def test_no_gradient_operation_of_convolutions_is_in_a_graph_for_a_gpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(tf.config, "get_visible_devices", lambda kind: [kind])
        encoder = narrow_encoder(*LAYERS)

    @tf.function
    def gradient(image: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(image)
            total = losses.summed([tf.reduce_sum(v) for v in encoder(image).values()])
        return tape.gradient(total, image)

    kinds = [op.type for op in gradient.get_concrete_function(IMAGE).graph.get_operations()]
    assert kinds.count("Conv2D") == 2 * 9
    assert "Conv2DBackpropInput" not in kinds
    assert_equal_up_to(
        1e-5, [gradient(IMAGE)], [_gradient(narrow_encoder(*LAYERS, plain=True), IMAGE)]
    )


def _gradient(encoder: Any, image: Any) -> np.ndarray:
    with tf.GradientTape() as tape:
        tape.watch(image)
        total = losses.summed([tf.reduce_sum(v) for v in encoder(image).values()])
    return np.asarray(tape.gradient(total, image))


def test_bfloat16_is_inside_the_network_alone() -> None:
    encoder = narrow_encoder(*LAYERS, precision="bfloat16")
    kinds: dict[str, Any] = {}

    def observe(name: str, x: Any) -> None:
        kinds[name] = x.dtype

    features = encoder._features(IMAGE, [None] * 9, observe)
    assert kinds.pop("relu1_1") == tf.float32
    assert set(kinds.values()) == {tf.bfloat16}
    assert {values.dtype for values in features.values()} == {tf.float32}
    assert _gradient(encoder, IMAGE).dtype == np.float32


def test_bfloat16_features_and_gradients_are_those_of_float32_up_to_its_rounding() -> None:
    exact, rounded = (narrow_encoder(*LAYERS, precision=p) for p in ("float32", "bfloat16"))
    expected, found = exact(IMAGE), rounded(IMAGE)
    for layer in LAYERS:
        apart = np.abs(found[layer] - expected[layer]).max() / np.abs(expected[layer]).max()
        assert apart < 0.02, layer
    np.testing.assert_allclose(found["relu1_1"], expected["relu1_1"], rtol=1e-5, atol=1e-3)
    assert not np.array_equal(found["relu4_1"], expected["relu4_1"])
    apart = _gradient(rounded, IMAGE) - _gradient(exact, IMAGE)
    # a pool's largest value, and a ReLU's sign, may be another one
    assert np.linalg.norm(apart) < 0.15 * np.linalg.norm(_gradient(exact, IMAGE))


def test_strips_and_windows_are_those_of_the_whole_image_in_bfloat16() -> None:
    encoder = narrow_encoder(*LAYERS, precision="bfloat16")
    whole = encoder(IMAGE)
    late = Strips(encoder, 32).late(IMAGE)
    window = Window(16, 16, 32, 48)
    corner, size = tf.constant((16, 16, 0)), (32, 48)
    _, around = encoder.surroundings(IMAGE, corner, size)
    within = encoder.within(IMAGE, around, size)
    for layer in LAYERS[2:]:
        np.testing.assert_allclose(late[layer], whole[layer], atol=0.01 * np.max(whole[layer]))
    for layer in LAYERS:
        expected = window.at(layer).cut(whole[layer])
        np.testing.assert_allclose(within[layer], expected, atol=0.01 * np.max(expected))


def stylized(precision: str, **options: Any) -> list[Stylized]:
    """A first and a later frame by the narrow network."""
    settings = Settings(style_layers=LAYERS, content_layers=LAYERS[2:3], steps=30, **options)
    encoder = narrow_encoder(*LAYERS, precision=precision)
    engine = Stylizer((Style(stripes(40, 48)),), settings=settings, encoder=encoder)
    first = engine.stylize(disc(48, 64))
    prior = TemporalPrior(first.image, np.ones((48, 64, 1), np.float32))
    return [first, engine.stylize(disc(48, 64, x=0.52), prior=prior)]


def test_a_run_in_bfloat16_looks_the_same() -> None:
    runs = (stylized("float32"), stylized("bfloat16"), stylized("float32", seed=1))
    for exact, rounded, other_seed in zip(*runs, strict=True):
        assert rounded.image.dtype == np.float32
        assert len(np.unique(rounded.image)) > 5000  # pixels are not rounded to 8 bits
        assert rounded.losses["total"] == pytest.approx(exact.losses["total"], rel=0.02)
        assert psnr(exact.image, rounded.image) > 25
        assert psnr(exact.image, rounded.image) > psnr(exact.image, other_seed.image)
        assert not np.array_equal(exact.image, rounded.image)
    again = stylized("bfloat16")
    assert all(np.array_equal(a.image, b.image) for a, b in zip(again, runs[1], strict=True))


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean((one - other) ** 2)))


@pytest.mark.vgg
def test_vgg_in_bfloat16_has_the_same_losses() -> None:
    names = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
    style = tf.constant(stripes(64, 64))
    found = []
    for precision in ("float32", "bfloat16"):
        encoder = load_encoder(None, names, precision)
        goals = {layer: losses.moments(values) for layer, values in encoder(style).items()}
        with tf.GradientTape() as tape:
            tape.watch(IMAGE)
            moments = {layer: losses.moments(values) for layer, values in encoder(IMAGE).items()}
            loss = losses.over_layers(
                {layer: losses.style(moments[layer], goals[layer]) for layer in names}
            )
        found.append((float(loss), tape.gradient(loss, IMAGE).numpy()))
    (exact, slope), (rounded, rounded_slope) = found
    assert rounded == pytest.approx(exact, rel=2e-3)
    assert np.linalg.norm(rounded_slope - slope) < 0.15 * np.linalg.norm(slope)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Pretend that TensorFlow sees a GPU with these details."""

    def present(**details: Any) -> None:
        monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: [kind])
        monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: details)

    return present


@pytest.mark.parametrize(
    ("capability", "expected"),
    [((7, 5), "float32"), ((8, 0), "bfloat16"), ((9, 0), "bfloat16"), (None, "float32")],
)
def test_auto_is_bfloat16_on_gpus_that_multiply_it(
    gpu: Any, capability: Any, expected: str
) -> None:
    gpu(compute_capability=capability)
    assert device.precision_of("auto") == expected
    assert device.precision_of("float32") == "float32"


def test_bfloat16_is_refused_on_an_older_gpu(gpu: Any) -> None:
    gpu(compute_capability=(7, 5), device_name="Tesla T4")
    with pytest.raises(UsageError, match=r"capability 8\.0 or later, got Tesla T4 with 7\.5; use"):
        device.precision_of("bfloat16")
    gpu()
    with pytest.raises(UsageError, match="got a GPU with none; use --precision float32"):
        device.precision_of("bfloat16")


def test_auto_is_float32_on_a_cpu() -> None:
    assert device.precision_of("auto") == "float32"
    assert device.precision_of("bfloat16") == "bfloat16"
    with pytest.raises(SettingsError, match="--precision: expected 'auto' or 'float32' or 'bfl"):
        Settings(precision="float16")


def test_an_encoder_of_ones_own_has_its_own_precision() -> None:
    style = (Style(stripes(40, 48)),)
    with pytest.raises(UsageError, match="with an encoder of your own, got 'bfloat16'"):
        Stylizer(style, settings=Settings(precision="bfloat16"), encoder=TinyEncoder())


@pytest.mark.vgg
def test_the_stylizer_loads_the_network_in_its_precision() -> None:
    settings = Settings(
        precision="bfloat16", style_layers=("relu1_2",), content_layers=("relu1_2",)
    )
    encoder = Stylizer((Style(stripes(40, 48)),), settings=settings).encode
    assert isinstance(encoder, Encoder)
    assert encoder.precision == "bfloat16"
