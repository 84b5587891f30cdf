"""Select objects of a clip by clicks and boxes; write their masks, tracked over the clip."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vidstyle import media
from vidstyle.errors import UsageError, writing
from vidstyle.guides.palette import color_names
from vidstyle.guides.propagation import track
from vidstyle.image import Image
from vidstyle.jobs.mask_sheet import write_sheet
from vidstyle.jobs.propagate import check_folder, picture_names, write_pictures

__all__ = ["Mark", "Selected", "write_selection"]

Planes = dict[int, np.ndarray]  # by frame, the mask [H, W, 1] of an object that was marked there


@dataclass(frozen=True)
class Mark:
    """A click or a box. values: (x, y) or (x0, y0, x1, y1) in pixels from the top left.

    time: seconds from the first frame of the clip; None: the first frame that is selected.
    """

    kind: Literal["click", "exclude", "box"]
    values: tuple[float, ...]
    time: float | None = None


@dataclass
class Selected:
    """An object: its marks. name: of its folder within the output; None: the output itself.

    label: its colour in a label map ("#ff0000"); None: masks are written.
    """

    name: str | None = None
    label: str | None = None
    marks: list[Mark] = field(default_factory=list)


def write_selection(  # noqa: PLR0913 - one argument for each option of `select`
    source: Path,
    output: Path,
    objects: Sequence[Selected],
    *,
    grabcut: bool = False,
    start: float | None = None,
    end: float | None = None,
    rate: Fraction | None = None,
    preview: Path | None = None,
    overwrite: bool = False,
    notify: Callable[[int, int], None] = lambda done, of: None,
    warn: Callable[[str], None] = lambda message: None,
) -> int:
    """Write a mask, or a label map, for every frame of `source`; return the number of pictures.

    Masks are written into the folder `output`, of several objects into a folder each within it;
    label maps, where objects have labels, into `output`. The frames at which an object is marked
    are key frames; masks are tracked from there and, every few frames, mended by the click model.
    In a shot without a mark the mask is black, with a warning. grabcut: use OpenCV's GrabCut
    instead of the click model. Other arguments as in `write_tracks`. Raises VidstyleError.
    """
    folders = _folders(output, objects)
    check_folder(output, (source,), preview, overwrite=overwrite)
    clip = media.probe(source, rate=rate or (Fraction(25) if source.is_dir() else None))
    indices = media.select(clip, start, end)
    marked = [_by_frame(one, clip, indices) for one in objects]
    keys = _key_planes(clip, indices, marked, grabcut)
    mend = None if grabcut or len(indices) == 1 else _mender()
    series = [_tracked(clip, indices, own, mend, warn) for own in keys]
    pictures = (_pictures(objects, masks) for masks in zip(*series, strict=True))
    with writing(output):
        output.mkdir(parents=True, exist_ok=True)
    write_pictures(folders, picture_names(clip, indices), pictures, notify, overwrite=overwrite)
    if preview is not None:
        write_sheet(preview, clip, indices, folders, overwrite=overwrite)
    return len(indices) * len(folders)


def _folders(output: Path, objects: Sequence[Selected]) -> list[Path]:
    """Return the folders of the pictures. Raises UsageError for names and labels that clash."""
    if not any(one.marks for one in objects):
        raise UsageError("select: expected a --click X,Y or a --box X0,Y0,X1,Y1, got none; add one")
    labels = [one.label for one in objects if one.label is not None]
    if labels and len(labels) < len(objects):
        raise UsageError("--label: expected one for every object or for none, got some of both")
    for what, given in (("--label", labels), ("--object", [one.name for one in objects])):
        if len(set(given)) < len(given):
            raise UsageError(f"{what}: expected different ones, got {given}; rename one")
    for one in objects:
        if one.name is not None and (not one.name or Path(one.name).name != one.name):
            raise UsageError(f"--object: expected the name of a folder, got {one.name!r}")
    if labels:
        color_names(labels)
        return [output]
    return [output if one.name is None else output / one.name for one in objects]


def _by_frame(one: Selected, clip: media.Clip, indices: range) -> "dict[int, list[Mark]]":
    """Return the marks of an object by the frame that is shown at their time."""
    found: dict[int, list[Mark]] = {}
    for mark in one.marks:
        found.setdefault(_frame_at(mark, clip, indices), []).append(mark)
    return found


def _frame_at(mark: Mark, clip: media.Clip, indices: range) -> int:
    if mark.time is None:
        return indices.start
    if clip.kind in ("picture", "photos"):
        raise UsageError(
            f"--{mark.kind}: expected no time, since {clip.path} has none; leave out @{mark.time:g}"
        )
    if clip.duration is not None and mark.time < clip.duration:
        later = media.select(clip, mark.time + 1e-5, None) if _has_later(clip, mark.time) else None
        index = (clip.frames if later is None else later.start) - 1
        if index in indices:
            return index
    raise UsageError(
        f"--{mark.kind}: expected a time within the frames that are selected, got {mark.time:g} s; "
        f"the clip's length is {clip.duration or 0:.3f} s: choose another, or other --start and "
        "--end"
    )


def _has_later(clip: media.Clip, time: float) -> bool:
    """Return whether a frame begins after a time, in seconds."""
    if not clip.timestamps or clip.time_base is None:
        return True
    return float((clip.timestamps[-1] - clip.timestamps[0]) * clip.time_base) > time + 1e-5


def _key_planes(
    clip: media.Clip, indices: range, marked: Sequence["dict[int, list[Mark]]"], grabcut: bool
) -> list[Planes]:
    """Return the masks of each object at its key frames. Raises UsageError, GuideError.

    A click on the mask that is tracked from an earlier key frame corrects that mask: alone it might
    select a part of the object.
    """
    from vidstyle.segmentation.grabcut import grab_cut_of
    from vidstyle.segmentation.prompts import Prompt
    from vidstyle.segmentation.sam import Selector, check_click_model

    if not grabcut:
        check_click_model()
    prompts = [{frame: _prompt(marks, Prompt) for frame, marks in own.items()} for own in marked]
    for own in prompts:
        for prompt in own.values():
            prompt.check_within(clip.width, clip.height)
    keys: list[Planes] = [{} for _ in marked]
    wanted = sorted({frame for own in prompts for frame in own})
    for frame in wanted:
        (image,) = media.read(clip, range(frame, frame + 1))
        find = partial(grab_cut_of, image) if grabcut else Selector(image).stepwise
        for own, planes in zip(prompts, keys, strict=True):
            if frame in own:
                given = clip, indices, planes, frame
                asked = (own[frame],) if grabcut else _corrected(own[frame], *given)
                planes[frame - indices.start] = find(*asked)[..., None]
    return keys


def _corrected(
    prompt: Any, clip: media.Clip, indices: range, keys: Planes, frame: int
) -> tuple[Any, np.ndarray | None]:
    """Return the prompt and the mask that it corrects, tracked from the key frame before, [H, W].

    Clicks on that mask are asked within the box around it. None for the mask if there is no such
    key frame in the shot, if no click is on it, or if a box selects the whole object by itself.
    """
    from vidstyle.guides.mending import Mender, box_around

    if not keys or not prompt.inside or prompt.box is not None:
        return prompt, None
    first = max(keys)
    frames = media.read(clip, range(indices.start + first, frame + 1))
    opened = {0: (keys[first] > 0.5).astype(np.float32)}
    *_, last = track(frames, opened, hard=True, opening=_nothing, mend=Mender())
    mask = last.planes[..., 0]
    box = box_around(mask > 0.5)
    if box is None or not any(mask[int(y), int(x)] > 0.5 for x, y in prompt.inside):
        return prompt, None
    return replace(prompt, box=box), mask


def _nothing(position: int, frame: np.ndarray) -> np.ndarray:
    """Return the mask of a shot in which nothing is selected: float32 [H, W, 1]."""
    del position
    return np.zeros((*frame.shape[:2], 1), np.float32)


def _prompt(marks: Sequence[Mark], prompt: Any) -> Any:
    """Return the prompt of the marks at one frame. Raises UsageError for two boxes."""
    clicks, excluded, boxes = (
        tuple(mark.values for mark in marks if mark.kind == kind)
        for kind in ("click", "exclude", "box")
    )
    if len(boxes) > 1:
        raise UsageError(
            "--box: expected one at a time for an object, got several; begin another object with "
            "--object NAME"
        )
    return prompt(clicks, excluded, *boxes)


def _mender() -> Any:
    from vidstyle.guides.mending import Mender

    return Mender


def _tracked(
    clip: media.Clip,
    indices: range,
    keys: Planes,
    mend: Any,
    warn: Callable[[str], None],
) -> Iterator[np.ndarray]:
    """Yield the mask of each frame, float32 [H, W]: the key frames' own, the others tracked."""
    from vidstyle.segmentation.matting import matted

    def unmarked(position: int, frame: np.ndarray) -> np.ndarray:
        warn(
            f"{clip.path}: nothing is selected in the shot that begins at frame "
            f"{indices.start + position}: its masks are black; click in that shot too"
        )
        return _nothing(position, frame)

    if len(indices) == 1:
        yield keys[0][..., 0]
        return
    hard = {position: (planes > 0.5).astype(np.float32) for position, planes in keys.items()}
    frames = media.read(clip, indices)
    made = track(frames, hard, hard=True, opening=unmarked, mend=mend() if mend else None)
    for tracked in made:
        if tracked.index in keys:
            yield keys[tracked.index][..., 0]
        else:
            yield matted(tracked.frame.astype(np.float32) / 255, tracked.planes[..., 0])


def _pictures(objects: Sequence[Selected], masks: Sequence[np.ndarray]) -> list[Image]:
    """Return the pictures of a frame: a grey one of each mask, or the one label map."""
    if objects[0].label is None:
        return [np.repeat(mask[..., None], 3, axis=2) for mask in masks]
    drawn = np.zeros((*masks[0].shape, 3), np.float32)
    for one, mask in reversed(list(zip(objects, masks, strict=True))):  # the first is on top
        red_green_blue = bytes.fromhex(color_names([str(one.label)])[0][1:])
        drawn[mask > 0.5] = np.array(list(red_green_blue), np.float32) / 255
    return [drawn]
