"""Motion between source frames: optical flow, warping, consistency."""
