"""Guide: weight planes [H, W, K] of a frame, from masks (soft) or a label map (one-hot).

The weight of a mask pixel is its alpha if any pixel of the mask is transparent, else its luminance.
The label of a label-map pixel is its colour (see `palette`). Bit depth and mode do not matter.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vidstyle.errors import GuideError
from vidstyle.guides.files import GuideFile, RgbaPicture
from vidstyle.guides.palette import (
    CLEAR,
    TOLERANCE,
    Match,
    Palette,
    color_names,
    fill_unknown,
    label_pixels,
    palette_of,
)
from vidstyle.image import is_opaque
from vidstyle.validation import check_range

__all__ = [
    "Guide",
    "adapted",
    "check_covers",
    "check_sizes",
    "hard_labels",
    "hard_planes",
    "map_guide",
    "map_labels",
    "mask_plane",
    "resize_labels",
    "resize_to_frame",
    "unchanged",
]

_LUMA = (0.2126, 0.7152, 0.0722)  # Rec. 709, on the encoded values
_ASPECT = 0.01  # allowed relative difference of aspect ratios
_UNCHANGED = 0.02  # of 1; drift of a propagated mask in a static scene
_WHOLE = 1 - 1e-5  # sums of weights above it are 1 up to rounding; a 16-bit step is 1.5e-5
_FAINT = 8.5 / 255  # of 1; a mask without higher values holds labels (0, 1, …) or noise
_MIN_LABEL_SHARE = 0.01  # of the area; fewer pixels of such values are noise


@dataclass(frozen=True)
class Guide:
    """Weight planes of a frame: float32 [H, W, K], 0..1, with a name for each.

    A mask is one soft plane. A label map is K one-hot planes, named by colour ("#0000ff"); the
    region technique matches the planes of the frame and of the styles by name. Raises GuideError
    for another type, shape or range.
    """

    planes: np.ndarray
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

    @classmethod
    def from_arrays(
        cls, masks: Sequence[np.ndarray], names: Sequence[str] | None = None
    ) -> "Guide":
        """Return the Guide of one or more masks [H, W] of equal size, a plane each.

        masks: bool, uint8 (0..255), uint16 (0..65535) or float (0..1): 0 keeps the source, the
        maximum takes the style. names: default "mask 1", "mask 2", …

        Raises GuideError for another type, shape or range, and for uint8 masks of 0 and 1.
        """
        if not isinstance(masks, (list, tuple)) or not masks:
            raise GuideError(f"masks: expected a list of arrays, got {type(masks).__name__}")
        if names is None:
            names = [f"mask {number}" for number in range(1, len(masks) + 1)]
        if len(names) != len(masks):
            raise GuideError(
                f"names: expected one for each of {len(masks)} masks, got {len(names)}"
            )
        planes = [_mask_weights(*pair) for pair in zip(masks, names, strict=True)]
        for plane, name in zip(planes, names, strict=True):
            if plane.shape != planes[0].shape:
                shapes = f"{list(planes[0].shape)}, got {list(plane.shape)}"
                raise GuideError(f"{name}: expected the shape of the first mask, {shapes}")
        return cls(np.dstack(planes), tuple(names))

    @classmethod
    def from_label_map(
        cls,
        label_map: np.ndarray,
        colors: Sequence[str] | None = None,
        *,
        tolerance: float = TOLERANCE,
    ) -> "Guide":
        """Return the Guide of a label map [H, W, 3 or 4], RGB or RGBA: a one-hot plane a colour.

        label_map: uint8 (0..255), uint16 (0..65535) or float (0..1). colors: '#rrggbb' of each
        plane, in order; a plane is 0 where the map lacks its colour. Default: the colours of the
        map, the most frequent first; pass them for a clip. tolerance: RGB distance, see `palette`.

        Pixels of no colour of the map (smooth edges) get the nearest label. Raises GuideError for
        another type, shape or range, and for a picture that is no label map (see `palette_of`).
        """
        picture = _unit_range(label_map, "label map")
        if picture.ndim != 3 or picture.shape[2] not in (3, 4):
            raise GuideError(f"label map: expected [H, W, 3 or 4], got {list(picture.shape)}")
        if picture.shape[2] == 3:
            picture = np.dstack([picture, np.ones(picture.shape[:2], np.float32)])
        palette = palette_of([("label map", picture)], "label map", tolerance)
        wanted = palette if colors is None else Palette("colors", color_names(colors), ())
        labels = fill_unknown(label_pixels(picture, palette, tolerance)[0])
        plane_of = [wanted.nearest(name, tolerance) for name in palette.names]
        members = (
            [label for label, owner in enumerate(plane_of) if owner == plane]
            for plane in range(len(wanted.names))
        )
        planes = [np.isin(labels, own).astype(np.float32) for own in members]
        return cls(np.dstack(planes), wanted.names)

    @cached_property
    def covered(self) -> np.ndarray:
        """Return where any plane is above 0: float32 [H, W, 1], 0 or 1."""
        return np.asarray((self.planes > 0).any(axis=2, keepdims=True), np.float32)

    @cached_property
    def weight(self) -> np.ndarray:
        """Return the opacity of the optimised image: float32 [H, W, 1], min(1, Σ planes)."""
        total = self.planes.sum(axis=2, keepdims=True, dtype=np.float64)
        return np.where(total > _WHOLE, 1, total).astype(np.float32)

    def resized(self, width: int, height: int) -> "Guide":
        """Return the guide at another size; hard edges become fractional weights."""
        planes = [_resized(self.planes[..., k], width, height) for k in range(len(self.names))]
        return Guide(np.dstack(planes), self.names)


def _mask_weights(mask: np.ndarray, name: str) -> np.ndarray:
    """Return a mask [H, W] as weights, float32, 0..1. Raises GuideError as Guide.from_arrays."""
    weights = _unit_range(mask, name)
    if weights.ndim != 2:
        raise GuideError(f"{name}: expected a mask [H, W], got {list(weights.shape)}")
    if mask.dtype.kind == "u" and _is_labelled(weights):
        raise GuideError(
            f"{name}: expected {mask.dtype} weights up to {np.iinfo(mask.dtype).max}, got labels "
            "of at most 3 % of that; pass mask > 0, or weights as float in 0..1"
        )
    return weights


def _unit_range(values: np.ndarray, name: str) -> np.ndarray:
    """Return bool, uint8, uint16 or float values as float32, 0..1. Raises GuideError."""
    if not isinstance(values, np.ndarray):
        raise GuideError(f"{name}: expected an array, got {type(values).__name__}")
    if values.dtype != bool and values.dtype.kind != "f" and values.dtype not in ("u1", "u2"):
        raise GuideError(f"{name}: expected bool, uint8, uint16 or float, got {values.dtype}")
    if not values.size:
        raise GuideError(f"{name}: expected pixels, got shape {list(values.shape)}")
    if values.dtype.kind == "u":
        return values.astype(np.float32) / np.float32(np.iinfo(values.dtype).max)
    check_range(values, f"{name}: expected float values in 0..1", GuideError)
    return np.clip(values.astype(np.float32), 0, 1)


def mask_plane(picture: RgbaPicture, *, invert: bool = False, feather: float = 0.0) -> np.ndarray:
    """Return the weights of a mask picture: float32 [H, W], 0..1.

    invert: white keeps the source, black takes the style. feather: width in pixels of a blurred
    edge on either side: a Gaussian of sigma feather / 2, cut off at 2 × feather, border replicated.
    """
    alpha = picture[..., 3]
    plane = _luminance(picture) if is_opaque(alpha) else alpha
    return adapted(plane, invert=invert, feather=feather)


def adapted(plane: np.ndarray, *, invert: bool, feather: float) -> np.ndarray:
    """Return weights, float32 [H, W], inverted and feathered as `mask_plane` does."""
    import cv2

    plane = 1 - plane if invert else plane
    if feather > 0:
        reach = max(1, round(2 * feather))
        side = (2 * reach + 1, 2 * reach + 1)
        plane = cv2.GaussianBlur(plane, side, feather / 2, borderType=cv2.BORDER_REPLICATE)
    return np.clip(plane, 0, 1)


def _luminance(picture: RgbaPicture) -> np.ndarray:
    """Return the luminance, summed in float64: of a grey picture it is exactly the grey."""
    weighed = sum(picture[..., i].astype(np.float64) * part for i, part in enumerate(_LUMA))
    return np.asarray(weighed, np.float32)


def check_covers(guide_file: GuideFile, *, invert: bool = False) -> None:
    """Raise GuideError if all masks are empty, or if their values are labels instead of weights.

    Reads masks until one covers something. A white mask is valid: it covers the whole frame.
    Labels (0 to 8, with or without a border of 255) as weights would silently keep the source.
    """
    brightest, raw, faint = 0.0, 0.0, False
    for origin, picture in guide_file.pictures():
        plane = mask_plane(picture)
        raw = max(raw, float(plane.max()))
        brightest = max(brightest, float(1 - plane.min() if invert else plane.max()))
        is_labelled = _is_labelled(plane)
        if is_labelled and plane.max() > _FAINT:
            raise GuideError(_labels_message(origin))
        faint = faint or is_labelled  # also the start of a mask that fades in
        if brightest > _FAINT and (raw > _FAINT or not faint):
            return
    if brightest > _FAINT:  # inverted labels: almost white everywhere
        raise GuideError(_labels_message(str(guide_file.clip.path)))
    raise GuideError(
        f"{guide_file.clip.path}: expected a mask that is white (or opaque) where the style "
        f"belongs, got weights of at most {brightest:.3f} of 1"
        f"{' after --invert-mask' if invert else ''}; {_mask_remedy(brightest, invert)}"
    )


def _is_labelled(plane: np.ndarray) -> bool:
    """Return whether weights are labels: only 0, values up to 8 of 255, and 255."""
    low = (plane > 0) & (plane <= _FAINT)
    if not (plane == 0).any() or float(low.mean()) < _MIN_LABEL_SHARE:
        return False
    return bool((low | (plane == 0) | (plane >= _WHOLE)).all())


def _labels_message(origin: str) -> str:
    return (
        f"{origin}: expected weights from 0 to 255, got a mask of labels (0 to 8, and at most "
        "255 beside them); save it as 0 where the source stays and 255 where the style belongs"
    )


def _mask_remedy(brightest: float, invert: bool) -> str:
    if brightest > 0 and not invert:
        return "if it was saved as 0 and 1, save it as 0 and 255"
    return "leave --invert-mask out" if invert else "redraw it, or invert it with --invert-mask"


def check_sizes(
    guide_file: GuideFile, indices: range, size: Callable[[int], tuple[int, int]]
) -> None:
    """Raise GuideError if a picture for a frame of `indices` has another aspect ratio than it.

    size: returns the (width, height) of a frame. Reads the headers of the pictures only.
    """
    for frame in guide_file.frames(indices):
        _check_size(guide_file.size(frame), size(frame), guide_file.name(frame))


def _check_size(own: tuple[int, int], frame: tuple[int, int], origin: str) -> None:
    """Raise GuideError if aspect ratios differ by 1 %, beyond rounding to even sides."""
    (a, b), (width, height) = own, frame
    off = abs(a * height - b * width)
    if off > max(_ASPECT * max(a * height, b * width), 1.0 * (a + b)):
        raise GuideError(
            f"{origin}: expected the proportions of the frame, {width}x{height}, got {a}x{b}; "
            "make it from the frame, without cropping or stretching"
        )


def resize_to_frame(picture: np.ndarray, width: int, height: int, origin: str) -> RgbaPicture:
    """Return a soft picture, float32 [H, W] or [H, W, C], at the frame's size.

    Area averaging when shrinking, bilinear when enlarging. origin: its name in errors. Raises
    GuideError if the aspect ratio differs from the frame's by more than 1 %.
    """
    own = (picture.shape[1], picture.shape[0])
    _check_size(own, (width, height), origin)
    return _resized(picture, width, height)


def _resized(picture: np.ndarray, width: int, height: int) -> RgbaPicture:
    import cv2

    if picture.shape[:2] == (height, width):
        return picture
    shrinks = width <= picture.shape[1] and height <= picture.shape[0]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.clip(cv2.resize(picture, (width, height), interpolation=method), 0, 1)


def resize_labels(labels: np.ndarray, width: int, height: int, origin: str) -> np.ndarray:
    """Return labels, int16 [H, W], at the frame's size: the one with the largest area in a pixel.

    Labels are not interpolated; ties go to the lower. Raises GuideError as `resize_to_frame` does.
    """
    own = (labels.shape[1], labels.shape[0])
    _check_size(own, (width, height), origin)
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
    picture: RgbaPicture,
    palette: Palette,
    width: int,
    height: int,
    *,
    origin: str,
    tolerance: float = TOLERANCE,
) -> tuple[np.ndarray, float]:
    """Return a map's labels at the frame's size, int16 [H, W], and the share of unassigned pixels.

    Pixels near no colour of the palette (smooth edges, compression noise) are unassigned: they take
    the nearest label in the picture. Transparent pixels stay CLEAR. Raises GuideError if the aspect
    ratio differs or all pixels are unassigned.
    """
    labels, unassigned = label_pixels(picture, palette, tolerance)
    if not (labels >= 0).any() and not (labels == CLEAR).all():
        raise GuideError(
            f"{origin}: expected the colours {', '.join(palette.names)}, got none of them; "
            "draw every map of a series with the same colours"
        )
    return resize_labels(fill_unknown(labels), width, height, origin), unassigned


def hard_planes(labels: np.ndarray, count: int) -> np.ndarray:
    """Return labels as one-hot planes, float32 [H, W, count + 1]; the last plane: no label."""
    places = np.where(labels < 0, count, labels)
    return np.eye(count + 1, dtype=np.float32)[places]


def hard_labels(planes: np.ndarray) -> np.ndarray:
    """Return the labels, int16 [H, W], of planes from `hard_planes`: the inverse."""
    labels = planes.argmax(axis=2).astype(np.int16)
    labels[labels == planes.shape[2] - 1] = CLEAR
    return np.asarray(labels)


def map_guide(labels: np.ndarray, matches: Sequence[Match]) -> Guide:
    """Return the Guide of a label map: a one-hot plane for each matched colour."""
    planes = [(labels == match.color).astype(np.float32) for match in matches]
    return Guide(planes=np.dstack(planes), names=tuple(match.name for match in matches))


def unchanged(first: Guide | None, other: Guide | None) -> np.ndarray:
    """Return where two guides are equal: bool [H, W, 1], or [1, 1, 1] without guides."""
    if first is None or other is None:
        return np.ones((1, 1, 1), bool)
    return np.asarray(abs(first.planes - other.planes).max(axis=2, keepdims=True) < _UNCHANGED)
