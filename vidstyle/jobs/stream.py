"""Streaming: stylise arrays from any iterable, in memory, with the coherence of a run.

    frames = imageio.v3.imiter("clip.mp4", plugin="pyav")
    for frame in vidstyle.stylize_frames(frames, style="wave.jpg"): ...

With OpenCV, whose frames are BGR:

    read = iter(cv2.VideoCapture("clip.mp4").read, (False, None))
    frames = (cv2.cvtColor(frame, cv2.COLOR_BGR2RGB) for _, frame in read)

Masks in memory: masks=[mask, …], one a frame. Label maps, for "region", "patch" and "doodle":

    guides = (Guide.from_label_map(map, colors) for map in maps)
    style = Style(picture, guide=Guide.from_label_map(style_map, colors))
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vidstyle.coherence.default import DefaultCoherence
from vidstyle.coherence.interface import Coherence, FrameRecord, RunContext, SourceFrame
from vidstyle.environment import preserved
from vidstyle.errors import (
    CancelledError,
    GuideError,
    MediaError,
    SettingsError,
    UsageError,
    as_path,
)
from vidstyle.guides.guide import Guide
from vidstyle.guides.style import Style
from vidstyle.image import Image, from_uint16, recolored, resize, to_bytes, to_uint16
from vidstyle.jobs.cancel import Cancel, check_of
from vidstyle.jobs.events import OnEvent, each_warning_once, ignore
from vidstyle.jobs.frame_loop import stylize_frame
from vidstyle.jobs.job import Styles, find_weights, parse_options, read_styles, target_size
from vidstyle.settings import Settings, options
from vidstyle.stylizer.protocol import IdentityStylizer, Stylizes
from vidstyle.validation import check_image

if TYPE_CHECKING:
    from vidstyle.coherence.history import FinishedFrame
    from vidstyle.stylizer.stylizer import Stylizer
    from vidstyle.techniques.base import Technique

__all__ = ["MemoryHistory", "stylize_frames"]

Masks = np.ndarray | Sequence[np.ndarray]  # of a frame, each [H, W]

_OF_FILES = {"start", "end", "rate"}  # settings that select frames of a source file


class MemoryHistory:
    """The finished frames of a stream that later frames may need: coherence.FinishedFrames.

    Frames are kept with 16 bits a channel, as the files of a run are. `finished` stays empty, since
    a stream is not resumed.
    """

    path = Path("the stream")

    def __init__(self) -> None:
        self.finished: Mapping[int, FinishedFrame] = {}
        self._frames: dict[int, tuple[np.ndarray, dict[str, np.ndarray]]] = {}

    def __len__(self) -> int:
        return len(self._frames)

    def save(self, index: int, image: Image, record: FrameRecord) -> None:
        """Keep a frame with its notes."""
        notes = {name: array for name, array in record.notes.items() if array is not None}
        self._frames[index] = to_uint16(image), notes

    def keep_only(self, positions: set[int]) -> None:
        """Drop all other frames."""
        self._frames = {index: kept for index, kept in self._frames.items() if index in positions}

    def has(self, index: int) -> bool:
        """Return False: no frame is finished before it is stylised."""
        del index
        return False

    def load(self, index: int) -> Image:
        """Return a kept frame: float32 [H, W, 3], RGB, 0..1."""
        return from_uint16(self._frames[index][0])

    def load_notes(self, index: int) -> dict[str, np.ndarray]:
        """Return the notes of a kept frame."""
        return dict(self._frames[index][1])


def stylize_frames(  # noqa: PLR0913 - one argument for each input of a stream
    frames: Iterable[np.ndarray],
    *,
    style: "Styles | Style | Sequence[Style] | None" = None,
    technique: str = "basic",
    masks: Masks | Iterable[Masks] | None = None,
    guides: Iterable[Guide] | None = None,
    weights: str | Path | None = None,
    stylizer: "Stylizer | None" = None,
    on_event: OnEvent | None = None,
    cancel: Cancel | None = None,
    **settings: Any,
) -> Iterator[np.ndarray]:
    """Stylise frames from any iterable, and yield each when it is finished; see jobs.stream.

    frames: [H, W, 3], RGB, of one size; uint8, uint16, or float in 0..1. Yields the same dtype, at
        the size of the setting `size` (default: up to 512 pixels; "source": unchanged).
    style: as in `stylize`, or one or more Style. masks: for "mask": an array [H, W], or one array
        or list of arrays a frame, see Guide.from_arrays. guides: instead, one Guide a frame, for
        any guided technique. weights, on_event (steps only), cancel, settings: as in `stylize`.
    stylizer: one to use again, in place of style, technique, weights and settings.

    The frames equal those of a run on a file, except that fades and flashes, for which a run reads
    the clip beforehand, are not compensated: a faded frame is stylised as it is, and a fade to
    black ends the shot. Nothing is saved or resumed. Keeps at most five finished frames. Raises
    VidstyleError: at the call for options that do not fit, while iterating for frames.
    """
    check, notify = _stream_check(cancel), each_warning_once(on_event or ignore)
    if stylizer is None:
        parts = _make_stylizer(style, technique, settings, weights, notify)
    else:
        _check_alone(style, settings, weights)
        parts = stylizer, stylizer.technique, stylizer.settings
    _check_guides(parts[1], masks, guides)
    _check_iterable(frames, "frames")
    stream = _Stream(parts[0], parts[2], notify, check)
    return stream.run(frames, guides if masks is None else _mask_guides(masks))


@dataclass(frozen=True)
class _Stream:
    """Stylises frames with one stylizer; see frame_loop.Watch."""

    stylizer: Stylizes
    settings: Settings
    notify: OnEvent
    check: Callable[[], None]

    def run(
        self, frames: Iterable[np.ndarray], guides: Iterable[Guide] | None
    ) -> Iterator[np.ndarray]:
        """Yield each frame stylised. Raises MediaError, GuideError, UsageError, CancelledError."""
        history = MemoryHistory()
        context = RunContext(
            history=history,
            initial_image=self.stylizer.begin,
            deflickers=self.settings.temporal_weight > 0,
        )
        coherence, first, position = DefaultCoherence(context), None, -1
        for position, (frame, guide) in enumerate(_with_guides(frames, guides)):
            self.check()
            first = _check_frame(frame, position, first)
            height, width = frame.shape[:2]
            size = target_size(self.settings.size, width, height, even=False)
            image = resize(_image(frame, position), *size)
            source = SourceFrame(position, image, _fitted(guide, frame, size, position))
            yield _as_dtype(self._stylized(source, coherence, history), frame.dtype)
            history.keep_only(coherence.needed_positions)
        if position < 0:
            raise MediaError("frames: expected at least one frame, got none; check the source")

    def _stylized(self, source: SourceFrame, coherence: Coherence, history: MemoryHistory) -> Image:
        """Return the output image of a frame, with 16 bits a channel, as a run saves it."""
        coherence.advance(source)
        prior = coherence.prior()
        made = stylize_frame(
            self, self.stylizer, source.position, source.image, source.guide, prior
        )
        history.save(source.position, *coherence.finish(made))
        output = history.load(source.position)
        return recolored(output, source.image) if self.settings.original_colors else output


def _make_stylizer(
    style: Any, technique: str, settings: dict[str, Any], weights: Any, notify: OnEvent
) -> "tuple[Stylizes, Technique, Settings]":
    """Return the stylizer of a stream, its technique and its settings. Raises VidstyleError."""
    chosen, look = parse_options(technique, settings)
    known = {"device", *look.of_scope("look"), *options(chosen)} - _OF_FILES
    if unknown := sorted(settings.keys() - known):
        raise UsageError(
            f"{unknown[0]}: expected no option of a source file, an output or a saved state; leave "
            "it out"
        )
    if style is None:
        raise UsageError("style: expected a picture or a Style, got none; give one")
    styles = _styles(style)
    if look.steps == 0 and look.steps_next == 0:
        return IdentityStylizer(), chosen, look
    path = None if weights is None else as_path(weights, "weights", SettingsError)
    network = find_weights(path, notify)
    with preserved():
        from vidstyle.stylizer.stylizer import Stylizer

    made = Stylizer(styles, technique=chosen, settings=look, weights=network.path)
    return made, chosen, look


def _styles(style: Any) -> "list[Style]":
    """Return the styles, read from their files unless they are in memory."""
    listed = list(style) if isinstance(style, (list, tuple)) else [style]
    if listed and all(isinstance(one, Style) for one in listed):
        return listed
    return read_styles(style)


def _check_alone(style: Any, settings: dict[str, Any], weights: Any) -> None:
    """Raise UsageError for what a given stylizer already has."""
    given = [
        *(["style"] if style is not None else []),
        *settings,
        *(["weights"] if weights is not None else []),
    ]
    if given:
        raise UsageError(
            f"{given[0]}: expected none beside a stylizer, which has its own; leave it out"
        )


def _check_guides(technique: "Technique", masks: Any, guides: Any) -> None:
    """Raise UsageError or GuideError for guides that the technique rejects or lacks."""
    name, inputs = technique.name, technique.inputs
    if masks is not None and guides is not None:
        raise UsageError("expected masks or guides, got both; leave one out")
    if masks is not None and "mask" not in inputs.accepted:
        raise UsageError(f"masks: {name} takes none; leave them out, or choose another technique")
    if guides is not None and not inputs.accepted:
        raise UsageError(f"guides: {name} takes none; leave them out, or choose another technique")
    if inputs.required and masks is None and guides is None:
        what = "masks" if "mask" in inputs.required else "guides"
        raise GuideError(f"{name}: expected {what}, got none; give an iterable of one a frame")
    for given, what in ((masks, "masks"), (guides, "guides")):
        if given is not None:
            _check_iterable(given, what)


def _check_iterable(given: Any, name: str) -> None:
    if isinstance(given, (str, bytes, Path)) or not isinstance(given, Iterable):
        raise UsageError(
            f"{name}: expected an iterable of arrays, got {type(given).__name__}; for a file, use "
            "vidstyle.stylize, or read it by imageio.v3.imiter"
        )


def _stream_check(cancel: Cancel | None) -> Callable[[], None]:
    """Return the check of `cancel`, with a message that fits a stream."""
    check = check_of(cancel)

    def checked() -> None:
        try:
            check()
        except CancelledError:
            raise CancelledError("cancelled; the stream has ended") from None

    return checked


def _mask_guides(masks: Any) -> Iterator[Guide]:
    """Yield the guide of each frame; of all frames, if there is one array [H, W]."""
    if isinstance(masks, np.ndarray) and masks.ndim == 2:
        yield from repeat(Guide.from_arrays([masks]))
    for one in masks:
        yield Guide.from_arrays(one if isinstance(one, (list, tuple)) else [one])


def _with_guides(
    frames: Iterable[np.ndarray], guides: Iterable[Guide] | None
) -> Iterator[tuple[Any, Guide | None]]:
    """Yield each frame with its guide. Raises GuideError if there are fewer guides than frames.

    Guides are read as frames come, so surplus ones are not noticed.
    """
    if guides is None:
        yield from ((frame, None) for frame in frames)
        return
    each = iter(guides)
    for position, frame in enumerate(frames):
        guide = next(each, None)
        if guide is None:
            raise GuideError(
                f"masks or guides: expected one for each frame, got {position} for at least "
                f"{position + 1} frames; give as many as frames"
            )
        yield frame, guide


def _check_frame(frame: Any, position: int, first: np.ndarray | None) -> np.ndarray:
    """Return the array that later frames are compared with. Raises MediaError for a frame."""
    expected = f"frame {position}: expected an array [height, width, 3] of RGB"
    if not isinstance(frame, np.ndarray):
        raise MediaError(f"{expected}, got {type(frame).__name__}; convert it")
    if frame.ndim != 3 or frame.shape[2] != 3 or not frame.size:
        raise MediaError(f"{expected}, got the shape {list(frame.shape)}; convert it")
    if frame.dtype not in ("u1", "u2") and frame.dtype.kind != "f":
        raise MediaError(f"{expected} in uint8, uint16 or float, got {frame.dtype}; convert it")
    if first is not None and (frame.shape != first.shape or frame.dtype != first.dtype):
        raise MediaError(
            f"frame {position}: expected {first.dtype} {list(first.shape)} as before, got "
            f"{frame.dtype} {list(frame.shape)}; resize it, or begin another stream"
        )
    return np.empty(frame.shape, frame.dtype) if first is None else first


def _image(frame: np.ndarray, position: int) -> Image:
    """Return a frame as an Image. Raises MediaError for floats beyond 0..1."""
    if frame.dtype.kind == "u":
        return frame.astype(np.float32) / np.float32(np.iinfo(frame.dtype).max)
    image = frame.astype(np.float32)
    check_image(image, f"frame {position}")
    return np.clip(image, 0, 1)


def _fitted(guide: Any, frame: np.ndarray, size: tuple[int, int], position: int) -> Guide | None:
    """Return the guide at the size of the output. Raises GuideError if it is not the frame's."""
    if guide is None:
        return None
    if not isinstance(guide, Guide):
        raise GuideError(
            f"guide {position}: expected a Guide, got {type(guide).__name__}; see Guide.from_arrays"
        )
    height, width = guide.planes.shape[:2]
    if (height, width) != frame.shape[:2]:
        raise GuideError(
            f"guide {position}: expected the size of the frame, {frame.shape[1]}x{frame.shape[0]}, "
            f"got {width}x{height}; resize it"
        )
    return guide if (width, height) == size else guide.resized(*size)


def _as_dtype(image: Image, dtype: Any) -> np.ndarray:
    if dtype == np.uint8:
        return to_bytes(image)
    return to_uint16(image) if dtype == np.uint16 else image.astype(dtype)
