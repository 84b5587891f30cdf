"""Preview: one frame of a job, stylised with its guide, without running the clip."""

from dataclasses import replace
from typing import TYPE_CHECKING

from vidstyle import media
from vidstyle.errors import UsageError
from vidstyle.image import recolored, resize
from vidstyle.jobs.cancel import Cancel
from vidstyle.jobs.events import OnEvent, each_warning_once, ignore
from vidstyle.jobs.frame_loop import stylize_frame
from vidstyle.jobs.job import Job, Network, find_network
from vidstyle.jobs.pipeline import MakeStylizer, make_stylizer
from vidstyle.jobs.plan import survey
from vidstyle.stylizer.size_buckets import SizeBuckets

if TYPE_CHECKING:
    from vidstyle.coherence.stylized import Stylized

__all__ = ["preview"]


def preview(
    job: Job,
    position: int,
    *,
    on_event: OnEvent | None = None,
    cancel: Cancel | None = None,
    make_stylizer: MakeStylizer = make_stylizer,
    network: Network | None = None,
) -> "Stylized":
    """Stylise the frame at `position` as if a shot began there; write nothing at the output.

    position: from 0, within the range that the job stylises. The frame has its mask or map, also
    one propagated between key frames, and the job's size and colours; fades are not compensated.
    on_event receives weights, warning and step events. cancel: see pipeline.stylize. To keep one
    model for several previews, pass the same StylizerCache as make_stylizer. Returns the stylizer's
    result; its image is float32 [H, W, 3], RGB, 0..1. Raises UsageError if there is no such frame,
    and otherwise what `pipeline.run` raises.
    """
    notify = each_warning_once(on_event or ignore)
    styles, network = job.read_styles(), network or find_network(job, notify)
    whole = survey(job, notify, cancel)
    count = len(whole.indices)
    if not 0 <= position < count:
        raise UsageError(f"expected the position of a frame, 0 to {count - 1}, got {position}")
    whole.check()
    work = replace(whole, indices=whole.indices[position : position + 1])
    (source,) = media.read(work.clip, work.indices, max(work.size(0)))
    frame, guide = resize(source, *work.size(0)), next(work.guidance.frames())
    stylizer = make_stylizer(job, work.guidance.of_styles(styles), network.path)
    if not work.linked:
        stylizer = SizeBuckets(stylizer)
    made = stylize_frame(whole, stylizer, position, frame, guide, None)
    if not job.settings.original_colors:
        return made
    colored = recolored(made.output_image, frame)
    return replace(made, output_image=colored)
