"""`vidstyle eval` on faithful, frozen, blurred and flickering results."""

import json
from itertools import accumulate
from pathlib import Path

import av
import cv2
import numpy as np
import PIL.Image
import pytest

from vidstyle.cli.main import main
from vidstyle.errors import MediaError
from vidstyle.evaluation.evaluate import Evaluation, evaluate
from vidstyle.evaluation.report import Album, write_report
from vidstyle.motion.warp import sample, warp

HEIGHT, WIDTH, FRAMES, CUT = 72, 96, 14, 12
RANDOM = np.random.default_rng(5)


def source_frame(index: int) -> np.ndarray:
    """A texture that pans by a pixel per frame, with another texture after the cut."""
    random = np.random.default_rng(3 if index < CUT else 9)
    noise = random.random((HEIGHT, WIDTH + 80, 3), np.float32)
    ground = np.clip(0.5 + 3 * (cv2.GaussianBlur(noise, (0, 0), 2) - 0.5), 0, 1)
    return np.asarray(ground[:, index : index + WIDTH])


def stylised(frame: np.ndarray) -> np.ndarray:
    """A stylisation that follows the motion: swapped channels, raised contrast."""
    return np.clip((frame[..., ::-1] - 0.5) * 1.5 + 0.5, 0, 1)


def video(path: Path, frames: list[np.ndarray]) -> Path:
    """Write frames losslessly at 25 per second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "bgr0"
        for frame in frames:
            picture = np.ascontiguousarray(np.rint(frame * 255).astype(np.uint8))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("clips")
    sources = [source_frame(index) for index in range(FRAMES)]
    faithful = [stylised(frame) for frame in sources]
    flickering = [
        np.clip(frame + np.random.default_rng(i).normal(0, 0.1, frame.shape), 0, 1)
        for i, frame in enumerate(faithful)
    ]
    arms = {
        "source": sources,
        "faithful": faithful,
        "blurred": [cv2.GaussianBlur(frame, (0, 0), 2.5) for frame in flickering],
        "frozen": [faithful[0]] * CUT + faithful[CUT:],
        "flickering": flickering,
        "darkening": [frame * (1 - 0.02 * i) for i, frame in enumerate(faithful)],
    }
    return {name: video(folder / f"{name}.mkv", frames) for name, frames in arms.items()}


@pytest.fixture(scope="module")
def found(clips: dict[str, Path]) -> dict[str, Evaluation]:
    return {
        name: evaluate(clips[name], clips["source"], cold=clips["faithful"])
        for name in clips
        if name != "source"
    }


def test_a_result_that_follows_its_source_is_at_the_noise_floor(
    found: dict[str, Evaluation],
) -> None:
    summary = found["faithful"].summary
    assert summary["warping_error_lai_short_ratio"] == pytest.approx(2.25, rel=0.4)  # 1.5 squared
    assert summary["cold_sharpness_ratio"] == pytest.approx(1)
    assert abs(summary["drift_contrast"] or 0) < 0.2
    assert summary["coverage_short"] is not None
    assert summary["coverage_short"] > 0.7


def test_no_error_is_measured_across_a_cut(found: dict[str, Evaluation]) -> None:
    series = found["faithful"].series["warping_error_lai_short"]
    assert found["faithful"].cuts == (CUT,)
    assert [index for index, value in enumerate(series) if value is None] == [0, CUT]
    long = found["faithful"].series["warping_error_lai_long"]
    assert [index for index, value in enumerate(long) if value is not None] == [10, 11]


@pytest.mark.parametrize("arm", ["frozen", "flickering"])
@pytest.mark.parametrize("term", ["short", "long"])
@pytest.mark.parametrize("definition", ["lai", "ruder"])
def test_frozen_and_flickering_results_have_high_errors(
    found: dict[str, Evaluation], arm: str, term: str, definition: str
) -> None:
    name = f"warping_error_{definition}_{term}"
    unsteady, faithful = found[arm].summary[name], found["faithful"].summary[name]
    assert unsteady is not None
    assert faithful is not None
    assert unsteady > 4 * faithful


def test_blur_lowers_the_warping_error_and_the_sharpness(found: dict[str, Evaluation]) -> None:
    blurred, flickering = found["blurred"].summary, found["flickering"].summary
    name = "warping_error_lai_short"
    assert (blurred[name] or 1) < 0.2 * (flickering[name] or 0)
    assert (blurred["cold_sharpness_ratio"] or 1) < 0.7


def test_sharp_disoccluded_areas_do_not_hide_blur_in_visible_ones(
    tmp_path: Path, clips: dict[str, Path]
) -> None:
    """Only the columns that the pan has just brought in are sharp."""
    frames = []
    for index in range(FRAMES):
        sharp = stylised(source_frame(index))
        mixed = cv2.GaussianBlur(sharp, (0, 0), 1.5)
        mixed[:, -8:] = np.random.default_rng(index).random((HEIGHT, 8, 3))
        frames.append(mixed)
    summary = evaluate(
        video(tmp_path / "mixed.mkv", frames), clips["source"], cold=clips["faithful"]
    ).summary
    assert (summary["cold_sharpness_ratio"] or 0) > (summary["cold_sharpness_visible_ratio"] or 9)


def test_long_term_flow_follows_a_fast_pan(tmp_path: Path) -> None:
    """The displacement exceeds the range of the flow, so composed short flows initialise it."""
    random = np.random.default_rng(3)
    ground = random.random((HEIGHT, WIDTH + 80, 3), np.float32)
    ground = np.clip(0.5 + 3 * (cv2.GaussianBlur(ground, (0, 0), 2) - 0.5), 0, 1)
    frames = [ground[:, 6 * index : 6 * index + WIDTH] for index in range(11)]
    clip = video(tmp_path / "pan.mkv", frames)
    summary = evaluate(clip, clip).summary
    assert (summary["coverage_long"] or 0) > 0.8 * (1 - 60 / WIDTH)
    assert (summary["warping_error_lai_long"] or 1) < 1e-3


def test_repeated_bilinear_warping_has_a_high_error_only_by_lai(tmp_path: Path) -> None:
    """A pan by 0.4 pixels per frame."""
    random = np.random.default_rng(3)
    ground = random.random((HEIGHT, WIDTH + 80, 3), np.float32)
    ground = np.clip(0.5 + 3 * (cv2.GaussianBlur(ground, (0, 0), 1) - 0.5), 0, 1)
    panned = [
        warp(ground, np.full((*ground.shape[:2], 2), (0.4 * i, 0), np.float32))[:, :WIDTH]
        for i in range(6)
    ]
    step = np.full((HEIGHT, WIDTH, 2), (0.4, 0), np.float32)
    warped = list(accumulate(range(1, 6), lambda made, _: sample(made, step), initial=panned[0]))
    source = video(tmp_path / "pan.mkv", panned)
    found = evaluate(video(tmp_path / "warped.mkv", warped), source).summary
    lai, ruder = (found[f"warping_error_{whose}_short"] or 0 for whose in ("lai", "ruder"))
    assert ruder < 0.2 * lai
    assert lai > 0.5 * (found["source_warping_error_lai_short"] or 9)


def test_darkening_is_drift(found: dict[str, Evaluation]) -> None:
    darkening, faithful = found["darkening"].summary, found["faithful"].summary
    assert (darkening["drift_color"] or 0) > (faithful["drift_color"] or 0) + 0.05


def test_a_mask_restricts_the_measured_area(clips: dict[str, Path], tmp_path: Path) -> None:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[:, 40:] = 255
    PIL.Image.fromarray(mask).save(tmp_path / "mask.png")
    whole = evaluate(clips["faithful"], clips["source"]).summary
    part = evaluate(clips["faithful"], clips["source"], mask=tmp_path / "mask.png").summary
    assert (part["coverage_short"] or 1) < 0.7 * (whole["coverage_short"] or 0)


def test_a_range_of_the_source(clips: dict[str, Path], tmp_path: Path) -> None:
    part = video(tmp_path / "part.mkv", [stylised(source_frame(i)) for i in range(5, 10)])
    result = evaluate(part, clips["source"], start=0.2, end=0.4)
    assert result.frames == 5
    assert (result.summary["warping_error_lai_short"] or 1) < 1e-3


def test_another_number_of_frames_is_refused(clips: dict[str, Path], tmp_path: Path) -> None:
    short = video(tmp_path / "short.mkv", [stylised(source_frame(i)) for i in range(4)])
    with pytest.raises(MediaError, match=r"expected as many frames as .* 14, got 4"):
        evaluate(short, clips["source"])


def test_the_command_prints_json_or_a_table(
    clips: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["eval", str(clips["faithful"]), "--source", str(clips["source"])]
    assert main([*arguments, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["frames"] == FRAMES
    assert len(printed["series"]["sharpness"]) == FRAMES
    assert main(arguments) == 0
    words = capsys.readouterr().out
    assert f"{FRAMES} frames, cuts before {CUT}" in words
    assert "warping_error_ruder_long" in words


def test_inputs_that_cannot_be_measured_are_one_line_each(
    clips: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = str(tmp_path / "none.mp4")
    assert main(["eval", missing, "--source", str(clips["source"])]) == 3
    assert main(["eval", str(clips["faithful"]), "--source", missing]) == 3
    arguments = ["eval", str(clips["faithful"]), "--source", str(clips["source"])]
    assert main([*arguments, "--style", missing]) == 3
    assert main(["eval", missing]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 4
    assert all(line.startswith("vidstyle: ") for line in lines)


def test_the_page_is_self_contained(clips: dict[str, Path], tmp_path: Path) -> None:
    frame = {"event": "frame", "index": 3, "losses": {"total": 0.5}, "seconds": 1.5}
    log = tmp_path / "run.jsonl"
    log.write_text(f"{json.dumps({'event': 'start'})}\n{json.dumps(frame)}\n")
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[:, 40:] = 255
    PIL.Image.fromarray(mask).save(tmp_path / "mask.png")
    page = tmp_path / "report.html"
    arguments = [
        "eval",
        str(clips["faithful"]),
        "--source",
        str(clips["source"]),
        "--html",
        str(page),
    ]
    assert main([*arguments, "--log", str(log), "--mask", str(tmp_path / "mask.png")]) == 0
    text = page.read_text("utf-8")
    assert text.count("data:image/jpeg;base64,") == 12 + 2 + 1  # the sheet, the pair, the mask
    assert "http" not in text
    assert text.count("<svg") == 8  # all curves but the style distance
    assert "Seconds per frame, up to 1.5" in text
    assert not list(tmp_path.glob(".*"))
    assert main(arguments) == 2
    assert main([*arguments, "--overwrite"]) == 0
    text = page.read_text("utf-8")
    assert "Losses and times are unknown" in text
    assert "independent" not in text  # no empty column


def test_the_page_shows_every_figure_once_and_marks_cuts(tmp_path: Path) -> None:
    names = ("contrast", "sharpness", "source_sharpness", "sharpness_ratio")
    cold = ("cold_sharpness", "cold_sharpness_ratio")
    summary = {name: 0.5 + index for index, name in enumerate(names + cold)}
    series = {"sharpness": [1.0, None, 0.5, 1.0, 1.0]}
    page = tmp_path / "report.html"
    album = Album()
    for index in range(5):
        picture = np.zeros((4, 6, 3), np.float32)
        album(index, 5, picture, picture, np.ones((4, 6), bool))
    write_report(page, "made", Evaluation(5, (2,), summary, series), album)
    text = page.read_text("utf-8")
    assert [text.count(f"<td>{value:.4g}") for value in summary.values()] == [1] * 6
    assert [text.count(f"<tr><td>{name}<td>") for name in ("contrast", "sharpness")] == [1, 1]
    assert "<td>cold" not in text
    assert "M302.5 10V170" in text  # halfway between the second frame and the third of five


def test_a_bad_page_or_log_is_refused_before_the_measurement(
    clips: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["eval", str(clips["faithful"]), "--source", str(clips["source"])]
    bad = tmp_path / "bad.jsonl"
    bad.write_text("no json\n")
    page = str(tmp_path / "page.html")
    assert main([*arguments, "--html", str(tmp_path / "none" / "page.html")]) == 2
    assert main([*arguments, "--html", str(tmp_path)]) == 2
    assert main([*arguments, "--log", str(bad)]) == 2
    assert main([*arguments, "--html", page, "--log", str(bad)]) == 3
    assert main([*arguments, "--html", page, "--log", str(tmp_path / "none.jsonl")]) == 3
    assert len(capsys.readouterr().err.strip().splitlines()) == 5
    assert not Path(page).exists()


def test_late_frames_are_compared_with_independent_frames(
    clips: dict[str, Path], tmp_path: Path
) -> None:
    """The last third dissolves, is sharper, and has specks and stripes."""
    columns = np.indices((HEIGHT, WIDTH))[1]
    made = [stylised(source_frame(index)) for index in range(FRAMES)]
    stripes = np.where(columns // 4 % 2, 0.15, -0.15)[..., None]
    for index in range(FRAMES - FRAMES // 3, FRAMES):
        made[index] = np.clip(made[index] + stripes, 0, 1)
        made[index][4:60:6, 4:90:6] = (0, 0, 1)
    summary = evaluate(
        video(tmp_path / "late.mkv", made), clips["source"], cold=clips["faithful"]
    ).summary
    assert (summary["cold_legibility_late_ratio"] or 1) < 0.8
    assert (summary["cold_sharpness_late_ratio"] or 0) > 1.2
    assert (summary["cold_specks_late_ratio"] or 0) > 10
    assert (summary["cold_texture_periodicity_late_ratio"] or 0) > 1.2
    late, all_frames = "cold_specks_late_ratio", "cold_specks_ratio"
    assert (summary[late] or 0) > (summary[all_frames] or 0)


def test_legibility_is_measured_on_the_subject_only(clips: dict[str, Path], tmp_path: Path) -> None:
    made = [stylised(source_frame(index)) for index in range(FRAMES)]
    for frame in made:
        frame[:, : WIDTH // 2] = 0.5 + 0.1 * RANDOM.standard_normal((HEIGHT, WIDTH // 2, 1))
    left = np.zeros((HEIGHT, WIDTH), np.uint8)
    left[:, : WIDTH // 2 - 8] = 255
    for name, picture in (("left", left), ("right", left[:, ::-1])):
        PIL.Image.fromarray(picture).save(tmp_path / f"{name}.png")
    output = video(tmp_path / "half.mkv", [np.clip(frame, 0, 1) for frame in made])
    evaluations = [
        evaluate(output, clips["source"], cold=clips["faithful"], subject=tmp_path / f"{name}.png")
        for name in ("left", "right")
    ]
    lost, kept = (found.summary["cold_legibility_ratio"] or 0 for found in evaluations)
    assert lost < 0.2
    assert kept > 0.95


class _Looked:
    """A fake of PerceptualDistances: the style distance is the distance from grey in the area."""

    def __init__(self) -> None:
        self.areas: list[float] = []

    def __call__(self, image: np.ndarray, _: np.ndarray, inside: np.ndarray) -> dict[str, float]:
        self.areas.append(float(inside.mean()))
        return {"style_distance": float(np.abs(image - 0.5)[inside].mean())}


def test_areas_that_enter_in_a_pan_have_their_own_style_distance(
    clips: dict[str, Path], tmp_path: Path
) -> None:
    look = _Looked()
    made = [stylised(source_frame(index)) for index in range(FRAMES)]
    for index in range(1, CUT):
        made[index][:, WIDTH - index :] = 0.5  # the pan is a pixel a frame
    found = evaluate(
        video(tmp_path / "grey.mkv", made),
        clips["source"],
        style="any",
        cold=clips["faithful"],
        make_distances=lambda *_: look,
    )
    assert (found.summary["cold_style_distance_new_ratio"] or 9) < 0.5
    assert (found.summary["style_distance"] or 0) > 0.1
    assert found.series["style_distance_new"][CUT] is None  # nothing before it in its shot
    assert min(look.areas) < 0.2
