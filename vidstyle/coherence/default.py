"""DefaultCoherence: the temporal method of a run, motion-compensated and drift-corrected."""

from dataclasses import replace
from typing import TYPE_CHECKING

from vidstyle.coherence import warm_start
from vidstyle.coherence.disocclusion import despeckled
from vidstyle.coherence.interface import RunContext, SourceFrame
from vidstyle.coherence.keyframe import KeyframeTrack, Step
from vidstyle.coherence.prior import UnstylizedFrame
from vidstyle.coherence.stylized import blended
from vidstyle.coherence.tracked import TrackedCoherence
from vidstyle.guides.guide import unchanged

if TYPE_CHECKING:
    from vidstyle.coherence.prior import StylizedFrame, TemporalPrior
    from vidstyle.coherence.stylized import Stylized
    from vidstyle.image import Image
    from vidstyle.motion.bidirectional import Motion

__all__ = ["DefaultCoherence"]


class DefaultCoherence(TrackedCoherence):
    """Warm start along the drift-corrected motion; disocclusions filled; output deflickered.

    See warm_start, keyframe, disocclusion, dissolves and deflicker.
    """

    def __init__(self, context: RunContext) -> None:
        super().__init__(context)
        self._track: KeyframeTrack | None = None
        self._step: Step | None = None

    @property
    def needed_positions(self) -> set[int]:
        """See Coherence. The key frame is needed too."""
        needed, current = super().needed_positions, self.tracker.current
        if current is not None and self._track is not None:
            needed.add(current.position - self._track.age)
        return needed

    def advance(self, frame: SourceFrame) -> bool:
        """See Coherence. Extends the key frame track."""
        is_cut = super().advance(frame)
        tracker, self._step = self.tracker, None
        if tracker.current is None:
            return is_cut
        if tracker.is_reference or self._track is None:
            self._begin_track(frame)
            self._step = None if tracker.motion is None else Step(tracker.motion)
        elif tracker.motion is not None:
            extended = self._track.extended(tracker.motion, frame.image, frame.planes)
            self._step, self._track = extended
        else:
            self._track = self._track.skipped(frame.image, frame.planes)
        return is_cut

    def reinitialize(self) -> None:
        """See TrackedCoherence. The newest frame is the key frame too."""
        super().reinitialize()
        if self.tracker.current is not None:
            self._begin_track(self.tracker.current)

    def prior_from(self, moved: "Motion") -> "TemporalPrior":
        """See TrackedCoherence."""
        previous, current, first = self.tracker.previous, self.tracker.current, self.tracker.first
        assert previous is not None
        assert current is not None
        assert first is not None
        step, self._step = self._step or Step(moved), None
        earlier = self.load(previous, initial=True)
        is_first = first.position == previous.position
        found = warm_start.prior_along(
            step.motion,
            earlier,
            UnstylizedFrame(
                current.image,
                self.context.initial_image(current.image, current.guide),
                current.planes,
            ),
            key_frame=self._key_frame(step, current),
            first=earlier if is_first else self.load(first, initial=True),
            parameters=self.context.parameters,
        )
        static = warm_start.static(found, first.image, current.image, self.context.parameters)
        return replace(found, static=static & unchanged(first.guide, current.guide))

    def steadied(
        self, stylized: "Stylized", frame: SourceFrame, prior: "TemporalPrior | None"
    ) -> "Stylized":
        """See TrackedCoherence. Colour specks are removed before and after the temporal filter.

        The optimisation makes them, and the filter amplifies those that are left.
        """
        if prior is None or prior.flow is None:
            return super().steadied(stylized, frame, prior)
        where = (prior.flow != 0).any(axis=2)
        if stylized.opacity is not None:
            where &= stylized.opacity[..., 0] > 0
        specks = self.context.parameters.disocclusion
        calm = despeckled(stylized.optimised_image, where, specks)
        stylized = _with_image(replace(stylized, optimised_image=calm), frame, calm)
        found = super().steadied(stylized, frame, prior)
        if found is stylized:  # not filtered
            return found
        steady = despeckled(found.unblended_image, where, specks)
        return _with_image(found, frame, steady)

    def _key_frame(self, step: Step, current: SourceFrame) -> "tuple[Motion, StylizedFrame] | None":
        """Return the key frame as it was finished, and the motion from it."""
        if step.from_keyframe is None or step.keyframe is None:
            return None
        source = SourceFrame(current.position - step.age, step.keyframe)
        return step.from_keyframe, self.load(source)

    def _begin_track(self, frame: SourceFrame) -> None:
        self._track = KeyframeTrack(frame.image, frame.planes, parameters=self.context.parameters)


def _with_image(stylized: "Stylized", frame: SourceFrame, unblended_image: "Image") -> "Stylized":
    """Return the frame with another output image before it is blended, and with its blend."""
    output = blended(unblended_image, frame.image, stylized.opacity)
    return replace(stylized, output_image=output, unblended_image=unblended_image)
