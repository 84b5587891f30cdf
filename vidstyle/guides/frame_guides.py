"""The guides of a job's frames and styles: read from files, or propagated between key frames."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import tee
from pathlib import Path
from typing import Any

import numpy as np

from vidstyle import media
from vidstyle.errors import UsageError
from vidstyle.guides import guide
from vidstyle.guides import palette as palettes
from vidstyle.guides.auto_masks import AutoMasks
from vidstyle.guides.files import GuideFile, RgbaPicture, open_guide, read_rgba
from vidstyle.guides.guide import Guide
from vidstyle.guides.mending import Mend
from vidstyle.guides.propagation import Tracked, track
from vidstyle.guides.style import Style
from vidstyle.image import resize
from vidstyle.inputs import BACKGROUND, is_automatic
from vidstyle.media import Clip
from vidstyle.segmentation.matting import matted

__all__ = ["FrameGuides", "GuideFiles", "GuideSeries"]

Convert = Callable[[RgbaPicture, tuple[int, int], str], np.ndarray]  # picture, size, name -> planes


@dataclass(frozen=True)
class GuideSeries:
    """Reads the planes of the frames `indices` of a clip from masks or label maps.

    clip: counted. size: returns the (width, height) of the frame at a position in `indices`.
    warn: called with warnings. note: called with the plain values of an event, see `report`.
    """

    clip: Clip
    indices: range
    size: Callable[[int], tuple[int, int]]
    warn: Callable[[str], None]
    note: Callable[[dict[str, Any]], None] = lambda event: None

    def open(self, path: Path) -> GuideFile:
        """Return the masks or maps at `path`. Raises GuideError if they do not fit the frames."""
        guides = open_guide(path, self.clip, self.indices)
        guide.check_sizes(guides, self.indices, self._size_of)
        return guides

    def report(self, guides: GuideFile) -> None:
        """Call `note` with how the pictures are assigned to the frames, if there are several.

        Warns if they are key frames although most frames have a picture: some may be missing.
        """
        count = len(self.indices)
        if count == 1:
            return
        path, taken, keys = str(guides.clip.path), guides.taken, guides.keys or ()
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
                f"so they are key frames and are tracked; draw frame {some} if one a frame is meant"
            )

    def masks(
        self, guides: GuideFile, *, invert: bool = False, feather: float = 0.0
    ) -> Iterator[np.ndarray]:
        """Yield the soft plane [H, W, 1] of each frame, in order."""

        def convert(picture: RgbaPicture, size: tuple[int, int], origin: str) -> np.ndarray:
            resized = guide.resize_to_frame(picture, *size, origin)
            return guide.mask_plane(resized, invert=invert, feather=feather)[..., None]

        return self._planes(guides, convert, hard=False)

    def all_masks(self, path: Path, mend: Mend | None = None) -> Iterator[np.ndarray]:
        """Return the soft planes [H, W, 1] of the masks at `path`, or of automatic ones, checked.

        mend: improves masks that are propagated from key frames, see `propagation.track`. Raises
        GuideError for masks that do not fit, UsageError for `mend` without key frames.
        """
        if is_automatic(path):
            auto = AutoMasks(self.clip, self.indices, self.size, self.warn)
            auto.check()
            return (
                guide.adapted(plane, invert=str(path) == BACKGROUND, feather=0)[..., None]
                for plane in auto.masks()
            )
        drawn = self.open(path)
        guide.check_covers(drawn)
        self.report(drawn)
        if mend is None:
            return self.masks(drawn)
        if drawn.keys is None:
            raise UsageError(
                f"--refine: expected key frames in {path}, which are tracked and mended, got "
                f"{'one picture' if drawn.still else 'a picture for each frame'}; leave --refine "
                "out, or give fewer pictures, named by frame number (000024.png)"
            )
        return self._mended(drawn, drawn.keys, mend)

    def _mended(self, guides: GuideFile, keys: tuple[int, ...], mend: Mend) -> Iterator[np.ndarray]:
        """Yield planes [H, W, 1] propagated as binary masks and mended; key frames as they are."""

        def convert(picture: RgbaPicture, size: tuple[int, int], what: str) -> np.ndarray:
            return guide.mask_plane(guide.resize_to_frame(picture, *size, what))[..., None]

        def hard(picture: RgbaPicture, size: tuple[int, int], what: str) -> np.ndarray:
            return (convert(picture, size, what) > 0.5).astype(np.float32)

        for tracked, index in self._propagated(guides, keys, hard, hard=True, mend=mend):
            if index in keys:
                yield convert(guides.at(index), self.size(0), guides.name(index))
            else:
                frame = tracked.frame.astype(np.float32) / 255
                yield matted(frame, tracked.planes[..., 0])[..., None]

    def maps(
        self,
        guides: GuideFile,
        palette: palettes.Palette,
        matches: Sequence[palettes.Match],
        tolerance: float,
    ) -> Iterator[np.ndarray]:
        """Yield the one-hot planes [H, W, K] of the matches of each frame, in order."""

        def convert(picture: RgbaPicture, size: tuple[int, int], origin: str) -> np.ndarray:
            labels = self.labels(picture, palette, size, origin, tolerance)
            return guide.hard_planes(labels, len(palette.names))

        for planes in self._planes(guides, convert, hard=True):
            yield guide.map_guide(guide.hard_labels(planes), matches).planes

    def labels(
        self,
        picture: RgbaPicture,
        palette: palettes.Palette,
        size: tuple[int, int],
        origin: str,
        tolerance: float,
    ) -> np.ndarray:
        """Return the labels of a map picture at this size, int16 [H, W]. Warns of stray colours."""
        labels, stray = guide.map_labels(
            picture, palette, *size, origin=origin, tolerance=tolerance
        )
        if stray and palette.origin not in self._warned:
            self._warned.add(palette.origin)
            self.warn(
                f"{origin}: {stray:.2%} of its pixels are near no colour of "
                f"{', '.join(palette.names)}; they take the nearest region"
            )
        return labels

    @cached_property
    def _warned(self) -> set[str]:
        return set()

    def _size_of(self, frame: int) -> tuple[int, int]:
        return self.size(frame - self.indices.start)

    def _planes(
        self,
        guides: GuideFile,
        convert: Convert,
        *,
        hard: bool,
    ) -> Iterator[np.ndarray]:
        """Yield the planes of each frame of `indices`; a still picture is converted once a size."""
        if guides.keys is not None:
            yield from self._tracked(guides, guides.keys, convert, hard=hard)
            return
        known: dict[tuple[int, int], np.ndarray] = {}
        for position, (frame, picture) in enumerate(guides.read(self.indices)):
            size = self.size(position)
            planes = known.get(size)
            if planes is None:
                planes = convert(picture, size, guides.name(frame))
            if guides.still:
                known = {size: planes}
            yield planes

    def _tracked(
        self, guides: GuideFile, keys: tuple[int, ...], convert: Convert, *, hard: bool
    ) -> Iterator[np.ndarray]:
        """Yield planes propagated from the key frames in and next to `indices`."""
        for tracked, _ in self._propagated(guides, keys, convert, hard=hard):
            yield tracked.planes

    def _propagated(
        self,
        guides: GuideFile,
        keys: tuple[int, ...],
        convert: Convert,
        *,
        hard: bool,
        mend: Mend | None = None,
    ) -> Iterator[tuple[Tracked, int]]:
        """Yield what `track` makes of the frames of `indices`, with their indices in the clip."""
        size, (begin, end) = self.size(0), (self.indices.start, self.indices.stop - 1)
        first = max((key for key in keys if key <= begin), default=begin)
        last = min((key for key in keys if key >= end), default=end)
        span = range(first, last + 1)
        sources = media.read(self.clip, span, max(size))
        frames = (resize(frame, *size) for frame in sources)
        read = _Keys(
            tuple(key - first for key in keys if key in span),
            lambda key: convert(guides.at(key + first), size, guides.name(key + first)),
        )
        for tracked in track(frames, read, hard=hard, mend=mend):
            if tracked.index + first in self.indices:
                yield tracked, tracked.index + first


@dataclass(frozen=True, kw_only=True)
class GuideFiles:
    """The guide files of a job, and the technique's options for them.

    styles: the style pictures, in the order of style_maps. source: is its own map if `map` is
    None, as for doodles. options: the technique's fields by name.
    """

    source: Path
    styles: tuple[Path, ...]
    masks: tuple[Path, ...] = ()
    map: Path | None = None
    style_maps: tuple[Path, ...] = ()
    options: Mapping[str, Any]


@dataclass(frozen=True)
class FrameGuides:
    """The guides of the frames and styles of a job.

    All methods raise GuideError, MediaError or UsageError for files that do not fit.
    """

    files: GuideFiles
    series: GuideSeries

    def check(self) -> None:
        """Raise for files that do not fit, and report how they are assigned to the frames."""
        for guides in self._masks.values():
            guide.check_covers(guides, invert=self.files.options["invert_mask"])
            self.series.report(guides)
        if self._automatic:
            self._auto.check()
        if self._map is not None:
            _ = self._matches
            if self.files.map is not None:
                self.series.report(self._map)

    def of_styles(self, styles: list[Style]) -> list[Style]:
        """Return the styles with the guides from their style maps."""
        if self._map is None:
            return styles
        return [self._with_guide(index, style) for index, style in enumerate(styles)]

    def frames(self) -> Iterator[Guide | None]:
        """Yield the guide of each frame, in order, at the output size; None without guide files."""
        if self._map is not None:
            names = tuple(match.name for match in self._matches)
            tolerance = self.files.options["tolerance"]
            maps = self.series.maps(self._map, self._palette, self._matches, tolerance)
            return (Guide(planes, names) for planes in maps)
        if self.files.masks:
            names = tuple(f"mask {number}" for number in range(1, len(self.files.masks) + 1))
            masks = self._mask_planes()
            return (Guide(np.dstack(planes), names) for planes in zip(*masks, strict=True))
        return (None for _ in self.series.indices)

    def _mask_planes(self) -> list[Iterator[np.ndarray]]:
        """Return the plane [H, W, 1] of each frame, for each mask."""
        invert, feather = self.files.options["invert_mask"], self.files.options["feather"]
        subjects = iter(tee(self._auto.masks(), len(self._automatic)) if self._automatic else ())
        return [
            self._auto_planes(next(subjects), str(path) == BACKGROUND)
            if is_automatic(path)
            else self.series.masks(self._masks[path], invert=invert, feather=feather)
            for path in self.files.masks
        ]

    def _auto_planes(self, subject: Iterator[np.ndarray], background: bool) -> Iterator[np.ndarray]:
        invert, feather = self.files.options["invert_mask"], self.files.options["feather"]
        for plane in subject:
            yield guide.adapted(plane, invert=invert != background, feather=feather)[..., None]

    @cached_property
    def _automatic(self) -> list[Path]:
        return [path for path in self.files.masks if is_automatic(path)]

    @cached_property
    def _auto(self) -> AutoMasks:
        return AutoMasks(self.series.clip, self.series.indices, self.series.size, self.series.warn)

    @cached_property
    def _masks(self) -> dict[Path, GuideFile]:
        return {p: self.series.open(p) for p in self.files.masks if not is_automatic(p)}

    @cached_property
    def _map(self) -> GuideFile | None:
        if not self.files.style_maps:
            return None
        path = self.files.map or self.files.source  # a doodle is its own map
        return self.series.open(path)

    @cached_property
    def _palette(self) -> palettes.Palette:
        assert self._map is not None
        origin = str(self._map.clip.path)
        return palettes.palette_of(self._map.pictures(), origin, self.files.options["tolerance"])

    @cached_property
    def _style_maps(self) -> list[tuple[RgbaPicture, palettes.Palette]]:
        found = []
        for path in self.files.style_maps:
            picture = read_rgba(path)
            named = [(str(path), picture)]
            palette = palettes.palette_of(named, str(path), self.files.options["tolerance"])
            found.append((picture, palette))
        return found

    @cached_property
    def _matches(self) -> tuple[palettes.Match, ...]:
        text = self.files.options["regions"]
        return palettes.match_palettes(
            self._palette,
            [palette for _, palette in self._style_maps],
            names=list(self.files.styles),
            regions=palettes.parse_regions(text) if text else (),
            untouched=self.files.options["unmatched"] == "keep",
            tolerance=self.files.options["tolerance"],
        )

    def _with_guide(self, index: int, style: Style) -> Style:
        picture, palette = self._style_maps[index]
        height, width = style.image.shape[:2]
        origin, tolerance = str(self.files.style_maps[index]), self.files.options["tolerance"]
        labels = self.series.labels(picture, palette, (width, height), origin, tolerance)
        own = {m.name: dict(m.styles)[index] for m in self._matches if index in dict(m.styles)}
        planes = [(labels == color).astype(np.float32) for color in own.values()]
        if not planes:
            return style
        return replace(style, guide=Guide(np.dstack(planes), tuple(own)))


@dataclass(frozen=True)
class _Keys(Mapping[int, np.ndarray]):
    """The planes of key frames by number, read on access."""

    numbers: tuple[int, ...]
    read: Callable[[int], np.ndarray]

    def __getitem__(self, number: int) -> np.ndarray:
        if number not in self.numbers:
            raise KeyError(number)
        return self.read(number)

    def __contains__(self, number: object) -> bool:
        return number in self.numbers

    def __iter__(self) -> Iterator[int]:
        return iter(self.numbers)

    def __len__(self) -> int:
        return len(self.numbers)
