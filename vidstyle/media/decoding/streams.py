"""Choice of the main video stream of a file; side data of its frames."""

from fractions import Fraction

from av.container import InputContainer
from av.filter import Graph
from av.sidedata.sidedata import Type
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vidstyle.media.decoding.continuity import Timeline

__all__ = ["candidates", "choose_main_stream", "has_side_data", "streams_note"]

# Dispositions of video streams that are not the main one.
_AUXILIARY = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
_AS_LONG = 0.9  # share of the longest stream's length from which a stream counts as equally long


def candidates(container: InputContainer) -> list[VideoStream]:
    """Return the video streams that may be the main one: no covers; thumbnails only if alone.

    A stream with an unknown codec has no codec_context.
    """
    timed = [
        stream
        for stream in container.streams.video
        if stream.time_base and not stream.disposition & Disposition.attached_pic
    ]
    return [stream for stream in timed if not stream.disposition & _AUXILIARY] or timed


def choose_main_stream(streams: list[VideoStream], timeline: Timeline) -> VideoStream:
    """Return the main video stream: the default, else the longest and largest.

    A stream of one packet is a still, chosen only if all are stills. Of several defaults
    (Matroska's own default), the longest and largest is chosen; of about equally long ones, the
    largest; of equals, the first.
    """
    moving = [stream for stream in streams if timeline.packets.get(stream.index, 0) > 1]
    chosen = moving or streams
    chosen = [s for s in chosen if s.disposition & Disposition.default] or chosen
    longest = max(timeline.seconds.get(stream.index, 0) for stream in chosen)
    long = [s for s in chosen if timeline.seconds.get(s.index, 0) >= _AS_LONG * longest]
    return max(long, key=_area)


def _area(stream: VideoStream) -> int:
    return stream.width * stream.height if stream.codec_context else 0


def streams_note(main: VideoStream, container: InputContainer, timeline: Timeline) -> str | None:
    """Return a note on which video stream is stylised; None if there is only one."""
    others = [
        stream
        for stream in container.streams.video
        if stream.index != main.index and not stream.disposition & Disposition.attached_pic
    ]
    if not others:
        return None
    rest = ", ".join(_stream_text(stream, timeline) for stream in others)
    return (
        f"of {len(others) + 1} video streams, {_stream_text(main, timeline)} is stylised; not "
        f"stylised: {rest}"
    )


def _stream_text(stream: VideoStream, timeline: Timeline) -> str:
    name = stream.codec_context.name if stream.codec_context else "unknown codec"
    size = f"{stream.width}x{stream.height}" if stream.codec_context else "unknown size"
    count = timeline.packets.get(stream.index, 0)
    length = f"{timeline.seconds.get(stream.index, 0):.2f} s" if count > 1 else f"{count} frame(s)"
    return f"stream {stream.index} ({name}, {size}, {length})"


def has_side_data(frame: VideoFrame, kind: Type) -> bool:
    """Whether a decoded frame has side data of a kind.

    PyAV lists side data only if it knows all kinds present; otherwise FFmpeg's filter reports it.
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
