"""Salient object detection: U²-Net-p (Qin et al., "U²-Net", 2020) in OpenCV's dnn."""

import threading
from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from vidstyle.downloads.members import find
from vidstyle.errors import GuideError, WeightsError
from vidstyle.image import Image
from vidstyle.segmentation.matting import matted
from vidstyle.segmentation.models import SALIENCY
from vidstyle.validation import check_image

__all__ = ["SIDE", "mask_of", "nothing_stands_out", "saliency", "saliency_map", "stands_out"]

SIDE = 320  # pixels of the network's square input and output
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, RGB
_CERTAIN = 0.8  # of 1; saliency of a clearly salient pixel
_SMALLEST = 0.002  # of the picture; a smaller clearly salient area is noise
_LOCK = threading.Lock()  # a network of OpenCV serves one caller at a time


def saliency(image: Image) -> np.ndarray:
    """Return the mask of the salient objects of an image: float32 [H, W], 0..1.

    Raises GuideError if nothing is salient, WeightsError if the network cannot be fetched.
    """
    check_image(image, "image")
    found = saliency_map(image)
    if not stands_out(found):
        raise GuideError(nothing_stands_out("the image"))
    return mask_of(found, image)


def saliency_map(image: Image) -> np.ndarray:
    """Return the saliency map of an image: float32 [SIDE, SIDE], 0..1.

    The network's own output; the image is scaled to a square. The same on every call and with any
    number of threads. Raises WeightsError.
    """
    scaled = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    scaled = scaled / max(float(scaled.max()), 1e-6)  # as the network was trained
    normal = ((scaled - _MEAN) / _DEVIATION).astype(np.float32)
    with _LOCK:
        network, output = _network()
        network.setInput(np.ascontiguousarray(normal.transpose(2, 0, 1)[None]))
        found = network.forward(output)
    return np.clip(found[0, 0], 0, 1)


def stands_out(found: np.ndarray) -> bool:
    """Return whether a saliency map has a clearly salient area."""
    return float((found > _CERTAIN).mean()) > _SMALLEST


def mask_of(found: np.ndarray, image: Image) -> np.ndarray:
    """Return a saliency map as a mask of the image, float32 [H, W], aligned with its edges."""
    height, width = image.shape[:2]
    enlarged = cv2.resize(found, (width, height), interpolation=cv2.INTER_LINEAR)
    return matted(image, enlarged)


def nothing_stands_out(what: str) -> str:
    """Return the error message for a picture without a subject."""
    return (
        f"{what}: expected a subject that stands out for --mask auto, got none; select one with "
        "'vidstyle select', or give a mask"
    )


@lru_cache(maxsize=1)
def _network() -> tuple[Any, str]:
    """Return the network and the name of its output. Raises WeightsError."""
    path = find(SALIENCY)
    try:
        network = cv2.dnn.readNetFromONNX(str(path))
    except cv2.error as error:
        raise WeightsError(
            f"{path}: expected a network that OpenCV {cv2.__version__} reads, got one that it "
            "refuses; install opencv-python-headless 4.10 or later"
        ) from error
    return network, network.getUnconnectedOutLayersNames()[0]
