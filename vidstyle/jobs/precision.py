"""The precision of a job, resolved before its manifest is written."""

import ctypes
from dataclasses import replace

from vidstyle.environment import preserved
from vidstyle.jobs.job import Job

__all__ = ["with_precision"]

_DRIVER = "libcuda.so.1"  # of NVIDIA, without which TensorFlow has no GPU that multiplies bfloat16


def with_precision(job: Job) -> Job:
    """Return the job with `precision` "float32" or "bfloat16" in place of "auto".

    The manifest then holds what the frames are made with: a run that continues on another kind of
    device is refused unless it names that precision. TensorFlow is not imported where it has no
    GPU. Raises UsageError if the device has no bfloat16.
    """
    settings = job.settings
    if not job.optimises or settings.precision == "float32":
        return job
    if settings.device == "cpu" or not _has_driver():
        found = "bfloat16" if settings.precision == "bfloat16" else "float32"
    else:
        with preserved():
            from vidstyle.vgg.device import choose_device, precision_of

        choose_device(settings.device)
        found = precision_of(settings.precision)
    return replace(job, settings=replace(settings, precision=found))


def _has_driver() -> bool:
    try:
        ctypes.CDLL(_DRIVER)
    except OSError:
        return False
    return True
