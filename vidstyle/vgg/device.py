"""The device that TensorFlow works on."""

import tensorflow as tf

__all__ = ["has_gpu", "make_deterministic"]


def has_gpu() -> bool:
    """Return whether TensorFlow works on a GPU: one that is there, and not hidden from it."""
    return bool(tf.config.get_visible_devices("GPU"))


def make_deterministic() -> None:
    """Have a GPU add up in one order, so that a run made again gives the same bytes.

    Left alone it differs from run to run in the last bits, and so then does all that follows. On a
    CPU nothing is to be done.
    """
    if has_gpu():
        tf.config.experimental.enable_op_determinism()
