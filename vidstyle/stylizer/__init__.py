"""The stylizer: one frame's optimisation, coarse to fine, by L-BFGS."""
