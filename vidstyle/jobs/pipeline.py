"""The loop of a run: read, prior, stylise, save; at the end encode. And its plan, without a run.

Progress goes out as events, plain dicts with an "event" of these kinds; only cli.py prints them.

    weights  received, total        bytes of the VGG-19 file while it is fetched
    start    of, finished, width, height, left
    step     index, evaluation, loss
    frame    index, of, losses, evaluations, seconds, cut, renewed, back, left
    warning  message
    guides   path, taken, message    of masks and maps: taken is "still", "each" or "keys"
    done     output, frames, stylized, seconds, kept, warnings
    shard    output, shard, of, shots, stylized, finished, frames, seconds    in place of done

index: position in the range that is stylised, from 0. of: its length. left: evaluations and
frames that are still expected, as one number. cut: between this frame and the one before. renewed:
begun anew though there is no cut, since a dissolve has left nothing of what was painted. back: the
frame that this one goes on from, if not from the one before: between them are a flash or the like.
"""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidstyle import media
from vidstyle.coherence.shots import ShotTracker, frame_notes
from vidstyle.coherence.stylized import Stylized
from vidstyle.environment import preserved
from vidstyle.errors import ContainerError, SettingsError, UsageError, VidstyleError, writing
from vidstyle.jobs.checkpoint import Checkpoint
from vidstyle.jobs.job import Job, Network, Paths, Styles, find_network, make_job
from vidstyle.jobs.manifest import state_path
from vidstyle.jobs.plan import (
    Event,
    OnEvent,
    Work,
    each_warning_once,
    encoding,
    forecast,
    ignore,
    look,
    survey,
)
from vidstyle.jobs.state_folder import listed
from vidstyle.jobs.takeover import check_sizes, for_another, take_over
from vidstyle.jobs.targets import check_space, check_target
from vidstyle.stylizer.protocol import IdentityStylizer, Stylizes
from vidstyle.stylizer.size_buckets import SizeBuckets

if TYPE_CHECKING:
    from vidstyle.coherence.warm_start import TemporalPrior
    from vidstyle.guides.guide import Guide
    from vidstyle.media import Clip, Image
    from vidstyle.techniques.base import Style

__all__ = [
    "Event",
    "MakeStylizer",
    "OnEvent",
    "Outcome",
    "make_stylizer",
    "plan",
    "run",
    "run_shard",
    "stylize",
]


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
        return IdentityStylizer()
    with preserved():
        from vidstyle.stylizer.stylizer import Stylizer

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
    if on_event is not None and not callable(on_event):
        raise SettingsError(f"on_event: expected a function, got {type(on_event).__name__}")
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
    notify = each_warning_once(on_event or ignore)
    clip, styles = _prepare(job)
    network = network or find_network(job, notify)
    manifest = job.manifest(clip, network.digest)
    if job.settings.resume_from is not None:
        take_over(Path(job.settings.resume_from), job.output, manifest)
    with Checkpoint(job.output, manifest, restart=job.settings.restart) as state:
        stylized, warnings = 0, []
        if not state.stands(form=job.settings.of_scope("output")):
            work = survey(job, notify)
            work.guidance.check()
            guided = work.guidance.of_styles(styles)
            before = len(state.finished)
            _stylize_frames(work, state, lambda: make_stylizer(job, guided, network.path))
            stylized = len(state.finished) - before
            warnings = _encode(work, state)
        if record is not None:
            state.record(record)
        frames, kept = state.facts["frames"], _close(job, state, warnings, notify)
        outcome = Outcome(
            output=job.output,
            frames=frames,
            stylized=stylized,
            seconds=time.monotonic() - began,
            kept=kept,
            warnings=tuple(warnings),
        )
    notify({"event": "done", **_plain(outcome)})
    return outcome


def run_shard(
    job: Job,
    shard: tuple[int, int],
    on_event: OnEvent | None = None,
    *,
    make_stylizer: MakeStylizer = make_stylizer,
    network: Network | None = None,
) -> Event:
    """Stylise every n-th shot from the i-th on, into the state that all shards share.

    A cut makes the frames after it independent of those before. `run` then finds the frames of all
    shards, makes those that are missing and writes the output: the same bytes as without shards.
    Returns the "shard" event. Raises VidstyleError.
    """
    began = time.monotonic()
    notify = on_event or ignore
    if job.settings.resume_from is not None:
        raise UsageError(
            "--resume-from: expected it without --shard and --scheduler; run once without them"
        )
    if job.settings.restart:
        raise UsageError(
            "--restart: expected it without --shard and --scheduler, which share one state; delete "
            f"{state_path(job.output)} first"
        )
    clip, styles = _prepare(job)
    network = network or find_network(job, notify)
    with Checkpoint(job.output, job.manifest(clip, network.digest), shard=shard) as state:
        work = survey(job, notify)
        work.guidance.check()
        guided = work.guidance.of_styles(styles)
        before = len(state.finished)
        shots = _stylize_frames(
            work, state, lambda: make_stylizer(job, guided, network.path), shard
        )
        found = {
            "output": str(job.output),
            "shard": shard[0],
            "of": shard[1],
            "shots": shots,
            "stylized": len(state.finished) - before,
            "finished": len(state.finished),
            "frames": len(work.indices),
            "seconds": round(time.monotonic() - began, 3),
        }
    notify({"event": "shard", **found})
    return {"event": "shard", **found}


def plan(job: Job) -> dict[str, Any]:
    """Return what `run` would do, without decoding the source or touching anything.

    frames: as the source promises. seconds, bytes: rough estimates, of the time on two CPU cores
    and of the disk space while it is made. Raises VidstyleError as `run` would.
    """
    _prepare(job)
    free = shutil.disk_usage(job.output.absolute().parent).free
    return {**forecast(job), "bytes_free": free}


def _prepare(job: Job) -> "tuple[Clip, list[Style]]":
    """Refuse what can be refused without decoding; return what is known of the source."""
    settings = job.settings
    check_target(
        job.output,
        overwrite=settings.overwrite,
        restart=settings.restart,
        form=settings.of_scope("output"),
    )
    return look(job), job.read_styles()


def _stylize_frames(
    work: Work,
    state: Checkpoint,
    make: Callable[[], Stylizes],
    shard: tuple[int, int] = (1, 1),
) -> int | None:
    """Finish every frame of the shard that is not finished; return how many shots there are.

    None: all frames were finished, nobody looked.
    """
    sizes = work.sizes()
    todo = [position for position in range(len(sizes)) if not state.has(position)]
    check_space(work.job.output, work.space(todo), len(todo))
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
    if not todo:
        return None
    if work.job.settings.resume_from is not None:
        check_sizes(state, sizes)
    for message in media.try_output(
        work.clip, work.indices, work.job.output, encoding(work.job), sizes[0]
    ):
        work.notify({"event": "warning", "message": message})
    stylizer = make() if work.linked else SizeBuckets(make())
    return _stylize_each(work, state, stylizer, work.left(todo), shard)


def _stylize_each(
    work: Work, state: Checkpoint, stylizer: Stylizes, left: int, shard: tuple[int, int]
) -> int:
    """Finish the shots of a shard; return how many there are of all."""
    count = len(work.indices)
    follows = ShotTracker(state, stylizer.begin, count, linked=work.linked, shard=shard)
    for (position, frame), guide in zip(work.frames(), work.guidance.frames(), strict=True):
        began = time.monotonic()
        fade = work.fades.get(position)
        out = fade is not None and fade.is_out
        cut = follows.advance(position, frame, guide, fade)
        if state.has(position):
            continue
        left -= work.left([position])
        if follows.ours:
            prior = follows.prior()
            if out:
                made = Stylized(frame)
            else:
                made = _stylize(work, stylizer, position, frame, guide, prior)
            report = {
                **_report(made, seconds=time.monotonic() - began),
                "cut": cut,
                "reinitialized": prior is None and not (cut or out),
                "back": follows.back,
            }
            notes = frame_notes(made, prior) if work.linked else None
            state.save(position, made.output_image, report, notes)
            place = {"index": position, "of": count}
            work.notify({"event": "frame", **place, **report, "left": left})
    return follows.shots


def _report(result: Stylized, *, seconds: float) -> dict[str, Any]:
    """Return what the journal and the events tell of how a frame was made."""
    return {
        "losses": {name: float(value) for name, value in result.losses.items()},
        "evaluations": result.evaluations,
        "seconds": round(seconds, 3),
    }


def _stylize(
    work: Work,
    stylizer: Stylizes,
    position: int,
    frame: "Image",
    guide: "Guide | None",
    prior: "TemporalPrior | None",
) -> Stylized:
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


def _encode(work: Work, state: Checkpoint) -> list[str]:
    """Write the output from the files of the frames and give it its name; return warnings."""
    job = work.job
    folder = media.is_folder(job.output)
    names = media.picture_names(work.clip, work.indices, encoding(job)) if folder else ()
    part = state.part(folder=folder, names=names)
    frames = _finished(work, state)
    form = job.settings.of_scope("output")
    try:
        with writing(part):
            warnings = media.encode(
                work.clip, work.indices, frames, job.output, part, encoding(job)
            )
    except ContainerError as error:
        raise for_another(job.output, state, error) from error
    for message in warnings:
        work.notify({"event": "warning", "message": message})
    settings = job.settings
    state.publish(part, form=form, kept=settings.keep_frames, overwrite=settings.overwrite)
    return warnings


def _finished(work: Work, state: Checkpoint) -> "Iterator[Image]":
    """Yield the finished frames from their files, faded, in the source's colours if wanted."""
    if not work.job.settings.original_colors:
        for position in range(len(work.indices)):
            yield work.faded(position, state.load(position))
        return
    for position, frame in work.frames():
        yield work.faded(position, media.recolored(state.load(position), frame))


def _close(job: Job, state: Checkpoint, warnings: list[str], notify: OnEvent) -> Path | None:
    """Remove the state unless it is to be kept; return where it is kept.

    Warns of files that vidstyle did not write, since the folder stays with them.
    """
    if job.settings.keep_frames or state.facts["kept"]:
        return state.path
    if others := state.remove():
        warnings.append(
            f"{state.path} stays, since it holds files that vidstyle did not write: "
            f"{listed(others)}; move them away, or a later run of this output is refused"
        )
        notify({"event": "warning", "message": warnings[-1]})
    return None


def _plain(outcome: Outcome) -> dict[str, Any]:
    values = asdict(outcome)
    kept = None if outcome.kept is None else str(outcome.kept)
    return {**values, "output": str(outcome.output), "kept": kept}
