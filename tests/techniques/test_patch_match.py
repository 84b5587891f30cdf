"""Blocks and their matches: windows, choice of matches, matches carried along the motion."""

import numpy as np
import pytest
import tensorflow as tf
from tiny import TinyEncoder, disc, plain_style, stripes

from vidstyle.coherence.prior import TemporalPrior, moved_matches
from vidstyle.techniques import StyleFeatures, _patch_gram, _patch_match
from vidstyle.techniques.patch import Patch


@pytest.mark.parametrize(("height", "width"), [(64, 96), (65, 101), (40, 33), (20, 200)])
def test_the_windows_add_up_to_one_at_every_pixel(height: int, width: int) -> None:
    nodes = (_patch_gram.node_count(height, 32), _patch_gram.node_count(width, 32))
    windows = _patch_gram.windows((height, width), nodes, 16)
    total = np.zeros(height * width)
    np.add.at(total, windows.positions.ravel(), windows.weights.ravel())
    np.testing.assert_allclose(total, 1, atol=1e-6)


def style_windows(
    grid: tuple[int, int], centres: np.ndarray, nodes: tuple[int, int], half: int
) -> _patch_gram.Windows:
    return _patch_gram.crossed(grid, *_patch_gram.spans_at(grid, centres, nodes, half))


def test_windows_of_fewer_cells_than_channels_give_the_distance_of_the_direct_formula() -> None:
    random = np.random.default_rng(0)
    features = tf.constant(random.random((8, 12, 40)), tf.float32)  # 16 cells a window, 40 channels
    style = tf.constant(random.random((9, 11, 40)), tf.float32)
    nodes = (5, 7)
    centres = np.stack([random.integers(0, 9, 35), random.integers(0, 11, 35)], axis=1)
    windows = _patch_gram.windows((8, 12), nodes, 2)
    goals = _patch_gram.goals(style, style_windows((9, 11), centres, nodes, 2))
    assert "rows" in goals
    actual = float(_patch_gram.distance(features, windows, nodes, goals))
    expected = 0.0
    matched = style_windows((9, 11), centres, nodes, 2)
    for index in range(35):
        parts: list[np.ndarray] = []
        for values, window in ((features, windows), (style, matched)):
            rows = values.numpy().reshape(-1, 40)[window.positions[index]]
            parts += [rows, window.weights[index]]
        expected += windows.weights[index].sum() / 96 * float(plain_style(*parts))
    assert actual == pytest.approx(expected, rel=1e-4)


def one_hot(picture: np.ndarray, count: int) -> np.ndarray:
    return np.eye(count, dtype=np.float32)[picture]


def test_blocks_of_a_label_match_blocks_of_the_same_label() -> None:
    frame_planes = one_hot(np.repeat([[0, 1, 2]], 12, 0).repeat(4, 1), 3)
    style_planes = one_hot(np.repeat([[2, 0, 1]], 16, 0).repeat(8, 1), 3)
    frame, style = (_patch_match.describe_blocks([(1.0, planes)], planes.shape[:2])
                    for planes in (frame_planes, style_planes))  # fmt: skip
    matches = _patch_match.match(frame, style, (7, 7))
    corners = matches[1:-1, [1, 3, 5], :2].astype(int)  # nodes in the midst of each label
    for column, label in enumerate((0, 1, 2)):
        assert (
            style_planes[corners[:, column, 0] - 1, corners[:, column, 1] - 1].argmax(axis=1)
            == label
        ).all()


def test_identical_blocks_are_matched_with_different_corners() -> None:
    flat = np.ones((16, 16, 1), np.float32)
    frame, style = (_patch_match.describe_blocks([(1.0, flat)], (16, 16)) for _ in range(2))
    found = _patch_match.match(frame, style, (9, 9))[..., :2].reshape(-1, 2)
    assert len(np.unique(found, axis=0)) > 75


def test_ties_go_to_the_same_relative_position() -> None:
    flat = np.ones((16, 16, 1), np.float32)
    frame, style = (_patch_match.describe_blocks([(1.0, flat)], (16, 16)) for _ in range(2))
    found = _patch_match.match(frame, style, (9, 9))
    here = np.stack(np.meshgrid(np.arange(9), np.arange(9), indexing="ij"), axis=2) * 2
    assert np.array_equal(found[..., :2], here)


def test_the_chunk_size_does_not_change_the_matches() -> None:
    random = np.random.default_rng(3)
    frame, style = (_patch_match.BlockDescriptors(random.random((12, 12, 5)).astype(np.float32))
                    for _ in range(2))  # fmt: skip
    whole = _patch_match.match(frame, style, (7, 7))
    parts = _patch_match.match(frame, style, (7, 7), chunk=500)
    assert np.array_equal(parts[..., :2], whole[..., :2])


def matches_of(image: np.ndarray, suggested: np.ndarray | None = None) -> np.ndarray:
    encoder = TinyEncoder()
    frame, style = (
        StyleFeatures(encoder(tf.constant(picture)), picture.shape[:2], suggested=suggested)
        for picture in (image, stripes(80, 96))
    )
    return np.asarray(Patch(block=96).targets([style], frame)["matches"])


def test_in_a_static_clip_with_noise_no_match_changes() -> None:
    random = np.random.default_rng(0)
    first = now = matches_of(disc(64, 96))
    for _ in range(5):
        noisy = np.clip(disc(64, 96) + random.normal(0, 0.01, (64, 96, 3)), 0, 1)
        still = TemporalPrior(disc(64, 96), np.ones((64, 96, 1), np.float32), matches=now)
        now = matches_of(noisy.astype(np.float32), moved_matches(still))
        assert np.array_equal(now, first)


def test_matches_are_carried_along_the_flow() -> None:
    matches = np.zeros((5, 7, 5), np.float32)
    matches[..., 0] = np.arange(35).reshape(5, 7)
    flow = np.zeros((64, 96, 2), np.float32)
    flow[..., 0] = -4  # the content was 4 pixels to the left
    now = matches
    for _ in range(4):  # 16 pixels in all: one node
        now = moved_matches(
            TemporalPrior(disc(64, 96), np.ones((64, 96, 1), np.float32), flow, now)
        )
    assert now is not None
    inner = now[:, 2:, 0]
    assert np.array_equal(inner, matches[:, 1:-1, 0])


def test_no_match_is_suggested_where_the_confidence_is_0() -> None:
    confidence = np.ones((64, 96, 1), np.float32)
    confidence[:, 60:] = 0
    found = moved_matches(
        TemporalPrior(disc(64, 96), confidence, matches=np.zeros((5, 7, 5), np.float32))
    )
    assert found is not None
    assert np.isnan(found[:, 5:]).all()
    assert not np.isnan(found[:, :3]).any()
