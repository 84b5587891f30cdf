"""Settings: every number of a run, with its default, meaning, unit and bounds, written here once.

The command line, `--help`, the manifest and the Python API are derived from these fields.
"""

import math
from dataclasses import Field, asdict, dataclass, field, fields
from fractions import Fraction
from typing import Any, Literal, get_args

from vidstyle.errors import SettingsError

__all__ = [
    "LAYERS",
    "Option",
    "Scope",
    "Settings",
    "check_options",
    "kinds_of",
    "option",
    "options",
]

# What an option bears on. look: the pixels of a frame, so a changed value refuses to continue
# another run's state. output: only how finished frames are written. run: how the work is done.
Scope = Literal["look", "output", "run"]

LAYERS = tuple(
    f"relu{block}_{index}"
    for block, count in enumerate((2, 2, 4, 4, 4), start=1)
    for index in range(1, count + 1)
)


@dataclass(frozen=True, kw_only=True)
class Option:
    """What is declared of one option beside its name, type and default.

    meaning: one line for --help. unit: "" if it has none. low, high: inclusive bounds of a number.
    words: values allowed as they are, beside a number. choices: what each entry of a list may be.
    """

    meaning: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    words: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    scope: Scope = "look"


def option(default: Any, meaning: str, **facts: Any) -> Any:
    """Declare a dataclass field as an option; `facts` are the further fields of Option."""
    return field(default=default, metadata={"option": Option(meaning=meaning, **facts)})


def options(owner: Any) -> dict[str, tuple[Field[Any], Option]]:
    """Return the options that a dataclass (or an instance of one) declares, by name, in order."""
    return {f.name: (f, f.metadata["option"]) for f in fields(owner) if "option" in f.metadata}


def check_options(owner: Any) -> None:
    """Raise SettingsError if any option of the dataclass instance `owner` is out of its bounds."""
    for name, (declared, facts) in options(owner).items():
        value = getattr(owner, name)
        if value is not None or declared.default is not None:
            _check(f"--{name.replace('_', '-')}", value, declared, facts)


def kinds_of(declared: Field[Any]) -> tuple[type, ...]:
    """Return the types that an option's value may have, without None."""
    kinds = get_args(declared.type) or (declared.type,)
    return tuple(kind for kind in kinds if kind is not type(None))


def _check(flag: str, value: Any, declared: Field[Any], facts: Option) -> None:
    kinds = kinds_of(declared)
    if facts.choices:
        _check_list(flag, value, facts)
        return
    if bool in kinds or isinstance(value, bool):
        fits, expected = bool in kinds and isinstance(value, bool), "true or false"
    elif isinstance(value, str):
        fits = str in kinds and (not facts.words or value in facts.words)
        expected = ""
    else:
        fits, expected = _is_number(value, kinds, facts), ""
    if not fits:
        expected = expected if bool in kinds else _expected(kinds, facts)
        raise SettingsError(f"{flag}: expected {expected}, got {value!r}")


def _check_list(flag: str, value: Any, facts: Option) -> None:
    if not value or not isinstance(value, (tuple, list)):
        listed = ", ".join(facts.choices)
        raise SettingsError(f"{flag}: expected one or more of {listed}, got {value!r}")
    unknown = [entry for entry in value if entry not in facts.choices]
    if unknown:
        raise SettingsError(
            f"{flag}: expected names from {facts.choices[0]} to {facts.choices[-1]}, "
            f"got {unknown[0]!r}"
        )


def _is_number(value: Any, kinds: tuple[type, ...], facts: Option) -> bool:
    """Tell whether a value is a number of these kinds, finite and within the bounds."""
    numbers = (int, float, Fraction) if {float, Fraction} & {*kinds} else (int,)
    if not isinstance(value, numbers) or not {int, float, Fraction} & {*kinds}:
        return False
    low = -math.inf if facts.low is None else facts.low
    high = math.inf if facts.high is None else facts.high
    try:
        return math.isfinite(value) and low <= value <= high
    except OverflowError:  # a whole number too large for a float
        return False


def _expected(kinds: tuple[type, ...], facts: Option) -> str:
    words = "".join(f"'{word}' or " for word in facts.words)
    if facts.low is None and facts.high is None:
        return words.removesuffix(" or ") or ("a text" if str in kinds else "a number")
    upper = "" if facts.high is None else f" to {facts.high:g}"
    bounds = f"from {facts.low:g}{upper}"
    return f"{words}a number {bounds}{' ' + facts.unit if facts.unit else ''}"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Every number of a run. Raises SettingsError for a value that is out of its bounds."""

    size: int | str = option(
        "auto",
        "long side of the result; 'source' keeps the source's, 'auto' keeps it up to 512",
        unit="pixels",
        low=16,
        high=16384,
        words=("auto", "source"),
    )
    steps: int = option(
        150,
        "optimiser evaluations for a photo, a first frame or after a cut, at each of the sizes it "
        "is made at: 256, 512, … pixels and its own",
        low=0,
        high=10000,
    )
    steps_next: int = option(
        15, "optimiser evaluations for a frame that starts from the one before", low=0, high=10000
    )
    style_weight: float = option(1.0, "pull towards the style", low=0, high=1e6)
    content_weight: float = option(0.05, "pull towards the content of the frame", low=0, high=1e6)
    tv_weight: float = option(0.4, "smoothness of neighbouring pixels", low=0, high=1e6)
    temporal_weight: float = option(
        15.0,
        "pull towards the earlier result where it can be trusted; 0: nor is what is shown steadied",
        low=0,
        high=1e6,
    )
    style_layers: tuple[str, ...] = option(
        ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"),
        "VGG-19 layers whose means and covariances of features are the style",
        choices=LAYERS,
    )
    content_layers: tuple[str, ...] = option(
        ("relu4_2",), "VGG-19 layers whose features are the content", choices=LAYERS
    )
    style_scale: float = option(
        1.0,
        "size of the style's strokes: its picture's area relative to the frame's, as a length",
        low=0.1,
        high=8,
    )
    original_colors: bool = option(False, "keep the colours of the source, take only the brushwork")
    seed: int = option(0, "seed of every random choice", low=0, high=2**31 - 1)
    start: float | None = option(None, "where in the source to begin", unit="seconds", low=0)
    end: float | None = option(None, "where in the source to stop", unit="seconds", low=0)
    rate: Fraction | None = option(
        None,
        "a folder of pictures is a sequence with this many frames a second",
        unit="frames a second",
        low=0.01,
        high=1000,
    )
    codec: str | None = option(
        None,
        "how the result is written (default: what plays nearly everywhere and keeps the source's "
        "depth and alpha); of a folder's pictures png, jpg, tiff or webp",
        words=("h264", "hevc", "av1", "vp9", "prores", "ffv1", "png", "jpg", "tiff", "webp"),
        scope="output",
    )
    crf: int | None = option(
        None,
        "quality of the written video: lower is better and larger (default: the codec's own, "
        "18 for H.264)",
        low=0,
        high=63,
        scope="output",
    )
    pix_fmt: str | None = option(
        None,
        "pixel format of the written video, as FFmpeg calls it: yuv444p, yuv420p10le and others",
        scope="output",
    )
    keep_frames: bool = option(
        False, "keep OUTPUT.vidstyle/ with every frame when done", scope="run"
    )
    resume_from: str | None = option(
        None,
        "go on with the frames of an earlier run of the same request that was to write this "
        "other output",
        scope="run",
    )
    overwrite: bool = option(False, "replace an output that exists", scope="run")
    restart: bool = option(False, "discard the state of an earlier run and begin anew", scope="run")

    def __post_init__(self) -> None:
        check_options(self)
        if self.restart and self.resume_from is not None:
            raise SettingsError(
                "--resume-from: expected it without --restart, which discards frames; choose one"
            )
        if self.end is not None and self.end <= (self.start or 0):
            begin = self.start or 0
            raise SettingsError(
                f"--end: expected a time after the start at {begin:g} s, got {self.end:g} s"
            )

    def of_scope(self, *scopes: Scope) -> dict[str, Any]:
        """Return the options of these scopes by name, as plain values for a manifest."""
        values = asdict(self)
        return {
            name: _plain(values[name])
            for name, (_, facts) in options(self).items()
            if facts.scope in scopes
        }


def _plain(value: Any) -> Any:
    if isinstance(value, Fraction):
        return str(value)
    return list(value) if isinstance(value, tuple) else value
