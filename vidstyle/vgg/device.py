"""The device that TensorFlow uses."""

import tensorflow as tf

__all__ = ["has_gpu", "make_deterministic"]


def has_gpu() -> bool:
    """Return whether TensorFlow uses a GPU: whether one is visible to it."""
    return bool(tf.config.get_visible_devices("GPU"))


def make_deterministic() -> None:
    """Make a GPU's operations deterministic, so that a repeated run gives the same bytes.

    By default its sums differ in the last bits from run to run. A CPU needs no setting.
    """
    if has_gpu():
        tf.config.experimental.enable_op_determinism()
