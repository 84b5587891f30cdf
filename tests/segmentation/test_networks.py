"""The real networks, on drawn pictures; onnxruntime and TensorFlow in one process."""

import subprocess
import sys

import cv2
import numpy as np
import pytest

from vidstyle import segmentation
from vidstyle.errors import GuideError

HEIGHT, WIDTH = 240, 320


def picture() -> np.ndarray:
    """A red ball with a highlight above a green meadow and a blue sky."""
    rows = np.linspace(0, 1, HEIGHT, dtype=np.float32)[:, None, None]
    sky = np.array([0.5, 0.7, 0.95], np.float32) * (1 - 0.3 * rows)
    meadow = np.array([0.25, 0.5, 0.2], np.float32) * (0.7 + 0.3 * rows)
    image = np.where(rows < 0.6, sky, meadow) + np.zeros((HEIGHT, WIDTH, 1), np.float32)
    noise = np.random.default_rng(0).normal(0, 0.02, image.shape)
    image = np.clip(image + cv2.GaussianBlur(noise, (0, 0), 1), 0, 1).astype(np.float32)
    cv2.circle(image, (160, 130), 55, (0.8, 0.12, 0.1), cv2.FILLED, cv2.LINE_AA)
    cv2.circle(image, (142, 110), 12, (0.95, 0.6, 0.55), cv2.FILLED, cv2.LINE_AA)
    return image


def overlap(mask: np.ndarray) -> float:
    ball = cv2.circle(np.zeros((HEIGHT, WIDTH), np.uint8), (160, 130), 55, 1, cv2.FILLED) > 0
    return float(((mask > 0.5) & ball).sum() / ((mask > 0.5) | ball).sum())


@pytest.mark.masks
def test_a_ball_stands_out() -> None:
    first, second = (segmentation.saliency(picture()) for _ in range(2))
    assert overlap(first) > 0.85
    assert np.array_equal(first, second)


@pytest.mark.masks
def test_nothing_stands_out_of_a_plain_landscape() -> None:
    plain = picture()
    plain[:, :] = plain[:, :1]
    with pytest.raises(GuideError, match="stands out"):
        segmentation.saliency(plain)


@pytest.mark.masks
def test_a_ball_is_found_by_click_and_by_box() -> None:
    pytest.importorskip("onnxruntime", reason="the extra subject is not installed")
    selector = segmentation.Selector(picture())
    first = selector.select([(160, 140)], [1])
    assert overlap(first) > 0.8
    assert overlap(selector.select([(160, 140), (142, 110)], [1, 1], previous=first)) > 0.8
    assert overlap(selector.select(box=(103, 73, 217, 187))) > 0.9


_ENCODE = """
import numpy as np
from vidstyle import segmentation
image = np.full((64, 64, 3), 0.2, np.float32)
image[16:48, 16:48] = 0.9
assert segmentation.Selector(image).select(box=(16, 16, 48, 48))[32, 32] > 0.5
"""
_CONVOLVE = """
import tensorflow as tf
found = tf.nn.conv2d(tf.ones((1, 8, 8, 1)), tf.ones((3, 3, 1, 1)), 1, "VALID")
assert float(found[0, 0, 0, 0]) == 9
"""


@pytest.mark.masks
@pytest.mark.parametrize("order", [_ENCODE + _CONVOLVE, _CONVOLVE + _ENCODE], ids=["onnx", "tf"])
def test_onnxruntime_and_tensorflow_work_in_either_order(order: str) -> None:
    pytest.importorskip("onnxruntime", reason="the extra subject is not installed")
    done = subprocess.run(
        [sys.executable, "-c", order], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
