"""The server without a browser: sources, frames, drawings, requests, plans."""

import io
import re
import subprocess
import sys
from pathlib import Path
from shutil import copy, copytree
from types import SimpleNamespace
from typing import Any

import numpy as np
import PIL.Image
import pytest
from conftest import scene
from studio_client import client, folder  # noqa: F401 - fixtures

from vidstyle.jobs.job_file import load_job
from vidstyle.settings import Settings, options
from vidstyle.studio import app
from vidstyle.studio.declared import declared_settings, declared_techniques
from vidstyle.studio.drawings import Drawings
from vidstyle.techniques import TECHNIQUES


def png(value: int, size: tuple[int, int] = (128, 96)) -> bytes:
    file = io.BytesIO()
    PIL.Image.new("L", size, value).save(file, "PNG")
    return file.getvalue()


def test_a_clip_is_opened_and_each_frame_is_exact(client: Any) -> None:  # noqa: F811
    found = client("POST", "/api/open", json={"path": "clip.mp4"}).json()
    assert (found["kind"], found["frames"], found["width"]) == ("video", 6, 128)
    for index in (5, 0, 3):
        jpeg = client("GET", "/api/frame", params={"path": "clip.mp4", "index": index}).content
        image = np.asarray(PIL.Image.open(io.BytesIO(jpeg)), np.float32)
        assert image.shape == (96, 128, 3)
        errors = [np.abs(image - scene(other)).mean() for other in range(6)]
        assert int(np.argmin(errors)) == index
        assert errors[index] < 4


def test_each_kind_of_source_is_opened(
    client: Any,  # noqa: F811
    folder: Path,  # noqa: F811
    animation: Path,
    photos: Path,
) -> None:
    copytree(photos, folder / "photos")
    copy(animation, folder / "moving.gif")
    opened = {}
    for name in ("moving.gif", "wave.png", "photos"):
        found = client("POST", "/api/open", json={"path": name}).json()
        opened[name] = (found["kind"], found["frames"], found["width"])
    assert opened == {
        "moving.gif": ("animation", 6, 128),
        "wave.png": ("picture", 1, 128),
        "photos": ("photos", 3, 48),
    }


def test_a_frame_that_is_not_there_is_a_sentence(client: Any) -> None:  # noqa: F811
    found = client("GET", "/api/frame", params={"path": "clip.mp4", "index": 99})
    assert found.status_code == 400
    assert "expected a frame from 0 to 5" in found.json()["error"]


def test_a_folder_lists_media_and_folders_only(client: Any, folder: Path) -> None:  # noqa: F811
    (folder / "notes.txt").write_text("x")
    (folder / "sub").mkdir()
    names = [one["name"] for one in client("GET", "/api/files").json()["entries"]]
    assert names == ["clip.mp4", "sub", "wave.png"]


def test_the_command_line_and_the_job_file_say_what_was_clicked(client: Any, folder: Path) -> None:  # noqa: F811
    values = {"technique": "basic", "source": ["clip.mp4"], "output": "o.mp4",
              "style": ["wave.png"], "size": 64, "original_colors": True}  # fmt: skip
    found = client("POST", "/api/describe", json=values).json()
    assert found["command"].startswith(f"vidstyle basic {folder}/clip.mp4 -o {folder}/o.mp4")
    assert "--size 64" in found["command"]
    assert "--original-colors" in found["command"]
    job = load_job(found["job"], folder, "the job file")
    assert (job["technique"], job["size"], job["original_colors"]) == ("basic", 64, True)
    again = client("POST", "/api/load", content=found["job"]).json()
    assert client("POST", "/api/describe", json=again).json() == found


def test_a_wrong_key_is_a_sentence(client: Any) -> None:  # noqa: F811
    found = client("POST", "/api/load", content='technique = "basic"\nsiez = 64\n')
    assert found.status_code == 400
    assert "size" in found.json()["error"]


def test_the_plan_tells_frames_size_time_and_disk(client: Any) -> None:  # noqa: F811
    values = {"technique": "basic", "source": ["clip.mp4"], "output": "o.mp4",
              "style": ["wave.png"], "size": 64, "start": 0.1}  # fmt: skip
    plan = client("POST", "/api/plan", json=values).json()
    assert (plan["frames"], plan["width"], plan["height"]) == (3, 64, 48)
    assert plan["seconds"] > 0
    assert plan["bytes"] > 0


def test_a_drawing_is_kept_bit_by_bit_and_says_how_it_came(client: Any) -> None:  # noqa: F811
    first, second = png(10), png(200)
    assert client("GET", "/api/layers/m-1/0").status_code == 204
    client("PUT", "/api/layers/m-1/0", content=first)
    assert client("PUT", "/api/layers/m-1/4", content=second).json()["keys"] == [0, 4]
    found = client("GET", "/api/layers/m-1/4")
    assert (found.content, found.headers["x-drawing"]) == (second, "key")
    found = client("GET", "/api/layers/m-1/1")
    assert (found.content, found.headers["x-drawing"]) == (first, "nearest")
    assert client("DELETE", "/api/layers/m-1/0").json()["keys"] == [4]


def test_what_is_no_png_is_refused(client: Any) -> None:  # noqa: F811
    for body in (b"", b"GIF89a", png(0)[:20], png(0, (9000, 8))):
        assert client("PUT", "/api/layers/m-1/0", content=body).status_code == 400


def test_a_layer_becomes_the_mask_of_the_request(client: Any, folder: Path) -> None:  # noqa: F811
    values = {"technique": "mask", "source": ["clip.mp4"], "output": "o.mp4",
              "style": ["wave.png"], "mask": ["layer:m-1"]}  # fmt: skip
    assert client("POST", "/api/describe", json=values).status_code == 400  # nothing is painted
    client("PUT", "/api/layers/m-1/2", content=png(255))
    found = client("POST", "/api/describe", json=values).json()
    assert f"--mask {folder}/vidstyle-studio/layers/m-1/keys" in found["command"]


def test_tracking_fills_every_frame_and_a_new_key_discards_it(client: Any) -> None:  # noqa: F811
    client("PUT", "/api/layers/m-1/0", content=png(255))
    found = client("GET", "/api/layers/m-1/track", params={"path": "clip.mp4", "kind": "mask"})
    assert '"done"' in found.text
    assert client("GET", "/api/layers/m-1").json() == {"keys": [0], "tracked": 6}
    assert client("GET", "/api/layers/m-1/5").headers["x-drawing"] == "tracked"
    client("PUT", "/api/layers/m-1/3", content=png(0))
    assert client("GET", "/api/layers/m-1").json() == {"keys": [0, 3], "tracked": 0}


def test_a_smart_stroke_selects_the_square(client: Any) -> None:  # noqa: F811
    stroke = PIL.Image.new("L", (128, 96), 0)
    stroke.paste(255, (14, 36, 34, 56))  # inside the orange square of frame 0: 8..40, 30..62
    file = io.BytesIO()
    stroke.save(file, "PNG")
    client("PUT", "/api/layers/strokes/0", content=file.getvalue())
    values = {"path": "clip.mp4", "index": 0, "size": [128, 96], "strokes": True}
    found = client("POST", "/api/select", json=values)
    mask = np.asarray(PIL.Image.open(io.BytesIO(found.content))) > 127
    true = np.zeros((96, 128), bool)
    true[30:62, 8:40] = True
    assert (mask & true).sum() / (mask | true).sum() > 0.8


def test_the_project_is_kept(client: Any) -> None:  # noqa: F811
    client("PUT", "/api/project", json={"index": 3})
    assert client("GET", "/api/state").json()["project"] == {"index": 3}


def test_each_technique_has_a_picture_on_the_page(client: Any) -> None:  # noqa: F811
    gallery = client("GET", "/api/state").json()["samples"]["gallery"]
    assert set(gallery) == set(TECHNIQUES)
    for path in gallery.values():
        assert client("GET", "/api/picture", params={"path": path}).content[:2] == b"\xff\xd8"


def test_the_latest_frame_of_a_job_is_a_picture(
    client: Any,  # noqa: F811
    folder: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    progress = SimpleNamespace(latest_frame=None)
    monkeypatch.setattr(client.studio.queue, "get", lambda _: SimpleNamespace(progress=progress))
    assert client("GET", "/api/jobs/1/latest").status_code == 204
    progress.latest_frame = folder / "wave.png"
    jpeg = client("GET", "/api/jobs/1/latest").content
    assert PIL.Image.open(io.BytesIO(jpeg)).size == (128, 96)


def test_the_page_names_no_other_host() -> None:
    for file in Path(app.__file__).parent.joinpath("static").iterdir():
        found = set(re.findall(r"\w+://[\w.]+", file.read_text(encoding="utf-8")))
        assert found <= {"http://www.w3.org"}, file  # the name space of the icon


def test_the_server_itself_neither_decodes_nor_optimises() -> None:
    modules = "{'tensorflow', 'av', 'onnxruntime'}"
    code = f"import sys, vidstyle.studio.app; print({modules} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


def test_every_declared_option_is_on_the_page() -> None:
    assert [one["name"] for one in declared_settings()] == list(options(Settings))
    shown = {one["name"]: [o["name"] for o in one["options"]] for one in declared_techniques()}
    assert shown == {name: list(options(kind)) for name, kind in TECHNIQUES.items()}


def test_the_nearest_key_frame_is_shown_between_two(tmp_path: Path) -> None:
    drawings = Drawings(tmp_path)
    for index in (2, 10):
        drawings.save("m", index, png(index))
    for index, key in ((0, 2), (5, 2), (7, 10), (30, 10)):
        found = drawings.at("m", index)
        assert found is not None
        assert found[0].name == f"{key:06d}.png"
