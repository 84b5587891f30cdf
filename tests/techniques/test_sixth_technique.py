"""A guided technique needs one class and its entry in the registry: command line, job and frame."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf
from tiny import LAYERS, TinyEncoder, disc, stripes

from vidstyle import media
from vidstyle.cli import main
from vidstyle.errors import UsageError
from vidstyle.guides.guide import Guide
from vidstyle.jobs import pipeline
from vidstyle.jobs.job import Job, Network, make_job
from vidstyle.settings import Settings, option
from vidstyle.stylizer.stylizer import Style, Stylizer
from vidstyle.techniques import TECHNIQUES, Features, StyleFeatures, Sums, Targets
from vidstyle.techniques.guided import MaskedTechnique


@dataclass(frozen=True, kw_only=True)
class Brightness(MaskedTechnique):
    """A sixth technique: compares the mean features inside a mask with those of the style."""

    name: ClassVar[str] = "brightness"
    summary: ClassVar[str] = "the mean features of the style inside a mask"
    confined: ClassVar[bool] = True

    pull: float = option(1.0, "weight of the means", low=0, high=10)

    def targets(self, styles: Sequence[StyleFeatures], frame: StyleFeatures) -> Targets:
        del frame
        (style,) = styles
        return {name: tf.reduce_mean(f, axis=(0, 1)) for name, f in style.features.items()}

    def loss(self, features: Features, targets: Targets, early: Sums | None = None) -> Any:
        del early
        distances = [
            tf.reduce_mean(tf.square(tf.reduce_mean(features[name], axis=(0, 1)) - goal))
            for name, goal in targets.items()
        ]
        return self.pull * tf.add_n(distances)


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TECHNIQUES, Brightness.name, Brightness)
    monkeypatch.setattr(pipeline, "find_network", lambda *_: Network())


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    """White on the left half, black on the right one; of the size of conftest's clip."""
    picture = np.zeros((72, 96), np.uint8)
    picture[:, :48] = 255
    PIL.Image.fromarray(picture).save(tmp_path / "mask.png")
    return tmp_path / "mask.png"


def tiny(job: Job, styles: Any, _: Any) -> Stylizer:
    return Stylizer(styles, technique=job.technique, settings=job.settings, encoder=TinyEncoder())


SMALL = {"style_layers": LAYERS, "content_layers": LAYERS[1:2], "steps": 5, "steps_next": 2}


def test_the_command_line_has_its_command_guides_and_options(
    clip: Path, style: Path, mask: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main.main(["brightness", "--help"])
    shown = capsys.readouterr().out
    for flag in ("--mask", "--invert-mask", "--feather", "--pull", "--steps"):
        assert flag in shown
    assert "--style-map" not in shown
    given = [str(clip), "-o", str(tmp_path / "o.mp4"), "--style", str(style), "--dry-run"]
    assert main.main(["brightness", *given, "--mask", str(mask), "--pull", "2"]) == 0
    assert main.main(["brightness", *given]) == 2
    assert "--mask" in capsys.readouterr().err


def test_a_job_checks_its_guides_records_its_technique_and_runs(
    clip: Path, style: Path, mask: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.mp4"
    given = {"style": style, "technique": "brightness", **SMALL}
    with pytest.raises(UsageError, match="brightness: expected --mask"):
        make_job(clip, output, **given)
    with pytest.raises(UsageError, match="--map: brightness takes none"):
        make_job(clip, output, mask=mask, map=mask, **given)
    job = make_job(clip, output, mask=mask, pull=2.0, **given)
    manifest = job.manifest(media.probe(clip), None)
    assert manifest["technique"] == "brightness"
    assert manifest["options"] == {"invert_mask": False, "feather": 0.0, "pull": 2.0}
    outcome = pipeline.run(job, make_stylizer=tiny)
    assert outcome.frames == outcome.stylized == media.probe(output).frames


def test_a_frame_changes_inside_its_mask_only() -> None:
    settings = Settings(style_layers=LAYERS, content_layers=LAYERS[1:2], steps=10)
    stylizer = Stylizer(
        [Style(stripes(40, 48))], technique=Brightness(), settings=settings, encoder=TinyEncoder()
    )
    frame, plane = disc(32, 48), np.zeros((32, 48, 1), np.float32)
    plane[:, :24] = 1
    found = stylizer.stylize(frame, guide=Guide(plane, ("mask 1",)))
    assert np.array_equal(found.output_image[:, 24:], frame[:, 24:])
    assert np.abs(found.output_image[:, :24] - frame[:, :24]).mean() > 0.01
    assert found.image is found.output_image
    assert stylizer.stylize(frame, guide=Guide(0 * plane, ("mask 1",))).evaluations == 0


def test_names_in_the_registry_are_those_of_the_classes() -> None:
    assert all(name == technique.name for name, technique in TECHNIQUES.items())
    assert len(TECHNIQUES) == 6
