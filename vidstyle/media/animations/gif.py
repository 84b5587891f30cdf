"""Animated GIF, written frame by frame with a palette per frame: none merged, none dropped."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
from av.filter import Graph
from av.video.frame import VideoFrame

from vidstyle.image import Image, to_bytes
from vidstyle.media.animations.read import check_durations, in_ticks, plays
from vidstyle.media.clip import Clip
from vidstyle.media.encoding.movie import writing_media

__all__ = ["write_gif"]

_TICK = Fraction(1, 100)  # GIF counts in hundredths of a second
_FASTEST = 2  # ticks; players slow down shorter frames


def write_gif(clip: Clip, indices: range, frames: Iterable[Image], part: Path) -> list[str]:
    """Write an animated GIF that starts at 0. Returns warnings. Raises OutputError."""
    ticks = in_ticks(clip, indices, _TICK)
    options = {"fflags": "+bitexact", "loop": str(_loop(clip)), "final_delay": str(_last(ticks))}
    with writing_media(part), av.open(f"file:{part}", "w", format="gif", options=options) as out:
        stream: Any = out.add_stream("gif")
        stream.pix_fmt, stream.codec_context.time_base = "pal8", _TICK
        for frame in _with_palettes(frames, ticks[:-1]):
            if not stream.codec_context.is_open:
                stream.width, stream.height = frame.width, frame.height
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    check_durations(part, [10 * (later - earlier) for earlier, later in pairwise(ticks)])
    return _warnings(ticks)


def _last(ticks: list[int]) -> int:
    return ticks[-1] - ticks[-2]


def _loop(clip: Clip) -> int:
    """Return the muxer's loop option: number of repeats, 0: for ever, -1: none."""
    played = plays(clip)
    return played - 1 if played > 1 else -played


def _warnings(ticks: list[int]) -> list[str]:
    if min(later - earlier for earlier, later in pairwise(ticks)) >= _FASTEST:
        return []
    return ["GIF players show frames shorter than 0.02 s slower; .mp4 or .webm keep the timing"]


def _with_palettes(frames: Iterable[Image], ticks: list[int]) -> Iterator[VideoFrame]:
    """Yield the frames with 256 dithered colours each, in order."""
    graph: Graph | None = None
    for image, tick in zip(frames, ticks, strict=True):
        frame = VideoFrame.from_ndarray(to_bytes(image), format="rgb24").reformat(format="rgb32")
        frame.pts, frame.time_base = tick, _TICK
        graph = graph or _palette_graph(frame)
        graph.vpush(frame)
        yield from _pulled(graph)
    if graph:
        graph.vpush(None)
        yield from _pulled(graph)


def _pulled(graph: Graph) -> Iterator[VideoFrame]:
    while True:
        try:
            yield graph.vpull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return


def _palette_graph(frame: VideoFrame) -> Graph:
    """Build the graph split -> palettegen -> paletteuse with a palette per frame."""
    graph = Graph()
    entry = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=_TICK
    )
    split, sink = graph.add("split"), graph.add("buffersink")
    make = graph.add("palettegen", "stats_mode=single:reserve_transparent=0")
    use = graph.add("paletteuse", "new=1:dither=sierra2_4a")
    entry.link_to(split)
    split.link_to(make, 0, 0)
    split.link_to(use, 1, 0)
    make.link_to(use, 0, 1)
    use.link_to(sink)
    graph.configure()
    return graph
