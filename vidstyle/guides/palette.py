"""Palettes of label maps: finding the colours, labelling the pixels, matching maps with each other.

Every colour can be a label, also black, white and grey. Colours are 8 bits per channel, written
'#rrggbb'; distances are Euclidean in RGB, 0..1, of the encoded values.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vidstyle.errors import GuideError, SettingsError, UsageError
from vidstyle.guides.files import RgbaPicture

__all__ = [
    "CLEAR",
    "MAX_COLORS",
    "TOLERANCE",
    "UNKNOWN",
    "Match",
    "Palette",
    "Region",
    "color_names",
    "fill_unknown",
    "label_pixels",
    "match_palettes",
    "palette_of",
    "parse_regions",
]

TOLERANCE = 0.14  # RGB distance; as in the original implementation
MAX_COLORS = 32  # colours of one map
UNKNOWN, CLEAR = -1, -2  # labels of pixels near no colour, and of transparent pixels

_MIN_SHARE = 0.0005  # of the pixels; minimum flat area of a colour
_MIN_PIXELS = 9  # pixels; the same for small maps
_ROUNDING = 1.5 / 255  # RGB distance of a blend from the line between its two colours

Labels = np.ndarray  # int16 [H, W]: index in a Palette, UNKNOWN or CLEAR
Codes = np.ndarray  # int32: red · 65536 + green · 256 + blue
Shares = dict[int, float]  # colour code -> share of the pixels, 0..1


@dataclass(frozen=True)
class Palette:
    """The colours of one map or of a series of maps, the most frequent first.

    origin: the path, for errors. names: '#rrggbb' of each. shares: of all pixels of all pictures.
    """

    origin: str
    names: tuple[str, ...]
    shares: tuple[float, ...]

    @property
    def colors(self) -> np.ndarray:
        """Return the colours: float32 [K, 3], RGB, 0..1."""
        return _colors_of_names(self.names)

    def nearest(self, name: str, tolerance: float = TOLERANCE) -> int | None:
        """Return the index of the colour nearest to '#rrggbb', or None beyond the tolerance."""
        far = np.linalg.norm(self.colors - _colors_of_names([name]), axis=1)
        return int(far.argmin()) if far.min() <= tolerance else None


@dataclass(frozen=True)
class Region:
    """One entry of --regions: a colour '#rrggbb', and its style (None: all)."""

    color: str
    style: str | None = None


@dataclass(frozen=True)
class Match:
    """A colour of the frame's map, and the same colour in the maps of the styles.

    color: index in the frame's Palette. name: '#rrggbb'. styles: (index of the style, index of the
    colour in its Palette), in the order of the styles; several are blended.
    """

    color: int
    name: str
    styles: tuple[tuple[int, int], ...]


def palette_of(
    pictures: Iterable[tuple[str, RgbaPicture]], origin: str, tolerance: float = TOLERANCE
) -> Palette:
    """Return the palette of a map or of a series of maps, given as (name, RgbaPicture).

    Clean maps (at most 32 colours in all) keep every colour except single pixels and the blends
    along edges. In others (smooth edges, JPEG, video) the most frequent colours are selected
    greedily, each farther than `tolerance` from the previous ones, from flat 3 x 3 areas that cover
    at least 1 in 2000 pixels. Pixels with an alpha below 0.5 are in no region. Raises GuideError
    for more than 32 colours and for none.
    """
    shares = _shares_of_series(pictures, tolerance)
    if len(shares) > MAX_COLORS:
        raise GuideError(_too_many_message(origin, len(shares)))
    if not shares:
        raise GuideError(
            f"{origin}: expected a map with a flat colour for each region, got none; "
            "paint the regions in plain colours and save it as PNG"
        )
    order = sorted(shares, key=lambda code: (-shares[code], code))
    return Palette(
        origin=origin,
        names=tuple(_name(code) for code in order),
        shares=tuple(shares[code] for code in order),
    )


def _shares_of_series(pictures: Iterable[tuple[str, RgbaPicture]], tolerance: float) -> Shares:
    """Return the mean share of each colour in a series. Raises GuideError."""
    total: Shares = {}
    clean, count = True, 0
    for name, picture in pictures:
        shares, exact = _colors_of(picture, tolerance)
        if len(shares) > MAX_COLORS:
            raise GuideError(_too_many_message(name, len(shares)))
        for code, share in shares.items():
            total[code] = total.get(code, 0) + share
        clean, count = clean and exact, count + 1
    if not clean or len(total) > MAX_COLORS:
        total = _merge_similar(total, tolerance)
    return {code: share / count for code, share in total.items()}


def _too_many_message(origin: str, count: int) -> str:
    return (
        f"{origin}: expected a map of at most {MAX_COLORS} colours, got {count}; it was probably "
        "saved with smoothing, or is a photo: save it as PNG without anti-aliasing"
    )


def _colors_of(picture: RgbaPicture, tolerance: float) -> tuple[Shares, bool]:
    """Return the share of each colour of one map, and whether the map is clean."""
    codes, opaque = _codes(picture), picture[..., 3] >= 0.5
    distinct, counts = np.unique(codes[opaque], return_counts=True)
    if len(distinct) <= MAX_COLORS:
        kept = ~_edge_artefacts(np.where(opaque, codes, -1), distinct, counts)
        shares = _shares(distinct[kept], counts[kept] / codes.size)
        return shares, True
    flat = opaque & (_contrast(picture[..., :3]) <= tolerance / 2)
    distinct, counts = np.unique(codes[flat], return_counts=True)
    merged = _merge_similar(_shares(distinct, counts), tolerance)
    least = max(_MIN_PIXELS, _MIN_SHARE * codes.size)
    names = [_name(code) for code, flat_pixels in merged.items() if flat_pixels >= least]
    return _coverage(picture, names, tolerance), False


def _coverage(picture: RgbaPicture, names: Sequence[str], tolerance: float) -> Shares:
    """Return the share of the pixels that each of these colours covers."""
    labels, _ = label_pixels(picture, Palette("", tuple(names), ()), tolerance)
    counts = np.bincount(labels[labels >= 0], minlength=len(names)) / labels.size
    return {int(name[1:], 16): float(count) for name, count in zip(names, counts, strict=True)}


def _codes(picture: RgbaPicture) -> Codes:
    """Return the colour code of each pixel."""
    bytes_ = np.rint(picture[..., :3] * 255).astype(np.int32)
    return np.asarray(bytes_ @ np.array([65536, 256, 1], np.int32))


def _colors(codes: Codes) -> np.ndarray:
    """Return the colours of codes: float32 [..., 3], 0..1; the inverse of `_codes`."""
    channels = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=-1)
    return channels.astype(np.float32) / np.float32(255)


def _name(code: int) -> str:
    return f"#{code:06x}"


def _colors_of_names(names: Sequence[str]) -> np.ndarray:
    """Return '#rrggbb' colours as float32 [K, 3], 0..1."""
    return _colors(np.array([int(name[1:], 16) for name in names], np.int32))


def _shares(codes: Codes, shares: np.ndarray) -> Shares:
    return dict(zip(codes.tolist(), shares.tolist(), strict=True))


def _contrast(colour: np.ndarray) -> np.ndarray:
    """Return float32 [H, W]: the largest range of a channel in 3 x 3 pixels."""
    import cv2

    colour, square = np.ascontiguousarray(colour), np.ones((3, 3), np.uint8)
    return np.asarray((cv2.dilate(colour, square) - cv2.erode(colour, square)).max(axis=2))


def _edge_artefacts(codes: Codes, distinct: Codes, counts: Codes) -> np.ndarray:
    """Return bool for each colour of a clean map: it is an artefact of edges and not a label.

    It fills no 3 x 3 square, and has few pixels or is a blend of two colours that fill one.
    """
    colors = _colors(distinct)
    solid = np.isin(distinct, codes[_contrast(_colors(codes)) == 0])
    artefacts = counts < max(_MIN_PIXELS, _MIN_SHARE * codes.size)
    for i in np.flatnonzero(~artefacts):
        artefacts[i] = _is_blend(colors[i], colors[solid])
    return artefacts & ~solid & solid.any()


def _is_blend(color: np.ndarray, ends: np.ndarray) -> bool:
    """Return whether a colour is a blend of any two of `ends`, [K, 3]."""
    if len(ends) < 2:
        return False
    a, b = ends[:, None], ends[None]
    length = np.maximum(((b - a) ** 2).sum(axis=-1), 1e-12)
    along = np.clip(((color - a) * (b - a)).sum(axis=-1) / length, 0, 1)
    off = np.linalg.norm(a + along[..., None] * (b - a) - color, axis=-1)
    inner = (along > 0) & (along < 1)
    return bool((off[inner] <= _ROUNDING).any())


def _merge_similar(shares: Shares, tolerance: float) -> Shares:
    """Add the share of each colour to the most frequent one within the tolerance, greedily."""
    order = sorted(shares, key=lambda code: (-shares[code], code))
    codes = np.array(order, np.int32)
    weights = np.array([shares[code] for code in order])
    colors = _colors(codes)
    merged: Shares = {}
    while len(codes):
        near = np.linalg.norm(colors - colors[0], axis=1) <= tolerance
        merged[int(codes[0])] = float(weights[near].sum())
        codes, weights, colors = codes[~near], weights[~near], colors[~near]
    return merged


def label_pixels(
    picture: np.ndarray, palette: Palette, tolerance: float = TOLERANCE
) -> tuple[Labels, float]:
    """Return each pixel's label, int16 [H, W], and the share of pixels that are UNKNOWN, 0..1.

    picture: an RgbaPicture, or an Image [H, W, 3]. A label is the palette index of the nearest
    colour (the first of equals), UNKNOWN beyond the tolerance, CLEAR where the alpha is below 0.5.
    """
    labels = np.full(picture.shape[:2], UNKNOWN, np.int16)
    nearest = np.full(picture.shape[:2], np.inf, np.float32)
    for index, color in enumerate(palette.colors):
        far = ((picture[..., :3] - color) ** 2).sum(axis=2)
        closer = far < nearest
        labels[closer], nearest[closer] = index, far[closer]
    labels[nearest > np.float32((tolerance + 1e-6) ** 2)] = UNKNOWN
    if picture.shape[2] == 4:
        labels[picture[..., 3] < 0.5] = CLEAR
    return labels, float((labels == UNKNOWN).mean())


def fill_unknown(labels: Labels) -> Labels:
    """Return the labels with UNKNOWN pixels replaced by the nearest label or CLEAR in the picture.

    Unchanged if all are UNKNOWN.
    """
    import cv2

    unknown = labels == UNKNOWN
    if not unknown.any() or unknown.all():
        return labels
    _, source = cv2.distanceTransformWithLabels(
        unknown.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    known = np.zeros(source.max() + 1, np.int16)
    known[source[~unknown]] = labels[~unknown]
    return np.asarray(known[source])


def color_names(colors: Sequence[str]) -> tuple[str, ...]:
    """Return distinct colours as lower-case '#rrggbb'. Raises GuideError for anything else."""
    names = tuple(str(color).lower() for color in colors)
    if not all(re.fullmatch(r"#[0-9a-f]{6}", name) for name in names) or not names:
        raise GuideError(f"colors: expected ('#0000ff', '#ff0000', ...), got {colors!r}")
    if len(set(names)) < len(names):
        raise GuideError(f"colors: expected each colour once, got {', '.join(names)}")
    return names


def parse_regions(text: str) -> tuple[Region, ...]:
    """Parse '#0000ff=a.jpg,#ff0000=b.jpg' or '#0000ff,#ff0000'. Raises SettingsError.

    The '#' is optional. A comma separates two entries if a colour follows it.
    """
    entries = re.split(r",(?=\s*#?[0-9a-fA-F]{6}\s*(?:=|,|$))", text)
    found = [re.fullmatch(r"\s*#?([0-9a-fA-F]{6})\s*(?:=\s*(.*\S)\s*)?", one) for one in entries]
    regions = []
    for entry, match in zip(entries, found, strict=True):
        if match is None:
            raise SettingsError(
                "--regions: expected colours of the map, each optionally with a style "
                f"('#0000ff=a.jpg,#ff0000=b.jpg'), got {entry!r}"
            )
        regions.append(Region(f"#{match[1].lower()}", match[2]))
    return tuple(dict.fromkeys(regions))


def match_palettes(
    content: Palette,
    palettes: Sequence[Palette],
    *,
    names: Sequence[str | Path] = (),
    regions: Sequence[Region] = (),
    untouched: bool = False,
    tolerance: float = TOLERANCE,
) -> tuple[Match, ...]:
    """Return the colours of the frame's map that are stylised, and where the styles have them.

    palettes: of the styles' maps. names: paths of the style pictures, for `regions`. regions:
    restricts colours and styles; empty: all. untouched: keep the source where no style has the
    colour instead of raising. A colour matches the nearest one within the tolerance in each style's
    map; colours of the styles alone are ignored.

    Raises GuideError for unmatched colours, UsageError for an unknown style in `regions`.
    """
    wanted = _styles_by_color(content, palettes, names, regions, tolerance)
    matches, unmatched = [], []
    for color, styles in sorted(wanted.items()):
        pairs = (
            (style, palettes[style].nearest(content.names[color], tolerance)) for style in styles
        )
        found = tuple((style, index) for style, index in pairs if index is not None)
        if found:
            matches.append(Match(color, content.names[color], found))
        else:
            unmatched.append(color)
    if not matches or (unmatched and not untouched):
        raise GuideError(_unmatched_message(content, palettes, unmatched))
    return tuple(matches)


def _styles_by_color(
    content: Palette,
    palettes: Sequence[Palette],
    names: Sequence[str | Path],
    regions: Sequence[Region],
    tolerance: float,
) -> dict[int, list[int]]:
    """Return the styles requested for each colour. Raises as `match_palettes`."""
    every = list(range(len(palettes)))
    if not regions:
        return dict.fromkeys(range(len(content.names)), every)
    wanted: dict[int, set[int]] = {}
    for region in regions:
        color = content.nearest(region.color, tolerance)
        if color is None:
            raise GuideError(
                f"--regions: expected colours of {content.origin} ({', '.join(content.names)}), "
                f"got {region.color}"
            )
        styles = every if region.style is None else [_style(region.style, names)]
        if region.style and palettes[styles[0]].nearest(region.color, tolerance) is None:
            raise GuideError(_unmatched_message(content, [palettes[styles[0]]], [color]))
        wanted.setdefault(color, set()).update(styles)
    return {color: sorted(styles) for color, styles in wanted.items()}


def _style(wanted: str, names: Sequence[str | Path]) -> int:
    """Return the index of a style by its path as given, else by its file name."""
    by_path = [index for index, name in enumerate(names) if str(name) == wanted]
    by_name = [index for index, name in enumerate(names) if Path(name).name == wanted]
    indices = by_path or by_name
    if len(indices) == 1:
        return indices[0]
    known = ", ".join(str(name) for name in names)
    raise UsageError(
        f"--regions: expected one of the styles {known}, got {wanted!r}"
        f"{', the name of several; write the whole path' if indices else ''}"
    )


def _unmatched_message(
    content: Palette, palettes: Sequence[Palette], unmatched: Sequence[int]
) -> str:
    colors = ", ".join(f"{content.names[i]} ({content.shares[i]:.2%} of it)" for i in unmatched)
    maps = "; ".join(f"{one.origin}: {', '.join(one.names)}" for one in palettes)
    return (
        f"{content.origin}: expected colours that a style's map has ({maps}), got {colors}; draw "
        "them in a style's map, restrict with --regions, or leave them with --unmatched keep"
    )
