"""Validation of arguments of the Python API, before TensorFlow sees them."""

from typing import Any

import numpy as np

from vidstyle.errors import GuideError, MediaError, SettingsError, UsageError, VidstyleError

__all__ = ["check_frame", "check_image", "check_parts", "check_range", "check_weight"]

_TOLERANCE = 1e-3  # rounding error allowed outside 0..1; an 8-bit step is 4e-3


def check_image(image: Any, name: str) -> None:
    """Raise MediaError unless `image` is an Image: float32 [H, W, 3], finite, within 0..1."""
    expected = f"{name}: expected a float32 array [height, width, 3] of RGB in 0..1"
    if not isinstance(image, np.ndarray):
        raise MediaError(f"{expected}, got {type(image).__name__}; see vidstyle.read_picture")
    if image.dtype != np.float32 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise MediaError(
            f"{expected}, got {image.dtype} {list(image.shape)}; convert it, for example "
            "(image / 255).astype(numpy.float32)"
        )
    check_range(image, expected, MediaError)


def check_range(values: np.ndarray, expected: str, error: type[VidstyleError]) -> None:
    """Raise `error` unless all values are finite and within 0..1."""
    low, high = float(values.min()), float(values.max())
    if not (low >= -_TOLERANCE and high <= 1 + _TOLERANCE):
        raise error(f"{expected}, got values from {low:g} to {high:g}; rescale them to 0..1")


def check_weight(weight: Any, name: str) -> None:
    """Raise SettingsError unless `weight` is a finite number of at least 0."""
    if isinstance(weight, bool) or not isinstance(weight, (int, float, np.number)):
        raise SettingsError(f"{name}: expected a weight of at least 0, got {weight!r}")
    if not 0 <= float(weight) < np.inf:
        raise SettingsError(f"{name}: expected a weight of at least 0, got {weight:g}")


def check_parts(styles: Any, *parts: Any) -> None:
    """Check the arguments of a Stylizer.

    styles: a list of parts[0] with a total weight above 0, else UsageError is raised. The rest of
    parts: alternating values and classes; SettingsError is raised unless each value is an instance
    of its class.
    """
    style_type, *pairs = parts
    if not isinstance(styles, (list, tuple)) or not all(
        isinstance(one, style_type) for one in styles
    ):
        raise UsageError(
            f"styles: expected a list of {style_type.__name__}, got {_type_name(styles)}"
        )
    if sum(style.weight for style in styles) <= 0:
        raise UsageError("expected a style of weight above 0, got none; add --style PICTURE")
    for value, expected_type in zip(pairs[::2], pairs[1::2], strict=True):
        if not isinstance(value, expected_type):
            raise SettingsError(
                f"expected {expected_type.__name__}, got {_type_name(value)}; make one"
            )


def _type_name(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"a list of {', '.join(sorted({type(one).__name__ for one in value}))}"
    return type(value).__name__


def check_frame(content: Any, guide: Any, prior: Any, *, guide_required: bool) -> None:
    """Raise unless a frame, its Guide and its TemporalPrior are valid and of one size.

    Raises MediaError, GuideError or UsageError.
    """
    check_image(content, "content")
    size = content.shape[:2]
    if guide is None and guide_required:
        raise GuideError(
            "guide: expected a vidstyle.guides.guide.Guide for this technique, got none"
        )
    for name, given, kind in (("guide", guide, "Guide"), ("prior", prior, "TemporalPrior")):
        if given is None:
            continue
        if type(given).__name__ != kind:
            raise UsageError(f"{name}: expected a {kind} or None, got {type(given).__name__}")
        own = (given.planes if kind == "Guide" else given.image).shape[:2]
        if own != size:
            raise GuideError(
                f"{name}: expected the size of the content, {size[1]}x{size[0]}, got "
                f"{own[1]}x{own[0]}; resize it"
            )
