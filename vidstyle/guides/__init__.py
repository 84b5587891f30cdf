"""Guides: masks and label maps, from files or tracked from key frames, for every frame."""
