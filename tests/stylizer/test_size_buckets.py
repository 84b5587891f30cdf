"""SizeBuckets: few traces for many sizes, and results independent of other images."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tiny import LAYERS, TinyEncoder, disc, stripes

from vidstyle.guides.guide import Guide
from vidstyle.image import Image
from vidstyle.settings import Settings
from vidstyle.stylizer.protocol import IdentityStylizer, Stylized
from vidstyle.stylizer.size_buckets import SizeBuckets, padded_side
from vidstyle.stylizer.stylizer import Style, Stylizer
from vidstyle.techniques.mask import Mask


def engine(**given: Any) -> Stylizer:
    settings = Settings(steps=4, style_layers=LAYERS, content_layers=LAYERS[1:2])
    style = Style(stripes(40, 48))
    return Stylizer([style], settings=settings, encoder=TinyEncoder(), **given)


def test_sides_grow_by_six_percent_at_most_to_sixteen_an_octave() -> None:
    sides = range(128, 4097)
    grown = [padded_side(side) for side in sides]
    assert all(side <= big <= 1.0625 * side for side, big in zip(sides, grown, strict=True))
    assert len(set(grown)) == 5 * 16 + 1
    assert [padded_side(side) for side in (1, 16, 33, 512, 384, 288)] == [8, 16, 40, 512, 384, 288]


def test_a_result_keeps_its_own_size() -> None:
    picture = disc(37, 61)
    assert np.array_equal(SizeBuckets(IdentityStylizer()).stylize(picture).image, picture)


def test_images_of_steps_have_no_padding() -> None:
    images: list[Image] = []

    def progress(count: int, total: float, image: Callable[[], Image]) -> None:
        images.append(image())

    picture = disc(37, 330)  # levels of 256 and 330 pixels, padded: 31 x 265 and 40 x 336
    found = SizeBuckets(engine()).stylize(picture, progress=progress)
    assert [image.shape for image in images] == [(28, 251, 3)] * 4 + [(37, 330, 3)] * 2
    assert any(np.array_equal(image, found.image) for image in images)


def test_many_sizes_take_few_traces() -> None:
    inner = engine()
    for height in range(33, 41):
        assert SizeBuckets(inner).stylize(disc(height, 80 - height)).image.shape == (
            height,
            80 - height,
            3,
        )
    assert inner.traces == 2


def test_a_result_does_not_depend_on_other_images() -> None:
    pictures = [disc(36, 50), disc(40, 56), disc(33, 49, x=0.3)]
    together = SizeBuckets(engine())
    for picture in [*pictures, *reversed(pictures)]:
        alone = SizeBuckets(engine()).stylize(picture)
        assert np.array_equal(together.stylize(picture).image, alone.image)


def test_a_guide_is_padded_like_its_image() -> None:
    seen = []

    class Watcher:
        def stylize(self, content: Any, *, guide: Any, **_: Any) -> Stylized:
            seen.append((content, guide.planes))
            return Stylized(content, {}, 7)

    planes = np.random.default_rng(0).random((20, 30, 2), np.float32)
    result = SizeBuckets(Watcher()).stylize(disc(20, 30), guide=Guide(planes, ("a", "b")))
    (content, grown), *_ = seen
    assert (content.shape, grown.shape) == ((24, 32, 3), (24, 32, 2))
    assert np.array_equal(grown[20:, :30], planes[:15:-1])
    assert result.evaluations == 7


@pytest.mark.parametrize("side", [20, 24])
def test_pixels_outside_a_mask_stay_as_they_are(side: int) -> None:
    picture = disc(side, 40)
    planes = np.zeros((side, 40, 1), np.float32)
    planes[4:12, 4:12] = 1
    found = SizeBuckets(engine(technique=Mask())).stylize(picture, guide=Guide(planes, ("mask 1",)))
    assert np.array_equal(found.image[12:], picture[12:])
    assert not np.array_equal(found.image[:12], picture[:12])
