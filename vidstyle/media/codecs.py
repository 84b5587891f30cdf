"""Encoding choices: the codecs of video and pictures, and their pixel formats."""

from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any

from vidstyle.environment import variable
from vidstyle.errors import UsageError
from vidstyle.media.clip import Clip
from vidstyle.media.containers import CONTAINERS, MOVIES

if TYPE_CHECKING:
    from av.video.format import VideoFormat

__all__ = ["CODECS", "PICTURE_CODECS", "Codec", "EncodingOptions", "OutputFormat", "choose"]


@dataclass(frozen=True, kw_only=True)
class EncodingOptions:
    """The user's encoding options; see Settings. None: the best default."""

    codec: str | None = None
    crf: int | None = None
    pix_fmt: str | None = None


@dataclass(frozen=True, kw_only=True)
class Codec:
    """An encoder and its options.

    formats: pixel formats used unless another is requested, the simplest first.
    crf, max_crf: default and largest CRF; None and 0 for an encoder without CRF.
    max_reorder: largest number of frames between decoding and display order.
    odd_sizes: takes odd frame sizes with subsampled chroma.
    tags: container -> codec tag, where players do not support the default one.
    large_files: used only on request, since its files are very large.
    """

    encoder: str
    formats: tuple[str, ...]
    crf: int | None = None
    max_crf: int = 0
    options: dict[str, str] = field(default_factory=dict)
    max_reorder: int = 0
    odd_sizes: bool = False
    tags: dict[str, str] = field(default_factory=dict)
    large_files: bool = False


# Fixed pools give the same bytes on any number of cores; with two frame threads, flushing can
# deadlock (x265 4, RateControl::rateControlEnd).
_X265 = "pools=4:frame-threads=1:log-level=none:info=0"
CODECS = {
    "h264": Codec(
        encoder="libx264",
        formats=("yuv420p",),
        crf=18,
        max_crf=51,
        options={"preset": "medium", "mbtree": "0"},  # mbtree makes bytes vary below 112 pixels
        max_reorder=2,
    ),
    "hevc": Codec(
        encoder="libx265",
        formats=("yuv420p", "yuv420p10le"),
        crf=20,
        max_crf=51,
        options={"preset": "medium", "x265-params": _X265},
        max_reorder=2,
        tags={"mp4": "hvc1", "mov": "hvc1"},
    ),
    "vp9": Codec(
        encoder="libvpx-vp9",
        formats=("yuv420p", "yuva420p"),
        crf=24,
        max_crf=63,
        options={"b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"},
        odd_sizes=True,
    ),
    "av1": Codec(
        encoder="libsvtav1",
        formats=("yuv420p", "yuv420p10le"),
        crf=26,
        max_crf=63,
        options={"preset": "7"},
    ),
    "prores": Codec(encoder="prores_ks", formats=("yuv422p10le", "yuva444p10le")),
    "ffv1": Codec(
        encoder="ffv1",
        formats=("bgr0", "bgra", "gbrp16le", "gbrap16le"),
        options={"level": "3"},
        odd_sizes=True,
        large_files=True,
    ),
}
# Picture codec -> suffix of the pictures in an output folder.
PICTURE_CODECS = {"png": ".png", "jpg": ".jpg", "tiff": ".tiff", "webp": ".webp"}


@dataclass(frozen=True, kw_only=True)
class OutputFormat:
    """Encoder, pixel format and CRF of a video output. crf: None for an encoder without CRF."""

    codec: Codec
    pix_fmt: str
    crf: int | None

    @property
    def depth(self) -> int:
        """Bits per channel."""
        return _depth(self.pix_fmt)

    @property
    def alpha(self) -> bool:
        """Whether the pixel format has alpha."""
        return _has_alpha(self.pix_fmt)

    @property
    def even(self) -> bool:
        """Whether both sides must be even."""
        return not self.codec.odd_sizes and _format(self.pix_fmt).chroma_width(2) == 1


def choose(clip: Clip, suffix: str, encoding: EncodingOptions) -> OutputFormat:
    """Return the format in which the output of `clip` is encoded to a file of this suffix.

    Unset options default to the container's first codec that keeps the alpha and depth of the
    source. Raises UsageError for a codec or pixel format that the container does not support.
    """
    codec_names = CONTAINERS[MOVIES[suffix.lower()]].video
    if encoding.codec is not None and encoding.codec not in codec_names:
        raise UsageError(
            f"--codec: expected one of {', '.join(codec_names)} in {suffix}, got {encoding.codec}; "
            "choose one of these, or another kind of output"
        )
    codecs = [CODECS[name] for name in codec_names if encoding.codec in (None, name)]
    if encoding.pix_fmt is not None:
        return _with_pix_fmt(suffix, codecs, encoding.pix_fmt, encoding.crf)
    offers = [
        OutputFormat(codec=codec, pix_fmt=pix_fmt, crf=_limited_crf(codec, encoding.crf))
        for codec in codecs
        if encoding.codec or not codec.large_files
        for pix_fmt in codec.formats
    ]
    return max(offers, key=lambda offer: _fitness(offer, clip))


def _fitness(output_format: OutputFormat, clip: Clip) -> tuple[bool, bool, bool]:
    """Return the fitness of a format as sort key; the first in the list wins ties."""
    deep = clip.depth > 8
    return (
        output_format.alpha >= clip.alpha,
        not deep or output_format.depth > 8,
        output_format.alpha == clip.alpha
        and (deep or output_format.depth == 8 or len(output_format.codec.formats) == 1),
    )


def _with_pix_fmt(suffix: str, codecs: list[Codec], pix_fmt: str, crf: int | None) -> OutputFormat:
    import av

    known = {codec.encoder: av.Codec(codec.encoder, "w").video_formats or [] for codec in codecs}
    for codec in codecs:
        offered = any(pix_fmt == one.name for one in known[codec.encoder])
        if offered and _encodes(codec.encoder, pix_fmt, tuple(codec.options.items())):
            return OutputFormat(codec=codec, pix_fmt=pix_fmt, crf=_limited_crf(codec, crf))
    names = sorted({one.name for formats in known.values() for one in formats})
    raise UsageError(
        f"--pix-fmt: expected one that works of {', '.join(names)} in {suffix}, got {pix_fmt}; "
        "choose another, or another --codec"
    )


@cache
def _encodes(encoder: str, pix_fmt: str, options: tuple[tuple[str, str], ...]) -> bool:
    """Whether the encoder takes a frame; some list pixel formats that they then refuse."""
    import av

    context: Any = av.CodecContext.create(encoder, "w")
    context.width = context.height = 64
    context.pix_fmt, context.time_base, context.options = pix_fmt, Fraction(1, 25), dict(options)
    try:
        frame = av.VideoFrame(64, 64, "rgba").reformat(format=pix_fmt)
        frame.pts = 0
        with variable("SVT_LOG", "1"):  # silences libsvtav1's banner
            return bool(context.encode(frame) + context.encode(None))
    except (av.error.FFmpegError, OSError, ValueError):
        return False


def _limited_crf(codec: Codec, crf: int | None) -> int | None:
    if codec.crf is None or crf is None:
        return codec.crf
    return min(crf, codec.max_crf)


def _format(name: str) -> "VideoFormat":
    from av.video.format import VideoFormat

    return VideoFormat(name)


def _depth(pix_fmt: str) -> int:
    return max(part.bits for part in _format(pix_fmt).components)


def _has_alpha(pix_fmt: str) -> bool:
    return any(part.is_alpha for part in _format(pix_fmt).components)
