"""Job: source, output, styles, guides and settings of a run, and the manifest to compare them."""

import difflib
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidstyle.atomic import is_special, sha256_of
from vidstyle.errors import MediaError, SettingsError, UsageError, as_path
from vidstyle.inputs import AUTO, check_apart, is_automatic
from vidstyle.jobs.events import OnEvent, WeightsEvent
from vidstyle.jobs.manifest import state_path
from vidstyle.settings import Settings, options
from vidstyle.validation import check_weight

if TYPE_CHECKING:
    from vidstyle.media import Clip
    from vidstyle.techniques.base import Style, Technique

__all__ = [
    "Job",
    "Network",
    "Paths",
    "StyleLike",
    "Styles",
    "find_network",
    "find_weights",
    "fingerprint",
    "make_job",
    "parse_options",
    "parse_style",
    "read_styles",
    "target_size",
    "version_of",
]

Paths = str | Path | Sequence[str | Path]
StyleLike = str | Path | tuple[str | Path, float]
Styles = StyleLike | Sequence[StyleLike]

AUTO_SIZE = 512  # pixels of the long side at most, with --size auto
SMALLEST = 16  # pixels of the short side: VGG-19 halves it four times
PACKAGES = ("vidstyle", "tensorflow", "numpy", "opencv-python-headless", "av")
THREADS = (  # environment variables that change the last bits of the pixels
    "OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "TF_ENABLE_ONEDNN_OPTS",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Job:
    """Everything that a run needs. Raises VidstyleError for paths and options that do not fit.

    styles: (picture, weight) pairs; positive weights, normalised to a sum of 1.
    masks, map: guides of the frames; each one picture, one for every frame, or key frames. A mask
        may be "auto" or "auto:background": the salient objects of each frame, and the rest.
    style_maps: the regions of each style picture, in the order of the styles.
    weights: the VGG-19 file, or None to find or download it.
    """

    source: Path
    output: Path
    technique: "Technique"
    styles: tuple[tuple[Path, float], ...]
    settings: Settings
    masks: tuple[Path, ...] = ()
    map: Path | None = None
    style_maps: tuple[Path, ...] = ()
    weights: Path | None = None

    def __post_init__(self) -> None:
        _check_source(self.source)
        if is_special(self.output):
            raise UsageError(
                f"{self.output}: expected the name of a file or a folder for the output, got a "
                "pipe or a device; choose another output"
            )
        object.__setattr__(self, "styles", _blend(self.styles))
        _check_guides(self)
        check_apart(self.output, self.inputs)
        check_apart(state_path(self.output), self.inputs, "state folder")

    @property
    def inputs(self) -> tuple[Path, ...]:
        """All files and folders that the run reads."""
        named = os.environ.get("VIDSTYLE_WEIGHTS")
        weights = self.weights or (Path(named).expanduser() if named else None)
        styles = (path for path, _ in self.styles)
        return (self.source, *styles, *self.guides, *filter(None, (weights,)))

    @property
    def guides(self) -> tuple[Path, ...]:
        """All masks and maps that are read from files."""
        drawn = (path for path in self.masks if not is_automatic(path))
        return (*drawn, *self._maps)

    @property
    def _maps(self) -> tuple[Path, ...]:
        return (*filter(None, (self.map,)), *self.style_maps)

    @property
    def optimises(self) -> bool:
        """Whether frames are optimised; if not, neither weights nor TensorFlow are needed."""
        return self.settings.steps > 0 or self.settings.most_steps_next > 0

    def read_styles(self) -> "list[Style]":
        """Read the style pictures. Raises MediaError, naming the picture."""
        return _read(self.styles)

    def manifest(self, clip: "Clip", network: str | None) -> dict[str, Any]:
        """Return everything that the pixels depend on, as JSON values.

        clip: the probed source. network: sha256 of the weights; None if nothing is optimised.
        Options of encoding (--crf) and of the run itself are not part of it.
        """
        return {
            "source": fingerprint(clip.files or (self.source,)),
            "styles": [{**fingerprint([path]), "weight": weight} for path, weight in self.styles],
            "guides": [
                *(_mask_fingerprint(path) for path in self.masks),
                *(fingerprint(_files_of(path)) for path in self._maps),
            ],
            "technique": self.technique.name,
            "options": _plain(asdict(self.technique)),
            "settings": self.settings.of_scope("look"),
            "weights": network,
            "versions": {name: version_of(name) for name in PACKAGES},
            "environment": {name: os.environ.get(name) for name in THREADS},
        }


def make_job(  # noqa: PLR0913 - one argument for each input of a job
    source: str | Path,
    output: str | Path,
    *,
    style: Styles,
    technique: str = "basic",
    mask: Paths = (),
    map: str | Path | None = None,
    style_map: Paths = (),
    weights: str | Path | None = None,
    **values: Any,
) -> Job:
    """Make a Job from plain values; `values` are options of Settings and of the technique.

    style: a path, 'path=weight', a (path, weight) pair, or several of them. mask, style_map: a
    path or several. Raises VidstyleError.
    """
    chosen, settings = parse_options(technique, values)
    return Job(
        source=as_path(source, "source", SettingsError),
        output=as_path(output, "output", SettingsError),
        technique=chosen,
        styles=tuple(_weighted(style)),
        settings=settings,
        masks=_paths(mask, "mask"),
        map=None if map is None else as_path(map, "map", SettingsError),
        style_maps=_paths(style_map, "style_map"),
        weights=None if weights is None else as_path(weights, "weights", SettingsError),
    )


def parse_options(technique: str, values: Mapping[str, Any]) -> "tuple[Technique, Settings]":
    """Return the technique of a name, and the settings, from option values by name.

    Raises UsageError or SettingsError.
    """
    from vidstyle.techniques import TECHNIQUES

    if not isinstance(technique, str) or technique not in TECHNIQUES:
        raise UsageError(f"technique: expected one of {', '.join(TECHNIQUES)}, got {technique!r}")
    kind = TECHNIQUES[technique]
    _check_names(values, (*options(Settings), *options(kind)))
    own = {name: value for name, value in values.items() if name in options(kind)}
    return kind(**own), Settings(**{k: v for k, v in values.items() if k not in own})


def read_styles(style: Styles) -> "list[Style]":
    """Read style pictures, given as to `make_job`. Raises VidstyleError, naming the picture."""
    return _read(_blend(_weighted(style)))


@dataclass(frozen=True)
class Network:
    """The VGG-19 file and its sha256; None if nothing is optimised."""

    path: Path | None = None
    digest: str | None = None


def find_network(job: Job, notify: OnEvent) -> Network:
    """Find or download the VGG-19 file if the job optimises. Raises WeightsError."""
    return find_weights(job.weights, notify) if job.optimises else Network()


def find_weights(path: Path | None, notify: OnEvent) -> Network:
    """Find or download the VGG-19 file; path: the one to take. Raises WeightsError."""
    from vidstyle.vgg import weights

    def progress(received: int, total: int) -> None:
        notify(WeightsEvent(received=received, total=total))

    found = weights.find(path, progress=progress)
    if not weights.is_verified(found):
        weights.load(found)  # an invalid file is refused before TensorFlow is imported
    return Network(found, weights.digest(found))


def parse_style(text: str) -> tuple[Path, float | None]:
    """Split 'wave.jpg=0.7' into path and weight; the weight is None if there is none.

    An existing file named `text` is not split.
    """
    name, sign, number = text.rpartition("=")
    if sign and not Path(text).exists():
        try:
            return Path(name), float(number)
        except ValueError:
            pass
    return Path(text), None


def target_size(size: int | str, width: int, height: int, *, even: bool = True) -> tuple[int, int]:
    """Return the (width, height) of an output frame in pixels, with the source's aspect ratio.

    size: the long side, 'source' or 'auto'. even: round to even sides, as video codecs need.
    Raises UsageError if the short side is below 16 pixels.
    """
    long = max(width, height)
    wanted = min(long, AUTO_SIZE) if size == "auto" else long if size == "source" else int(size)
    unit = 2 if even else 1
    fitted = tuple(unit * max(1, round(side * wanted / long / unit)) for side in (width, height))
    if min(fitted) < SMALLEST:
        raise UsageError(
            f"--size: expected a result of at least {SMALLEST} pixels a side, got "
            f"{fitted[0]} x {fitted[1]} from {width} x {height}; choose a larger --size"
        )
    return fitted[0], fitted[1]


def fingerprint(files: Sequence[Path]) -> dict[str, Any]:
    """Return size and sha256 of a file, or name and sha256 of each of several.

    Folders are not part of it. Raises MediaError.
    """
    try:
        if len(files) == 1:
            return {"bytes": files[0].stat().st_size, "sha256": sha256_of(files[0])}
        return {"files": [[path.name, sha256_of(path)] for path in files]}
    except OSError as error:
        raise MediaError(
            f"cannot read {error.filename}: {error.strerror}; check the file"
        ) from error


def version_of(package: str) -> str | None:
    """Return the installed version of a package without importing it; None if not installed."""
    for name in (package, f"{package}-cpu", package.removesuffix("-headless")):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def _mask_fingerprint(path: Path) -> dict[str, Any]:
    """Return what identifies a mask: its files, or the network that makes it."""
    if not is_automatic(path):
        return fingerprint(_files_of(path))
    from vidstyle.segmentation.models import SALIENCY

    return {"made": str(path), "network": SALIENCY.sha256}


def _check_source(source: Path) -> None:
    if not source.exists() and "%" not in source.name:
        raise MediaError(f"the source {source} does not exist; check the path")


_FLAGS = {"mask": "--mask", "map": "--map", "style_map": "--style-map"}


def _check_guides(job: Job) -> None:
    """Raise UsageError for guides that the technique does not take, or needs and lacks."""
    name, inputs = job.technique.name, job.technique.inputs
    given = {"mask": job.masks, "map": job.map, "style_map": job.style_maps}
    for kind, flag in _FLAGS.items():
        if given[kind] and kind not in inputs.accepted:
            raise UsageError(f"{flag}: {name} takes none; leave it out, or choose another command")
        if not given[kind] and kind in inputs.required:
            raise UsageError(f"{name}: expected {flag} PICTURE, got none; add one")
    if given["map"] and not given["style_map"]:
        raise UsageError("--map: expected a --style-map for each --style too, got none; add them")
    if given["style_map"] and not given["map"] and "map" in inputs.accepted:
        raise UsageError("--style-map: expected a --map of the source too, got none; add one")
    if job.style_maps and len(job.style_maps) != len(job.styles):
        raise UsageError(
            f"expected a --style-map for each --style, in the same order, got {len(job.styles)} "
            f"styles and {len(job.style_maps)} maps"
        )
    for path in job.masks:
        if str(path).startswith(f"{AUTO}:") and not (is_automatic(path) or path.exists()):
            raise UsageError(f"--mask: expected auto or auto:background, got {path}")
    for path in job.guides:
        if not path.exists() and "%" not in path.name:
            raise MediaError(f"the mask or map {path} does not exist; check the path")


def _paths(given: Paths, name: str) -> tuple[Path, ...]:
    several = given if isinstance(given, (list, tuple)) else [given]
    return tuple(as_path(path, name, SettingsError) for path in several)


def _files_of(path: Path) -> Sequence[Path]:
    from vidstyle.media import probe

    return probe(path, count=False).files or (path,)


def _read(styles: Iterable[tuple[Path, float]]) -> "list[Style]":
    from vidstyle.media import read_style
    from vidstyle.techniques.base import Style

    return [Style(image=read_style(path), weight=weight) for path, weight in styles]


def _blend(styles: Iterable[tuple[Path, float]]) -> tuple[tuple[Path, float], ...]:
    """Check the styles; return them with weights normalised to a sum of 1."""
    styles = tuple(styles)
    if not styles:
        raise UsageError("expected one or more style pictures, got none; add --style PICTURE")
    for path, weight in styles:
        if not path.exists():
            raise MediaError(f"the style {path} does not exist; check the path")
        if not (math.isfinite(weight) and weight > 0):
            raise UsageError(f"--style {path}: expected a weight above 0, got {weight:g}")
    total = math.fsum(weight for _, weight in styles)
    return tuple((path, weight / total) for path, weight in styles)


def _weighted(style: Styles) -> Iterable[tuple[Path, float]]:
    """Yield (path, weight) of each style; equal weights if none is given."""
    entries = [_entry(one) for one in _listed(style)]
    given = [weight for _, weight in entries if weight is not None]
    if given and len(given) < len(entries):
        raise UsageError("--style: expected a weight for every style or for none, got some of both")
    return ((path, 1.0 if weight is None else weight) for path, weight in entries)


def _listed(style: Styles) -> Sequence[StyleLike]:
    """Return the styles as a sequence, also if a single one is given."""
    pair = isinstance(style, tuple) and len(style) == 2 and not isinstance(style[1], (str, Path))
    single = not isinstance(style, (list, tuple)) or (pair and not isinstance(style[1], tuple))
    return [style] if single else style  # type: ignore[list-item, return-value]


def _entry(style: StyleLike) -> tuple[Path, float | None]:
    if isinstance(style, tuple) and len(style) == 2:
        path = as_path(style[0], "style", SettingsError)
        check_weight(style[1], f"style {path}")
        return path, float(style[1])
    if isinstance(style, str) and "\0" not in style:
        return parse_style(style)
    return as_path(style, "style", SettingsError), None


def _check_names(given: Iterable[str], known: Sequence[str]) -> None:
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(known)}"
            raise SettingsError(f"expected the name of an option, got {name!r}{hint}")


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}
