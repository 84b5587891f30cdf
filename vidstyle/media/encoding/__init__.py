"""Video files written with FFmpeg: encoding, copied streams and muxing."""
