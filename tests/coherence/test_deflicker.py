"""What is shown of a frame trembles less than what was drawn, and is as sharp."""

from collections.abc import Iterator
from itertools import pairwise

import cv2
import numpy as np
import pytest
from films import HEIGHT, WIDTH, Film, shot
from numpy.typing import NDArray
from tiny import LAYERS, TinyEncoder

from vidstyle.coherence import deflicker, warm_start
from vidstyle.coherence.deflicker import FineDetail, PreviousOutput, filtered
from vidstyle.evaluation.metrics import sharpness, warping_error_ruder
from vidstyle.guides.guide import Guide
from vidstyle.jobs.manifest import state_path
from vidstyle.media import Image, from_uint16, load_frame
from vidstyle.settings import Settings
from vidstyle.stylizer.stylizer import Style, Stylizer
from vidstyle.techniques.mask import Mask

EVERYWHERE = np.ones((HEIGHT, WIDTH), bool)
SUPPORT = np.ones((HEIGHT, WIDTH, 1), np.float32)


def uniform(dx: float) -> NDArray[np.float32]:
    return np.full((HEIGHT, WIDTH, 2), (dx, 0), np.float32)


def texture(seed: int = 0, width: int = WIDTH) -> Image:
    """Return strokes of four pixels or so."""
    noise = np.random.default_rng(seed).random((HEIGHT, width, 3), np.float32)
    strokes = cv2.GaussianBlur(noise, (0, 0), 1) - cv2.GaussianBlur(noise, (0, 0), 2)
    return np.clip(0.5 + 0.7 * strokes, 0, 1)


def trembling(count: int = 12, noise: float = 0.08) -> list[Image]:
    """A picture that is drawn a little otherwise in every frame."""
    random = np.random.default_rng(1)
    whole = texture()
    return [
        np.clip(whole + noise * random.standard_normal(whole.shape, np.float32), 0, 1)
        for _ in range(count)
    ]


def panned(count: int = 12, step: float = 0.5) -> list[Image]:
    """A picture that moves by a part of a pixel a frame, and is not blurred by it."""
    wide = texture(width=WIDTH + 32)
    rows, columns = np.indices((HEIGHT, WIDTH), np.float32)
    return [
        np.clip(cv2.remap(wide, columns + 8 + step * i, rows, cv2.INTER_LANCZOS4), 0, 1)
        for i in range(count)
    ]


def redrawn(step: float, noise: float, count: int = 24) -> list[Image]:
    """A picture that moves so, and whose strokes are drawn a little otherwise in every frame."""
    random = np.random.default_rng(1)
    apart = (noise * random.standard_normal((HEIGHT, WIDTH, 3), np.float32) for _ in range(count))
    return [
        np.clip(image + cv2.GaussianBlur(other, (0, 0), 1), 0, 1)
        for image, other in zip(panned(count, step), apart, strict=True)
    ]


def all_shown(drawn: list[Image], dx: float) -> Iterator[Image]:
    """Yield what is shown of frames whose pixels are found dx to the right in the one before."""
    seen = EVERYWHERE.copy()
    seen[:, WIDTH - int(np.ceil(dx)) :] = False
    shown = drawn[0]
    yield shown
    for before, image in pairwise(drawn):
        previous_output = PreviousOutput.along(uniform(dx), shown, before, seen)
        shown = filtered(image, previous_output, image, SUPPORT)
        yield shown


def errors(frames: list[Image], dx: float) -> float:
    pairs = pairwise(frames)
    return float(
        np.mean([warping_error_ruder(now, then, uniform(dx), EVERYWHERE) for then, now in pairs])
    )


def test_what_trembles_is_shown_still() -> None:
    drawn = trembling()
    shown = list(all_shown(drawn, 0))
    assert errors(shown, 0) < 0.1 * errors(drawn, 0)
    clean = np.square(texture() - np.array(drawn[6:])).mean()
    assert np.square(texture() - np.array(shown[6:])).mean() < 0.5 * clean


def test_what_hardly_trembles_is_shown_as_it_is() -> None:
    drawn = trembling(noise=1 / 255)
    for image, shown in zip(drawn, all_shown(drawn, 0), strict=True):
        assert np.abs(image - shown).max() < 0.1 / 255


def test_what_moves_and_hardly_trembles_is_shown_as_it_is() -> None:
    drawn = redrawn(1, 1 / 255)
    for image, shown in zip(drawn, all_shown(drawn, 1), strict=True):
        assert np.abs(image - shown).max() < 0.1 / 255


@pytest.mark.parametrize("step", [0.25, 0.5, 1.0])
def test_what_moves_trembles_less_and_stays_sharp(
    monkeypatch: pytest.MonkeyPatch, step: float
) -> None:
    drawn = redrawn(step, 0.1)
    shown = list(all_shown(drawn, step))
    assert errors(shown, step) < 0.15 * errors(drawn, step)
    ratios = [sharpness(now) / sharpness(then) for then, now in zip(drawn, shown, strict=True)]
    assert min(ratios) > 0.9
    monkeypatch.setattr(deflicker, "_RESTORED", 0.0)
    monkeypatch.setattr(deflicker, "_CRISP", 0.0)
    assert sharpness(list(all_shown(drawn, step))[-1]) < 0.8 * sharpness(shown[-1])


def test_what_comes_to_rest_grows_sharp_little_by_little() -> None:
    drawn = redrawn(0.5, 0.1)
    *_, shown = all_shown(drawn, 0.5)
    apart = np.abs(shown - drawn[-1]).max()
    assert apart > 0.05
    for _ in range(30):
        previous_output = PreviousOutput.along(uniform(0), shown, drawn[-1], EVERYWHERE)
        shown = filtered(drawn[-1], previous_output, drawn[-1], SUPPORT)
        before, apart = apart, np.abs(shown - drawn[-1]).max()
        assert 0.75 * before < apart < 0.85 * before
    assert apart < 0.5 / 255


def test_what_stands_still_and_is_the_same_stays_to_the_bit() -> None:
    image = texture()
    previous_output = PreviousOutput.along(uniform(0), image, image, EVERYWHERE)
    assert np.array_equal(filtered(image, previous_output, image, SUPPORT), image)


def test_what_was_not_seen_before_and_what_is_not_painted_stays_as_it_is() -> None:
    before, image = trembling(2)
    seen, support = EVERYWHERE.copy(), SUPPORT.copy()
    seen[:, :20] = False
    support[:, -20:] = 0
    shown = filtered(image, PreviousOutput.along(uniform(0), before, before, seen), image, support)
    assert np.array_equal(shown[:, :20], image[:, :20])
    assert np.array_equal(shown[:, -20:], image[:, -20:])
    assert np.abs(shown - image)[:, 20:-20].mean() > 0.01


def fine_detail(image: Image, frame: Image, where: NDArray[np.bool_] = EVERYWHERE) -> FineDetail:
    return FineDetail.of(image, frame, where)


def test_the_finest_share_is_how_much_of_the_frame_an_image_has() -> None:
    frame, flat = texture(), np.full((HEIGHT, WIDTH, 3), 0.4, np.float32)
    assert fine_detail(frame, frame).share == pytest.approx(1)
    assert fine_detail(0.3 * frame + 0.7 * flat, frame).share == pytest.approx(0.3)
    assert fine_detail(flat, frame).share == 0
    assert fine_detail(flat, flat).share == 0
    assert abs(fine_detail(texture(5), frame).share) < 0.1
    left = EVERYWHERE.copy()
    left[:, WIDTH // 2 :] = False
    halves = np.where(left[..., None], frame, flat)
    assert fine_detail(halves, frame, left).share == pytest.approx(1, abs=0.05)


def test_the_finest_strength_is_that_of_any_detail_in_that_of_the_frame() -> None:
    frame, flat = texture(), np.full((HEIGHT, WIDTH, 3), 0.4, np.float32)
    assert fine_detail(frame, frame).strength == pytest.approx(1)
    assert fine_detail(0.3 * frame + 0.7 * flat, frame).strength == pytest.approx(0.3)
    assert fine_detail(flat, frame).strength == 0
    assert fine_detail(1 - frame, frame).strength == pytest.approx(1, rel=1e-4)
    assert fine_detail(texture(5), frame).strength == pytest.approx(1, rel=0.1)
    faint = flat + 1e-4 * (frame - flat)
    assert fine_detail(faint, faint).strength < 0.01


@pytest.mark.parametrize("share", [None, -0.2, 0.2, 0.6, 1.7])
def test_what_moves_keeps_what_its_shot_began_with_of_the_finest_detail(
    share: float | None,
) -> None:
    sources = panned()
    flat = np.full_like(sources[0], 0.5)
    drawn = [flat + np.float32(0.3 * 0.8**i) * (image - flat) for i, image in enumerate(sources)]
    shown, first = drawn[0], None if share is None else FineDetail(share)
    for i in range(1, len(drawn)):
        previous_output = PreviousOutput.along(uniform(0.5), shown, drawn[i - 1], EVERYWHERE, first)
        shown = filtered(drawn[i], previous_output, sources[i], SUPPORT)
        has = fine_detail(shown, sources[i]).share
        goal = min(max(share or 0, 0), 1)  # the source itself has no more
        assert 0.9 * goal <= has < max(0.3, 1.05 * goal)
    assert (has < 0.1) == (goal == 0)


def refined(image: Image, source: Image, first: FineDetail) -> Image:
    """Return what is shown of an image that moves and does not tremble."""
    return filtered(
        image, PreviousOutput(image, image, EVERYWHERE, EVERYWHERE, first), source, SUPPORT
    )


@pytest.mark.parametrize("strength", [0.2, 0.5, 0.9])
def test_what_moves_stays_as_strong_in_its_finest_detail(strength: float) -> None:
    source, drawn = texture(), 0.5 + np.float32(0.15) * (texture(5) - 0.5)
    shown = refined(drawn, source, FineDetail(0, strength))
    assert fine_detail(drawn, source).strength < 0.2
    assert fine_detail(shown, source).strength == pytest.approx(strength, rel=0.01)
    assert fine_detail(shown - drawn, source).share > 0.9 * (strength - 0.2)


def test_no_more_finest_detail_is_given_than_the_source_has_nor_where_there_is_enough() -> None:
    source, other = texture(), texture(5)
    flat = np.full_like(source, 0.5)
    shown = refined(flat, source, FineDetail(0, 9))
    assert fine_detail(shown, source).share == pytest.approx(1, abs=0.02)
    assert np.array_equal(refined(other, source, FineDetail(0, 0.5)), other)
    assert np.array_equal(refined(other, flat, FineDetail(0, 9)), other)


def test_the_finest_detail_is_given_back_only_where_it_moves_and_is_painted() -> None:
    source, flat = texture(), np.full((HEIGHT, WIDTH, 3), 0.5, np.float32)
    flow, support = uniform(1), SUPPORT.copy()
    flow[:, :30] = 0
    support[:, 60:] = 0
    shown = filtered(
        flat, PreviousOutput.along(flow, flat, flat, EVERYWHERE, FineDetail(0.5)), source, support
    )
    assert np.array_equal(shown[:, :30], flat[:, :30])
    assert np.array_equal(shown[:, 60:], flat[:, 60:])
    inside = EVERYWHERE.copy()
    inside[:, :32], inside[:, 58:] = False, False
    assert fine_detail(shown, source, inside).share == pytest.approx(0.9 * 0.5, rel=0.05)


def stylizer(temporal_weight: float = 50.0) -> Stylizer:
    settings = Settings(
        steps=4,
        steps_next=3,
        temporal_weight=temporal_weight,
        style_layers=LAYERS,
        content_layers=LAYERS[1:2],
    )
    return Stylizer([Style(texture(3))], technique=Mask(), settings=settings, encoder=TinyEncoder())


@pytest.mark.parametrize("weight", [50.0, 0.0])
def test_the_engine_shows_a_frame_steadied_where_it_paints(weight: float) -> None:
    first, second = shot(1)[:2]
    planes = np.zeros((HEIGHT, WIDTH, 1), np.float32)
    planes[:, 24:] = 1
    guide = Guide(planes, ("mask",))
    earlier = texture(4)
    prior = warm_start.prior(first, second, earlier)
    found = stylizer(weight).stylize(second, guide=guide, prior=prior)
    assert np.array_equal(found.image[:, :24], second[:, :24])
    assert np.array_equal(found.image, found.optimised_image) == (weight == 0)


def test_a_run_shows_what_is_steadied_and_goes_on_from_what_was_drawn(
    film: Film, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier: list[warm_start.StylizedFrame] = []
    usual = warm_start.prior_along

    def spy(
        moved: object, painted: warm_start.StylizedFrame, *rest: object
    ) -> warm_start.TemporalPrior:
        earlier.append(painted)
        return usual(moved, painted, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(warm_start, "prior_along", spy)
    job = film.job("steady", shot(1))
    film.run(job)
    frames = sorted((state_path(job.output) / "frames").glob("*.png"))
    for file, painted in zip(frames, earlier, strict=False):
        assert painted.shown is not None
        assert np.array_equal(load_frame(file), painted.shown)
    second = frames[1].with_suffix(".npz")
    with np.load(second) as notes:
        assert np.array_equal(from_uint16(notes["optimised_image"]), earlier[1].result)
        kept = earlier[1].fine_detail
        assert kept is not None
        assert kept == tuple(notes["fine_detail"]) == earlier[0].fine_detail
    source = next(iter(shot(1)))
    stored = fine_detail(earlier[0].result, source)  # as bytes, which adds a little noise
    assert kept.share == pytest.approx(stored.share, rel=2e-3)
    assert kept.strength == pytest.approx(stored.strength, rel=1e-2)
    assert not np.array_equal(earlier[1].result, earlier[1].shown)
    assert np.array_equal(earlier[0].result, earlier[0].shown)
