"""A stylizer that runs out of memory continues in lower strips of rows."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tiny import TinyEncoder, disc, narrow_encoder, stripes

from vidstyle.errors import VidstyleError
from vidstyle.jobs.events import WarningEvent
from vidstyle.jobs.frame_loop import stylize_frame
from vidstyle.settings import Settings
from vidstyle.stylizer.step import Step
from vidstyle.stylizer.stylizer import Style, Stylizer

LAYERS = ("relu1_1", "relu2_1", "relu3_1")
FRAME = disc(64, 96)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[int | None]]:
    """Make evaluations in strips of more than some rows fail; returns the heights tried."""

    def limited(most: int) -> list[int | None]:
        tried: list[int | None] = []
        whole = Step.evaluate

        def evaluate(step: Step, *inputs: Any) -> Any:
            rows = step.forward.strip_rows
            if rows not in tried:
                tried.append(rows)
            if rows is None or rows > most:
                raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
            return whole(step, *inputs)

        monkeypatch.setattr(Step, "evaluate", evaluate)
        return tried

    return limited


def stylizer(encoder: Any = None) -> Stylizer:
    settings = Settings(style_layers=LAYERS, content_layers=LAYERS[2:], steps=3, steps_next=3)
    encode = encoder or narrow_encoder(*LAYERS)
    return Stylizer((Style(stripes(40, 48)),), settings=settings, encoder=encode)


def test_it_continues_in_lower_strips_with_the_same_result_and_warns_once(
    short: Callable[[int], list[int | None]],
) -> None:
    expected = stylizer().stylize(FRAME)
    assert expected.warnings == ()
    tried, made = short(32), stylizer()
    found = made.stylize(FRAME)
    assert tried == [None, 64, 32]
    assert [text.partition(";")[2] for text in found.warnings] == [
        f" continuing in strips of {rows} rows, which takes longer" for rows in (64, 32)
    ]
    np.testing.assert_allclose(found.image, expected.image, atol=2e-3)
    assert found.evaluations == expected.evaluations
    tried.clear()
    assert made.stylize(FRAME).warnings == ()
    assert tried == [32]


class Watch:
    """Collects the events of a frame."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.notify = self.events.append

    def check(self) -> None:
        """Never cancelled."""


def test_the_warning_is_an_event(short: Callable[[int], list[int | None]]) -> None:
    short(64)
    watch: Any = Watch()
    stylize_frame(watch, stylizer(), 0, FRAME, None, None)
    (warning,) = [event for event in watch.events if isinstance(event, WarningEvent)]
    assert warning.message.startswith("memory ran out at 96 x 64 pixels; continuing in strips")


@pytest.mark.parametrize(("encoder", "last"), [(None, 16), (TinyEncoder(), None)])
def test_it_gives_up_where_no_lower_strip_fits(
    encoder: Any, last: int | None, short: Callable[[int], list[int | None]]
) -> None:
    tried = short(8)
    watch: Any = Watch()
    with pytest.raises(VidstyleError, match=r"memory ran out at 96 x 64 .* smaller --size"):
        stylize_frame(watch, stylizer(encoder), 0, FRAME, None, None)
    assert tried[-1] == last
