"""The object that is clicked or framed in an image: a SAM with a TinyViT encoder, by onnxruntime.

Kirillov et al., "Segment Anything" (2023); Zhang et al., "Faster Segment Anything" (2023).
"""

import importlib.util
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from vidstyle.downloads.members import Member, find
from vidstyle.errors import GuideError, UsageError, WeightsError
from vidstyle.image import Image
from vidstyle.segmentation.matting import matted
from vidstyle.segmentation.models import CLICK_DECODER, CLICK_ENCODER
from vidstyle.segmentation.prompts import Box, Point, Prompt
from vidstyle.validation import check_image

__all__ = ["Selector", "check_click_model", "has_click_model", "select"]

_SIDE = 1024  # pixels of the encoder's square input
_LOW = 256  # pixels of the decoder's square masks
_CELL = 16  # pixels of the encoder's input that share a feature vector
_MEAN, _DEVIATION = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # of ImageNet, RGB, 0..255
_CERTAIN = 1e-4  # of 1; how near to 0 or 1 a mask's probability may be
_SMALLEST, _LARGEST = 1e-5, 0.995  # of the picture; a smaller or larger answer is no object


def has_click_model() -> bool:
    """Return whether the extra `subject` is installed."""
    return importlib.util.find_spec("onnxruntime") is not None


def check_click_model() -> None:
    """Raise UsageError without the extra `subject`."""
    if not has_click_model():
        raise UsageError(
            "selecting by clicks needs the extra 'subject' (onnxruntime), which is not installed; "
            'install it with pip install "vidstyle[subject]", or use --grabcut'
        )


def select(
    image: Image,
    points: Sequence[Point] = (),
    labels: Sequence[int] = (),
    box: Box | None = None,
    previous: np.ndarray | None = None,
) -> np.ndarray:
    """Return the mask of the object at clicks or in a box: float32 [H, W], 0..1.

    As Selector(image).select(points, labels, box, previous).
    """
    return Selector(image).select(points, labels, box, previous)


class Selector:
    """Finds objects in one image, whose encoding is computed once.

    image: an Image. Raises UsageError without the extra `subject`, WeightsError if the networks
    cannot be fetched.
    """

    def __init__(self, image: Image) -> None:
        check_image(image, "image")
        check_click_model()
        self._image = image
        height, width = image.shape[:2]
        self._scale = _SIDE / max(height, width)
        self._size = (max(1, round(width * self._scale)), max(1, round(height * self._scale)))
        scaled = cv2.resize(image, self._size, interpolation=_method(self._scale)) * 255
        squared = np.zeros((_SIDE, _SIDE, 3), np.float32)
        squared[: self._size[1], : self._size[0]] = (scaled - _MEAN) / _DEVIATION
        encoder = _session(CLICK_ENCODER)
        (self._encoded,) = encoder.run(None, {"input": squared.transpose(2, 0, 1)[None]})

    def select(
        self,
        points: Sequence[Point] = (),
        labels: Sequence[int] = (),
        box: Box | None = None,
        previous: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return the mask of the object at clicks or in a box: float32 [H, W], 0..1.

        points: (x, y) in pixels from the top left. labels: for each, 1 on the object or 0 beside
        it. box: (x0, y0, x1, y1). previous: a mask of the object to improve, float32 [H, W].
        Raises UsageError for a place outside the image or for neither click nor box, GuideError
        where nothing is found.
        """
        return self.mask(Prompt.of(points, labels, box), previous)

    def stepwise(self, prompt: Prompt, previous: np.ndarray | None = None) -> np.ndarray:
        """Return the mask of a prompt, found with one more click each time.

        As the network was trained; measured better than all clicks at once. previous: see `select`.
        """
        found, inside, outside = previous, prompt.inside, prompt.outside
        if prompt.box is None:
            for count in range(1, len(inside) + len(outside)):
                part = Prompt(inside[:count], outside[: max(0, count - len(inside))])
                found = self.mask(part, found)
        return self.mask(prompt, found)

    def mask(self, prompt: Prompt, previous: np.ndarray | None = None) -> np.ndarray:
        """Return the mask of a prompt; see `select`."""
        height, width = self._image.shape[:2]
        prompt.check_within(width, height)
        places, kinds = self._places(prompt)
        known = np.zeros((1, 1, _LOW, _LOW), np.float32)
        if previous is not None:
            known[0, 0] = self._reduced(previous)
        inputs = {
            "image_embeddings": self._encoded,
            "point_coords": places[None],
            "point_labels": kinds[None],
            "mask_input": known,
            "has_mask_input": np.array([previous is not None], np.float32),
            "orig_im_size": np.array([_LOW, _LOW], np.float32),  # the enlarged output is not used
        }
        (found,) = _session(CLICK_DECODER).run(["low_res_masks"], inputs)
        mask = self._enlarged(found[0, 0])
        share = float((mask > 0.5).mean())
        if not _SMALLEST <= share <= _LARGEST:
            got = "nothing" if share < _SMALLEST else "the whole picture"
            raise GuideError(
                f"expected an object at the clicks or in the box, got {got}; click on the middle "
                "of the object, or draw a box around it"
            )
        return matted(self._image, mask)

    def _places(self, prompt: Prompt) -> tuple[np.ndarray, np.ndarray]:
        """Return the points of a prompt, [N, 2], in the encoder's pixels, and their kinds [N].

        Kinds: 1 inside, 0 outside, 2 and 3 corners of the box, −1 padding, which the network needs
        with points alone and must not be given with a box.
        """
        marked = [*((p, 1) for p in prompt.inside), *((p, 0) for p in prompt.outside)]
        if prompt.box is None:
            marked += [((0.0, 0.0), -1)]
        else:
            marked += [(prompt.box[:2], 2), (prompt.box[2:], 3)]
        places = np.array([place for place, _ in marked], np.float32) * np.float32(self._scale)
        return places, np.array([kind for _, kind in marked], np.float32)

    @property
    def features(self) -> np.ndarray:
        """The encoder's features of the image: float32 [rows, columns, 256], one a cell."""
        rows, columns = (max(1, -(-side // _CELL)) for side in self._size[::-1])
        return np.asarray(self._encoded[0, :, :rows, :columns].transpose(1, 2, 0))

    def _filled(self) -> tuple[int, ...]:
        """Return the (rows, columns) of the decoder's masks that show the image."""
        return tuple(max(1, -(-side * _LOW // _SIDE)) for side in self._size[::-1])

    def _enlarged(self, logits: np.ndarray) -> np.ndarray:
        """Return the decoder's mask at the size of the image: probabilities [H, W]."""
        rows, columns = self._filled()
        height, width = self._image.shape[:2]
        own = cv2.resize(logits[:rows, :columns], (width, height), interpolation=cv2.INTER_LINEAR)
        return np.asarray(1 / (1 + np.exp(-np.clip(own, -50, 50))), np.float32)

    def _reduced(self, mask: np.ndarray) -> np.ndarray:
        """Return a mask as the decoder's input: logits [256, 256]; the inverse of `_enlarged`."""
        rows, columns = self._filled()
        own = cv2.resize(mask.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA)
        share = np.full((_LOW, _LOW), _CERTAIN, np.float32)
        share[:rows, :columns] = np.clip(own, _CERTAIN, 1 - _CERTAIN)
        return np.log(share / (1 - share))


def _method(scale: float) -> int:
    return cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR


@lru_cache(maxsize=2)
def _session(model: Member) -> Any:
    """Return the onnxruntime session of a network. Raises WeightsError."""
    import onnxruntime

    path = find(model)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises its own classes
        raise WeightsError(
            f"{path}: expected a network that onnxruntime {onnxruntime.__version__} reads, got one "
            "that it refuses; install onnxruntime 1.17 or later"
        ) from error
