"""Job files: every option round-trips, errors name the key, paths count from the file."""

import json
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from vidstyle.cli import main, parser
from vidstyle.errors import MediaError, SettingsError, UsageError, VidstyleError
from vidstyle.jobs import job_file
from vidstyle.settings import LAYERS, Settings, kinds_of, options
from vidstyle.techniques import TECHNIQUES

NO_STEPS = ["--steps", "0", "--steps-next", "0"]
BASE: dict[str, Any] = {"source": ("a.mp4",), "output": "out.mp4", "style": ("a.jpg",)}


def example(name: str, owner: Any) -> Any:
    """Return a value of an option, other than its default."""
    declared, spec = options(owner)[name]
    kinds = kinds_of(declared)
    if spec.choices:
        return LAYERS[2:4]
    if bool in kinds:
        return True
    if spec.words and int not in kinds:
        return next(word for word in spec.words if word != declared.default)
    if str in kinds and int not in kinds:
        examples = {"device": "gpu:1", "regions": "#0000ff", "resume_from": "old.mp4"}
        return examples.get(name, "yuv444p10le")
    if Fraction in kinds:
        return Fraction(30000, 1001)
    low, high = spec.low or 0, spec.high or 1000
    value = low + (high - low) / 64
    return value if float in kinds else int(value)


EVERY = [
    (technique, name, owner)
    for technique, kind in TECHNIQUES.items()
    for owner in (kind, Settings)
    for name in options(owner)
]


@pytest.mark.parametrize(("technique", "name", "owner"), EVERY)
def test_every_option_round_trips_through_file_and_command_line(
    technique: str, name: str, owner: Any, tmp_path: Path
) -> None:
    value = example(name, owner)
    assert value != options(owner)[name][0].default
    request = {"technique": technique, **BASE, name: value}
    text = job_file.dump_job(request)
    assert job_file.load_job(text, Path(), "job.toml") == request
    required = [f"--{guide.replace('_', '-')}" for guide in TECHNIQUES[technique].inputs.required]
    command = job_file.job_to_command(request)
    found = parser.command_to_job([*command, *(word for f in required for word in (f, "g.png"))])
    assert {key: found[key] for key in request} == request


def test_paths_and_places_round_trip() -> None:
    request = {
        "technique": "region", "source": ("a.mp4", "-b.mp4"), "output": "-out",
        "style": ("a.jpg=0.7", "b=c.jpg=0.3"), "map": "m.png", "style_map": ("x.png", "y.png"),
        "weights": "vgg.npz", "recursive": True, "list": "-", "shard": "1/2",
        "scheduler": "local:2", "steps": 0,
    }  # fmt: skip
    assert job_file.load_job(job_file.dump_job(request), Path(), "x") == request
    found = parser.command_to_job(job_file.job_to_command(request))
    assert found == request


def test_both_spellings_and_lists_are_accepted() -> None:
    text = 'technique = "basic"\nsource = ["a"]\noutput = "o"\nstyle = "s"\nstyle-weight = 2\n'
    request = job_file.load_job(text.replace("style-weight", "style_weight"), Path(), "x")
    assert request == job_file.load_job(text, Path(), "x")
    assert request["source"] == ("a",)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "siez = 256",
            "job.toml: expected the name of an option, got 'siez'; did you mean 'size'?",
        ),
        ("xyzzy = 1", "got 'xyzzy'; vidstyle basic --help lists them"),
        ('size = "big"', "job.toml: size: expected 'auto' or 'source' or a number from 16 to"),
        ("steps = 1.5", "job.toml: steps: expected a number from 0 to 10000, got 1.5"),
        ("overwrite = 1", "job.toml: overwrite: expected true or false, got 1"),
        ("weights = 3", "job.toml: weights: expected a path, got 3"),
        ("mask = [1]", r"job.toml: mask: expected a path or a list of paths, got \[1\]"),
        ("feather = 2", "feather: the technique basic has no such option; leave it out, or choose"),
        ("size = 1\nsize = 2", "expected a job file in TOML .*, but cannot overwrite a value"),
        ("start = 2\nend = 1", "job.toml: end: expected a time after the start"),
        ("style-layers = []", "style-layers: expected one or more of"),
        ("tv-weight = 1\ntv_weight = 2", "expected each key once, got 'tv_weight' twice"),
        ("[settings]\nsize = 1", "got 'settings'"),
        ("recursive = 'yes'", "recursive: expected true or false"),
    ],
)
def test_a_wrong_key_gets_one_sentence_that_names_it(line: str, message: str) -> None:
    text = f'technique = "basic"\nsource = "a"\noutput = "o"\nstyle = "s"\n{line}\n'
    with pytest.raises(UsageError, match=message) as caught:
        job_file.load_job(text, Path(), "job.toml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("missing", ["technique", "source", "output", "style"])
def test_a_missing_key_is_named(missing: str) -> None:
    lines = {"technique": "basic", "source": "a", "output": "o", "style": "s"}
    text = "".join(f'{key} = "{value}"\n' for key, value in lines.items() if key != missing)
    with pytest.raises(UsageError, match=missing):
        job_file.load_job(text, Path(), "job.toml")


def test_automatic_masks_are_no_paths() -> None:
    text = 'technique = "mask"\nsource = "a.mp4"\noutput = "b.mp4"\nstyle = ["c.png", "d.png"]\n'
    text += 'mask = ["auto", "auto:background"]\n'
    request = job_file.load_job(text, Path("jobs"), "job.toml")
    assert request["mask"] == ("auto", "auto:background")
    assert request["style"] == ("jobs/c.png", "jobs/d.png")


def test_an_unreadable_job_file_is_refused(tmp_path: Path, style: Path) -> None:
    cases = {tmp_path / "no.toml": "no such file", tmp_path: "a folder", style: "is no text"}
    for path, message in cases.items():
        with pytest.raises(MediaError, match=message):
            job_file.read_job(path)
    big = tmp_path / "big.toml"
    big.write_text("#" * (1 << 21))
    with pytest.raises(MediaError, match="got a file that is none"):
        job_file.read_job(big)


def save(*words: str) -> int:
    return main.main([*words, *NO_STEPS, "-q"])


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clip: Path, style: Path) -> Path:
    """The current folder, with clip.mp4, wave.png and a folder `jobs`."""
    (tmp_path / "jobs").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


SAVE = ["basic", "clip.mp4", "-o", "out.mp4", "--style", "wave.png", "--save-job", "jobs/a.toml"]


def test_saving_writes_the_file_and_does_not_run(here: Path) -> None:
    assert save(*SAVE) == 0
    assert not (here / "out.mp4").exists()
    text = (here / "jobs" / "a.toml").read_text()
    assert 'source = "../clip.mp4"' in text
    assert 'style = "../wave.png"' in text
    assert "steps = 0" in text


def test_a_job_runs_from_any_folder_and_command_line_options_replace_its_values(
    here: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(*SAVE)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(elsewhere)
    assert main.main(["run", str(here / "jobs" / "a.toml"), "-q"]) == 0
    assert (here / "out.mp4").exists()
    job = os.path.relpath(here / "jobs" / "a.toml")
    assert main.main(["run", job, "--size", "64", "-o", "small.mp4", "-q"]) == 0
    from vidstyle import media

    assert media.probe(elsewhere / "small.mp4").width == 64
    PIL.Image.new("RGB", (40, 30)).save("other.png")
    assert main.main(["run", job, "other.png", "-o", "other_out.png", "-q"]) == 0
    with PIL.Image.open("other_out.png") as made:
        assert made.size == (40, 30)


def test_a_job_file_is_never_replaced(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert save(*SAVE) == 0
    assert save(*SAVE) == 0  # the same content
    path = here / "jobs" / "a.toml"
    before = path.read_bytes()
    assert save(*SAVE, "--size", "64") == 2
    assert "a.toml exists and is left as it is" in capsys.readouterr().err
    assert path.read_bytes() == before
    assert save(*SAVE[:-1], "wave.png") == 2
    assert save(*SAVE[:-1], "out.mp4") == 2
    for output in ("jobs/a.toml", "jobs"):
        assert main.main(["run", "jobs/a.toml", "-o", output, "--overwrite"]) == 2
    assert path.read_bytes() == before
    assert [one.name for one in path.parent.iterdir()] == ["a.toml"]


def test_saving_checks_the_request(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert save(*SAVE[:1], "gone.mp4", *SAVE[2:]) == 3
    assert save(*SAVE[:-1], "none/a.toml") == 2
    assert "make it first" in capsys.readouterr().err
    assert not (here / "jobs" / "a.toml").exists()


def test_a_batch_in_a_job_file_has_the_results_of_its_command(here: Path, photos: Path) -> None:
    words = ["basic", "photos/photo0.png", "photos/photo1.png", "--style", "wave.png"]
    assert save(*words, "-o", "one") == 0
    assert save(*words, "-o", "two", "--save-job", "a.toml") == 0
    assert main.main(["run", "a.toml", "-q"]) == 0
    found = [
        sorted(str(path.relative_to(top)) for path in top.rglob("*.png"))
        for top in (here / "one", here / "two")
    ]
    assert found[0] == found[1] == ["photos/photo0.png", "photos/photo1.png"]
    assert main.main(["run", str(here / "a.toml"), "-o", "three", "-q"]) == 0
    assert (here / "three" / "photos" / "photo0.png").exists()
    assert save(*words, "-o", "two", "--save-job", "jobs/a.toml") == 2
    assert (
        save("basic", "photos", "-r", "-o", "f", "--style", "wave.png", "--save-job", "jobs/f") == 0
    )
    assert main.main(["run", "jobs/f", "-q"]) == 0
    assert (here / "f" / "photo0.png").exists()


def test_a_list_in_a_job_file_counts_from_its_folder(
    here: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "list.txt").write_text("photos/photo0.png\n")
    words = ["basic", "--list", "list.txt", "-o", "out", "--style", "wave.png"]
    assert save(*words, "--save-job", "a.toml") == 0
    monkeypatch.chdir(here / "jobs")
    assert main.main(["run", "../a.toml", "-q"]) == 0
    assert (here / "out" / "photos" / "photo0.png").exists()


def test_a_style_that_regions_names_by_path_still_fits(here: Path) -> None:
    request = {
        "technique": "region", "source": ("a",), "output": "o",
        "style": ("s/a.jpg", "b.jpg"), "regions": "#0000ff=s/a.jpg,#ff0000=b.jpg,#00ff00",
    }  # fmt: skip
    moved = job_file.with_paths(request, lambda text: f"/base/{text}")
    assert moved["regions"] == "#0000ff=/base/s/a.jpg,#ff0000=b.jpg,#00ff00"


def test_a_path_that_toml_cannot_hold_is_refused() -> None:
    with pytest.raises(UsageError, match="expected paths in UTF-8"):
        job_file.dump_job({"technique": "basic", **BASE, "output": "\udcff.mp4"})


def test_requests_from_json() -> None:
    values = json.loads('{"technique": "basic", "source": "a", "output": "o", "style": ["s"],'
                        ' "rate": "25/2", "crf": null}')  # fmt: skip
    request = job_file.check_request(values, "the page")
    assert request["rate"] == Fraction(25, 2)
    assert "crf" not in request
    with pytest.raises(SettingsError, match="the page: rate: expected a number"):
        job_file.check_request({**values, "rate": "fast"}, "the page")


def test_only_commands_that_stylise_are_jobs() -> None:
    for words in (["probe", "a"], ["run", "a.toml"]):
        with pytest.raises(VidstyleError, match="expected a command that stylises"):
            parser.command_to_job(words)


def test_step_events_are_printed_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    from vidstyle.cli.json_steps import with_steps
    from vidstyle.jobs.events import StepEvent

    seen: list[Any] = []
    notify = with_steps(seen.append)
    for number in range(3):
        notify(StepEvent(index=0, evaluation=number, loss=0.5))
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == {"event": "step", "index": 0, "evaluation": 0, "loss": 0.5}
    assert len(seen) == 3
