"""Confidence of a flow."""

import numpy as np
from moving_frames import HEIGHT, WIDTH, clouds, constant, with_disc

from vidstyle.motion.flow import optical_flow
from vidstyle.motion.occlusion import confidence


def test_confidence_is_0_where_a_disc_uncovers_the_background_and_1_far_away():
    earlier, old_disc = with_disc(clouds(3), 60)
    frame, new_disc = with_disc(clouds(3), 70)
    certainty = confidence(
        optical_flow(frame, earlier), optical_flow(earlier, frame), earlier, frame
    )
    uncovered = old_disc & ~new_disc
    assert (certainty[uncovered] == 0).mean() > 0.95
    assert (certainty[:, :30] == 1).all()
    assert (certainty[:, 110:] == 1).all()


def test_confidence_is_0_where_the_flow_leaves_the_frame():
    picture = clouds(4)
    certainty = confidence(
        constant(-20, 0), constant(20, 0), np.roll(picture, -20, axis=1), picture
    )
    assert (certainty[:, :19] == 0).all()
    assert (certainty[:, 24:] == 1).all()


def test_confidence_is_0_where_the_flows_disagree():
    picture = clouds(4)
    certainty = confidence(constant(0, 0), constant(2, 0), picture, picture)
    assert (certainty == 0).all()


def test_confidence_is_0_where_the_appearance_differs():
    picture = clouds(4)
    painted = picture.copy()
    painted[40:60, 40:60] = (1, 0, 0)
    certainty = confidence(constant(0, 0), constant(0, 0), picture, painted)
    assert (certainty[40:60, 40:60] == 0).all()
    assert (certainty[:30] == 1).all()


def test_confidence_is_0_where_faint_texture_appears_on_flat_ground():
    ground = np.full((HEIGHT, WIDTH, 3), 0.1, np.float32)
    stripes = ground + np.float32(0.15) * (np.arange(WIDTH) % 4 < 2)[None, :, None]
    certainty = confidence(constant(0, 0), constant(0, 0), ground, stripes.astype(np.float32))
    assert (certainty == 0).all()


def test_confidence_is_0_at_a_motion_boundary():
    flat = np.full((HEIGHT, WIDTH, 3), 0.5, np.float32)
    flow = np.zeros((HEIGHT, WIDTH, 2), np.float32)
    flow[:, 70:] = (0.5, 0)
    certainty = confidence(flow, -flow, flat, flat)
    assert (certainty[:, 69:71] == 0).all()
    assert (certainty[:, :60] == 1).all()


def test_confidence_rises_smoothly():
    picture = clouds(4)
    certainty = confidence(
        constant(-20, 0), constant(20, 0), np.roll(picture, -20, axis=1), picture
    )
    line = certainty[50, :, 0]
    assert ((line > 0) & (line < 1)).any()
    assert (np.diff(line) >= 0).all()
