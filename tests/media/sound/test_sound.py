"""Sound of every codec keeps its channels and times in the output, or its loss is reported."""

import io
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import sounds
from media_inputs import ffmpeg, write_clip
from sounds import BEGIN, END, LENGTH, TONES, copy, heard, write_film, write_speex

from vidstyle import media
from vidstyle.media.encoding import remux
from vidstyle.media.sound.layouts import Channels, settle
from vidstyle.media.sound.plan import Plan
from vidstyle.media.sound.transcoding import Encoding, SoundEncoder, add_encoder

SUFFIXES = (".mp4", ".mov", ".mkv", ".webm")
AAC = 0.07  # seconds by which padding to a whole frame may lengthen a sound
CODEC_FRAME = 0.05  # seconds of the longest frame of the codecs below (WMA: 46 ms)
FILMS: dict[str, tuple[str, dict[str, Any]]] = {
    "adpcm.avi": ("adpcm_ms", {"rate": 22050, "video": "mpeg4"}),
    "eight_bits.avi": ("pcm_u8", {"rate": 11025, "layout": "mono", "video": "mpeg4"}),
    "windows.wmv": ("wmav2", {"rate": 44100, "video": "wmv2"}),
    "flash.flv": ("nellymoser", {"rate": 22050, "layout": "mono", "video": "flv"}),
    "real.rm": ("real_144", {"rate": 8000, "layout": "mono", "video": "rv10"}),
    "disc.mkv": ("ac3", {"layout": "5.1(side)"}),
    "dts.mkv": ("dca", {"layout": "5.1(side)"}),
    "truehd.mkv": ("truehd", {"layout": "5.1(side)"}),
    "six.mkv": ("pcm_s16le", {"layout": "5.1(side)"}),
    "camera.mov": ("pcm_s24le", {"layout": "mono"}),
    "phone.3gp": ("libopencore_amrnb", {"rate": 8000, "layout": "mono"}),
    "bluray.m2ts": ("pcm_bluray", {}),
}
KEPT = {  # suffix -> the codecs that are copied; others are re-encoded
    ".mp4": {"disc.mkv"},
    ".mov": {"disc.mkv", "eight_bits.avi", "six.mkv", "camera.mov"},
    ".mkv": {"disc.mkv", "eight_bits.avi", "six.mkv", "camera.mov", "dts.mkv", "truehd.mkv"},
    ".webm": set(),
}
LOSSLESS = {"truehd.mkv", "bluray.m2ts"}  # stays lossless in .mov and .mkv


def _in_place(tones: list[int], name: str) -> list[int]:
    """Return the tones without the LFE of DTS, which FFmpeg's encoder distorts."""
    return [TONES[3] if name == "dts.mkv" and place == 3 else t for place, t in enumerate(tones)]


def codec_in(path: Path) -> str:
    with av.open(str(path)) as container:
        return container.streams.audio[0].codec_context.codec.canonical_name


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that writes each test clip once."""
    folder = tmp_path_factory.mktemp("films")

    def write(name: str) -> Path:
        codec, words = FILMS.get(name, (name.partition(".")[0], {}))
        path = folder / name
        return path if path.exists() else write_film(path, codec, **words)

    return write


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", FILMS)
def test_every_codec_keeps_tones_channels_and_times(
    film: Callable[[str], Path], name: str, suffix: str
) -> None:
    source = film(name)
    part, warnings = copy(source, suffix)
    before, after = heard(source), heard(part)
    opus = codec_in(part) == "opus"
    assert after.rate == (48000 if opus else before.rate)
    assert after.count == before.count
    assert _in_place(after.tones, name) == pytest.approx(TONES[: before.count], abs=2)
    assert after.begin == pytest.approx(before.begin, abs=0.005)
    assert after.end == pytest.approx(before.end, abs=0.015)
    length = len(after.samples) / after.rate - len(before.samples) / before.rate
    assert -0.005 < length < max(AAC, 1100 / after.rate)
    audio_warnings = [warning for warning in warnings if warning.startswith("audio stream")]
    assert len(audio_warnings) == (name not in KEPT[suffix])
    assert (codec_in(part) == codec_in(source)) == (name in KEPT[suffix])
    if name in LOSSLESS and suffix in (".mov", ".mkv"):
        assert codec_in(part) in ("pcm_s24le", "truehd")
    assert all("so it was re-encoded as" in warning for warning in audio_warnings)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_speex_is_re_encoded_audibly(tmp_path: Path, suffix: str) -> None:
    source = write_speex(tmp_path / "a.flv")
    part, warnings = copy(source, suffix)
    before, after = heard(source), heard(part)
    samples = after.samples[:: after.rate // before.rate, 0][: len(before.samples)]
    assert np.corrcoef(samples, before.samples[:, 0])[0, 1] > 0.9
    assert len(after.samples) / after.rate == pytest.approx(1, abs=AAC)
    assert len(warnings) == 1


@pytest.mark.parametrize("suffix", [".mov", ".mkv"])
def test_pcm_stays_sample_for_sample(tmp_path: Path, suffix: str) -> None:
    source = write_film(tmp_path / "a.mov", "pcm_s16le")
    part, warnings = copy(source, suffix)
    assert warnings == []
    assert np.array_equal(heard(part).samples, heard(source).samples)


_CUSTOM = """
import sys
from pathlib import Path
from sounds import copy
part, warnings = copy(Path(sys.argv[1]), sys.argv[2])
print("\\n".join(warnings))
"""


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_channels_in_a_custom_order_go_to_their_speakers(tmp_path: Path, suffix: str) -> None:
    """PyAV frees such a layout twice, which aborts the process: so it runs in a subprocess."""
    source = write_film(tmp_path / "a.mov", "pcm_s16le", layout="FL+FR+FC+LFE+SL+SR+BL+BR")
    command = [sys.executable, "-c", _CUSTOM, str(source), suffix]
    folder = Path(sounds.__file__).parent
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)
    found = heard(source.with_name(f"part_a{suffix}"))
    stored = [TONES[i] for i in ((0, 1, 2, 3, 4, 5, 6, 7) if suffix == ".mov" else _AS_7_1)]
    assert found.tones == pytest.approx(stored, abs=2)
    assert ("re-encoded" in done.stdout) == (suffix != ".mov")


_AS_7_1 = (0, 1, 2, 3, 6, 7, 4, 5)  # FL FR FC LFE BL BR SL SR: the back ones before the side ones


@pytest.mark.parametrize(
    ("layout", "suffix", "tones", "expected"),
    [
        ("2.1", ".mp4", (0, 1, None, 2, None, None), "as AAC"),
        ("quad", ".mp4", (0, 1, None, 2, 3), "as AAC"),
        ("quad", ".mkv", (0, 1, None, 2, 3), "as pcm_s16le"),
        ("quad", ".webm", (0, 1, 2, 3), "as Opus"),
        ("5.1(side)", ".webm", (0, 1, 2, 3, 4, 5), "as Opus"),
        ("7.1(wide)", ".mkv", (0, 1, 2, 3, 4, 5, 6, 7), "as FLAC"),
        ("hexadecagonal", ".mkv", tuple(range(16)), None),
        ("hexadecagonal", ".mov", tuple(range(16)), None),
    ],
)
def test_each_channel_keeps_its_speaker_in_a_layout_of_the_codec(
    tmp_path: Path, layout: str, suffix: str, tones: tuple[int | None, ...], expected: str | None
) -> None:
    source = write_film(tmp_path / "a.mov", "pcm_s16le", layout=layout)
    part, warnings = copy(source, suffix)
    found = heard(part).tones
    expected_tones = [0 if index is None else TONES[index] for index in tones]
    lfe = [index for index, tone in enumerate(expected_tones) if index == 3 and tone > 120]
    for index in lfe:  # AAC removes higher frequencies from the LFE
        found[index] = expected_tones[index]
    assert found == pytest.approx(expected_tones, abs=2)
    assert [expected in warning for warning in warnings if expected] == ([True] if expected else [])


def test_unnamed_channels_are_mixed_where_the_codec_cannot_hold_them(tmp_path: Path) -> None:
    nine = "|".join(f"c{place}=c{place}" for place in range(9))
    words = ["-af", f"pan=9C|{nine}"]
    source = write_film(tmp_path / "a.mkv", "pcm_s16le", *words, layout="5.1.4")
    part, warnings = copy(source, ".mkv")
    assert warnings == []
    assert heard(part).tones == pytest.approx(TONES[:9], abs=2)
    part, warnings = copy(source, ".mp4")
    assert heard(part).count == 2
    assert "its 9 channels mixed into stereo" in warnings[0]
    channel = heard(part).samples[:, 0]
    spectrum = np.abs(np.fft.rfft(channel, 48000))
    floor = np.median(spectrum[100:1000])
    assert all(spectrum[tone] > 10 * floor for tone in TONES[:9])


def test_more_channels_than_a_codec_has_are_mixed_and_named(tmp_path: Path) -> None:
    source = write_film(tmp_path / "a.mov", "pcm_s16le", layout="6.1")
    part, warnings = copy(source, ".mp4")
    assert "its 7 channels mixed into 5.1" in warnings[0]
    assert heard(part).count == 6


@pytest.mark.parametrize(
    ("rate", "suffix", "after"),
    [(192000, ".mp4", 96000), (192000, ".webm", 48000), (5512, ".mp4", 8000),
     (22050, ".mp4", 22050), (192000, ".mov", 192000)],
)  # fmt: skip
def test_rates_that_an_encoder_lacks_are_resampled(
    tmp_path: Path, rate: int, suffix: str, after: int
) -> None:
    source = write_film(tmp_path / "a.mov", "pcm_s16le", rate=rate)
    part, warnings = copy(source, suffix)
    found = heard(part)
    assert found.rate == after
    assert found.tones == pytest.approx(TONES[:2], abs=2)
    assert (found.begin, found.end) == pytest.approx((BEGIN, END), abs=0.01)
    resampled = f"at {after} Hz instead of {rate}"
    assert any(resampled in one for one in warnings) == (after != rate)


@pytest.mark.parametrize(
    ("codec", "suffix"),
    [
        ("pcm_s16le", ".mp4"),
        ("pcm_s16le", ".mov"),
        ("aac", ".mkv"),
        ("aac", ".webm"),
        ("ac3", ".mp4"),
    ],
)
@pytest.mark.parametrize(
    ("late", "length"), [(0.2, 0.6), (0.0, 1.4), (0.0, 0.6)], ids=["late", "longer", "shorter"]
)
def test_sound_keeps_its_start_and_end_times(
    tmp_path: Path, codec: str, suffix: str, late: float, length: float
) -> None:
    source = write_film(tmp_path / "a.mkv", codec, late=late, length=length, begin=0.0)
    part, _ = copy(source, suffix)
    before, found = heard(source), heard(part)
    assert found.begin == pytest.approx(late, abs=0.01)
    assert found.end == pytest.approx(late + END, abs=0.01)
    assert len(found.samples) / found.rate == pytest.approx(
        len(before.samples) / before.rate, abs=AAC
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_sound_that_starts_before_the_picture_keeps_its_offset(tmp_path: Path, suffix: str) -> None:
    film = write_film(tmp_path / "a.mkv", "pcm_s16le", begin=0.0)
    source = tmp_path / "early.mkv"
    ffmpeg("-itsoffset", "0.4", "-i", str(film), "-i", str(film), "-map", "0:v", "-map", "1:a",
           "-c", "copy", str(source))  # fmt: skip
    part, _ = copy(source, suffix)
    found = heard(part)
    assert (found.begin, found.end) == pytest.approx((0.0, END), abs=0.01)
    with av.open(str(part)) as container:
        frame = next(container.decode(video=0))
        assert float(frame.pts * frame.time_base) == pytest.approx(0.4, abs=0.002)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize(
    "name", ["windows.wmv", "real.rm", "disc.mkv", "dts.mkv", "bluray.m2ts", "aac.mp4", "flac.mkv"]
)
def test_a_part_has_the_sound_of_its_interval(
    film: Callable[[str], Path], name: str, suffix: str
) -> None:
    source = film(name)
    whole = heard(source)
    part, _ = copy(source, suffix, 0.16, 0.48)
    found = heard(part)
    clip = media.probe(source)
    first = float(clip.timestamps[0] * clip.time_base)
    assert found.begin == pytest.approx(whole.begin - first - 0.16, abs=CODEC_FRAME)
    assert len(found.samples) / found.rate == pytest.approx(0.32, abs=2 * CODEC_FRAME)
    assert found.end > 0.32 - CODEC_FRAME
    assert _in_place(found.tones, name) == pytest.approx(TONES[: found.count], abs=4)


@pytest.mark.parametrize("suffix", [".mov", ".mkv"])
def test_a_part_of_pcm_is_cut_to_the_sample(tmp_path: Path, suffix: str) -> None:
    source = write_film(tmp_path / "a.avi", "pcm_s16le", video="mpeg4")
    part, warnings = copy(source, suffix, 0.16, 0.48)
    assert [one for one in warnings if one.startswith("audio")] == []
    wanted = heard(source).samples[7680:23040]
    assert np.array_equal(heard(part).samples, wanted)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_part_before_the_sound_is_reported_as_silent(tmp_path: Path, suffix: str) -> None:
    source = write_film(tmp_path / "a.mkv", "ac3", late=0.6, length=0.4)
    part, warnings = copy(source, suffix, 0.0, 0.32)
    with av.open(str(part)) as container:
        assert not container.streams.audio
    assert warnings == [
        "audio stream 1 (ac3): it holds nothing between these times, so it was left out"
    ]


def _tracks(tmp_path: Path) -> Path:
    source = tmp_path / "tracks.mkv"
    tones = [["-f", "lavfi", "-i", f"sine={tone}:d=0.8:r=48000"] for tone in (300, 500, 700)]
    marks = {"a:0": ("eng", "Main", "0"), "a:1": ("deu", "Dub", "default"),
             "a:2": ("fra", "Remarks", "comment")}  # fmt: skip
    words = ["-map", "0", "-map", "1", "-map", "2", "-map", "3", "-strict", "-2"]
    words += ["-c:a:0", "ac3", "-c:a:1", "dca", "-c:a:2", "pcm_s16le"]
    for track, (language, title, role) in marks.items():
        words += [f"-metadata:s:{track}", f"language={language}"]
        words += [f"-metadata:s:{track}", f"title={title}", f"-disposition:{track}", role]
    inputs = ["-f", "lavfi", "-i", "testsrc=d=0.8:s=64x48:r=25"]
    inputs += [word for tone in tones for word in tone]
    ffmpeg(*inputs, *words, str(source))
    return source


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_tracks_keep_their_languages_titles_and_roles(tmp_path: Path, suffix: str) -> None:
    part, warnings = copy(_tracks(tmp_path), suffix)
    with av.open(str(part)) as container:
        found = container.streams.audio
        german = "ger" if suffix == ".mov" else "deu"
        assert [stream.language for stream in found] == ["eng", german, "fra"]
        titles = [stream.metadata.get("title", stream.metadata.get("name")) for stream in found]
        assert titles == ["Main", "Dub", "Remarks"]
        assert [bool(stream.disposition & 1) for stream in found] == [False, True, False]
    tones = [heard(part, track).tones[0] for track in range(3)]
    assert tones == pytest.approx([300, 500, 700], abs=2)
    named = {warning.partition("(")[2].partition(")")[0] for warning in warnings}
    assert named == _ENCODED[suffix]


_ENCODED = {
    ".mp4": {"dca, deu", "pcm_s16le, fra"},
    ".mov": {"dca, deu"},
    ".mkv": set(),
    ".webm": {"ac3, eng", "dca, deu", "pcm_s16le, fra"},
}


def test_track_titles_of_an_mp4_are_copied(tmp_path: Path) -> None:
    part, _ = copy(_tracks(tmp_path), ".mp4")
    back, _ = copy(part.rename(tmp_path / "again.mp4"), ".mkv")
    with av.open(str(back)) as container:
        titles = [stream.metadata.get("title") for stream in container.streams.audio]
    assert titles == ["Main", "Dub", "Remarks"]


def _damaged(tmp_path: Path) -> Path:
    """A video whose sound is noise in DTS packets."""
    film = write_film(tmp_path / "dts.mkv", "dca")
    noise = np.random.default_rng(3)
    with av.open(str(film)) as source, av.open(str(tmp_path / "bad.mkv"), "w") as out:
        targets = [out.add_stream_from_template(stream) for stream in source.streams]
        for packet in source.demux():
            made = packet
            if packet.size and packet.stream.type == "audio":
                made = av.Packet(noise.bytes(packet.size))
                made.pts, made.dts, made.time_base = packet.pts, packet.dts, packet.time_base
            if packet.size:
                made.stream = targets[packet.stream_index]
                out.mux(made)
    return tmp_path / "bad.mkv"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_sound_that_does_not_decode_is_reported(tmp_path: Path, suffix: str) -> None:
    _, warnings = copy(_damaged(tmp_path), suffix)
    assert len(warnings) == 1
    if suffix == ".mkv":
        assert warnings[0].endswith("can be decoded; it was copied unchanged")
    else:
        assert "(dca): the sound is lost: it cannot be decoded" in warnings[0]
        assert warnings[0].endswith("; an .mkv output keeps it")
        assert f"{suffix} output" not in warnings[0]


def test_sound_whose_packets_all_fail_on_the_way_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream that decodes only at first is reported as lost, not as damaged packets."""
    encoding = Encoding(codec="aac", rate=48000, layout="stereo", format="fltp", lossless=False)
    plan = Plan(action="encode", encoding=encoding)
    monkeypatch.setattr(remux, "plan_sounds", lambda *_: {1: plan})
    _, warnings = copy(_damaged(tmp_path), ".mp4")
    assert len(warnings) == 1
    assert warnings[0].startswith("audio stream 1 (dca): the sound is lost: all of its ")


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".apng", ""])
def test_outputs_without_sound_report_the_dropped_stream(tmp_path: Path, suffix: str) -> None:
    source = write_clip(tmp_path / "a.mp4", list(range(4)), sound=True)
    _, warnings = copy(source, suffix)
    kind = suffix or "a folder"
    assert warnings == [
        f"audio stream 1 (aac): {kind} holds no sound or subtitles, so it was left out; "
        ".mkv keeps it"
    ]


def test_a_layout_without_a_name_gets_the_standard_one() -> None:
    for count, name in ((1, "mono"), (2, "stereo"), (6, "5.1"), (8, "7.1"), (9, "9 channels")):
        context = av.CodecContext.create("pcm_s16le", "r")
        context.layout = f"{count} channels"
        assert settle(context) == Channels(layout=name, names=())
        assert context.layout == av.AudioLayout(name)


_DECODE = """
import sys, av
from vidstyle.media.sound.layouts import decoded
with av.open(sys.argv[1]) as container:
    stream = container.streams.audio[0]  # not settled: its frames have a custom layout themselves
    print(sum(len(decoded(stream.codec_context, packet)) for packet in container.demux(stream)))
"""


def test_frames_whose_layout_is_custom_do_not_end_the_process(tmp_path: Path) -> None:
    source = write_film(tmp_path / "a.mov", "pcm_s16le", layout="FL+FR+FC+LFE+SL+SR+BL+BR")
    command = [sys.executable, "-c", _DECODE, str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) > 10


@pytest.mark.parametrize(("suffix", "count"), [(".mp4", 4), (".mkv", 4), (".mov", 2)])
def test_ambisonic_sound_is_kept_or_reduced_to_its_omnidirectional_channel(
    tmp_path: Path, suffix: str, count: int
) -> None:
    sphere = ["-af", "pan=ambisonic 1|c0=c0|c1=c1|c2=c0|c3=c0", "-mapping_family", "2"]
    source = write_film(tmp_path / "a.mkv", "libopus", *sphere)
    part, warnings = copy(source, suffix)
    assert heard(part).count == count
    assert heard(part).tones[0] == pytest.approx(TONES[0], abs=2)
    assert len(warnings) == (suffix == ".mov")


def test_a_stream_whose_channel_count_changes_has_no_gap() -> None:
    encoding = Encoding(codec="pcm_s16le", rate=48000, layout="stereo", format="s16", lossless=True)
    with av.open(io.BytesIO(), "w", format="matroska") as out:
        encoder = SoundEncoder(add_encoder(out, encoding), encoding, Channels("stereo", ()), None)
        made = []
        for index in range(40):
            layout, count = ("stereo", 2) if index < 20 else ("5.1(side)", 6)
            time = (np.arange(1536) + 1536 * index) / 48000
            wave = np.zeros((count, 1536), np.float32)
            wave[:2] = 0.3 * np.sin(2 * np.pi * 440 * time)
            frame = av.AudioFrame.from_ndarray(wave, "fltp", layout)
            frame.sample_rate, frame.time_base = 48000, Fraction(1, 90000)
            frame.pts = 2880 * index
            made += list(encoder.encode(frame))
        made += list(encoder.rest())
    samples = np.concatenate([np.frombuffer(bytes(packet), np.int16) for packet in made])
    left = samples.reshape(-1, 2)[:, 0] / 32768
    assert len(left) == 40 * 1536
    wanted = 0.3 * np.sin(2 * np.pi * 440 * np.arange(40 * 1536) / 48000)
    louder = np.abs(left[20 * 1536 :]).max() / 0.3  # the 5.1 downmix normalises its sum
    wanted[20 * 1536 :] *= louder
    assert np.abs(left - wanted).max() < 0.01


def test_a_gap_becomes_silence_and_an_overlap_is_cut() -> None:
    encoding = Encoding(codec="pcm_s16le", rate=8000, layout="mono", format="s16", lossless=True)
    stamps = [0, 800, 2400, 3000]  # a gap of 0.1 s, then an overlap of 0.025 s
    with av.open(io.BytesIO(), "w", format="matroska") as out:
        encoder = SoundEncoder(add_encoder(out, encoding), encoding, Channels("mono", ()), None)
        made = []
        for number, stamp in enumerate(stamps, start=1):
            wave = np.full((1, 800), 1000 * number, np.int16)
            frame = av.AudioFrame.from_ndarray(wave, "s16", "mono")
            frame.sample_rate, frame.pts, frame.time_base = 8000, stamp, Fraction(1, 8000)
            made += list(encoder.encode(frame))
        made += list(encoder.rest())
    samples = np.concatenate([np.frombuffer(bytes(packet), np.int16) for packet in made])
    assert len(samples) == 3800
    assert (samples[1600:2400] == 0).all()
    assert [int(samples[place]) for place in (0, 900, 2500, 3100, 3700)] == [
        1000, 2000, 3000, 3000, 4000,
    ]  # fmt: skip


def test_generated_clips_have_the_expected_properties(tmp_path: Path) -> None:
    found = heard(write_film(tmp_path / "a.mov", "pcm_s16le"))
    assert (found.begin, found.end) == pytest.approx((BEGIN, END), abs=0.002)
    assert len(found.samples) == LENGTH * 48000
