"""Evaluation: temporal stability, sharpness and style distance of a video, and their report."""
