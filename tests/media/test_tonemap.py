"""HDR and wide-gamut colours are mapped to SDR."""

from pathlib import Path

import numpy as np
import pytest
from media_inputs import write_raw

from vidstyle import media
from vidstyle.media.tonemap import to_standard

# Standard patches: the primaries and their mixes, greys, skin, foliage, sky.
_PATCHES = np.array(
    [
        (255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 255, 255), (255, 0, 255), (255, 255, 0),
        (255, 255, 255), (128, 128, 128), (0, 0, 0), (200, 150, 120), (60, 90, 40), (120, 120, 220),
    ]
)  # fmt: skip
_TO_2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
_TAGS = {"PQ": "smpte2084", "HLG": "arib-std-b67"}


def _nits(patches: np.ndarray) -> np.ndarray:
    """Return linear BT.2020 light of SDR colours with white at 203 nits."""
    code = patches / 255
    light = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
    return 203 * light @ _TO_2020.T


def _coded(nits: np.ndarray, kind: str) -> np.ndarray:
    if kind == "PQ":
        power = np.clip(nits / 10000, 0, 1) ** 0.1593017578125
        return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375
    shown = nits / 1000
    luma = np.maximum(shown @ [0.2627, 0.6780, 0.0593], 1e-9)[..., None]
    scene = shown * luma ** (1 / 1.2 - 1)
    bright = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), bright)


def _shown(folder: Path, nits: np.ndarray, kind: str) -> tuple[media.Clip, np.ndarray]:
    """Return the decoded colour of each patch of a chart, [N, 3] of 255."""
    row = np.rint(np.clip(_coded(nits, kind), 0, 1) * 65535).astype(np.uint16)
    chart = np.broadcast_to(np.repeat(row, 16, axis=0), (1, 32, 16 * len(row), 3))
    tags = f"color_primaries=bt2020:color_trc={_TAGS[kind]}:colorspace=bt2020nc"
    scale = "scale=out_color_matrix=bt2020nc:out_range=tv"
    graph = f"{scale},format=yuv444p10le,setparams={tags}"
    clip = media.probe(write_raw(folder / "a.mkv", chart, "-vf", graph, "-c:v", "ffv1"))
    return clip, next(media.read(clip, range(1)))[16, 8::16] * 255


@pytest.mark.parametrize("kind", ["PQ", "HLG"])
def test_sdr_colours_encoded_as_hdr_are_restored(tmp_path: Path, kind: str) -> None:
    clip, shown = _shown(tmp_path, _nits(_PATCHES), kind)
    assert f"high dynamic range ({kind}) is tone-mapped" in clip.notes[0]
    assert np.abs(shown - _PATCHES).mean() <= 5
    below = _PATCHES.max(axis=1) < 225  # below the knee, unchanged
    assert np.abs(shown - _PATCHES)[below].max() <= 2


@pytest.mark.parametrize("kind", ["PQ", "HLG"])
def test_highlights_are_compressed_not_clipped(tmp_path: Path, kind: str) -> None:
    nits = np.array([100, 203, 300, 450, 700, 990])[:, None] * np.ones(3)
    _, shown = _shown(tmp_path, nits, kind)
    assert (np.diff(shown[:, 1]) > 0.8).all()
    assert np.ptp(shown, axis=1).max() <= 1.5  # grey stays grey
    assert 235 < shown[1, 1] < shown[-1, 1] <= 255


def test_a_wide_gamut_of_standard_range_keeps_its_colours() -> None:
    light = (_PATCHES / 255) ** 2.4 @ _TO_2020.T
    coded = np.rint(np.clip(light, 0, 1) ** (1 / 2.4) * 65535).astype(np.uint16)
    back = to_standard(coded[None], 14, 9)[0] * 255
    assert np.abs(back - _PATCHES).max() <= 6
    assert np.abs(back - _PATCHES).mean() <= 1
