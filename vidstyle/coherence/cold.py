"""NoCoherence: every frame is optimised on its own, as photos are."""

from typing import TYPE_CHECKING

from vidstyle.coherence.interface import FrameRecord, RunContext, SourceFrame

if TYPE_CHECKING:
    from vidstyle.coherence.stylized import Stylized
    from vidstyle.image import Image

__all__ = ["NoCoherence"]


class NoCoherence:
    """A Coherence without temporal relation: each frame is a separate shot, without a prior."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._is_cut = self._begins = False
        self.shots = 0

    @property
    def is_assigned(self) -> bool:
        """See Coherence."""
        return self._context.is_assigned(self.shots)

    @property
    def needed_positions(self) -> set[int]:
        """See Coherence."""
        return set()

    def advance(self, frame: SourceFrame) -> bool:
        """Count the frame as a shot, unless it is faded out."""
        self._is_cut = not frame.is_faded_out
        self.shots += self._is_cut
        return self._is_cut

    def prior(self) -> None:
        """Return None."""
        self._begins = self._is_cut

    def finish(self, stylized: "Stylized") -> "tuple[Image, FrameRecord]":
        """Return the output image as it is."""
        return stylized.output_image, FrameRecord(cut=self._begins)
