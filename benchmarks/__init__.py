"""Measurements of vidstyle, by subject; scripts/bench runs them."""
