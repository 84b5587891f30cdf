"""ICC profiles are judged by their effect on colours; 16 bits keep their depth."""

import io
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from photo_inputs import (
    LINEAR,
    gamma,
    grey_profile,
    profile,
    profile_chunk,
    ramp,
    write_png,
    write_tiff,
)
from PIL import ImageCms

from vidstyle import media

# Columns: the XYZ of red, green and blue, adapted to D50, as the profiles of these names have them.
ADOBE = np.array(
    [[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]]
)
DISPLAY_P3 = np.array(
    [[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]]
)
PARAMETRIC = b"para" + bytes(4) + b"\0\4\0\0"  # type 4: IEC 61966-2-1 with two offsets of 0
for _number in (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045, 0, 0):
    PARAMETRIC += round(_number * 65536).to_bytes(4)

PROFILES = {
    "linear": profile(curve=LINEAR, name="Editor Linear sRGB"),
    "adobe": profile(curve=gamma(2.19921875), colorants=ADOBE),
    "p3": profile(curve=PARAMETRIC, colorants=DISPLAY_P3, name="sRGB, but P3"),
    "gamma": profile(curve=gamma(1.8)),
}


def viewed(pixels: np.ndarray, icc: bytes) -> np.ndarray:
    """Return uint8 pixels converted to sRGB by LittleCMS, uint8."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    target = ImageCms.createProfile("sRGB")
    picture = PIL.Image.fromarray(pixels)
    shown = ImageCms.profileToProfile(picture, source, target, outputMode="RGB")
    assert shown is not None
    return np.asarray(shown).astype(int)


def colours() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (24, 96, 3), np.uint8)


@pytest.mark.parametrize("name", PROFILES)
def test_8_bit_conversion_does_not_depend_on_the_profile_name(tmp_path: Path, name: str) -> None:
    PIL.Image.fromarray(colours()).save(tmp_path / "a.png", icc_profile=PROFILES[name])
    image = media.read_picture(tmp_path / "a.png")
    np.testing.assert_allclose(image * 255, viewed(colours(), PROFILES[name]), atol=1e-3)


def test_a_profile_equal_to_srgb_changes_no_pixel(
    tmp_path: Path,
) -> None:
    PIL.Image.fromarray(colours()).save(tmp_path / "a.png", icc_profile=profile(name="c2"))
    image = media.read_picture(tmp_path / "a.png")
    np.testing.assert_allclose(image * 255, colours(), atol=1e-3)
    write_png(tmp_path / "b.png", ramp(), (profile_chunk(profile(name="c2")),))
    np.testing.assert_array_equal(
        media.read_picture(tmp_path / "b.png"), ramp() / np.float32(65535)
    )


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_are_converted_as_a_viewer_does(
    tmp_path: Path, name: str, suffix: str
) -> None:
    path, words = tmp_path / f"a{suffix}", colours().astype(np.uint16) * 257
    if suffix == ".png":
        write_png(path, words, (profile_chunk(PROFILES[name]),))
    else:
        write_tiff(path, words, iccprofile=PROFILES[name])
    image = media.read_picture(path)
    expected = viewed(colours(), PROFILES[name])
    assert np.abs(expected - colours()).max() > 10  # the profile changes colours
    np.testing.assert_allclose(image * 255, expected, atol=1.01)


@pytest.mark.parametrize("name", PROFILES)
def test_a_gradient_keeps_its_levels_through_a_profile(tmp_path: Path, name: str) -> None:
    grey = np.linspace(20000, 40000, 24 * 96).astype(np.uint16).reshape(24, 96, 1)
    write_png(tmp_path / "a.png", np.repeat(grey, 3, axis=2), (profile_chunk(PROFILES[name]),))
    levels = media.read_picture(tmp_path / "a.png")[..., 1].ravel()
    assert (np.diff(levels) > 0).all()
    assert len(np.unique(levels)) == 24 * 96


def test_a_grey_profile_is_applied_at_sixteen_bits(tmp_path: Path) -> None:
    grey = np.linspace(0, 65535, 24 * 96).astype(np.uint16).reshape(24, 96, 1)
    write_png(tmp_path / "a.png", grey, (profile_chunk(grey_profile(LINEAR)),))
    image = media.read_picture(tmp_path / "a.png")
    light = grey / 65535
    curve = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    np.testing.assert_allclose(image, np.repeat(curve, 3, axis=2), atol=1e-4)


def test_a_profile_of_tables_keeps_the_levels_of_a_gradient(tmp_path: Path) -> None:
    icc = with_tables(PROFILES["adobe"])
    write_png(tmp_path / "a.png", ramp(), (profile_chunk(icc),))
    image = media.read_picture(tmp_path / "a.png")
    eight = (ramp() // 257).astype(np.uint8)
    np.testing.assert_allclose(image * 255, viewed(eight, icc), atol=3)
    assert len(np.unique(image[..., 0])) > 1500


def with_tables(icc: bytes) -> bytes:
    """Return an RGB profile with a small lookup table (mft1) from RGB to Lab."""
    grid = np.stack(np.meshgrid(*[np.linspace(0, 1, 3)] * 3, indexing="ij"), axis=-1)
    lab = np.stack(
        [
            grid.mean(axis=3),
            0.5 + 0.2 * (grid[..., 2] - grid[..., 1]),
            0.5 + 0.2 * (grid[..., 0] - 0.5),
        ],
        axis=3,
    )
    table = np.rint(lab * 255).astype(np.uint8).tobytes()
    ends = bytes(range(256)) * 3
    identity = b"".join(int(n).to_bytes(4) for n in np.eye(3).ravel() * 65536)
    body = b"mft1" + bytes(4) + bytes((3, 3, 3, 0)) + identity + ends + table + ends
    body += bytes(-len(body) % 4)
    count = int.from_bytes(icc[128:132])
    shifted = b""
    for index in range(count):
        tag = icc[132 + 12 * index : 144 + 12 * index]
        shifted += tag[:4] + (int.from_bytes(tag[4:8]) + 12).to_bytes(4) + tag[8:]
    rest = icc[132 + 12 * count :]
    shifted += b"A2B0" + (len(icc) + 12).to_bytes(4) + len(body).to_bytes(4)
    whole = icc[:20] + b"Lab " + icc[24:128] + (count + 1).to_bytes(4) + shifted + rest + body
    return len(whole).to_bytes(4) + whole[4:]


@pytest.mark.parametrize("cut", [0, 10, 100, 140, 300, 500])
def test_a_damaged_profile_is_ignored_at_sixteen_bits(tmp_path: Path, cut: int) -> None:
    write_png(tmp_path / "a.png", ramp(), (profile_chunk(PROFILES["adobe"][:cut]),))
    image = media.read_picture(tmp_path / "a.png")
    np.testing.assert_allclose(image * 65535, ramp(), atol=0.01)
