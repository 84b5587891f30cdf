"""Video of the warping error per pixel."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np

from vidstyle import media
from vidstyle.evaluation import metrics
from vidstyle.motion.flow import optical_flow
from vidstyle.motion.warp import sample

_GAIN = 4.0  # brightness of the differences
_SCALE = 3  # pixels per pixel


def show_differences(source: Path, arms: Sequence[Path], video: Path) -> None:
    """Write a video with a column for each arm: its frames above their warping errors.

    The error is |O_t − W(O_t+1)| with the next frame warped back as in Lai et al. (2018), times
    _GAIN, 0 in occlusions. source, arms: folders of pictures.
    """
    rows = list(_rows(source, arms))
    height, width = rows[0].shape[:2]
    writer = imageio_ffmpeg.write_frames(str(video), (width, height), fps=6, macro_block_size=2)
    writer.send(None)
    for row in rows:
        writer.send(np.ascontiguousarray(row))
    writer.close()


def _rows(source: Path, arms: Sequence[Path]) -> Iterator[np.ndarray]:
    """Yield the frames of the video, uint8 [H, W, 3]."""
    sources = list(_frames(source))
    results = [list(_frames(arm)) for arm in arms]
    for index in range(len(sources) - 1):
        there = optical_flow(sources[index], sources[index + 1])
        back = optical_flow(sources[index + 1], sources[index])
        visible = metrics.visible(there, back)[..., None]
        columns = []
        for frames in results:
            error = np.abs(frames[index] - sample(frames[index + 1], there)) * visible
            columns.append(np.vstack([frames[index], np.clip(_GAIN * error, 0, 1)]))
        row = np.rint(np.hstack(columns) * 255).astype(np.uint8)
        yield cv2.resize(row, None, fx=_SCALE, fy=_SCALE, interpolation=cv2.INTER_NEAREST)


def _frames(folder: Path) -> Iterator[np.ndarray]:
    clip = media.probe(folder, rate=Fraction(24))
    return iter(media.read(clip, range(clip.frames)))
