"""Guidance: which guide each frame of a run has, read as it was drawn or tracked between keys."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from vidstyle import media
from vidstyle.guides import guide, propagation
from vidstyle.guides import palette as palettes
from vidstyle.guides.files import Drawing, GuideFile, open_guide, read_drawing
from vidstyle.guides.guide import Guide
from vidstyle.guides.style import Style
from vidstyle.image import resize
from vidstyle.media import Clip

__all__ = ["FrameGuides", "GuideFiles", "GuideSeries"]

Planes = np.ndarray  # float32 [H, W, K]


@dataclass(frozen=True)
class GuideSeries:
    """Planes for the frames `indices` of a clip, drawn for each, for all, or for key frames.

    clip: counted. size: gives the (width, height) of a position, from 0. warn: is told, once for a
    map, of pixels that are near no colour. note: is told what is no fault, as plain values for an
    event: see `tell`.
    """

    clip: Clip
    indices: range
    size: Callable[[int], tuple[int, int]]
    warn: Callable[[str], None]
    note: Callable[[dict[str, Any]], None] = lambda event: None

    def open(self, path: Path) -> GuideFile:
        """Return the masks or maps at `path`. Raises GuideError if they fit no frames."""
        drawn = open_guide(path, self.clip, self.indices)
        guide.check_sizes(drawn, self.indices, self._size_of)
        return drawn

    def tell(self, drawn: GuideFile) -> None:
        """Note how the pictures of a path are taken, where there is more than one frame.

        Through `warn`, if they are key frames although most frames have a picture: then one for
        each frame may be meant, and some are missing.
        """
        count = len(self.indices)
        if count == 1:
            return
        path, taken, keys = str(drawn.clip.path), drawn.taken, drawn.keys or ()
        words = {
            "still": f"one picture for all {count} frames",
            "each": f"one picture for each of {count} frames",
            "keys": f"{len(keys)} key frames, tracked over {count} frames",
        }
        self.note({"path": path, "taken": taken, "message": f"{path}: {words[taken]}"})
        missing = sorted(set(range(self.clip.frames)) - set(keys))
        if keys and len(missing) < len(keys):
            some = ", ".join(map(str, missing[:3])) + (", …" if len(missing) > 3 else "")
            self.warn(
                f"{path}: expected {self.clip.frames} pictures for one a frame, got {len(keys)}, "
                f"so they are taken as key frames and tracked; draw frame {some} if one a frame is "
                "meant"
            )

    def masks(
        self, drawn: GuideFile, *, invert: bool = False, feather: float = 0.0
    ) -> Iterator[Planes]:
        """Yield soft planes [H, W, 1] of each frame, in order."""

        def drawn_as(picture: Drawing, size: tuple[int, int], what: str) -> Planes:
            fitted = guide.fitted(picture, *size, what)
            return guide.mask_plane(fitted, invert=invert, feather=feather)[..., None]

        return self._planes(drawn, drawn_as, hard=False)

    def maps(
        self,
        drawn: GuideFile,
        palette: palettes.Palette,
        matches: Sequence[palettes.Match],
        tolerance: float,
    ) -> Iterator[Planes]:
        """Yield one hard plane for each match [H, W, K], of each frame, in order."""

        def drawn_as(picture: Drawing, size: tuple[int, int], what: str) -> Planes:
            labels = self.labels(picture, palette, size, what, tolerance)
            return guide.hard_planes(labels, len(palette.names))

        for planes in self._planes(drawn, drawn_as, hard=True):
            yield guide.map_guide(guide.hard_labels(planes), matches).planes

    def labels(
        self,
        picture: Drawing,
        palette: palettes.Palette,
        size: tuple[int, int],
        what: str,
        tolerance: float,
    ) -> np.ndarray:
        """Return the labels of a map picture at this size, int16 [H, W]."""
        labels, stray = guide.map_labels(picture, palette, *size, what=what, tolerance=tolerance)
        if stray and palette.what not in self._told:
            self._told.add(palette.what)
            self.warn(
                f"{what}: {stray:.2%} of its pixels are near no colour of "
                f"{', '.join(palette.names)}; they take the region that is nearest"
            )
        return labels

    @cached_property
    def _told(self) -> set[str]:
        return set()

    def _size_of(self, frame: int) -> tuple[int, int]:
        return self.size(frame - self.indices.start)

    def _planes(
        self,
        drawn: GuideFile,
        drawn_as: Callable[[Drawing, tuple[int, int], str], Planes],
        *,
        hard: bool,
    ) -> Iterator[Planes]:
        """Yield the planes of each frame of `indices`; a still picture is read once a size."""
        if drawn.keys is not None:
            yield from self._tracked(drawn, drawn.keys, drawn_as, hard=hard)
            return
        known: dict[tuple[int, int], Planes] = {}
        for position, (frame, picture) in enumerate(drawn.read(self.indices)):
            size = self.size(position)
            planes = known.get(size)
            if planes is None:
                planes = drawn_as(picture, size, drawn.name(frame))
            if drawn.still:
                known = {size: planes}
            yield planes

    def _tracked(
        self,
        drawn: GuideFile,
        keys: tuple[int, ...],
        drawn_as: Callable[[Drawing, tuple[int, int], str], Planes],
        *,
        hard: bool,
    ) -> Iterator[Planes]:
        """Yield planes carried between the keys, from the last before to the first after."""
        size, (begin, end) = self.size(0), (self.indices.start, self.indices.stop - 1)
        first = max((key for key in keys if key <= begin), default=begin)
        last = min((key for key in keys if key >= end), default=end)
        span = range(first, last + 1)
        sources = media.read(self.clip, span, max(size))
        frames = (resize(frame, *size) for frame in sources)
        read = _Keys(
            tuple(key - first for key in keys if key in span),
            lambda key: drawn_as(drawn.at(key + first), size, drawn.name(key + first)),
        )
        for tracked in propagation.track(frames, read, hard=hard):
            if tracked.index + first in self.indices:
                yield tracked.planes


@dataclass(frozen=True, kw_only=True)
class GuideFiles:
    """The files of a job that say where the style goes, and the technique's options for them.

    styles: the style pictures, in the order of style_maps. source: serves as the map where there
    is none, as for a drawing. options: the technique's fields by name.
    """

    source: Path
    styles: tuple[Path, ...]
    masks: tuple[Path, ...] = ()
    map: Path | None = None
    style_maps: tuple[Path, ...] = ()
    options: Mapping[str, Any]


@dataclass(frozen=True)
class FrameGuides:
    """The masks or maps of a job, for the frames of its source and for its styles.

    Raises GuideError, MediaError or UsageError for what does not fit, when it is checked or met.
    """

    files: GuideFiles
    series: GuideSeries

    def check(self) -> None:
        """Refuse what does not fit, before a frame is stylised."""
        for drawn in self._masks:
            guide.check_covers(drawn, invert=self.files.options["invert_mask"])
            self.series.tell(drawn)
        if self._map is not None:
            _ = self._matches
            if self.files.map is not None:
                self.series.tell(self._map)

    def of_styles(self, styles: list[Style]) -> list[Style]:
        """Return the styles with the guides of their own maps."""
        if self._map is None:
            return styles
        return [self._with_guide(place, style) for place, style in enumerate(styles)]

    def frames(self) -> Iterator[Guide | None]:
        """Yield the guide of each frame, in order, at the size of its result."""
        if self._map is not None:
            names = tuple(match.name for match in self._matches)
            tolerance = self.files.options["tolerance"]
            maps = self.series.maps(self._map, self._palette, self._matches, tolerance)
            return (Guide(planes, names) for planes in maps)
        if self._masks:
            names = tuple(f"mask {number}" for number in range(1, len(self._masks) + 1))
            invert, feather = self.files.options["invert_mask"], self.files.options["feather"]
            masks = [self.series.masks(m, invert=invert, feather=feather) for m in self._masks]
            return (Guide(np.dstack(planes), names) for planes in zip(*masks, strict=True))
        return (None for _ in self.series.indices)

    @cached_property
    def _masks(self) -> list[GuideFile]:
        return [self.series.open(path) for path in self.files.masks]

    @cached_property
    def _map(self) -> GuideFile | None:
        if not self.files.style_maps:
            return None
        path = self.files.map or self.files.source  # a drawing is its own map
        return self.series.open(path)

    @cached_property
    def _palette(self) -> palettes.Palette:
        assert self._map is not None
        what = str(self._map.clip.path)
        return palettes.palette_of(self._map.pictures(), what, self.files.options["tolerance"])

    @cached_property
    def _style_maps(self) -> list[tuple[Drawing, palettes.Palette]]:
        found = []
        for path in self.files.style_maps:
            picture = read_drawing(path)
            named = [(str(path), picture)]
            palette = palettes.palette_of(named, str(path), self.files.options["tolerance"])
            found.append((picture, palette))
        return found

    @cached_property
    def _matches(self) -> tuple[palettes.Match, ...]:
        text = self.files.options["regions"]
        return palettes.matched(
            self._palette,
            [palette for _, palette in self._style_maps],
            names=list(self.files.styles),
            regions=palettes.parse_regions(text) if text else (),
            untouched=self.files.options["unmatched"] == "keep",
            tolerance=self.files.options["tolerance"],
        )

    def _with_guide(self, place: int, style: Style) -> Style:
        picture, palette = self._style_maps[place]
        height, width = style.image.shape[:2]
        what, tolerance = str(self.files.style_maps[place]), self.files.options["tolerance"]
        labels = self.series.labels(picture, palette, (width, height), what, tolerance)
        own = {m.name: dict(m.styles)[place] for m in self._matches if place in dict(m.styles)}
        planes = [(labels == color).astype(np.float32) for color in own.values()]
        if not planes:
            return style
        return replace(style, guide=Guide(np.dstack(planes), tuple(own)))


@dataclass(frozen=True)
class _Keys(Mapping[int, Planes]):
    """Key frames' planes by number, read when they are asked for."""

    numbers: tuple[int, ...]
    read: Callable[[int], Planes]

    def __getitem__(self, number: int) -> Planes:
        if number not in self.numbers:
            raise KeyError(number)
        return self.read(number)

    def __contains__(self, number: object) -> bool:
        return number in self.numbers

    def __iter__(self) -> Iterator[int]:
        return iter(self.numbers)

    def __len__(self) -> int:
        return len(self.numbers)
