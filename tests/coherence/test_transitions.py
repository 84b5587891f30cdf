"""Dissolves, fades, flashes and titles in whole runs with a tiny encoder."""

from typing import Any

import numpy as np
import pytest
from films import HEIGHT, WIDTH, Film, shot

from vidstyle import media
from vidstyle.coherence.dissolves import accumulated, at_rest, outdated
from vidstyle.coherence.parameters import CoherenceParameters, DissolveParameters
from vidstyle.image import Image
from vidstyle.jobs.manifest import state_path
from vidstyle.media import load_frame

NOWHERE = np.zeros((HEIGHT, WIDTH, 2), np.float32)
EVERYWHERE = np.ones((HEIGHT, WIDTH), bool)


class Made:
    """A finished run: its frame events, the results in its state, and its output."""

    def __init__(self, film: Film, name: str, frames: list[Image], **how: Any) -> None:
        job = film.job(name, frames)
        events: list[Any] = []
        self.bytes = film.run(job, events.append, **how)
        self.frames = [event for event in events if event.name == "frame"]
        self.state = list(
            map(load_frame, sorted((state_path(job.output) / "frames").glob("*.png")))
        )
        self.output = list(map(media.read_picture, sorted(job.output.glob("*.png"))))

    def all(self, name: str) -> list[int]:
        return [event.index for event in self.frames if getattr(event, name)]


def likeness(one: Image, other: Image) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def dissolve(length: int = 8) -> list[Image]:
    before, after = shot(1, length=length + 4), shot(2, length=length + 4)
    shares = np.clip(np.arange(-1, length + 3) / (length + 1), 0, 1)
    return [a * (1 - s) + b * s for a, b, s in zip(before, after, shares, strict=True)]


NEVER_OUTDATED = CoherenceParameters(  # of the control runs
    dissolves=DissolveParameters(tolerance=1e6, light_tolerance=1e6, whole_frame=1e6)
)


def test_after_a_dissolve_no_former_strokes_remain(film: Film) -> None:
    frames = dissolve()
    made = Made(film, "dissolve", frames)
    assert made.all("cut") == [0]
    assert made.all("reinitialized")
    alone = Made(film, "alone", frames[-2:])
    without = Made(film, "without", frames, parameters=NEVER_OUTDATED)
    like, unlike = (likeness(each.state[-1], alone.state[-1]) for each in (made, without))
    assert like > 0.75
    assert unlike < like - 0.04  # colours follow the source in both runs, strokes do not


def test_a_pan_is_not_taken_for_a_dissolve(film: Film) -> None:
    made = Made(film, "pan", shot(4, noise=1 / 255, length=24))
    assert (made.all("cut"), made.all("reinitialized")) == ([0], [])


def test_a_title_that_fades_in_is_visible(film: Film) -> None:
    """A title fades in over still ground, too slowly to differ from the previous frame."""
    title = np.zeros((HEIGHT, WIDTH, 1), np.float32)
    title[20:28, 12:52] = 1
    shares = np.clip(np.arange(12) / 10, 0, 1)
    ground = 0.5 * shot(1, length=1)[0]
    frames = [ground * (1 - s * title) + s * title for s in shares]
    made = Made(film, "title", frames)
    assert made.all("reinitialized") == []
    assert np.abs(made.state[0] - made.state[-1])[40:].max() < 1e-3
    without = Made(film, "without", frames, parameters=NEVER_OUTDATED)
    films = made, without, Made(film, "alone", frames[-1:])
    before = made.state[0][title[..., 0] > 0].mean()
    shown, unlike, wanted = (each.state[-1][title[..., 0] > 0].mean() - before for each in films)
    assert shown > 0.5 * wanted
    assert unlike < 0.8 * shown


GAINS = (1, 1, 0.75, 0.5, 0.25, 0, 0, 0.25, 0.5, 0.75, 1, 1)


def dip() -> list[Image]:
    return [frame * gain for frame, gain in zip(shot(1, length=12), GAINS, strict=True)]


def test_a_fade_dims_the_output_and_black_stays_black(film: Film) -> None:
    made = Made(film, "dip", dip())
    assert [event.evaluations for event in made.frames if not GAINS[event.index]] == [0, 0]
    assert all(made.output[index].max() == 0 for index, gain in enumerate(GAINS) if gain == 0)
    for index, gain in enumerate(GAINS):
        assert np.abs(made.output[index] - gain * made.state[index]).max() < 0.05
    assert made.all("cut") == [0]
    assert [event.back for event in made.frames if event.back is not None] == [4]
    assert likeness(made.state[4][:, 3:], made.state[7][:, :-3]) > 0.8


def test_a_shot_that_begins_dark_is_reinitialized_in_the_light(film: Film) -> None:
    gains = np.clip(np.arange(-1, 12) / 10, 0, 1)
    frames = [frame * g for frame, g in zip(shot(1, length=13), gains, strict=True)]
    made = Made(film, "dawn", frames)
    assert (made.all("cut"), made.all("reinitialized")) == ([2], [4])
    assert [event.evaluations for event in made.frames[:2]] == [0, 0]


def flash(at: int = 3, length: int = 8) -> list[Image]:
    """Return a shot with two inserted frames whose content differs: not a flash of light."""
    frames, other = shot(1, length=length), shot(2, length=2)
    return [*frames[:at], *other, *frames[at + 2 :]]


def test_a_short_insert_does_not_end_the_shot(film: Film) -> None:
    made = Made(film, "flash", flash())
    assert made.all("cut") == [0, 3]
    assert [event.back for event in made.frames] == [None] * 5 + [2] + [None] * 2
    assert made.frames[5].evaluations <= 4
    plain = Made(film, "plain", shot(1, length=8))
    assert likeness(made.state[5], plain.state[5]) > 0.95


@pytest.mark.parametrize(("kind", "stop"), [(dissolve, 6), (dip, 6), (flash, 3), (flash, 6)])
def test_a_stopped_run_resumes_to_the_same_bytes(film: Film, kind: Any, stop: int) -> None:
    """Also when a finished frame has been deleted from the state."""
    whole = film.run(film.job("whole", kind()))

    def interrupt(event: Any) -> None:
        if event.name == "frame" and event.index == stop:
            raise KeyboardInterrupt

    job = film.job("stopped", kind())
    with pytest.raises(KeyboardInterrupt):
        film.run(job, interrupt)
    (state_path(job.output) / "frames" / f"{stop - 1:06d}.png").unlink()
    assert film.run(job) == whole


def test_a_change_accumulates_along_the_motion() -> None:
    right = NOWHERE + np.float32((-4, 0))
    spot = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    spot[16:24, 16:24] = 0.05
    once = accumulated(None, NOWHERE, spot, EVERYWHERE)
    twice = accumulated(once.astype(np.float16), right, np.roll(spot, 4, axis=1), EVERYWHERE)
    assert twice.shape == (HEIGHT // 4, WIDTH // 4, 4)
    assert np.allclose(twice[4:6, 5:7, :3], (1 + 0.95) * 0.05, atol=1e-4)
    assert np.count_nonzero(abs(twice) > 1e-4) == 2 * 2 * 3
    assert not accumulated(None, NOWHERE, spot, ~EVERYWHERE).any()
    assert np.array_equal(at_rest(twice, EVERYWHERE, ~EVERYWHERE), twice)
    assert not at_rest(twice, ~EVERYWHERE, ~EVERYWHERE).any()
    assert (at_rest(twice, ~EVERYWHERE, EVERYWHERE) == (0, 0, 0, 1)).all()


def test_changes_outdate_their_pixels_and_dissolves_the_whole_frame() -> None:
    frame = np.full((HEIGHT, WIDTH, 3), 0.5, np.float32)
    change = np.zeros((HEIGHT // 4, WIDTH // 4, 4), np.float32)
    assert not outdated(change, frame).any()
    change[4:6, 4:6, :3] = 0.4
    few = outdated(change, frame)
    assert few[16:24, 16:24].all()
    assert not few[:12].any()
    change[5:, :, 3] = 1
    assert outdated(change, frame).all()
