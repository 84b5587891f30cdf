"""Show coherence: what a warping error is the mean of, as a film to look at."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np

from vidstyle import media
from vidstyle.evaluation import metrics
from vidstyle.motion.flow import optical_flow

_GAIN = 4.0  # of a difference, to be seen
_ENLARGED = 3  # times, each pixel


def show_differences(source: Path, arms: Sequence[Path], film: Path) -> None:
    """Write a film with a column an arm: its frames, and how far each is from the one before.

    Below is |O_t − W(O_t+1)|, the later frame warped back as in Lai's error, four times as bright;
    black where nothing is to be seen in both. source, arms: folders of pictures.
    """
    rows = list(_rows(source, arms))
    height, width = rows[0].shape[:2]
    writer = imageio_ffmpeg.write_frames(str(film), (width, height), fps=6, macro_block_size=2)
    writer.send(None)
    for row in rows:
        writer.send(np.ascontiguousarray(row))
    writer.close()


def _rows(source: Path, arms: Sequence[Path]) -> Iterator[np.ndarray]:
    """Yield uint8 pictures: all arms at one moment."""
    sources = list(_frames(source))
    made = [list(_frames(arm)) for arm in arms]
    for index in range(len(sources) - 1):
        there = optical_flow(sources[index], sources[index + 1])
        back = optical_flow(sources[index + 1], sources[index])
        seen = metrics.visible(there, back)[..., None]
        columns = []
        for frames in made:
            apart = np.abs(frames[index] - metrics.warped(frames[index + 1], there)) * seen
            columns.append(np.vstack([frames[index], np.clip(_GAIN * apart, 0, 1)]))
        row = np.rint(np.hstack(columns) * 255).astype(np.uint8)
        yield cv2.resize(row, None, fx=_ENLARGED, fy=_ENLARGED, interpolation=cv2.INTER_NEAREST)


def _frames(folder: Path) -> Iterator[np.ndarray]:
    clip = media.probe(folder, rate=Fraction(24))
    return iter(media.read(clip, range(clip.frames)))
