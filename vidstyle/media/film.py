"""Film: which video stream of a file is stylised; and what its frames carry beside pixels."""

from fractions import Fraction

from av.container import InputContainer
from av.filter import Graph
from av.sidedata.sidedata import Type
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vidstyle.media.continuity import Timeline

__all__ = ["candidates", "choose_film", "has_side_data", "told_of"]

# Streams that show pictures beside a film, by what the container says of them.
_BESIDE = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
_AS_LONG = 0.9  # share of the longest stream's length from which on another counts as long


def candidates(container: InputContainer) -> list[VideoStream]:
    """Return the video streams that may be the film: no cover; thumbnails only if there is no more.

    Some have no codec_context, where the codec is not known.
    """
    timed = [
        stream
        for stream in container.streams.video
        if stream.time_base and not stream.disposition & Disposition.attached_pic
    ]
    return [stream for stream in timed if not stream.disposition & _BESIDE] or timed


def choose_film(streams: list[VideoStream], timeline: Timeline) -> VideoStream:
    """Return the film among video streams: the default, else the longest and largest.

    A stream of one packet is a still and never taken beside one of more. Of several defaults, as
    Matroska makes all streams that do not say otherwise, the longest and largest is taken; of
    streams about as long, the largest; of equals, the first.
    """
    moving = [stream for stream in streams if timeline.packets.get(stream.index, 0) > 1]
    chosen = moving or streams
    chosen = [s for s in chosen if s.disposition & Disposition.default] or chosen
    longest = max(timeline.seconds.get(stream.index, 0) for stream in chosen)
    long = [s for s in chosen if timeline.seconds.get(s.index, 0) >= _AS_LONG * longest]
    return max(long, key=_area)


def _area(stream: VideoStream) -> int:
    return stream.width * stream.height if stream.codec_context else 0


def told_of(film: VideoStream, container: InputContainer, timeline: Timeline) -> str | None:
    """Return a sentence on which stream was taken as the film; None if there is but one video."""
    others = [
        stream
        for stream in container.streams.video
        if stream.index != film.index and not stream.disposition & Disposition.attached_pic
    ]
    if not others:
        return None
    rest = ", ".join(_named(stream, timeline) for stream in others)
    return (
        f"of {len(others) + 1} video streams, {_named(film, timeline)} is taken as the film; not "
        f"stylised: {rest}"
    )


def _named(stream: VideoStream, timeline: Timeline) -> str:
    name = stream.codec_context.name if stream.codec_context else "unknown codec"
    size = f"{stream.width}x{stream.height}" if stream.codec_context else "unknown size"
    count = timeline.packets.get(stream.index, 0)
    length = f"{timeline.seconds.get(stream.index, 0):.2f} s" if count > 1 else f"{count} frame(s)"
    return f"stream {stream.index} ({name}, {size}, {length})"


def has_side_data(frame: VideoFrame, kind: Type) -> bool:
    """Tell whether a decoded frame carries side data of a kind.

    PyAV lists a frame's side data only if it knows all its kinds; where FFmpeg is newer than that
    list, FFmpeg's own filter is asked.
    """
    try:
        return kind in frame.side_data
    except ValueError:
        graph = Graph()
        base = frame.time_base or Fraction(1)
        nodes = (
            graph.add_buffer(None, frame.width, frame.height, frame.format, time_base=base),
            graph.add("sidedata", f"mode=select:type={kind.value}"),
            graph.add("buffersink"),
        )
        graph.link_nodes(*nodes).configure()
        graph.push(frame)
        graph.push(None)
        try:
            graph.pull()
        except (BlockingIOError, EOFError):
            return False
        return True
