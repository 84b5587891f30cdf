"""stylize_frames: arrays in, arrays out, in memory, equal to the frames of a run on files."""

import re
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import cv2
import imageio.v3 as iio
import numpy as np
import pytest
from films import HEIGHT, WIDTH, Film, shot
from tiny import LAYERS, TinyEncoder, stripes

import vidstyle
from vidstyle import Guide, Settings, Style, Stylizer, media, stylize_frames
from vidstyle.coherence.interface import FrameRecord
from vidstyle.errors import CancelledError, GuideError, MediaError, UsageError, VidstyleError
from vidstyle.image import Image, from_uint16, recolored, to_bytes, to_uint16
from vidstyle.jobs import stream
from vidstyle.jobs.manifest import state_path
from vidstyle.jobs.stream import MemoryHistory
from vidstyle.media import load_frame, read_picture
from vidstyle.techniques import TECHNIQUES

REHEARSE = {"steps": 0, "steps_next": 0}


def stylizer(style: Path, technique: str = "basic", **settings: Any) -> Stylizer:
    """Return the stylizer of `Film.run`."""
    given = {"steps": 8, "steps_next": 4, "content_layers": LAYERS[1:2], **settings}
    return Stylizer(
        [Style(read_picture(style))],
        technique=TECHNIQUES[technique](),
        settings=Settings(style_layers=LAYERS, **given),
        encoder=TinyEncoder(),
    )


def eight_bit(frames: list[Image]) -> list[np.ndarray]:
    return [to_bytes(frame) for frame in frames]


def saved(film: Film, name: str, frames: list[Image], **settings: Any) -> list[Image]:
    """Return the frames that a run on files saves."""
    job = film.job(name, frames, **settings)
    film.run(job)
    return [load_frame(file) for file in sorted((state_path(job.output) / "frames").glob("*.png"))]


def clip_with_cuts() -> list[Image]:
    """A pan past a key frame's span, a short insert that the shot resumes after, another shot."""
    pan, insert, other = shot(4, noise=1 / 255, length=14), shot(2, length=2), shot(3)
    return [*pan[:11], *insert, *pan[13:], *other]


def test_a_stream_equals_the_frames_of_a_run(film: Film, style: Path) -> None:
    frames = clip_with_cuts()
    expected = saved(film, "film", frames)
    made = list(stylize_frames(eight_bit(frames), stylizer=stylizer(style)))
    assert [frame.dtype for frame in made] == [np.uint8] * len(frames)
    np.testing.assert_array_equal(made, [to_bytes(frame) for frame in expected])


@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.float64])
def test_frames_keep_their_dtype(film: Film, style: Path, dtype: type) -> None:
    frames = [frame.astype(np.float32) / np.float32(255) for frame in eight_bit(shot(1))]
    expected = saved(film, "film", frames)
    given = [to_uint16(frame) if dtype is np.uint16 else frame.astype(dtype) for frame in frames]
    made = list(stylize_frames(iter(given), stylizer=stylizer(style)))
    assert {frame.dtype for frame in made} == {np.dtype(dtype)}
    for frame, goal in zip(made, expected, strict=True):
        np.testing.assert_array_equal(
            from_uint16(frame) if dtype is np.uint16 else frame.astype(np.float32), goal
        )


def test_masks_equal_those_of_a_run(film: Film, style: Path, tmp_path: Path) -> None:
    masks = []
    (tmp_path / "masks").mkdir()
    for index in range(4):
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        mask[8:40, 4 + 8 * index : 30 + 8 * index] = 255
        mask[8:40, 30 + 8 * index :] = 128
        masks.append(mask)
        iio.imwrite(tmp_path / "masks" / f"{index:06d}.png", mask)
    expected = saved(film, "film", shot(1), technique="mask", mask=tmp_path / "masks")
    engine = stylizer(style, "mask")
    made = list(stylize_frames(eight_bit(shot(1)), masks=masks, stylizer=engine))
    np.testing.assert_array_equal(made, [to_bytes(frame) for frame in expected])
    guides = (Guide.from_arrays([mask]) for mask in masks)
    again = list(stylize_frames(eight_bit(shot(1)), guides=guides, stylizer=engine))
    np.testing.assert_array_equal(made, again)


def test_one_mask_is_that_of_all_frames(style: Path) -> None:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[:, 32:] = True
    source = eight_bit(shot(1))
    made = list(stylize_frames(source, masks=mask, stylizer=stylizer(style, "mask")))
    assert len(made) == 4
    for frame, before in zip(made, source, strict=True):
        np.testing.assert_array_equal(frame[:, :32], before[:, :32])
        assert not np.array_equal(frame[:, 40:], before[:, 40:])


def test_the_size_and_the_colours_are_those_of_the_settings(style: Path) -> None:
    frames = eight_bit(shot(1))
    sizes = [f.shape for f in stylize_frames(frames, style=style, size=32, **REHEARSE)]
    assert sizes == [(24, 32, 3)] * 4
    engine = stylizer(style, original_colors=True)
    (made, *_) = stylize_frames(shot(1), stylizer=engine)
    plain, *_ = stylize_frames(shot(1), stylizer=stylizer(style))
    np.testing.assert_array_equal(made, recolored(plain, shot(1)[0]))


def test_frames_are_yielded_as_they_are_finished(style: Path) -> None:
    read: list[int] = []

    def source() -> Iterator[np.ndarray]:
        for index, frame in enumerate(eight_bit(shot(1))):
            read.append(index)
            yield frame

    made = stylize_frames(source(), style=style, **REHEARSE)
    assert read == []
    next(made)
    assert read == [0]
    next(made)
    assert read == [0, 1]


def test_memory_is_bounded(style: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[int] = []

    class Counting(MemoryHistory):
        def save(self, index: int, image: Image, record: FrameRecord) -> None:
            super().save(index, image, record)
            kept.append(len(self))

    monkeypatch.setattr(stream, "MemoryHistory", Counting)
    frames = eight_bit(clip_with_cuts())
    assert len(list(stylize_frames(frames, style=style, **REHEARSE))) == len(frames)
    assert max(kept) <= 6


def test_steps_are_reported(style: Path) -> None:
    events: list[Any] = []
    list(stylize_frames(shot(1)[:2], stylizer=stylizer(style), on_event=events.append))
    assert {event.name for event in events} == {"step"}
    assert [event.index for event in events] == [0] * 8 + [1] * 4


def test_a_stream_can_be_cancelled(style: Path) -> None:
    cancel = Event()
    made = stylize_frames(shot(1), style=style, cancel=cancel, **REHEARSE)
    next(made)
    cancel.set()
    with pytest.raises(CancelledError, match="the stream has ended"):
        next(made)


def test_the_line_of_the_readme_for_imageio(clip: Path, style: Path) -> None:
    readme = Path(vidstyle.__file__).parents[1] / "README.md"
    (line,) = re.findall(r"^for frame in (vidstyle\..*imiter.*):$", readme.read_text("utf-8"), re.M)
    here = line.replace('"clip.mp4"', repr(str(clip))).replace('"wave.jpg")', "style, **REHEARSE)")
    assert here != line
    frames = list(eval(here))
    assert {(frame.shape, frame.dtype.name) for frame in frames} == {((96, 128, 3), "uint8")}
    assert len(frames) == media.probe(clip).frames


def test_the_example_for_opencv(clip: Path, style: Path) -> None:
    capture = cv2.VideoCapture(str(clip))
    read = iter(capture.read, (False, None))
    rgb = (cv2.cvtColor(frame, cv2.COLOR_BGR2RGB) for _, frame in read)
    frames = list(vidstyle.stylize_frames(rgb, style=style, **REHEARSE))
    assert len(frames) == media.probe(clip).frames
    assert {frame.shape for frame in frames} == {(96, 128, 3)}


FRAME = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
MASK = np.ones((HEIGHT, WIDTH), np.float32)


@pytest.mark.parametrize(
    ("frames", "sentence"),
    [
        ([], "expected at least one frame, got none"),
        ([FRAME[..., 0]], r"frame 0: expected an array \[height, width, 3\] of RGB, got the shape"),
        ([FRAME.tolist()], "frame 0: expected an array .*, got list"),
        ([FRAME.astype(int)], "in uint8, uint16 or float, got int64"),
        ([FRAME + 2.0], "frame 0: expected a float32 array .* got values from 2 to 2"),
        ([FRAME, FRAME[:40]], r"frame 1: expected uint8 \[48, 64, 3\] as before"),
        ([FRAME, FRAME / 255], "frame 1: expected uint8 .* as before, got float64"),
        ([None], "got NoneType"),
    ],
)
def test_frames_that_do_not_fit_are_refused(style: Path, frames: Any, sentence: str) -> None:
    with pytest.raises(MediaError, match=sentence):
        list(stylize_frames(frames, style=style, **REHEARSE))


@pytest.mark.parametrize(
    ("masks", "sentence"),
    [
        ([MASK], "expected one for each frame, got 1 for at least 2 frames"),
        ([MASK[:40], MASK], "guide 0: expected the size of the frame, 64x48, got 64x40"),
        (["mask.png"], "expected an array, got str"),
    ],
)
def test_masks_that_do_not_fit_are_refused(style: Path, masks: Any, sentence: str) -> None:
    with pytest.raises(GuideError, match=sentence):
        list(stylize_frames([FRAME] * 2, style=style, technique="mask", masks=masks, **REHEARSE))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"frames": "clip.mp4"}, "frames: expected an iterable of arrays, got str"),
        ({"frames": 3}, "frames: expected an iterable of arrays, got int"),
        ({"masks": [MASK]}, "masks: basic takes none"),
        ({"guides": []}, "guides: basic takes none"),
        ({"technique": "mask"}, "mask: expected masks, got none"),
        ({"technique": "region"}, "region: expected guides, got none"),
        ({"technique": "mask", "masks": [MASK], "guides": []}, "masks or guides, got both"),
        ({"technique": "mask", "masks": "m.png"}, "masks: expected an iterable"),
        ({"style": None}, "style: expected a picture or a Style, got none"),
        ({"codec": "h264"}, "codec: expected no option of a source file"),
        ({"end": 2.0}, "end: expected no option of a source file"),
        ({"mask": "m.png"}, "expected the name of an option"),
        ({"technique": "wash"}, "technique: expected one of"),
        ({"cancel": 3}, "cancel: expected a threading.Event"),
    ],
)
def test_options_that_do_not_fit_are_refused_at_the_call(
    style: Path, given: dict[str, Any], sentence: str
) -> None:
    options = {"style": style, **REHEARSE, "frames": [FRAME], **given}
    with pytest.raises(VidstyleError, match=sentence):
        stylize_frames(options.pop("frames"), **options)


def test_a_stylizer_takes_no_options_beside_it(style: Path) -> None:
    engine = stylizer(style)
    for extra in ({"style": style}, {"steps": 3}, {"weights": style}):
        with pytest.raises(UsageError, match=f"{next(iter(extra))}: expected none beside"):
            stylize_frames([FRAME], stylizer=engine, **extra)


def test_styles_may_be_in_memory() -> None:
    (made,) = stylize_frames([FRAME], style=Style(stripes(32, 32)), **REHEARSE)
    np.testing.assert_array_equal(made, FRAME)
