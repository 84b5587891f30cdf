"""Key frame track: flow errors do not accumulate from frame to frame."""

from collections.abc import Callable
from dataclasses import replace
from functools import reduce

import cv2
import numpy as np
import pytest

from vidstyle.coherence.keyframe import KeyframeTrack
from vidstyle.coherence.parameters import KeyframeParameters
from vidstyle.coherence.prior import StylizedFrame, UnstylizedFrame
from vidstyle.coherence.warm_start import prior_along
from vidstyle.image import Image
from vidstyle.motion.bidirectional import Motion
from vidstyle.motion.warp import compose_flows, warp

HEIGHT, WIDTH = 96, 144
SPAN = KeyframeParameters().span
INNER = np.s_[24:-24, 24:-24]
PAN, ERROR = 1.3, 0.15  # pixels per frame


def clouds(seed: int) -> Image:
    """Return a picture wider than a frame, with detail at three scales."""
    noise = np.random.default_rng(seed).random((HEIGHT, WIDTH + 40, 3)).astype(np.float32)
    layers = [cv2.GaussianBlur(noise, (0, 0), size) for size in (1.5, 4, 10)]
    picture = sum((layer - layer.mean()) / layer.std() for layer in layers)
    return np.clip(0.5 + 0.1 * picture, 0, 1).astype(np.float32)


def uniform(dx: float) -> np.ndarray:
    return np.full((HEIGHT, WIDTH, 2), (dx, 0), np.float32)


def pan(count: int) -> list[Image]:
    """Return frames whose backward flow is PAN pixels to the right."""
    wide = clouds(0)
    there = np.zeros((*wide.shape[:2], 2), np.float32)
    frames = []
    for index in range(count):
        there[..., 0] = PAN * index
        frames.append(warp(wide, there)[:, :WIDTH])
    return frames


def wrong(backward: float = PAN + ERROR) -> Motion:
    confidence = np.ones((HEIGHT, WIDTH, 1), np.float32)
    return Motion(uniform(backward), uniform(-backward), confidence)


def drift(track: KeyframeTrack, frames: list[Image], motion: Motion) -> np.ndarray:
    """Return the mean drift after each step, in pixels, relative to the first frame."""
    found, steps = [], []
    for index, frame in enumerate(frames, start=1):
        step, track = track.extended(motion, frame)
        steps.append(step.motion.backward)
        whole = reduce(compose_flows, reversed(steps))
        found.append(np.abs(whole[INNER][..., 0] - PAN * index).mean())
    return np.array(found)


def test_small_errors_of_the_flow_do_not_add_up() -> None:
    first, *rest = pan(2 * SPAN)
    away = drift(KeyframeTrack(first), rest, wrong())
    alone = ERROR * np.arange(1, len(away) + 1)
    assert away[0] == pytest.approx(alone[0], abs=1e-4)  # from the key frame: no correction
    assert away[SPAN - 1] < 0.4 * alone[SPAN - 1]
    assert away[-1] < 0.4 * alone[-1]


def test_a_correct_flow_is_not_changed() -> None:
    first, *rest = pan(SPAN)
    assert drift(KeyframeTrack(first), rest, wrong(PAN)).max() < 0.1


def test_pixels_without_motion_are_not_corrected() -> None:
    frames = pan(3)
    motion = wrong()
    motion.backward[:, : WIDTH // 2] = 0
    _, track = KeyframeTrack(frames[0]).extended(motion, frames[1])
    kept = track.extended(motion, frames[2])[0].motion
    assert np.array_equal(kept.backward[:, : WIDTH // 2], motion.backward[:, : WIDTH // 2])
    assert not np.array_equal(kept.backward, motion.backward)


def test_pixels_that_the_key_frame_does_not_show_are_not_corrected() -> None:
    frames = pan(3)
    _, track = KeyframeTrack(clouds(5)[:, :WIDTH]).extended(wrong(), frames[1])
    step, _ = track.extended(wrong(), frames[2])
    assert np.abs(step.motion.backward - wrong().backward).mean() < 0.1 * ERROR
    assert step.from_keyframe is not None
    assert step.from_keyframe.confidence.mean() < 0.1


def test_a_step_has_the_motion_from_the_key_frame() -> None:
    frames, track = pan(SPAN + 2), KeyframeTrack(pan(1)[0])
    for index, frame in enumerate(frames[1:], start=1):
        step, track = track.extended(wrong(PAN), frame)
        age = (index - 1) % SPAN + 1
        assert step.age == age
        if age == 1:
            assert step.from_keyframe is None
            continue
        assert step.from_keyframe is not None
        assert step.from_keyframe.backward[INNER][..., 0] == pytest.approx(PAN * age, abs=0.3)
        assert step.from_keyframe.forward[INNER][..., 0] == pytest.approx(-PAN * age, abs=0.3)
        assert step.from_keyframe.confidence[INNER].mean() > 0.95


@pytest.mark.parametrize(
    "step", [KeyframeTrack.skipped, lambda track, frame: track.extended(wrong(), frame)[1]]
)
def test_a_key_frame_is_replaced_after_its_span(
    step: Callable[[KeyframeTrack, Image], KeyframeTrack],
) -> None:
    frames = pan(SPAN + 1)
    track = KeyframeTrack(frames[0])
    for frame in frames[1:SPAN]:
        track = step(track, frame)
        assert track.keyframe is frames[0]
    track = step(track, frames[SPAN])
    assert track == KeyframeTrack(frames[SPAN])


@pytest.mark.parametrize(("speed", "left"), [(PAN, 0.8), (0.0, 1.0)])
def test_moving_pixels_are_blended_with_the_key_frame(speed: float, left: float) -> None:
    """A fifth of the deviation from the key frame's result is corrected, in moving pixels only."""
    moving, whole = pan(3), np.ones((HEIGHT, WIDTH, 1), np.float32)
    anchor, before, here = moving if speed else moving[:1] * 3
    step, back = (Motion(uniform(speed * age), uniform(-speed * age), whole) for age in (1, 2))
    earlier = StylizedFrame(before, before * np.float32(0.8) + np.float32(0.08))
    for trusted, share in ((whole, left), (0 * whole, 1.0)):
        key_frame = (
            replace(back, confidence=trusted),
            StylizedFrame(anchor, anchor * np.float32(0.8)),
        )
        found = prior_along(step, earlier, UnstylizedFrame(here), key_frame=key_frame)
        assert (found.image - here * 0.8)[INNER].mean() == pytest.approx(share * 0.08, abs=1e-3)
