"""Palettes: the colours of label maps, the label of each pixel, and which colours go together.

A map's colours are labels and nothing else: black, white and grey are as good as any. They are
told apart in 8 bits a channel and written '#rrggbb'; distances are Euclidean in the unit cube of
the values as they are in the file.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vidstyle.errors import GuideError, SettingsError, UsageError
from vidstyle.guides.files import Drawing

__all__ = [
    "CLEAR",
    "MOST",
    "TOLERANCE",
    "UNKNOWN",
    "Match",
    "Palette",
    "Region",
    "closed",
    "labelled",
    "matched",
    "palette_of",
    "parse_regions",
]

TOLERANCE = 0.14  # of the unit cube: how far a pixel may be from its label, as in the original
MOST = 32  # colours of one map
UNKNOWN, CLEAR = -1, -2  # labels of pixels that are near no colour; that are transparent

_LEAST = 0.0005  # of a picture: flat ground in a colour of a map that is not clean
_FEW = 9  # pixels: as many at least, however small the map
_ROUNDING = 1.5 / 255  # how far a blend of two colours may be from the line between them

Labels = np.ndarray[Any, Any]  # int16 [H, W]: place in a Palette, or UNKNOWN, or CLEAR
Codes = np.ndarray[Any, Any]  # int32: red · 65536 + green · 256 + blue
Shares = dict[int, float]  # code of a colour -> share of the pixels, 0..1


@dataclass(frozen=True)
class Palette:
    """The colours of a map or of a series of maps, the most frequent first.

    what: the path, for sentences. names: '#rrggbb' of each. shares: of the pixels of all pictures.
    """

    what: str
    names: tuple[str, ...]
    shares: tuple[float, ...]

    @property
    def colors(self) -> np.ndarray[Any, Any]:
        """The colours as float32 [K, 3], RGB, 0..1."""
        return _parsed(self.names)

    def nearest(self, name: str, tolerance: float = TOLERANCE) -> int | None:
        """Return the place of the colour nearest to '#rrggbb', None if none is near enough."""
        far = np.linalg.norm(self.colors - _parsed([name]), axis=1)
        return int(far.argmin()) if far.min() <= tolerance else None


@dataclass(frozen=True)
class Region:
    """One entry of --regions: a colour '#rrggbb', and the style it is to take (None: any)."""

    color: str
    style: str | None = None


@dataclass(frozen=True)
class Match:
    """A colour of the frame's map that takes part, and where the styles have it.

    color: its place in the map's Palette. name: '#rrggbb'. styles: (place of the style, place of
    the colour in that style's Palette), in the order of the styles; several blend.
    """

    color: int
    name: str
    styles: tuple[tuple[int, int], ...]


def palette_of(
    pictures: Iterable[tuple[str, Drawing]], what: str, tolerance: float = TOLERANCE
) -> Palette:
    """Find the colours of a map or of all maps of a series, given as (name, Drawing).

    Clean maps (at most 32 colours in all) keep each of their colours, however near to another, but
    for single pixels and the blends along edges. In others (smooth edges, JPEG, video) the most
    frequent colours are taken that are farther than `tolerance` from those before, counted where
    3 x 3 pixels hardly differ, since edges are no colours: 1 in 2000 pixels of a picture must be
    such ground. What is transparent by more than half is in no region. Raises GuideError for more
    than 32 colours and for none.
    """
    shares = _gathered(pictures, tolerance)
    if len(shares) > MOST:
        raise GuideError(_too_many(what, len(shares)))
    if not shares:
        raise GuideError(
            f"{what}: expected a map with a flat colour for each region, got none; "
            "paint the regions in plain colours and save it as PNG"
        )
    order = sorted(shares, key=lambda code: (-shares[code], code))
    return Palette(
        what=what,
        names=tuple(_name(code) for code in order),
        shares=tuple(shares[code] for code in order),
    )


def _gathered(pictures: Iterable[tuple[str, Drawing]], tolerance: float) -> Shares:
    """Return the mean share of each colour in a series. Raises GuideError that names a picture."""
    total: Shares = {}
    clean, count = True, 0
    for name, picture in pictures:
        shares, exact = _colors_of(picture, tolerance)
        if len(shares) > MOST:
            raise GuideError(_too_many(name, len(shares)))
        for code, share in shares.items():
            total[code] = total.get(code, 0) + share
        clean, count = clean and exact, count + 1
    if not clean or len(total) > MOST:
        total = _merged(total, tolerance)
    return {code: share / count for code, share in total.items()}


def _too_many(what: str, count: int) -> str:
    return (
        f"{what}: expected a map of at most {MOST} colours, got {count}; it was probably saved "
        "with smoothing, or is a photo: save it as PNG without anti-aliasing"
    )


def _colors_of(picture: Drawing, tolerance: float) -> tuple[Shares, bool]:
    """Return the share of each colour of one map by its code, and whether the map is clean."""
    codes, there = _codes(picture), picture[..., 3] >= 0.5
    distinct, counts = np.unique(codes[there], return_counts=True)
    if len(distinct) <= MOST:
        kept = ~_strays(np.where(there, codes, -1), distinct, counts)
        shares = _shares(distinct[kept], counts[kept] / codes.size)
        return shares, True
    flat = there & (_contrast(picture[..., :3]) <= tolerance / 2)
    distinct, counts = np.unique(codes[flat], return_counts=True)
    merged = _merged(_shares(distinct, counts), tolerance)
    least = max(_FEW, _LEAST * codes.size)
    names = [_name(code) for code, flat_pixels in merged.items() if flat_pixels >= least]
    return _covered(picture, names, tolerance), False


def _covered(picture: Drawing, names: Sequence[str], tolerance: float) -> Shares:
    """Return how much of a picture each of these colours covers."""
    labels, _ = labelled(picture, Palette("", tuple(names), ()), tolerance)
    counts = np.bincount(labels[labels >= 0], minlength=len(names)) / labels.size
    return {int(name[1:], 16): float(count) for name, count in zip(names, counts, strict=True)}


def _codes(picture: Drawing) -> Codes:
    """Return each pixel's colour as one number."""
    bytes_ = np.rint(picture[..., :3] * 255).astype(np.int32)
    return np.asarray(bytes_ @ np.array([65536, 256, 1], np.int32))


def _colors(codes: Codes) -> np.ndarray[Any, Any]:
    """Return codes as float32 [..., 3], 0..1: what `_codes` came from."""
    channels = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=-1)
    return channels.astype(np.float32) / np.float32(255)


def _name(code: int) -> str:
    return f"#{code:06x}"


def _parsed(names: Sequence[str]) -> np.ndarray[Any, Any]:
    """Return colours written '#rrggbb' as float32 [K, 3], 0..1."""
    return _colors(np.array([int(name[1:], 16) for name in names], np.int32))


def _shares(codes: Codes, shares: np.ndarray[Any, Any]) -> Shares:
    return dict(zip(codes.tolist(), shares.tolist(), strict=True))


def _contrast(colour: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return float32 [H, W]: by how much a channel differs within the 3 x 3 around, at most."""
    import cv2

    colour, square = np.ascontiguousarray(colour), np.ones((3, 3), np.uint8)
    return np.asarray((cv2.dilate(colour, square) - cv2.erode(colour, square)).max(axis=2))


def _strays(codes: Codes, distinct: Codes, counts: Codes) -> np.ndarray[Any, Any]:
    """Return bool for each of the few colours of a map: it is no label, only what edges leave.

    It covers no 3 x 3 square, and has hardly any pixels or lies between two colours that do.
    """
    colors = _colors(distinct)
    solid = np.isin(distinct, codes[_contrast(_colors(codes)) == 0])
    strays = counts < max(_FEW, _LEAST * codes.size)
    for i in np.flatnonzero(~strays):
        strays[i] = _between(colors[i], colors[solid])
    return strays & ~solid & solid.any()


def _between(color: np.ndarray[Any, Any], ends: np.ndarray[Any, Any]) -> bool:
    """Tell whether a colour lies on the line between any two of `ends`, [K, 3]."""
    if len(ends) < 2:
        return False
    a, b = ends[:, None], ends[None]
    length = np.maximum(((b - a) ** 2).sum(axis=-1), 1e-12)
    along = np.clip(((color - a) * (b - a)).sum(axis=-1) / length, 0, 1)
    off = np.linalg.norm(a + along[..., None] * (b - a) - color, axis=-1)
    inner = (along > 0) & (along < 1)
    return bool((off[inner] <= _ROUNDING).any())


def _merged(shares: Shares, tolerance: float) -> Shares:
    """Give each colour's share to the most frequent one within the tolerance, greedily."""
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


def labelled(
    picture: np.ndarray[Any, Any], palette: Palette, tolerance: float = TOLERANCE
) -> tuple[Labels, float]:
    """Return each pixel's label, int16 [H, W], and the share of pixels that are UNKNOWN, 0..1.

    picture: a Drawing, or an Image [H, W, 3]. A label is the place in the palette of the nearest
    colour (of two as near, the first), so a pixel is in one region at most; UNKNOWN where none is
    within the tolerance; CLEAR where the picture is transparent by more than half.
    """
    labels = np.full(picture.shape[:2], UNKNOWN, np.int16)
    nearest = np.full(picture.shape[:2], np.inf, np.float32)
    for place, color in enumerate(palette.colors):
        far = ((picture[..., :3] - color) ** 2).sum(axis=2)
        closer = far < nearest
        labels[closer], nearest[closer] = place, far[closer]
    labels[nearest > np.float32((tolerance + 1e-6) ** 2)] = UNKNOWN
    if picture.shape[2] == 4:
        labels[picture[..., 3] < 0.5] = CLEAR
    return labels, float((labels == UNKNOWN).mean())


def closed(labels: Labels) -> Labels:
    """Return the labels with each UNKNOWN pixel given the label (or CLEAR) nearest in the picture.

    A picture of nothing but UNKNOWN stays so.
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


def parse_regions(text: str) -> tuple[Region, ...]:
    """Parse '#0000ff=a.jpg,#ff0000=b.jpg' or '#0000ff,#ff0000'. Raises SettingsError.

    The '#' may be left out. A comma parts two entries where a colour follows it.
    """
    entries = re.split(r",(?=\s*#?[0-9a-fA-F]{6}\s*(?:=|,|$))", text)
    found = [re.fullmatch(r"\s*#?([0-9a-fA-F]{6})\s*(?:=\s*(.*\S)\s*)?", one) for one in entries]
    regions = []
    for entry, match in zip(entries, found, strict=True):
        if match is None:
            raise SettingsError(
                "--regions: expected colours of the map, each with a style if you like "
                f"('#0000ff=a.jpg,#ff0000=b.jpg'), got {entry!r}"
            )
        regions.append(Region(f"#{match[1].lower()}", match[2]))
    return tuple(dict.fromkeys(regions))


def matched(
    content: Palette,
    palettes: Sequence[Palette],
    *,
    names: Sequence[str | Path] = (),
    regions: Sequence[Region] = (),
    untouched: bool = False,
    tolerance: float = TOLERANCE,
) -> tuple[Match, ...]:
    """Find which colours of the frame's map take part, and with which colours of the styles' maps.

    palettes: of each style's map. names: of the style pictures, as given, for `regions`.
    regions: only these colours take part, with the style that each names; empty: all do. A colour
    goes with the nearest within the tolerance of every style that has one. What only a style has
    is ignored.
    untouched: what no style has is left as the source instead of refused. Raises GuideError for
    colours that do not meet, UsageError for a style that is none.
    """
    wanted = _wanted(content, palettes, names, regions, tolerance)
    matches, alone = [], []
    for color, styles in sorted(wanted.items()):
        pairs = (
            (style, palettes[style].nearest(content.names[color], tolerance)) for style in styles
        )
        meet = tuple((style, place) for style, place in pairs if place is not None)
        if meet:
            matches.append(Match(color, content.names[color], meet))
        else:
            alone.append(color)
    if not matches or (alone and not untouched):
        raise GuideError(_unmatched(content, palettes, alone))
    return tuple(matches)


def _wanted(
    content: Palette,
    palettes: Sequence[Palette],
    names: Sequence[str | Path],
    regions: Sequence[Region],
    tolerance: float,
) -> dict[int, list[int]]:
    """Return which styles are asked for each colour of the content. Raises as `matched`."""
    every = list(range(len(palettes)))
    if not regions:
        return dict.fromkeys(range(len(content.names)), every)
    wanted: dict[int, set[int]] = {}
    for region in regions:
        color = content.nearest(region.color, tolerance)
        if color is None:
            raise GuideError(
                f"--regions: expected colours of {content.what} ({', '.join(content.names)}), "
                f"got {region.color}"
            )
        styles = every if region.style is None else [_style(region.style, names)]
        if region.style and palettes[styles[0]].nearest(region.color, tolerance) is None:
            raise GuideError(_unmatched(content, [palettes[styles[0]]], [color]))
        wanted.setdefault(color, set()).update(styles)
    return {color: sorted(styles) for color, styles in wanted.items()}


def _style(wanted: str, names: Sequence[str | Path]) -> int:
    """Return the place of a style by its path as given, or else by its file's name."""
    given = [place for place, name in enumerate(names) if str(name) == wanted]
    called = [place for place, name in enumerate(names) if Path(name).name == wanted]
    places = given or called
    if len(places) == 1:
        return places[0]
    known = ", ".join(str(name) for name in names)
    raise UsageError(
        f"--regions: expected one of the styles {known}, got {wanted!r}"
        f"{', which several are called; write the whole path' if places else ''}"
    )


def _unmatched(content: Palette, palettes: Sequence[Palette], alone: Sequence[int]) -> str:
    colors = ", ".join(f"{content.names[i]} ({content.shares[i]:.2%} of it)" for i in alone)
    maps = "; ".join(f"{one.what}: {', '.join(one.names)}" for one in palettes)
    return (
        f"{content.what}: expected colours that a style's map has ({maps}), got {colors}; draw "
        "them in a style's map, restrict with --regions, or leave them with --unmatched keep"
    )
