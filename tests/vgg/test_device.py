"""The settings of TensorFlow by device, with fake devices: no test machine has a GPU."""

import pytest
import tensorflow as tf
from tiny import LAYERS, TinyEncoder, stripes

from vidstyle.settings import Settings
from vidstyle.stylizer.stylizer import Style, Stylizer
from vidstyle.vgg import device


@pytest.mark.parametrize("gpus", [0, 1])
def test_gpu_operations_are_made_deterministic(gpus: int, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[bool] = []
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: [kind] * gpus)
    monkeypatch.setattr(tf.config.experimental, "enable_op_determinism", lambda: calls.append(True))
    settings = Settings(style_layers=LAYERS, content_layers=LAYERS[1:2])
    Stylizer((Style(stripes(40, 48)),), settings=settings, encoder=TinyEncoder())
    assert device.has_gpu() == bool(gpus)
    assert calls == [True] * gpus
