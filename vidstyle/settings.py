"""Settings of a run, each declared once with default, meaning, unit and bounds.

The command line, `--help`, the manifest and the Python API are derived from these fields.
"""

import math
import re
from dataclasses import Field, asdict, dataclass, field, fields
from fractions import Fraction
from typing import Any, Literal, get_args

from vidstyle.errors import SettingsError

__all__ = [
    "LAYERS",
    "MOST_STEPS_NEXT",
    "Option",
    "Scope",
    "Settings",
    "check_options",
    "kinds_of",
    "option",
    "options",
]

MOST_STEPS_NEXT = 15  # evaluations of a later frame, at most, with --steps-next auto
_USUAL_STEPS_NEXT = 5  # about their mean on moving clips, for forecasts

# What an option affects. look: the pixels of a frame, so saved state of another value is refused.
# output: how finished frames are encoded. run: the execution only.
Scope = Literal["look", "output", "run"]

LAYERS = tuple(
    f"relu{block}_{index}"
    for block, count in enumerate((2, 2, 4, 4, 4), start=1)
    for index in range(1, count + 1)
)


@dataclass(frozen=True, kw_only=True)
class Option:
    """Declaration of an option, besides its name, type and default.

    meaning: one line for --help. unit: "" for none. low, high: inclusive bounds of a number.
    words: literal values that are allowed. choices: allowed entries of a list. is_path: the text is
    a path. scope: see Scope.
    """

    meaning: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    words: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    scope: Scope = "look"
    is_path: bool = False


def option(default: Any, meaning: str, **properties: Any) -> Any:
    """Declare a dataclass field as an option; properties: the other fields of Option."""
    return field(default=default, metadata={"option": Option(meaning=meaning, **properties)})


def options(owner: Any) -> dict[str, tuple[Field[Any], Option]]:
    """Return the options of a dataclass or an instance, by name, in order of declaration."""
    return {f.name: (f, f.metadata["option"]) for f in fields(owner) if "option" in f.metadata}


def check_options(owner: Any) -> None:
    """Raise SettingsError if an option of the instance `owner` has a wrong type or value."""
    for name, (declared, spec) in options(owner).items():
        value = getattr(owner, name)
        if value is not None or declared.default is not None:
            _check_value(f"--{name.replace('_', '-')}", value, declared, spec)


def kinds_of(declared: Field[Any]) -> tuple[type, ...]:
    """Return the types of an option's value, without None."""
    kinds = get_args(declared.type) or (declared.type,)
    return tuple(kind for kind in kinds if kind is not type(None))


def _check_value(flag: str, value: Any, declared: Field[Any], spec: Option) -> None:
    kinds = kinds_of(declared)
    if spec.choices:
        _check_list(flag, value, spec)
        return
    if bool in kinds or isinstance(value, bool):
        fits = bool in kinds and isinstance(value, bool)
    elif isinstance(value, str):
        fits = str in kinds and (not spec.words or value in spec.words)
    else:
        fits = _is_number(value, kinds, spec)
    if not fits:
        expected = "true or false" if bool in kinds else _expected(kinds, spec)
        raise SettingsError(f"{flag}: expected {expected}, got {value!r}")


def _check_list(flag: str, value: Any, spec: Option) -> None:
    if not value or not isinstance(value, (tuple, list)):
        names = ", ".join(spec.choices)
        raise SettingsError(f"{flag}: expected one or more of {names}, got {value!r}")
    unknown = [entry for entry in value if entry not in spec.choices]
    if unknown:
        raise SettingsError(
            f"{flag}: expected names from {spec.choices[0]} to {spec.choices[-1]}, "
            f"got {unknown[0]!r}"
        )


def _is_number(value: Any, kinds: tuple[type, ...], spec: Option) -> bool:
    """Whether a value is a finite number of one of these types within the bounds."""
    numbers = (int, float, Fraction) if {float, Fraction} & {*kinds} else (int,)
    if not isinstance(value, numbers) or not {int, float, Fraction} & {*kinds}:
        return False
    low = -math.inf if spec.low is None else spec.low
    high = math.inf if spec.high is None else spec.high
    try:
        return math.isfinite(value) and low <= value <= high
    except OverflowError:  # an int too large for a float
        return False


def _expected(kinds: tuple[type, ...], spec: Option) -> str:
    words = "".join(f"'{word}' or " for word in spec.words)
    if spec.low is None and spec.high is None:
        return words.removesuffix(" or ") or ("text" if str in kinds else "a number")
    upper = "" if spec.high is None else f" to {spec.high:g}"
    bounds = f"from {spec.low:g}{upper}"
    return f"{words}a number {bounds}{' ' + spec.unit if spec.unit else ''}"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of a run. Raises SettingsError for a value of the wrong type or out of bounds."""

    size: int | str = option(
        "auto",
        "long side of the result; 'source': as in the source, 'auto': as in the source up to 512",
        unit="pixels",
        low=16,
        high=16384,
        words=("auto", "source"),
    )
    steps: int = option(
        150,
        "optimiser evaluations for a photo or the first frame of a shot at its coarsest "
        "resolution, 256 pixels; about half as many at each finer one",
        low=0,
        high=10000,
    )
    steps_next: int | str = option(
        15,
        "optimiser evaluations for a frame initialised from the previous one; 'auto': until the "
        f"loss hardly falls, at most {MOST_STEPS_NEXT}: faster, but late frames fade to the source",
        low=0,
        high=10000,
        words=("auto",),
    )
    style_weight: float = option(1.0, "weight of the style loss", low=0, high=1e6)
    content_weight: float = option(0.1, "weight of the content loss", low=0, high=1e6)
    tv_weight: float = option(0.4, "weight of the total variation loss", low=0, high=1e6)
    temporal_weight: float = option(
        15.0,
        "weight of the temporal loss to the warped previous frame; 0 also disables deflickering",
        low=0,
        high=1e6,
    )
    style_layers: tuple[str, ...] = option(
        ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"),
        "VGG-19 layers whose feature means and covariances define the style",
        choices=LAYERS,
    )
    content_layers: tuple[str, ...] = option(
        ("relu4_2",), "VGG-19 layers whose features define the content", choices=LAYERS
    )
    style_scale: float = option(
        1.0,
        "scale of the brush strokes: square root of the style picture's area over the frame's",
        low=0.1,
        high=8,
    )
    original_colors: bool = option(False, "keep the colours of the source, transfer brushwork only")
    seed: int = option(0, "random seed", low=0, high=2**31 - 1)
    start: float | None = option(None, "start time in the source", unit="seconds", low=0)
    end: float | None = option(None, "end time in the source", unit="seconds", low=0)
    rate: Fraction | None = option(
        None,
        "read a folder of pictures as an image sequence at this frame rate",
        unit="frames per second",
        low=0.01,
        high=1000,
    )
    codec: str | None = option(
        None,
        "codec of the result (default: the most widely supported one that keeps the source's bit "
        "depth and alpha); for a folder of pictures: png, jpg, tiff or webp",
        words=("h264", "hevc", "av1", "vp9", "prores", "ffv1", "png", "jpg", "tiff", "webp"),
        scope="output",
    )
    crf: int | None = option(
        None,
        "constant rate factor of the video: a lower one gives better quality and a larger file "
        "(default: the codec's own, 18 for H.264)",
        low=0,
        high=63,
        scope="output",
    )
    pix_fmt: str | None = option(
        None,
        "pixel format of the video by its FFmpeg name: yuv444p, yuv420p10le, …",
        scope="output",
    )
    device: str = option(
        "auto",
        "where TensorFlow computes: 'auto' (a GPU if there is one), 'cpu', 'gpu', or 'gpu:N' for "
        "the N-th GPU, from 0",
        scope="run",
    )
    precision: str = option(
        "auto",
        "type of the network's activations: 'float32', 'bfloat16' (half the memory, less time "
        "where the device multiplies it), or 'auto': bfloat16 on a GPU of compute capability 8.0 "
        "or later, else float32",
        words=("auto", "float32", "bfloat16"),
    )
    keep_frames: bool = option(
        False, "keep all frames in OUTPUT.vidstyle/ after the run", scope="run"
    )
    resume_from: str | None = option(
        None,
        "continue from the frames of an earlier run of the same request with this other output",
        scope="run",
        is_path=True,
    )
    overwrite: bool = option(False, "replace an existing output", scope="run")
    restart: bool = option(False, "discard the state of an earlier run and start over", scope="run")

    def __post_init__(self) -> None:
        check_options(self)
        if not re.fullmatch(r"auto|cpu|gpu(:\d{1,3})?", self.device, re.ASCII):
            raise SettingsError(
                f"--device: expected auto, cpu, gpu or gpu:N (gpu:0), got {self.device!r}"
            )
        if self.restart and self.resume_from is not None:
            raise SettingsError(
                "--resume-from: expected without --restart, which discards frames; use one of them"
            )
        if self.end is not None and self.end <= (self.start or 0):
            begin = self.start or 0
            raise SettingsError(
                f"--end: expected a time after the start at {begin:g} s, got {self.end:g} s"
            )

    @property
    def most_steps_next(self) -> int:
        """The largest number of evaluations of a frame initialised from the previous one."""
        return MOST_STEPS_NEXT if self.steps_next == "auto" else int(self.steps_next)

    @property
    def usual_steps_next(self) -> int:
        """The expected number of evaluations of a frame initialised from the previous one."""
        return _USUAL_STEPS_NEXT if self.steps_next == "auto" else int(self.steps_next)

    def of_scope(self, *scopes: Scope) -> dict[str, Any]:
        """Return the options of these scopes by name, as JSON values for the manifest."""
        values = asdict(self)
        return {
            name: _json_value(values[name])
            for name, (_, spec) in options(self).items()
            if spec.scope in scopes
        }


def _json_value(value: Any) -> Any:
    if isinstance(value, Fraction):
        return str(value)
    return list(value) if isinstance(value, tuple) else value
