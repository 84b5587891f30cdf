"""Pipeline: run a job frame by frame (decode, prior, stylise, save), then encode; or plan it."""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidstyle import media
from vidstyle.coherence.cold import NoCoherence
from vidstyle.coherence.default import DefaultCoherence
from vidstyle.coherence.interface import MakeCoherence, RunContext
from vidstyle.coherence.parameters import CoherenceParameters
from vidstyle.environment import preserved
from vidstyle.errors import ContainerError, SettingsError, UsageError, writing
from vidstyle.image import Image, recolored
from vidstyle.jobs.cancel import Cancel, check_of
from vidstyle.jobs.checkpoint import Checkpoint
from vidstyle.jobs.events import (
    DoneEvent,
    OnEvent,
    Outcome,
    PlanEvent,
    ShardEvent,
    StartEvent,
    WarningEvent,
    each_warning_once,
    ignore,
)
from vidstyle.jobs.frame_loop import stylize_each
from vidstyle.jobs.job import Job, Network, Paths, Styles, find_network, make_job
from vidstyle.jobs.manifest import state_path
from vidstyle.jobs.plan import Work, encoding, forecast, probe_source, survey
from vidstyle.jobs.precision import with_precision
from vidstyle.jobs.takeover import check_sizes, suggest_other_output, take_over
from vidstyle.jobs.targets import check_space, check_target
from vidstyle.stylizer.protocol import IdentityStylizer, Stylizes
from vidstyle.stylizer.size_buckets import SizeBuckets

if TYPE_CHECKING:
    from vidstyle.media import Clip
    from vidstyle.techniques.base import Style

__all__ = [
    "MakeStylizer",
    "Outcome",
    "make_stylizer",
    "plan",
    "run",
    "run_shard",
    "stylize",
]


MakeStylizer = Callable[[Job, "Sequence[Style]", Path | None], Stylizes]
_PARAMETERS = CoherenceParameters()


@dataclass(frozen=True)
class _Method:
    """How a run stylises: the stylizer's factory, its network, and the temporal method."""

    make_stylizer: MakeStylizer
    network: Network
    coherence: MakeCoherence
    parameters: CoherenceParameters


def make_stylizer(job: Job, styles: "Sequence[Style]", network: Path | None) -> Stylizes:
    """Return the stylizer of a job; imports TensorFlow if any pixel is optimised."""
    if not job.optimises:
        return IdentityStylizer()
    with preserved():
        from vidstyle.stylizer.stylizer import Stylizer

    return Stylizer(styles, technique=job.technique, settings=job.settings, weights=network)


def stylize(  # noqa: PLR0913 - one argument for each input of a job
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
    cancel: Cancel | None = None,
    **settings: Any,
) -> Outcome:
    """Stylise a video, animation, picture, folder or sequence; continue an interrupted run.

    style: a path, 'path=weight', a (path, weight) pair, or several. mask, map, style_map: paths of
    the guides that the technique takes. on_event: called with each event, see jobs.events.
    cancel: a threading.Event, or a function without arguments; once it is set, or returns True,
    the run raises CancelledError before the next evaluation or frame; the same call continues it
    later. settings: any field of Settings or of the technique. Raises VidstyleError.
    """
    if on_event is not None and not callable(on_event):
        raise SettingsError(f"on_event: expected a function, got {type(on_event).__name__}")
    check_of(cancel)
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
    return run(job, on_event, cancel=cancel)


def run(  # noqa: PLR0913 - the job, and what a test or a benchmark replaces
    job: Job,
    on_event: OnEvent | None = None,
    *,
    cancel: Cancel | None = None,
    make_stylizer: MakeStylizer = make_stylizer,
    network: Network | None = None,
    record: Path | None = None,
    coherence: MakeCoherence = DefaultCoherence,
    parameters: CoherenceParameters = _PARAMETERS,
) -> Outcome:
    """Run a job, or continue it from its last finished frame. Raises VidstyleError.

    An invalid request is refused before a frame is decoded. cancel: see `stylize`. network: the
    result of find_network, which is called by default. record: where to write the manifest, to be
    kept when the state folder is deleted. coherence, parameters: the temporal method of a clip and
    its constants, which the manifest does not hold: add restart to change them.
    """
    began = time.monotonic()
    notify = each_warning_once(on_event or ignore)
    job = with_precision(job)
    clip, styles = _prepare(job)
    network = network or find_network(job, notify)
    method = _Method(make_stylizer, network, coherence, parameters)
    manifest = job.manifest(clip, network.digest)
    if job.settings.resume_from is not None:
        take_over(Path(job.settings.resume_from), job.output, manifest)
    with Checkpoint(job.output, manifest, restart=job.settings.restart) as state:
        stylized, warnings = 0, []
        if not state.is_published(output_options=job.settings.of_scope("output")):
            work, stylized, _ = _stylize_job(job, styles, method, state, (notify, cancel))
            warnings = _encode(work, state)
        if record is not None:
            state.record(record)
        frames, kept = state.published["frames"], _close(job, state, warnings, notify)
    made = {"output": job.output, "frames": frames, "stylized": stylized, "kept": kept}
    outcome = Outcome(**made, seconds=time.monotonic() - began, warnings=tuple(warnings))
    notify(DoneEvent(**vars(outcome)))
    return outcome


def run_shard(
    job: Job,
    shard: tuple[int, int],
    on_event: OnEvent | None = None,
    *,
    cancel: Cancel | None = None,
    make_stylizer: MakeStylizer = make_stylizer,
    network: Network | None = None,
) -> ShardEvent:
    """Stylise every n-th shot, starting with the i-th, into the state shared by all shards.

    shard: (i, n). Shots are independent of each other. `run` then loads the frames of all shards,
    makes the missing ones and writes the output: the same bytes as without shards. cancel: see
    `stylize`. Raises VidstyleError.
    """
    began = time.monotonic()
    notify = on_event or ignore
    _check_shareable(job)
    job = with_precision(job)
    clip, styles = _prepare(job)
    network = network or find_network(job, notify)
    method = _Method(make_stylizer, network, DefaultCoherence, _PARAMETERS)
    with Checkpoint(job.output, job.manifest(clip, network.digest), shard=shard) as state:
        found = _stylize_job(job, styles, method, state, (notify, cancel), shard)
        work, stylized, shots = found
        done = ShardEvent(
            output=job.output,
            shard=shard[0],
            of=shard[1],
            shots=shots,
            stylized=stylized,
            finished=len(state.finished),
            frames=len(work.indices),
            seconds=round(time.monotonic() - began, 3),
        )
    notify(done)
    return done


def _stylize_job(
    job: Job,
    styles: "list[Style]",
    method: _Method,
    state: Checkpoint,
    watch: tuple[OnEvent, Cancel | None],
    shard: tuple[int, int] = (1, 1),
) -> tuple[Work, int, int | None]:
    """Stylise the unfinished frames of a shard.

    Returns the surveyed work, the number of frames made, and of shots in the clip (None if all
    frames were finished already).
    """
    work = replace(survey(job, *watch), parameters=method.parameters)
    work.guidance.check()
    guided = work.guidance.of_styles(styles)
    before = len(state.finished)

    def make() -> Stylizes:
        return method.make_stylizer(job, guided, method.network.path)

    shots = _stylize_frames(work, state, make, method.coherence, shard)
    return work, len(state.finished) - before, shots


def _check_shareable(job: Job) -> None:
    """Raise UsageError for options that shards cannot have."""
    if job.settings.resume_from is not None:
        raise UsageError(
            "--resume-from: expected it without --shard and --scheduler; run once without them"
        )
    if job.settings.restart:
        raise UsageError(
            "--restart: expected it without --shard and --scheduler, which share one state; delete "
            f"{state_path(job.output)} first"
        )


def plan(job: Job) -> PlanEvent:
    """Return what `run` would do, from the headers of the source; write nothing.

    Raises VidstyleError as `run` would.
    """
    _prepare(with_precision(job))
    free = shutil.disk_usage(job.output.absolute().parent).free
    return replace(forecast(job), bytes_free=free)


def _prepare(job: Job) -> "tuple[Clip, list[Style]]":
    """Check the request without decoding; return the probed source and the styles."""
    settings = job.settings
    check_target(
        job.output,
        overwrite=settings.overwrite,
        restart=settings.restart,
        output_options=settings.of_scope("output"),
    )
    if settings.device.startswith("gpu") and job.optimises:
        with preserved():
            from vidstyle.vgg.device import choose_device

        choose_device(settings.device)
    return probe_source(job), job.read_styles()


def _stylize_frames(
    work: Work,
    state: Checkpoint,
    make: Callable[[], Stylizes],
    coherence: MakeCoherence,
    shard: tuple[int, int],
) -> int | None:
    """Stylise and save each unfinished frame of the shard.

    Returns the number of shots in the clip, or None if all frames were finished already.
    """
    sizes = work.sizes()
    todo = [position for position in range(len(sizes)) if not state.has(position)]
    check_space(work.job.output, work.space(todo), len(todo))
    start = StartEvent(
        of=len(sizes), finished=len(sizes) - len(todo), width=sizes[0][0], height=sizes[0][1],
        left=work.left(todo),
    )  # fmt: skip
    work.notify(start)
    if not todo:
        return None
    if work.job.settings.resume_from is not None:
        check_sizes(state, sizes)
    for message in media.try_output(
        work.clip, work.indices, work.job.output, encoding(work.job), sizes[0]
    ):
        work.notify(WarningEvent(message=message))
    stylizer = make() if work.linked else SizeBuckets(make())
    context = _context(work, state, stylizer, shard)
    method = coherence(context) if work.linked else NoCoherence(context)
    return stylize_each(work, state, stylizer, method, work.left(todo))


def _context(
    work: Work, state: Checkpoint, stylizer: Stylizes, shard: tuple[int, int]
) -> RunContext:
    return RunContext(
        history=state,
        initial_image=stylizer.begin,
        frame_count=len(work.indices),
        shard=shard,
        deflickers=work.job.settings.temporal_weight > 0,
        parameters=work.parameters,
    )


def _encode(work: Work, state: Checkpoint) -> list[str]:
    """Encode the finished frames and move the output into place; return the warnings."""
    job = work.job
    folder = media.is_folder(job.output)
    names = media.picture_names(work.clip, work.indices, encoding(job)) if folder else ()
    part = state.part(folder=folder, names=names)
    frames = _finished(work, state)
    output_options = job.settings.of_scope("output")
    try:
        with writing(part):
            warnings = media.encode(
                work.clip, work.indices, frames, job.output, part, encoding(job)
            )
    except ContainerError as error:
        raise suggest_other_output(job.output, state, error) from error
    for message in warnings:
        work.notify(WarningEvent(message=message))
    kept, overwrite = job.settings.keep_frames, job.settings.overwrite
    state.publish(part, output_options=output_options, kept=kept, overwrite=overwrite)
    return warnings


def _finished(work: Work, state: Checkpoint) -> "Iterator[Image]":
    """Yield the finished frames with fades applied, and the source's colours if requested."""
    if not work.job.settings.original_colors:
        for position in range(len(work.indices)):
            work.check()
            yield work.faded(position, state.load(position))
        return
    for position, frame in work.frames():
        yield work.faded(position, recolored(state.load(position), frame))


def _close(job: Job, state: Checkpoint, warnings: list[str], notify: OnEvent) -> Path | None:
    """Delete the state folder, or return its path if it is kept.

    Warns if files that vidstyle did not write keep the folder from being deleted.
    """
    if job.settings.keep_frames or state.published["kept"]:
        return state.path
    if others := state.remove():
        warnings.append(
            f"{state.path} stays, since it holds files that vidstyle did not write: "
            f"{others}; move them away, or a later run of this output is refused"
        )
        notify(WarningEvent(message=warnings[-1]))
    return None
