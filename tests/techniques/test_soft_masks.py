"""A soft mask blends the output image with the source, but not the optimised image."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from films import HEIGHT, LENGTH, WIDTH, Film, save, shot
from temporal import Recorder
from tiny import LAYERS, TinyEncoder, disc, stripes

from vidstyle import media
from vidstyle.coherence.stylized import Stylized
from vidstyle.guides.guide import Guide
from vidstyle.image import Image
from vidstyle.jobs.manifest import state_path
from vidstyle.settings import Settings
from vidstyle.stylizer.stylizer import Style, Stylizer
from vidstyle.techniques.mask import Mask

FRAME = disc(32, 48)
GREYS = (0.0, 0.25, 0.5, 0.75, 1.0)


def stylised_with(*planes: np.ndarray) -> Stylized:
    """Return FRAME stylised with these planes as masks."""
    settings = Settings(steps=12, style_layers=LAYERS, content_layers=LAYERS[1:2])
    stylizer = Stylizer(
        [Style(stripes(40, 48))], technique=Mask(), settings=settings, encoder=TinyEncoder()
    )
    names = tuple(map(str, range(len(planes))))
    return stylizer.stylize(FRAME, guide=Guide(np.dstack(planes).astype(np.float32), names))


def test_the_change_is_proportional_to_a_grey_mask() -> None:
    found = [stylised_with(np.full(FRAME.shape[:2], grey)) for grey in GREYS]
    changes = [float(np.abs(one.image - FRAME).mean()) for one in found]
    assert changes[0] == 0
    assert np.array_equal(found[0].image, FRAME)
    for grey, change in zip(GREYS, changes, strict=True):
        assert change == pytest.approx(grey * changes[-1], rel=0.15)
    assert np.array_equal(found[-1].image, found[-1].optimised_image)


def test_a_gradient_mask_blends_pixel_by_pixel() -> None:
    ramp = np.tile(np.linspace(-0.2, 1.2, 48, dtype=np.float32).clip(0, 1), (32, 1))
    found = stylised_with(ramp)
    expected = FRAME + ramp[..., None] * (found.optimised_image - FRAME)
    assert np.allclose(found.image, expected, atol=1e-6)
    assert np.array_equal(found.image[ramp == 0], FRAME[ramp == 0])
    assert np.array_equal(found.image[ramp == 1], found.optimised_image[ramp == 1])


@pytest.mark.parametrize("count", [2, 3, 7, 10, 32])
def test_weights_that_add_up_to_1_or_more_are_opaque(count: int) -> None:
    planes = np.full((2, 2, count), 1 / count, np.float32)
    planes[0] = np.minimum(1, 3 * planes[0])
    planes[1, 0] *= 0.5
    weight = Guide(planes, tuple(map(str, range(count)))).weight[..., 0]
    assert np.array_equal(weight[0], [1, 1])
    assert weight[1, 1] == 1
    assert weight[1, 0] == pytest.approx(0.5)


def soft_mask(index: int) -> Image:
    """A mask that moves right 4 pixels a frame, with a wide gradient at either side."""
    across = np.abs(np.arange(WIDTH) - (20 + 4 * index)) / 18
    plane = np.clip(1.4 - across, 0, 1).astype(np.float32)
    return np.tile(plane[:, None], (HEIGHT, 1, 3))


def soft_job(film: Film, tmp_path: Path, name: str, **settings: Any) -> Any:
    masks = save(tmp_path / f"{name}_masks", [soft_mask(index) for index in range(LENGTH)])
    return film.job(name, shot(1), technique="mask", mask=masks, **settings)


@pytest.mark.parametrize("weight", [50.0, 0.0])
def test_a_run_continues_from_the_optimised_image_not_from_the_output_image(
    film: Film, tmp_path: Path, weight: float
) -> None:
    job, recorder = soft_job(film, tmp_path, "soft", temporal_weight=weight), Recorder()
    film.run(job, coherence=recorder)
    made, earlier = recorder.finished, recorder.previous
    files = sorted((state_path(job.output) / "frames").glob("*.png"))
    assert len(made) == len(files) == len(earlier) + 1
    step = 1 / 65535
    for index, (found, source) in enumerate(zip(made, shot(1), strict=True)):
        kept, plane = media.load_frame(files[index]), soft_mask(index)[..., :1]
        blend = source + plane * (found.unblended_image - source)
        assert np.abs(kept - blend).max() < 0.01  # masks and sources are stored in 8 bits
        assert np.abs(kept - found.image).max() < step
        assert np.abs(found.image - found.unblended_image).max() > 0.05
        if index < len(earlier):
            assert np.abs(earlier[index].optimised_image - found.optimised_image).max() < step
            assert earlier[index].unblended_image is not None
            assert np.abs(earlier[index].unblended_image - found.unblended_image).max() < step


def test_a_resumed_run_with_a_soft_mask_gives_the_bytes_of_an_uninterrupted_one(
    film: Film, tmp_path: Path
) -> None:
    whole, broken = (soft_job(film, tmp_path, name) for name in ("whole", "broken"))
    expected = film.run(whole)

    class BreakError(Exception):
        """An exception that ends a run early."""

    def stop(event: Any) -> None:
        if event.name == "frame" and event.index == 1:
            raise BreakError

    with pytest.raises(BreakError):
        film.run(broken, stop)
    assert film.run(broken) == expected
