"""VGG-19: its weights, its layers, how it is run on a frame, and losses over its features."""
