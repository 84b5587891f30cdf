"""CoherenceParameters: every constant is read, and reaches a run as an argument."""

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from films import Film, shot

import vidstyle
from vidstyle.coherence.parameters import CoherenceParameters
from vidstyle.image import Image

USUAL = CoherenceParameters()


def constants(parameters: Any) -> Iterator[str]:
    for one in fields(parameters):
        value = getattr(parameters, one.name)
        yield from constants(value) if is_dataclass(value) else [one.name]


@pytest.mark.parametrize("name", sorted(set(constants(USUAL))))
def test_every_constant_is_read_by_the_code(name: str) -> None:
    folder = Path(vidstyle.__file__).parent
    files = [path for path in folder.rglob("*.py") if path.name != "parameters.py"]
    assert any(re.search(rf"\.{name}\b", path.read_text("utf-8")) for path in files)


def moving_square() -> list[Image]:
    """Return a pan with a picture that moves in front of it, and so uncovers ground."""
    frames = shot(1, noise=1 / 255, length=6)
    for index, frame in enumerate(frames):
        frame[10:34, 4 + 6 * index : 24 + 6 * index] = shot(5)[0][10:34, :20]
    return frames


VARIED = {
    "motion": {"cut": 2.0},
    "keyframe": {"corrected_share": 0.0},
    "warm_start": {"keyframe_share": 0.9},
    "disocclusion": {"light_sigma": 1.0},
    "quilting": {"tile": 0.4},
    "dissolves": {"whole_frame": 0.0},
    "deflicker": {"most": 0.2},
    "tv": {"constrained": 5.0},
}


@pytest.fixture(scope="module")
def usual(shared_film: Film) -> list[bytes]:
    """The frames of a run with the default parameters."""
    return shared_film.run(shared_film.job("usual", moving_square()))


@pytest.mark.parametrize("subject", sorted(VARIED))
def test_a_varied_constant_changes_the_frames_of_a_run(
    film: Film, usual: list[bytes], subject: str
) -> None:
    """Also that it is not read from the defaults on its way down."""
    varied = replace(USUAL, **{subject: replace(getattr(USUAL, subject), **VARIED[subject])})
    assert film.run(film.job("varied", moving_square()), parameters=varied) != usual


def test_shots_and_fades_follow_their_constants(film: Film) -> None:
    frames, other = shot(1, length=8), shot(2, length=2)
    insert = [*frames[:3], *other, *frames[5:]]
    black = [*frames[:3], *[0 * frames[0]] * 2, *frames[5:]]
    shorter = replace(USUAL, shots=replace(USUAL.shots, longest_interruption=1))
    no_flat = replace(USUAL, fades=replace(USUAL.fades, flat=0.0, flash_gain=0.0))
    for name, given, parameters in (("insert", insert, shorter), ("black", black, no_flat)):
        cuts = []
        for kind, method in (("usual", USUAL), ("varied", parameters)):
            events: list[Any] = []
            job = film.job(f"{name}_{kind}", given)
            film.run(job, events.append, parameters=method)
            cuts.append([event.index for event in events if event.name == "frame" and event.cut])
        assert cuts[0] != cuts[1]
