"""What a batch consists of: found, ordered, placed, split."""

import io
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from vidstyle.errors import MediaError, UsageError
from vidstyle.jobs.discovery import Batch, collect, parse_shard, read_list


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder of empty files, whose names alone matter here."""
    for name in (
        "img10.jpg", "img2.jpg", "a.jpg", "a.png", "Thumbs.db", ".hidden.png", ".git/x.png",
        "sub/a.jpg", "sub/clip.AVI", "sub/notes.txt", "day 2/b.gif", "day 10/b.gif",
    ):  # fmt: skip
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "in"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def places(batch: Batch) -> list[str]:
    return [item.place.as_posix() for item in batch.items]


def test_a_tree_is_mirrored_in_natural_order(tree: Path, out: Path) -> None:
    batch = collect([tree], out, recursive=True)
    expected = ["a.jpg", "a.png", "day 2/b.gif", "day 10/b.gif", "img2.jpg", "img10.jpg"]
    assert places(batch) == [*expected, "sub/a.jpg", "sub/clip.AVI"]
    assert [item.source for item in batch.items] == [tree / place for place in places(batch)]


def test_what_is_passed_over_is_counted(tree: Path, out: Path) -> None:
    batch = collect([tree], out, recursive=True)
    assert batch.left_out == {"hidden": 2, "foreign": 2, "results": 0}


def test_masks_and_maps_among_the_sources_are_none(tree: Path, out: Path) -> None:
    guides = [[str(tree / "sub"), str(tree / "day 2" / ".." / "a.png")], str(tree / "img2.jpg")]
    batch = collect([tree], out, recursive=True, guides=guides)
    assert places(batch) == ["a.jpg", "day 2/b.gif", "day 10/b.gif", "img10.jpg"]
    assert batch.left_out["guides"] == 3


def test_without_r_a_folder_gives_only_what_lies_in_it(tree: Path, out: Path) -> None:
    batch = collect([tree], out, shard=(1, 1))
    assert places(batch) == ["a.jpg", "a.png", "img2.jpg", "img10.jpg"]


def test_several_sources_keep_their_places_below_the_folder_they_share(
    tree: Path, out: Path
) -> None:
    batch = collect([tree / "sub" / "a.jpg", tree / "a.jpg", tree / "day 2"], out)
    assert places(batch) == ["a.jpg", "day 2/b.gif", "sub/a.jpg"]
    assert places(collect([tree / "a.jpg", tree / "a.png"], out)) == ["a.jpg", "a.png"]


def test_a_source_named_twice_is_one(
    tree: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tree)
    batch = collect([Path("a.jpg"), tree / "sub" / ".." / "a.jpg", tree, Path()], out)
    assert places(batch) == ["a.jpg", "a.png", "img2.jpg", "img10.jpg"]


def test_a_changed_suffix_is_added_to_the_name_so_that_none_collide(tree: Path, out: Path) -> None:
    for name in ("x.bmp", "x.gif", "x.gif.png", "x.jp2"):
        (tree / name).touch()
    batch = collect([tree], out)
    kinds = {"x.bmp": ".bmp", "x.gif": ".png", "x.gif.png": ".png", "x.jp2": ".png"}
    results = [batch.result(item, kinds.get(item.place.name, ".png")) for item in batch.items]
    names = [path.name for path in results]
    assert {"x.bmp", "x.gif.png", "x.gif.png.png", "x.jp2.png", "a.jpg.png"} <= set(names)
    assert len({name.lower() for name in names}) == len(names)


def test_names_that_differ_in_case_alone_stay_apart_on_every_disk(
    tmp_path: Path, out: Path
) -> None:
    (tmp_path / "in").mkdir()
    for name in ("A.jpg", "a.jpg", "a 2.jpg"):
        (tmp_path / "in" / name).touch()
    if len(list((tmp_path / "in").iterdir())) < 3:
        pytest.skip("this disk takes them for one")
    found = places(collect([tmp_path / "in"], out))
    assert len({name.lower() for name in found}) == 3


def test_links_to_folders_are_not_followed_so_that_loops_end(tree: Path, out: Path) -> None:
    (tree / "sub" / "loop").symlink_to(tree)
    (tree / "sub" / "up").symlink_to("..")
    (tree / "sub" / "linked.jpg").symlink_to(tree / "a.jpg")
    (tree / "sub" / "self.jpg").symlink_to("self.jpg")
    batch = collect([tree], out, recursive=True)
    assert batch.left_out["linked"] == 2
    found = [place for place in places(batch) if place.startswith("sub/")]
    assert found == ["sub/a.jpg", "sub/clip.AVI", "sub/linked.jpg", "sub/self.jpg"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no named pipes in folders")
def test_what_is_no_file_is_foreign_whatever_its_name(tree: Path, out: Path) -> None:
    os.mkfifo(tree / "pipe.mp4")
    assert collect([tree], out).left_out["foreign"] == 2


def test_our_own_results_are_never_sources(tree: Path) -> None:
    for name in ("painted/a.jpg", "earlier/.vidstyle/b.json", "earlier/b.jpg"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).touch()
    (tree / "clip.mp4.vidstyle" / "frames").mkdir(parents=True)
    (tree / "clip.mp4.vidstyle" / "frames" / "000000.png").touch()
    batch = collect([tree], tree / "painted", recursive=True)
    assert batch.left_out["results"] == 3
    assert len(batch.items) == 8


def test_an_output_that_holds_a_source_is_refused(tree: Path) -> None:
    for sources, output in (
        ([tree], tree),
        ([tree / "sub"], tree),
        ([tree / "a.jpg", tree / "a.png"], tree),
    ):
        with pytest.raises(UsageError, match="apart from the sources"):
            collect(sources, output, recursive=True)


@pytest.mark.parametrize("name", ["out.mp4", "in/a.jpg", "nowhere/out"])
def test_an_output_that_is_no_folder_is_refused(tree: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"folder"):
        collect([tree / "a.jpg", tree / "a.png"], tmp_path / name)


def test_nothing_to_do_is_refused(tmp_path: Path, tree: Path, out: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(MediaError, match=r"got none \(0 other entries\); name another folder"):
        collect([tmp_path / "empty"], out, recursive=True)
    (tmp_path / "empty" / "sub").mkdir()
    with pytest.raises(MediaError, match=r"got none \(0 other entries\); add -r"):
        collect([tmp_path / "empty"], out)
    with pytest.raises(UsageError, match="expected a SOURCE"):
        collect([], out)


def test_a_folder_that_cannot_be_read_is_a_fault_not_the_end(
    tree: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = os.scandir

    def refuse(folder: Path) -> object:
        if Path(folder).name == "sub":
            raise PermissionError(13, "Permission denied")
        return scan(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    batch = collect([tree], out, recursive=True)
    assert batch.faults == (
        (
            tree / "sub",
            f"{tree / 'sub'}: expected a folder that can be read, but Permission denied; "
            "mend its rights",
        ),
    )
    assert len(batch.items) == 6
    with pytest.raises(MediaError, match="mend its rights"):
        collect([tree / "sub"], out, recursive=True)


def test_with_a_rate_each_folder_is_one_sequence(tree: Path, out: Path) -> None:
    (tree / "shot.v2").mkdir()
    (tree / "shot_v2").mkdir()
    batch = collect([tree / "shot.v2", tree / "shot_v2", tree / "day 2"], out, sequences=True)
    assert places(batch) == ["day 2", "shot_v2", "shot_v2 2"]
    with pytest.raises(UsageError, match="--rate: expected it without -r"):
        collect([tree], out, sequences=True, recursive=True)


def test_patterns_have_places_of_their_own(tree: Path, out: Path) -> None:
    patterns = [tree / "sub" / "%05d.png", tree / "sub" / "left_%d.png", tree / "a.jpg"]
    assert places(collect(patterns, out)) == ["a.jpg", "sub", "sub/left"]


def test_shards_part_the_batch_by_place(tree: Path, out: Path) -> None:
    whole = collect([tree], out, recursive=True)
    parts = [collect([tree], out, recursive=True, shard=(i, 3)) for i in (1, 2, 3)]
    for number, part in enumerate(parts):
        assert part.items == whole.items[number::3]
        assert (part.base, part.places) == (whole.base, whole.places)
    assert collect([tree], out, shard=(9, 9)).items == ()


def test_a_shard_is_read_or_refused() -> None:
    assert parse_shard("2/4") == (2, 4)
    for text in ("0/4", "5/4", "1/0", "a/b", "1", "1/2/3", "-1/2", "", "٣/٤"):
        with pytest.raises(UsageError, match=r"--shard: expected i/n"):
            parse_shard(text)


def test_a_list_has_one_source_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = b"\xef\xbb\xbfa.jpg\r\n\r\n  two words.png\n\xff.jpg"
    (tmp_path / "list.txt").write_bytes(text)
    expected = [Path("a.jpg"), Path("  two words.png"), Path(os.fsdecode(b"\xff.jpg"))]
    assert read_list(str(tmp_path / "list.txt")) == expected
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(text)))
    assert read_list("-") == expected


def test_a_list_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\0\0")
    for name in ("picture.png", "missing.txt", "."):
        with pytest.raises(MediaError, match="--list: expected a"):
            read_list(str(tmp_path / name))
