"""Previews: single frames of a job, stylised with their guides, without running the clip."""

from bisect import bisect_right
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vidstyle import media
from vidstyle.errors import UsageError
from vidstyle.image import Image, recolored, resize
from vidstyle.jobs.cancel import Cancel
from vidstyle.jobs.events import OnEvent, each_warning_once, ignore
from vidstyle.jobs.frame_loop import stylize_frame
from vidstyle.jobs.job import Job, Network, find_network
from vidstyle.jobs.pipeline import MakeStylizer, make_stylizer
from vidstyle.jobs.plan import Work, survey
from vidstyle.stylizer.size_buckets import SizeBuckets

if TYPE_CHECKING:
    from vidstyle.coherence.stylized import Stylized

__all__ = ["Moment", "Previews", "preview"]

_SLACK = 1e-6  # seconds by which a time may be before its frame: 0.1 is frame 3 at 30 fps


@dataclass(frozen=True)
class Moment:
    """A place in a source: seconds from its first frame, or the index of a frame from 0."""

    seconds: float | None = None
    frame: int | None = None

    @staticmethod
    def parse(text: str) -> "Moment":
        """Return the moment of '3.2' (seconds) or '48f' (a frame). Raises UsageError."""
        try:
            if text.endswith("f") and text[:-1].isascii() and text[:-1].isdigit():
                return Moment(frame=int(text[:-1]))
            found = float(text)
            if 0 <= found < float("inf"):
                return Moment(seconds=found)
        except ValueError:
            pass
        raise UsageError(
            f"--at: expected seconds from the start (3.2) or a frame (48f), got {text!r:.40}"
        )

    def position(self, work: Work) -> int:
        """Return the position of the frame that is shown at this moment, from 0.

        Raises UsageError if the source has none.
        """
        clip, last = work.clip, len(work.indices) - 1
        if self.frame is not None:
            if self.frame > last:
                raise UsageError(
                    f"--at: expected a frame of {clip.path} from 0f to {last}f, got {self.frame}f"
                )
            return self.frame
        if not work.linked:
            raise UsageError(
                f"--at: expected a frame (0f to {last}f), since {clip.path} has no time, got "
                f"{self.seconds:g} seconds"
            )
        times = media.times_of(clip)
        end = clip.duration or times[-1]
        if self.seconds is None or self.seconds > max(end, times[-1]) + _SLACK:
            raise UsageError(
                f"--at: expected a time in {clip.path}, from 0 to {end:.2f} seconds, got "
                f"{self.seconds:g}"
            )
        return max(0, bisect_right(times, self.seconds + _SLACK) - 1)


class Previews:
    """Stylises frames of a job, each as if a shot began there; writes nothing at the output.

    work: the frames of the job's range, as the packets of the source declare them. Of a video,
    only frames from the key frame before a previewed one are decoded, and all between the key
    frames of a mask or a map that is propagated there.

    on_event receives weights, warning and step events. cancel: see pipeline.stylize. To keep one
    model for several jobs, pass the same StylizerCache as make_stylizer. Raises what `pipeline.run`
    raises.
    """

    def __init__(
        self,
        job: Job,
        *,
        on_event: OnEvent | None = None,
        cancel: Cancel | None = None,
        make_stylizer: MakeStylizer = make_stylizer,
        network: Network | None = None,
    ) -> None:
        notify = each_warning_once(on_event or ignore)
        styles, network = job.read_styles(), network or find_network(job, notify)
        self.work = survey(job, notify, cancel, count=False)
        self.work.check()
        self._guided = self.work.guidance.of_styles(styles)
        self._network, self._make = network, make_stylizer

    def stylized(self, position: int) -> "tuple[Image, Stylized]":
        """Return the frame at a position from 0, and the stylizer's result for it.

        Both images are float32 [H, W, 3], RGB, 0..1. The frame has the job's size, the result also
        its mask or map and its colours; fades are not compensated. Raises UsageError if there is no
        such frame.
        """
        whole, count = self.work, len(self.work.indices)
        if not 0 <= position < count:
            raise UsageError(f"expected the position of a frame, 0 to {count - 1}, got {position}")
        work = replace(whole, indices=whole.indices[position : position + 1])
        size = work.size(0)
        frame = resize(media.read_frame(work.clip, work.indices[0], max(size)), *size)
        guide = next(work.guidance.frames())
        stylizer = self._make(work.job, self._guided, self._network.path)
        if not work.linked:
            stylizer = SizeBuckets(stylizer)
        made = stylize_frame(whole, stylizer, position, frame, guide, None)
        if work.job.settings.original_colors:
            made = replace(made, output_image=recolored(made.output_image, frame))
        return frame, made


def preview(
    job: Job,
    position: int,
    *,
    on_event: OnEvent | None = None,
    cancel: Cancel | None = None,
    make_stylizer: MakeStylizer = make_stylizer,
    network: Network | None = None,
) -> "Stylized":
    """Stylise the frame of a job at `position`, from 0 in its range; see Previews."""
    previews = Previews(
        job, on_event=on_event, cancel=cancel, make_stylizer=make_stylizer, network=network
    )
    return previews.stylized(position)[1]
