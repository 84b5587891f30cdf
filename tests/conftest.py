"""Fixtures: small inputs created for each test."""

import signal
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
import PIL.Image
import pytest

if TYPE_CHECKING:
    from films import Film

WIDTH, HEIGHT, FRAMES = 128, 96, 6
# Background jobs of a shell ignore SIGINT, and so would the runs that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


def scene(index: int) -> np.ndarray:
    """A bright square that moves right by 4 pixels per frame: uint8 [H, W, 3]."""
    ramp = np.linspace(40, 160, WIDTH, dtype=np.uint8)
    image = np.repeat(np.tile(ramp, (HEIGHT, 1))[..., None], 3, axis=2)
    image[30:62, 8 + 4 * index : 40 + 4 * index] = (230, 90, 40)
    return image


def write_clip(path: Path, frames: int = FRAMES) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(30000, 1001))
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for index in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(scene(index), format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A video of 6 frames, 128 x 96."""
    return write_clip(tmp_path / "clip.mp4")


@pytest.fixture
def animation(tmp_path: Path) -> Path:
    """An animated GIF of 6 frames."""
    path = tmp_path / "moving.gif"
    first, *rest = (PIL.Image.fromarray(scene(index)) for index in range(FRAMES))
    first.save(path, save_all=True, append_images=rest, duration=80, loop=0)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of three pictures of different sizes."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for index, side in enumerate((24, 32, 40)):
        PIL.Image.fromarray(scene(index)).resize((48, side)).save(folder / f"photo{index}.png")
    return folder


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    PIL.Image.fromarray(scene(0)).save(path)
    return path


def write_style(path: Path) -> Path:
    PIL.Image.fromarray(scene(3)[::-1]).save(path)
    return path


@pytest.fixture
def style(tmp_path: Path) -> Path:
    return write_style(tmp_path / "wave.png")


@pytest.fixture
def film(tmp_path: Path, style: Path) -> "Film":
    from films import Film

    return Film(tmp_path, style)


@pytest.fixture(scope="module")
def shared_film(tmp_path_factory: pytest.TempPathFactory) -> "Film":
    """For a run that several tests of a module compare with or continue."""
    from films import Film

    folder = tmp_path_factory.mktemp("shared")
    return Film(folder, write_style(folder / "wave.png"))
