"""Encoding choices: every codec in every container; depth and alpha are kept."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import PIL.Image
import pytest
from media_inputs import decoded, disc, write_clip, write_raw

from vidstyle import media
from vidstyle.cli.main import main
from vidstyle.errors import OutputError, UsageError
from vidstyle.jobs.job import make_job
from vidstyle.jobs.pipeline import run
from vidstyle.media.animations import write as animations
from vidstyle.media.codecs import CODECS, choose
from vidstyle.media.containers import CONTAINERS
from vidstyle.media.encoding import movie

_EVERY = [(row.suffix, name) for row in CONTAINERS.values() for name in row.video]
_PATCHES = np.array(
    [(0, 0, 0), (255, 255, 255), (128, 128, 128), (200, 30, 30), (30, 200, 30), (30, 30, 200)]
)


def _encode(clip: media.Clip, part: Path, frames=None, **encoding) -> list[str]:
    indices = range(clip.frames)
    frames = media.read(clip, indices) if frames is None else frames
    output = part.with_stem("out")
    media.check_output(clip, output, media.EncodingOptions(**encoding))
    return media.encode(clip, indices, frames, output, part, media.EncodingOptions(**encoding))


def _stored(path: Path) -> tuple[str, str]:
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        return context.name, context.pix_fmt


@pytest.mark.parametrize(("suffix", "codec"), _EVERY)
def test_every_codec_keeps_frames_times_and_colours_and_gives_the_same_bytes(
    tmp_path: Path, suffix: str, codec: str
) -> None:
    clip = media.probe(write_clip(tmp_path / "a.mkv", [0, 1, 2, 5, 9, 10, 11, 12], offset=30))
    row = np.repeat(_PATCHES, 32, axis=0).astype(np.float32) / 255
    frames = [np.broadcast_to(row, (48, len(row), 3))] * clip.frames
    quality = None if CODECS[codec].crf is None else 6
    part = tmp_path / f"part{suffix}"
    assert _encode(clip, part, frames, codec=codec, crf=quality) == []
    first = part.read_bytes()
    _encode(clip, part, frames, codec=codec, crf=quality)
    assert part.read_bytes() == first
    result = media.probe(part)
    wanted = [float(stamp * clip.time_base) for stamp in clip.timestamps]
    found = [float(stamp * result.time_base) for stamp in result.timestamps]
    np.testing.assert_allclose(found, wanted, atol=0.001)
    assert result.duration == pytest.approx(clip.duration, abs=0.0011)
    shown = decoded(part)[:, 24, 16::32].astype(int)
    assert np.abs(shown - _PATCHES).max() <= 3


@pytest.mark.parametrize(
    ("suffix", "depth", "alpha", "expected"),
    [
        (".mp4", 8, False, ("libx264", "yuv420p")),
        (".mp4", 10, False, ("libx265", "yuv420p10le")),
        (".mp4", 8, True, ("libx264", "yuv420p")),
        (".mov", 8, True, ("prores_ks", "yuva444p10le")),
        (".mkv", 8, True, ("libvpx-vp9", "yuva420p")),
        (".webm", 8, False, ("libvpx-vp9", "yuv420p")),
        (".webm", 12, False, ("libsvtav1", "yuv420p10le")),
        (".webm", 8, True, ("libvpx-vp9", "yuva420p")),
    ],
)
def test_the_default_codec_keeps_depth_and_alpha_of_the_source(
    tmp_path: Path, suffix: str, depth: int, alpha: bool, expected: tuple[str, str]
) -> None:
    clip = media.Clip(
        path=tmp_path, kind="video", width=8, height=8, frames=1, counted=True, depth=depth,
        alpha=alpha,
    )  # fmt: skip
    form = choose(clip, suffix, media.EncodingOptions())
    assert (form.codec.encoder, form.pix_fmt) == expected


@pytest.mark.parametrize(
    ("suffix", "encoding", "expected"),
    [
        (".mp4", {"codec": "hevc"}, ("hevc", "yuv420p")),
        (".mov", {"codec": "prores"}, ("prores", "yuv422p10le")),
        (".mp4", {"pix_fmt": "yuv444p"}, ("h264", "yuv444p")),
        (".mp4", {"pix_fmt": "yuv420p10le", "codec": "h264"}, ("h264", "yuv420p10le")),
        (".mkv", {"codec": "ffv1"}, ("ffv1", "bgr0")),
        (".mkv", {"codec": "ffv1", "pix_fmt": "gbrp16le"}, ("ffv1", "gbrp16le")),
        (".webm", {"codec": "av1"}, ("libdav1d", "yuv420p")),
    ],
)
def test_requested_codec_quality_and_pixel_format_are_used(
    tmp_path: Path, suffix: str, encoding: dict, expected: tuple[str, str]
) -> None:
    clip = media.probe(write_clip(tmp_path / "a.mp4", [0, 1]))
    assert _encode(clip, tmp_path / f"part{suffix}", **encoding) == []
    assert _stored(tmp_path / f"part{suffix}") == expected


@pytest.mark.parametrize(
    ("suffix", "encoding", "sentence"),
    [
        (".mp4", {"codec": "prores"}, "--codec: expected one of h264, hevc, av1 in .mp4"),
        (".webm", {"codec": "h264"}, "--codec: expected one of vp9, av1 in .webm"),
        (
            ".mp4",
            {"pix_fmt": "yuv999"},
            "--pix-fmt: expected one that works of .*yuv420p10le.* got yuv999",
        ),
        (".mp4", {"codec": "hevc", "pix_fmt": "yuva420p"}, "--pix-fmt: expected one that works"),
        (
            ".mp4",
            {"codec": "av1", "pix_fmt": "yuv444p"},
            "--pix-fmt: expected one that works of yuv420p, yuv420p10le in .mp4",
        ),
    ],
)
def test_unsupported_codecs_and_pixel_formats_are_refused_before_any_work(
    tmp_path: Path, suffix: str, encoding: dict, sentence: str
) -> None:
    clip = media.probe(write_clip(tmp_path / "a.mp4", [0, 1]), count=False)
    with pytest.raises(UsageError, match=sentence):
        media.check_output(clip, tmp_path / f"out{suffix}", media.EncodingOptions(**encoding))


def test_an_unused_crf_is_reported(tmp_path: Path) -> None:
    clip = media.probe(write_clip(tmp_path / "a.mp4", [0, 1]))
    assert "has no CRF" in _encode(clip, tmp_path / "part.mov", codec="prores", crf=20)[0]
    assert "accepts at most 51" in _encode(clip, tmp_path / "part.mp4", crf=60)[0]
    assert "--codec" in _encode(clip, tmp_path / "part.gif", codec="hevc")[0]


def _ramp() -> np.ndarray:
    """Return a grey gradient in 10-bit steps over the darker half, uint16."""
    steps = np.linspace(0, 32767, 512).astype(np.uint16)
    return np.broadcast_to(steps[None, None, :, None], (3, 64, 512, 3))


@pytest.mark.parametrize(
    ("suffix", "coded"), [(".mp4", "hevc"), (".webm", "libdav1d"), (".mov", "hevc")]
)
def test_ten_bits_stay_ten_through_the_state_of_a_run(
    tmp_path: Path, suffix: str, coded: str
) -> None:
    lossless = ("-c:v", "ffv1", "-pix_fmt", "yuv444p10le", "-color_range", "tv")
    clip = media.probe(write_raw(tmp_path / "a.mkv", _ramp(), *lossless))
    assert clip.depth == 10
    frames = []
    for image in media.read(clip, range(3)):
        media.save_frame(tmp_path / "state.png", image)
        frames.append(media.load_frame(tmp_path / "state.png"))
    part = tmp_path / f"part{suffix}"
    assert _encode(clip, part, frames, crf=4) == []
    assert _stored(part) == (coded, "yuv420p10le")
    shown = decoded(part, "rgb48le")[1, 32, :, 1].astype(int)
    assert len(np.unique(shown)) > 300  # 8 bits have 110 steps here
    assert np.abs(shown - _ramp()[0, 32, :, 1]).max() < 3 * 257


def _clear_frames() -> np.ndarray:
    """Return an opaque disc with a soft edge on a transparent background, uint8 RGBA."""
    y, x = np.mgrid[:48, :64]
    alpha = np.clip((18 - np.hypot(x - 32, y - 24)) / 6, 0, 1)
    frames = [(np.dstack([disc(step), alpha]) * 255).astype(np.uint8) for step in range(4)]
    return np.array(frames)


def _clear_source(folder: Path) -> media.Clip:
    path = write_raw(folder / "a.mkv", _clear_frames(), "-c:v", "ffv1", "-pix_fmt", "bgra")
    return media.probe(path)


@pytest.mark.parametrize(
    ("suffix", "decoder"),
    [(".webm", "libvpx-vp9"), (".mkv", "libvpx-vp9"), (".mov", "prores"), (".apng", "apng")],
)
def test_alpha_is_kept_where_the_output_can_hold_it(
    tmp_path: Path, suffix: str, decoder: str
) -> None:
    clip = _clear_source(tmp_path)
    assert clip.alpha
    part = tmp_path / f"part{suffix}"
    assert _encode(clip, part) == []
    shown = decoded(part, "rgba", "-c:v", decoder).astype(float)
    true = _clear_frames().astype(float)
    assert np.abs(shown[..., 3] - true[..., 3]).mean() < 1
    opaque = true[..., 3] == 255
    assert np.abs(shown[..., :3] - true[..., :3])[opaque].mean() < 4
    flat = [frame[..., :3] * frame[..., 3:] / 255 for frame in shown]  # over black
    wanted = [frame[..., :3] * frame[..., 3:] / 255 for frame in true]
    assert np.abs(np.array(flat) - np.array(wanted)).mean() < 3


def test_an_animated_webp_keeps_alpha_and_every_duration(tmp_path: Path) -> None:
    clip = _clear_source(tmp_path)
    part = tmp_path / "part.webp"
    assert _encode(clip, part) == []
    result = media.probe(part)
    assert (result.kind, result.alpha, result.timestamps) == ("animation", True, (0, 40, 80, 120))
    found = np.array(list(media.read_alpha(result, range(4))))[..., 0] * 255
    assert np.abs(found - _clear_frames()[..., 3]).max() <= 1


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_alpha_that_cannot_be_kept_is_composited_over_white_with_a_warning(
    tmp_path: Path, suffix: str
) -> None:
    clip = _clear_source(tmp_path)
    warnings = _encode(clip, tmp_path / f"part{suffix}")
    assert "partly transparent" in warnings[0]
    assert decoded(tmp_path / f"part{suffix}")[0, 2, 2].min() > 245


def test_a_video_whose_alpha_plane_is_opaque_has_no_alpha(tmp_path: Path) -> None:
    frames = _clear_frames()
    frames[..., 3] = 255
    path = write_raw(tmp_path / "a.mkv", frames, "-c:v", "ffv1", "-pix_fmt", "bgra")
    clip = media.probe(path)
    assert not clip.alpha
    assert _encode(clip, tmp_path / "part.mp4") == []


@pytest.mark.parametrize(("suffix", "encoding"), [(".webm", {}), (".mp4", {"pix_fmt": "yuv444p"})])
def test_odd_sizes_are_kept_if_the_codec_supports_them(
    tmp_path: Path, suffix: str, encoding: dict
) -> None:
    clip = media.probe(write_clip(tmp_path / "a.mp4", [0, 1]))
    part = tmp_path / f"part{suffix}"
    assert _encode(clip, part, [disc(0, 33, 21), disc(1, 33, 21)], **encoding) == []
    assert (media.probe(part).width, media.probe(part).height) == (33, 21)


@pytest.mark.parametrize("suffix", [".webp", ".apng"])
def test_an_animation_keeps_equal_frames_and_durations(tmp_path: Path, suffix: str) -> None:
    clip = media.Clip(
        path=tmp_path / "a", kind="sequence", width=64, height=48, frames=4, counted=True,
        time_base=Fraction(1, 1000), timestamps=(0, 50, 250, 320), end=350,
    )  # fmt: skip
    part = tmp_path / f"part{suffix}"
    frames = [disc(0), disc(0), disc(3), disc(3)]
    assert _encode(clip, part, frames) == []
    result = media.probe(part)
    assert (result.timestamps, result.end) == ((0, 50, 250, 320), 350)
    again = np.array(list(media.read(result, range(4))))
    assert (
        np.abs(again - np.array(frames)).mean() < (0.001 if suffix == ".apng" else 0.02) + 1 / 255
    )


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("count", [1, 4])
def test_an_apng_is_lossless_and_the_same_bytes_each_time(
    tmp_path: Path, channels: int, count: int
) -> None:
    clip = media.Clip(
        path=tmp_path / "a", kind="sequence", width=64, height=48, frames=count, counted=True,
        time_base=Fraction(1, 1000), timestamps=(0, 1, 70001, 70034)[:count], end=70100,
    )  # fmt: skip
    noise = np.random.default_rng(0).integers(0, 256, (2, 48, 64, channels)) / 255
    frames = [noise[0], noise[0], noise[1], noise[0]][:count]  # equal frames are kept
    parts = [tmp_path / f"{name}.apng" for name in "ab"]
    for part in parts:
        animations.write_apng(clip, range(count), frames, part)
    assert parts[0].read_bytes() == parts[1].read_bytes()
    result = media.probe(parts[0])
    if count > 1:
        assert (result.timestamps, result.end) == (clip.timestamps, clip.end)
    with PIL.Image.open(parts[0]) as picture:
        for index, frame in enumerate(frames):
            picture.seek(index)
            found = np.asarray(picture.convert("RGBA" if channels == 4 else "RGB"))
            np.testing.assert_array_equal(found, np.rint(frame * 255))


@pytest.mark.parametrize(("codec", "suffix"), [("tiff", ".tiff"), ("jpg", ".jpg"), (None, ".png")])
def test_pictures_of_a_folder_have_the_requested_format(
    tmp_path: Path, codec: str | None, suffix: str
) -> None:
    clip = media.probe(write_clip(tmp_path / "a.mp4", [0, 1]))
    part, frames = tmp_path / "part", list(media.read(clip, range(2)))
    encoding = media.EncodingOptions(codec=codec)
    assert media.encode(clip, range(2), frames, tmp_path / "out", part, encoding) == []
    names = sorted(file.name for file in part.iterdir())
    assert names == [f"000000{suffix}", f"000001{suffix}"]
    np.testing.assert_allclose(media.read_picture(part / names[1]), frames[1], atol=0.06)


def test_a_video_codec_is_not_used_for_a_folder(tmp_path: Path) -> None:
    clip = media.probe(write_clip(tmp_path / "a.mp4", [0, 1]))
    frames, encoding = (
        media.read(clip, range(2)),
        media.EncodingOptions(codec="hevc", pix_fmt="yuv444p"),
    )
    warnings = media.encode(clip, range(2), frames, tmp_path / "out", tmp_path / "part", encoding)
    assert [warning.partition(":")[0] for warning in warnings] == ["--codec", "--pix-fmt"]


def test_another_codec_is_encoded_from_the_saved_frames(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", [0, 1, 2])
    PIL.Image.new("RGB", (32, 32)).save(tmp_path / "style.png")
    output = tmp_path / "out.mp4"

    def again(**settings) -> int:
        return run(
            make_job(
                clip, output, style=tmp_path / "style.png", steps=0, steps_next=0,
                keep_frames=True, overwrite=True, **settings,
            )
        ).stylized  # fmt: skip

    assert (again(codec="h264"), _stored(output)) == (3, ("h264", "yuv420p"))
    assert (again(codec="hevc"), _stored(output)) == (0, ("hevc", "yuv420p"))
    before = output.stat().st_mtime_ns
    assert (again(codec="hevc"), output.stat().st_mtime_ns) == (0, before)
    assert (again(pix_fmt="yuv444p"), _stored(output)) == (0, ("h264", "yuv444p"))


def test_an_unsupported_codec_is_refused_at_once_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = write_clip(tmp_path / "a.mp4", [0, 1])
    PIL.Image.new("RGB", (32, 32)).save(tmp_path / "style.png")
    style = str(tmp_path / "style.png")
    words = ["basic", str(clip), "-o", str(tmp_path / "o.mp4"), "--style", style]
    assert main([*words, "--codec", "prores"]) == 2
    assert "--codec: expected one of h264, hevc, av1 in .mp4" in capsys.readouterr().err
    assert not list(tmp_path.glob("o.mp4*"))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda stamps: stamps[:-1], "is not whole: expected 3 frames, got 2"),
        (lambda stamps: [*stamps[:-1], stamps[-1] + 99], "expected the source's timing"),
    ],
)
def test_a_file_that_fails_verification_is_never_renamed_to_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable, sentence: str
) -> None:
    clip = write_clip(tmp_path / "a.mp4", [0, 1, 2])
    PIL.Image.new("RGB", (32, 32)).save(tmp_path / "style.png")
    output = tmp_path / "out.mp4"
    job = make_job(clip, output, style=tmp_path / "style.png", steps=0, steps_next=0)
    read_back = movie.packet_timeline

    def otherwise(*given):
        stamps, end = read_back(*given)
        return change(stamps), end

    with monkeypatch.context() as patch:
        patch.setattr(movie, "packet_timeline", otherwise)
        with pytest.raises(OutputError, match=sentence):
            run(job)
    assert not output.exists()
    assert run(job).stylized == 0  # the saved frames were used
    assert media.probe(output).frames == 3
