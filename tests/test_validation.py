"""Wrong argument types raise errors of vidstyle; process-wide state is not changed."""

import os
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import LAYERS, TinyEncoder, disc, stripes

import vidstyle
from vidstyle import GuideError, MediaError, SettingsError, UsageError
from vidstyle.coherence.prior import TemporalPrior
from vidstyle.guides.guide import Guide
from vidstyle.image import Image
from vidstyle.settings import Settings
from vidstyle.techniques.mask import Mask

FRAME = disc(32, 48)


@pytest.mark.parametrize("given", [None, 5, b"a.png", ["a.png"], FRAME, "a\0b.png", 1.5])
def test_a_value_that_is_not_a_path_is_refused(given: Any) -> None:
    with pytest.raises(MediaError, match="expected a path, got"):
        vidstyle.read_picture(given)
    with pytest.raises(MediaError, match="expected a path, got"):
        vidstyle.probe(given)


@pytest.mark.parametrize("kind", [str, Path])
def test_a_text_file_is_not_a_picture(tmp_path: Path, kind: Callable[[Path], Any]) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(MediaError, match=r"notes\.txt: expected a picture"):
        vidstyle.read_picture(kind(tmp_path / "notes.txt"))


@pytest.mark.parametrize(
    "values",
    [
        {"steps": "abc"},
        {"steps": 1.0},
        {"steps": None},
        {"steps": True},
        {"steps": 10**400},
        {"steps": [5]},
        {"style_weight": "1"},
        {"style_weight": float("inf")},
        {"style_layers": "relu1_1"},
        {"style_layers": [1]},
        {"size": "256"},
        {"size": 256.0},
        {"codec": 5},
        {"pix_fmt": 5},
        {"rate": "24"},
        {"rate": Fraction(0)},
        {"start": 10**400},
        {"start": "1"},
        {"overwrite": 1},
        {"overwrite": "yes"},
    ],
)
def test_a_setting_of_another_type_is_refused(values: dict[str, Any]) -> None:
    (name,) = values
    with pytest.raises(SettingsError, match=f"--{name.replace('_', '-')}: expected "):
        Settings(**values)


@pytest.mark.parametrize(
    "values",
    [
        {"style": 5},
        {"style": [None]},
        {"style": [("wave.png", "much")]},
        {"style": [("wave.png", float("nan"))]},
        {"style": [("wave.png", 1, 2)]},
        {"source": None},
        {"output": 5},
        {"weights": 5},
        {"technique": ["basic"]},
        {"technique": "mask", "mask": 5},
        {"technique": "mask", "mask": [None]},
        {"technique": "region", "map": 5, "style_map": "m.png"},
        {"on_event": "print"},
    ],
)
def test_an_argument_of_another_type_is_refused(
    clip: Path, style: Path, tmp_path: Path, values: dict[str, Any]
) -> None:
    given = {"source": clip, "output": tmp_path / "out.mp4", "style": style, "steps": 0}
    with pytest.raises(UsageError, match="expected"):
        vidstyle.stylize(**{**given, "steps_next": 0, **values})


def image(change: Callable[[Image], Any]) -> Any:
    return change(FRAME.copy())


WRONG = {
    "a list": lambda image: image.tolist(),
    "uint8": lambda image: (255 * image).astype(np.uint8),
    "float64": lambda image: image.astype(np.float64),
    "0..255": lambda image: 255 * image,
    "below 0": lambda image: image - 0.5,
    "NaN": lambda image: np.where(image > 0.5, np.float32("nan"), image),
    "infinite": lambda image: np.where(image > 0.5, np.float32("inf"), image),
    "grey": lambda image: image[..., 0],
    "RGBA": lambda image: np.dstack([image, image[..., :1]]),
    "empty": lambda image: image[:0],
}


@pytest.fixture(scope="module")
def stylizer() -> vidstyle.Stylizer:
    settings = Settings(steps=2, style_layers=LAYERS, content_layers=LAYERS[1:2])
    styles = [vidstyle.Style(stripes(40, 48))]
    encoder = TinyEncoder()
    return vidstyle.Stylizer(styles, technique=Mask(), settings=settings, encoder=encoder)


@pytest.mark.parametrize("kind", WRONG)
def test_an_array_that_is_not_an_image_is_refused(stylizer: vidstyle.Stylizer, kind: str) -> None:
    with pytest.raises(MediaError, match="content: expected a float32 array"):
        stylizer.stylize(WRONG[kind](FRAME))
    with pytest.raises(MediaError, match="style: expected a float32 array"):
        vidstyle.Style(WRONG[kind](FRAME))


@pytest.mark.parametrize("weight", ["1", None, float("nan"), float("inf"), -1.0, True])
def test_a_style_weight_is_a_number(weight: Any) -> None:
    with pytest.raises(SettingsError, match="expected a weight of at least 0"):
        vidstyle.Style(FRAME, weight)


@pytest.mark.parametrize("value", [255.0, float("nan"), -1.0])
def test_guide_weights_are_within_0_and_1(value: float) -> None:
    with pytest.raises(GuideError, match=r"expected weights in 0\.\.1, got"):
        Guide(np.full((4, 6, 1), value, np.float32), ("a",))


def test_arguments_that_do_not_match_the_frame_are_refused(stylizer: vidstyle.Stylizer) -> None:
    guide = Guide(np.ones((32, 48, 1), np.float32), ("a",))
    small = Guide(np.ones((30, 48, 1), np.float32), ("a",))
    with pytest.raises(GuideError, match="expected a vidstyle"):
        stylizer.stylize(FRAME)
    with pytest.raises(GuideError, match="expected the size of the content, 48x32, got 48x30"):
        stylizer.stylize(FRAME, guide=small)
    with pytest.raises(UsageError, match="guide: expected a Guide or None, got ndarray"):
        stylizer.stylize(FRAME, guide=FRAME)  # type: ignore[arg-type]
    prior = TemporalPrior(FRAME[:30], np.ones((30, 48, 1), np.float32))
    with pytest.raises(GuideError, match="prior: expected the size"):
        stylizer.stylize(FRAME, guide=guide, prior=prior)
    for styles in (vidstyle.Style(FRAME), [FRAME], None):
        with pytest.raises(UsageError, match="styles: expected a list of Style"):
            vidstyle.Stylizer(styles, encoder=TinyEncoder())  # type: ignore[arg-type]
    style = vidstyle.Style(FRAME)
    with pytest.raises(SettingsError, match="expected Settings, got dict"):
        vidstyle.Stylizer([style], settings={"steps": 1}, encoder=TinyEncoder())  # type: ignore


_CHECK = """
import os, signal, sys, warnings
import numpy
before = dict(os.environ), list(warnings.filters), [signal.getsignal(n) for n in (1, 2, 15)]
import vidstyle
def check(when):
    now = dict(os.environ), list(warnings.filters), [signal.getsignal(n) for n in (1, 2, 15)]
    assert now == before, when
check("import")
vidstyle.Stylizer, vidstyle.read_picture
assert "tensorflow" in sys.modules
check("engine")
vidstyle.stylize(sys.argv[1], sys.argv[2], style=sys.argv[3], steps=0, steps_next=0, codec="av1")
check("stylize")
"""


@pytest.mark.skipif(os.name == "nt", reason="no SIGHUP")
def test_environment_warning_filters_and_signal_handlers_are_kept(
    clip: Path, style: Path, tmp_path: Path
) -> None:
    given = [str(clip), str(tmp_path / "out.mp4"), str(style)]
    command = [sys.executable, "-c", _CHECK, *given]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
