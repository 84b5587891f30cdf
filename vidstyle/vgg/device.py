"""The device that TensorFlow uses."""

from typing import Any

import tensorflow as tf

from vidstyle.errors import UsageError

__all__ = ["choose_device", "has_gpu", "make_deterministic"]


def has_gpu() -> bool:
    """Return whether TensorFlow uses a GPU: whether one is visible to it."""
    return bool(tf.config.get_visible_devices("GPU"))


def make_deterministic() -> None:
    """Make a GPU's operations deterministic, so that a repeated run gives the same bytes.

    By default its sums differ in the last bits from run to run. A CPU needs no setting.
    """
    if has_gpu():
        tf.config.experimental.enable_op_determinism()


def choose_device(device: str) -> None:
    """Make TensorFlow use only this device, in the whole process; device: see Settings.device.

    "auto" changes nothing: TensorFlow uses the first GPU that is visible. Raises UsageError if
    there is no such GPU, or if TensorFlow already uses other devices.
    """
    if device == "auto":
        return
    chosen = _chosen_gpus(device)
    if tf.config.get_visible_devices("GPU") == chosen:
        return
    try:
        tf.config.set_visible_devices(chosen, "GPU")
    except RuntimeError as error:  # its runtime has started
        raise UsageError(
            f"--device: expected the devices that this process already uses, got {device!r}; start "
            "another process for it"
        ) from error


def _chosen_gpus(device: str) -> list[Any]:
    """Return the GPUs to use: none for "cpu", else one. Raises UsageError."""
    if device == "cpu":
        return []
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        raise UsageError(
            f"--device {device}: expected a GPU that TensorFlow can use, found none; use --device "
            "cpu, or install vidstyle[gpu] and the driver of the GPU"
        )
    number = int(device.partition(":")[2] or 0)
    if number >= len(gpus):
        known = ", ".join(f"gpu:{index}" for index in range(len(gpus)))
        raise UsageError(f"--device: expected one of {known}, got {device}")
    return [gpus[number]]
