"""Guides: weight planes from masks and label maps (files, arrays, or propagated key frames)."""
