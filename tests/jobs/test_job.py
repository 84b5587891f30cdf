import os
from pathlib import Path

import pytest

from vidstyle.errors import MediaError, SettingsError, UsageError
from vidstyle.jobs.job import Job, fingerprint, make_job, parse_style, target_size, version_of
from vidstyle.media import probe
from vidstyle.settings import Settings, options


def manifest(job: Job, network: str | None = None) -> dict:
    return job.manifest(probe(job.source, count=False), network)


def test_styles_without_weights_have_equal_weights(clip: Path, style: Path, picture: Path) -> None:
    job = make_job(clip, "out.mp4", style=[style, picture])
    assert job.styles == ((style, 0.5), (picture, 0.5))


def test_weights_are_normalised_to_one(clip: Path, style: Path, picture: Path) -> None:
    job = make_job(clip, "out.mp4", style=[f"{style}=1.5", (picture, 0.5)])
    assert [weight for _, weight in job.styles] == [0.75, 0.25]


def test_one_style_may_be_a_path_a_string_or_a_pair(clip: Path, style: Path) -> None:
    for given in (style, str(style), (style, 3), f"{style}=0.2", [style]):
        assert make_job(clip, "out.mp4", style=given).styles == ((style, 1.0),)


def test_two_styles_may_be_a_tuple(clip: Path, style: Path, picture: Path) -> None:
    assert len(make_job(clip, "out.mp4", style=(style, picture)).styles) == 2
    assert len(make_job(clip, "out.mp4", style=((style, 1), (picture, 2))).styles) == 2


def test_an_existing_file_with_an_equals_sign_is_not_split(tmp_path: Path) -> None:
    odd = tmp_path / "a.png=0.7"
    assert parse_style(str(odd)) == (tmp_path / "a.png", 0.7)
    odd.touch()
    assert parse_style(str(odd)) == (odd, None)


@pytest.mark.parametrize("weight", ["nan", "inf", "0", "-1"])
def test_a_weight_that_is_not_positive_is_refused(clip: Path, style: Path, weight: str) -> None:
    with pytest.raises(UsageError, match="expected a weight above 0"):
        make_job(clip, "out.mp4", style=f"{style}={weight}")


def test_weights_for_some_styles_only_are_refused(clip: Path, style: Path, picture: Path) -> None:
    with pytest.raises(UsageError, match="for every style or for none"):
        make_job(clip, "out.mp4", style=[f"{style}=0.7", picture])


def test_missing_files_are_named(clip: Path, style: Path) -> None:
    with pytest.raises(MediaError, match=r"source nowhere\.mp4 does not exist"):
        make_job("nowhere.mp4", "out.mp4", style=style)
    with pytest.raises(MediaError, match=r"style nowhere\.jpg=x does not exist"):
        make_job(clip, "out.mp4", style="nowhere.jpg=x")
    with pytest.raises(UsageError, match="got none"):
        make_job(clip, "out.mp4", style=[])


def test_an_output_that_is_an_input_is_refused(clip: Path, style: Path, tmp_path: Path) -> None:
    link, twin = tmp_path / "link.mp4", tmp_path / "twin.mp4"
    link.symlink_to(clip)
    os.link(clip, twin)
    for output in (clip, link, twin, tmp_path / "x" / ".." / "clip.mp4", style):
        with pytest.raises(UsageError, match="is also an input"):
            make_job(clip, output, style=style)


def test_an_output_folder_that_holds_an_input_is_refused(
    photos: Path, style: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="contains the input"):
        make_job(photos / "photo0.png", photos, style=style)
    with pytest.raises(UsageError, match="contains the input"):
        make_job(photos, tmp_path, style=style)


def test_a_similar_name_is_suggested_for_a_misspelt_option(clip: Path, style: Path) -> None:
    with pytest.raises(SettingsError, match="did you mean 'style_weight'"):
        make_job(clip, "out.mp4", style=style, style_wieght=2.0)
    with pytest.raises(SettingsError, match=r"there are .*size"):
        make_job(clip, "out.mp4", style=style, zzz=2.0)
    with pytest.raises(UsageError, match="expected one of basic"):
        make_job(clip, "out.mp4", style=style, technique="zzz")


def test_a_style_that_is_not_a_picture_is_named(clip: Path, tmp_path: Path) -> None:
    text = tmp_path / "notes.jpg"
    text.write_text("not a picture")
    with pytest.raises(MediaError, match=r"notes\.jpg"):
        make_job(clip, "out.mp4", style=text).read_styles()
    with pytest.raises(MediaError, match=r"clip\.mp4"):
        make_job(text, "out.mp4", style=clip).read_styles()


@pytest.mark.parametrize(
    ("size", "source", "even", "result"),
    [
        ("auto", (1280, 720), True, (512, 288)),
        ("auto", (300, 200), True, (300, 200)),
        ("source", (321, 241), True, (320, 240)),
        ("source", (321, 241), False, (321, 241)),
        (256, (720, 1280), True, (144, 256)),
        (1024, (512, 300), False, (1024, 600)),
        (512, (1998, 1080), True, (512, 276)),
    ],
)
def test_target_size_keeps_proportions(
    size: int | str, source: tuple[int, int], even: bool, result: tuple[int, int]
) -> None:
    assert target_size(size, *source, even=even) == result


def test_a_result_too_small_for_the_network_is_refused() -> None:
    with pytest.raises(UsageError, match="at least 16 pixels a side, got 512 x 4"):
        target_size(512, 2000, 14)


def test_every_look_option_is_in_the_manifest_and_no_other(clip: Path, style: Path) -> None:
    settings = manifest(make_job(clip, "out.mp4", style=style))["settings"]
    scopes = {name: spec.scope for name, (_, spec) in options(Settings).items()}
    assert set(settings) == {name for name, scope in scopes.items() if scope == "look"}


def test_the_manifest_depends_on_content_not_names(clip: Path, style: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved.mp4"
    first = manifest(make_job(clip, "out.mp4", style=style))
    clip.rename(moved)
    assert manifest(make_job(moved, "elsewhere.mp4", style=style, crf=30)) == first
    moved.write_bytes(moved.read_bytes() + b"\0")
    assert manifest(make_job(moved, "out.mp4", style=style))["source"] != first["source"]


def test_the_fingerprint_of_a_folder_has_names_and_content(photos: Path) -> None:
    first = fingerprint(sorted(photos.iterdir()))
    (photos / "photo1.png").rename(photos / "photo3.png")
    assert fingerprint(sorted(photos.iterdir())) != first


def test_the_manifest_has_versions_and_threads(
    clip: Path, style: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    found = manifest(make_job(clip, "out.mp4", style=style), "abc")
    assert found["versions"]["numpy"] == version_of("numpy")
    assert found["environment"]["OMP_NUM_THREADS"] == "3"
    assert found["weights"] == "abc"


def test_the_version_of_a_missing_package_is_none() -> None:
    assert version_of("no-such-package-of-anyone") is None
