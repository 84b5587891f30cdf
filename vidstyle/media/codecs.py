"""What a video file may be encoded as: which codecs a container holds, which pixels a codec."""

from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any

from vidstyle.environment import variable
from vidstyle.errors import UsageError
from vidstyle.media.clip import MOVIES, Clip

if TYPE_CHECKING:
    from av.video.format import VideoFormat

__all__ = ["CODECS", "PICTURE_CODECS", "Codec", "EncodingOptions", "OutputFormat", "choose"]


@dataclass(frozen=True, kw_only=True)
class EncodingOptions:
    """How a video is to be written, as far as the user says: see Settings. None: as is best."""

    codec: str | None = None
    crf: int | None = None
    pix_fmt: str | None = None


@dataclass(frozen=True, kw_only=True)
class Codec:
    """An encoder and how it is used.

    formats: pixel formats it is used with unless another is asked for, the plainest first.
    crf, worst: usual and worst quality; None where it has no such scale. reordered: places by which
    a frame is stored before it is shown, at most. odd: takes odd sides with halved chroma.
    tags: the container's name for it, where the usual one is not played everywhere.
    lavish: files so large that it is never chosen unless asked for.
    """

    encoder: str
    formats: tuple[str, ...]
    crf: int | None = None
    worst: int = 0
    options: dict[str, str] = field(default_factory=dict)
    reordered: int = 0
    odd: bool = False
    tags: dict[str, str] = field(default_factory=dict)
    lavish: bool = False


# The same bytes on any number of cores; two frames at once can wait for one another without end
# when the last are flushed (x265 4, RateControl::rateControlEnd).
_X265 = "pools=4:frame-threads=1:log-level=none:info=0"
CODECS = {
    "h264": Codec(
        encoder="libx264",
        formats=("yuv420p",),
        crf=18,
        worst=51,
        options={"preset": "medium", "mbtree": "0"},  # else bytes vary under 112 pixels
        reordered=2,
    ),
    "hevc": Codec(
        encoder="libx265",
        formats=("yuv420p", "yuv420p10le"),
        crf=20,
        worst=51,
        options={"preset": "medium", "x265-params": _X265},
        reordered=2,
        tags={"mp4": "hvc1", "mov": "hvc1"},
    ),
    "vp9": Codec(
        encoder="libvpx-vp9",
        formats=("yuv420p", "yuva420p"),
        crf=24,
        worst=63,
        options={"b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"},
        odd=True,
    ),
    "av1": Codec(
        encoder="libsvtav1",
        formats=("yuv420p", "yuv420p10le"),
        crf=26,
        worst=63,
        options={"preset": "7"},
    ),
    "prores": Codec(encoder="prores_ks", formats=("yuv422p10le", "yuva444p10le")),
    "ffv1": Codec(
        encoder="ffv1",
        formats=("bgr0", "bgra", "gbrp16le", "gbrap16le"),
        options={"level": "3"},
        odd=True,
        lavish=True,
    ),
}
# What a codec asked for makes of the pictures of a folder.
PICTURE_CODECS = {"png": ".png", "jpg": ".jpg", "tiff": ".tiff", "webp": ".webp"}
_HOLDS = {
    "mp4": ("h264", "hevc", "av1"),
    "mov": ("h264", "hevc", "prores"),
    "matroska": ("h264", "hevc", "vp9", "av1", "prores", "ffv1"),
    "webm": ("vp9", "av1"),
}


@dataclass(frozen=True, kw_only=True)
class OutputFormat:
    """How a video is written. crf: None where the codec has no such scale."""

    codec: Codec
    pix_fmt: str
    crf: int | None

    @property
    def depth(self) -> int:
        """Bits of a channel."""
        return _depth(self.pix_fmt)

    @property
    def alpha(self) -> bool:
        return _has_alpha(self.pix_fmt)

    @property
    def even(self) -> bool:
        """Whether both sides must be even."""
        return not self.codec.odd and _format(self.pix_fmt).chroma_width(2) == 1


def choose(clip: Clip, suffix: str, encoding: EncodingOptions) -> OutputFormat:
    """Return how the result of `clip` is written into a file of this suffix.

    What is not said is the first of the container's codecs that holds the alpha and the depth of
    the source. Raises UsageError for a codec or a pixel format that does not go there.
    """
    held = _HOLDS[MOVIES[suffix.lower()]]
    if encoding.codec is not None and encoding.codec not in held:
        raise UsageError(
            f"--codec: expected one of {', '.join(held)} in {suffix}, got {encoding.codec}; choose "
            "one of these, or another kind of output"
        )
    codecs = [CODECS[name] for name in held if encoding.codec in (None, name)]
    if encoding.pix_fmt is not None:
        return _as_asked(suffix, codecs, encoding.pix_fmt, encoding.crf)
    offers = [
        OutputFormat(codec=codec, pix_fmt=pix_fmt, crf=_quality(codec, encoding.crf))
        for codec in codecs
        if encoding.codec or not codec.lavish
        for pix_fmt in codec.formats
    ]
    return max(offers, key=lambda offer: _fitness(offer, clip))


def _fitness(form: OutputFormat, clip: Clip) -> tuple[bool, bool, bool]:
    """Return how well a form fits; of equals, the first in its list is taken."""
    deep = clip.depth > 8
    return (
        form.alpha >= clip.alpha,
        not deep or form.depth > 8,
        form.alpha == clip.alpha and (deep or form.depth == 8 or len(form.codec.formats) == 1),
    )


def _as_asked(suffix: str, codecs: list[Codec], pix_fmt: str, crf: int | None) -> OutputFormat:
    import av

    known = {codec.encoder: av.Codec(codec.encoder, "w").video_formats or [] for codec in codecs}
    for codec in codecs:
        offered = any(pix_fmt == one.name for one in known[codec.encoder])
        if offered and _encodes(codec.encoder, pix_fmt, tuple(codec.options.items())):
            return OutputFormat(codec=codec, pix_fmt=pix_fmt, crf=_quality(codec, crf))
    names = sorted({one.name for formats in known.values() for one in formats})
    raise UsageError(
        f"--pix-fmt: expected one that works of {', '.join(names)} in {suffix}, got {pix_fmt}; "
        "choose another, or another --codec"
    )


@cache
def _encodes(encoder: str, pix_fmt: str, words: tuple[tuple[str, str], ...]) -> bool:
    """Ask the encoder itself: some list formats that they refuse when a frame comes."""
    import av

    context: Any = av.CodecContext.create(encoder, "w")
    context.width = context.height = 64
    context.pix_fmt, context.time_base, context.options = pix_fmt, Fraction(1, 25), dict(words)
    try:
        frame = av.VideoFrame(64, 64, "rgba").reformat(format=pix_fmt)
        frame.pts = 0
        with variable("SVT_LOG", "1"):  # or libsvtav1 talks of itself
            return bool(context.encode(frame) + context.encode(None))
    except (av.error.FFmpegError, OSError, ValueError):
        return False


def _quality(codec: Codec, crf: int | None) -> int | None:
    if codec.crf is None or crf is None:
        return codec.crf
    return min(crf, codec.worst)


def _format(name: str) -> "VideoFormat":
    from av.video.format import VideoFormat

    return VideoFormat(name)


def _depth(pix_fmt: str) -> int:
    return max(part.bits for part in _format(pix_fmt).components)


def _has_alpha(pix_fmt: str) -> bool:
    return any(part.is_alpha for part in _format(pix_fmt).components)
