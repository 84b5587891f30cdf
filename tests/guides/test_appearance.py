"""Where an object is likely to be, by the features of earlier frames."""

import numpy as np

from vidstyle.guides.appearance import Appearance, likely

ROWS, COLUMNS = 6, 8


def features(place: int, twins: tuple[int, ...] = ()) -> np.ndarray:
    """Cells that differ from one another; those of a column `place` and of `twins` are alike."""
    cells = np.random.default_rng(0).normal(size=(ROWS, COLUMNS, 16)).astype(np.float32)
    for column in (place, *twins):
        cells[:, column] = np.eye(16, dtype=np.float32)[3] * 9
    return cells


def column(place: int) -> np.ndarray:
    mask = np.zeros((60, 80), np.float32)
    mask[:, 10 * place : 10 * place + 10] = 1
    return mask


def test_an_object_is_found_where_it_has_moved_to() -> None:
    known = Appearance.of(features(2), column(2), reach=0.3)
    found = likely(features(4), [known], (80, 60))
    assert found.shape == (60, 80)
    assert 0 <= found.min() <= found.max() <= 1
    assert found[:, 43:47].min() > 0.8  # the middle of its column
    assert found[:, :30].max() < 0.3


def test_of_two_that_look_alike_the_nearer_one_is_the_object() -> None:
    known = Appearance.of(features(2, (7,)), column(2), reach=0.1)
    found = likely(features(3, (7,)), [known], (80, 60))
    assert found[:, 33:37].min() > 0.8
    assert found[:, 74:].max() < 0.2


def test_an_object_whose_look_has_changed_is_found_by_the_last_frame() -> None:
    """In the key frame it looked like nothing that is seen now."""
    other = np.random.default_rng(1).normal(size=(ROWS, COLUMNS, 16)).astype(np.float32)
    key = Appearance.of(other, column(3), reach=0.3)
    last = Appearance.of(features(5), column(5), reach=0.1)
    now = features(5)
    assert likely(now, [key], (80, 60))[:, 53:57].mean() < 0.5
    assert likely(now, [key, last], (80, 60))[:, 53:57].min() > 0.8
