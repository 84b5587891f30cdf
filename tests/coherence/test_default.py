"""DefaultCoherence: colour specks of the optimisation are removed from later frames."""

from typing import Any

import numpy as np
import pytest

from vidstyle.coherence.default import DefaultCoherence
from vidstyle.coherence.interface import RunContext, SourceFrame
from vidstyle.coherence.prior import TemporalPrior
from vidstyle.coherence.stylized import Stylized
from vidstyle.evaluation.metrics import specks

SOURCE = np.full((40, 60, 3), 0.4, np.float32)
SPECKLED = SOURCE.copy()
SPECKLED[4::8, 4::8] = (0.1, 0.2, 0.9)


def steadied(prior: TemporalPrior | None, opacity: np.ndarray | None = None) -> Stylized:
    history: Any = None  # not used by `steadied`
    method = DefaultCoherence(RunContext(history=history, initial_image=lambda image, _: image))
    return method.steadied(Stylized(SPECKLED, opacity=opacity), SourceFrame(1, SOURCE), prior)


def prior(flow: np.ndarray | None) -> TemporalPrior:
    return TemporalPrior(SOURCE, np.ones((40, 60, 1), np.float32), flow)


def test_specks_are_removed_where_the_picture_moves() -> None:
    flow = np.zeros((40, 60, 2), np.float32)
    flow[:, 30:] = 1
    found = steadied(prior(flow))
    assert specks(found.output_image[:, 30:]) == 0 < specks(SPECKLED[:, 30:])
    np.testing.assert_array_equal(found.optimised_image, found.output_image)
    np.testing.assert_array_equal(found.output_image[:, :30], SPECKLED[:, :30])


def test_pixels_outside_a_mask_keep_their_specks() -> None:
    opacity = np.zeros((40, 60, 1), np.float32)
    opacity[:, :30] = 0.5
    found = steadied(prior(np.ones((40, 60, 2), np.float32)), opacity)
    np.testing.assert_array_equal(found.optimised_image[:, 30:], SPECKLED[:, 30:])
    np.testing.assert_allclose(
        found.output_image, SOURCE + opacity * (found.optimised_image - SOURCE), atol=1e-6
    )
    assert specks(found.optimised_image[:, :30]) == 0


@pytest.mark.parametrize("given", [None, prior(None)])
def test_a_first_frame_and_a_still_one_are_unchanged(given: TemporalPrior | None) -> None:
    np.testing.assert_array_equal(steadied(given).output_image, SPECKLED)
