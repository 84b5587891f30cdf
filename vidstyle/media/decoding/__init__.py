"""Video files read with FFmpeg: opening, decoding, seeking and frame times."""
