"""The optimisation of one frame, coarse to fine, by L-BFGS."""
