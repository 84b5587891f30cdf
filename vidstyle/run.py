"""The loop of a run: read, prior, stylise, save; at the end encode. And its plan, without a run.

Progress goes out as events, plain dicts with an "event" of these kinds; only cli.py prints them.

    weights  received, total        bytes of the VGG-19 file while it is fetched
    start    of, finished, width, height, left
    step     index, evaluation, loss
    frame    index, of, losses, evaluations, seconds, cut, left
    warning  message
    done     output, frames, stylized, seconds, kept, warnings
    shard    output, shard, of, shots, stylized, finished, frames, seconds    in place of done

index: position in the range that is stylised, from 0. of: its length. left: evaluations and
frames that are still expected, as one number.
"""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidstyle import flow, media, priors
from vidstyle.course import SPAN, Course, Step
from vidstyle.errors import UsageError, VidstyleError, writing
from vidstyle.guides import unchanged
from vidstyle.job import Job, Network, Paths, Styles, find_network, make_job
from vidstyle.manifests import state_path
from vidstyle.padded import Padded
from vidstyle.rehearsal import Rehearsal, Result, Stylizes
from vidstyle.work import Event, OnEvent, Work, forecast, ignore, look, survey, wish
from vidstyle.workdir import Workdir, check_space, check_target

if TYPE_CHECKING:
    from vidstyle.guides import Guide
    from vidstyle.media import Clip, Image
    from vidstyle.priors import Prior
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
    notify = on_event or ignore
    clip, styles = _prepare(job)
    network = network or find_network(job, notify)
    manifest = job.manifest(clip, network.digest)
    with Workdir(job.output, manifest, restart=job.settings.restart) as state:
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
    if job.settings.restart:
        raise UsageError(
            "--restart: expected it without --shard and --scheduler, which share one state; delete "
            f"{state_path(job.output)} first"
        )
    clip, styles = _prepare(job)
    network = network or find_network(job, notify)
    with Workdir(job.output, job.manifest(clip, network.digest), shard=shard) as state:
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
    state: Workdir,
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
    stylizer = make() if work.linked else Padded(make())
    return _stylize_each(work, state, stylizer, work.left(todo), shard)


def _stylize_each(
    work: Work, state: Workdir, stylizer: Stylizes, left: int, shard: tuple[int, int]
) -> int:
    """Finish the shots of a shard; return how many there are of all."""
    earlier: tuple[Image, Guide | None] | None = None
    first = earlier  # of the shot
    shots, course = 0, None
    number, of = shard
    for (position, frame), guide in zip(work.frames(), work.guidance.frames(), strict=True):
        began = time.monotonic()
        known, motion, step = state.finished.get(position), None, None
        if earlier is not None and _is_followed(state, position, len(work.indices)):
            motion = flow.motion(earlier[0], frame)
        cut = motion is None if known is None else known.cut
        shots += cut
        ours = (shots - number) % of == 0
        planes = None if guide is None else guide.planes
        if cut or course is None:
            course = Course(frame, planes)
        elif motion is not None and ours:
            step, course = course.along(motion, frame, planes)
        else:
            course = course.past(frame, planes)
        if known is None:
            left -= work.left([position])
        if known is None and ours:
            prior = None
            if step is not None and earlier is not None and first is not None:
                prior = _prior(state, position, step, stylizer, (earlier, (frame, guide)))
                settled = priors.settled(prior, first[0], frame) & unchanged(first[1], guide)
                prior = replace(prior, settled=settled)
                motion = step = None  # large, and the rest of this frame takes memory
            made = _stylize(work, stylizer, position, frame, guide, prior)
            report = _report(made, seconds=time.monotonic() - began, cut=cut)
            state.save(position, made.image, report, made.matches)
            place = {"index": position, "of": len(work.indices)}
            work.notify({"event": "frame", **place, **report, "left": left})
        earlier = (frame, guide) if work.linked else None
        if cut:
            first = earlier
    return shots


def _prior(
    state: Workdir,
    position: int,
    step: Step,
    stylizer: Stylizes,
    both: "tuple[tuple[Image, Guide | None], tuple[Image, Guide | None]]",
) -> "Prior":
    """Return what is known of a frame from the results before it.

    They are read from their files, so that a resumed run gives the bytes of an uninterrupted one.
    """
    result, further = state.load(position - 1), None
    if step.further is not None:
        further = (step.further, state.load(position - step.age))
    begun = (stylizer.begin(*both[0]), stylizer.begin(*both[1]))
    prior = priors.prior_along(step.motion, both[0][0], both[1][0], result, begun, further)
    return replace(prior, matches=state.load_matches(position - 1))


def _is_followed(state: Workdir, position: int, count: int) -> bool:
    """Say whether the motion to a frame is needed: for itself, or for the course of one to come."""
    known = state.finished.get(position)
    if known is None:
        return True
    coming = range(position + 1, min(position + SPAN, count - 1) + 1)
    return not known.cut and not all(map(state.has, coming))


def _report(result: Result, *, seconds: float, cut: bool) -> dict[str, Any]:
    """Return what the journal and the events tell of a frame. cut: it started from no other."""
    return {
        "losses": {name: float(value) for name, value in result.losses.items()},
        "evaluations": result.evaluations,
        "seconds": round(seconds, 3),
        "cut": cut,
    }


def _stylize(
    work: Work,
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


def _encode(work: Work, state: Workdir) -> list[str]:
    """Write the output from the files of the frames and give it its name; return warnings."""
    job = work.job
    part = state.part(folder=media.is_folder(job.output))
    frames = _finished(work, state)
    form = job.settings.of_scope("output")
    with writing(part):
        warnings = media.encode(work.clip, work.indices, frames, job.output, part, wish(job))
    for message in warnings:
        work.notify({"event": "warning", "message": message})
    state.publish(part, form=form, kept=job.settings.keep_frames)
    return warnings


def _finished(work: Work, state: Workdir) -> "Iterator[Image]":
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
