"""A sample of scripts/fuzz, and the validity of its seeds."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stress.fuzz import HOSTILE, KINDS, Mutant, fuzz, mutants, prepare
from stress.torture import Table

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="waits as Linux does")
COUNTS = {"states": 40, "videos": 40, "pictures": 40, "playlists": 14, "bombs": 4}
FITTING = {  # role -> seeds that are valid for it
    "source": (
        "h264.mp4", "vp9.webm", "adpcm.avi", "eight_bits.avi", "wma.wmv", "side.mkv", "custom.mov",
        "unnamed.mkv", "joined_program.vob", "moving.gif", "rgb.jpg", "cmyk.jpg", "grey16.png",
        "photo.heic",
    ),
    "style": ("palette.png", "packed.tif", "rgb.bmp", "rgb16.png"),
    "mask": ("mpeg4.avi", "moving.webp", "rgba.png", "grey.png", "rgb16.tif"),
    "map": ("hevc.mp4", "moving.png", "cmyk.jpg", "palette.gif"),
    "style map": ("progressive.jpg", "rgb.webp"),
    "probe": ("prores.mov", "mpeg2.ts", "joined_mpeg2.ts", "plain.tif"),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "count"), COUNTS.items())
def test_a_sample_of_mutants_is_read_or_refused(kind: str, count: int) -> None:
    options = ["--count", str(count), "--seed", "7"]
    command = [sys.executable, "-m", "stress.fuzz_main", kind, *options]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "\n0 failures" in found.stdout


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in HOSTILE])
def test_undamaged_seeds_are_valid_in_their_roles(kind: str, tmp_path: Path) -> None:
    """In a subprocess: the peak memory of a child includes that of its parent."""
    code = f"from test_fuzz import read_undamaged; read_undamaged({kind!r}, {str(tmp_path)!r})"
    paths = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert found.returncode == 0, found.stdout + found.stderr


def read_undamaged(kind: str, folder: str) -> None:
    """Run vidstyle on each undamaged seed in the roles that it is valid for."""
    bench, seeds = prepare(Path(folder), kind)
    table, arguments = Table(), 0
    for role, names in FITTING.items():
        chosen = [seed for seed in seeds if seed.name in names]
        arguments += len(chosen)
        fuzz(bench, (Mutant(0, seed, role, seed.read_bytes()) for seed in chosen), table)
    assert not table.failures
    assert arguments
    assert sum(row["finished"] for row in table.rows.values()) == arguments


def test_hostile_files_are_first_used_undamaged_in_every_role(tmp_path: Path) -> None:
    assert set(COUNTS) == {*KINDS, "states"}
    _, seeds = prepare(tmp_path, "playlists")
    roles = KINDS["playlists"]
    whole = list(mutants(seeds, "playlists", range(len(seeds) * len(roles) + 9), 5))
    plain, damaged = whole[:-9], whole[-9:]
    assert {(one.origin, one.role) for one in plain} == {(s, r) for s in seeds for r in roles}
    assert all(one.data == one.origin.read_bytes() for one in plain)
    assert any(one.data != one.origin.read_bytes() for one in damaged)


def test_a_mutant_depends_on_seed_and_number_only(tmp_path: Path) -> None:
    seed = tmp_path / "picture.png"
    seed.write_bytes(bytes(range(256)) * 8)
    whole = list(mutants([seed], "pictures", range(30), 5))
    assert list(mutants([seed], "pictures", range(20, 30), 5)) == whole[20:]
    assert whole != list(mutants([seed], "pictures", range(30), 6))
    assert sum(mutant.data != seed.read_bytes() for mutant in whole) > 25
