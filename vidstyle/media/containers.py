"""Containers: the rules of each container of a video output, a row each."""

from dataclasses import dataclass

__all__ = ["CONTAINERS", "MOVIES", "Container"]


@dataclass(frozen=True, kw_only=True)
class Container:
    """The rules of a container.

    suffix: of its files. video: its codecs (see codecs.CODECS), the preferred ones first. sound:
    the encoder of sound that is not copied and not lossless. lossless_sound: the encoders of
    lossless sound, "pcm" for the PCM of its depth; empty: it is encoded like other sound. played:
    sound codecs that common players support (QuickTime, Windows, browsers); None: all that the
    container takes. subtitles: the codec that text subtitles are converted to.
    """

    suffix: str
    video: tuple[str, ...]
    sound: str = "aac"
    lossless_sound: tuple[str, ...] = ()
    played: frozenset[str] | None = None
    subtitles: str


_PLAYED = frozenset({"aac", "mp3", "ac3", "eac3", "alac"})
CONTAINERS = {  # by FFmpeg's name of the format
    "mp4": Container(
        suffix=".mp4",
        video=("h264", "hevc", "av1"),
        played=_PLAYED | {"flac", "opus"},
        subtitles="mov_text",
    ),
    "mov": Container(
        suffix=".mov",
        video=("h264", "hevc", "prores"),
        lossless_sound=("pcm",),
        played=_PLAYED | {"adpcm_ima_qt"},
        subtitles="mov_text",
    ),
    "matroska": Container(
        suffix=".mkv",
        video=("h264", "hevc", "vp9", "av1", "prores", "ffv1"),
        lossless_sound=("pcm", "flac"),
        subtitles="srt",
    ),
    "webm": Container(suffix=".webm", video=("vp9", "av1"), sound="libopus", subtitles="webvtt"),
}
MOVIES = {row.suffix: name for name, row in CONTAINERS.items()}  # FFmpeg's name by suffix
