"""The loop of a run: read, prior, stylise, save; at the end encode. And its plan, without a run.

Progress goes out as events, plain dicts with an "event" of these kinds; only cli.py prints them.

    weights  received, total        bytes of the VGG-19 file while it is fetched
    start    of, finished, width, height, left
    step     index, evaluation, loss
    frame    index, of, losses, evaluations, seconds, cut, left
    warning  message
    done     output, frames, stylized, seconds, kept, warnings

index: position in the range that is stylised, from 0. of: its length. left: evaluations and
frames that are still expected, as one number.
"""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidstyle import flow, media
from vidstyle.errors import MediaError, VidstyleError, writing
from vidstyle.guidance import Guidance, Series
from vidstyle.guides import unchanged
from vidstyle.job import Job, Network, Paths, Styles, find_network, make_job, target_size
from vidstyle.padded import Padded
from vidstyle.rehearsal import Rehearsal, Result, Stylizes
from vidstyle.workdir import Workdir, check_space, check_target

if TYPE_CHECKING:
    from vidstyle.flow import Prior
    from vidstyle.guides import Guide
    from vidstyle.media import Clip, Image
    from vidstyle.techniques.base import Style

__all__ = [
    "Event",
    "MakeStylizer",
    "OnEvent",
    "Outcome",
    "forecast",
    "make_stylizer",
    "plan",
    "run",
    "stylize",
]

Event = dict[str, Any]
OnEvent = Callable[[Event], None]

PIXEL_SECONDS = 8e-6  # one evaluation of one pixel, measured on two CPU cores; a GPU takes less
PIXEL_BYTES = 6  # a saved frame: 16 bits a channel; noise does not pack any smaller


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run did. frames: of the output. stylized: of these, in this run. kept: the state."""

    output: Path
    frames: int
    stylized: int
    seconds: float
    kept: Path | None
    warnings: tuple[str, ...]


MakeStylizer = Callable[[Job, "Sequence[Style]", Path | None], Stylizes]


def make_stylizer(job: Job, styles: "Sequence[Style]", network: Path | None) -> Stylizes:
    """Return the stylizer of a job; imports TensorFlow if any pixel is optimised."""
    if not job.optimises:
        return Rehearsal()
    from vidstyle.engine import Stylizer

    return Stylizer(styles, technique=job.technique, settings=job.settings, weights=network)


def stylize(  # noqa: PLR0913 - what a job is made of
    source: str | Path,
    output: str | Path,
    *,
    style: Styles,
    technique: str = "basic",
    mask: Paths = (),
    map: str | Path | None = None,
    style_map: Paths = (),
    weights: str | Path | None = None,
    on_event: OnEvent | None = None,
    **settings: Any,
) -> Outcome:
    """Stylise a video, animation, picture, folder or sequence; continue if it was begun before.

    style: a path, 'path=weight', a (path, weight) pair, or several. on_event: see this module.
    mask, map, style_map: paths of what the technique takes. settings: any field of Settings or of
    the technique. Raises VidstyleError.
    """
    job = make_job(
        source,
        output,
        style=style,
        technique=technique,
        mask=mask,
        map=map,
        style_map=style_map,
        weights=weights,
        **settings,
    )
    return run(job, on_event)


def run(
    job: Job,
    on_event: OnEvent | None = None,
    *,
    make_stylizer: MakeStylizer = make_stylizer,
    network: Network | None = None,
    record: Path | None = None,
) -> Outcome:
    """Do a job from wherever an earlier run of it stopped. Raises VidstyleError.

    Whatever is wrong with the request is told before a frame is decoded. network: as find_network
    returned it; found anew by default. record: where to leave what the output was made of.
    """
    began = time.monotonic()
    notify = on_event or _ignore
    clip, styles = _prepare(job)
    network = network or find_network(job, notify)
    manifest = job.manifest(clip, network.digest)
    with Workdir(job.output, manifest, restart=job.settings.restart) as state:
        stylized, warnings = 0, []
        if not state.stands(form=job.settings.of_scope("output")):
            work = _survey(job, notify)
            work.guidance.check()
            guided = work.guidance.of_styles(styles)
            stylized = _stylize_frames(
                work, state, lambda: make_stylizer(job, guided, network.path)
            )
            warnings = _encode(work, state)
        if record is not None:
            state.record(record)
        outcome = Outcome(
            output=job.output,
            frames=state.facts["frames"],
            stylized=stylized,
            seconds=time.monotonic() - began,
            kept=_close(job, state),
            warnings=tuple(warnings),
        )
    notify({"event": "done", **_plain(outcome)})
    return outcome


def plan(job: Job) -> dict[str, Any]:
    """Return what `run` would do, without decoding the source or touching anything.

    frames: as the source promises. seconds, bytes: rough estimates, of the time on two CPU cores
    and of the disk space while it is made. Raises VidstyleError as `run` would.
    """
    _prepare(job)
    free = shutil.disk_usage(job.output.absolute().parent).free
    return {**forecast(job), "bytes_free": free}


def forecast(job: Job) -> dict[str, Any]:
    """Return what is known of a job by its source's headers alone; see plan."""
    clip = _look(job)
    work = _Work(job, clip, media.select(clip, job.settings.start, job.settings.end), _ignore)
    areas = [width * height for width, height in work.sizes()]
    counts = [work.expected(position) for position in range(len(areas))]
    width, height = work.size(0)
    return {
        "source": str(job.source),
        "kind": clip.kind,
        "output": str(job.output),
        "frames": len(areas),
        "width": width,
        "height": height,
        "steps": job.settings.steps,
        "steps_next": job.settings.steps_next,
        "evaluations": sum(counts),
        "seconds": sum(a * n for a, n in zip(areas, counts, strict=True)) * PIXEL_SECONDS,
        "bytes": sum(areas) * PIXEL_BYTES,
    }


@dataclass(frozen=True)
class _Work:
    """What is to be done: frames `indices` of `clip`, told of through `notify`."""

    job: Job
    clip: "Clip"
    indices: range
    notify: OnEvent

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
        if fitted == own or not media.needs_even_sides(self.clip, self.job.output, _wish(self.job)):
            return fitted
        return target_size(self.job.settings.size, *own)

    def sizes(self) -> list[tuple[int, int]]:
        return [self.size(position) for position in range(len(self.indices))]

    def expected(self, position: int) -> int:
        """Return how many evaluations a frame takes if it follows no cut."""
        settings = self.job.settings
        return settings.steps_next if self.linked and position else settings.steps

    def left(self, positions: list[int]) -> int:
        """Return how many evaluations and frames these take, as one number."""
        return sum(1 + self.expected(position) for position in positions)

    @cached_property
    def guidance(self) -> Guidance:
        """The masks or maps of the frames."""

        def warn(message: str) -> None:
            self.notify({"event": "warning", "message": message})

        return Guidance(self.job, Series(self.clip, self.indices, self.size, warn))

    def frames(self) -> "Iterator[tuple[int, Image]]":
        """Yield the position and the frame, at the size of its result. Raises MediaError."""
        position = -1
        for position, frame in enumerate(media.read(self.clip, self.indices)):
            yield position, media.resize(frame, *self.size(position))
        if position + 1 < len(self.indices):
            raise MediaError(
                f"{self.job.source}: expected {len(self.indices)} frames, got {position + 1}; "
                "the file may have changed: run the same command again"
            )


def _prepare(job: Job) -> "tuple[Clip, list[Style]]":
    """Refuse what can be refused without decoding; return what is known of the source."""
    settings = job.settings
    check_target(
        job.output,
        overwrite=settings.overwrite,
        restart=settings.restart,
        form=settings.of_scope("output"),
    )
    return _look(job), job.read_styles()


def _look(job: Job) -> "Clip":
    """Return what is known of the source; refuse what cannot become the output."""
    clip = media.probe(job.source, rate=job.settings.rate, count=False)
    media.check_output(clip, job.output, _wish(job))
    _Work(job, clip, range(clip.frames), _ignore).sizes()
    return clip


def _survey(job: Job, notify: OnEvent) -> _Work:
    """Count the source's frames and choose those of the job."""
    clip = media.probe(job.source, rate=job.settings.rate)
    for note in clip.notes:
        notify({"event": "warning", "message": f"{job.source}: {note}"})
    return _Work(job, clip, media.select(clip, job.settings.start, job.settings.end), notify)


def _stylize_frames(work: _Work, state: Workdir, make: Callable[[], Stylizes]) -> int:
    """Finish every frame that is not finished; return how many these were."""
    sizes = work.sizes()
    todo = [position for position in range(len(sizes)) if not state.has(position)]
    needed = sum(sizes[position][0] * sizes[position][1] for position in todo) * PIXEL_BYTES
    check_space(work.job.output, needed, len(todo))
    work.notify(
        {
            "event": "start",
            "of": len(sizes),
            "finished": len(sizes) - len(todo),
            "width": sizes[0][0],
            "height": sizes[0][1],
            "left": work.left(todo),
        }
    )
    if todo:
        stylizer = make() if work.linked else Padded(make())
        _stylize_each(work, state, stylizer, work.left(todo))
    return len(todo)


def _stylize_each(work: _Work, state: Workdir, stylizer: Stylizes, left: int) -> None:
    earlier: tuple[Image, Guide | None] | None = None
    first = earlier  # of the shot
    for (position, frame), guide in zip(work.frames(), work.guidance.frames(), strict=True):
        if not state.has(position):
            began = time.monotonic()
            prior = None
            if earlier is not None:  # its result is read from the file: resumed = uninterrupted
                begun = (stylizer.begin(*earlier), stylizer.begin(frame, guide))
                prior = flow.prior(earlier[0], frame, state.load(position - 1), begun)
            if prior is not None and first is not None:
                settled = flow.settled(prior, first[0], frame) & unchanged(first[1], guide)
                prior = replace(prior, matches=state.load_matches(position - 1), settled=settled)
            result = _stylize(work, stylizer, position, frame, guide, prior)
            report = _report(result, seconds=time.monotonic() - began, cut=prior is None)
            state.save(position, result.image, report, result.matches)
            left -= work.left([position])
            place = {"index": position, "of": len(work.indices)}
            work.notify({"event": "frame", **place, **report, "left": left})
        earlier = (frame, guide) if work.linked else None
        if state.finished[position].cut:
            first = earlier


def _report(result: Result, *, seconds: float, cut: bool) -> dict[str, Any]:
    """Return what the journal and the events tell of a frame. cut: it started from no other."""
    return {
        "losses": {name: float(value) for name, value in result.losses.items()},
        "evaluations": result.evaluations,
        "seconds": round(seconds, 3),
        "cut": cut,
    }


def _stylize(
    work: _Work,
    stylizer: Stylizes,
    position: int,
    frame: "Image",
    guide: "Guide | None",
    prior: "Prior | None",
) -> Result:
    def progress(evaluation: int, loss: float) -> None:
        step = {"index": position, "evaluation": evaluation, "loss": float(loss)}
        work.notify({"event": "step", **step})

    try:
        return stylizer.stylize(frame, guide=guide, prior=prior, progress=progress)
    except Exception as error:
        if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
            width, height = work.size(position)
            raise VidstyleError(
                f"memory ran out at {width} x {height} pixels; choose a smaller --size, then run "
                "again"
            ) from error
        raise


def _encode(work: _Work, state: Workdir) -> list[str]:
    """Write the output from the files of the frames and give it its name; return warnings."""
    job = work.job
    part = state.part(folder=media.is_folder(job.output))
    frames = _finished(work, state)
    form = job.settings.of_scope("output")
    with writing(part):
        warnings = media.encode(work.clip, work.indices, frames, job.output, part, _wish(job))
    for message in warnings:
        work.notify({"event": "warning", "message": message})
    state.publish(part, form=form, kept=job.settings.keep_frames)
    return warnings


def _wish(job: Job) -> media.Wish:
    return media.Wish(**job.settings.of_scope("output"))


def _finished(work: _Work, state: Workdir) -> "Iterator[Image]":
    """Yield the finished frames from their files, in the source's colours if these are wanted."""
    if not work.job.settings.original_colors:
        yield from (state.load(position) for position in range(len(work.indices)))
        return
    for position, frame in work.frames():
        yield media.recolored(state.load(position), frame)


def _close(job: Job, state: Workdir) -> Path | None:
    """Remove the state unless it is to be kept; return where it is kept."""
    if job.settings.keep_frames or state.facts["kept"]:
        return state.path
    state.remove()
    return None


def _plain(outcome: Outcome) -> dict[str, Any]:
    values = asdict(outcome)
    kept = None if outcome.kept is None else str(outcome.kept)
    return {**values, "output": str(outcome.output), "kept": kept}


def _ignore(event: Event) -> None:
    """Take no notice: the caller wants no events."""
