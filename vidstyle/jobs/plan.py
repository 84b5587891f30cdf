"""Work: the frames of a source that a job is about, and what is known before any is decoded."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from vidstyle import media
from vidstyle.coherence.fades import THUMBNAIL, Fade, fades, thumbnail
from vidstyle.errors import MediaError
from vidstyle.guides.frame_guides import FrameGuides, GuideFiles, GuideSeries
from vidstyle.jobs.cancel import Cancel, check_of
from vidstyle.jobs.events import GuidesEvent, OnEvent, PlanEvent, WarningEvent, ignore
from vidstyle.jobs.job import Job, target_size

if TYPE_CHECKING:
    from vidstyle.media import Clip, Image

__all__ = [
    "Work",
    "encoding",
    "forecast",
    "look",
    "survey",
]

PIXEL_SECONDS = 8e-6  # one evaluation of one pixel, measured on two CPU cores; a GPU takes less
_PIXEL_BYTES = 6  # a saved frame: 16 bits a channel; noise does not pack any smaller


@dataclass(frozen=True)
class Work:
    """The frames `indices` of `clip` to stylise; events go to `notify`.

    check: called between frames and evaluations; raises CancelledError once the run is cancelled.
    """

    job: Job
    clip: "Clip"
    indices: range
    notify: OnEvent
    check: Callable[[], None] = lambda: None

    @property
    def linked(self) -> bool:
        """Whether the frames follow one another in time."""
        return self.clip.kind not in ("picture", "photos")

    def size(self, position: int) -> tuple[int, int]:
        """Return the (width, height) of a result. An odd source that keeps its size is padded."""
        own = (self.clip.width, self.clip.height)
        if not self.linked:
            own = self.clip.sizes[self.indices[position]]
        fitted = target_size(self.job.settings.size, *own, even=False)
        if fitted == own or not media.needs_even_sides(
            self.clip, self.job.output, encoding(self.job)
        ):
            return fitted
        return target_size(self.job.settings.size, *own)

    def sizes(self) -> list[tuple[int, int]]:
        return [self.size(position) for position in range(len(self.indices))]

    def expected(self, position: int) -> int:
        """Return how many evaluations a frame takes if it follows no cut."""
        settings = self.job.settings
        return settings.steps_next if self.linked and position else settings.steps

    def space(self, positions: list[int]) -> int:
        """Return how many bytes it takes to finish these frames, and to write the whole result."""
        areas = [width * height for width, height in self.sizes()]
        coded = media.pixel_bytes(self.clip, self.job.output, encoding(self.job))
        # The output image, the optimised one, and that after deflickering if a mask is soft.
        images = 3 if self.job.masks else 2
        each = images * _PIXEL_BYTES if self.linked and self.job.optimises else _PIXEL_BYTES
        return sum(areas[position] for position in positions) * each + round(sum(areas) * coded)

    def left(self, positions: list[int]) -> int:
        """Return how many evaluations and frames these take, as one number."""
        return sum(1 + self.expected(position) for position in positions)

    @cached_property
    def guidance(self) -> FrameGuides:
        """The masks or maps of the frames."""

        def warn(message: str) -> None:
            self.notify(WarningEvent(message=message))

        def note(facts: dict[str, str]) -> None:
            self.notify(GuidesEvent(**facts))  # type: ignore[arg-type]

        series = GuideSeries(self.clip, self.indices, self.size, warn, note)
        return FrameGuides(_guide_files(self.job), series)

    @cached_property
    def fades(self) -> dict[int, Fade]:
        """The light of each frame that is not in full light, if any is to be painted."""
        if not (self.linked and self.job.optimises):
            return {}
        return fades(map(thumbnail, self._read(THUMBNAIL)))

    def faded(self, position: int, result: "Image") -> "Image":
        """Return what was made of a frame in the frame's own light."""
        fade = self.fades.get(position)
        return result if fade is None else fade.dimmed(result)

    def frames(self) -> "Iterator[tuple[int, Image]]":
        """Yield the position and the frame in full light, at its result's size.

        Raises MediaError.
        """
        position = -1
        side = max(map(max, self.sizes()), default=1)
        for position, frame in enumerate(self._read(side)):
            sized, fade = media.resize(frame, *self.size(position)), self.fades.get(position)
            yield position, sized if fade is None else fade.lifted(sized)
        if position + 1 < len(self.indices):
            raise MediaError(
                f"{self.job.source}: expected {len(self.indices)} frames, got {position + 1}; "
                "the file may have changed: run the same command again"
            )

    def _read(self, side: int) -> "Iterator[Image]":
        """Yield the frames as decoded, at least `side` pixels long; raises CancelledError."""
        for frame in media.read(self.clip, self.indices, side):
            self.check()
            yield frame


def forecast(job: Job) -> PlanEvent:
    """Return what is known of a job by its source's headers alone; see plan."""
    clip = look(job)
    work = Work(job, clip, media.select(clip, job.settings.start, job.settings.end), ignore)
    areas = [width * height for width, height in work.sizes()]
    counts = [work.expected(position) for position in range(len(areas))]
    width, height = work.size(0)
    return PlanEvent(
        source=str(job.source),
        kind=clip.kind,
        output=job.output,
        frames=len(areas),
        width=width,
        height=height,
        steps=job.settings.steps,
        steps_next=job.settings.steps_next,
        evaluations=sum(counts),
        seconds=sum(a * n for a, n in zip(areas, counts, strict=True)) * PIXEL_SECONDS,
        bytes=work.space(list(range(len(areas)))),
    )


def look(job: Job) -> "Clip":
    """Return what is known of the source; refuse what cannot become the output."""
    clip = media.probe(job.source, rate=job.settings.rate, count=False)
    media.check_output(clip, job.output, encoding(job))
    Work(job, clip, range(clip.frames), ignore).sizes()
    return clip


def survey(job: Job, notify: OnEvent, cancel: Cancel | None = None) -> Work:
    """Count the source's frames and choose those of the job."""
    clip = media.probe(job.source, rate=job.settings.rate)
    for note in clip.notes:
        notify(WarningEvent(message=f"{job.source}: {note}"))
    indices = media.select(clip, job.settings.start, job.settings.end)
    return Work(job, clip, indices, notify, check_of(cancel))


def encoding(job: Job) -> media.EncodingOptions:
    return media.EncodingOptions(**job.settings.of_scope("output"))


def _guide_files(job: Job) -> GuideFiles:
    return GuideFiles(
        source=job.source,
        styles=tuple(path for path, _ in job.styles),
        masks=job.masks,
        map=job.map,
        style_maps=job.style_maps,
        options=vars(job.technique),
    )
