"""Malicious files: playlists that name other files, pipes, decompression bombs."""

import os
import resource
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
import PIL.Image
import pytest
from media_inputs import write_clip

import vidstyle
from vidstyle import media, memory
from vidstyle.cli.main import main
from vidstyle.errors import MediaError
from vidstyle.guides import files
from vidstyle.media import large, sources
from vidstyle.media.animations import read as animations
from vidstyle.media.decoding import decode
from vidstyle.media.decoding.demuxers import DEMUXERS, open_container
from vidstyle.media.pictures import files as picture_files

# Playlists. {0}: the playlist's name; {1}: the name of a video beside it


PLAYLISTS = {
    "list.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{1}\n#EXT-X-ENDLIST\n",
    "self.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{0}\n#EXT-X-ENDLIST\n",
    "hls.mp4": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{1}\n",
    "key.m3u8": '#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-KEY:METHOD=AES-128,URI="{1}"\n'
    "#EXTINF:1,\n{1}\n#EXT-X-ENDLIST\n",
    "clip.mp4": "ffconcat version 1.0\nfile {1}\n",
    "concat.png": "ffconcat version 1.0\nfile '{1}'\nduration 1\n",
    "dash.mpd": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT1S"><Period><AdaptationSet mimeType="video/mp4"><Representation '
    'id="0" bandwidth="1"><BaseURL>{1}</BaseURL><SegmentBase indexRange="0-9"/></Representation>'
    "</AdaptationSet></Period></MPD>",
    "sdp.mov": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
    "m=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    "imf.xml": '<CompositionPlaylist xmlns="http://www.smpte-ra.org/schemas/2067-3/2016">'
    "<Id>urn:uuid:0</Id></CompositionPlaylist>",
    "words.srt": "1\n00:00:00,000 --> 00:00:01,000\n{1}\n",
    "words.vtt": "WEBVTT\n\n00:00.000 --> 00:01.000\n{1}\n",
}


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    """A video that only a playlist names."""
    return write_clip(tmp_path / "beside.mp4", [0, 1])


@pytest.mark.parametrize("name", PLAYLISTS)
def test_a_playlist_is_refused_before_its_format_is_read(
    tmp_path: Path, beside: Path, name: str
) -> None:
    path = tmp_path / name
    path.write_text(PLAYLISTS[name].format(name, beside.name))
    with pytest.raises(MediaError, match="neither") as caught:
        media.probe(path)
    assert "\n" not in str(caught.value)
    with pytest.raises((av.error.FFmpegError, MediaError)):
        open_container(path)


STRACE = shutil.which("strace")


@pytest.mark.skipif(STRACE is None, reason="needs strace")
def test_only_the_named_file_is_opened_as_source_style_mask_or_map(
    tmp_path: Path, beside: Path
) -> None:
    picture = tmp_path / "picture.png"
    PIL.Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(picture)
    for name, text in PLAYLISTS.items():
        (tmp_path / name).write_text(text.format(name, beside.name))
    names = [str(tmp_path / name) for name in PLAYLISTS]
    names += [f"concat:{beside}", f"data:video/mp4,{beside}", "http://127.0.0.1:9/a.mp4"]
    names += [f"subfile,,start,0,end,9,,:{beside}", f"file:{beside}", "https://127.0.0.1:9/a.mp4"]
    code = f"""
import sys
from vidstyle import media
from vidstyle.cli.main import main
for name in {names!r}:
    for words in (
        ["probe", name],
        ["basic", name, "-o", "out.mp4", "--style", {str(picture)!r}],
        ["basic", {str(picture)!r}, "-o", "out.png", "--style", name],
        ["mask", {str(picture)!r}, "-o", "out.png", "--style", {str(picture)!r}, "--mask", name],
        ["region", {str(picture)!r}, "-o", "out.png", "--style", {str(picture)!r}, "--map", name,
         "--style-map", name],
        ["eval", name, "--source", name],
        ["track", name, "-o", "keys", "--map", name],
    ):
        words += ["--steps", "0", "--steps-next", "0"] * ("--style" in words)
        code = main(words)
        assert code in (2, 3), (words, code)
"""
    log = tmp_path / "log"
    trace = [str(STRACE), "-f", "-qq", "-e", "trace=open,openat,connect,bind,socket", "-o"]
    command = [*trace, str(log), sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    trace = log.read_text()
    assert str(picture) in trace  # strace logs opened files
    assert beside.name not in "\n".join(line for line in trace.splitlines() if "open" in line)
    assert "AF_INET" not in trace


def test_no_allowed_demuxer_opens_other_files() -> None:
    others = ("hls", "dash", "concat", "concatf", "imf", "image2", "sdp", "rtsp", "rtp", "lavfi")
    others += ("tty", "srt", "webvtt", "ass", "webm_dash_manifest", "vobsub", "ffmetadata", "v4l2")
    assert not set(DEMUXERS) & set(others)
    assert set(DEMUXERS) <= set(av.formats_available)


def test_pyav_opens_inputs_in_one_place_only() -> None:
    root = Path(vidstyle.__file__).parent
    for path in root.rglob("*.py"):
        for line in path.read_text().splitlines():
            if "av.open(" in line and path.name != "demuxers.py":
                assert '"w"' in line, f"{path.name}: {line.strip()}"


# Pipes and devices


@pytest.mark.parametrize("name", ["pipe", "/dev/zero"])
def test_a_pipe_or_a_device_is_refused_at_once(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "pipe":
        os.mkfifo(path)
    still = tmp_path / "a.png"
    PIL.Image.new("RGB", (64, 48)).save(still)
    for read in (
        lambda: media.probe(path),
        lambda: media.read_picture(path),
        lambda: media.read_style(path),
        lambda: files.read_rgba(path),
        lambda: open_container(path),
    ):
        with pytest.raises(MediaError, match="regular file, got a pipe, a device"):
            read()
    for source, style in ((path, still), (still, path)):
        words = ["basic", str(source), "--style", str(style), "-o", str(tmp_path / "b.png")]
        assert main([*words, "--steps", "0"]) == 3


# Memory


def test_available_memory_is_below_the_total_and_within_the_control_group_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_GROUP", tmp_path)
    free = memory.available()
    assert free is not None
    assert 0 < free <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    texts = {"memory.max": "5000000", "memory.current": "4000000", "memory.stat": "x 1\n"}
    texts["memory.stat"] += "inactive_file 1500000\n"
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    assert memory.available() == 2_500_000
    (tmp_path / "memory.max").write_text("max\n")
    assert (memory.available() or 0) > 2_500_000
    (tmp_path / "memory").mkdir()
    for name, text in zip(
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.stat"),
        ("7000000", "4000000", "total_inactive_file 0\n"),
        strict=True,
    ):
        (tmp_path / "memory" / name).write_text(text)
    assert memory.available() == 3_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_allocations_are_limited_only_inside_the_context() -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    with memory.memory_limit(1 << 28):
        np.zeros(1 << 24, np.uint8)
        with memory.memory_limit(1 << 30), pytest.raises(MemoryError):  # the lower limit stays
            np.zeros(1 << 29, np.uint8)
    assert resource.getrlimit(resource.RLIMIT_AS) == before


# Large pictures, simulated by lowered limits


@contextmanager
def large_from(pixels: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(large, "LARGE", pixels)
        patch.setattr(sources, "LARGE", pixels)
        patch.setattr(large, "_STRIP", 700)
        patch.setattr(picture_files, "_STRIP", 700)
        yield


def smooth(width: int, height: int, channels: int = 3) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    waves = [np.sin((x + 2 * y) / 9), np.cos(x / 7), np.cos((x - y) / 11), np.sin(y / 13)]
    return np.stack([(wave * 100 + 128) for wave in waves[:channels]], 2).astype(np.uint8)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_large_picture_is_reduced_as_it_is_read(tmp_path: Path, orientation: int) -> None:
    path = tmp_path / "a.png"
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    PIL.Image.fromarray(smooth(160, 96)).save(path, exif=exif)
    clip = media.probe(path)
    whole = next(media.read(clip, range(1)))
    with large_from(10_000):
        assert media.probe(path) == clip
        small = next(media.read(clip, range(1), 20))
        assert next(media.read(clip, range(1))).shape == whole.shape  # without a side: native size
    assert max(small.shape) == 40
    wanted = media.resize(whole, small.shape[1], small.shape[0])
    assert np.abs(small - wanted).max() < 0.02


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "I;16", "CMYK", "trns"])
def test_pictures_of_every_mode_are_reduced(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    picture = PIL.Image.fromarray(smooth(160, 96, 4), "RGBA" if mode in ("RGBA", "LA") else None)
    if mode == "I;16":
        deep = smooth(160, 96, 1)[..., 0].astype(np.uint16) * 257
        PIL.Image.fromarray(deep).save(path)
    elif mode == "trns":
        picture.convert("RGB").quantize(8).save(path, transparency=2)
    else:
        (picture if mode in ("RGBA", "LA") else picture.convert("RGB")).convert(mode).save(path)
    clip = media.probe(path)
    whole = next(media.read(clip, range(1)))
    alpha = next(media.read_alpha(clip, range(1)))
    with large_from(10_000):
        assert media.probe(path) == clip
        small = next(media.read(clip, range(1), 40))
        thin = next(media.read_alpha(clip, range(1), 40))
        tiny = next(media.read(clip, range(1), 20))
    assert small.shape == (48, 80, 3)
    assert np.abs(small - media.resize(whole, 80, 48)).max() < 0.02
    assert np.abs(tiny - media.resize(whole, 40, 24)).max() < 0.02
    assert np.abs(thin[..., 0] - media.resize(alpha, 80, 48)).max() < 0.02


@pytest.mark.parametrize("progressive", [False, True])
def test_a_large_jpeg_is_reduced_by_its_decoder(tmp_path: Path, progressive: bool) -> None:
    path = tmp_path / "a.jpg"
    PIL.Image.fromarray(smooth(160, 96)).save(path, progressive=progressive)
    clip = media.probe(path)
    whole = next(media.read(clip, range(1)))
    with large_from(10_000):
        assert media.probe(path) == clip
        small = next(media.read(clip, range(1), 20))
    assert np.abs(small - media.resize(whole, 40, 24)).mean() < 0.05
    damaged = tmp_path / "b.jpg"
    damaged.write_bytes(path.read_bytes()[:-500])
    with large_from(10_000), pytest.raises(MediaError, match="damaged"):
        media.probe(damaged)


def test_a_large_style_is_reduced_and_a_large_map_keeps_its_colours(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    labels = np.random.default_rng(1).integers(0, 2, (96, 160, 1), np.uint8) * 255
    PIL.Image.fromarray(np.repeat(labels, 3, 2)).save(path)
    with large_from(10_000):
        assert media.read_style(path).shape == (48, 80, 3)
        drawing = files.read_rgba(path)
    assert drawing.shape == (48, 80, 4)
    assert set(np.unique(drawing)) == {0, 1}


def test_large_animations_and_videos_are_reduced(tmp_path: Path) -> None:
    frames = [PIL.Image.fromarray(np.roll(smooth(160, 96), step, 1)) for step in (0, 9)]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:], lossless=True)
    with av.open(str(tmp_path / "a.mkv"), "w") as out:
        stream = out.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "bgr0"
        for frame in frames:
            out.mux(stream.encode(av.VideoFrame.from_image(frame)))
        out.mux(stream.encode(None))
    for name in ("a.webp", "a.mkv"):
        clip = media.probe(tmp_path / name)
        whole = list(media.read(clip, range(2)))
        with large_from(10_000):
            small = list(media.read(clip, range(2), 20))
            drawings = [d for _, d in files.open_guide(clip.path, clip, range(2)).read(range(2))]
        for one, other in zip(whole, small, strict=True):
            assert other.shape == (24, 40, 3)
            assert np.abs(other - media.resize(one, 40, 24)).max() < 0.03
        assert [drawing.shape for drawing in drawings] == [(48, 80, 4)] * 2


def test_a_large_picture_runs_as_a_small_one(tmp_path: Path) -> None:
    PIL.Image.fromarray(smooth(160, 96, 4), "RGBA").save(tmp_path / "a.png")
    words = ["basic", str(tmp_path / "a.png"), "--style", str(tmp_path / "a.png"), "--size", "32"]
    words += ["--steps", "0", "--steps-next", "0"]
    assert main([*words, "-o", str(tmp_path / "whole.png")]) == 0
    with large_from(10_000):
        assert main([*words, "-o", str(tmp_path / "small.png")]) == 0
    whole, small = (np.asarray(PIL.Image.open(tmp_path / f"{n}.png")) for n in ("whole", "small"))
    assert whole.shape == small.shape == (19, 32, 4)
    assert np.abs(whole.astype(int) - small).max() <= 12


def test_a_picture_too_large_for_memory_is_refused_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    PIL.Image.new("RGB", (5000, 4000)).save(path)
    clip = media.probe(path)
    monkeypatch.setattr(large, "available", lambda: 50 << 20)
    with pytest.raises(MediaError, match=r"5000x4000 pixels, .* 0\.1 GB of 0\.1 GB available"):
        media.probe(path)
    monkeypatch.setattr(large, "available", lambda: 300 << 20)
    with pytest.raises(MediaError, match=r"takes about 1\.0 GB of 0\.3 GB"):
        list(media.read(clip, range(1)))
    assert media.probe(path) == clip


def write_png(path: Path, side: int, depth: int = 1, colour: int = 0) -> Path:
    """A black PNG of side x side pixels, of a few kilobytes."""
    line = bytes((side * depth * {0: 1, 2: 3, 6: 4}[colour] + 7) // 8 + 1)
    packer = zlib.compressobj(9)
    packed = b"".join([*(packer.compress(line) for _ in range(side)), packer.flush()])
    head = struct.pack(">IIBBBBB", side, side, depth, colour, 0, 0, 0)
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for kind, body in ((b"IHDR", head), (b"IDAT", packed), (b"IEND", b"")):
            file.write(struct.pack(">I", len(body)) + kind + body)
            file.write(struct.pack(">I", zlib.crc32(kind + body)))
    return path


def write_gif(path: Path, side: int, frames: int) -> Path:
    """A GIF with an enormous canvas and frames of one pixel."""
    data = b"GIF89a" + struct.pack("<HHBBB", side, side, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    for _ in range(frames):
        data += b"\x21\xf9\x04\x09\x0a\0\0\0" + b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0)
        data += b"\x02\x02\x44\x01\x00"
    path.write_bytes(data + b";")
    return path


def peak_of(words: list[str]) -> tuple[int, str, int]:
    """Run vidstyle; return its exit code, output and peak memory in bytes.

    The peak is VmHWM: ru_maxrss of a child begins at what its parent, pytest, held.
    """
    code = (
        "import sys; from vidstyle.cli.main import main; code = main(sys.argv[1:]);"
        "status = open('/proc/self/status').read();"
        "print(status.split('VmHWM:')[1].split()[0]); sys.exit(code)"
    )
    command = [sys.executable, "-c", code, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr, int(done.stdout.split()[-1]) << 10


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_batch_survives_small_files_with_enormous_pictures(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    write_png(folder / "bomb.png", 10_000)
    write_gif(folder / "bomb.gif", 17_000, 4)
    PIL.Image.new("RGB", (64, 48)).save(folder / "good.png")
    style = ["--style", str(folder / "good.png"), "--steps", "0", "--steps-next", "0"]
    out = tmp_path / "out"
    code, said, peak = peak_of(["basic", str(folder), "-r", "-o", str(out), *style])
    assert code == 1, said
    assert "bomb.gif: expected a picture that fits into memory, got one of 17000x17000" in said
    assert sorted(path.name for path in out.glob("*.*g*")) == ["bomb.png", "good.png"]
    assert max(media.read_picture(out / "bomb.png").shape) == 512
    assert peak < 1 << 30


def test_a_video_with_enormous_frames_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_clip(tmp_path / "a.mp4", [0, 1])
    monkeypatch.setattr(decode, "MOST_PIXELS", 3000)
    with pytest.raises(MediaError, match="million pixels a frame, got one of 64x48; scale it"):
        media.probe(path)


def test_frames_that_are_larger_than_a_video_says_are_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_clip(tmp_path / "a.mp4", [0, 1])
    monkeypatch.setattr(decode, "_LIMITED", {"max_pixels": "3000"})
    with pytest.raises(MediaError, match="none decodes"):
        media.probe(path)


def test_an_animation_that_grows_is_checked_at_each_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_gif(tmp_path / "a.gif", 40, 3)
    seen = []
    monkeypatch.setattr(animations, "check_decoding", lambda path, _: seen.append(path))
    media.probe(path)
    assert len(seen) == 3
