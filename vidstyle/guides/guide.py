"""Guide: where in a frame which style belongs. Masks become soft planes, label maps hard ones.

What a mask picture means: if its alpha is below 1 anywhere, the alpha is the weight; else the
luminance of its colour, which of a grey picture is the grey itself. What a map picture means: its
colours are labels (see `palettes`). 8 bits, 16 bits, palette and 1-bit make no difference.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from vidstyle.errors import GuideError
from vidstyle.guides.files import Drawing, GuideFile
from vidstyle.guides.palette import CLEAR, TOLERANCE, Match, Palette, closed, labelled
from vidstyle.image import is_opaque
from vidstyle.validation import check_range

__all__ = [
    "Guide",
    "Plane",
    "check_covers",
    "check_sizes",
    "fitted",
    "fitted_labels",
    "hard_labels",
    "hard_planes",
    "map_guide",
    "map_labels",
    "mask_guide",
    "mask_plane",
    "unchanged",
]

Plane = np.ndarray[Any, Any]  # float32 [H, W], 0..1: how much of the style a pixel takes

_LUMA = (0.2126, 0.7152, 0.0722)  # Rec. 709, on the encoded values
_ASPECT = 0.01  # by how much, of 1, the proportions may differ
_SLIGHT = 0.02  # of 1: what a mask that is tracked through a scene that stands still may stray
_WHOLE = 1 - 1e-5  # planes that add up to more are 1 but for rounding; a 16-bit step is 1.5e-5
_FAINT = 8.5 / 255  # of 1: values up to 8 of 255, alone, are labels (0, 1, …) or noise, not weights
_LABELLED = 0.01  # of the area: so much of a picture has such values, beside 0 and 255 alone


@dataclass(frozen=True)
class Guide:
    """Where: planes float32 [H, W, K], 0..1, and a name for each.

    A mask is one soft plane, a label map K one-hot planes, named by colour ("#0000ff"). Raises
    GuideError for another type, shape or range.
    """

    planes: np.ndarray[Any, Any]
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.planes, np.ndarray):
            raise GuideError(f"planes: expected an array, got {type(self.planes).__name__}")
        shape = self.planes.shape
        if len(shape) != 3 or shape[2] != len(self.names) or self.planes.dtype != np.float32:
            raise GuideError(
                f"expected float32 [H, W, {len(self.names)}] for planes {self.names}, "
                f"got {self.planes.dtype} {list(shape)}; convert them"
            )
        if self.planes.size:
            check_range(self.planes, "planes: expected weights in 0..1", GuideError)

    @cached_property
    def covered(self) -> np.ndarray[Any, Any]:
        """Where any plane is above 0: float32 [H, W, 1], 0 or 1."""
        return np.asarray((self.planes > 0).any(axis=2, keepdims=True), np.float32)

    @cached_property
    def weight(self) -> np.ndarray[Any, Any]:
        """How opaque the stylised image is over the source: float32 [H, W, 1], min(1, Σ planes)."""
        total = self.planes.sum(axis=2, keepdims=True, dtype=np.float64)
        return np.where(total > _WHOLE, 1, total).astype(np.float32)

    def resized(self, width: int, height: int) -> "Guide":
        """Return the guide at another size; a hard edge becomes a fraction."""
        planes = [_resized(self.planes[..., k], width, height) for k in range(len(self.names))]
        return Guide(np.dstack(planes), self.names)


def mask_guide(planes: Sequence[Plane], names: Sequence[str]) -> Guide:
    """Return the Guide of one or more masks of one size."""
    return Guide(planes=np.dstack(planes).astype(np.float32, copy=False), names=tuple(names))


def mask_plane(picture: Drawing, *, invert: bool = False, feather: float = 0.0) -> Plane:
    """Return the weights that a mask picture at the frame's size means, as a Plane.

    invert: white keeps the source, black takes the style. feather: over how many pixels of the
    frame a hard edge is spread, each side of it: a Gaussian blur of sigma feather / 2 that takes
    the border as continued. It reaches 2 × feather pixels; farther away weights are as before.
    """
    import cv2

    alpha = picture[..., 3]
    plane = _luminance(picture) if is_opaque(alpha) else alpha
    plane = 1 - plane if invert else plane
    if feather > 0:
        reach = max(1, round(2 * feather))
        side = (2 * reach + 1, 2 * reach + 1)
        plane = cv2.GaussianBlur(plane, side, feather / 2, borderType=cv2.BORDER_REPLICATE)
    return np.clip(plane, 0, 1)


def _luminance(picture: Drawing) -> Plane:
    """Return the luminance; summed in double precision, so that grey is the grey to the bit."""
    weighed = sum(picture[..., i].astype(np.float64) * part for i, part in enumerate(_LUMA))
    return np.asarray(weighed, np.float32)


def check_covers(drawn: GuideFile, *, invert: bool = False) -> None:
    """Raise GuideError if no mask covers anything, or if their values are labels, not weights.

    Reads them only until one covers something. A mask that is white everywhere is as good as any:
    the style covers the whole frame. Labels (0 and 1, or 0 to 8, with or without a border of 255)
    are refused, since as weights they would leave the source as it is without a word.
    """
    brightest, raw, faint = 0.0, 0.0, False
    for what, picture in drawn.pictures():
        plane = mask_plane(picture)
        raw = max(raw, float(plane.max()))
        brightest = max(brightest, float(1 - plane.min() if invert else plane.max()))
        labelled = _is_labelled(plane)
        if labelled and plane.max() > _FAINT:
            raise GuideError(_labelled_mask(what))
        faint = faint or labelled  # a mask that fades in begins so too
        if brightest > _FAINT and (raw > _FAINT or not faint):
            return
    if brightest > _FAINT:  # labels inverted: nearly white everywhere
        raise GuideError(_labelled_mask(str(drawn.clip.path)))
    raise GuideError(
        f"{drawn.clip.path}: expected a mask that is white (or opaque) where the style belongs, "
        f"got weights of at most {brightest:.3f} of 1{' after --invert-mask' if invert else ''}; "
        f"{_mend(brightest, invert)}"
    )


def _is_labelled(plane: Plane) -> bool:
    """Tell whether weights are labels: 0 and up to 8 of 255, and perhaps 255, none between."""
    low = (plane > 0) & (plane <= _FAINT)
    if not (plane == 0).any() or float(low.mean()) < _LABELLED:
        return False
    return bool((low | (plane == 0) | (plane >= _WHOLE)).all())


def _labelled_mask(what: str) -> str:
    return (
        f"{what}: expected weights from 0 to 255, got a mask of labels (0 to 8, and at most "
        "255 beside them); save it as 0 where the source stays and 255 where the style belongs"
    )


def _mend(brightest: float, invert: bool) -> str:
    if brightest > 0 and not invert:
        return "if it was saved as 0 and 1, save it as 0 and 255"
    return "leave --invert-mask out" if invert else "draw it anew, or turn it with --invert-mask"


def check_sizes(drawn: GuideFile, indices: range, size: Callable[[int], tuple[int, int]]) -> None:
    """Raise GuideError if a picture for a frame of `indices` has other proportions than the frame.

    size: gives the (width, height) of a frame. Pictures are measured by their headers.
    """
    for frame in drawn.frames(indices):
        _check_size(drawn.size(frame), size(frame), drawn.name(frame))


def _check_size(own: tuple[int, int], frame: tuple[int, int], what: str) -> None:
    """Proportions agree within 1 %, or within what rounding the frame to even sides takes."""
    (a, b), (width, height) = own, frame
    off = abs(a * height - b * width)
    if off > max(_ASPECT * max(a * height, b * width), 1.0 * (a + b)):
        raise GuideError(
            f"{what}: expected the proportions of the frame, {width}x{height}, got {a}x{b}; "
            "make it from the frame, without cropping or stretching"
        )


def fitted(picture: np.ndarray[Any, Any], width: int, height: int, what: str) -> Drawing:
    """Return a soft picture, float32 [H, W] or [H, W, C], at the frame's size.

    Area means when shrinking, linear when enlarging. what: its name in a sentence. Raises
    GuideError if its proportions differ from the frame's by more than 1 %.
    """
    own = (picture.shape[1], picture.shape[0])
    _check_size(own, (width, height), what)
    return _resized(picture, width, height)


def _resized(picture: np.ndarray[Any, Any], width: int, height: int) -> Drawing:
    import cv2

    if picture.shape[:2] == (height, width):
        return picture
    shrinks = width <= picture.shape[1] and height <= picture.shape[0]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.clip(cv2.resize(picture, (width, height), interpolation=method), 0, 1)


def fitted_labels(labels: np.ndarray[Any, Any], width: int, height: int, what: str) -> Plane:
    """Return labels, int16 [H, W], at the frame's size: in each place the one with most area.

    No label is mixed of others. Ties go to the lower. Raises GuideError as `fitted` does.
    """
    own = (labels.shape[1], labels.shape[0])
    _check_size(own, (width, height), what)
    if own == (width, height):
        return labels
    most = np.full((height, width), -1, np.float32)
    winner = np.zeros((height, width), np.int16)
    for label in np.unique(labels):
        share = _resized((labels == label).astype(np.float32), width, height)
        winner[share > most] = label
        most = np.maximum(most, share)
    return winner


def map_labels(
    picture: Drawing,
    palette: Palette,
    width: int,
    height: int,
    *,
    what: str,
    tolerance: float = TOLERANCE,
) -> tuple[np.ndarray[Any, Any], float]:
    """Return a map's labels at the frame's size, int16 [H, W], and the share of unassigned pixels.

    Pixels near no colour of the palette (edges drawn smooth, noise of lossy files) take the label
    that is nearest in the picture; the share tells how many these were, 0..1. Transparent pixels
    stay CLEAR. Raises GuideError if the proportions differ or no pixel is near any colour.
    """
    labels, unassigned = labelled(picture, palette, tolerance)
    if not (labels >= 0).any() and not (labels == CLEAR).all():
        raise GuideError(
            f"{what}: expected the colours {', '.join(palette.names)}, got none of them; "
            "draw every map of a series with the same colours"
        )
    return fitted_labels(closed(labels), width, height, what), unassigned


def hard_planes(labels: np.ndarray[Any, Any], count: int) -> np.ndarray[Any, Any]:
    """Return labels as float32 [H, W, count + 1]: a plane for each, the last where there is none.

    Each pixel is 1 in one plane and 0 in the others: what `tracking` carries from frame to frame.
    """
    places = np.where(labels < 0, count, labels)
    return np.eye(count + 1, dtype=np.float32)[places]


def hard_labels(planes: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the labels, int16 [H, W], of what `hard_planes` gave: of the highest plane."""
    labels = planes.argmax(axis=2).astype(np.int16)
    labels[labels == planes.shape[2] - 1] = CLEAR
    return np.asarray(labels)


def map_guide(labels: np.ndarray[Any, Any], matches: Sequence[Match]) -> Guide:
    """Return the Guide of a map: one plane for each colour that takes part, 1 where it is."""
    planes = [(labels == match.color).astype(np.float32) for match in matches]
    return Guide(planes=np.dstack(planes), names=tuple(match.name for match in matches))


def unchanged(first: Guide | None, other: Guide | None) -> Plane:
    """Return bool [H, W, 1], or [1, 1, 1] without guides: where they say the same."""
    if first is None or other is None:
        return np.ones((1, 1, 1), bool)
    return np.asarray(abs(first.planes - other.planes).max(axis=2, keepdims=True) < _SLIGHT)
