"""Plan: the frames of a job, their sizes and guides, and estimates of time and disk space."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from vidstyle import media
from vidstyle.coherence.fades import THUMBNAIL, Fade, fades, thumbnail
from vidstyle.coherence.parameters import CoherenceParameters
from vidstyle.errors import MediaError
from vidstyle.guides.frame_guides import FrameGuides, GuideFiles, GuideSeries
from vidstyle.image import Image, resize
from vidstyle.jobs.cancel import Cancel, check_of
from vidstyle.jobs.events import GuidesEvent, OnEvent, PlanEvent, WarningEvent, ignore
from vidstyle.jobs.job import Job, target_size

if TYPE_CHECKING:
    from vidstyle.media import Clip

__all__ = [
    "Work",
    "encoding",
    "forecast",
    "probe_source",
    "survey",
]

PIXEL_SECONDS = 8e-6  # per evaluation and pixel, measured on two CPU cores; a GPU takes less
_PIXEL_BYTES = 6  # of a saved frame: 16 bits a channel; PNG does not compress noise


@dataclass(frozen=True)
class Work:
    """The frames `indices` of `clip` to stylise; events go to `notify`.

    check: called between frames and evaluations; raises CancelledError once the run is cancelled.
    parameters: the constants of temporal coherence.
    """

    job: Job
    clip: "Clip"
    indices: range
    notify: OnEvent
    check: Callable[[], None] = lambda: None
    parameters: CoherenceParameters = field(default_factory=CoherenceParameters)

    @property
    def linked(self) -> bool:
        """Whether the frames are consecutive in time; False for pictures and photo folders."""
        return self.clip.kind not in ("picture", "photos")

    def size(self, position: int) -> tuple[int, int]:
        """Return the (width, height) of an output frame; even where the codec needs it."""
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
        """Return the (width, height) of each output frame."""
        return [self.size(position) for position in range(len(self.indices))]

    def expected(self, position: int) -> int:
        """Return the number of evaluations of a frame; cuts, which take more, are not known yet."""
        settings = self.job.settings
        return settings.usual_steps_next if self.linked and position else settings.steps

    def space(self, positions: list[int]) -> int:
        """Return the bytes needed to save these frames and to write the whole output."""
        areas = [width * height for width, height in self.sizes()]
        coded = media.pixel_bytes(self.clip, self.job.output, encoding(self.job))
        # The output image, the optimised image, and the filtered one if a mask is soft.
        images = 3 if self.job.masks else 2
        each = images * _PIXEL_BYTES if self.linked and self.job.optimises else _PIXEL_BYTES
        return sum(areas[position] for position in positions) * each + round(sum(areas) * coded)

    def left(self, positions: list[int]) -> int:
        """Return the number of these frames plus the number of their evaluations."""
        return sum(1 + self.expected(position) for position in positions)

    @cached_property
    def guidance(self) -> FrameGuides:
        """The guides of the frames."""

        def warn(message: str) -> None:
            self.notify(WarningEvent(message=message))

        def note(fields: dict[str, str]) -> None:
            self.notify(GuidesEvent(**fields))  # type: ignore[arg-type]

        series = GuideSeries(self.clip, self.indices, self.size, warn, note)
        return FrameGuides(_guide_files(self.job), series)

    @cached_property
    def fades(self) -> dict[int, Fade]:
        """The fade of each frame that is part of a fade from or to black; empty for pictures."""
        if not (self.linked and self.job.optimises):
            return {}
        return fades(map(thumbnail, self._read(THUMBNAIL)), self.parameters.fades)

    def faded(self, position: int, result: "Image") -> "Image":
        """Return a stylised frame with the fade of its source frame applied."""
        fade = self.fades.get(position)
        return result if fade is None else fade.dimmed(result)

    def frames(self) -> "Iterator[tuple[int, Image]]":
        """Yield (position, frame) at the output size, with fades compensated.

        Raises MediaError if the source has fewer frames than were counted, and CancelledError.
        """
        position = -1
        side = max(map(max, self.sizes()), default=1)
        for position, frame in enumerate(self._read(side)):
            sized, fade = resize(frame, *self.size(position)), self.fades.get(position)
            yield position, sized if fade is None else fade.lifted(sized)
        if position + 1 < len(self.indices):
            raise MediaError(
                f"{self.job.source}: expected {len(self.indices)} frames, got {position + 1}; "
                "the file may have changed: run the same command again"
            )

    def _read(self, side: int) -> "Iterator[Image]":
        """Yield decoded frames; side: see media.read."""
        for frame in media.read(self.clip, self.indices, side):
            self.check()
            yield frame


def forecast(job: Job) -> PlanEvent:
    """Return the plan of a job from the headers of its source, without the free disk space."""
    clip = probe_source(job)
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


def probe_source(job: Job) -> "Clip":
    """Probe the source without counting frames; raise if it cannot become the output."""
    clip = media.probe(job.source, rate=job.settings.rate, count=False)
    media.check_output(clip, job.output, encoding(job))
    Work(job, clip, range(clip.frames), ignore).sizes()
    return clip


def survey(job: Job, notify: OnEvent, cancel: Cancel | None = None, *, count: bool = True) -> Work:
    """Probe the source, count its frames and select those of the job; report probe warnings.

    count: decode everything, so that the frames are those that decode; else as packets declare.
    """
    probe = media.probe if count else media.probe_headers
    clip = probe(job.source, rate=job.settings.rate)
    for note in clip.notes:
        notify(WarningEvent(message=f"{job.source}: {note}"))
    indices = media.select(clip, job.settings.start, job.settings.end)
    return Work(job, clip, indices, notify, check_of(cancel))


def encoding(job: Job) -> media.EncodingOptions:
    """Return the job's options for encoding."""
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
