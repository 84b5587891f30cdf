"""Generate all files of samples/: rendered scenes, painted styles, maps, masks and a clip.

Takes a few minutes. The same versions of the packages give the same pictures.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from samples.generator.drawing import (
    Array,
    bytes_of,
    generator,
    grid,
    mix,
    rgb,
    save,
    smoothstep,
    spectral_noise,
)
from samples.generator.painting import wave_painting
from samples.generator.prints import stained_glass, woodcut
from samples.generator.rendering import LABELS, Scene, View, render
from samples.generator.scenes import flying, photo, sailing

SAMPLES = Path(__file__).parent.parent
COLOURS = dict(zip(LABELS, rgb("0000ff", "00ffff", "00ff00", "ff0000"), strict=True))
RATE, FRAMES, CUT = 12, 24, 14
SOUND = 44100  # samples a second


def coloured(labels: Array) -> Array:
    """Return the label map of label indices."""
    return np.stack([COLOURS[name] for name in LABELS])[labels]


def main() -> None:
    """Write every sample."""
    painting, labels = wave_painting(640, 480)
    styles = {"style": painting, "style2": woodcut(640, 480), "style3": stained_glass(640, 480)}
    for name, picture in styles.items():
        save(SAMPLES / f"{name}.jpg", picture, quality=92)
    save(SAMPLES / "style_map.png", coloured(labels))
    view = render(photo(), 480, 320)
    save_view("photo", view)
    doodles()
    references(view.image, painting)
    views = [render(shot(index), 320, 180) for index in range(FRAMES)]
    clip(SAMPLES / "clip.mp4", [view.image for view in views])
    for index, view in enumerate(views):
        save(SAMPLES / "clip_masks" / f"{index:06}.png", view.mask)
        if index in (0, 7, CUT, 19):
            save(SAMPLES / "clip_map_keys" / f"{index:06}.png", coloured(view.labels))


def save_view(name: str, view: View) -> None:
    """Write a picture, its map and the mask of its subject, slightly soft."""
    grain = generator("grain").normal(0, 0.008, view.labels.shape)[..., None]
    save(SAMPLES / f"{name}.png", view.image + grain)
    save(SAMPLES / f"{name}_map.png", coloured(view.labels))
    save(SAMPLES / f"{name}_mask.png", cv2.GaussianBlur(view.mask.astype(np.float32), (0, 0), 1.5))


def shot(index: int) -> Scene:
    """Return the scene of a frame: a boat behind a rock, then, after a hard cut, a balloon."""
    return sailing(index / RATE) if index < CUT else flying((index - CUT) / RATE)


def doodles() -> None:
    """Write eight flat drawings in which a boat sails and waves roll; the first is doodle.png."""
    x, y = grid(384, 256)
    for index in range(8):
        t = index / 8
        horizon = 0.55 + 0.02 * np.sin(7 * x + 6 * t)
        labels = np.where(y > horizon, LABELS.index("sea"), LABELS.index("sky"))
        hill = 0.32 * np.exp(-(((x - 1.15) / 0.28) ** 2))
        land = (hill > 0.03) & (y > 0.55 - hill) & (y <= horizon)
        labels = np.where(land, LABELS.index("land"), labels)
        across, down = x - 0.3 - 0.5 * t, y - 0.58 - 0.01 * np.sin(6 * t)
        hull = (down > 0) & (down < 0.09) & (np.abs(across) < 0.16 - 0.8 * down)
        sail = (down < -0.01) & (down > -0.3) & (across > 0) & (across < 0.14 * (1 + down / 0.3))
        labels = np.where(hull | sail, LABELS.index("subject"), labels)
        save(SAMPLES / "doodles" / f"{index:06}.png", coloured(labels))
        if index == 0:
            save(SAMPLES / "doodle.png", coloured(labels))


def references(scene: Array, painting: Array) -> None:
    """Write the three pictures for the normalisation of networks."""
    folder = SAMPLES / "reference"
    save(folder / "1_scene.png", scene[60:284, 130:354])
    save(folder / "2_collage.png", collage(224))
    save(folder / "3_painting.png", painting[110:334, 230:454])


def collage(side: int) -> Array:
    """Return a grid of stripes, dots, edges and noise in many directions, scales and hues."""
    rng, cells, cell = generator("collage"), 8, side // 8
    x, y = grid(cell, cell)
    picture = np.zeros((side, side, 3), np.float32)
    for row in range(cells):
        for column in range(cells):
            angle, pitch = rng.uniform(0, np.pi), 2 ** rng.uniform(0.3, 4) * np.pi
            along, across = (
                x * np.cos(angle) + y * np.sin(angle),
                y * np.cos(angle) - x * np.sin(angle),
            )
            kind = rng.integers(0, 5)
            share = [
                0.5 + 0.5 * np.sin(pitch * along),
                smoothstep(-0.2, 0.2, np.sin(pitch * along) * np.sin(pitch * across)),
                smoothstep(0.5, 0.45, np.hypot(x - 0.5, y - 0.5) * rng.uniform(1, 2.5)),
                smoothstep(-0.05, 0.05, along - rng.uniform(0, 0.8)),
                0.5 + 0.25 * spectral_noise(x.shape, rng.uniform(0.5, 1.5), f"cell{row}{column}"),
            ][kind]
            first, second = rng.random((2, 3)).astype(np.float32)
            tile = mix(np.broadcast_to(first, (cell, cell, 3)), second, share.clip(0, 1))
            picture[row * cell : (row + 1) * cell, column * cell : (column + 1) * cell] = tile
    return picture


def clip(path: Path, frames: Iterable[Array]) -> None:
    """Write the frames as H.264 (bt709, tagged) with a melody of the same length."""
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        container.flags |= av.container.Flags.bitexact.value
        video = container.add_stream("libx264", rate=RATE, options={"crf": "17", "threads": "1"})
        video.width, video.height, video.pix_fmt = 320, 180, "yuv420p"
        context = video.codec_context
        context.color_primaries = context.color_trc = context.colorspace = 1
        context.color_range = 1
        audio = container.add_stream("aac", rate=SOUND, layout="mono")
        for picture in frames:
            frame = av.VideoFrame.from_ndarray(bytes_of(picture), format="rgb24")
            container.mux(video.encode(frame.reformat(format="yuv420p", dst_colorspace=1)))
        container.mux(video.encode())
        sound = av.AudioFrame.from_ndarray(melody()[None], format="fltp", layout="mono")
        sound.sample_rate, sound.pts, sound.time_base = SOUND, 0, Fraction(1, SOUND)
        container.mux(audio.encode(sound))
        container.mux(audio.encode())


def melody() -> Array:
    """Return two seconds of a plucked tune, float32."""
    time = np.arange(2 * SOUND) / SOUND
    tune = np.zeros_like(time)
    for begin, note in enumerate((57, 64, 69, 73, 76, 73, 69, 64)):
        since = time - begin / 4
        tone = sum(
            np.sin(2 * np.pi * 440 * 2 ** ((note - 69) / 12) * k * since) / k**2 for k in (1, 2, 3)
        )
        tune += np.where(since >= 0, tone * np.exp(-3.5 * since.clip(0)), 0)
    fade = np.minimum(1, (2 - time) * 8)
    return (0.2 * tune * fade).astype(np.float32)


if __name__ == "__main__":
    main()
