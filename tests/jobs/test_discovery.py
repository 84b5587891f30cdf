"""Discovery of the sources of a batch: search, order, output paths, shards."""

import io
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from vidstyle.errors import MediaError, UsageError
from vidstyle.jobs.discovery import Batch, collect, parse_shard, read_list


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder of empty files."""
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


def relative_paths(batch: Batch) -> list[str]:
    return [item.relative_path.as_posix() for item in batch.items]


def test_a_tree_is_mirrored_in_natural_order(tree: Path, out: Path) -> None:
    batch = collect([tree], out, recursive=True)
    expected = ["a.jpg", "a.png", "day 2/b.gif", "day 10/b.gif", "img2.jpg", "img10.jpg"]
    assert relative_paths(batch) == [*expected, "sub/a.jpg", "sub/clip.AVI"]
    assert [item.source for item in batch.items] == [
        tree / place for place in relative_paths(batch)
    ]


def test_entries_left_out_are_counted(tree: Path, out: Path) -> None:
    batch = collect([tree], out, recursive=True)
    assert batch.left_out == {"hidden": 2, "system": 1, "foreign": 1, "results": 0}


def test_masks_and_maps_among_the_sources_are_left_out(tree: Path, out: Path) -> None:
    guides = [[str(tree / "sub"), str(tree / "day 2" / ".." / "a.png")], str(tree / "img2.jpg")]
    batch = collect([tree], out, recursive=True, guides=guides)
    assert relative_paths(batch) == ["a.jpg", "day 2/b.gif", "day 10/b.gif", "img10.jpg"]
    assert batch.left_out["guides"] == 3


def test_without_r_subfolders_are_left_out(tree: Path, out: Path) -> None:
    batch = collect([tree], out, shard=(1, 1))
    assert relative_paths(batch) == ["a.jpg", "a.png", "img2.jpg", "img10.jpg"]


def test_a_file_keeps_its_path_as_written_and_a_folder_its_layout(
    tree: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tree)
    sources = [Path("sub/a.jpg"), Path("./a.jpg"), Path("day 2")]
    assert relative_paths(collect(sources, out)) == ["a.jpg", "b.gif", "sub/a.jpg"]
    whole = Path(*tree.parts[1:])
    for written in (tree / "a.png", Path("..", "in", "a.png")):
        assert relative_paths(collect([written], out)) == [(whole / "a.png").as_posix()]


def test_the_output_path_of_a_line_does_not_depend_on_other_lines(
    tree: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tree)
    lines = [Path(name) for name in ("a.jpg", "sub/a.jpg", "day 2", "day 10", "sub/%05d.png")]
    lines += [tree / "img2.jpg", Path("/nowhere/a.jpg"), Path("../none.mp4"), Path("../in/a.png")]
    alone = {line: relative_paths(collect([], out, listed=[line])) for line in lines}
    together = collect([], out, listed=lines)
    for line, found in alone.items():
        assert [i.relative_path.as_posix() for i in together.items if i.given == line] == found
    assert alone[Path("day 2")] == ["day 2/b.gif"]
    more = collect([tree / "sub"], out, listed=[Path("img2.jpg"), tree / "img10.jpg"])
    found = [item.relative_path.as_posix() for item in more.items if item.given == tree / "sub"]
    assert found == relative_paths(collect([tree / "sub"], out)) == ["a.jpg", "clip.AVI"]


def test_two_sources_with_the_same_output_are_refused_by_name(tree: Path, out: Path) -> None:
    (tree / "day 3").mkdir()
    (tree / "day 3" / "b.gif").touch()
    with pytest.raises(
        UsageError, match=r"b\.gif for both .*day 2/b\.gif and .*day 3/b\.gif; name"
    ):
        collect([tree / "day 2", tree / "day 3"], out)
    listed = [tree / "day 2", tree / "day 3"]
    assert len(set(relative_paths(collect([], out, listed=listed)))) == 2


def test_a_source_named_twice_is_one(
    tree: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tree)
    batch = collect([Path("a.jpg"), tree / "sub" / ".." / "a.jpg", tree, Path()], out)
    assert relative_paths(batch) == ["a.jpg", "a.png", "img2.jpg", "img10.jpg"]


def test_another_suffix_is_appended_so_that_names_do_not_collide(tree: Path, out: Path) -> None:
    for name in ("x.bmp", "x.gif", "x.gif.png", "x.jp2"):
        (tree / name).touch()
    batch = collect([tree], out)
    kinds = {"x.bmp": ".bmp", "x.gif": ".png", "x.gif.png": ".png", "x.jp2": ".png"}
    results = [
        batch.result(item, kinds.get(item.relative_path.name, ".png")) for item in batch.items
    ]
    names = [path.name for path in results]
    assert {"x.bmp", "x.gif.png", "x.gif.png.png", "x.jp2.png", "a.jpg.png"} <= set(names)
    assert len({name.lower() for name in names}) == len(names)


def test_names_that_differ_only_in_case_do_not_collide(tmp_path: Path, out: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("A.jpg", "a.jpg", "a 2.jpg"):
        (tmp_path / "in" / name).touch()
    if len(list((tmp_path / "in").iterdir())) < 3:
        pytest.skip("this disk takes them for one")
    found = relative_paths(collect([tmp_path / "in"], out))
    assert len({name.lower() for name in found}) == 3


def test_links_to_folders_are_not_followed(tree: Path, out: Path) -> None:
    (tree / "sub" / "loop").symlink_to(tree)
    (tree / "sub" / "up").symlink_to("..")
    (tree / "sub" / "linked.jpg").symlink_to(tree / "a.jpg")
    (tree / "sub" / "self.jpg").symlink_to("self.jpg")
    batch = collect([tree], out, recursive=True)
    assert batch.left_out["linked"] == 2
    found = [place for place in relative_paths(batch) if place.startswith("sub/")]
    assert found == ["sub/a.jpg", "sub/clip.AVI", "sub/linked.jpg", "sub/self.jpg"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no named pipes in folders")
def test_pipes_are_left_out_whatever_their_name(tree: Path, out: Path) -> None:
    os.mkfifo(tree / "pipe.mp4")
    assert collect([tree], out).left_out["foreign"] == 1


def test_results_of_vidstyle_are_never_sources(tree: Path) -> None:
    for name in ("earlier/.vidstyle/b.json", "earlier/b.jpg"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).touch()
    (tree / "clip.mp4.vidstyle" / "frames").mkdir(parents=True)
    (tree / "clip.mp4.vidstyle" / "frames" / "000000.png").touch()
    batch = collect([tree], tree.parent / "painted", recursive=True)
    assert batch.left_out["results"] == 2
    assert len(batch.items) == 8


@pytest.mark.parametrize(
    ("sources", "output", "words"),
    [
        ([""], "", "is also an input"),
        (["sub"], "", "contains the input"),
        (["a.jpg", "a.png"], "", "contains the input"),
        ([""], "painted", "lies in the input folder"),
        (["", "sub"], "sub/painted", "lies in the input folder"),
        (["sub/%05d.png"], "sub", "contains the input"),
    ],
)
def test_an_output_is_apart_from_the_sources(
    tree: Path, sources: list[str], output: str, words: str
) -> None:
    (tree / "sub" / "00001.png").touch()
    with pytest.raises(UsageError, match=words):
        collect([tree / name for name in sources], tree / output, recursive=True)
    with pytest.raises(UsageError, match=words):
        collect([], tree / output, listed=[tree / name for name in sources], recursive=True)


def test_a_source_that_links_into_the_output_is_refused(tree: Path, out: Path) -> None:
    out.mkdir()
    (out / "a.jpg").touch()
    (tree / "sub" / "link.jpg").symlink_to(out / "a.jpg")
    with pytest.raises(UsageError, match=r"contains the input .*link\.jpg"):
        collect([tree], out, recursive=True)


def test_a_list_within_the_output_is_refused(tree: Path, out: Path) -> None:
    out.mkdir()
    (out / "list.txt").write_text("a.jpg")
    with pytest.raises(UsageError, match=r"contains the input .*list\.txt"):
        read_list(str(out / "list.txt"), out)


@pytest.mark.parametrize("name", ["out.mp4", "in/a.jpg", "nowhere/out"])
def test_an_output_that_is_not_a_folder_is_refused(tree: Path, tmp_path: Path, name: str) -> None:
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


def test_an_unreadable_folder_is_reported_and_the_rest_done(
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
            "change its permissions",
        ),
    )
    assert len(batch.items) == 6
    with pytest.raises(MediaError, match="change its permissions"):
        collect([tree / "sub"], out, recursive=True)


def test_with_a_rate_each_folder_is_one_sequence(
    tree: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tree / "shot.v2").mkdir()
    (tree / "shot_v2").mkdir()
    monkeypatch.chdir(tree)
    batch = collect([Path("shot.v2"), Path("day 2")], out, sequences=True)
    assert relative_paths(batch) == ["day 2", "shot_v2"]
    with pytest.raises(UsageError, match=r"shot_v2 for both .*shot"):
        collect([Path("shot.v2"), Path("shot_v2")], out, sequences=True)
    with pytest.raises(UsageError, match="--rate: expected it without -r"):
        collect([tree], out, sequences=True, recursive=True)


def test_patterns_have_separate_outputs(
    tree: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tree)
    patterns = [Path("sub/%05d.png"), Path("sub/left_%d.png"), Path("a.jpg"), Path("%05d.png")]
    assert relative_paths(collect(patterns, out)) == ["a.jpg", "in", "sub", "sub/left"]


def test_shards_divide_the_batch(tree: Path, out: Path) -> None:
    whole = collect([tree], out, recursive=True)
    parts = [collect([tree], out, recursive=True, shard=(i, 3)) for i in (1, 2, 3)]
    for number, part in enumerate(parts):
        assert part.items == whole.items[number::3]
        assert (part.source, part.relative_paths) == (whole.source, whole.relative_paths)
    assert collect([tree], out, shard=(9, 9)).items == ()


def test_shard_numbers_are_parsed_or_refused() -> None:
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


def test_an_invalid_list_is_refused(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\0\0")
    for name in ("picture.png", "missing.txt", "."):
        with pytest.raises(MediaError, match="--list: expected a"):
            read_list(str(tmp_path / name))


def test_system_files_and_folders_are_left_out(tmp_path: Path, out: Path) -> None:
    for name in (
        "in/a.jpg", "in/@eaDir/a.jpg/SYNOFILE_THUMB_M.jpg", "in/__MACOSX/a.jpg", "in/desktop.ini",
        "in/#recycle/a.jpg", "in/$RECYCLE.BIN/a.jpg", "in/lost+found/a.jpg", "in/.Trashes/a.jpg",
        "in/.Spotlight-V100/a.jpg", "in/System Volume Information/a.jpg", "in/._a.jpg",
        "in/.DS_Store", "in/thumbs.DB",
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for recursive in (True, False):
        batch = collect([tmp_path / "in"], out, recursive=recursive)
        assert relative_paths(batch) == ["a.jpg"]
        assert +batch.left_out == {"hidden": 4, "system": 8}
        assert batch.unread == ()


def test_entries_left_out_are_named(tmp_path: Path, out: Path) -> None:
    for name in ("in/a.jpg", "in/IMG_2.CR3", "in/sub/b.jpg", "in/sub/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert collect([tmp_path / "in"], out, recursive=True).unread == ("IMG_2.CR3", "sub/notes.txt")
    assert collect([tmp_path / "in"], out).unread == ("IMG_2.CR3", "sub/")
