"""Channel layouts: the speaker of each channel of an audio stream.

PyAV 18.1 frees the channel map of a custom layout twice, with the `AudioLayout` object and with
the context it was read from, which aborts the process. Therefore `settle` replaces a decoder's
layout before its first packet, `decoded` keeps a reference to the layout of a frame whose decoder
makes a custom one, and no other code reads the layout of an input stream.
"""

import ctypes
from dataclasses import dataclass
from functools import cache
from typing import Any

from av.audio.layout import AudioLayout

__all__ = ["Channels", "decoded", "holds", "layout_names", "merged", "named", "settle", "speakers"]

# FFmpeg's named layouts, without binaural and downmix, which are stereo by another name.
_STANDARD = (
    "mono", "stereo", "2.1", "3.0", "3.0(back)", "4.0", "quad", "quad(side)", "3.1", "5.0",
    "5.0(side)", "4.1", "5.1", "5.1(side)", "6.0", "6.0(front)", "3.1.2", "hexagonal", "6.1",
    "6.1(back)", "6.1(front)", "7.0", "7.0(front)", "7.1", "7.1(wide)", "7.1(wide-side)", "5.1.2",
    "5.1.2(back)", "octagonal", "cube", "5.1.4", "7.1.2", "7.1.4", "7.2.3", "9.1.4", "9.1.6",
    "hexadecagonal", "22.2",
)  # fmt: skip
# Ambisonic layouts; the first channel (W) is omnidirectional.
_AMBISONIC = ("ambisonic 1", "ambisonic 2", "ambisonic 3")
_BACK = {"SL": "BL", "SR": "BR"}


@dataclass(frozen=True)
class Channels:
    """The channels of an audio stream, in stored order.

    layout: the layout given to the decoder: a standard name, or e.g. "12 channels".
    names: the speaker of each channel ("FL", "LFE", …), () if unknown.
    """

    layout: str
    names: tuple[str, ...]

    @property
    def count(self) -> int:
        """The number of channels."""
        return AudioLayout(self.layout).nb_channels

    @property
    def reordered(self) -> bool:
        """Whether the stored channel order differs from that of `layout`."""
        return bool(self.names) and self.names != speakers(self.layout)


def settle(context: Any) -> Channels:
    """Give an audio decoder a named layout before it is opened.

    An unnamed layout becomes FFmpeg's default for its number of channels (1 mono, 2 stereo, 6 5.1,
    …); the speakers of a custom layout are returned. Raises ValueError for a stream without
    channels.
    """
    found = context.layout
    count = found.nb_channels
    if not count:
        raise ValueError("no channels")
    name = named(found)
    names = tuple(channel.name for channel in found.channels)
    if not _is_known(names):
        names = ()
    layout = name or _default(count)
    # After this assignment the channel map belongs to `found` alone, which frees it once.
    context.layout = layout
    return Channels(layout=layout, names=names)


def decoded(context: Any, packet: Any) -> list[Any]:
    """Return the audio frames decoded from a packet. Raises the decoder's exceptions."""
    frames = context.decode(packet)
    for frame in frames:
        if named(frame.layout) is None and frame.layout.channels[0].name != "NONE":
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(frame.layout))
    return list(frames)


def named(layout: AudioLayout) -> str | None:
    """Return the standard name of a layout, None if it has none. Safe for custom layouts."""
    known = _layouts(_STANDARD) | _layouts(_AMBISONIC)
    return next((name for name, one in known.items() if one == layout), None)


@cache
def _layouts(names: tuple[str, ...] = _STANDARD) -> dict[str, AudioLayout]:
    """Return the layouts that this FFmpeg knows."""
    found = {}
    for name in names:
        try:
            found[name] = AudioLayout(name)
        except ValueError:  # introduced by a later FFmpeg
            continue
    return found


def layout_names() -> tuple[str, ...]:
    """Return the names of the standard layouts, in order of channel count."""
    return tuple(sorted(_layouts(), key=lambda name: _layouts()[name].nb_channels))


@cache
def speakers(layout: str) -> tuple[str, ...]:
    """Return the speaker of each channel of a named layout, () if it has no name."""
    names = tuple(channel.name for channel in AudioLayout(layout).channels)
    return names if _is_known(names) else ()


@cache
def _every_speaker() -> frozenset[str]:
    return frozenset(channel.name for layout in _layouts().values() for channel in layout.channels)


def _is_known(names: tuple[str, ...]) -> bool:
    """Whether all channels have known, distinct speakers."""
    return len(set(names)) == len(names) and _every_speaker().issuperset(names)


def _default(count: int) -> str:
    try:
        return named(AudioLayout(f"{count}c")) or f"{count} channels"
    except ValueError:  # FFmpeg has no default for this number
        return f"{count} channels"


def holds(layout: str, names: tuple[str, ...]) -> bool:
    """Whether a named layout has all of these speakers, side and back ones being the same."""
    return set(merged(speakers(layout))) >= set(merged(names))


def merged(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the speakers with side ones renamed to back if there are no back ones.

    5.1 and 5.1(side) are the same sound; the name depends on the codec.
    """
    if set(_BACK.values()) & set(names):
        return names
    return tuple(_BACK.get(name, name) for name in names)
