"""Draws the samples: rendered scenes, painted styles, maps and masks."""
