"""Masks of single images: salient, clicked, framed or painted objects; soft edges."""

import cv2
import numpy as np
import pytest
import segments

from vidstyle import segmentation
from vidstyle.errors import GuideError, UsageError
from vidstyle.segmentation import sam
from vidstyle.segmentation.matting import matted

HEIGHT, WIDTH = 90, 160
CENTRE, BOX = (95, 45), (60.0, 20.0, 130.0, 70.0)


@pytest.fixture
def image() -> np.ndarray:
    """A red disc of radius 20 on a grey ground."""
    picture = np.full((HEIGHT, WIDTH, 3), 0.4, np.float32)
    picture[disc() > 0] = (0.9, 0.2, 0.2)
    return picture


def disc() -> np.ndarray:
    return cv2.circle(np.zeros((HEIGHT, WIDTH), np.uint8), CENTRE, 20, 1, cv2.FILLED)


def overlap(mask: np.ndarray) -> float:
    found = mask > 0.5
    return float((found & (disc() > 0)).sum() / (found | (disc() > 0)).sum())


@pytest.fixture
def decoder(monkeypatch: pytest.MonkeyPatch) -> segments.Decoder:
    return segments.install(monkeypatch)


def check_form(mask: np.ndarray) -> None:
    assert mask.shape == (HEIGHT, WIDTH)
    assert mask.dtype == np.float32
    assert mask.min() == 0
    assert mask.max() == 1


# Salient objects


def test_what_stands_out_is_found_at_the_size_of_the_image(image, decoder):
    mask = segmentation.saliency(image)
    check_form(mask)
    assert overlap(mask) > 0.9


def test_where_nothing_stands_out_there_is_one_sentence(image, decoder):
    with pytest.raises(GuideError, match="stands out for --mask auto, got none; select one"):
        segmentation.saliency(np.full_like(image, 0.4))


# Clicks and boxes


@pytest.mark.parametrize("prompt", [{"points": [CENTRE], "labels": [1]}, {"box": BOX}])
def test_an_object_is_found_by_a_click_or_a_box(image, decoder, prompt):
    mask = segmentation.select(image, **prompt)
    check_form(mask)
    assert overlap(mask) > 0.9


def test_padding_goes_with_points_and_never_with_a_box(image, decoder):
    selector = segmentation.Selector(image)
    selector.select([CENTRE], [1])
    selector.select([CENTRE, (5, 5)], [1, 0])
    selector.select([CENTRE], [1], BOX)
    kinds = [inputs["point_labels"][0].tolist() for inputs in decoder.inputs]
    assert kinds == [[1, -1], [1, 0, -1], [1, 2, 3]]
    np.testing.assert_allclose(decoder.inputs[0]["point_coords"][0, 0], np.array(CENTRE) * 6.4)


def test_a_previous_mask_is_fed_back_as_logits_of_the_visible_part(image, decoder):
    selector = segmentation.Selector(image)
    selector.select([CENTRE], [1], previous=selector.select([CENTRE], [1]))
    first, second = decoder.inputs
    assert first["has_mask_input"] == 0
    assert second["has_mask_input"] == 1
    known = second["mask_input"][0, 0]
    assert known.shape == (256, 256)
    assert known[int(45 * 1.6), int(95 * 1.6)] > 5
    assert known[:144].min() < -5  # beside the disc
    assert known[144:].max() < -5  # padding below a wide image


def test_several_clicks_are_given_one_after_another(image, decoder):
    from vidstyle.segmentation.prompts import Prompt

    segmentation.Selector(image).stepwise(Prompt((CENTRE, (90, 40)), ((5.0, 5.0),)))
    assert [inputs["point_labels"].shape[1] for inputs in decoder.inputs] == [2, 3, 4]
    assert [float(inputs["has_mask_input"][0]) for inputs in decoder.inputs] == [0, 1, 1]


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ({}, "expected a click on the object or a box"),
        ({"points": [(160, 10)], "labels": [1]}, "--click 160,10: expected a place within"),
        ({"points": [CENTRE, (3, -1)], "labels": [1, 0]}, "--exclude 3,-1: expected a place"),
        ({"points": [CENTRE], "labels": [2]}, "expected a label 0 or 1"),
        ({"box": (10, 10, 10, 40)}, "got a box of no area"),
        ({"box": (200, 10, 300, 40)}, "expected a box that touches the picture"),
    ],
)
def test_a_prompt_that_means_nothing_is_refused(image, decoder, prompt, message):
    for find in (segmentation.select, segmentation.grab_cut):
        if prompt or find is segmentation.select:
            with pytest.raises(UsageError, match=message):
                find(image, **prompt)


@pytest.mark.parametrize(("logit", "got"), [(-9, "nothing"), (9, "the whole picture")])
def test_a_click_on_nothing_is_one_sentence(image, decoder, monkeypatch, logit, got):
    answer = [np.full((1, 1, 256, 256), logit, np.float32)]
    monkeypatch.setattr(decoder, "run", lambda *_: answer)
    with pytest.raises(GuideError, match=f"got {got}; click on the middle"):
        segmentation.select(image, [CENTRE], [1])


def test_without_the_extra_the_sentence_says_what_to_install(image, monkeypatch):
    monkeypatch.setattr(sam, "has_click_model", lambda: False)
    with pytest.raises(UsageError, match=r'pip install "vidstyle\[subject\]", or use --grabcut'):
        segmentation.select(image, [CENTRE], [1])


# GrabCut


def test_grab_cut_finds_the_object_in_a_box_and_under_strokes(image):
    strokes = np.zeros((HEIGHT, WIDTH), np.uint8)
    strokes[40:50, 88:102], strokes[5:12] = 1, 2
    for given in ({"box": BOX}, {"strokes": strokes}):
        mask = segmentation.grab_cut(image, **given)
        check_form(mask)
        assert overlap(mask) > 0.9, given


def test_grab_cut_gives_the_same_mask_each_time(image):
    noisy = np.clip(image + np.random.default_rng(0).normal(0, 0.05, image.shape), 0, 1)
    masks = [segmentation.grab_cut(noisy.astype(np.float32), box=BOX) for _ in range(2)]
    assert np.array_equal(*masks)


# Soft edges


def test_an_edge_that_is_a_little_off_moves_to_that_of_the_image(image):
    moved = np.roll(disc(), 1, axis=1).astype(np.float32)
    assert overlap(matted(image, moved)) > overlap(moved) + 0.02


def test_fine_structures_become_partly_transparent():
    """Lines of one pixel, as hair: a hard mask covers them or not, a soft one partly."""
    image = np.full((96, 160, 3), 0.9, np.float32)
    image[48:] = 0.1
    image[36:48, ::4] = 0.1  # hair
    hard = np.zeros((96, 160), np.float32)
    hard[48:] = 1
    mask = matted(image, hard)
    assert mask[46:48, ::4].mean() > mask[46:48, 2::4].mean() + 0.1
    assert (mask[:20] == 0).all()
    assert (mask[70:] == 1).all()


@pytest.mark.parametrize("value", [0, 1])
def test_a_mask_without_an_edge_stays(image, value):
    mask = np.full((HEIGHT, WIDTH), value, np.float32)
    assert np.array_equal(matted(image, mask), mask)
