"""Networks for tests: red is salient, and an object is the area of the colour at a click."""

from typing import Any

import cv2
import numpy as np

from vidstyle.segmentation import sam, u2net

_MEAN, _DEVIATION = np.array(u2net._MEAN), np.array(u2net._DEVIATION)


class RedStandsOut:
    """A fake U²-Net-p: the saliency of a pixel grows with its red above its green."""

    def setInput(self, values: np.ndarray) -> None:  # noqa: N802 - as cv2.dnn.Net
        self._image = values[0].transpose(1, 2, 0) * _DEVIATION + _MEAN

    def forward(self, _: str) -> np.ndarray:
        excess = self._image[..., 0] - self._image[..., 1]
        return np.clip(4 * excess - 0.5, 0, 1).astype(np.float32)[None, None]


class Encoder:
    """A fake encoder: the features of a cell are its 16 x 16 pixels."""

    def run(self, _: Any, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        cells = inputs["input"].reshape(1, 3, 64, 16, 64, 16).transpose(0, 1, 3, 5, 2, 4)
        return [cells.reshape(1, 768, 64, 64)]


class Decoder:
    """A fake decoder: the connected area of the colour at the first click or box middle."""

    def __init__(self) -> None:
        self.inputs: list[dict[str, np.ndarray]] = []

    def run(self, _: Any, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        self.inputs.append(inputs)
        cells = inputs["image_embeddings"].reshape(3, 16, 16, 64, 64)
        picture = np.ascontiguousarray(cells.transpose(3, 1, 4, 2, 0).reshape(1024, 1024, 3))
        image = cv2.resize(picture, (256, 256), interpolation=cv2.INTER_AREA)
        places, kinds = inputs["point_coords"][0] / 4, inputs["point_labels"][0]
        box = places[kinds >= 2]
        x, y = box.mean(axis=0) if len(box) else places[kinds == 1][0]
        marks = np.zeros((258, 258), np.uint8)
        flags = 4 | cv2.FLOODFILL_MASK_ONLY | (1 << 8) | cv2.FLOODFILL_FIXED_RANGE
        near = (0.5,) * 3
        cv2.floodFill(image, marks, (int(x), int(y)), 0, near, near, flags)
        return [np.where(marks[1:-1, 1:-1], 8, -8).astype(np.float32)[None, None]]


def install(monkeypatch: Any) -> Decoder:
    """Put the networks of this module in place of the real ones; return the decoder."""
    decoder = Decoder()
    sessions = {"sam_encoder.onnx": Encoder(), "sam_decoder.onnx": decoder}
    monkeypatch.setattr(u2net, "_network", lambda: (RedStandsOut(), "output"))
    monkeypatch.setattr(sam, "_session", lambda model: sessions[model.name])
    monkeypatch.setattr(sam, "has_click_model", lambda: True)
    return decoder
