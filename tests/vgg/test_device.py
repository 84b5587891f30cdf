"""The settings of TensorFlow by device, with fake devices: no test machine has a GPU."""

from typing import Any

import pytest
import tensorflow as tf
from tiny import LAYERS, TinyEncoder, stripes

from vidstyle.errors import SettingsError, UsageError
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


class Gpus:
    """TensorFlow's configuration on a machine with some GPUs; started: its runtime is running."""

    def __init__(self, count: int, *, started: bool = False) -> None:
        self.all = [f"GPU{number}" for number in range(count)]
        self.visible, self._started = self.all, started

    def list_physical_devices(self, kind: str) -> list[str]:
        assert kind == "GPU"
        return self.all

    def get_visible_devices(self, kind: str) -> list[str]:
        assert kind == "GPU"
        return self.visible

    def set_visible_devices(self, devices: list[str], kind: str) -> None:
        assert kind == "GPU"
        if self._started:
            raise RuntimeError("Visible devices cannot be modified after being initialized")
        self.visible = devices


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    def with_gpus(count: int, **state: bool) -> Gpus:
        gpus = Gpus(count, **state)
        for name in ("list_physical_devices", "get_visible_devices", "set_visible_devices"):
            monkeypatch.setattr(tf.config, name, getattr(gpus, name))
        return gpus

    return with_gpus


@pytest.mark.parametrize(
    ("name", "visible"),
    [("auto", ["GPU0", "GPU1"]), ("cpu", []), ("gpu", ["GPU0"]), ("gpu:1", ["GPU1"])],
)
def test_a_device_is_chosen(machine: Any, name: str, visible: list[str]) -> None:
    gpus = machine(2)
    device.choose_device(name)
    assert gpus.visible == visible
    gpus = machine(2, started=True)
    gpus.visible = visible
    device.choose_device(name)  # already so


def test_a_missing_gpu_is_refused(machine: Any) -> None:
    machine(0)
    device.choose_device("cpu")
    with pytest.raises(UsageError, match=r"--device gpu: expected a GPU .* found none; use"):
        device.choose_device("gpu")
    machine(2)
    with pytest.raises(UsageError, match="expected one of gpu:0, gpu:1, got gpu:2"):
        device.choose_device("gpu:2")


def test_another_device_than_a_running_process_uses_is_refused(machine: Any) -> None:
    machine(1, started=True)
    with pytest.raises(UsageError, match="already uses, got 'cpu'; start another process"):
        device.choose_device("cpu")


@pytest.mark.parametrize("name", ["", "GPU", "gpu:", "gpu:-1", "gpu:x", "cuda", "cpu:0", "gpu\n"])
def test_an_unknown_device_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="--device: expected auto, cpu, gpu or gpu:N"):
        Settings(device=name)


def test_the_device_is_no_part_of_the_look() -> None:
    assert "device" in Settings(device="cpu").of_scope("run")
    assert "device" not in Settings(device="cpu").of_scope("look")


def test_a_stylizer_uses_the_device_of_its_settings(machine: Any) -> None:
    machine(0)
    settings = Settings(style_layers=LAYERS, content_layers=LAYERS[1:2], device="gpu")
    with pytest.raises(UsageError, match="found none"):
        Stylizer((Style(stripes(40, 48)),), settings=settings, encoder=TinyEncoder())
