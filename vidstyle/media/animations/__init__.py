"""Animated pictures: GIF, WebP, PNG and AVIF, frame by frame with exact durations."""
