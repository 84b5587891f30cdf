"""The object in a box or under painted strokes, without a network: GrabCut.

Rother, Kolmogorov and Blake, "GrabCut" (2004), as in OpenCV.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from vidstyle.errors import GuideError, UsageError
from vidstyle.image import Image, to_bytes
from vidstyle.segmentation.matting import matted
from vidstyle.segmentation.prompts import Box, Point, Prompt
from vidstyle.validation import check_image

__all__ = ["grab_cut", "grab_cut_of"]

_ROUNDS = 5  # of estimating colours and cutting
_DOT = 0.01  # of the long side; radius of the area that a click marks
_SIDE = 640  # pixels of the long side at most while cutting


def grab_cut(
    image: Image,
    points: Sequence[Point] = (),
    labels: Sequence[int] = (),
    box: Box | None = None,
    strokes: np.ndarray | None = None,
) -> np.ndarray:
    """Return the mask of the object in a box or under strokes: float32 [H, W], 0..1.

    points, labels, box: as in Selector.select; a click is a dot. strokes: uint8 [H, W], 1 painted
    on the object, 2 beside it, 0 elsewhere. Clicks without a box mark only their own surroundings:
    a box or strokes are better. Raises UsageError, GuideError where nothing is found.
    """
    check_image(image, "image")
    prompt = Prompt.of(points, labels, box) if points or box is not None else None
    return grab_cut_of(image, prompt, strokes)


def grab_cut_of(
    image: Image, prompt: Prompt | None, strokes: np.ndarray | None = None
) -> np.ndarray:
    """Return the mask of a prompt, of strokes, or of both; see `grab_cut`."""
    height, width = image.shape[:2]
    if prompt is None and (strokes is None or not (strokes == 1).any()):
        raise UsageError("expected a box or a stroke on the object, got none; add one")
    if strokes is not None and strokes.shape != (height, width):
        raise UsageError(
            f"strokes: expected shape ({height}, {width}), got {strokes.shape}; draw them on the "
            "image"
        )
    if prompt is not None:
        prompt.check_within(width, height)
    marks = _marks((height, width), prompt, strokes)
    scale = min(1.0, _SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(to_bytes(image), size, interpolation=cv2.INTER_AREA)
    cut = cv2.resize(marks, size, interpolation=cv2.INTER_NEAREST)
    known = {int(value) % 2 for value in np.unique(cut)}
    if known == {0, 1}:  # both classes are needed
        background, subject = np.zeros((1, 65)), np.zeros((1, 65))
        cv2.setRNGSeed(0)  # GrabCut starts from a random clustering of the colours
        cv2.grabCut(small, cut, None, background, subject, _ROUNDS, cv2.GC_INIT_WITH_MASK)
    mask = cv2.resize((cut % 2).astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    if not (mask > 0.5).any():
        raise GuideError(
            "expected an object in the box or under the strokes, got nothing; draw the box closer "
            "around the object, or mark it"
        )
    return matted(image, mask)


def _marks(shape: tuple[int, int], prompt: Prompt | None, strokes: np.ndarray | None) -> np.ndarray:
    """Return the initial class of each pixel for grabCut: uint8 [H, W]."""
    height, width = shape
    box = None if prompt is None else prompt.box
    if box is None:
        marks = np.full(shape, cv2.GC_PR_BGD, np.uint8)
    else:
        marks = np.full(shape, cv2.GC_BGD, np.uint8)
        x0, y0, x1, y1 = (round(value) for value in box)
        marks[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)] = cv2.GC_PR_FGD
    radius = max(1, round(_DOT * max(height, width)))
    if prompt is not None:
        for points, kind in ((prompt.inside, cv2.GC_FGD), (prompt.outside, cv2.GC_BGD)):
            for x, y in points:
                cv2.circle(marks, (round(x), round(y)), radius, kind, cv2.FILLED)
    if strokes is not None:
        marks[strokes == 1], marks[strokes == 2] = cv2.GC_FGD, cv2.GC_BGD
    return marks
