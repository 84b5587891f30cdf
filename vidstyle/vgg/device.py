"""The device that TensorFlow uses."""

from typing import Any, Literal

import tensorflow as tf

from vidstyle.errors import UsageError

__all__ = ["Precision", "choose_device", "has_gpu", "make_deterministic", "precision_of"]

Precision = Literal["float32", "bfloat16"]

_BFLOAT16_CAPABILITY = (8, 0)  # CUDA compute capability from which on a GPU multiplies bfloat16


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


def precision_of(precision: str) -> Precision:
    """Return the precision for the device in use; precision: see Settings.precision.

    "auto" is bfloat16 on a GPU that multiplies it, else float32. Raises UsageError for bfloat16 on
    another GPU.
    """
    gpus = tf.config.get_visible_devices("GPU")
    if precision == "float32" or (precision == "auto" and not gpus):
        return "float32"
    if not gpus:
        return "bfloat16"
    details = tf.config.experimental.get_device_details(gpus[0])
    capability = details.get("compute_capability") or (0, 0)
    if tuple(capability) >= _BFLOAT16_CAPABILITY:
        return "bfloat16"
    if precision == "auto":
        return "float32"
    raise UsageError(
        "--precision bfloat16: expected a GPU of CUDA compute capability 8.0 or later, got "
        f"{details.get('device_name', 'a GPU')} with {_dotted(capability)}; use --precision float32"
    )


def _dotted(capability: tuple[int, int]) -> str:
    return ".".join(map(str, capability)) if any(capability) else "none"
