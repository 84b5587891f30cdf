"""The arrays saved with a finished frame, and the frame as later ones load it."""

import numpy as np

from vidstyle.coherence.history import FinishedFrames
from vidstyle.coherence.interface import SourceFrame
from vidstyle.coherence.prior import StylizedFrame, TemporalPrior
from vidstyle.coherence.stylized import Stylized
from vidstyle.errors import MediaError
from vidstyle.image import Image, from_uint16, to_uint16

__all__ = ["frame_notes", "load_stylized"]

_IMAGES = ("optimised_image", "unblended_image")  # saved as uint16


def frame_notes(stylized: Stylized, prior: TemporalPrior | None) -> dict[str, np.ndarray | None]:
    """Return the arrays that later frames need besides the output image; None: not needed."""
    change = None if prior is None or prior.change is None else prior.change.astype(np.float16)
    return {
        "matches": stylized.matches,
        "change": change,
        "optimised_image": _unless_equal(stylized.optimised_image, stylized.unblended_image),
        "unblended_image": _unless_equal(stylized.unblended_image, stylized.output_image),
    }


def load_stylized(
    history: FinishedFrames, frame: SourceFrame, initial_image: Image | None = None
) -> StylizedFrame:
    """Return a finished frame as it was saved. Raises MediaError for a wrong shape or notes."""
    output, notes = history.load(frame.position), history.load_notes(frame.position)
    if output.shape != frame.image.shape or not _are_notes(notes, output.shape):
        raise MediaError(
            f"{history.path}: expected the arrays saved with frame {frame.position}, got "
            "others; add --restart to discard that state"
        )
    optimised, unblended = (notes.pop(name, None) for name in _IMAGES)
    unblended_image = output if unblended is None else from_uint16(unblended)
    return StylizedFrame(
        frame.image,
        unblended_image if optimised is None else from_uint16(optimised),
        initial_image,
        planes=frame.planes,
        unblended_image=unblended_image,
        **notes,
    )


def _unless_equal(image: Image, other: Image) -> np.ndarray | None:
    """Return an image as uint16, or None if it equals `other`, which then replaces it."""
    if image is other:
        return None
    saved = to_uint16(image)
    return None if np.array_equal(saved, to_uint16(other)) else saved


def _are_notes(notes: dict[str, np.ndarray], size: tuple[int, ...]) -> bool:
    """Return whether the notes on a frame of shape `size` have valid names, dtypes and shapes.

    Their sha256 matches the journal, but the journal itself is not authenticated.
    """
    ends = {**dict.fromkeys(_IMAGES, size), "change": (4,), "matches": (5,)}
    return notes.keys() <= ends.keys() and all(
        array.dtype.kind in "fu"
        and (array.dtype == np.uint16) == (name in _IMAGES)
        and array.ndim == 3
        and array.shape[array.ndim - len(ends[name]) :] == ends[name]
        for name, array in notes.items()
    )
