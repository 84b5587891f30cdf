"""Fades and flashes are detected with their gain and colour, without false positives."""

from collections.abc import Sequence

import numpy as np
import pytest
from films import shot

from vidstyle.coherence.fades import Fade, fades, thumbnail
from vidstyle.image import Image

BLACK, WHITE, AMBER = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (0.9, 0.6, 0.1)
FADE = (1, 1, 1, 0.8, 0.6, 0.4, 0.2, 0, 0, 0)


def faded(
    frames: Sequence[Image], gains: Sequence[float], colour: Sequence[float] = BLACK
) -> list[Image]:
    c = np.asarray(colour, np.float32)
    return [
        (c + g * (frame - c)).astype(np.float32) for frame, g in zip(frames, gains, strict=True)
    ]


def found(frames: Sequence[Image]) -> dict[int, Fade]:
    return fades(map(thumbnail, frames))


@pytest.mark.parametrize("colour", [BLACK, WHITE, AMBER])
@pytest.mark.parametrize("gains", [FADE, FADE[::-1], FADE + FADE[::-1]])
def test_a_fade_is_found_with_its_gain_and_colour(
    gains: Sequence[float], colour: Sequence[float]
) -> None:
    film = found(faded(shot(1, length=len(gains)), gains, colour))
    assert sorted(film) == [place for place, gain in enumerate(gains) if gain < 1]
    for place, fade in film.items():
        assert fade.gain == pytest.approx(gains[place], abs=0.03)
        assert np.allclose(fade.colour, colour, atol=0.01)


@pytest.mark.parametrize("colour", [BLACK, WHITE])
@pytest.mark.parametrize("gains", [(1, 1, 0.2, 1, 1), (1, 1, 0, 0.3, 0.7, 1), (1, 0.6, 0.6, 1, 1)])
def test_a_flash_is_found(gains: Sequence[float], colour: Sequence[float]) -> None:
    film = found(faded(shot(1, speed=0, noise=0.01, length=len(gains)), gains, colour))
    assert sorted(film) == [place for place, gain in enumerate(gains) if gain < 1]
    for place, fade in film.items():
        assert fade.gain == pytest.approx(gains[place], abs=0.02)
        assert np.allclose(fade.colour, colour, atol=0.02)


def test_lifted_and_dimmed_are_inverse() -> None:
    (frame,) = shot(1, length=1)
    fade = Fade(0.25, np.asarray(AMBER, np.float32))
    dark = fade.dimmed(frame)
    assert np.allclose(fade.lifted(dark), frame, atol=1e-6)
    assert np.allclose(dark - AMBER, 0.25 * (frame - AMBER), atol=1e-6)
    out = Fade(0.01, np.asarray(BLACK, np.float32), is_out=True)
    assert out.is_out
    assert out.lifted(dark) is dark
    assert out.dimmed(dark) is dark


def test_films_without_fades_have_none() -> None:
    pan, other = shot(1, length=8), shot(2, length=8)
    share = np.linspace(0, 1, 8)
    dissolve = [a * (1 - s) + b * s for a, b, s in zip(pan, other, share, strict=True)]
    flat = [np.full_like(pan[0], level) for level in (0.0, 0.2, 0.7, 0.4)]
    brighter = [np.clip(frame * (1 + 0.05 * i), 0, 1) for i, frame in enumerate(pan)]
    between = [*pan[:3], *other[:2], *pan[3:]]
    for film in (pan, pan + other, dissolve, flat, brighter, between, []):
        assert found(film) == {}


def test_a_cut_to_black_is_no_fade() -> None:
    pan = shot(1, length=8)
    film = found([*pan[:4], *[np.zeros_like(pan[0])] * 8, *pan[4:]])
    assert sorted(film) == list(range(4, 12))
    assert all(fade.is_out for fade in film.values())
